"""The command: exit codes, the first line, JSON, what is remembered, and sources over HTTP."""

import json
import os
import random
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from audit_ledgers import SIGNER, pack, publish, records, serve, unpack_into

from consent_audit import cli, state
from consent_audit.errors import CannotCheck, Refuted
from consent_audit.note import Signer, open_checkpoint
from consent_audit.sources import UrlSource

RECORDS = records(600)
FILES = publish(RECORDS)
OLDER = publish(RECORDS[:400])
FORKED = publish(records(600, salt="x"))
FORKED_OLDER = publish(records(400, salt="x"))
FORKED_NEWER = publish(records(700, salt="x"))


@pytest.fixture(autouse=True)
def _own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.delenv("CONSENT_AUDIT_TOKEN", raising=False)
    monkeypatch.setattr(UrlSource, "pauses_seconds", (0.01,))


def run(source: object, *more: str, key: str = SIGNER.vkey) -> int:
    return cli.main(["verify", str(source), "--key", key, *more])


def tar(root: Path, files: dict[str, bytes], name: str = "ledger.tar") -> Path:
    (root / name).write_bytes(pack(files))
    return root / name


def test_verified(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The first line says in one sentence what is proven and what is not."""
    assert run(tar(tmp_path, FILES)) == 0
    first = capsys.readouterr().out.splitlines()[0]
    assert first.startswith("VERIFIED: the 600 records of audit.example.org/consent are intact")
    assert "first checkpoint seen here, so records cut off before today are not excluded" in first
    assert "unanchored: no witness vouches" in first
    assert run(unpack_into(tmp_path / "tree", FILES)) == 0
    assert "the 600 records seen here before are unchanged" in capsys.readouterr().out


def test_refuted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A changed record exits 1 and the first line names it."""
    bundle = bytearray(FILES["tile/entries/001"])
    bundle[bundle.index(b'"grant":"g300"') + 10] ^= 1
    assert run(tar(tmp_path, {**FILES, "tile/entries/001": bytes(bundle)})) == 1
    assert capsys.readouterr().out.startswith("REFUTED: record 300: its bytes do not give the leaf hash in tile/0/001 (3 more below)")


def test_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The members of the report that programs rely on."""
    assert run(tar(tmp_path, FILES), "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert report["sentence"].startswith("VERIFIED")
    assert report["checkpoint"] == FILES["checkpoint"].decode()
    stable = {name: report[name] for name in report if name not in {"sentence", "checkpoint", "root"}}
    assert stable == {
        "v": 1,
        "verdict": "verified",
        "exit_code": 0,
        "source": "archive",
        "key": SIGNER.vkey,
        "current_key": SIGNER.vkey,
        "origin": SIGNER.name,
        "size": 600,
        "integrity": "verified",
        "completeness": {
            "verdict": "unanchored",
            "anchored_size": None,
            "anchored_at": None,
            "witnesses": [],
            "seen_before": None,
            "lost": [],
        },
        "checked": {"records": 600, "tiles": 4, "blobs": 1, "records_of_unknown_type": 0},
        "findings": [],
        "findings_omitted": 0,
        "unchecked": [],
    }
    assert run(tar(tmp_path, {**FILES, "tile/1/000.p/2": bytes(64)}), "--json") == 1
    report = json.loads(capsys.readouterr().out)
    message = "hash 0 is not what the records from 0 on give"
    assert report["findings"] == [{"code": "tile.mismatch", "place": "tile/1/000.p/2", "index": 0, "message": message}]
    assert run(tmp_path / "none", "--json") == 3
    report = json.loads(capsys.readouterr().out)
    assert (report["verdict"], report["size"]) == ("unchecked", None)


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["verify"],
        ["verify", "x"],
        ["prove", "x"],
        ["verify", "x", "--key", "junk"],
        ["verify", "x", "--key", SIGNER.vkey[:-1]],
        ["verify", "x", "--key", "witness.example.org/w1+f3c080b6+BCmsuuFBvMrwsi4alNNNC8c2HlJtC/4SyJeUvJMilm3X"],
        ["verify", "x", "--key", SIGNER.vkey, "--token", "a b"],
        ["verify", "x", "--key", SIGNER.vkey, "--token", "a\r\nX: y"],
        ["verify", "x", "--key", SIGNER.vkey, "--what"],
    ],
)
def test_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Wrong arguments exit 2, and a token is never printed."""
    try:
        code = cli.main(arguments)
    except SystemExit as exit_:
        code = int(str(exit_.code))
    assert code == 2
    printed = capsys.readouterr()
    assert not printed.out
    assert "X: y" not in printed.err


def test_nothing_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No file, an empty directory, a file that is not an archive: 3, and the ledger is neither praised nor blamed."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_bytes(b"not an archive" * 100)
    for source in (tmp_path / "none", tmp_path / "empty", tmp_path / "file", "ftp://x.example.org/", "http:///x", "http://x/?y"):
        assert run(source) == 3
        assert capsys.readouterr().out.startswith("COULD NOT CHECK: ")


def test_accident_is_never_a_verdict(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """An error of our own exits 3: Python's own 1 would say that the ledger is bad."""

    def break_down(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(cli, "open_source", break_down)
    assert run(tar(tmp_path, FILES)) == 3
    assert "could not check (ZeroDivisionError)" in capsys.readouterr().err


def test_other_file_types_in_a_directory(tmp_path: Path) -> None:
    """A named pipe in the place of a tile does not hold the verifier."""
    tree = unpack_into(tmp_path / "tree", FILES)
    (tree / "tile/0/000").unlink()
    os.mkfifo(tree / "tile/0/000")
    assert run(tree) == 3


# ---- what was seen before


@pytest.mark.parametrize(
    ("shown", "from_file", "from_url", "words"),
    [
        (FILES, 0, 0, "the 600 records seen here before are unchanged"),
        (publish(records(700)), 0, 0, "the 700 records of"),
        (OLDER, 3, 1, "signed 600 before"),
        (FORKED, 1, 1, "history was rewritten"),
        (FORKED_NEWER, 1, 1, "history was rewritten"),
        (FORKED_OLDER, 3, 1, "signed 600 before"),
    ],
)
def test_second_look(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], shown: dict[str, bytes], from_file: int, from_url: int, words: str
) -> None:
    """After size 600 was seen, a fork is 1 always, an older ledger 1 from a server and 3 from a file."""
    for name in ("a", "b"):
        assert run(tar(tmp_path, FILES), "--state", str(tmp_path / name)) == 0
    capsys.readouterr()
    assert run(tar(tmp_path, shown), "--state", str(tmp_path / "a")) == from_file
    assert words in capsys.readouterr().out.splitlines()[0]
    with serve(shown) as url:
        assert run(url, "--state", str(tmp_path / "b")) == from_url
    assert words in capsys.readouterr().out.splitlines()[0]


def test_only_what_was_verified_is_remembered(tmp_path: Path) -> None:
    """A refuted or unreadable ledger leaves no mark that could refute a good one later."""
    assert run(tar(tmp_path, {**FORKED, "tile/0/000": bytes(8192)})) == 1
    assert run(tar(tmp_path, {name: body for name, body in FORKED.items() if name != "tile/0/000"})) == 3
    assert not state.default_path().exists()
    assert run(tar(tmp_path, FILES)) == 0
    assert run(tar(tmp_path, OLDER)) == 3
    assert run(tar(tmp_path, FORKED)) == 1
    seen = state.load(state.default_path(), SIGNER.verifier)
    assert seen is not None
    assert seen == open_checkpoint(FILES["checkpoint"], SIGNER.verifier)


def test_each_key_has_its_own_memory(tmp_path: Path) -> None:
    """Another log's checkpoints neither help nor harm this one's."""
    other = Signer("other.example.org/ledger", b"\x05" * 32)
    path = tmp_path / "seen.json"
    note = other.sign(open_checkpoint(FILES["checkpoint"], SIGNER.verifier).text().replace(SIGNER.name, other.name).replace("600", "9999"))
    state.remember(path, other.verifier, note, open_checkpoint(note, other.verifier))
    assert run(tar(tmp_path, FILES), "--state", str(path)) == 0
    assert state.load(path, other.verifier) is not None
    assert state.load(path, SIGNER.verifier) is not None


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"v":2,"checkpoints":{}}', '{"v":1,"checkpoints":{"a":1}}', "[" * 100_000])
def test_damaged_state(tmp_path: Path, content: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A damaged memory is not taken for a first sight, and is left as it is."""
    path = tmp_path / "seen.json"
    path.write_text(content)
    assert run(tar(tmp_path, FILES), "--state", str(path)) == 3
    assert "state file" in capsys.readouterr().out
    assert path.read_text() == content


def test_forged_state(tmp_path: Path) -> None:
    """A remembered checkpoint that the key did not sign is damage, not memory."""
    path = tmp_path / "seen.json"
    path.write_text(json.dumps({"v": 1, "checkpoints": {SIGNER.vkey: FILES["checkpoint"].decode().replace("600", "601")}}))
    with pytest.raises(CannotCheck, match="did not sign"):
        state.load(path, SIGNER.verifier)


def test_state_that_cannot_be_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What cannot be remembered is not answered with 0, since the next run could not hold the log to it."""
    (tmp_path / "file").write_text("")
    assert run(tar(tmp_path, FILES), "--state", str(tmp_path / "file" / "seen.json")) == 3
    assert "state file" in capsys.readouterr().out


def test_fork_seen_by_another_run_meanwhile(tmp_path: Path) -> None:
    """Two runs at once that saw different trees of one size do not both answer 0; the larger of two sizes stays."""
    path = tmp_path / "new" / "seen.json"
    notes = [files["checkpoint"].decode() for files in (FILES, FORKED, OLDER)]
    state.remember(path, SIGNER.verifier, notes[0], open_checkpoint(notes[0], SIGNER.verifier))
    with pytest.raises(Refuted):
        state.remember(path, SIGNER.verifier, notes[1], open_checkpoint(notes[1], SIGNER.verifier))
    state.remember(path, SIGNER.verifier, notes[2], open_checkpoint(notes[2], SIGNER.verifier))
    assert state.load(path, SIGNER.verifier) == open_checkpoint(notes[0], SIGNER.verifier)
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert {entry.name for entry in path.parent.iterdir()} == {"seen.json", "seen.json.lock"}


def test_many_runs_at_once(tmp_path: Path) -> None:
    """Runs that remember different sizes at the same time leave the largest, and the file is whole at every moment."""
    path = tmp_path / "seen.json"
    notes = [publish(RECORDS[:size])["checkpoint"].decode() for size in range(1, 33)]
    checkpoints = [open_checkpoint(note, SIGNER.verifier) for note in notes]

    def remember(number: int) -> int:
        state.remember(path, SIGNER.verifier, notes[number], checkpoints[number])
        seen = state.load(path, SIGNER.verifier)
        assert seen is not None
        return seen.size

    with ThreadPoolExecutor(8) as pool:
        sizes = list(pool.map(remember, random.Random(5).sample(range(32), 32)))
    assert max(sizes) == 32
    final = state.load(path, SIGNER.verifier)
    assert final is not None
    assert final.size == 32
    assert sorted(file.name for file in tmp_path.iterdir()) == ["seen.json", "seen.json.lock"]


def test_module_runs_alone(tmp_path: Path) -> None:
    """`python -m consent_audit` verifies, in a process of its own."""
    command = [sys.executable, "-I", "-m", "consent_audit", "verify", str(tar(tmp_path, FILES)), "--key", SIGNER.vkey]
    done = subprocess.run([*command, "--state", str(tmp_path / "s")], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
