"""A second opinion on every check: plain Python, written from design.md §4, requirements.md §2-5, 8, 11, 13 and decision record 2.

It is slow, says one thing after the other and shares no line with the Rego. It takes a case of the corpus (policies/corpus/base.json
shows its words) and computes the whole answer. Where the two disagree, one of them is wrong; neither is bent to the other.
"""

from typing import Any

from tests.policies.law import Item, Law, by_edges, by_method, law
from tests.policies.oracle_standing import refusals

Case = dict[str, Any]

WISHES = {"verify": "verify_only", "model": "model_only"}
COVERS = {"query": ("query", "verify")}
"""A query grant covers verification of the same fields (design §4); any other action only itself."""


def decide(case: Case) -> Case:
    """The answer to a check, without key and revision."""
    rules = law()
    refused = refusals(case, rules)
    items = []
    for asked in case["items"]:
        if refused:
            items.append(_denied(case, asked["item"], refused))
        else:
            items.append(_item(case, asked, rules))
    wish = WISHES.get(case["action"], "permit")
    full = all(item["outcome"] == wish and not item["withheld"] for item in items)
    none = all(item["outcome"] == "deny" for item in items)
    return {
        "decision": full,
        "outcome": "full" if full else "none" if none else "partial",
        "codes": sorted({code for item in items for code in item["codes"]}),
        "items": items,
    }


def _item(case: Case, asked: Case, rules: Law) -> Case:
    code = asked["item"]
    item = rules.items.get(code)
    needed = rules.needed(case["purpose"], code)
    requested = _requested(case, asked, item)
    barred = _bars(case, asked, item, requested, needed, rules)
    if barred or item is None:
        return _denied(case, code, barred)
    givable = (requested & needed) - item.barred
    free = _free(case, item, givable)
    wanted = givable - free if case["service"] == "single" else set()
    held, reason = choose(case, item, wanted, rules)
    offered = free | (set() if held is None else wanted & set(held["fields"]))
    compared = _compared(case, asked, item, offered)
    given = compared - _guessed_out(case, item, rules)
    if not offered:
        return _denied(case, code, {"field.identity_document" if item.shared_openly else reason})
    if not given:
        return _denied(case, code, _why_less(case, item, offered, compared, given))
    return _given(case, item, requested, offered, compared, given, held, rules)


def _compared(case: Case, asked: Case, item: Item, offered: set[str]) -> set[str]:
    """MOD-03: of a verification, the fields that the caller holds a value for; where it does not say, all of them."""
    return offered & set(asked["claimed"]) if verifying(case, item) and asked["claimed"] is not None else offered


def _guessed_out(case: Case, item: Item, rules: Law) -> set[str]:
    """MOD-03: no value is found by guessing; a field is compared so often a day and no more."""
    limit = rules.settings["guesses_per_day"]
    return {field for field, count in case["guesses"].items() if count >= limit} if verifying(case, item) else set()


def _why_less(case: Case, item: Item, offered: set[str], compared: set[str], given: set[str]) -> set[str]:
    """Why a verification says less than was asked for."""
    detail_asked = verifying(case, item) and case["action"] != "verify"
    codes = {"mode.verification_only": offered - compared or detail_asked, "mode.too_many_guesses": compared - given}
    return {code for code, found in codes.items() if found}


def _requested(case: Case, asked: Case, item: Item | None) -> set[str]:
    if asked["fields"] is not None:
        return set(asked["fields"])
    if case["ticket"] is not None:
        return set(case["ticket"]["items"].get(asked["item"], ()))
    return set() if item is None else set(item.fields)


def _bars(case: Case, asked: Case, item: Item | None, requested: set[str], needed: frozenset[str], rules: Law) -> set[str]:
    """What keeps an item away whatever was granted. MIN-06, MIN-09, MIN-12, ACT-07, MOD-04; each fault is named."""
    codes = set()
    if not _in_ticket(case, asked, requested):
        codes.add("ticket.invalid")
    if not _own_domain(case, asked["item"], rules):
        codes.add("channel.not_allowed")
    if item is None:
        return codes | {"item.unknown"}
    product = case["product"]
    if not needed or (product is not None and not in_profile(case["institution"]["products"][product], item.code)):
        codes.add("item.not_necessary")
    if not requested <= set(item.fields) or asked["fields"] == []:
        codes.add("field.not_listed")
    if needed and not (requested & needed) - item.barred:
        if requested & item.barred:
            codes.add("field.third_party")
        if (requested & set(item.fields)) - item.barred:
            codes.add("field.not_necessary")
    if case["service"] != "single" and not item.shared_openly:
        codes.add("service.public_items_only")
    model = case["model"]
    if case["action"] == "model" and (model is None or model["registered"] is not True or item.code not in model["items"]):
        codes.add("mode.model_not_registered")
    return codes


def _in_ticket(case: Case, asked: Case, requested: set[str]) -> bool:
    """A ticket allows what it names and never more (design §4)."""
    ticket = case["ticket"]
    return ticket is None or (bool(requested) and requested <= set(ticket["items"].get(asked["item"], ())))


def _own_domain(case: Case, code: str, rules: Law) -> bool:
    """ACT-07: a department or tax gateway serves its own domain only."""
    platform = case["platform"]
    bound = case["caller"]["kind"] == "platform" and platform["kind"] in rules.settings["own_domain_kinds"]
    return not bound or code in platform.get("own_items", ())


def in_profile(offer: Case, code: str) -> bool:
    """Whether a product's profile, which can only narrow, has the item (MIN-12)."""
    return offer["items"] is None or code in offer["items"]


def _free(case: Case, item: Item, givable: set[str]) -> set[str]:
    """CON-06, CON-08: what the lists share openly, document numbers apart. MOD-04, §13.5: a joint model reads an enterprise's
    business data without her consent, because no detail leaves; what is personal it does not."""
    free = givable - item.documents if item.shared_openly else set()
    if case["action"] == "model" and not item.shared_openly and item.consent_subject == "enterprise":
        free = givable - item.personal
    return free


def verifying(case: Case, item: Item) -> bool:
    """MOD-03, MIN-10: a verification was asked for, or the lists share the item in no other way. A model is neither."""
    return case["action"] == "verify" or (item.verified_only and case["action"] != "model")


def choose(case: Case, item: Item, wanted: set[str], rules: Law) -> tuple[Case | None, str]:
    """The one grant that covers what is wanted, never a union: the one that gives most, then the lowest id. Else None and why."""
    if not wanted:
        return None, "policy.unavailable"
    grants = [grant for grant in case["grants"] if grant["item"] == item.code and _may_grant(item, grant["by"])]
    fit = [grant for grant in grants if hurdle(case, grant, rules) is None and wanted & set(grant["fields"])]
    if fit:
        return min(fit, key=lambda grant: (-len(wanted & set(grant["fields"])), grant["grant_id"], grant["identifier"])), ""
    if not grants:  # CON-07, CON-10: another's grant, an unregistered enterprise and no grant at all answer alike
        return None, "item.person_consent_required" if item.consent_subject == "person" else "item.not_granted"
    stopped = [(hurdle(case, grant, rules) or (len(HURDLES), "field.not_granted"), grant) for grant in grants]
    furthest = min(stopped, key=lambda pair: (-pair[0][0], pair[1]["grant_id"], pair[1]["identifier"]))
    return None, furthest[0][1]


def _may_grant(item: Item, by: str) -> bool:
    return by in ("enterprise", "person") and item.consent_subject in (by, "enterprise_or_person")


HURDLES = (
    "subject.not_verified",
    "action.not_granted",
    "purpose.not_granted",
    "grant.revoked",
    "grant.expired",
    "grant.suspended",
    "channel.not_allowed",
    "grant.range_exceeded",
    "grant.frequency_exceeded",
)
"""What a grant must pass, in this order (decision record 2): the grant that comes furthest names the cure."""


def hurdle(case: Case, grant: Case, rules: Law) -> tuple[int, str] | None:
    """The first hurdle that a grant does not take, with its place; None if it takes all."""
    frequency = grant["frequency"]
    passed = {
        "subject.not_verified": case["subject"]["verified"] is True,
        "action.not_granted": case["action"] in COVERS.get(grant["action"], (grant["action"],)),
        "purpose.not_granted": _same_purpose(case, grant),
        "grant.revoked": grant["status"] in ("active", "suspended") and grant["item_status"] == "active",
        "grant.expired": grant["valid_until"] is not None and case["now"] < grant["valid_until"],
        "grant.suspended": grant["status"] != "suspended",
        "channel.not_allowed": set(case["via"]) <= set(grant["via"]) and case["processor"] in (None, grant["processor"]),
        "grant.range_exceeded": _in_range(case, grant, rules),
        "grant.frequency_exceeded": frequency is None or grant["used"] < frequency["max"],
    }
    return next(((place, code) for place, code in enumerate(HURDLES) if not passed[code]), None)


def _same_purpose(case: Case, grant: Case) -> bool:
    if grant["purpose"] != case["purpose"]:
        return False
    product = grant["product"]
    if product is None:
        return True
    # A check that names no product is judged under the product of the grant (decision record 2).
    offer = case["institution"]["products"].get(product)
    return (
        case["product"] in (None, product)
        and offer is not None
        and case["purpose"] in offer["purposes"]
        and in_profile(offer, grant["item"])
    )


def _in_range(case: Case, grant: Case, rules: Law) -> bool:
    """MIN-05: neither before the granted days nor further back than the purpose looks."""
    years = rules.matrix[case["purpose"], grant["item"]].look_back_years
    firsts = [first for first in (grant["data_from"], earliest(case["today"], years)) if first is not None]
    days = [day for day in (case["data_from"], case["data_to"]) if day is not None]
    return all(first <= day for first in firsts for day in days)


def earliest(today: str, years: int) -> str:
    """The same day so many years before; where that year has no 29th of February, the 1st of March."""
    year, rest = int(today[:4]) - years, today[4:]
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    return f"{year:04}-03-01" if rest == "-02-29" and not leap else f"{year:04}{rest}"


def _given(
    case: Case, item: Item, requested: set[str], offered: set[str], compared: set[str], given: set[str], held: Case | None, rules: Law
) -> Case:
    needed = rules.needed(case["purpose"], item.code)
    withheld, refused = requested - given, requested - offered
    codes = {
        "field.third_party": refused & item.barred,
        "field.not_necessary": refused - item.barred - needed,
        "field.identity_document": (refused & needed & item.documents) - item.barred,
        "field.not_granted": (refused & needed) - item.barred - item.documents,
    }
    reasons = {code for code, found in codes.items() if found} | _why_less(case, item, offered, compared, given)
    obligations = _obligations(case, item, given)
    masked = withheld or any(duty["code"] in ("mask", "band") for duty in obligations)
    outcome = (
        "model_only" if case["action"] == "model" else "verify_only" if verifying(case, item) else "permit_masked" if masked else "permit"
    )
    if held is not None:
        days = min(rules.matrix[case["purpose"], item.code].retention_days, held.get("retention_days") or 10**9)
        obligations.append({"code": "retain_days", "fields": sorted(given), "value": days})
    by = None if held is None else held["by"]
    return {
        "item": item.code,
        "outcome": outcome,
        "basis": {"person": "person", "enterprise": "grant", None: "open" if item.shared_openly else "model"}[by],
        "grant_id": None if held is None else held["grant_id"],
        "identifier": None if held is None else held["identifier"],
        "fields": sorted(given),
        "withheld": sorted(withheld),
        "codes": sorted(reasons),
        "obligations": obligations,
        "flags": _flags(case, item.code),
    }


def _obligations(case: Case, item: Item, given: set[str]) -> list[Case]:
    """MIN-01, MIN-04, MOD-03, MOD-04: how the receiver must handle the fields."""
    modelled = case["action"] == "model"
    masked_classes = law().settings["masked_classes"]
    sensitive = set() if case["processor"] is None else {field for field in given if item.classes[field] in masked_classes}
    plain = [("aggregate", modelled), ("do_not_store", modelled), ("match_only", verifying(case, item))]
    duties = [{"code": code, "fields": sorted(given), "value": None} for code, due in plain if due]
    duties += [{"code": "band", "fields": fields, "value": edges} for edges, fields in by_edges(given & item.banded)]
    duties += [{"code": "mask", "fields": fields, "value": method} for method, fields in by_method(sensitive)]
    return sorted(duties, key=lambda duty: duty["code"])


def _denied(case: Case, code: str, codes: set[str]) -> Case:
    return {
        "item": code,
        "outcome": "deny",
        "basis": None,
        "grant_id": None,
        "identifier": None,
        "fields": [],
        "withheld": [],
        "codes": sorted(codes),
        "obligations": [],
        "flags": _flags(case, code),
    }


def _flags(case: Case, code: str) -> list[str]:
    """SUB-02: a dispute flags and does not deny."""
    return ["disputed"] if code in case["disputed"] else []
