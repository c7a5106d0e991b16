"""Regional lists add items and what they are needed for, touch nothing else, and refuse to load with the place named."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from consent.catalogue.extension import load_extensions
from consent.catalogue.load import load, load_from, read_body
from consent.catalogue.model import CatalogueError
from consent.decisions.bundle import BundleError, load_bundle
from tests.catalogue.regional_list import ITEM, PERSONAL_ITEM, regional_list, write_list


def test_a_regional_list_adds_its_items_and_rows(tmp_path: Path) -> None:
    """Items, fields and matrix rows are there; the official ones are as they were; rules are untouched and the revision is another."""
    extensions = load_extensions(write_list(tmp_path / "regions"))
    catalogue = load_from(extensions=extensions)
    assert {code: item for code, item in catalogue.items.items() if not code.startswith("R99")} == dict(load().items)
    assert catalogue.items[ITEM].list == "示例省信用信息归集共享清单"
    region = catalogue.lists[-1].region
    assert region is not None
    assert region.code == "99"
    plain, regional = load_bundle(load()), load_bundle(catalogue, extensions=extensions)
    assert regional.modules == plain.modules
    assert regional.revision != plain.revision
    matrix = regional.data["consent"]["matrix"]
    assert matrix["pre_loan"][ITEM]["fields"] == [f"{ITEM}.01", f"{ITEM}.02"]
    assert matrix["pre_loan"][ITEM]["look_back_years"] == 1
    assert PERSONAL_ITEM not in matrix["approval"]
    for purpose, entries in plain.data["consent"]["matrix"].items():
        assert {item: entry for item, entry in matrix[purpose].items() if not item.startswith("R99")} == entries


def test_without_regional_lists_nothing_changes(tmp_path: Path) -> None:
    """No directory and an empty one are the official catalogue, to the byte."""
    (tmp_path / "regions").mkdir()
    assert load_extensions(None) == load_extensions(tmp_path / "regions") == ()
    assert load_from().to_json() == load().to_json()


def test_the_served_body_is_read_back_as_the_same_catalogue(tmp_path: Path) -> None:
    """What a bundle carries is the whole catalogue; a changed body is refused."""
    catalogue = load_from(extensions=load_extensions(write_list(tmp_path / "regions")))
    again = read_body(catalogue.to_json())
    assert (again.version, dict(again.items), again.lists) == (catalogue.version, dict(catalogue.items), catalogue.lists)
    with pytest.raises(CatalogueError, match="which it does not say"):
        read_body(catalogue.to_json().replace("货运量信息".encode(), "货运量".encode()))


def items(document: Any) -> Any:
    return document["items"]["items"]


SPOILT: dict[str, tuple[Callable[[Any], Any], str]] = {
    "a member too many": (lambda d: d.update(rego="allow"), "unknown field `rego`"),
    "no region": (lambda d: d.pop("region"), "missing required field `region`"),
    "a region that is none": (lambda d: d["region"].update(code="9"), r"region\.code: two, four or six digits"),
    "an unnamed region": (lambda d: d["region"]["name"].update(zh=""), r"region\.name\.zh: is empty"),
    "another region's prefix": (lambda d: d["items"].update(prefix="R98"), r"items\.prefix: is R98, the region's is R99"),
    "an official prefix": (lambda d: d["items"].update(prefix="N21"), r"items\.prefix: is N21"),
    "an official item": (lambda d: items(d)[0].update(code="N21-01-01"), r"N21-01-01: is no item code of R99"),
    "a field out of order": (lambda d: items(d)[0]["fields"].reverse(), rf"{ITEM}\.02: stands where {ITEM}\.01 is expected"),
    "open, but its field is no public one": (
        lambda d: items(d)[0].update(provision="open", authorization_required=False),
        rf"{ITEM}\.02: is commercial in an item whose provision is open",
    ),
    "a category that is no number": (
        lambda d: (d["items"]["categories"][0].update(number="x"), [i.update(category="x") for i in items(d)]),
        "category x",
    ),
    "a lost row": (lambda d: d["items"]["categories"][0].update(rows=3), "has 2 rows, the official table has 3"),
}


@pytest.mark.parametrize(("spoil", "place"), SPOILT.values(), ids=SPOILT.keys())
def test_a_malformed_list_is_refused(tmp_path: Path, spoil: Callable[[Any], Any], place: str) -> None:
    """File and place are named."""
    document = regional_list()
    spoil(document)
    with pytest.raises(CatalogueError, match=rf"^r99\.json: .*{place}"):
        load_extensions(write_list(tmp_path / "regions", document))


def test_two_lists_of_one_region_are_refused(tmp_path: Path) -> None:
    """Their codes would collide."""
    write_list(tmp_path / "regions", name="a.json")
    with pytest.raises(CatalogueError, match=r"^b\.json: region 99 has a list in a\.json"):
        load_extensions(write_list(tmp_path / "regions", name="b.json"))


def test_a_list_named_like_an_official_one_is_refused(tmp_path: Path) -> None:
    """A reader must see whose list an item is of."""
    document = regional_list()
    document["items"]["list"] = load().lists[0].list
    with pytest.raises(CatalogueError, match=r"^r99\.json: list: .* is the name of another list too"):
        load_from(extensions=load_extensions(write_list(tmp_path / "regions", document)))


def test_a_directory_that_is_not_there_is_refused(tmp_path: Path) -> None:
    """A typing error in a setting must not lose a region's items."""
    with pytest.raises(CatalogueError, match="no directory of regional lists"):
        load_extensions(tmp_path / "nowhere")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "x.json").write_bytes(b"\xff{")
    with pytest.raises(CatalogueError, match=r"^x\.json: "):
        load_extensions(tmp_path / "broken")


ROWS: dict[str, tuple[Callable[[Any], Any], str]] = {
    "an official item": (lambda row: row.update(items=["N21-03-04"]), "N21-03-04 is not an item of this list"),
    "an item that is not in the list": (lambda row: row.update(items=["R99-01-07"]), "R99-01-07 is unknown"),
    "another row's name": (lambda row: row.update(id="identity"), "its id does not begin with R99-"),
    "wider than the purpose": (lambda row: row.update(look_back_years=50), "look_back_years: wider than its purpose's limit"),
    "an unknown purpose": (lambda row: row.update(purposes=["marketing"]), "marketing is unknown"),
    "no reason": (lambda row: row.pop("reason"), "missing required field `reason`"),
}


@pytest.mark.parametrize(("spoil", "place"), ROWS.values(), ids=ROWS.keys())
def test_a_row_beyond_the_region_is_refused(tmp_path: Path, spoil: Callable[[Any], Any], place: str) -> None:
    """A region says what its own items are needed for, within the purposes' limits, and nothing about others."""
    document = copy.deepcopy(regional_list())
    spoil(document["rows"][0])
    extensions = load_extensions(write_list(tmp_path / "regions", document))
    with pytest.raises(BundleError, match=place):
        load_bundle(load_from(extensions=extensions), extensions=extensions)
