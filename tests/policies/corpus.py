"""The corpus of decision cases in policies/corpus, written short, spread out to whole inputs and whole answers.

A case says what differs from `base.json`: `set` by path into the check, `items`, `grants`, and one expectation per item. Fields stand
as their last two digits; `all` is every field of the item, `rest` every field that is not withheld. What an expectation leaves out is
expected to be empty, so that a second, unexpected code fails, too.
"""

import copy
import json
from pathlib import Path
from typing import Any

from consent.catalogue.load import load
from tests.policies.law import by_edges, by_method

CORPUS = Path(__file__).parents[2] / "policies" / "corpus"
BASE = json.loads((CORPUS / "base.json").read_text(encoding="utf-8"))
FILES = ("channel", "field", "grant", "institution", "item", "mode", "platform", "purpose")
Json = dict[str, Any]


def decisions() -> list[tuple[str, Json, Json]]:
    """(name, check, answer without key and revision) of every case."""
    return [(f"{file}: {case['name']}", *_decision(case)) for file in FILES for case in _read(file)]


def requests() -> list[tuple[str, Json, Json]]:
    """(name, authorization request, answer without key and revision) of every case."""
    return [(f"request: {case['name']}", *_request(case)) for case in _read("requests")]


def _read(file: str) -> list[Json]:
    cases: list[Json] = json.loads((CORPUS / f"{file}.json").read_text(encoding="utf-8"))
    return cases


def _decision(case: Json) -> tuple[Json, Json]:
    check = changed(BASE["check"], case.get("set", {}))
    check["items"] = [_item(item) for item in case["items"]]
    check["grants"] = [_grant(grant) for grant in case["grants"]]
    items = [_answer(item, expected, check["grants"]) for item, expected in zip(check["items"], case["expect"], strict=True)]
    wish = {"verify": "verify_only", "model": "model_only"}.get(check["action"], "permit")
    full = all(item["outcome"] == wish and not item["withheld"] for item in items)
    none = all(item["outcome"] == "deny" for item in items)
    return check, {
        "decision": full,
        "outcome": "full" if full else "none" if none else "partial",
        "codes": sorted({code for item in items for code in item["codes"]}),
        "items": items,
    }


def _request(case: Json) -> tuple[Json, Json]:
    request = {**{name: BASE["check"][name] for name in ("now", "today", "institution")}, "allowed_items": None, "allowed_purposes": None}
    request = changed(request, case.get("set", {}))
    request["details"] = [
        {**BASE["detail"], **detail, "fields": _codes(detail["item"], detail.get("fields"))} for detail in case["details"]
    ]
    details = [_verdict(detail, expected) for detail, expected in zip(request["details"], case["expect"], strict=True)]
    keep = all(detail["verdict"] == "keep" for detail in details)
    return request, {"verdict": "keep" if keep else "refuse", "details": details, "excess": case.get("excess", 0)}


def changed(base: Json, changes: Json) -> Json:
    """A copy of `base` with the values at these paths."""
    copied = copy.deepcopy(base)
    for path, value in changes.items():
        *parents, last = path.split(".")
        target = copied
        for parent in parents:
            target = target[parent]
        target[last] = value
    return copied


def _item(item: Json) -> Json:
    code = item["item"]
    return {"item": code, "fields": _codes(code, item.get("fields")), "claimed": _codes(code, item.get("claimed"))}


def _grant(grant: Json) -> Json:
    fields = _codes(grant["item"], grant.get("fields"))
    return {**BASE["grant"], **grant, "fields": _all(grant["item"]) if fields is None else fields}


def _answer(item: Json, expected: Json, grants: list[Json]) -> Json:
    code = item["item"]
    withheld = _codes(code, expected.get("withheld", [])) or []
    requested = _all(code) if item["fields"] is None else item["fields"]
    fields = {"all": requested, "rest": [field for field in requested if field not in withheld]}.get(str(expected.get("fields", [])))
    given = sorted(fields if fields is not None else _codes(code, expected.get("fields", [])) or [])
    grant_id = expected.get("grant")
    identifiers = sorted(grant["identifier"] for grant in grants if grant["grant_id"] == grant_id and grant["item"] == code)
    return {
        "item": code,
        "outcome": expected["outcome"],
        "basis": expected.get("basis"),
        "grant_id": grant_id,
        "identifier": identifiers[0] if grant_id else None,
        "fields": given,
        "withheld": withheld,
        "codes": expected.get("codes", []),
        "obligations": [
            duty for name, value in sorted(expected.get("obligations", {}).items()) for duty in _obligations(code, given, name, value)
        ],
        "flags": expected.get("flags", []),
    }


def _obligations(code: str, given: list[str], name: str, value: Any) -> list[Json]:
    """`retain_days` has a number, `mask` and `band` stand once for each way to mask and each list of edges."""
    if isinstance(value, int):
        return [{"code": name, "fields": given, "value": value}]
    fields = given if value == "fields" else _codes(code, value) or []
    ways: list[tuple[Any, list[str]]] = (
        {"mask": by_method, "band": by_edges}[name](set(fields)) if name in ("mask", "band") else [(None, fields)]
    )
    return [{"code": name, "fields": of, "value": way} for way, of in ways]


def _verdict(detail: Json, expected: Json) -> Json:
    fields = expected.get("fields", [])
    requested = _all(detail["item"]) if detail["fields"] is None else detail["fields"]
    return {
        "identifier": detail["identifier"],
        "verdict": expected["verdict"],
        "codes": expected.get("codes", []),
        "advice": expected.get("advice"),
        "fields": requested if fields == "all" else _codes(detail["item"], fields),
    }


def _codes(item: str, places: list[str] | None) -> list[str] | None:
    return None if places is None else [f"{item}.{place}" for place in places]


def _all(item: str) -> list[str]:
    return list(load().field_codes.get(item, ()))
