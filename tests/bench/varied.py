"""Checks that have little in common: what the policies cost once nothing of a batch is judged for two checks at once.

All are permitted, and all are made from one check as the service asks it, the same ones on every run.
"""

import copy
import dataclasses
import datetime
import random
from typing import Any

from consent.decisions.bundle import REVISION_LENGTH, Bundle

Check = dict[str, Any]
DAY_MS = 86_400_000
_SEED = 20261120


class Varied:
    """Makes checks from `pattern`; `bundle` says what may be granted."""

    def __init__(self, bundle: Bundle, pattern: Check) -> None:
        data = bundle.data["consent"]
        self._pattern = pattern
        self._table: dict[str, Any] = data["table"]
        self._rng = random.Random(_SEED)

    def mixed(self, count: int) -> list[Check]:
        """Eight banks with three products each, two purposes and three sets of items: 144 questions; and as many ends as checks."""
        codes = self._codes("pre_loan")
        sets = [codes[n : n + 3] for n in (0, 3, 6)]
        return [
            self._check(n, bank=n % 8, product=n % 3, purpose=("pre_loan", "approval")[n // 24 % 2], items=sets[n // 48 % 3])
            for n in range(count)
        ]

    def different(self, count: int, items: int = 3) -> list[Check]:
        """As many banks, products, sets of items and terms as checks; whole items."""
        return [self._different(n, items) for n in range(count)]

    def by_field(self, count: int) -> list[Check]:
        """As `different`, and every grant gives other fields of its item and has a frequency; every other check names single fields."""
        return [self._single_fields(check, n) for n, check in enumerate(self.different(count))]

    def many_grants(self, count: int, grants: int) -> list[Check]:
        """As `different`, but of one item, which each check has so many unlike grants of."""
        checks = self.different(count, items=1)
        for n, check in enumerate(checks):
            first = check["grants"][0]
            check["grants"] = [
                {
                    **first,
                    "grant_id": f"grant-{n:03}-{place:02}",
                    "retention_days": 365 + place,
                    "valid_until": first["valid_until"] + place,
                }
                for place in range(grants)
            ]
        return checks

    def _different(self, n: int, items: int) -> Check:
        purpose = ("pre_loan", "approval")[n % 2]
        return self._check(n, bank=n, product=n, purpose=purpose, items=self._rng.sample(self._codes(purpose), items), data_from=_day(n))

    def _codes(self, purpose: str) -> list[str]:
        """Items that an enterprise grants and that go out whole."""
        rows = self._table[purpose].items()
        return sorted(code for code, row in rows if row["undivided"] and row["consent_subject"] == "enterprise")

    def _check(self, n: int, *, bank: int, product: int, purpose: str, items: list[str], data_from: str | None = None) -> Check:
        check = copy.deepcopy(self._pattern)
        name, code = f"bank-{bank}", f"product-{product}"
        check |= {"key": str(n), "purpose": purpose, "product": code}
        check["institution"] |= {
            "id": name,
            "purposes": ["approval", "pre_loan"],
            "products": {code: {"purposes": ["approval", "pre_loan"], "items": None}},
        }
        check["items"] = [{"item": item, "fields": None, "claimed": None} for item in items]
        granted = {"purpose": purpose, "product": code, "data_from": data_from, "valid_until": check["now"] + (n + 1) * DAY_MS}
        check["grants"] = [
            {
                **self._pattern["grants"][0],
                **granted,
                "grant_id": f"grant-{n:03}",
                "identifier": f"d{place:02}",
                "item": item,
                "fields": self._table[purpose][item]["all"],
            }
            for place, item in enumerate(items)
        ]
        return check

    def _single_fields(self, check: Check, n: int) -> Check:
        for asked, grant in zip(check["items"], check["grants"], strict=True):
            grant |= {"frequency": {"max": 100 + n, "per": "day"}, "used": n % 7}
            if n % 2:
                grant["fields"] = sorted(self._rng.sample(grant["fields"], self._rng.randint(1, len(grant["fields"]))))
                asked["fields"] = self._rng.sample(grant["fields"], 1)
        return check


def resized(bundle: Bundle, kind: str, asked: set[str]) -> Bundle:
    """The policies over `half` of the items, those of `asked` among them, or over `double`: each item once more under another code, with
    its rows of the matrix, as a region's list would add it."""
    data = copy.deepcopy(bundle.data)
    own = data["consent"]
    codes = sorted(own["catalogue"]["items"], key=lambda code: (code not in asked, code))
    kept = set(codes[: len(codes) // 2])
    for rows in (own["catalogue"]["items"], *own["matrix"].values(), *own["table"].values()):
        for code, row in list(rows.items()):
            if kind == "double":
                rows[f"R99-{code}"] = row
            elif code not in kept:
                del rows[code]
    return dataclasses.replace(bundle, data=data, revision=f"{kind:0<{REVISION_LENGTH}}")


def _day(n: int) -> str:
    return (datetime.date(2025, 1, 1) + datetime.timedelta(days=n)).isoformat()
