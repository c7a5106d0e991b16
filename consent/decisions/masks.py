"""How each field is masked and banded: `policies/data/masks.json`, checked against the catalogue and spread out for the policies.

An obligation carries the method's word, or the edges of the bands; whoever serves the data applies them (`consent_sdk.obligations`, which
knows the same words). A field that has no way of its own is masked as its class is; a regional list's fields have their class's.
"""

from typing import Any

import msgspec

from consent.catalogue.model import Catalogue, FieldClass, Words

METHODS = frozenset({"name", "phone", "account", "identity", "amount", "date", "address", "text"})
"""The words that the SDK knows; another one would refuse every delivery."""


class MasksError(Exception):
    """The file contradicts the catalogue or itself; the message names the place."""


class Band(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Edges in ascending order: the first is the least value that there is, the last band is open."""

    edges: tuple[int, ...]
    reason: Words


class Masks(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`masks.json`: what each method leaves, the method of each class, fields that have one of their own, and bands."""

    methods: dict[str, Words]
    classes: dict[FieldClass, str]
    fields: dict[str, tuple[str, ...]]
    bands: dict[str, Band]


def spread(masks: Masks, catalogue: Catalogue, banded: set[str]) -> dict[str, Any]:
    """`{"masks": {field: method}, "bands": {field: [edge…]}}` for every field that is not public, and for those in `banded`.

    Beside them `mask_methods` and `band_edges`: all methods and all lists of edges in one order, for the policies to go through.

    Raises:
        MasksError: an unknown method, class or field, a field with two methods, a class without one, edges that do not rise.
    """
    if masks.methods.keys() != METHODS:
        raise MasksError(f"methods: missing {sorted(METHODS - masks.methods.keys())}, unknown {sorted(masks.methods.keys() - METHODS)}")
    own: dict[str, str] = {}
    for method, fields in masks.fields.items():
        _method(f"fields {method}", method)
        for field in fields:
            if field not in catalogue.fields or catalogue.fields[field].class_ == "public":
                raise MasksError(f"fields {method}: {field} is unknown or public")
            if field in own:
                raise MasksError(f"fields {method}: {field} has the method {own[field]} too")
            own[field] = method
    for kind, method in masks.classes.items():
        _method(f"classes {kind}", method)
    ways: dict[str, str] = {}
    for code, known in catalogue.fields.items():
        if known.class_ != "public":
            if known.class_ not in masks.classes:
                raise MasksError(f"classes: {known.class_} has no method")
            ways[code] = own.get(code, masks.classes[known.class_])
    bands = _bands(masks, banded)
    return {
        "masks": ways,
        "mask_methods": sorted(METHODS),
        "bands": bands,
        "band_edges": sorted(map(list, {tuple(e) for e in bands.values()})),
    }


def _bands(masks: Masks, banded: set[str]) -> dict[str, list[int]]:
    if masks.bands.keys() != banded:
        odd = sorted(masks.bands.keys() ^ banded)
        raise MasksError(f"bands: {odd[0]} stands in one of masks.json and settings.json banded_fields only")
    for field, band in masks.bands.items():
        if len(band.edges) < 2 or any(low >= high for low, high in zip(band.edges, band.edges[1:], strict=False)):
            raise MasksError(f"bands {field}: two or more edges, each above the one before")
    return {field: list(band.edges) for field, band in masks.bands.items()}


def _method(place: str, method: str) -> None:
    if method not in METHODS:
        raise MasksError(f"{place}: {method} is no method")
