"""What was recorded of an item, held against what the policies say now."""

from typing import Any, Literal

from msgspec import Struct

from consent.decisions.answers import CheckAnswer, ItemAnswer
from consent.decisions.model import UNKNOWN

Change = Literal["same", "lost", "gained", "changed", "explained"]
"""lost: a permit became a denial; gained: the reverse; changed: a permit of something else; explained: a denial for another reason."""


class Difference(Struct, frozen=True, kw_only=True):
    """One item whose answer is another one."""

    index: int
    institution: str
    item: str
    change: Change
    recorded: dict[str, Any]
    answered: dict[str, Any]


def differences(index: int, data: dict[str, Any], answer: CheckAnswer) -> list[Difference]:
    """The items of a recorded decision that `answer` answers otherwise, with what makes the difference."""
    found = []
    for line, item in zip(data["items"], answer.items, strict=True):
        recorded, answered = _recorded(line), _answered(item)
        if recorded != answered:
            found.append(
                Difference(
                    index=index,
                    institution=data["institution"],
                    item=line["item"],
                    change=_change(line["outcome"], item.outcome),
                    recorded={name: value for name, value in recorded.items() if value != answered[name]},
                    answered={name: value for name, value in answered.items() if value != recorded[name]},
                )
            )
    return found


def undecided(data: dict[str, Any]) -> bool:
    """Whether the record says that nothing was decided."""
    return bool(data["codes"] == ["policy.unavailable"])


def _recorded(line: dict[str, Any]) -> dict[str, Any]:
    return {
        "outcome": line["outcome"],
        "basis": line["basis"],
        "grant": line["grant"],
        "identifier": line["identifier"],
        "fields": sorted(line["fields"]),
        "withheld": sorted(line["withheld"]),
        "codes": sorted(line["codes"]),
    }


def _answered(item: ItemAnswer) -> dict[str, Any]:
    return {
        "outcome": item.outcome,
        "basis": item.basis,
        "grant": item.grant_id,
        "identifier": item.identifier,
        "fields": sorted(item.fields),
        # Fields that the catalogue does not know stand in the record as one.
        "withheld": sorted({field if "." in field else UNKNOWN for field in item.withheld}),
        "codes": sorted(item.codes),
    }


def _change(before: str, now: str) -> Change:
    if before == "deny":
        return "explained" if now == "deny" else "gained"
    return "lost" if now == "deny" else "changed"
