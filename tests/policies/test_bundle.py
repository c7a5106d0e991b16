"""Loading the policies: complete, named, or not at all."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from consent.catalogue.load import load
from consent.decisions.bundle import Bundle, BundleError, default_directory, load_bundle, write_bundle


@pytest.fixture
def policies(tmp_path: Path) -> Path:
    """A copy of the policies that a test may spoil."""
    return Path(shutil.copytree(default_directory(), tmp_path / "policies"))


def spoil(policies: Path, file: str, change: Any) -> None:
    """Rewrite one data file by `change`."""
    path = policies / "data" / file
    document = json.loads(path.read_text(encoding="utf-8"))
    change(document)
    path.write_text(json.dumps(document), encoding="utf-8")


def test_the_same_text_has_the_same_revision(bundle: Bundle, policies: Path) -> None:
    """A copy elsewhere is the same bundle, and its tests are no part of it."""
    (policies / "more_test.rego").write_text("package consent.more\n")
    assert load_bundle(load(), policies) == bundle
    assert bundle.blob() == load_bundle(load(), policies).blob()


@pytest.mark.parametrize("path", ["decision.rego", "rules/grant.rego", "data/matrix.json", "data/settings.json", "data/purposes.json"])
def test_any_change_of_what_decides_changes_the_revision(bundle: Bundle, policies: Path, path: str) -> None:
    """One more rule or one other number is another revision."""
    file = policies / path
    text = file.read_text(encoding="utf-8")
    other = (
        text + "\n# changed\n"
        if path.endswith(".rego")
        else text.replace("731", "730").replace('"settled"', '"refused"').replace("true", "false")
    )
    assert other != text
    file.write_text(other, encoding="utf-8")
    assert load_bundle(load(), policies).revision != bundle.revision


def test_every_selectable_item_is_needed_for_something(bundle: Bundle) -> None:
    """An item that no purpose needs could never be had; what cannot be selected stands in no row."""
    rows = {item for entries in bundle.data["consent"]["matrix"].values() for item in entries}
    assert rows == {code for code, item in load().items.items() if item.selectable}


@pytest.mark.parametrize(
    ("file", "change", "place"),
    [
        ("matrix.json", lambda m: m["rows"][0]["items"].append("N99-01-01"), "row identity items: N99-01-01 is unknown"),
        ("matrix.json", lambda m: m["rows"][0]["items"].append("NB-01"), "row identity items: NB-01 is unknown"),
        ("matrix.json", lambda m: m["rows"][0]["purposes"].append("marketing"), "row identity purposes: marketing is unknown"),
        (
            "matrix.json",
            lambda m: m["rows"].append({**m["rows"][0], "id": "again"}),
            "row again: screening × N21-01-01 stands in row identity too",
        ),
        ("matrix.json", lambda m: m["rows"].append(m["rows"][0]), "row identity: stands twice"),
        ("matrix.json", lambda m: m["rows"][0].update(fields={"only": ["N21-03-04.01"]}), "row identity fields: N21-03-04.01 is unknown"),
        ("matrix.json", lambda m: m["rows"][0].update(fields={}), "row identity fields: one of only and except"),
        ("matrix.json", lambda m: m["rows"][0].update(fields="some"), "fields"),
        ("matrix.json", lambda m: m["rows"][0].update(max_validity_days=9999), "row identity max_validity_days: wider"),
        ("matrix.json", lambda m: m["rows"][0].pop("reason"), "reason"),
        ("matrix.json", lambda m: m["limits"].pop("approval"), "limits: missing ['approval']"),
        ("matrix.json", lambda m: m["limits"]["approval"].update(retention_days=0), "limits approval: bounds are positive"),
        ("matrix.json", lambda m: m.update(extra=1), "extra"),
        ("purposes.json", lambda p: p.pop("approval"), "missing ['approval']"),
        ("purposes.json", lambda p: p["approval"]["phases"].append("open"), "phases"),
        ("settings.json", lambda s: s["third_party_under_grant"].append("N21-03-04.01"), "is about no third party"),
        ("settings.json", lambda s: s["banded_fields"].append("N21-05-01.99"), "N21-05-01.99 is unknown"),
        ("settings.json", lambda s: s["masked_classes"].append("secret"), "masked_classes"),
        ("settings.json", lambda s: s["reasons"].pop("banded_fields"), "banded_fields"),
    ],
)
def test_bad_data_refuses_to_load_and_names_the_place(policies: Path, file: str, change: Any, place: str) -> None:
    """Nothing is skipped and nothing is repaired."""
    spoil(policies, file, change)
    with pytest.raises(BundleError) as refused:
        load_bundle(load(), policies)
    assert str(refused.value).startswith(file)
    assert place in str(refused.value)


@pytest.mark.parametrize("file", ["matrix.json", "purposes.json", "settings.json", "masks.json"])
def test_a_member_that_stands_twice_refuses_to_load(policies: Path, file: str) -> None:
    """Of two bounds one would win silently, and nobody could say which."""
    path = policies / "data" / file
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("{", '{"reason": {}, "reason": {}, ', 1), encoding="utf-8")
    with pytest.raises(BundleError, match=f"{file}: reason stands twice"):
        load_bundle(load(), policies)


@pytest.mark.parametrize("file", ["matrix.json", "purposes.json", "settings.json", "masks.json"])
@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"text"', b"\xff\xfe", b"null"])
def test_a_file_that_is_no_such_document_refuses_to_load(policies: Path, file: str, body: bytes) -> None:
    """Cut off, of another kind, or no text at all: the file is named."""
    (policies / "data" / file).write_bytes(body)
    with pytest.raises(BundleError, match=file):
        load_bundle(load(), policies)


def test_a_missing_file_refuses_to_load(policies: Path) -> None:
    """So does a directory without policies."""
    (policies / "data" / "matrix.json").unlink()
    with pytest.raises(BundleError, match=r"matrix\.json"):
        load_bundle(load(), policies)
    with pytest.raises(BundleError, match="no policies"):
        load_bundle(load(), policies / "data")


def test_a_written_bundle_names_its_revision(bundle: Bundle, tmp_path: Path) -> None:
    """What OPA serves says which revision it is, in the manifest and in every answer; nothing is written over something."""
    written = write_bundle(load(), tmp_path / "bundle")
    assert written == bundle
    assert json.loads((tmp_path / "bundle" / ".manifest").read_bytes())["revision"] == bundle.revision
    assert json.loads((tmp_path / "bundle" / "data.json").read_bytes())["consent"]["revision"] == bundle.revision
    with pytest.raises(BundleError, match="not empty"):
        bundle.write(tmp_path / "bundle")
