"""What a policy engine may answer. Anything else is no answer (design §3.2: what cannot decide never permits).

An engine is outside our trust in one direction: it may fail, be stale or answer another question. So an answer is used only if it has
exactly this shape, was made by the revision that we run, and matches what was asked, item by item and in order.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar, cast

import msgspec

from consent.decisions.codes import CODES
from consent.errors import OtherRevision, PolicyUnavailable

T = TypeVar("T")
Outcome = Literal["permit", "permit_masked", "verify_only", "model_only", "deny"]
WISHES: Mapping[str, Outcome] = {"verify": "verify_only", "model": "model_only"}


class _Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    pass


class Obligation(_Strict, frozen=True):
    """What must be done with some of the fields; `value`: a mask's method, a band's rising edges, a number of days, or nothing."""

    code: Literal["aggregate", "band", "do_not_store", "mask", "match_only", "retain_days"]
    fields: list[str]
    value: int | str | list[int] | None


class ItemAnswer(_Strict, frozen=True):
    """One item of a check, as in design §4."""

    item: str
    outcome: Outcome
    basis: Literal["open", "grant", "person", "model"] | None
    grant_id: str | None
    identifier: str | None
    fields: list[str]
    withheld: list[str]
    codes: list[str]
    obligations: list[Obligation]
    flags: list[str]


class CheckAnswer(_Strict, frozen=True):
    """One check."""

    key: str
    revision: str
    decision: bool
    outcome: Literal["full", "partial", "none"]
    codes: list[str]
    items: list[ItemAnswer]


class DetailAnswer(_Strict, frozen=True):
    """One detail of an authorization request."""

    identifier: str
    verdict: Literal["keep", "downgrade", "refuse"]
    codes: list[str]
    advice: dict[str, Any] | None
    fields: list[str]


class RequestAnswer(_Strict, frozen=True):
    """One authorization request. `excess`, 0 to 100: how far it goes beyond what its purposes need."""

    key: str
    revision: str
    verdict: Literal["keep", "refuse"]
    details: list[DetailAnswer]
    excess: Annotated[int, msgspec.Meta(ge=0, le=100)]


def accept_decisions(raw: object, checks: list[dict[str, Any]], revision: str) -> list[dict[str, Any]]:
    """`raw` as answers to `checks`, in the same order.

    Raises:
        OtherRevision: it was made by other policies.
        PolicyUnavailable: it is anything else.
    """
    _see_revision(raw, revision)
    answers = _convert(raw, list[CheckAnswer])
    if len(answers) != len(checks) or not all(map(_answers_check, answers, checks)):
        raise PolicyUnavailable
    return cast("list[dict[str, Any]]", raw)  # The structs hold every member of it and no other.


def accept_verdicts(raw: object, requests: list[dict[str, Any]], revision: str) -> list[dict[str, Any]]:
    """`raw` as answers to authorization `requests`, in the same order.

    Raises:
        OtherRevision: it was made by other policies.
        PolicyUnavailable: it is anything else.
    """
    _see_revision(raw, revision)
    answers = _convert(raw, list[RequestAnswer])
    if len(answers) != len(requests) or not all(map(_answers_request, answers, requests)):
        raise PolicyUnavailable
    return [msgspec.to_builtins(answer) for answer in answers]


def _see_revision(raw: object, revision: str) -> None:
    """Before anything else, for an answer by other policies may have another form."""
    for answer in raw if isinstance(raw, list) else ():
        found = answer.get("revision") if isinstance(answer, dict) else None
        if isinstance(found, str) and found != revision:
            raise OtherRevision(found, revision)


def _convert(raw: object, kind: type[T]) -> T:
    try:
        return msgspec.convert(raw, kind)
    except msgspec.ValidationError:
        raise PolicyUnavailable from None


def _answers_check(answer: CheckAnswer, check: dict[str, Any]) -> bool:
    asked = check["items"]
    if answer.key != check["key"] or len(answer.items) != len(asked) or not asked:
        return False
    grants = {(grant["grant_id"], grant["identifier"]) for grant in check["grants"]}
    if not all(_answers_item(item, wanted, grants) for item, wanted in zip(answer.items, asked, strict=True)):
        return False
    outcomes = {item.outcome for item in answer.items}
    full = outcomes == {WISHES.get(check["action"], "permit")} and not any(item.withheld for item in answer.items)
    overall = "full" if full else "none" if outcomes == {"deny"} else "partial"
    codes = sorted({code for item in answer.items for code in item.codes})
    return (answer.decision, answer.outcome, answer.codes) == (full, overall, codes)


def _answers_item(answer: ItemAnswer, wanted: dict[str, Any], grants: set[tuple[str, str]]) -> bool:
    named = answer.fields + answer.withheld
    if answer.item != wanted["item"] or not CODES.keys() >= set(answer.codes) or len(set(named)) != len(named):
        return False
    if answer.outcome == "deny":
        return answer.basis is None and not named and not answer.obligations and bool(answer.codes)
    if not answer.fields or answer.basis is None or (answer.withheld and answer.outcome == "permit"):
        return False
    if wanted["fields"] is not None and not set(named) <= set(wanted["fields"]):
        return False
    if not all(field.startswith(f"{answer.item}.") for field in named):
        return False
    source = (answer.grant_id, answer.identifier)
    return source in grants if answer.basis in {"grant", "person"} else source == (None, None)


def _answers_request(answer: RequestAnswer, request: dict[str, Any]) -> bool:
    details = request["details"]
    if answer.key != request["key"] or len(answer.details) != len(details) or not details:
        return False
    keep = all(detail.verdict == "keep" for detail in answer.details)
    return (answer.verdict == "keep") == keep and all(map(_answers_detail, answer.details, details))


def _answers_detail(answer: DetailAnswer, detail: dict[str, Any]) -> bool:
    if answer.identifier != detail["identifier"] or not CODES.keys() >= set(answer.codes):
        return False
    if answer.verdict != "keep":
        return bool(answer.codes) and not answer.fields
    asked = detail["fields"]
    return bool(answer.fields) and not answer.codes and (asked is None or set(answer.fields) == set(asked))
