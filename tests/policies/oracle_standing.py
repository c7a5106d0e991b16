"""The oracle's first stage: who asks and what for. Whatever is refused here learns nothing about items or grants (decision record 2)."""

from typing import Any

from tests.policies.law import Law

Case = dict[str, Any]

ACTIONS = ("query", "verify", "push", "report", "model")


def refusals(case: Case, rules: Law) -> set[str]:
    """Why nothing at all is answered: who asks and what for is judged before any item is looked at."""
    codes = standing(case) | declared(case, rules) | _caller(case, rules) | _way(case, rules)
    purpose = rules.purposes.get(case["purpose"])
    if purpose is not None:
        if not _phase_open(case, purpose):
            codes.add("purpose.phase_closed")  # LIF-01, LIF-05, PUR-07
        if case["purpose"] == "modelling" and case["action"] != "model":
            codes.add("mode.model_only")  # PUR-04, MOD-04
    return codes


def standing(case: Case) -> set[str]:
    """ONB-01 to ONB-04, ONB-12, NET-03: an institution in bad standing gets nothing, not even what is open."""
    codes = set()
    institution = case["institution"]
    if case["terminal"] not in ("match", "unregistered"):
        codes.add("institution.terminal_mismatch")
    if institution is None:
        return codes | {"institution.unknown"}
    status = institution["status"]
    if status in ("rectifying", "suspended", "cancelled"):
        codes.add(f"institution.{status}")
    elif status != "active":
        codes.add("institution.not_assessed")
    if not assessed(institution, case["now"]):
        codes.add("institution.not_assessed")
    if institution["agreement"] is not True:
        codes.add("institution.no_agreement")
    return codes


def assessed(party: Case, now: int) -> bool:
    """Whether its assessment is valid at `now`: from its first instant on, until before its last."""
    begins, ends = party["assessed_from"], party["assessed_until"]
    return begins is not None and ends is not None and begins <= now < ends


def declared(case: Case, rules: Law) -> set[str]:
    """PUR-01, PUR-09, PUR-11: the closed list of purposes; declared by the institution, and for the product that it names."""
    codes = set()
    purpose, action, institution = case["purpose"], case["action"], case["institution"]
    financing = purpose in rules.purposes
    if not financing:
        codes.add("purpose.not_financing" if purpose in rules.not_financing else "purpose.unknown")
    collects = institution is not None and institution["kind"] in rules.settings["collecting_kinds"]
    if action not in ACTIONS and not (action == "collect" and collects):
        codes.add("action.not_granted")  # CON-14
    if institution is None:
        return codes
    product = case["product"]
    offer = institution["products"].get(product)
    if product is not None and offer is None:
        codes.add("institution.product_not_declared")
    if financing and (purpose not in institution["purposes"] or (offer is not None and purpose not in offer["purposes"])):
        codes.add("purpose.not_declared")
    return codes


def _caller(case: Case, rules: Law) -> set[str]:
    """ONB-02, ACT-06, ACT-07 and the ticket: who asks on an institution's behalf has a standing of its own."""
    codes = set()
    caller, platform, ticket = case["caller"], case["platform"], case["ticket"]
    if caller["kind"] == "platform":
        if platform is None:
            codes.add("platform.not_assessed")
        else:
            if platform["status"] in ("rectifying", "suspended", "cancelled"):
                codes.add("platform.suspended")
            elif platform["status"] != "active" or platform["agreement"] is not True or not assessed(platform, case["now"]):
                codes.add("platform.not_assessed")
            if platform["kind"] not in rules.settings["providing_kinds"]:
                codes.add("channel.not_allowed")
    elif caller["kind"] != "institution":
        codes.add("channel.not_allowed")
    if ticket is None and caller["attested"] == "ticket":
        codes.add("ticket.invalid")
    if ticket is not None and ticket["valid"] is not True:
        codes.add("ticket.invalid")
    return codes


def _way(case: Case, rules: Law) -> set[str]:
    """ACT-06, ACT-07, CON-17: through a platform or straight from a department; each conduit registered and in good standing."""
    platform = case["platform"] if case["caller"]["kind"] == "platform" else None
    department = platform is not None and platform["kind"] in rules.settings["own_domain_kinds"]
    regular = case["channel"] in (None, "platform") or (case["channel"] == "department_direct" and department)
    return set() if regular and all(_conducts(case, name, rules) for name in case["via"]) else {"channel.not_allowed"}


def _conducts(case: Case, name: str, rules: Law) -> bool:
    hop = case["conduits"].get(name)
    if hop is None or hop["kind"] not in rules.settings["conduit_kinds"]:
        return False
    return hop["status"] == "active" and hop["agreement"] is True and assessed(hop, case["now"])


def _phase_open(case: Case, purpose: Case) -> bool:
    loan = case["loan"]
    if loan is None:
        return not purpose["loan_required"]
    if loan["phase"] not in purpose["phases"]:
        return False
    return case["product"] is None or loan["product"] is None or loan["product"] == case["product"]
