"""What a platform must do with rows before it serves them: leave out, mask, band, compare, sum up.

`serve` takes one item of a decision and the platform's rows of it, and gives rows that may leave. A field that the decision does not name
never leaves. What it cannot do right it does not serve: an obligation, a method or a value that is not understood refuses the whole item
(`ServingRefused`); no error holds a value.
Duties of the receiver (how long he keeps it, that he keeps nothing) go along with the rows.
"""

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec

from consent_sdk.errors import ServingRefused
from consent_sdk.models import Decision, ItemResult, Obligation

HIDDEN = "***"
LEAST_ROWS = 3
"""An aggregate over fewer values would show one of them."""

Row = Mapping[str, Any]

_PROVINCE = re.compile(r"[\u4e00-\u9fff]{2,7}?(?:省|自治区|特别行政区|市)")
_DATE = re.compile(r"([0-9]{4})(?:-[0-9]{2}(?:-[0-9]{2}(?:[T ].*)?)?|[0-9]{2}(?:[0-9]{2})?|年.*|/[0-9/]+)")


class Served(msgspec.Struct, frozen=True, kw_only=True):
    """What may leave of one item, and what the receiver must do.

    rows          field code to value; a masked or banded value is text, a comparison true or false, an aggregate a mapping
    fields        the codes that the rows hold: report these as delivered
    retain_days   the receiver deletes it after so many days; None: no bound is set
    do_not_store  the receiver keeps none of these fields
    """

    item: str
    rows: tuple[Mapping[str, Any], ...]
    fields: tuple[str, ...]
    retain_days: int | None
    do_not_store: tuple[str, ...]

    def delete_by(self, received: date) -> date | None:
        """The last day on which the receiver may still keep it."""
        if self.do_not_store:
            return received
        return None if self.retain_days is None else received + timedelta(days=self.retain_days)


def serve_decision(decision: Decision, rows: Mapping[str, Sequence[Row]], *, claimed: Mapping[str, Any] | None = None) -> dict[str, Served]:
    """Apply a decision to the platform's rows, by item. Items that were denied, or of which there are no rows, are left out.

    Args:
        rows: by item; keys of a row are field codes.
        claimed: for a verification, the values that the asker holds, by field code.

    Raises:
        ServingRefused: one item cannot be served right; then none is.
    """
    return {
        result.item: serve(result, rows[result.item], claimed=claimed)
        for result in decision.items
        if result.outcome != "deny" and result.item in rows
    }


def serve(result: ItemResult, rows: Sequence[Row], *, claimed: Mapping[str, Any] | None = None) -> Served:
    """Apply the answer for one item to its rows.

    Raises:
        ServingRefused: it was denied; an obligation is unknown or malformed, or a value cannot be handled as it must be; or a
            verification without claimed values.
    """
    if result.outcome == "deny" or not result.fields:
        raise ServingRefused(result.item, "it was denied")
    ways, retain_days, do_not_store = _plan(result)
    kinds = {ways.get(field, _AS_IT_IS)[0] for field in result.fields}
    wanted = _WHOLE.get(result.outcome)
    if (wanted is not None and kinds != {wanted}) or (kinds & set(_WHOLE.values()) and len(kinds) > 1):
        raise ServingRefused(result.item, "its fields are to be handled in ways that contradict each other")
    if result.outcome == "permit_masked" and not result.withheld and not kinds & {"mask", "band"}:
        raise ServingRefused(result.item, "it is to be masked, and nothing says which field and how")
    made: list[dict[str, Any]]
    if kinds == {"match_only"}:
        made = [_compared(result, rows, claimed, _edges(result))]
    elif kinds == {"aggregate"}:
        made = [{field: _aggregate(result.item, field, [row[field] for row in rows if field in row]) for field in result.fields}]
    else:
        made = [
            {field: _shown(result.item, field, row[field], ways.get(field, _AS_IT_IS)) for field in result.fields if field in row}
            for row in rows
        ]
    return Served(
        item=result.item,
        rows=tuple(row for row in made if row),
        fields=tuple(field for field in result.fields if any(field in row for row in made)),
        retain_days=retain_days,
        do_not_store=do_not_store,
    )


_WHOLE: Mapping[str, str] = {"verify_only": "match_only", "model_only": "aggregate"}
"""Outcomes that say something of the item as a whole, so of each of its fields."""
# What is applied where several things are asked of one field: the one that shows least.
_ORDER = ("match_only", "aggregate", "mask", "band")
_Way = tuple[str, Any]
_AS_IT_IS: _Way = ("", None)


def _plan(result: ItemResult) -> tuple[dict[str, _Way], int | None, tuple[str, ...]]:
    """What is done with each field, and the receiver's duties."""
    ways: dict[str, _Way] = {}
    days: list[int] = []
    unkept: list[str] = []
    for obligation in result.obligations:
        _check(result, obligation)
        if obligation.code == "retain_days":
            days.append(obligation.value)  # type: ignore[arg-type]
        elif obligation.code == "do_not_store":
            unkept += obligation.fields
        else:
            for field in obligation.fields:
                known = ways.get(field)
                if known is not None and known[0] == obligation.code and known[1] != obligation.value:
                    raise ServingRefused(result.item, f"{field}: two ways of {obligation.code}")
                if known is None or _ORDER.index(obligation.code) < _ORDER.index(known[0]):
                    ways[field] = (obligation.code, obligation.value)
    return ways, min(days, default=None), tuple(dict.fromkeys(unkept))


def _check(result: ItemResult, obligation: Obligation) -> None:
    code, value = obligation.code, obligation.value
    if not set(obligation.fields) <= set(result.fields):
        raise ServingRefused(result.item, f"{code}: about a field that was not given")
    if code == "mask" and (not isinstance(value, str) or value not in METHODS):
        raise ServingRefused(result.item, "mask: a method that this version does not know")
    if code == "band" and not (
        isinstance(value, list | tuple)
        and len(value) > 1
        and all(type(edge) is int for edge in value)
        and sorted(set(value)) == list(value)
    ):
        raise ServingRefused(result.item, "band: no rising edges")
    if code == "retain_days" and not (type(value) is int and value > 0):
        raise ServingRefused(result.item, "retain_days: no number of days")
    if code not in {*_ORDER, "retain_days", "do_not_store"}:
        raise ServingRefused(result.item, f"an obligation that this version does not know: {code[:40]}")


def _shown(item: str, field: str, value: Any, way: _Way) -> Any:
    code, how = way
    if code == "mask":
        return mask(item, field, value, how)
    return band(item, field, value, how) if code == "band" else value


# ---------------------------------------------------------------- masks
def mask(item: str, field: str, value: Any, method: str) -> Any:
    """`value` masked by `method`; a list of values is masked one by one, and None stays None.

    Raises:
        ServingRefused: an unknown method, or a value of a form that it cannot mask.
    """
    if method not in METHODS:
        raise ServingRefused(item, "mask: a method that this version does not know")
    if value is None:
        return None
    if method == "text":
        return HIDDEN
    if isinstance(value, list | tuple):
        return [mask(item, field, one, method) if not isinstance(one, list | tuple) else _refuse(item, field, method) for one in value]
    masked = METHODS[method](value)
    return _refuse(item, field, method) if masked is None else masked


def _refuse(item: str, field: str, what: str) -> Any:
    raise ServingRefused(item, f"{field}: a value that cannot be handled as {what}")


def _text(value: Any) -> str | None:
    """The text of a value that has one way to be written; not a truth value, a mapping or bytes."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        return None
    return unicodedata.normalize("NFC", str(value)).strip() or None


def _name(value: Any) -> str | None:
    """The first character; two asterisks, so that the length does not show."""
    text = _text(value) if isinstance(value, str) else None
    return None if text is None else f"{text[0]}**" if len(text) > 1 else HIDDEN


def _ends(least: int, first: int, last: int) -> Callable[[Any], str | None]:
    """Some characters at both ends of what is long enough; the middle has one length whatever it was."""

    def hide(value: Any) -> str | None:
        text = _text(value)
        if text is None or len(text) < least:
            return None if text is None else HIDDEN
        return f"{text[:first]}****{text[len(text) - last :]}"

    return hide


def _amount(value: Any) -> str | None:
    """How many digits the whole part has, by its bounds: 12345.6 → 10000~99999."""
    number = _number(value)
    if number is None:
        return None
    whole = abs(int(number))
    low, high = (0, 9) if whole < 10 else (10 ** (len(str(whole)) - 1), 10 ** len(str(whole)) - 1)
    return f"{'-' if number < 0 else ''}{low}~{high}"


def _date(value: Any) -> str | None:
    """The year."""
    if isinstance(value, date | datetime):
        return f"{value.year:04}-**-**"
    text = _text(value)
    found = None if text is None else _DATE.fullmatch(text)
    return None if found is None else f"{found[1]}-**-**"


def _address(value: Any) -> str | None:
    """The province or city that it begins with; nothing where it begins with neither."""
    text = _text(value) if isinstance(value, str) else None
    if text is None:
        return None
    found = _PROVINCE.match(text)
    return HIDDEN if found is None else f"{found[0]}{HIDDEN}"


METHODS: Mapping[str, Callable[[Any], str | None]] = {
    "name": _name,
    "phone": _ends(11, 3, 2),
    "account": _ends(12, 0, 4),
    "identity": _ends(15, 1, 1),
    "amount": _amount,
    "date": _date,
    "address": _address,
    "text": lambda _: HIDDEN,
}
"""What the service may name as the `value` of a mask; each gives None for a value that it cannot mask."""


# ---------------------------------------------------------------- bands, comparisons, aggregates
def band(item: str, field: str, value: Any, edges: Sequence[int]) -> Any:
    """The band of a number: `50~99` for edges 50 and 100, `1000+` above the last. None stays None.

    Raises:
        ServingRefused: not a number, or below the first edge.
    """
    if value is None:
        return None
    if isinstance(value, list | tuple):
        return [band(item, field, one, edges) if not isinstance(one, list | tuple) else _refuse(item, field, "band") for one in value]
    number = _number(value)
    if number is None or number < edges[0]:
        return _refuse(item, field, "band")
    place = max(n for n, edge in enumerate(edges) if edge <= number)
    return f"{edges[place]}+" if place == len(edges) - 1 else f"{edges[place]}~{edges[place + 1] - 1}"


def _number(value: Any) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal | str):
        return None
    try:
        text = value.strip().replace(",", "") if isinstance(value, str) else str(value)
        number = Decimal(text) if text.isascii() else None
    except InvalidOperation:
        return None
    return number if number is not None and number.is_finite() and abs(number) < Decimal(10) ** 30 else None


def _edges(result: ItemResult) -> dict[str, Sequence[int]]:
    """The bands of fields that are to be compared in bands: an exact figure is not confirmed either."""
    return {field: one.value for one in result.obligations if one.code == "band" for field in one.fields}  # type: ignore[misc]


def _compared(
    result: ItemResult, rows: Sequence[Row], claimed: Mapping[str, Any] | None, edges: Mapping[str, Sequence[int]]
) -> dict[str, Any]:
    """For each field that the asker holds a value of: whether one of the rows has it."""
    if claimed is None:
        raise ServingRefused(result.item, "a verification without the values to compare")
    answers = {}
    for field in result.fields:
        if field in claimed:
            present, claim = [row[field] for row in rows if row.get(field) is not None], claimed[field]
            if field in edges:
                present = [_in_band(result.item, field, value, edges[field]) for value in present]
                claim = _in_band(result.item, field, claim, edges[field])
            answers[field] = _matches(result.item, field, present, claim)
    return answers


def _in_band(item: str, field: str, value: Any, edges: Sequence[int]) -> Any:
    """The band of a figure; the name of a band stays as it is."""
    return value if value in [band(item, field, edge, edges) for edge in edges] else band(item, field, value, edges)


def _matches(item: str, field: str, present: Sequence[Any], claim: Any) -> bool:
    """As text, apart from spaces at its ends and the spelling of its characters."""
    wanted, found = _comparable(claim), [_comparable(value) for value in present]
    if wanted is None or None in found:
        raise ServingRefused(item, f"{field}: a value that cannot be compared")
    return wanted in found


def _comparable(value: Any) -> str | None:
    if isinstance(value, date | datetime):
        return value.isoformat()
    if isinstance(value, float | Decimal):
        number = _number(value)
        return None if number is None else format(number.normalize(), "f")
    return _text(value)


def _aggregate(item: str, field: str, present: Sequence[Any]) -> Mapping[str, Any]:
    """Count, sum and mean of numbers; of other values, how many there are."""
    values = [value for value in present if value is not None]
    if len(values) < LEAST_ROWS:
        raise ServingRefused(item, f"{field}: too few values to sum up")
    numbers = [_number(value) for value in values]
    if any(number is None for number in numbers):
        return {"count": len(values)}
    total = sum((number for number in numbers if number is not None), Decimal(0))
    return {"count": len(values), "sum": str(total), "mean": str(total / len(values))}
