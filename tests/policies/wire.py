"""From the words of a case to what an engine is asked, through the values and the function that the service itself uses.

Only this module knows both. Whoever changes the shape of the policies' input changes `consent.decisions.facts` and, where a value got
another name, this module; the corpus, the oracle, the generator and the properties stay as they are.
"""

from datetime import UTC, date, datetime, timedelta
from typing import Any

from msgspec import UNSET

from consent.decisions.facts import policy_input
from consent.decisions.facts import request_input as policy_request
from consent.decisions.model import Asked, Check, Facts, GrantItem, Known, Loan, Ticket
from consent.grants.model import Detail, Frequency

Case = dict[str, Any]

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
PLATFORM, INSTITUTION = "platform-a", "bank-a"


def check_input(case: Case, key: str = "k") -> Case:
    """The engine's input for a check."""
    return policy_input(key, check_of(case), facts_of(case))


def request_input(case: Case, key: str = "k") -> Case:
    """The engine's input for an authorization request."""
    details = [_detail(detail) for detail in case["details"]]
    asked = policy_request(key, case["now"], case["institution"], details, case["allowed_items"], case["allowed_purposes"])
    for line, detail in zip(asked["details"], case["details"], strict=True):
        line["valid_until"] = detail["valid_until"]  # the service knows no detail without an end; a case may
    return asked


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
        service=case["service"],
        channel=case["channel"],
    )


def facts_of(case: Case) -> Facts:
    """What was known when it was asked."""
    institution, platform, loan, model, ticket = (case[name] for name in ("institution", "platform", "loan", "model", "ticket"))
    return Facts(
        now=case["now"],
        today=case["today"],
        institution=None if institution is None else _known(institution),
        platform=None if platform is None else _known(platform),
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
        terminal=case["terminal"],
        conduits={name: _known(case["conduits"][name]) for name in case["via"] if name in case["conduits"]},
        disputed=tuple(case["disputed"]),
        guesses=case["guesses"],
    )


def _known(party: Case) -> Known:
    return Known(1, party, {"own_items": [], **party}, ())


def _detail(detail: Case) -> Detail:
    frequency, day = detail["frequency"], detail["data_from"]
    return Detail(
        type="financing_data",
        identifier=detail["identifier"],
        actions=(detail["action"],),
        datatypes=(detail["item"],),
        fields=UNSET if detail["fields"] is None else tuple(detail["fields"]),
        purpose=detail["purpose"],
        product=UNSET if detail["product"] is None else detail["product"],
        necessity="required",
        data_from=UNSET if day is None else date.fromisoformat(day),
        valid_until=EPOCH + timedelta(milliseconds=detail["valid_until"] or 0),
        frequency=UNSET if frequency is None else Frequency(max=frequency["max"], per=frequency["per"]),
        retention_days=UNSET if detail["retention_days"] is None else detail["retention_days"],
        via=tuple(detail["via"]),
        processor=UNSET if detail["processor"] is None else detail["processor"],
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
