"""From the words of a case to what an engine is asked, through the values and the function that the service itself uses.

Only this module knows both. Whoever changes the shape of the policies' input changes `consent.decisions.facts` and, where a value got
another name, this module; the corpus, the oracle, the generator and the properties stay as they are.
"""

from typing import Any

from consent.decisions.facts import policy_input
from consent.decisions.model import Asked, Check, Facts, GrantItem, Known, Loan, Ticket

Case = dict[str, Any]

PLATFORM, INSTITUTION = "platform-a", "bank-a"


def check_input(case: Case, key: str = "k") -> Case:
    """The engine's input for a check."""
    asked = policy_input(key, check_of(case), facts_of(case))
    return {**asked, "service": case["service"], "terminal": case["terminal"], "disputed": case.get("disputed", [])}


def request_input(case: Case, key: str = "k") -> Case:
    """The engine's input for an authorization request."""
    return {**case, "key": key}


def check_of(case: Case) -> Check:
    """The question."""
    ticketed = case["ticket"] is not None or case["caller"]["attested"] == "ticket"
    return Check(
        client="client-a",
        platform=PLATFORM if case["caller"]["kind"] == "platform" else None,
        institution=INSTITUTION,
        identifier="91330200MA2AAAAA00",
        action=case["action"],
        purpose=case["purpose"],
        product=case["product"],
        loan=None if case["loan"] is None else "loan-1",
        model=None if case["model"] is None else "model-1",
        processor=case["processor"],
        via=tuple(case["via"]),
        items=tuple(Asked(line["item"], _tuple(line["fields"]), _tuple(line["claimed"])) for line in case["items"]),
        data_from=case["data_from"],
        data_to=case["data_to"],
        request_id=None,
        ticket="t" if ticketed else None,
        request_key=None,
        request_hash=b"",
    )


def facts_of(case: Case) -> Facts:
    """What was known when it was asked."""
    institution, platform, loan, model, ticket = (case[name] for name in ("institution", "platform", "loan", "model", "ticket"))
    return Facts(
        now=case["now"],
        today=case["today"],
        institution=None if institution is None else Known(1, institution, institution, ()),
        platform=None if platform is None else Known(1, platform, {"own_items": [], **platform}, ()),
        subject_version=1,
        verified=case["subject"]["verified"],
        pseudonym="p",
        grants=[_grant(grant) for grant in case["grants"]],
        grants_version=1,
        loan=None if loan is None else Loan(loan["phase"], loan["product"], 1),
        model_items=model["items"] if model is not None and model["registered"] else None,
        ticket=None if ticket is None else Ticket(open=ticket["valid"], until=case["now"] + 1, items=ticket["items"]),
        recorded=None,
        valid_before=case["now"] + 1,
    )


def _grant(grant: Case) -> GrantItem:
    frequency = grant["frequency"] or {"max": None, "per": None}
    return GrantItem(
        grant_id=grant["grant_id"],
        seq=int(grant["identifier"].removeprefix("d")),
        by=grant["by"],
        status=grant["status"],
        item=grant["item"],
        item_status=grant["item_status"],
        action=grant["action"],
        purpose=grant["purpose"],
        product=grant["product"],
        fields=grant["fields"],
        data_from=grant["data_from"],
        valid_until=grant["valid_until"],
        frequency_max=frequency["max"],
        frequency_per=frequency["per"],
        used=grant["used"],
        via=grant["via"],
        processor=grant["processor"],
        retention_days=grant.get("retention_days"),
    )


def _tuple(values: list[str] | None) -> tuple[str, ...] | None:
    return None if values is None else tuple(values)
