"""Twists of checks: each takes a case that would be permitted and moves one fact to, before or beyond a boundary."""

import random
from collections.abc import Callable
from typing import Any

from tests.policies import corpus
from tests.policies.law import law

Case = dict[str, Any]
Rng = random.Random
Twist = Callable[[Case, Rng], None]

CHECK_TWISTS: dict[str, Twist] = {}
ABOUT_GRANTS: set[str] = set()
"""Twists that say nothing about a case without a grant."""
PHASES = ("applied", "approved", "refused", "disbursed", "settled", "overdue")
ACTIONS = ("query", "verify", "push", "report", "model", "collect", "delete")
KINDS = ("bank", "platform", "accounting_platform", "tax_gateway", "department", "conduit", "credit_bureau")
STATUSES = ("applied", "active", "rectifying", "suspended", "cancelled", "odd")
NOW = corpus.BASE["check"]["now"]
AROUND = (None, NOW - 1, NOW, NOW + 1)


def twist(function: Twist) -> Twist:
    """Take part."""
    CHECK_TWISTS[function.__name__] = function
    return function


def grant_twist(function: Twist) -> Twist:
    """Take part with cases that have a grant."""
    ABOUT_GRANTS.add(function.__name__)
    return twist(function)


def loans_for(purpose: str) -> list[Case]:
    """Loans in whose phase the purpose is open."""
    return [{"phase": phase, "product": None} for phase in law().purposes[purpose]["phases"]]


@twist
def as_it_is(case: Case, rng: Rng) -> None:
    """Nothing: most of these are permitted."""


@twist
def all_as_it_is(case: Case, rng: Rng) -> None:
    """All fields of all items."""
    for line in case["items"]:
        line["fields"] = None


@twist
def status(case: Case, rng: Rng) -> None:
    """The institution's standing."""
    if case["institution"] is not None:
        case["institution"]["status"] = rng.choice(STATUSES)


@twist
def assessment(case: Case, rng: Rng) -> None:
    """Its assessment begins or ends about now."""
    if case["institution"] is not None:
        case["institution"][rng.choice(("assessed_from", "assessed_until"))] = rng.choice(AROUND)


@twist
def agreement_or_terminal(case: Case, rng: Rng) -> None:
    """No agreement, or some state of the terminal."""
    if rng.random() < 0.4 and case["institution"] is not None:
        case["institution"]["agreement"] = False
    else:
        case["terminal"] = rng.choice(("match", "mismatch", "unregistered", "odd"))


@twist
def nobody(case: Case, rng: Rng) -> None:
    """An institution that is not registered."""
    case["institution"] = None


@twist
def another_purpose(case: Case, rng: Rng) -> None:
    """A word of the list, a known one outside it, an unknown one; the grants still say the first."""
    words = [*law().purposes] * 2 + sorted(law().not_financing)[:6] + ["fun", "", "Pre_loan"]
    case["purpose"] = rng.choice(words)


@twist
def undeclared(case: Case, rng: Rng) -> None:
    """The institution declared all but one purpose."""
    if case["institution"] is not None:
        left_out = rng.choice([case["purpose"], *law().purposes])
        case["institution"]["purposes"] = [purpose for purpose in law().purposes if purpose != left_out]


@twist
def product(case: Case, rng: Rng) -> None:
    """A product with some purposes and a profile, or one that nobody registered."""
    case["product"] = rng.choice(("tax-loan-01", "tax-loan-02", "own", "gone"))
    if case["institution"] is not None:
        items = sorted({line["item"] for line in case["items"]})
        purposes = rng.choice(([case["purpose"]], [case["purpose"], "pre_loan"], ["approval"]))
        case["institution"]["products"]["own"] = {"purposes": purposes, "items": rng.choice((None, items, items[1:], []))}


@twist
def loan_phase(case: Case, rng: Rng) -> None:
    """A loan in any phase, or none."""
    case["loan"] = rng.choice([None] + [{"phase": phase, "product": None} for phase in (*PHASES, "open")])


@twist
def loan_product(case: Case, rng: Rng) -> None:
    """A loan under some product."""
    if case["purpose"] in law().purposes:
        case["loan"] = {**rng.choice(loans_for(case["purpose"])), "product": rng.choice((None, "tax-loan-01", "tax-loan-02"))}
        case["product"] = rng.choice((None, None, "tax-loan-01"))


@twist
def action(case: Case, rng: Rng) -> None:
    """Any action; sometimes by an accounting platform; the grants follow half of the time."""
    case["action"] = rng.choice(ACTIONS)
    if case["institution"] is not None and rng.random() < 0.5:
        case["institution"]["kind"] = rng.choice(KINDS)
    for grant in case["grants"]:
        if rng.random() < 0.5:
            grant["action"] = case["action"]


@twist
def collecting(case: Case, rng: Rng) -> None:
    """Gathering data, by those who may and those who may not."""
    case["action"] = "collect"
    if case["institution"] is not None:
        case["institution"]["kind"] = rng.choice(KINDS)
    for grant in case["grants"]:
        grant["action"] = "collect"


@grant_twist
def granted_action(case: Case, rng: Rng) -> None:
    """Granted for some action."""
    for grant in case["grants"]:
        grant["action"] = rng.choice(ACTIONS)


@twist
def model(case: Case, rng: Rng) -> None:
    """A model: registered for all of it, for a part, not any more, never."""
    codes = [line["item"] for line in case["items"]]
    case["action"] = "model"
    if rng.random() < 0.5:
        case["purpose"] = rng.choice(("modelling", "approval", "post_loan"))
    items = rng.choice((codes, codes, codes[1:], []))
    case["model"] = rng.choice(
        (None, {"registered": True, "items": items}, {"registered": True, "items": codes}, {"registered": False, "items": []})
    )
    for grant in case["grants"]:
        grant["action"], grant["purpose"] = "model", case["purpose"]


@twist
def model_without_grants(case: Case, rng: Rng) -> None:
    """What a registered model may read without anybody's consent."""
    purposes = [purpose for (purpose, code) in law().matrix if code == case["items"][0]["item"]]
    case.update(action="model", grants=[], loan=None, purpose=rng.choice(purposes) if purposes else case["purpose"])
    case["model"] = {"registered": True, "items": [line["item"] for line in case["items"]]}
    if case["purpose"] in law().purposes and law().purposes[case["purpose"]]["loan_required"]:
        case["loan"] = rng.choice(loans_for(case["purpose"]))


@twist
def detail_for_modelling(case: Case, rng: Rng) -> None:
    """Modelling gives no detail."""
    case["purpose"], case["action"] = "modelling", rng.choice(("query", "model", "verify"))


@twist
def platform(case: Case, rng: Rng) -> None:
    """A platform asks; its standing is near some boundary."""
    facts = {"id": "platform-a", "kind": rng.choice(KINDS), "status": "active", "agreement": True}
    facts |= {"assessed_from": NOW - 1, "assessed_until": NOW + 1, "purposes": [], "products": {}}
    codes = [line["item"] for line in case["items"]]
    facts["own_items"] = rng.choice((codes, codes[:1], []))
    fault = rng.choice(("none", "none", "none", "status", "status", "agreement", "assessed_from", "assessed_until"))
    values = {"status": STATUSES, "agreement": (False, True), "assessed_from": AROUND, "assessed_until": AROUND}
    if fault != "none":
        facts[fault] = rng.choice(values[fault])
    case["platform"] = facts if rng.random() < 0.93 else None
    case["caller"] = {"kind": "platform", "attested": "platform"}


@twist
def ticket(case: Case, rng: Rng) -> None:
    """A platform redeems a ticket: for all of it, for less, for something else, a spent one, none."""
    platform(case, rng)
    if rng.random() < 0.7 and case["platform"] is not None:
        case["platform"].update(kind="platform", status="active", agreement=True, assessed_from=NOW - 1, assessed_until=NOW + 1)
    case["caller"]["attested"] = "ticket"
    named = {}
    for line in case["items"]:
        fields = list(law().items[line["item"]].fields) if line["item"] in law().items else []
        named[line["item"]] = rng.sample(fields, rng.randint(1, len(fields))) if fields and rng.random() < 0.5 else fields
    if rng.random() < 0.2:
        named.popitem()
    case["ticket"] = None if rng.random() < 0.1 else {"valid": rng.random() < 0.85, "items": named}


@twist
def bulk(case: Case, rng: Rng) -> None:
    """In bulk, or by a service that nobody knows."""
    case["service"] = rng.choice(("bulk", "bulk", "odd"))


@twist
def disputed(case: Case, rng: Rng) -> None:
    """An open dispute."""
    case["disputed"] = [rng.choice(case["items"])["item"], "N21-08-02"]


@grant_twist
def unverified(case: Case, rng: Rng) -> None:
    """An enterprise that is not verified by real name, or whose state is missing."""
    case["subject"] = {"verified": rng.choice((False, False, None))}


@grant_twist
def range_of_data(case: Case, rng: Rng) -> None:
    """First and last days about the granted first day and about the end of looking back."""
    years = rng.choice((2, 3, 5))
    edge = f"{2026 - years}-11-"
    days = (None, "2025-01-01", "2024-12-31", "2025-01-02", f"{edge}20", f"{edge}19", f"{edge}21", "2026-11-20")
    case["data_from"], case["data_to"] = sorted(rng.sample(days, 2), key=lambda day: day or "")
    for grant in case["grants"]:
        grant["data_from"] = rng.choice((None, None, "2025-01-01", f"{edge}20"))


@grant_twist
def conduits(case: Case, rng: Rng) -> None:
    """A chain of conduits, of which the grant names all, some or none."""
    case["via"] = rng.choice(([], ["pboc-credit"], ["pboc-credit", "bureau-a"]))
    for grant in case["grants"]:
        grant["via"] = rng.choice(([], ["pboc-credit"], ["bureau-a"], ["bureau-a", "pboc-credit"]))


@grant_twist
def processors(case: Case, rng: Rng) -> None:
    """A third party that works for the bank, named in the grant or not."""
    case["processor"] = rng.choice(("lab-a", "lab-b"))
    for grant in case["grants"]:
        grant["processor"] = rng.choice(("lab-a", "lab-b", "lab-a", None))


@twist
def ways(case: Case, rng: Rng) -> None:
    """Through a platform, straight from a department, by a way that nobody knows."""
    if rng.random() < 0.7:
        platform(case, rng)
        if case["platform"] is not None:
            case["platform"]["kind"] = rng.choice(("department", "tax_gateway", "platform"))
    case["channel"] = rng.choice(("platform", "department_direct", "department_direct", "email"))


@twist
def hops(case: Case, rng: Rng) -> None:
    """A conduit whose standing is near some boundary, or that nobody registered."""
    case["via"] = rng.choice((["pboc-credit"], ["bureau-a", "pboc-credit"]))
    for grant in case["grants"]:
        grant["via"] = case["via"]
    hop = case["conduits"]["pboc-credit"]
    fault = rng.choice(("none", "kind", "status", "agreement", "assessed_from", "assessed_until", "nobody"))
    values = {"kind": KINDS, "status": STATUSES, "agreement": (False, True), "assessed_from": AROUND, "assessed_until": AROUND}
    if fault == "nobody":
        del case["conduits"]["pboc-credit"]
    elif fault != "none":
        hop[fault] = rng.choice(values[fault])


@twist
def guesses(case: Case, rng: Rng) -> None:
    """Fields compared once less than, as often as, oftener than is allowed in a day."""
    limit = law().settings["guesses_per_day"]
    if case["purpose"] != "modelling" and rng.random() < 0.8:
        case["action"] = "verify"
        for grant in case["grants"]:
            grant["action"] = "verify"
    for line in case["items"]:
        known = law().items[line["item"]].fields if line["item"] in law().items else ()
        guessed = known if rng.random() < 0.3 else rng.sample(known, min(len(known), rng.randint(0, 3)))
        case["guesses"] |= {field: limit + rng.choice((-1, 0, 1)) for field in guessed}
