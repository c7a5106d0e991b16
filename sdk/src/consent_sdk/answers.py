"""Answers to checks: from JSON to a typed value, after holding them against the question."""

from typing import Annotated, Any

import msgspec

from consent_sdk.errors import CallFailed, Undecided
from consent_sdk.models import IN_FULL, Check, Decision, Denial, ItemResult, PartialPermit, Permit


class _Ledger(msgspec.Struct, frozen=True):
    index: Annotated[int, msgspec.Meta(ge=0)]
    leaf: Annotated[str, msgspec.Meta(min_length=1)]


class _Context(msgspec.Struct, frozen=True):
    id: Annotated[str, msgspec.Meta(min_length=1)]
    outcome: str
    codes: tuple[str, ...]
    items: tuple[ItemResult, ...]
    solution: dict[str, str] | None
    policy: str
    catalogue: str
    ledger: _Ledger


class _Answer(msgspec.Struct, frozen=True):
    decision: bool
    context: _Context


class _Error(msgspec.Struct, frozen=True):
    status: int
    code: str
    en: str = ""


def read_decision(check: Check, answer: Any) -> Decision:
    """The answer as a typed value.

    Raises:
        Undecided: the answer has another shape, other items, more than was asked, or contradicts itself.
        CallFailed: this one of several checks was refused by itself.
    """
    _raise_error(answer)
    try:
        read = msgspec.convert(answer, _Answer)
    except msgspec.ValidationError as error:
        raise Undecided(f"the answer cannot be read: {error}") from None
    context = read.context
    if [result.item for result in context.items] != list(check.items):
        raise Undecided("the answer is about other items than the question")
    for result in context.items:
        _hold(check, result)
    wish = IN_FULL.get(check.action)
    full = bool(context.items) and all(result.outcome == wish and not result.withheld for result in context.items)
    denied = all(result.outcome == "deny" for result in context.items)
    if (read.decision, context.outcome) != (full, "full" if full else "none" if denied else "partial"):
        raise Undecided("the answer contradicts itself")
    kind = Permit if full else Denial if denied else PartialPermit
    solution = context.solution or {}
    return kind(
        id=context.id,
        action=check.action,
        items=context.items,
        codes=context.codes,
        solution_zh=solution.get("zh", ""),
        solution_en=solution.get("en", ""),
        policy=context.policy,
        catalogue=context.catalogue,
        ledger_index=context.ledger.index,
        ledger_leaf=context.ledger.leaf,
    )


def _raise_error(answer: Any) -> None:
    """One of several checks that was not decided carries its error instead (AuthZEN 1.0, access evaluations)."""
    context = answer.get("context") if isinstance(answer, dict) else None
    if not isinstance(context, dict) or "error" not in context:
        return
    try:
        error = msgspec.convert(context["error"], _Error)
    except msgspec.ValidationError:
        raise Undecided("one of the checks was not decided") from None
    if 400 <= error.status < 500:
        raise CallFailed(error.status, error.code, error.en)
    raise Undecided(f"one of the checks was not decided ({error.code})")


def _hold(check: Check, result: ItemResult) -> None:
    """One line against the question: it may give less than was asked, never more."""
    asked = check.fields.get(result.item) if check.fields is not None else None
    outside = [f for f in result.fields if (f not in asked if asked is not None else not f.startswith(f"{result.item}."))]
    given = result.outcome != "deny"
    if outside or (result.fields and not given):
        raise Undecided("the answer permits more fields than the question asked for")
    if given != (result.basis is not None) or set(result.fields) & set(result.withheld):
        raise Undecided("the answer contradicts itself")
    if check.action in {"verify", "model"} and result.outcome not in {IN_FULL[check.action], "deny"}:
        raise Undecided("the answer permits another action than the question asked for")
