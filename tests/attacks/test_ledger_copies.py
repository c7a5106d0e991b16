"""Whoever shows an auditor a ledger that is not the one it promised is found out: by the command that he runs, with the place.

Each attack is shown twice: to an auditor who sees the ledger for the first time, and to one who remembers its checkpoint at 400 records.
The attacker has the log's key where the name says so.
"""

from collections.abc import Callable
from pathlib import Path

import pytest
from audit_ledgers import SIGNER, pack, publish, records, serve, unpack_into

from consent_audit import cli
from consent_audit.hashing import EMPTY_ROOT, leaf_hash
from consent_audit.note import Checkpoint, Signer

SIZE = 600
SEEN = 400
RECORDS = records(SIZE)
FILES = publish(RECORDS)
OLDER = publish(RECORDS[:SEEN])
BUNDLES = ["tile/entries/000", "tile/entries/001", "tile/entries/002.p/88"]
NOTE = FILES["checkpoint"].decode()

Files = dict[str, bytes]


def flip(path: str, byte: int) -> Files:
    """One bit of one file changed; a negative byte counts from the end."""
    body = bytearray(FILES[path])
    body[byte] ^= 1
    return FILES | {path: bytes(body)}


def inside(record: int) -> int:
    """A byte of this record's data in the bundle 001."""
    return FILES[BUNDLES[1]].index(f'"grant":"g{record}"'.encode()) + 11


def under_the_old_tiles(entries: list[bytes]) -> Files:
    """Other records beside tiles and checkpoint that stayed as they were."""
    parts = [entries[:256], entries[256:512], entries[512:]]
    return FILES | {
        path: publish(part)[f"tile/entries/000{'' if len(part) == 256 else f'.p/{len(part)}'}"]
        for path, part in zip(BUNDLES, parts, strict=True)
    }


def note(text: str = "", old: str = "", new: str = "") -> Files:
    return FILES | {"checkpoint": (text or NOTE.replace(old, new, 1)).encode()}


CHANGED = [*RECORDS[:300], RECORDS[300].replace(b'"grant":"g', b'"grant":"h'), *RECORDS[301:]]
DROPPED = RECORDS[:300] + RECORDS[301:]
ADDED = [*RECORDS[:300], *records(1, first=300, prev=leaf_hash(RECORDS[299]), salt="x"), *RECORDS[300:]]
DOUBLED = [*RECORDS[:301], *RECORDS[300:]]
SWAPPED = [*RECORDS[:300], RECORDS[301], RECORDS[300], *RECORDS[302:]]
REWRITTEN = [*RECORDS[:300], *records(SIZE - 300, first=300, prev=leaf_hash(RECORDS[299]), salt="x")]
STRANGER = Signer("other.example.org/ledger", bytes(31) + b"\x01")
IMPOSTOR = Signer(SIGNER.name, bytes(31) + b"\x01")

ATTACKS: list[tuple[str, Files, str]] = [
    ("one bit flipped in a record", flip(BUNDLES[1], inside(300)), "record 300"),
    ("one bit flipped in a tile", flip("tile/0/001", 32 * 44 + 7), "record 300"),
    ("one bit flipped in a tile above", flip("tile/1/000.p/2", 40), "tile/1/000.p/2"),
    ("one bit flipped in a bundle, in a record's length", flip(BUNDLES[2], 1), "record 512"),
    ("one bit flipped in the checkpoint's origin", flip("checkpoint", 3), "checkpoint"),
    ("one bit flipped in the checkpoint's size", flip("checkpoint", NOTE.index("\n600") + 1), "checkpoint"),
    ("one bit flipped in the checkpoint's root", flip("checkpoint", NOTE.index("\n600") + 9), "checkpoint"),
    ("one bit flipped in the signature", flip("checkpoint", -20), "checkpoint"),
    ("one bit flipped in the key's name", flip("checkpoint", NOTE.encode().rindex(b"audit")), "checkpoint"),
    ("a record changed", under_the_old_tiles(CHANGED), "record 300"),
    ("a record dropped", under_the_old_tiles(DROPPED), "record 300"),
    ("a record added", under_the_old_tiles(ADDED), "record 300"),
    ("a record duplicated", under_the_old_tiles(DOUBLED), "record 301"),
    ("two records swapped", under_the_old_tiles(SWAPPED), "record 300"),
    ("a record changed, all signed anew with the stolen key", publish(CHANGED), "record 301"),
    ("a record dropped, all signed anew with the stolen key", publish(DROPPED), "record 300"),
    ("a record added, all signed anew with the stolen key", publish(ADDED), "record 301"),
    ("a record duplicated, all signed anew with the stolen key", publish(DOUBLED), "record 301"),
    ("two records swapped, all signed anew with the stolen key", publish(SWAPPED), "record 300"),
    (
        "the tail cut below the checkpoint",
        under_the_old_tiles(RECORDS[:550]) | {BUNDLES[2]: publish(RECORDS[512:550])["tile/entries/000.p/38"]},
        BUNDLES[2],
    ),
    ("another log's checkpoint", note(publish(RECORDS, STRANGER)["checkpoint"].decode()), "checkpoint"),
    ("a checkpoint by another key of the same name", note(publish(RECORDS, IMPOSTOR)["checkpoint"].decode()), "checkpoint"),
    ("a checkpoint of size 0", note(SIGNER.sign(Checkpoint(SIGNER.name, 0, EMPTY_ROOT).text())), "checkpoint"),
    ("a checkpoint of size 0 with another root", note(SIGNER.sign(f"{SIGNER.name}\n0\n{NOTE.split(chr(10))[2]}\n")), "checkpoint"),
    *(
        (
            f"a size that only int() accepts: {spelling!r}",
            note(SIGNER.sign(NOTE.partition("\n\n")[0].replace("600", spelling) + "\n")),
            "checkpoint",
        )
        for spelling in ("+600", "0600", " 600", "6_00", "６００", "٦٠٠", "600.", "-0", "0x258", "")
    ),
    ("a junk line before the signature", note(old="\n\n", new="\n\njunk\n"), "checkpoint"),
    ("a junk line after the signature", note(NOTE + "junk\n"), "checkpoint"),
    ("an empty line after the signature", note(NOTE + "\n"), "checkpoint"),
    ("a junk line in the text", note(old="\n\n", new="\njunk\n\n"), "checkpoint"),
    ("a carriage return in the text", note(old="\n600\n", new="\n600\r\n"), "checkpoint"),
    ("a thousand signature lines", note(NOTE + NOTE.split("\n\n")[1] * 1000), "checkpoint"),
]


@pytest.fixture(autouse=True)
def _memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An auditor's own memory, empty at first."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.delenv("CONSENT_AUDIT_TOKEN", raising=False)


@pytest.fixture
def remembers(tmp_path: Path) -> None:
    """He saw the true ledger at 400 records."""
    assert audit(unpack_into(tmp_path / "older", OLDER)) == 0


def audit(source: object) -> int:
    return cli.main(["verify", str(source), "--key", SIGNER.vkey])


def test_the_true_ledger_is_accepted(remembers: None, tmp_path: Path) -> None:
    """What is attacked below verifies untouched, also to who remembers its beginning."""
    assert audit(unpack_into(tmp_path / "tree", FILES)) == 0


@pytest.mark.parametrize("memory", ["first sight", "remembers"])
@pytest.mark.parametrize(("files", "place"), [pytest.param(*rest, id=name) for name, *rest in ATTACKS])
def test_attack_is_refuted(tmp_path: Path, request: pytest.FixtureRequest, capsys, files: Files, place: str, memory: str) -> None:
    """Exit code 1, and the first line names the place; or it says that the history seen before was rewritten, and a line below where."""
    if memory == "remembers":
        request.getfixturevalue("remembers")
    (tmp_path / "ledger.tar").write_bytes(pack(files))
    capsys.readouterr()
    assert audit(tmp_path / "ledger.tar") == 1
    first, *more = capsys.readouterr().out.splitlines()
    rewritten = memory == "remembers" and first.startswith("REFUTED: checkpoint: the first 400 records are not those")
    assert first.startswith(f"REFUTED: {place}: ") or rewritten
    assert any(f"] {place}: " in line for line in more)


def test_history_rewritten_and_signed_anew_with_the_stolen_key(remembers: None, tmp_path: Path, capsys) -> None:
    """Chain, tiles and signature are perfect, only not the ones that he saw; to a stranger it says that no witness vouches for it."""
    tree = unpack_into(tmp_path / "tree", publish(REWRITTEN))
    capsys.readouterr()
    assert audit(tree) == 1
    assert capsys.readouterr().out.startswith("REFUTED: checkpoint: ")


@pytest.mark.parametrize(
    "made",
    [pytest.param(OLDER | {}, id="an old checkpoint shown"), pytest.param(publish(RECORDS[:399]), id="the tail cut and signed anew")],
)
def test_less_than_was_seen(tmp_path: Path, capsys, made: Files) -> None:
    """Over HTTP it is a rollback, and refuted. A file may just be old: then nothing is proven, and it says how much was seen."""
    assert audit(unpack_into(tmp_path / "tree", FILES)) == 0
    capsys.readouterr()
    with serve(made) as url:
        assert audit(f"{url}/ledger") == 1
    assert capsys.readouterr().out.startswith("REFUTED: checkpoint: ")
    assert audit(unpack_into(tmp_path / "old", made)) == 3
    assert "600" in capsys.readouterr().out


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda body: b"", id="emptied"),
        pytest.param(lambda body: body[:-1], id="cut"),
        pytest.param(lambda body: body + bytes(32), id="lengthened"),
        pytest.param(lambda body: body * 300, id="repeated"),
    ],
)
@pytest.mark.parametrize("path", [path for path in FILES if path.startswith("tile")], ids=lambda path: path.replace("/", "-"))
def test_a_tile_or_bundle_of_another_length(tmp_path: Path, capsys, path: str, change: Callable[[bytes], bytes]) -> None:
    """The file is named, or the record at which it stops being what it was."""
    (tmp_path / "ledger.tar").write_bytes(pack(FILES | {path: change(FILES[path])}))
    assert audit(tmp_path / "ledger.tar") == 1
    first = capsys.readouterr().out.splitlines()[0]
    assert path in first or "REFUTED: record " in first
