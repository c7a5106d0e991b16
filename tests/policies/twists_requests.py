"""Twists of authorization requests."""

import random
from collections.abc import Callable
from typing import Any

from tests.policies import corpus
from tests.policies.law import law
from tests.policies.oracle_requests import DAY_MS
from tests.policies.twists import ACTIONS, AROUND, KINDS, NOW, STATUSES

Case = dict[str, Any]
Rng = random.Random
Twist = Callable[[Case, Rng], None]

REQUEST_TWISTS: dict[str, Twist] = {}


def twist(function: Twist) -> Twist:
    """Take part."""
    REQUEST_TWISTS[function.__name__] = function
    return function


@twist
def as_it_is(case: Case, rng: Rng) -> None:
    """Nothing: kept."""


@twist
def standing(case: Case, rng: Rng) -> None:
    """The institution's standing is near some boundary, or there is none."""
    institution = case["institution"]
    fault = rng.choice(("nobody", "status", "status", "status", "agreement", "assessed_from", "assessed_until", "kind"))
    if institution is None or fault == "nobody":
        case["institution"] = None
        return
    values = {"status": STATUSES, "agreement": (False, True), "assessed_from": AROUND, "assessed_until": AROUND, "kind": KINDS}
    institution[fault] = rng.choice(values[fault])


@twist
def purpose(case: Case, rng: Rng) -> None:
    """Any word."""
    detail = rng.choice(case["details"])
    detail["purpose"] = rng.choice([*law().purposes, "marketing", "resale", "fun", ""])


@twist
def undeclared(case: Case, rng: Rng) -> None:
    """All purposes but one are declared."""
    if case["institution"] is not None:
        left_out = rng.choice([case["details"][0]["purpose"], *law().purposes])
        case["institution"]["purposes"] = [word for word in law().purposes if word != left_out]


@twist
def product(case: Case, rng: Rng) -> None:
    """A product with purposes and a profile, or one that nobody registered."""
    detail = rng.choice(case["details"])
    detail["product"] = rng.choice(("tax-loan-01", "tax-loan-02", "own", "own", "gone"))
    if case["institution"] is not None:
        purposes = rng.choice(([detail["purpose"]], ["approval"]))
        items = rng.choice((None, [detail["item"]], [], ["N21-03-04"]))
        case["institution"]["products"]["own"] = {"purposes": purposes, "items": items}


@twist
def allowed(case: Case, rng: Rng) -> None:
    """What the client may ask for: all of it, a part, nothing."""
    items = [detail["item"] for detail in case["details"]]
    purposes = [detail["purpose"] for detail in case["details"]]
    case["allowed_items"] = rng.choice((items, items[1:], [], None))
    case["allowed_purposes"] = rng.choice((purposes, purposes[:1], ["approval"], None))


@twist
def item(case: Case, rng: Rng) -> None:
    """Any item, needed or not, existing or not."""
    detail = rng.choice(case["details"])
    detail["item"] = rng.choice(("N99-01-01", "NB-05", "N24-10-02", *rng.sample(sorted(law().items), 5)))
    detail["fields"] = None


@twist
def action(case: Case, rng: Rng) -> None:
    """Any action, by any kind of institution."""
    rng.choice(case["details"])["action"] = rng.choice(ACTIONS)
    if case["institution"] is not None and rng.random() < 0.4:
        case["institution"]["kind"] = rng.choice(KINDS)


@twist
def detail_of_verified(case: Case, rng: Rng) -> None:
    """Detail of what is only verified, or for modelling."""
    pairs = sorted(pair for pair in law().matrix if law().items[pair[1]].verified_only or pair[0] == "modelling")
    detail = case["details"][0]
    detail["purpose"], detail["item"] = rng.choice(pairs)
    detail.update(fields=None, action=rng.choice(("query", "verify", "push", "model")))


@twist
def fields(case: Case, rng: Rng) -> None:
    """Some, none, unlisted ones, third parties', documents, not needed ones."""
    detail = rng.choice(case["details"])
    known = law().items.get(detail["item"])
    if known is None:
        detail["fields"] = [f"{detail['item']}.01"]
        return
    unneeded = set(known.fields) - law().needed(detail["purpose"], known.code)
    special = [set(), {f"{known.code}.99"}, known.barred, known.documents, unneeded, {known.fields[0]}]
    detail["fields"] = sorted({field for chosen in rng.sample(special, rng.randint(1, 3)) for field in chosen})


@twist
def special_items(case: Case, rng: Rng) -> None:
    """Items with third parties' fields, documents or unneeded ones, all of them or some by name."""
    rich = [
        pair
        for pair, bounds in sorted(law().matrix.items())
        if law().items[pair[1]].barred or law().items[pair[1]].documents or set(law().items[pair[1]].fields) - bounds.fields
    ]
    detail = case["details"][0]
    detail["purpose"], detail["item"] = rng.choice(rich)
    known = law().items[detail["item"]]
    unneeded = set(known.fields) - law().needed(detail["purpose"], known.code)
    sets = (known.barred, known.documents, unneeded, {known.fields[0]})
    detail["fields"] = rng.choice((None, sorted({field for chosen in rng.sample(sets, 2) for field in chosen}) or None))


@twist
def end(case: Case, rng: Rng) -> None:
    """Ending about now, or about the longest validity."""
    for detail in case["details"]:
        bounds = law().matrix.get((detail["purpose"], detail["item"]))
        longest = NOW + DAY_MS * (366 if bounds is None else bounds.max_validity_days)
        detail["valid_until"] = rng.choice((*AROUND, longest, longest + 1, longest + 1))


@twist
def look_back(case: Case, rng: Rng) -> None:
    """About the first day that the purpose may look back to."""
    for detail in case["details"]:
        bounds = law().matrix.get((detail["purpose"], detail["item"]))
        year = 2026 - (2 if bounds is None else bounds.look_back_years)
        detail["data_from"] = rng.choice((None, f"{year}-11-19", f"{year}-11-20", f"{year}-11-21"))


@twist
def leap_day(case: Case, rng: Rng) -> None:
    """Looking back from the 29th of February."""
    case["now"], case["today"] = 1835366400000, "2028-02-29"
    if case["institution"] is not None:
        case["institution"]["assessed_until"] = case["now"] + 1
    for detail in case["details"]:
        bounds = law().matrix.get((detail["purpose"], detail["item"]))
        year = 2028 - (2 if bounds is None else bounds.look_back_years)
        detail["valid_until"] = case["now"] + DAY_MS
        detail["data_from"] = rng.choice((f"{year}-02-28", f"{year}-03-01", f"{year}-02-27"))


@twist
def frequency(case: Case, rng: Rng) -> None:
    """As often as the purpose allows, one time oftener, in another unit."""
    for detail in case["details"]:
        bounds = law().matrix.get((detail["purpose"], detail["item"]))
        most, per = (2, "day") if bounds is None else bounds.frequency
        monthly = most * 30 if per == "day" else most
        limits = {"day": most, "month": monthly, "total": monthly}
        unit = rng.choice(sorted(limits))
        detail["frequency"] = {"max": max(1, limits[unit] + rng.choice((-1, 0, 1))), "per": unit}


@twist
def retention(case: Case, rng: Rng) -> None:
    """As many days as the purpose needs, one less, one more."""
    for detail in case["details"]:
        bounds = law().matrix.get((detail["purpose"], detail["item"]))
        detail["retention_days"] = (100 if bounds is None else bounds.retention_days) + rng.choice((-1, 0, 1, 1))


@twist
def ordinary(case: Case, rng: Rng) -> None:
    """Well-formed and kept, with everything named."""
    detail = case["details"][0]
    detail.update(via=["pboc-credit"], processor="lab-a", data_from=corpus.BASE["check"]["today"], retention_days=1)
