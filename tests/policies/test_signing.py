"""Signed bundles: what was signed is what is loaded, by our loader and by OPA, whoever of the two signed it."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from consent.catalogue.load import load
from consent.decisions import signing
from consent.decisions.archive import PACKED_LIMIT, UNPACKED_LIMIT, ArchiveError, pack, unpack
from consent.decisions.bundle import Bundle, BundleError, open_bundle, read_bundle


@pytest.fixture
def key(tmp_path: Path) -> Path:
    """A fresh signing key; its public half stands beside it."""
    signing.generate_key(tmp_path / "policy.key")
    return tmp_path / "policy.key"


def public(key: Path) -> signing.PublicKeys:
    return signing.load_public_keys(key.with_name("policy.key.pub"))


def signed(bundle: Bundle, key: Path) -> bytes:
    return bundle.blob(signing.load_signing_key(key))


def test_a_signed_bundle_is_the_same_bundle(bundle: Bundle, key: Path) -> None:
    """Modules, data, catalogue and revision come back, with the id of the key."""
    again, key_id = open_bundle(signed(bundle, key), public(key))
    assert again == bundle
    assert again.catalogue().version == load().version
    assert [key_id] == list(public(key))


def test_equal_bundles_are_equal_bytes(bundle: Bundle) -> None:
    """So the digest names the bundle."""
    assert bundle.blob() == read_bundle(bundle.blob()).blob()


SPOILT: dict[str, tuple[Callable[[dict[str, bytes]], object], str]] = {
    "a rule changed": (lambda f: f.update({"decision.rego": f["decision.rego"] + b"# more\n"}), "decision.rego: not as it was signed"),
    "a rule taken away": (lambda f: f.pop("rules/item.rego"), "rules/item.rego: not as it was signed"),
    "a rule added": (lambda f: f.update({"rules/more.rego": b"package consent.more\n"}), "rules/more.rego: not as it was signed"),
    "data changed": (lambda f: f.update({"data.json": f["data.json"].replace(b"731", b"732")}), "data.json: not as it was signed"),
    "data that is none": (lambda f: f.update({"data.json": b"{"}), "data.json: not JSON"),
    "the catalogue changed": (lambda f: f.update({"catalogue.json": b"{}"}), "catalogue.json: not as it was signed"),
    "no signature": (lambda f: f.pop(signing.SIGNATURES), "the bundle is not signed"),
    "an empty signature": (lambda f: f.update({signing.SIGNATURES: b'{"signatures":[]}'}), "holds 0 signatures"),
    "a signature that is none": (lambda f: f.update({signing.SIGNATURES: b'{"signatures":["a.b.c"]}'}), "not signed by one of the keys"),
    "not JSON": (lambda f: f.update({signing.SIGNATURES: b"\xff"}), "cannot be read"),
}


@pytest.mark.parametrize(("spoil", "place"), SPOILT.values(), ids=SPOILT.keys())
def test_what_was_not_signed_is_refused(bundle: Bundle, key: Path, spoil: Callable[[dict[str, bytes]], object], place: str) -> None:
    """Each file, none more, none less."""
    files = unpack(signed(bundle, key))
    spoil(files)
    with pytest.raises(BundleError, match=place):
        open_bundle(pack(files), public(key))


def test_another_key_is_not_trusted(bundle: Bundle, key: Path, tmp_path: Path) -> None:
    """Whoever holds some key has signed nothing for us; of several trusted keys each will do."""
    signing.generate_key(tmp_path / "other.key")
    others = signing.load_public_keys(tmp_path / "other.key.pub")
    with pytest.raises(BundleError, match="not signed by one of the keys"):
        open_bundle(signed(bundle, key), others)
    both = tmp_path / "both.pub"
    both.write_text((tmp_path / "other.key.pub").read_text() + key.with_name("policy.key.pub").read_text())
    assert open_bundle(signed(bundle, key), signing.load_public_keys(both))[1] in public(key)


def test_another_scope_is_not_ours(bundle: Bundle, key: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key that signs for another system as well signs nothing for this one."""
    monkeypatch.setattr(signing, "SCOPE", "other")
    body = signed(bundle, key)
    monkeypatch.undo()
    with pytest.raises(BundleError, match="for another scope"):
        open_bundle(body, public(key))


def test_keys_that_cannot_be_used_are_refused(key: Path, tmp_path: Path) -> None:
    """Absent, open to others, of the wrong half, none at all; never overwritten."""
    with pytest.raises(FileExistsError):
        signing.generate_key(key)
    public_half = key.with_name("policy.key.pub")
    public_half.chmod(0o600)
    with pytest.raises(signing.SignatureRefused, match="the private one signs"):
        signing.load_signing_key(public_half)
    with pytest.raises(signing.SignatureRefused, match="holds a private key"):
        signing.load_public_keys(key)
    with pytest.raises(signing.SignatureRefused, match="cannot be read"):
        signing.load_signing_key(tmp_path / "none")
    with pytest.raises(signing.SignatureRefused, match="cannot be read"):
        signing.load_public_keys(tmp_path / "none")
    (tmp_path / "empty").touch()
    with pytest.raises(signing.SignatureRefused, match="holds no public key"):
        signing.load_public_keys(tmp_path / "empty")
    key.chmod(0o644)
    with pytest.raises(signing.SignatureRefused, match="may be read by others"):
        signing.load_signing_key(key)


ARCHIVES: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "empty": (lambda b: b"", "cut off"),
    "no gzip": (lambda b: b"PK" + b, "no gzipped tar"),
    "cut off": (lambda b: b[:-20], "cut off"),
    "more behind it": (lambda b: b + b, "cut off"),
    "too long": (lambda b: b"\0" * (PACKED_LIMIT + 1), "longer than"),
    "a bomb": (lambda b: pack({"x": b"\0" * UNPACKED_LIMIT}), "longer than"),
    "climbs out": (lambda b: pack({"a/../../x.rego": b""}), "no plain file"),
    "nothing in it": (lambda b: pack({}), r"\.manifest: is missing"),
    "a strange file": (lambda b: pack({**unpack(b), "run.sh": b""}), "run.sh: does not belong"),
    "another release's": (
        lambda b: pack({**unpack(b), ".manifest": unpack(b)[".manifest"].replace(b'"input_format":2', b'"input_format":99')}),
        "made for another release",
    ),
    "of before checks were packed": (
        lambda b: pack({**unpack(b), ".manifest": unpack(b)[".manifest"].replace(b'"input_format":2', b'"input_format":1')}),
        "made for another release",
    ),
    "without joined data": (
        lambda b: pack({**unpack(b), "data.json": b'{"consent":{"catalogue":{"items":{}}}}'}),
        "without the joined data",
    ),
    "data of something else": (lambda b: pack({**unpack(b), "data.json": b'{"other":{}}'}), "data.json: not the data"),
    "another content than it says": (
        lambda b: pack({**unpack(b), "rules/item.rego": b"package consent.item_bars\n"}),
        "which it does not say",
    ),
}


@pytest.mark.parametrize(("spoil", "place"), ARCHIVES.values(), ids=ARCHIVES.keys())
def test_an_archive_that_is_no_bundle_is_refused(bundle: Bundle, spoil: Callable[[bytes], bytes], place: str) -> None:
    """With the place named, and without unpacking what is too large."""
    with pytest.raises(BundleError, match=place):
        read_bundle(spoil(bundle.blob()))


def test_a_file_twice_is_refused() -> None:
    """Which of the two counts would depend on the reader."""
    body = pack({"/x": b"1", "x": b"2"})
    with pytest.raises(ArchiveError, match="stands twice"):
        unpack(body)


@pytest.mark.opa
def test_opa_loads_what_we_signed_and_refuses_what_was_changed(bundle: Bundle, key: Path, opa: str, tmp_path: Path) -> None:
    """OPA checks our signature over our files: the judge of the digests in it."""
    (key_id,) = public(key)
    options = ["--verification-key", f"{key}.pub", "--verification-key-id", key_id, "--signing-alg", "ES256", "--scope", signing.SCOPE]
    whole = signed(bundle, key)
    files = unpack(whole)
    for place in ("decision.rego", "data.json", "catalogue.json", ".manifest"):
        changed = files[place].replace(b"package", b"# package", 1) if place.endswith("rego") else b"{}"
        (tmp_path / f"{place.strip('.')}.tar.gz").write_bytes(pack({**files, place: changed}))
    (tmp_path / "whole.tar.gz").write_bytes(whole)

    def load(name: str) -> subprocess.CompletedProcess[str]:
        command = [opa, "build", "--bundle", str(tmp_path / f"{name}.tar.gz"), "--output", str(tmp_path / "out.tar.gz"), *options]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    good = load("whole")
    assert good.returncode == 0, good.stderr
    for name in ("decision.rego", "data.json", "catalogue.json", "manifest"):
        bad = load(name)
        assert bad.returncode != 0, name
        assert "digest mismatch" in bad.stdout + bad.stderr, name


@pytest.mark.opa
def test_what_opa_signed_is_ours_too(bundle: Bundle, key: Path, opa: str, tmp_path: Path) -> None:
    """`opa sign` over a bundle's files gives a signature that our loader takes, if it names our scope."""
    bundle.write(tmp_path / "bundle")
    claims = tmp_path / "claims.json"
    claims.write_text(json.dumps({"scope": signing.SCOPE}))
    command = [opa, "sign", "--bundle", ".", "--signing-key", str(key), "--signing-alg", "ES256", "--claims-file", str(claims)]
    subprocess.run([*command, "--output-file-path", str(tmp_path)], cwd=tmp_path / "bundle", check=True, capture_output=True, timeout=60)
    files = {**bundle.files(), signing.SIGNATURES: (tmp_path / signing.SIGNATURES).read_bytes()}
    assert open_bundle(pack(files), public(key))[0] == bundle
