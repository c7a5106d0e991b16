"""The catalogue, the matrix and the settings joined at load, so that no engine joins them check by check.

The law of the joined data is Rego (`policies/rules/shape.rego`), which derives every member of it again; the tests of the
policies fail where both differ (`policies/decision_test.rego`). So this module saves time and decides nothing.
"""

from collections.abc import Mapping
from typing import Any

from consent.catalogue.model import Catalogue, Item

OUTWARD = frozenset({"open", "open_except_fields", "grant", "verify"})
OPEN = frozenset({"open", "open_except_fields"})
PERSONAL = frozenset({"personal", "identity_document"})


def items(catalogue: Catalogue, settings: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """By code, each item with its fields and what follows from them."""
    return {item.code: _item(item, settings) for item in catalogue.items.values()}


def rows(items: Mapping[str, Any], matrix: Mapping[str, Mapping[str, Any]], settings: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """By purpose and item, the row of each item that may leave for the purpose. The law says what its members mean."""
    return {
        purpose: {code: row for code, entry in entries.items() if (row := _row(items[code], entry, settings)) is not None}
        for purpose, entries in matrix.items()
    }


def _item(item: Item, settings: Mapping[str, Any]) -> dict[str, Any]:
    strict = settings["interface_rows_need_grant"] and item.mode == "interface"
    fields = {field.code: {"class": field.class_, "about": field.about} for field in item.fields}
    return {
        "provision": item.provision,
        "mode": item.mode,
        "consent_subject": item.consent_subject,
        "selectable": item.selectable,
        "fields": fields,
        "outward": item.selectable and item.provision in OUTWARD,
        "open": item.provision in OPEN and not strict,
        "shares": "match" if item.mode == "verification" or item.provision == "verify" else "detail",
        "third_party": sorted(
            code for code, field in fields.items() if field["about"] == "third_party" and not _covered(code, field, settings)
        ),
        "identity": sorted(code for code, field in fields.items() if field["class"] == "identity_document"),
    }


def _covered(code: str, field: Mapping[str, Any], settings: Mapping[str, Any]) -> bool:
    """Whether a field about others may go all the same, by a switch of settings.json."""
    published = settings["third_party_published"] and field["class"] == "public"
    return published or code in settings["third_party_under_grant"]


def _row(item: Mapping[str, Any], entry: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any] | None:
    every = item["fields"].keys()
    givable = set(entry["fields"]) - set(item["third_party"])
    if not item["outward"] or not givable:
        return None
    free = givable - set(item["identity"]) if item["open"] else set()
    personal = {code for code, field in item["fields"].items() if field["class"] in PERSONAL}
    modelled = givable - personal if not item["open"] and item["consent_subject"] == "enterprise" else set()
    banded = givable & settings["banded"].keys()
    return {
        "all": sorted(every),
        "requested": sorted(every),
        "givable": sorted(givable),
        "remainder": sorted(every - givable),
        "free": sorted(free),
        "wanted": sorted(givable - free),
        "modelled": sorted(free | modelled),
        "banded": sorted(banded),
        "open": item["open"],
        "shares": item["shares"],
        "undivided": item["shares"] == "detail" and not item["open"] and not banded and givable == every,
        "consent_subject": item["consent_subject"],
        "look_back_years": entry["look_back_years"],
        "retention_days": entry["retention_days"],
    }
