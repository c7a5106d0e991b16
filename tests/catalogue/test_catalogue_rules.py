"""Every rule of loading, seen to refuse: the shipped data with one thing changed does not load, and the message names the place."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from consent.catalogue.load import DATA, load, load_from
from consent.catalogue.model import CatalogueError

Change = Callable[[Any], object]


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return Path(shutil.copytree(DATA, tmp_path / "data"))


def rewrite(directory: Path, name: str, change: Change) -> None:
    path = directory / name
    data = msgspec.json.decode(path.read_bytes())
    change(data)
    path.write_bytes(msgspec.json.encode(data))


def item(data: Any, code: str) -> Any:
    return next(item for item in data["items"] if item["code"] == code)


def field(data: Any, code: str) -> Any:
    return next(field for field in item(data, code.partition(".")[0])["fields"] if field["code"] == code)


def put(find: Callable[[Any, str], Any], code: str, /, **members: object) -> Change:
    return lambda data: find(data, code).update(members)


def drop(code: str) -> Change:
    return lambda data: data["items"].remove(item(data, code))


def move_first_item_last(data: Any) -> None:
    data["items"].append(data["items"].pop(0))


def swap_fields(data: Any) -> None:
    fields = item(data, "N21-01-01")["fields"]
    fields[0], fields[1] = fields[1], fields[0]


REFUSED: dict[str, tuple[str, Change, str]] = {
    "malformed code": ("n21.json", put(item, "N21-01-01", code="N21-1-1"), "n21.json: N21-1-1: is no item code of N21"),
    "code of another list": ("n21.json", put(item, "N21-01-01", code="N24-01-01"), "n21.json: N24-01-01: is no item code of N21"),
    "code with a line end": ("n21.json", put(item, "N21-01-01", code="N21-01-01\n"), "is no item code of N21"),
    "repeated code": ("n21.json", put(item, "N21-01-02", code="N21-01-01"), "n21.json: items: N21-01-01 stands twice"),
    "lost last row": ("n21.json", drop("N21-11-03"), "n21.json: category 11: has 2 rows, the official table has 3"),
    "lost middle row": ("n24.json", drop("N24-07-02"), "n24.json: N24-07-03: stands where row 2 of its category is expected"),
    "part without its row": ("n21.json", drop("N21-03-01"), "n21.json: N21-03-01A: stands where row 0"),
    "rows out of order": ("n21.json", move_first_item_last, "n21.json: N21-01-02: stands where row 1"),
    "code outside its category": ("n21.json", put(item, "N21-01-01", category="2"), "n21.json: N21-01-01: does not belong to category 2"),
    "source outside its clause": ("nb.json", put(item, "NB-03", category="4.1.4"), "nb.json: NB-03: does not belong to category 4.1.4"),
    "unknown category": ("n21.json", put(item, "N21-01-01", category="14"), "n21.json: N21-01-01: category 14 is not among"),
    "repeated category": ("n21.json", lambda data: data["categories"][1].update(number="1"), "n21.json: categories: 1 stands twice"),
    "empty title": ("n21.json", lambda data: data["title"].update(en=""), "n21.json: title.en: is empty"),
    "category in the wrong language": ("n21.json", lambda data: data["categories"][0].update(zh="Tax"), "category 1.zh: is not Chinese"),
    "field out of order": ("n21.json", swap_fields, "n21.json: N21-01-01.02: stands where N21-01-01.01 is expected"),
    "field missing": ("n21.json", lambda data: item(data, "N21-01-01")["fields"].pop(2), "N21-01-01.04: stands where N21-01-01.03"),
    "repeated field": ("n21.json", put(field, "N21-01-01.02", zh="企业名称"), "n21.json: N21-01-01.fields: 企业名称 stands twice"),
    "padded official name": ("n21.json", put(field, "N21-01-01.02", zh="企业 "), "n21.json: N21-01-01.02.zh: is empty or padded"),
    "empty label": ("n21.json", put(field, "N21-01-01.02", label={"zh": "", "en": "x"}), "N21-01-01.02.label.zh: is empty"),
    "English label in Chinese": ("n21.json", put(field, "N21-01-01.02", label={"zh": "代码", "en": "代码"}), "label.en: is not English"),
    "empty name": ("n24.json", put(item, "N24-01-01", name={"zh": " ", "en": "x"}), "n24.json: N24-01-01.name.zh: is empty"),
    "empty note": ("n24.json", put(item, "N24-01-01", note={"zh": "", "en": ""}), "n24.json: N24-01-01.note.zh: is empty"),
    "empty provider": ("n24.json", put(item, "N24-01-01", provider=""), "n24.json: N24-01-01.provider: is empty"),
    "identity document as public": (
        "n21.json",
        put(field, "N21-10-01.06", **{"class": "public"}),
        "n21.json: N21-10-01.06: names an identity document but its class is public",
    ),
    "selectable but not provided": ("nb.json", put(item, "NB-01", selectable=True), "nb.json: NB-01: is selectable exactly where"),
    "provided but not selectable": ("nb.json", put(item, "NB-03", selectable=False), "nb.json: NB-03: is selectable exactly where"),
    "selectable without fields": (
        "n24.json",
        put(item, "N24-10-02", selectable=True, provision="grant"),
        "n24.json: N24-10-02: can be selected but has no fields",
    ),
    "opened against the row": ("n21.json", put(item, "N21-03-04", provision="open"), "N21-03-04: requires authorization but its provision"),
    "detail of a verified row": ("n24.json", put(item, "N24-17-01", provision="grant"), "N24-17-01: has the mode verification but"),
    "opened though not public": ("n24.json", put(item, "N24-16-01", provision="open"), "N24-16-01.03: is internal in an item whose"),
    "open and a person's": ("n21.json", put(item, "N21-01-01", consent_subject="person"), "N21-01-01: is a person's to grant but"),
    "open with the representative's document": (
        "n21.json",
        put(item, "N21-10-01", provision="open"),
        "n21.json: N21-10-01: is open_except_fields exactly where",
    ),
    "excepting no field": ("n21.json", put(item, "N21-01-01", provision="open_except_fields"), "N21-01-01: is open_except_fields exactly"),
    "unknown mode": ("n21.json", put(item, "N21-01-01", mode="sold"), r"n21.json: Invalid enum value 'sold' - at `\$.items"),
    "unknown class": ("n21.json", put(field, "N21-01-01.01", **{"class": "secret"}), "n21.json: Invalid enum value 'secret'"),
    "unknown member": ("n21.json", put(item, "N21-01-01", selectible=True), "n21.json: Object contains unknown field `selectible`"),
    "missing member": (
        "n21.json",
        lambda data: item(data, "N21-01-01").pop("selectable"),
        "n21.json: .*missing required field `selectable`",
    ),
    "flag as text": ("n21.json", put(item, "N21-01-01", authorization_required="false"), "n21.json: Expected `bool`, got `str`"),
    "malformed date": ("n21.json", lambda data: data.update(effective="2021"), "n21.json: Invalid RFC3339"),
    "malformed purpose": (
        "purposes.json",
        lambda data: data["purposes"][0].update(code="Pre-loan"),
        "purposes.json: Pre-loan: a code is lower-case",
    ),
    "purpose that is no financing": (
        "purposes.json",
        lambda data: data["not_financing"][0].update(code="approval"),
        "purposes.json: codes: approval stands twice",
    ),
    "purpose without a sentence": (
        "purposes.json",
        lambda data: data["purposes"][0]["description"].update(en=""),
        "purposes.json: screening.description.en: is empty",
    ),
    "purpose without a name": (
        "purposes.json",
        lambda data: data["not_financing"][0]["name"].update(zh=""),
        "purposes.json: marketing.name.zh: is empty",
    ),
    "code without a name": (
        "vocabulary.json",
        lambda data: data["modes"].pop("interface"),
        "vocabulary.json: modes: interface has no name",
    ),
    "empty word": ("vocabulary.json", lambda data: data["about"]["subject"].update(zh=""), "vocabulary.json: about.subject.zh: is empty"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(directory, case):
    """One changed member keeps the whole catalogue from loading, and the operator reads where."""
    name, change, message = REFUSED[case]
    rewrite(directory, name, change)
    with pytest.raises(CatalogueError, match=message):
        load_from(directory)


def test_same_code_in_two_lists(directory):
    """A code stands in one list only, also where both files are sound by themselves."""
    shutil.copy(directory / "n21.json", directory / "n24.json")
    with pytest.raises(CatalogueError, match=r"n24\.json: N21-01-01: stands in another list too"):
        load_from(directory)


def test_missing_file(directory):
    """A list that is not there is not an empty list."""
    (directory / "n24.json").unlink()
    with pytest.raises(CatalogueError, match=r"n24\.json: cannot be read"):
        load_from(directory)


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"\xff\xfe", b"null"])
def test_file_that_is_no_catalogue(directory, content):
    """Bytes that are not the file's shape are refused by name."""
    (directory / "purposes.json").write_bytes(content)
    with pytest.raises(CatalogueError, match=r"^purposes\.json: "):
        load_from(directory)


def test_version_follows_the_content(directory):
    """Equal content, equal version; any other word, another version; the newest effective date leads."""
    assert load_from(directory).version == load().version
    rewrite(directory, "n21.json", put(item, "N21-01-01", deadline="2022年底"))
    changed = load_from(directory).version
    assert changed != load().version
    assert changed.partition("+")[0] == load().version.partition("+")[0]
    rewrite(directory, "n24.json", lambda data: data.update(effective="2027-01-01"))
    assert load_from(directory).version.startswith("2027-01-01+")


def test_load_reads_once():
    """The process has one catalogue."""
    assert load() is load()
