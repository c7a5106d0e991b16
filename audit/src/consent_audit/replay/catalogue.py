"""The catalogue as far as a replay looks at it: read from the blob that the ledger's `catalogue.activated` names."""

import json
from dataclasses import dataclass
from typing import Any

from consent_audit.errors import CannotCheck

_OPEN = {"open", "open_except_fields"}


@dataclass(frozen=True, slots=True)
class Item:
    """A data item that can be provided.

    fields    all of it; none of an item that is never provided outward
    free      those that the official lists share openly
    sealed    those that no model reads without a grant
    grantors  whose grant it takes
    """

    fields: frozenset[str]
    free: frozenset[str]
    sealed: frozenset[str]
    grantors: frozenset[str]


@dataclass(frozen=True, slots=True)
class Catalogue:
    """One edition: items by code, and the financing purposes."""

    version: str
    items: dict[str, Item]
    purposes: frozenset[str]

    @classmethod
    def parse(cls, body: bytes) -> "Catalogue":
        """Read a catalogue's blob.

        Raises:
            CannotCheck: it is not a catalogue.
        """
        try:
            document = json.loads(body)
            items = {entry["code"]: _item(entry) for entry in document["items"]}
            return cls(document["version"], items, frozenset(entry["code"] for entry in document["purposes"]))
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise CannotCheck("the blob of catalogue.activated is not a catalogue") from error


def _item(entry: dict[str, Any]) -> Item:
    classes = {field["code"]: field["class"] for field in entry["fields"]}
    consents: dict[str, frozenset[str]] = {
        "enterprise": frozenset({"enterprise"}),
        "person": frozenset({"person"}),
        "enterprise_or_person": frozenset({"enterprise", "person"}),
    }
    free = entry["provision"] in _OPEN
    return Item(
        fields=frozenset(classes) if entry["selectable"] and entry["provision"] != "none" else frozenset(),
        free=frozenset(code for code, kind in classes.items() if free and kind != "identity_document"),
        sealed=frozenset(code for code, kind in classes.items() if kind in {"personal", "identity_document"}),
        grantors=consents[entry["consent_subject"]],
    )
