"""Archives and published directories, judged by the offline verifier; and what it says of a ledger that was changed."""

import asyncio
import json
import stat
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from consent.errors import Unavailable
from consent.ledger.copies import CopyRefused, export, publish
from consent.ledger.directory import Directory
from consent.ledger.events import CatalogueActivated, StaffRegistered, encode
from consent.ledger.signer import Signer
from consent.ledger.writer import ensure_genesis, write
from consent_audit.note import Signer as Key


async def grow(engine: AsyncEngine, signer: Signer, count: int) -> None:
    async with write(engine) as transaction:
        for _ in range(count):
            transaction.append_encoded("staff.registered", encode(StaffRegistered(staff="staff-1", role="auditor")))
    await signer.sign_now()


def judge(source: Path, key: Key, tmp_path: Path) -> tuple[int, dict]:
    """Exit code and report of consent-audit, as an auditor runs it, with a memory of its own for each test."""
    command = [
        sys.executable,
        "-m",
        "consent_audit",
        "verify",
        str(source),
        "--key",
        key.vkey,
        "--state",
        str(tmp_path / "state.json"),
        "--json",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode, json.loads(done.stdout)


def files(directory: Path) -> dict[str, bytes]:
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


async def test_an_export_verifies_and_is_the_same_twice(engine, ledger: Signer, key, tmp_path: Path):
    """Records, tiles and blobs of one head; only its owner may read it; no part file stays."""
    async with write(engine) as transaction:
        blob = await transaction.put_blob("application/json", b"{}")
        transaction.append(CatalogueActivated(version="2026-11-20", sha256=blob, approvers=()))
    await grow(engine, ledger, 700)
    for name in ("a.tar", "b.tar"):
        assert await export(engine, tmp_path / name) == 702
    assert (tmp_path / "a.tar").read_bytes() == (tmp_path / "b.tar").read_bytes()
    assert stat.S_IMODE((tmp_path / "a.tar").stat().st_mode) == 0o600
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.tar", "b.tar"]
    status, report = judge(tmp_path / "a.tar", key, tmp_path)
    assert (status, report["size"]) == (0, 702)


@pytest.mark.parametrize("sizes", [[1], [254, 1, 1], [300, 1], [255, 600, 4000, 1]])
async def test_a_directory_grows_with_the_ledger(engine, ledger: Signer, key, tmp_path: Path, sizes: list[int]):
    """After each publication the directory verifies, and it is what one publication into an empty directory makes, beside old edges."""
    for size in sizes:
        await grow(engine, ledger, size)
        await publish(engine, tmp_path / "public")
        status, _ = judge(tmp_path / "public", key, tmp_path)
        assert status == 0
    await publish(engine, tmp_path / "once")
    assert files(tmp_path / "once").items() <= files(tmp_path / "public").items()
    assert await publish(engine, tmp_path / "once") == 1 + sum(sizes)


async def test_published_records_are_closed_to_others(engine, ledger: Signer, tmp_path: Path):
    """Hashes for all, entries and blobs for the owner: directories and files."""
    async with write(engine) as transaction:
        await transaction.put_blob("text/plain", b"x")
    await grow(engine, ledger, 3)
    await publish(engine, tmp_path / "public")
    for path in (tmp_path / "public").rglob("*"):
        closed = "entries" in path.parts or "blobs" in path.parts
        wanted = (0o700 if closed else 0o755) if path.is_dir() else (0o600 if closed else 0o644)
        assert stat.S_IMODE(path.stat().st_mode) == wanted, path


async def test_a_crash_while_publishing_leaves_the_older_copy_whole(engine, ledger: Signer, key, tmp_path: Path, monkeypatch):
    """Whichever write is the last one, the directory verifies at its older size, and the next publication completes it."""
    public = tmp_path / "public"
    await grow(engine, ledger, 200)
    await publish(engine, public)
    await grow(engine, ledger, 400)
    original = Directory._add
    for survive in range(6):
        left = [survive]

        def add(self, path, body, *, replace, left=left):
            if left[0] == 0:
                raise OSError(28, "No space left on device")
            left[0] -= 1
            original(self, path, body, replace=replace)

        monkeypatch.setattr(Directory, "_add", add)
        with pytest.raises(OSError, match="No space"):
            await publish(engine, public)
        status, report = judge(public, key, tmp_path)
        assert (status, report["size"]) == (0, 201)
    monkeypatch.setattr(Directory, "_add", original)
    assert await publish(engine, public) == 601
    assert judge(public, key, tmp_path)[0] == 0


async def test_what_a_killed_one_left_is_made_durable(engine, ledger: Signer, tmp_path: Path, monkeypatch):
    """Files that stand already are not written again, but their names are synced before a checkpoint refers to them."""
    public = tmp_path / "public"
    await grow(engine, ledger, 300)
    await publish(engine, public)
    (public / "checkpoint").unlink()
    synced: set[Path] = set()
    monkeypatch.setattr("consent.ledger.directory.sync_directory", synced.add)
    await publish(engine, public)
    assert {path for path in (public, *public.rglob("*")) if path.is_dir()} <= synced


async def test_a_torn_file_is_written_again(engine, ledger: Signer, key, tmp_path: Path):
    """A file of another length than its content is replaced by the next publication that covers it."""
    public = tmp_path / "public"
    await grow(engine, ledger, 10)
    await publish(engine, public)
    (public / "tile/0/000.p/11").write_bytes(b"torn")
    await publish(engine, public)
    assert judge(public, key, tmp_path)[0] == 0


async def test_a_directory_of_another_history_is_left_alone(engine, ledger: Signer, tmp_path: Path):
    """Another origin, a larger size, another root and garbage are refused, and nothing in the directory changes."""
    public = tmp_path / "public"
    await grow(engine, ledger, 5)
    await publish(engine, public)
    note = (public / "checkpoint").read_text()
    other = {
        "not of": note.replace("ledger.example.org", "other.example.org", 1),
        "restored": note.replace("\n6\n", "\n7\n", 1),
        "another history": note.replace("\n6\n", "\n5\n", 1),
        "not a checkpoint": "garbage",
    }
    for says, changed in other.items():
        (public / "checkpoint").write_text(changed)
        before = files(public)
        with pytest.raises(CopyRefused, match=says):
            await publish(engine, public)
        assert files(public) == before


async def test_nothing_signed_nothing_copied(engine, ledger: Signer, tmp_path: Path):
    """Without a checkpoint there is no archive."""
    with pytest.raises(Unavailable):
        await export(engine, tmp_path / "a.tar")
    assert not (tmp_path / "a.tar").exists()


async def test_an_export_that_fails_keeps_the_older_archive(engine, owner_engine, signer: Signer, tmp_path: Path):
    """Records that no longer have the signed root make no archive, and leave the one that was there."""
    await grow(engine, signer, 300)
    await export(engine, tmp_path / "a.tar")
    before = (tmp_path / "a.tar").read_bytes()
    async with owner_engine.begin() as owner:
        await owner.execute(text("alter table ledger_record disable trigger user"))
        await owner.execute(text("update ledger_record set leaf = sha256('x') where idx = 7"))
    with pytest.raises(CopyRefused):
        await export(engine, tmp_path / "a.tar")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"a.tar": before}


@pytest.mark.parametrize("index", [0, 7, 256, 300])
async def test_one_changed_byte_is_found_by_the_auditor(engine, owner_engine, signer: Signer, key, tmp_path: Path, index: int):
    """Whoever owns the tables switches the trigger off and changes one byte: exit 1, and the record is named."""
    await grow(engine, signer, 300)
    async with owner_engine.begin() as owner:
        await owner.execute(text("alter table ledger_record disable trigger user"))
        changed = await owner.execute(
            text("update ledger_record set bytes = set_byte(bytes, length(bytes) - 4, 90) where idx = :i"), {"i": index}
        )
        assert changed.rowcount == 1
    await export(engine, tmp_path / "a.tar")
    status, report = judge(tmp_path / "a.tar", key, tmp_path)
    assert status == 1
    assert index in [finding["index"] for finding in report["findings"]]


async def test_a_second_ledger_of_the_same_name_is_not_this_one(engine, ledger: Signer, key, origin: str, tmp_path: Path):
    """Publishing into a directory of an earlier installation with the same origin is refused."""
    await ensure_genesis(engine, origin)
    await grow(engine, ledger, 2)
    public = tmp_path / "public"
    public.mkdir()
    text_ = f"{origin}\n2\n{'A' * 43}=\n"
    (public / "checkpoint").write_text(Key.generate(origin).sign(text_))
    with pytest.raises(CopyRefused, match="another history"):
        await publish(engine, public)


async def test_two_at_once_are_one(engine, ledger: Signer, key, tmp_path: Path):
    """Whoever comes second is refused, and what the first one writes is whole."""
    public = tmp_path / "public"
    await grow(engine, ledger, 600)
    async with Directory(public).writing():
        with pytest.raises(CopyRefused, match="another process"):
            await publish(engine, public)
        assert list(public.iterdir()) == []
    assert await publish(engine, public) == 601
    assert judge(public, key, tmp_path)[0] == 0


async def test_what_everybody_may_read_stands_alone(engine, ledger: Signer, tmp_path: Path):
    """Without entries and blobs: checkpoint and hash tiles, nothing else."""
    async with write(engine) as transaction:
        await transaction.put_blob("text/plain", b"x")
    await grow(engine, ledger, 300)
    await publish(engine, tmp_path / "open", open_only=True)
    shown = ["checkpoint", "tile/0/000", "tile/0/001.p/45", "tile/1/000.p/1"]
    assert sorted(files(tmp_path / "open")) == shown
    # Only what is new is written: a copy for auditors that went on from here would lack every earlier entry.
    with pytest.raises(CopyRefused, match="holds hashes only"):
        await publish(engine, tmp_path / "open")
    assert sorted(files(tmp_path / "open")) == shown


async def test_the_witnessed_checkpoint_is_copied(engine, ledger: Signer, key, tmp_path: Path):
    """Beside the newest one, in archive and directory; it follows when it moves on."""
    await grow(engine, ledger, 5)
    for size, more in ((6, 3), (9, 2)):
        async with engine.begin() as connection:
            await connection.execute(text("insert into ledger_head_stage (stage, size) values ('witnessed', :size)"), {"size": size})
        await grow(engine, ledger, more)
        await publish(engine, tmp_path / "public")
        assert (tmp_path / "public/checkpoint.witnessed").read_text().split("\n")[1] == str(size)
        assert (tmp_path / "public/checkpoint").read_text().split("\n")[1] == str(size + more)
        await export(engine, tmp_path / "a.tar")
        with tarfile.open(tmp_path / "a.tar") as archive:
            assert archive.getnames()[:2] == ["checkpoint", "checkpoint.witnessed"]
        assert judge(tmp_path / "public", key, tmp_path)[0] == 0


async def test_the_loop_goes_on_while_a_disk_is_slow(engine, ledger: Signer, tmp_path: Path, monkeypatch):
    """Files are written in threads: whoever else runs in the process is not held up."""
    await grow(engine, ledger, 700)
    monkeypatch.setattr(Directory, "_sync", lambda self: time.sleep(0.5))
    longest = 0.0
    task = asyncio.create_task(publish(engine, tmp_path / "public"))
    while not task.done():
        before = time.monotonic()
        await asyncio.sleep(0.01)
        longest = max(longest, time.monotonic() - before)
    assert await task == 701
    assert longest < 0.4
