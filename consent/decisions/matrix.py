"""The policies' data: the matrix purpose × item × field, the purposes' loan phases, the switches. Read, checked, spread out.

The files are written for people: a regulator reads the groups of rows in `policies/data/matrix.json` with a sentence of reason each.
Rego gets the same spread out, one entry per purpose and item.
"""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

import msgspec

from consent.catalogue.extension import Extension
from consent.catalogue.model import Catalogue, FieldClass, Words
from consent.decisions import masks, table
from consent.ledger.words import InstitutionKind

LoanPhase = Literal["applied", "approved", "refused", "disbursed", "settled", "overdue"]
T = TypeVar("T")


class DataError(Exception):
    """A data file is missing, malformed or contradicts the catalogue; the message names file and place."""


class _Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    pass


class Frequency(_Strict, frozen=True):
    """At most `max` uses in each calendar day or month, or altogether."""

    max: int
    per: Literal["day", "month", "total"]


class Limits(_Strict, frozen=True):
    """Bounds of every grant for a purpose; a row may narrow them."""

    max_validity_days: int
    frequency: Frequency
    look_back_years: int
    retention_days: int
    reason: Words


class Selection(_Strict, frozen=True):
    """Some fields of the row's items: only these, or all except these."""

    only: tuple[str, ...] | None = None
    leave_out: tuple[str, ...] | None = msgspec.field(default=None, name="except")


class Row(_Strict, frozen=True):
    """One group of purposes and items with one reason."""

    id: str
    purposes: tuple[str, ...]
    items: tuple[str, ...]
    fields: Literal["all", "no_identity_documents"] | Selection
    reason: Words
    max_validity_days: int | None = None
    frequency: Frequency | None = None
    look_back_years: int | None = None
    retention_days: int | None = None


class Matrix(_Strict, frozen=True):
    """`policies/data/matrix.json`."""

    limits: dict[str, Limits]
    rows: tuple[Row, ...]


class Phases(_Strict, frozen=True):
    """When a purpose is open: with a loan in one of these phases, or without naming any."""

    loan_required: bool
    phases: tuple[LoanPhase, ...]
    reason: Words


class Settings(_Strict, frozen=True):
    """`policies/data/settings.json`: the documented switches."""

    interface_rows_need_grant: bool
    third_party_published: bool
    third_party_under_grant: tuple[str, ...]
    banded_fields: tuple[str, ...]
    masked_classes: tuple[FieldClass, ...]
    providing_kinds: tuple[InstitutionKind, ...]
    own_domain_kinds: tuple[InstitutionKind, ...]
    collecting_kinds: tuple[InstitutionKind, ...]
    conduit_kinds: tuple[InstitutionKind, ...]
    guesses_per_day: int
    reasons: dict[str, Words]


def load(directory: Path, catalogue: Catalogue, extensions: Sequence[Extension] = ()) -> dict[str, Any]:
    """The document below `data` for these policies: `{"consent": {catalogue, matrix, table, purposes, settings, masks, bands}}`.

    Args:
        extensions: regional lists, whose items `catalogue` has; their rows of the matrix are added.

    Raises:
        DataError: see the class.
    """
    settings = _settings(_read(directory / "settings.json", Settings), catalogue)
    try:
        masked = masks.spread(_read(directory / "masks.json", masks.Masks), catalogue, set(settings["banded"]))
    except masks.MasksError as error:
        raise DataError(f"masks.json {error}") from None
    phases = _read(directory / "purposes.json", dict[str, Phases])
    _same("purposes.json", set(phases), set(catalogue.purposes))
    matrix = _read(directory / "matrix.json", Matrix)
    matrix = msgspec.structs.replace(matrix, rows=(*matrix.rows, *(row for extension in extensions for row in _regional(extension))))
    entries = spread(matrix, catalogue)
    items = table.items(catalogue, settings)
    return {
        "consent": {
            "catalogue": {"version": catalogue.version, "items": items},
            "matrix": entries,
            "table": table.rows(items, entries, settings),
            "purposes": {
                "financing": {code: {"loan_required": p.loan_required, "phases": list(p.phases)} for code, p in phases.items()},
                "not_financing": dict.fromkeys(catalogue.not_financing, True),
            },
            "settings": settings,
            **masked,
        }
    }


def _regional(extension: Extension) -> tuple[Row, ...]:
    """A region's rows: about its own items alone, so that no region changes what the official lists are needed for."""
    try:
        rows = msgspec.json.decode(extension.rows, type=tuple[Row, ...])
    except msgspec.DecodeError as error:
        raise DataError(f"{extension.name}: rows: {error}") from None
    prefix = f"{extension.items.prefix}-"
    for row in rows:
        if not row.id.startswith(prefix):
            raise DataError(f"{extension.name}: row {row.id}: its id does not begin with {prefix}")
        for item in row.items:
            if not item.startswith(prefix):
                raise DataError(f"{extension.name}: row {row.id}: {item} is not an item of this list")
    return rows


def spread(matrix: Matrix, catalogue: Catalogue) -> dict[str, dict[str, Any]]:
    """One entry per purpose and item, each from exactly one row.

    Raises:
        DataError: an unknown purpose, item or field, a pair that stands in two rows, or a row that widens its purpose's limits.
    """
    _same("matrix.json limits", set(matrix.limits), set(catalogue.purposes))
    for purpose, limits in matrix.limits.items():
        _positive(f"limits {purpose}", limits)
    seen: set[str] = set()
    entries: dict[str, dict[str, Any]] = {purpose: {} for purpose in matrix.limits}
    for row in matrix.rows:
        place = f"matrix.json row {row.id}"
        if row.id in seen:
            raise DataError(f"{place}: stands twice")
        seen.add(row.id)
        _known(f"{place} purposes", row.purposes, catalogue.purposes)
        _known(f"{place} items", row.items, {code for code, item in catalogue.items.items() if item.selectable})
        fields = _fields(place, row, catalogue)
        for purpose in row.purposes:
            bounds = _bounds(place, row, matrix.limits[purpose])
            for item in row.items:
                if item in entries[purpose]:
                    raise DataError(f"{place}: {purpose} × {item} stands in row {entries[purpose][item]['row']} too")
                entries[purpose][item] = {"row": row.id, "fields": fields[item], **bounds}
    return entries


def _fields(place: str, row: Row, catalogue: Catalogue) -> dict[str, list[str]]:
    all_fields = {item: [field.code for field in catalogue.items[item].fields] for item in row.items}
    if row.fields == "all":
        chosen = all_fields
    elif row.fields == "no_identity_documents":
        chosen = {item: [f.code for f in catalogue.items[item].fields if f.class_ != "identity_document"] for item in row.items}
    else:
        chosen = _selected(place, row.fields, all_fields)
    for item, fields in chosen.items():
        if not fields:
            raise DataError(f"{place}: no field of {item} is left")
    return chosen


def _selected(place: str, selection: object, all_fields: dict[str, list[str]]) -> dict[str, list[str]]:
    assert isinstance(selection, Selection)  # noqa: S101 - narrowed by the caller; the type is closed
    if (selection.only is None) == (selection.leave_out is None):
        raise DataError(f"{place} fields: one of only and except")
    named = selection.only if selection.only is not None else selection.leave_out or ()
    _known(f"{place} fields", named, {field for fields in all_fields.values() for field in fields})
    keep = selection.only is not None
    return {item: [field for field in fields if (field in named) == keep] for item, fields in all_fields.items()}


def _bounds(place: str, row: Row, limits: Limits) -> dict[str, Any]:
    for name in ("max_validity_days", "look_back_years", "retention_days"):
        value = getattr(row, name)
        if value is not None and not 0 < value <= getattr(limits, name):
            raise DataError(f"{place} {name}: wider than its purpose's limit")
    frequency = row.frequency or limits.frequency
    if row.frequency is not None and (row.frequency.per != limits.frequency.per or not 0 < row.frequency.max <= limits.frequency.max):
        raise DataError(f"{place} frequency: wider than its purpose's limit")
    return {
        "max_validity_days": row.max_validity_days or limits.max_validity_days,
        "frequency": {"max": frequency.max, "per": frequency.per},
        "look_back_years": row.look_back_years or limits.look_back_years,
        "retention_days": row.retention_days or limits.retention_days,
    }


def _settings(settings: Settings, catalogue: Catalogue) -> dict[str, Any]:
    if settings.guesses_per_day < 1:
        raise DataError("settings.json guesses_per_day: is positive")
    switches = {field.name for field in msgspec.structs.fields(Settings)} - {"reasons"}
    _same("settings.json reasons", set(settings.reasons), switches)
    _known("settings.json third_party_under_grant", settings.third_party_under_grant, catalogue.fields)
    _known("settings.json banded_fields", settings.banded_fields, catalogue.fields)
    for field in settings.third_party_under_grant:
        if catalogue.fields[field].about != "third_party":
            raise DataError(f"settings.json third_party_under_grant: {field} is about no third party")
    return {
        "interface_rows_need_grant": settings.interface_rows_need_grant,
        "third_party_published": settings.third_party_published,
        "third_party_under_grant": dict.fromkeys(settings.third_party_under_grant, True),
        "banded": dict.fromkeys(settings.banded_fields, True),
        "masked_classes": list(settings.masked_classes),
        "providing_kinds": list(settings.providing_kinds),
        "own_domain_kinds": list(settings.own_domain_kinds),
        "collecting_kinds": list(settings.collecting_kinds),
        "conduit_kinds": list(settings.conduit_kinds),
        "guesses_per_day": settings.guesses_per_day,
    }


def _read(path: Path, kind: type[T]) -> T:
    try:
        body = path.read_bytes()
        json.loads(body, object_pairs_hook=_once)
        return msgspec.json.decode(body, type=kind)
    except OSError as error:
        raise DataError(f"{path.name}: cannot be read: {error.strerror}") from None
    except (msgspec.DecodeError, ValueError) as error:
        raise DataError(f"{path.name}: {error}") from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object in which no member stands twice: of two bounds, nobody could say which holds."""
    for name, count in Counter(name for name, _ in pairs).items():
        if count > 1:
            raise ValueError(f"{name} stands twice in one object")
    return dict(pairs)


def _same(place: str, found: set[str], wanted: set[str]) -> None:
    if found != wanted:
        raise DataError(f"{place}: missing {sorted(wanted - found)}, unknown {sorted(found - wanted)}")


def _known(place: str, names: tuple[str, ...], known: Any) -> None:
    if not names:
        raise DataError(f"{place}: empty")
    for name in names:
        if name not in known:
            raise DataError(f"{place}: {name} is unknown")
    if len(set(names)) != len(names):
        raise DataError(f"{place}: a name stands twice")


def _positive(place: str, limits: Limits) -> None:
    if min(limits.max_validity_days, limits.look_back_years, limits.retention_days, limits.frequency.max) <= 0:
        raise DataError(f"matrix.json {place}: bounds are positive")
