"""How fields are masked is data: complete over the catalogue, and refused with the place named where it is wrong."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from consent.catalogue.load import load
from consent.decisions.bundle import Bundle, BundleError, default_directory, load_bundle
from consent.decisions.masks import METHODS
from consent_sdk import obligations


def test_every_field_that_is_not_public_has_a_method(bundle: Bundle) -> None:
    """And no public one; the words are those that the SDK applies."""
    ways = bundle.data["consent"]["masks"]
    assert ways.keys() == {code for code, field in load().fields.items() if field.class_ != "public"}
    assert set(ways.values()) <= METHODS
    assert obligations.METHODS.keys() == METHODS


def test_identity_documents_are_never_masked_more_weakly(bundle: Bundle) -> None:
    """A number of a document, or what may be one, is masked as such, whoever's it is."""
    ways = bundle.data["consent"]["masks"]
    assert {ways[code] for code, field in load().fields.items() if field.class_ == "identity_document"} == {"identity"}


def test_every_banded_field_has_edges(bundle: Bundle) -> None:
    """Those of the settings, each from the least value on."""
    bands = bundle.data["consent"]["bands"]
    assert bands.keys() == bundle.data["consent"]["settings"]["banded"].keys()
    assert all(edges[0] == 0 for edges in bands.values())


SPOILT: dict[str, tuple[Callable[[Any], Any], str]] = {
    "an unknown method": (lambda d: d["fields"].update(hash=["N21-01-08.04"]), "fields hash: hash is no method"),
    "a class's unknown method": (lambda d: d["classes"].update(personal="hash"), "classes personal: hash is no method"),
    "a class without": (lambda d: d["classes"].pop("personal"), "classes: personal has no method"),
    "a method without its words": (lambda d: d["methods"].pop("text"), r"methods: missing \['text'\]"),
    "an unknown field": (lambda d: d["fields"]["name"].append("N99-01-01.01"), "fields name: N99-01-01.01 is unknown or public"),
    "a public field": (lambda d: d["fields"]["name"].append("N21-01-01.01"), "N21-01-01.01 is unknown or public"),
    "a field twice": (lambda d: d["fields"].update(text=["N21-01-08.04"]), "N21-01-08.04 has the method amount too"),
    "edges that fall": (lambda d: d["bands"]["N21-05-01.03"].update(edges=[0, 10, 10]), "bands N21-05-01.03: two or more edges"),
    "one edge": (lambda d: d["bands"]["N21-05-01.03"].update(edges=[0]), "bands N21-05-01.03: two or more edges"),
    "a banded field without edges": (lambda d: d["bands"].pop("N21-05-01.03"), "bands: N21-05-01.03 stands in one of"),
    "a member too many": (lambda d: d.update(more=1), "unknown field `more`"),
}  # fmt: skip


@pytest.mark.parametrize(("spoil", "place"), SPOILT.values(), ids=SPOILT.keys())
def test_masks_that_are_wrong_refuse_to_load(tmp_path: Path, spoil: Callable[[Any], Any], place: str) -> None:
    """With the place named: what is half read could show what must not be shown."""
    policies = Path(shutil.copytree(default_directory(), tmp_path / "policies"))
    file = policies / "data" / "masks.json"
    document = json.loads(file.read_text(encoding="utf-8"))
    spoil(document)
    file.write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(BundleError, match=rf"^masks\.json.*{place}"):
        load_bundle(load(), policies)
