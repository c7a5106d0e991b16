"""A second opinion on authorization requests (PAR), written like `oracle.py` and from the same sources.

What is kept could be granted and later checked; anything but keep refuses the request as a whole, with advice per detail (design §4).
"""

from tests.policies.law import Bounds, Item, Law, law
from tests.policies.oracle import Case, earliest, in_profile
from tests.policies.oracle_standing import declared, standing

DAY_MS = 86_400_000
SOFT = {"mode.verification_only", "mode.model_only"}
"""Cured by another action alone, so a downgrade and no refusal."""


def judge(request: Case) -> Case:
    """The verdicts on a request, without key and revision."""
    details = [_detail(request, detail) for detail in request["details"]]
    kept = bool(details) and all(detail["verdict"] == "keep" for detail in details)
    weighed = [_weigh(request, detail, set(line["codes"])) for detail, line in zip(request["details"], details, strict=True)]
    asked, beyond = sum(asked for asked, _ in weighed), sum(beyond for _, beyond in weighed)
    excess = -(-100 * beyond // asked) if asked else 100
    return {"verdict": "keep" if kept else "refuse", "details": details, "excess": excess}


def _detail(request: Case, detail: Case) -> Case:
    rules = law()
    item = rules.items.get(detail["item"])
    bounds = rules.matrix.get((detail["purpose"], detail["item"]))
    who = {**detail, **{name: request[name] for name in ("now", "institution")}, "terminal": "unregistered"}
    keepable = _keepable(detail, item, bounds)
    codes = standing(who) | declared(who, rules) | _item_faults(request, detail, item, bounds, rules) | _mode_faults(detail, item)
    if request["allowed_purposes"] is not None and detail["purpose"] not in request["allowed_purposes"]:
        codes.add("purpose.not_declared")  # what the client may ask for, whatever its institution declared
    codes |= _field_faults(detail, item, bounds, keepable) | _term_faults(request, detail, bounds)
    return {
        "identifier": detail["identifier"],
        "verdict": "keep" if not codes else "downgrade" if codes <= SOFT else "refuse",
        "codes": sorted(codes),
        "advice": _advice(request, codes, bounds, keepable) or None,
        "fields": [] if codes else sorted(keepable),
    }


def _keepable(detail: Case, item: Item | None, bounds: Bounds | None) -> set[str]:
    """What the request asks for and may get. Documents and third parties' fields are never implied, only named."""
    if item is None or bounds is None:
        return set()
    able = bounds.fields - item.barred
    return set(able - item.documents) if detail["fields"] is None else able & set(detail["fields"])


def _item_faults(request: Case, detail: Case, item: Item | None, bounds: Bounds | None, rules: Law) -> set[str]:
    if item is None:
        return {"item.unknown"}
    codes = set()
    if detail["purpose"] in rules.purposes and bounds is None:
        codes.add("item.not_necessary")
    institution, allowed = request["institution"], request["allowed_items"]
    offer = None if institution is None else institution["products"].get(detail["product"])
    if offer is not None and not in_profile(offer, item.code):
        codes.add("item.not_necessary")
    if allowed is not None and item.code not in allowed:
        codes.add("item.not_necessary")
    return codes


def _field_faults(detail: Case, item: Item | None, bounds: Bounds | None, keepable: set[str]) -> set[str]:
    if item is None:
        return set()
    if detail["fields"] is None:
        return {"field.identity_document"} if bounds is not None and not keepable else set()
    codes, named = set(), set(detail["fields"])
    if not named or not named <= set(item.fields):
        codes.add("field.not_listed")
    if named & item.barred:
        codes.add("field.third_party")
    if bounds is not None and (named & set(item.fields)) - item.barred - bounds.fields:
        codes.add("field.not_necessary")
    return codes


def _mode_faults(detail: Case, item: Item | None) -> set[str]:
    if detail["purpose"] == "modelling":
        return set() if detail["action"] == "model" else {"mode.model_only"}
    detailed = detail["action"] not in ("verify", "model")
    return {"mode.verification_only"} if item is not None and item.verified_only and detailed else set()


def _term_faults(request: Case, detail: Case, bounds: Bounds | None) -> set[str]:
    """Validity, look-back, frequency and retention against the purpose's limits."""
    now, until = request["now"], detail["valid_until"]
    codes = set()
    if until is None or until <= now:
        codes.add("grant.expired")
    if bounds is None:
        return codes
    if until is not None and until > now + bounds.max_validity_days * DAY_MS:
        codes.add("grant.validity_exceeded")
    if detail["data_from"] is not None and detail["data_from"] < earliest(request["today"], bounds.look_back_years):
        codes.add("grant.range_exceeded")
    frequency, days = detail["frequency"], detail["retention_days"]
    if frequency is not None and _monthly(frequency["max"], frequency["per"]) > _monthly(*bounds.frequency):
        codes.add("grant.frequency_exceeded")
    if days is not None and days > bounds.retention_days:
        codes.add("grant.retention_exceeded")
    return codes


def _monthly(most: int, per: str) -> int:
    """Uses in a month of 30 days; a number altogether may fall into one month."""
    return most * 30 if per == "day" else most


LIMITS = {
    "valid_until": {"grant.expired", "grant.validity_exceeded"},
    "data_from": {"grant.range_exceeded"},
    "frequency": {"grant.frequency_exceeded"},
    "retention_days": {"grant.retention_exceeded"},
}
FIELDS = {"field.not_listed", "field.third_party", "field.not_necessary"}


def _weigh(request: Case, detail: Case, codes: set[str]) -> tuple[int, int]:
    """How much a detail asks for, and how much of it goes beyond what could be kept: fields and the bounds that it names.

    The bank's excess score (issue of the policies, request linter): all of a detail that is refused whatever its fields and bounds, all
    fields where detail is asked for and less would do, and otherwise the fields and bounds that are too much.
    """
    item = law().items.get(detail["item"])
    bounds = [name for name in LIMITS if name == "valid_until" or detail[name] is not None]
    fields = len(set(detail["fields"] or ())) or (len(item.fields) if item is not None and detail["fields"] is None else 1)
    if codes - SOFT - FIELDS - {code for about in LIMITS.values() for code in about}:
        return fields + len(bounds), fields + len(bounds)
    if codes & SOFT:
        beyond = fields
    elif detail["fields"] is None:
        beyond = 0
    else:
        keepable = _keepable(detail, item, law().matrix.get((detail["purpose"], detail["item"])))
        beyond = fields - len(keepable)
    return fields + len(bounds), beyond + sum(1 for name in bounds if LIMITS[name] & codes)


def _advice(request: Case, codes: set[str], bounds: Bounds | None, keepable: set[str]) -> Case:
    """What would be kept instead."""
    advice: Case = {}
    if "mode.verification_only" in codes:
        advice["action"] = "verify"
    if "mode.model_only" in codes:
        advice["action"] = "model"
    if codes & FIELDS and keepable:
        advice["fields"] = sorted(keepable)
    if bounds is None:
        return advice
    if "grant.validity_exceeded" in codes:
        advice["valid_until"] = request["now"] + bounds.max_validity_days * DAY_MS
    if "grant.range_exceeded" in codes:
        advice["data_from"] = earliest(request["today"], bounds.look_back_years)
    if "grant.frequency_exceeded" in codes:
        most, per = bounds.frequency
        advice["frequency"] = {"max": most, "per": per}
    if "grant.retention_exceeded" in codes:
        advice["retention_days"] = bounds.retention_days
    return advice
