"""The commands `prove`, `check-proof` and `export`."""

import json
import time
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest
from audit_ledgers import PARTIES, SIGNER, event, pack, publish, records, serve, time_of, unpack_into

from consent_audit import cli, export
from consent_audit.cosigner import Cosigner
from consent_audit.errors import Refuted
from consent_audit.hashing import leaf_hash, node_hash, root
from consent_audit.note import Checkpoint
from consent_audit.policy import Policy
from consent_audit.proof import Proof
from consent_audit.prove import prove
from consent_audit.record import encode_record
from consent_audit.sources import Source, open_source
from consent_audit.tiles import bundle_encode, parse_path

RECORDS = records(600)
FILES = publish(RECORDS)
GROWN = publish(records(1024))
TRUST = Policy.trusting(SIGNER.verifier)
WITNESS = Cosigner("w.example.org", b"\x10" * 32)
POLICY = f"log {SIGNER.vkey}\nwitness W {WITNESS.verifier.vkey}\nquorum W\n"
KEY = ["--key", SIGNER.vkey]


@pytest.fixture(autouse=True)
def _own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.delenv("CONSENT_AUDIT_TOKEN", raising=False)


def cosign(note: bytes) -> bytes:
    return note + WITNESS.cosign(note.decode().split("\n\n", maxsplit=1)[0] + "\n", 1_800_000_000).encode()


@pytest.mark.parametrize("kind", ["directory", "archive", "url"])
def test_every_record_of_a_ledger(tmp_path: Path, kind: str) -> None:
    """The proof of a record holds, wherever in its tile the record and the tree's end stand."""
    (tmp_path / "a.tar").write_bytes(pack(FILES))
    with serve(FILES) as url:
        place = {"directory": str(unpack_into(tmp_path / "tree", FILES)), "archive": str(tmp_path / "a.tar"), "url": url}[kind]
        with open_source(place) as source:
            for index in range(0, 600, 1 if kind == "archive" else 97):
                proof, entry = prove(source, TRUST, index)
                assert entry == RECORDS[index]
                assert Proof.parse(proof.format()).verify(entry, TRUST).checkpoint.size == 600


def test_partial_tiles_that_became_full(tmp_path: Path) -> None:
    """Under an older checkpoint, tiles that have grown since serve as well."""
    files = {**GROWN, "checkpoint": FILES["checkpoint"], "tile/1/000.p/2": FILES["tile/1/000.p/2"]}
    assert not any(path.endswith(".p/88") for path in files)
    with open_source(str(unpack_into(tmp_path / "tree", files))) as source:
        assert prove(source, TRUST, 599)[1] == RECORDS[599]


def test_three_levels(tmp_path: Path) -> None:
    """A proof through tiles of three levels."""
    made = records(65_536 + 300)
    (tmp_path / "a.tar").write_bytes(pack(publish(made)))
    with open_source(str(tmp_path / "a.tar")) as source:
        for index in (0, 65_535, 65_536, 65_835):
            assert prove(source, TRUST, index)[1] == made[index]


def test_a_changed_ledger_gives_no_proof(tmp_path: Path) -> None:
    """What is handed out was checked: a wrong record, tile or head ends with an error that says so."""
    changed = bytearray(FILES["tile/entries/001"])
    changed[changed.index(b'"grant":"g300"') + 10] ^= 1
    for path, body in (
        ("tile/entries/001", bytes(changed)),
        ("tile/entries/001", FILES["tile/entries/000"]),
        ("tile/0/001", FILES["tile/0/000"]),
        ("tile/1/000.p/2", bytes(64)),
        ("tile/1/000.p/2", bytes(63)),
        ("checkpoint", FILES["checkpoint"].replace(b"600", b"601")),
    ):
        (tmp_path / "a.tar").write_bytes(pack({**FILES, path: body}))
        with open_source(str(tmp_path / "a.tar")) as source, pytest.raises(Refuted):
            prove(source, TRUST, 300)
        assert cli.main(["prove", str(tmp_path / "a.tar"), "300", *KEY]) == 1


def test_prove_and_check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What `prove` writes `check-proof` accepts, with the record inside or beside it; the record is printed."""
    (tmp_path / "a.tar").write_bytes(pack(FILES))
    assert cli.main(["prove", str(tmp_path / "a.tar"), "300", *KEY, "-o", str(tmp_path / "p")]) == 0
    assert capsys.readouterr().out == ""
    assert cli.main(["check-proof", str(tmp_path / "p"), *KEY]) == 0
    first, record = capsys.readouterr().out.splitlines()
    assert first.startswith(
        "VERIFIED: this is record 300 of audit.example.org/consent, under a signed checkpoint of 600 records; unanchored"
    )
    assert record == RECORDS[300].decode()
    assert cli.main(["prove", str(tmp_path / "a.tar"), "300", *KEY, "--without-record"]) == 0
    (tmp_path / "bare").write_text(capsys.readouterr().out)
    assert "extra" not in (tmp_path / "bare").read_text()
    assert cli.main(["check-proof", str(tmp_path / "bare"), *KEY]) == 3
    (tmp_path / "record").write_bytes(RECORDS[300])
    assert cli.main(["check-proof", str(tmp_path / "bare"), *KEY, "--record", str(tmp_path / "record")]) == 0
    (tmp_path / "record").write_bytes(RECORDS[301])
    assert cli.main(["check-proof", str(tmp_path / "bare"), *KEY, "--record", str(tmp_path / "record")]) == 1
    capsys.readouterr()
    assert cli.main(["check-proof", str(tmp_path / "p"), *KEY, "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer.pop("sentence").startswith("VERIFIED")
    assert answer == {
        "v": 1, "verdict": "verified", "exit_code": 0, "code": None, "index": 300, "origin": SIGNER.name, "size": 600,
        "record": RECORDS[300].decode(), "witnesses": [],
    }  # fmt: skip


def test_check_refuses(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A changed proof, another log's key, junk and nothing at all: 1 where it contradicts itself, else 3."""
    (tmp_path / "a.tar").write_bytes(pack(FILES))
    assert cli.main(["prove", str(tmp_path / "a.tar"), "300", *KEY, "-o", str(tmp_path / "p")]) == 0
    text = (tmp_path / "p").read_text()
    for changed in (text.replace("index 300", "index 301"), text.replace("\n600\n", "\n601\n"), "junk", ""):
        (tmp_path / "q").write_text(changed)
        assert cli.main(["check-proof", str(tmp_path / "q"), *KEY]) == 1
    assert capsys.readouterr().out.startswith("REFUTED: ")
    assert cli.main(["check-proof", str(tmp_path / "none"), *KEY]) == 3
    assert cli.main(["check-proof", str(tmp_path / "p"), "--key", SIGNER.vkey[:-1]]) == 2
    for index in ("600", str(2**62)):
        assert cli.main(["prove", str(tmp_path / "a.tar"), index, *KEY]) == 3
    for index in ("+1", "1_0", "01", "１", "x"):
        assert cli.main(["prove", str(tmp_path / "a.tar"), index, *KEY]) == 2


def test_a_record_in_another_records_place(tmp_path: Path) -> None:
    """A record that the tree holds at one index and that carries another is refused, whatever the proof says."""
    made = records(5)
    wrong = [*made[:3], encode_record(4, leaf_hash(made[2]), time_of(3), *event(3)), made[4]]
    (tmp_path / "a.tar").write_bytes(pack(publish(wrong)))
    assert cli.main(["prove", str(tmp_path / "a.tar"), "3", *KEY, "-o", str(tmp_path / "p")]) == 0
    assert cli.main(["check-proof", str(tmp_path / "p"), *KEY]) == 1


def test_proof_under_witnesses(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Where the policy demands witnesses, the proof is made under the newest checkpoint that has them, or not at all."""
    (tmp_path / "policy").write_text(POLICY)
    trust = ["--policy", str(tmp_path / "policy")]
    older = publish(RECORDS[:400])["checkpoint"]
    for files, code in (
        (FILES, 3),
        ({**FILES, "checkpoint.witnessed": cosign(older)}, 0),
        ({**FILES, "checkpoint.witnessed": cosign(publish(RECORDS[:300])["checkpoint"])}, 3),
        ({**FILES, "checkpoint": cosign(FILES["checkpoint"])}, 0),
    ):
        (tmp_path / "a.tar").write_bytes(pack(files))
        assert cli.main(["prove", str(tmp_path / "a.tar"), "300", *trust, "-o", str(tmp_path / "p")]) == code
        if code == 0:
            assert cli.main(["check-proof", str(tmp_path / "p"), *trust]) == 0
            assert "anchored: the witnesses W vouched at 2027-01-15T08:00:00Z" in capsys.readouterr().out
    assert cli.main(["prove", str(tmp_path / "a.tar"), "300", *KEY, "-o", str(tmp_path / "p")]) == 0
    (tmp_path / "a.tar").write_bytes(pack(FILES))
    assert cli.main(["prove", str(tmp_path / "a.tar"), "300", *KEY, "-o", str(tmp_path / "p")]) == 0
    assert cli.main(["check-proof", str(tmp_path / "p"), *trust]) == 3


def test_export_is_the_archive_itself(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A copy made over HTTP has the bytes of the service's own archive, also of tiles that have grown since."""
    files = {**FILES, "checkpoint": cosign(FILES["checkpoint"])}
    ordered = {"checkpoint": files["checkpoint"], "checkpoint.witnessed": files["checkpoint"], **files}
    grown = {**GROWN, "checkpoint": FILES["checkpoint"], "tile/1/000.p/2": FILES["tile/1/000.p/2"]}
    (tmp_path / "policy").write_text(POLICY)
    for shown, expected in ((files, files), (grown, FILES)):
        with serve(shown) as url:
            assert cli.main(["export", url, str(tmp_path / "a.tar"), *KEY]) == 0
        assert (tmp_path / "a.tar").read_bytes() == pack({"checkpoint": expected["checkpoint"], **expected})
    for trust in (["--policy", str(tmp_path / "policy")], KEY):
        with serve(ordered) as url:
            assert cli.main(["export", url, str(tmp_path / "b.tar"), *trust]) == 0
        assert (tmp_path / "b.tar").read_bytes() == pack(ordered)
    assert cli.main(["verify", str(tmp_path / "b.tar"), "--policy", str(tmp_path / "policy")]) == 0
    assert capsys.readouterr().out.count("VERIFIED") == 5


def test_documents_are_exported_by_name(tmp_path: Path) -> None:
    """As in the service's own archive, whichever record named them first."""
    bodies = [b"first", b"second", b"third", b"fourth"]
    digests = [sha256(body).hexdigest() for body in bodies]
    assert digests != sorted(digests)
    made = records(2)
    for index, digest in enumerate(digests, 2):
        data = {"request": "r", **PARTIES, "notice": {"version": "1", "sha256": digest}}
        made.append(encode_record(index, leaf_hash(made[-1]), time_of(index), "grant.refused", data))
    files = {**publish(made), **{f"blobs/{digest}": body for digest, body in zip(digests, bodies, strict=True)}}
    with serve(files) as url:
        assert cli.main(["export", url, str(tmp_path / "a.tar"), *KEY]) == 0
    blobs = {path: files[path] for path in sorted(files) if path.startswith("blobs/")}
    tiles = {path: body for path, body in files.items() if path.startswith("tile/")}
    assert (tmp_path / "a.tar").read_bytes() == pack({"checkpoint": files["checkpoint"], **tiles, **blobs})


def test_export_of_what_is_refuted_is_kept_as_evidence(tmp_path: Path) -> None:
    """A ledger that contradicts itself is copied, so that others can see it; one that could not be read leaves no file."""
    refuted = {**FILES, "tile/1/000.p/2": bytes(64)}
    with serve(refuted) as url:
        assert cli.main(["export", url, str(tmp_path / "a.tar"), *KEY]) == 1
    assert cli.main(["verify", str(tmp_path / "a.tar"), *KEY]) == 1
    (tmp_path / "b.tar").write_bytes(b"old")
    with serve({path: body for path, body in FILES.items() if path != "tile/entries/000"}) as url:
        assert cli.main(["export", url, str(tmp_path / "b.tar"), *KEY]) == 3
    assert (tmp_path / "b.tar").read_bytes() == b"old"
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.tar", "b.tar", "state"]


def test_export_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A full disk or a folder that is not there is 3, and the name is never half an archive."""
    (tmp_path / "src.tar").write_bytes(pack(FILES))
    assert cli.main(["export", str(tmp_path / "src.tar"), str(tmp_path / "none" / "a.tar"), *KEY]) == 3

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(export.os, "fsync", full)
    monkeypatch.setattr(cli.state, "remember", lambda *_: None)
    assert cli.main(["export", str(tmp_path / "src.tar"), str(tmp_path / "a.tar"), *KEY]) == 3
    assert "No space left on device" in capsys.readouterr().err
    assert not (tmp_path / "a.tar").exists()


def test_progress(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """With --progress a line on standard error tells how far it is; without a terminal it is silent; the answer stands alone."""
    monkeypatch.setattr(cli, "_PROGRESS_SECONDS", 0.0)
    (tmp_path / "a.tar").write_bytes(pack(FILES))
    assert cli.main(["verify", str(tmp_path / "a.tar"), *KEY]) == 0
    assert capsys.readouterr().err == ""
    assert cli.main(["verify", str(tmp_path / "a.tar"), *KEY, "--progress", "--json"]) == 0
    shown = capsys.readouterr()
    assert "512 of 600 records (85 %)" in shown.err
    assert shown.err.endswith("\r")
    assert json.loads(shown.out)["verdict"] == "verified"


def ragged_root(row: list[bytes], tail: bytes) -> bytes:
    """Root of complete equal subtrees followed by a smaller one (RFC 6962 §2.1)."""
    half = 1 << len(row).bit_length() - 1
    return node_hash(root(row[:half]), ragged_root(row[half:], tail) if row[half:] else tail)


class TenMillion(Source):
    """A log of ten million equal entries: each tile of a level is alike, so none has to be stored."""

    kind = "archive"
    size = 10_000_000
    entry = b"entry"

    def __init__(self) -> None:
        self.read_paths: list[str] = []
        tops = [leaf_hash(self.entry)]
        while len(tops) < 3:
            tops.append(root([tops[-1]] * 256))
        self._tops = tops
        full, rest = divmod(self.size, 256**2)
        head = Checkpoint(SIGNER.name, self.size, ragged_root([tops[2]] * full, root([tops[0]] * rest)))
        self._note = SIGNER.sign(head.text()).encode()

    def chunks(self, path: str, limit: int) -> Iterator[bytes]:
        self.read_paths.append(path)
        if path == "checkpoint":
            yield self._note
            return
        tile = parse_path(path)
        yield bundle_encode([self.entry] * tile.width) if tile.level < 0 else self._tops[tile.level] * tile.width


@pytest.mark.parametrize("index", [0, 255, 4_999_999, 9_999_999])
def test_a_proof_from_ten_million_records(index: int) -> None:
    """It reads a handful of files and takes less than five milliseconds."""
    source = TenMillion()
    best = 1.0
    for _ in range(5):
        source.read_paths.clear()
        began = time.process_time()
        prove(source, TRUST, index)
        best = min(best, time.process_time() - began)
    assert len(source.read_paths) <= 2 + 2 * 3
    assert best < 0.005
