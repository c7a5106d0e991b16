"""Publishing, exporting and keeping a head interrupted at any change of a file, and on a full disk.

`lost`: the call failed. `persisted`: it was done and said that it failed. `killed`: signal 9 behind it. `full`: no space left.
"""

import asyncio
import resource
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import pytest
from fault_operations import Operation, Place, append_to, export_archive, file_steps, in_a_process, publish_directory
from ledger_judges import fsck
from sqlalchemy.ext.asyncio import AsyncEngine

from consent.ledger.heads import HeadStore, HeadStoreFailed
from consent.ledger.signer import Signer
from consent_audit import cli
from consent_audit.note import Checkpoint
from consent_audit.note import Signer as Key

MODES = ["lost", "persisted", "killed", "full"]
OLD, NEW = 298, 313


@pytest.fixture(autouse=True)
def _memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture
async def place(database, engine: AsyncEngine, ledger: Signer, key: Key, tmp_path: Path) -> Place:
    """A directory with a publication and an archive of 298 records, of a ledger that has grown to 313 since."""
    place = Place(database.app_url, tmp_path / "old", key.private_key)
    place.directory.mkdir()
    for size in (OLD, NEW):
        while (head := await ledger.sign_now()) is None or head.size < size:
            await append_to(engine)
        if size == OLD:
            await publish_directory(place)
            await export_archive(place)
    return place


def verified(source: Path, key: Key, capsys) -> int:
    """How many records the auditor's command finds there."""
    capsys.readouterr()
    assert cli.main(["verify", str(source), "--key", key.vkey, "--state", str(source.parent / "memory.json")]) == 0
    return int(capsys.readouterr().out.split("size ")[1].split(",")[0])


async def interrupted(operation: Operation, place: Place, at: int, mode: str) -> tuple[bool, bool]:
    """Whether a step broke, and whether the operation reported success."""
    if mode == "killed":
        process = in_a_process(operation, place, kill_at=at)
        await asyncio.to_thread(process.join, 60)
        assert process.exitcode in {0, -9}
        return process.exitcode != 0, process.exitcode == 0
    with file_steps(at, "lost" if mode == "full" else mode, 28 if mode == "full" else 5) as steps:
        try:
            await operation(place)
        except OSError:
            return steps.broken, False
    return steps.broken, True


@pytest.mark.parametrize("mode", MODES)
async def test_publish(place: Place, key: Key, tmp_path: Path, capsys, mode: str) -> None:
    """After each interruption the directory verifies, old or new, and the next publication completes it to the same files."""
    for at in count():
        here = place._replace(directory=tmp_path / str(at))
        shutil.copytree(place.directory, here.directory)
        broken, acknowledged = await interrupted(publish_directory, here, at, mode)
        assert verified(here.directory / "public", key, capsys) in ({NEW} if acknowledged else {OLD, NEW})
        await publish_directory(here)
        assert verified(here.directory / "public", key, capsys) == NEW
        if not broken:
            break
    assert acknowledged
    assert at > 15


@pytest.mark.golang
async def test_publish_killed_and_completed_is_what_fsck_accepts(place: Place, key: Key, tmp_path: Path) -> None:
    """The same directory killed at one step after another, and in the end completed."""
    for at in range(20):
        await interrupted(publish_directory, place, at, "killed")
    await publish_directory(place)
    assert fsck(place.directory / "public", key.vkey, tmp_path).size == NEW


@pytest.mark.parametrize("mode", MODES)
async def test_export(place: Place, key: Key, tmp_path: Path, capsys, mode: str) -> None:
    """The archive is the old one or the new one, whole; what failed and lived leaves no other file."""
    for at in count():
        here = place._replace(directory=tmp_path / str(at))
        shutil.copytree(place.directory, here.directory)
        broken, acknowledged = await interrupted(export_archive, here, at, mode)
        assert verified(here.directory / "ledger.tar", key, capsys) in ({NEW} if acknowledged else {OLD, NEW})
        if mode != "killed":
            assert {path.name for path in here.directory.iterdir()} == {"public", "ledger.tar", "memory.json", "memory.json.lock"}
        if not broken:
            break
    assert acknowledged
    assert at >= 3


@pytest.mark.parametrize("mode", ["lost", "persisted", "full"])
def test_second_store(key: Key, tmp_path: Path, mode: str) -> None:
    """A head that was reported as kept is kept; one that was not is kept or not, and the older one is never lost."""
    for at in count():
        directory = tmp_path / str(at)
        directory.mkdir()
        heads = HeadStore(directory, key.name)
        heads.keep(note(key, 10), None)
        with file_steps(at, "lost" if mode == "full" else mode, 28 if mode == "full" else 5) as steps:
            try:
                heads.keep(note(key, 20), heads.newest())
            except HeadStoreFailed:
                assert kept(heads) in {10, 20}
            else:
                assert kept(heads) == 20
        heads.keep(note(key, 21), heads.newest())
        assert kept(heads) == 21
        if mode != "persisted":
            assert {path.name for path in directory.iterdir()} == {".lock", "checkpoint"}
        if not steps.broken:
            break
    assert at >= 3


def note(key: Key, size: int) -> str:
    return key.sign(Checkpoint(key.name, size, size.to_bytes(32, "big")).text())


def kept(heads: HeadStore) -> int:
    newest = heads.newest()
    assert newest is not None
    return newest.size


@contextmanager
def files_end_at(size: int) -> Iterator[None]:
    """Every write beyond this many bytes of a file fails, as the kernel does it (RLIMIT_FSIZE)."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.parametrize("size", [0, 1, 100, 1000, 8191])
async def test_a_file_that_may_not_grow(place: Place, key: Key, capsys, size: int) -> None:
    """The kernel refuses to write on in the middle of a file: the old publication and archive stay whole, and nothing torn is named."""
    files = {path: path.read_bytes() for path in place.directory.rglob("*") if path.is_file()}
    with files_end_at(size):
        for operation in (publish_directory, export_archive):
            with pytest.raises(OSError, match="File too large"):
                await operation(place)
    for path, body in files.items():
        assert path.read_bytes() == body
    new = [path for path in place.directory.rglob("*") if path.is_file() and path not in files]
    assert all(path.stat().st_size > 0 and not path.name.startswith(".") for path in new)
    assert verified(place.directory / "public", key, capsys) == OLD
    await publish_directory(place)
    await export_archive(place)
    assert verified(place.directory / "ledger.tar", key, capsys) == NEW
