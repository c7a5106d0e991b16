"""What the oracle knows of the law: the data files of policies/data and the catalogue, read by itself and not through the server's loader.

Only the files' words are shared with the product. Spreading the matrix out, telling third parties from the enterprise and open from
granted is done here once more, from requirements.md §2-5 and the reasons that stand in the files.
"""

import functools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from consent.catalogue.load import load

DATA = Path(__file__).parents[2] / "policies" / "data"
OPEN = ("open", "open_except_fields")


@dataclass(frozen=True)
class Bounds:
    """What the matrix allows for one purpose and item."""

    fields: frozenset[str]
    max_validity_days: int
    frequency: tuple[int, str]
    look_back_years: int
    retention_days: int


@dataclass(frozen=True)
class Item:
    """An item that can be asked for. `barred` are fields about third parties that no consent of the enterprise covers (MIN-08)."""

    code: str
    provision: str
    consent_subject: str
    interface_row: bool
    verified_only: bool
    fields: tuple[str, ...]
    classes: dict[str, str]
    barred: frozenset[str]
    documents: frozenset[str]
    personal: frozenset[str]
    banded: frozenset[str]

    @property
    def shared_openly(self) -> bool:
        """Whether it needs no grant, document numbers apart (CON-06, CON-08)."""
        return self.provision in OPEN and not (self.interface_row and settings()["interface_rows_need_grant"])


@dataclass(frozen=True)
class Law:
    """Everything that is the same for all cases."""

    items: dict[str, Item]
    matrix: dict[tuple[str, str], Bounds]
    purposes: dict[str, Any]
    not_financing: frozenset[str]
    settings: dict[str, Any]

    def needed(self, purpose: str, item: str) -> frozenset[str]:
        """The fields of an item that a purpose needs; none where the matrix does not list the item for it."""
        bounds = self.matrix.get((purpose, item))
        return frozenset() if bounds is None else bounds.fields


@functools.cache
def law() -> Law:
    """The law of the tree."""
    purposes, matrix = _read("purposes"), _read("matrix")
    catalogue = load()
    items = {code: _item(item, settings()) for code, item in catalogue.items.items() if item.selectable and item.provision != "none"}
    rows = {(purpose, item): _bounds(row, purpose, item, matrix["limits"][purpose]) for purpose, item, row in _pairs(matrix)}
    return Law(items, rows, purposes, frozenset(catalogue.not_financing), settings())


@functools.cache
def settings() -> Any:
    """The switches."""
    return _read("settings")


@functools.cache
def _read(name: str) -> Any:
    return json.loads((DATA / f"{name}.json").read_text(encoding="utf-8"))


def _pairs(matrix: Any) -> Any:
    for row in matrix["rows"]:
        for purpose in row["purposes"]:
            for item in row["items"]:
                yield purpose, item, row


def _item(item: Any, switches: Any) -> Item:
    under_grant = switches["third_party_under_grant"]
    barred = {
        field.code
        for field in item.fields
        if field.about == "third_party"
        and field.code not in under_grant
        and not (field.class_ == "public" and switches["third_party_published"])
    }
    return Item(
        code=item.code,
        provision=item.provision,
        consent_subject=item.consent_subject,
        interface_row=item.mode == "interface",
        verified_only="verification" in (item.mode, {"verify": "verification"}.get(item.provision)),
        fields=tuple(field.code for field in item.fields),
        classes={field.code: field.class_ for field in item.fields},
        barred=frozenset(barred),
        documents=frozenset(field.code for field in item.fields if field.class_ == "identity_document"),
        personal=frozenset(field.code for field in item.fields if field.class_ in ("personal", "identity_document")),
        banded=frozenset(field.code for field in item.fields if field.code in switches["banded_fields"]),
    )


def _bounds(row: Any, purpose: str, item: str, limits: Any) -> Bounds:
    fields = {field.code: field.class_ for field in load().items[item].fields}
    match row["fields"]:
        case "all":
            chosen = set(fields)
        case "no_identity_documents":
            chosen = {code for code, kind in fields.items() if kind != "identity_document"}
        case {"only": only}:
            chosen = {code for code in fields if code in only}
        case {"except": left_out}:
            chosen = {code for code in fields if code not in left_out}
        case other:
            raise ValueError(f"row {row['id']} for {purpose}: {other}")
    narrowed = {**limits, **{name: row[name] for name in limits if name in row}}
    return Bounds(
        fields=frozenset(chosen),
        max_validity_days=narrowed["max_validity_days"],
        frequency=(narrowed["frequency"]["max"], narrowed["frequency"]["per"]),
        look_back_years=narrowed["look_back_years"],
        retention_days=narrowed["retention_days"],
    )


def by_method(fields: set[str]) -> list[tuple[str, list[str]]]:
    """Fields that a third party may only see masked, by the way in which each is masked: its own, or else its class's."""
    masks = _read("masks")
    own = {field: method for method, named in masks["fields"].items() for field in named}
    ways = {field: own.get(field) or masks["classes"][load().fields[field].class_] for field in fields}
    return [(method, sorted(field for field in fields if ways[field] == method)) for method in sorted(set(ways.values()))]


def by_edges(fields: set[str]) -> list[tuple[list[int], list[str]]]:
    """Figures that are given in bands, by the edges of these."""
    bands = _read("masks")["bands"]
    edges = sorted({tuple(bands[field]["edges"]) for field in fields})
    return [([*of], sorted(field for field in fields if tuple(bands[field]["edges"]) == of)) for of in edges]
