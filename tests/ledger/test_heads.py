"""The second store: what was signed is durable outside the database before anybody sees it, and a database behind it is refused."""

import os
import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from consent import db
from consent.db import create_engine
from consent.errors import Conflict
from consent.ledger import store
from consent.ledger.continuing import adopt, continue_ledger
from consent.ledger.events import StaffRegistered
from consent.ledger.heads import HeadStore, HeadStoreFailed
from consent.ledger.keys import generate_key
from consent.ledger.signer import LedgerBroken, RolledBack, Signer
from consent.ledger.writer import OtherLedger, ensure_genesis, write
from consent_audit.hashing import root
from consent_audit.note import Checkpoint, open_checkpoint
from consent_audit.note import Signer as Key


@pytest.fixture
def heads(tmp_path: Path, origin: str) -> HeadStore:
    """A store that has not been used."""
    (tmp_path / "heads").mkdir()
    return HeadStore(tmp_path / "heads", origin)


@pytest.fixture
def signer(engine: AsyncEngine, key: Key, heads: HeadStore) -> Signer:
    """With the second store; the oracle of tests/conftest.py signs with it too."""
    return Signer(engine, key, heads=heads)


async def append(engine: AsyncEngine, count: int = 1) -> None:
    async with write(engine) as transaction:
        for _ in range(count):
            transaction.append(StaffRegistered(staff="staff-1", role="auditor"))


async def cut(owner_engine: AsyncEngine, size: int) -> None:
    """What restoring a backup of that size leaves."""
    async with owner_engine.begin() as owner:
        for table, column in (
            ("ledger_record", "idx"),
            ("ledger_head", "size - 1"),
            ("ledger_head_stage", "size - 1"),
            ("ledger_node", "256"),
        ):
            await owner.execute(text(f"alter table {table} disable trigger user"))
            await owner.execute(text(f"delete from {table} where {column} >= {size}"))
            await owner.execute(text(f"alter table {table} enable always trigger append_only"))


def size(heads: HeadStore) -> int:
    kept = heads.newest()
    return 0 if kept is None else kept.size


async def test_every_head_is_kept_before_it_is_stored(engine, ledger: Signer, heads: HeadStore, monkeypatch):
    """When the second store fails, the database holds no head either; when it works again, signing goes on."""
    await append(engine)
    await ledger.sign_now()
    assert size(heads) == 2
    await append(engine)
    with monkeypatch.context() as broken:
        broken.setattr(os, "fsync", _full)
        with pytest.raises(HeadStoreFailed, match="No space left"):
            await ledger.sign_now()
    async with db.read(engine) as connection:
        assert (await store.signed_head(connection)).size == 2
    await append(engine)
    assert size(heads) == 2
    await ledger.sign_now()
    assert size(heads) == 4


def _full(_: int) -> None:
    raise OSError(28, "No space left on device")


async def test_a_head_that_was_kept_and_not_stored_is_gone_on_from(engine, ledger: Signer, heads: HeadStore, key, monkeypatch):
    """A crash between the second store and the commit: the next round compares the records with the kept head and signs further."""
    await append(engine, 3)

    async def lost(*_: object, **__: object) -> None:
        raise ConnectionResetError

    with monkeypatch.context() as broken:
        broken.setattr("consent.ledger.signer.Signer._insert", lost)
        with pytest.raises(Exception, match="confirmed"):
            await ledger.sign_now()
    assert size(heads) == 4
    async with db.read(engine) as connection:
        assert await store.signed_head(connection) is None
    await append(engine, 300)
    assert (await ledger.sign_now()).size == 304
    assert size(heads) == 304


@pytest.mark.parametrize("left", [5, 2])
async def test_a_database_that_was_rolled_back_signs_and_records_nothing(engine, owner_engine, signer: Signer, heads, left: int):
    """Behind a kept head: refused with the reason and what to do; recording stops with it, and goes on once the records are back."""
    await append(engine, 5)
    await signer.sign_now()
    async with engine.connect() as connection:
        rows = (await connection.execute(text("select idx, leaf, time, bytes from ledger_record order by idx"))).all()
    await cut(owner_engine, left)
    with pytest.raises(RolledBack, match=f"there are {left} records, but a head over 6 was signed.*point-in-time"):
        await signer.sign_now()
    with pytest.raises(RolledBack):
        await append(engine)
    async with owner_engine.begin() as owner:
        await owner.execute(
            text("insert into ledger_record values (:idx, :leaf, :time, :bytes)"), [row._asdict() for row in rows if row.idx >= left]
        )
    head = await signer.sign_now()
    await append(engine)
    assert head is not None
    assert size(heads) == 6


async def test_a_rolled_back_database_that_grew_again_is_refused(engine, owner_engine, key, signer: Signer, heads):
    """A process without the second store went on over the restored backup: at the same size and beyond, the root is another one."""
    await append(engine, 5)
    await signer.sign_now()
    await cut(owner_engine, 3)
    async with write(engine) as transaction:
        for _ in range(10):
            transaction.append(StaffRegistered(staff="staff-2", role="auditor"))
    for careless in (False, True):
        if careless:
            await Signer(engine, key).sign_now()
        with pytest.raises(RolledBack, match="the first 6 records are not those"):
            await signer.sign_now()


async def test_a_start_looks_first(engine, owner_engine, key, signer: Signer, heads):
    """`check` before anything is recorded: the failure stands where readiness finds it, and nothing can be written."""
    await append(engine, 5)
    await signer.sign_now()
    await cut(owner_engine, 3)
    fresh = Signer(engine, key, heads=heads)
    await fresh.check()
    assert isinstance(fresh.failure, RolledBack)
    with pytest.raises(RolledBack):
        await append(engine)


async def test_a_tail_that_is_missing_while_the_head_stands_is_broken(engine, owner_engine, key):
    """Without a second store the head in the tables itself says so."""
    signer = Signer(engine, key)
    await append(engine, 5)
    await signer.sign_now()
    async with owner_engine.begin() as owner:
        await owner.execute(text("alter table ledger_record disable trigger user"))
        await owner.execute(text("delete from ledger_record where idx >= 3"))
    with pytest.raises(LedgerBroken, match="removed"):
        await signer.sign_now()


async def test_an_empty_store_beside_signed_heads_is_not_taken_for_new(engine, ledger: Signer, key, tmp_path, origin):
    """A disk that is not mounted: nothing is signed until it is, or until somebody says that the store is new."""
    await append(engine)
    await ledger.sign_now()
    other = tmp_path / "other"
    late = Signer(engine, key, heads=HeadStore(other, origin))
    await append(engine)
    with pytest.raises(HeadStoreFailed, match="not a directory"):
        await late.sign_now()
    other.mkdir()
    with pytest.raises(HeadStoreFailed, match="adopt-heads"):
        await late.sign_now()
    assert await adopt(engine, HeadStore(other, origin)) == 2
    assert (await late.sign_now()).size == 3
    with pytest.raises(Conflict):
        await adopt(engine, HeadStore(other, origin))


async def test_stores_of_several_hosts_keep_up(database, engine, ledger: Signer, key, heads, tmp_path, origin):
    """Each process keeps heads in its own store, also those that others signed."""
    (tmp_path / "second").mkdir()
    other = create_engine(database.app_url)
    second = HeadStore(tmp_path / "second", origin)
    await ledger.sign_now()
    await adopt(engine, second)
    quiet = Signer(other, key, timedelta(minutes=5), heads=second)  # never its turn: every head it sees is recent
    for count in range(1, 6):
        await append(engine, count)
        await ledger.sign_now()
        await quiet._round()
        assert size(second) == size(heads)
    await other.dispose()


@pytest.mark.parametrize("damage", ["", "x\n1\n", "ledger.example.org/test\n-1\nAAAA\n\n— a b\n"])
def test_a_damaged_store_is_refused(heads: HeadStore, tmp_path, damage: str):
    """Nothing is assumed to be the first head then."""
    (tmp_path / "heads/checkpoint").write_text(damage)
    with pytest.raises(HeadStoreFailed, match="damaged"):
        heads.newest()


def test_another_ledgers_store_is_refused(tmp_path, key: Key):
    """A store mounted in the wrong place."""
    first = HeadStore(tmp_path, key.name)
    first.keep(key.sign(Checkpoint(key.name, 1, root([b"a" * 32])).text()), None)
    with pytest.raises(HeadStoreFailed, match="not of other"):
        HeadStore(tmp_path, "other.example.org").newest()


def test_what_was_written_meanwhile_is_not_overwritten(heads: HeadStore, key: Key):
    """Compare and set: of two databases with one store, the second one to come is refused."""
    notes = [key.sign(Checkpoint(key.name, size, bytes(32)).text()) for size in (3, 2)]
    heads.keep(notes[0], None)
    with pytest.raises(HeadStoreFailed, match="another database"):
        heads.keep(notes[1], None)
    assert size(heads) == 3


KEEP = """
import sys
from pathlib import Path
from consent.ledger.heads import HeadStore
from consent_audit.note import Checkpoint, Signer

key = Signer("ledger.example.org/test", bytes(32))
heads = HeadStore(Path(sys.argv[1]), key.name)
while True:
    kept = heads.newest()
    size = 1 if kept is None else kept.size + 1
    heads.keep(key.sign(Checkpoint(key.name, size, bytes(32)).text()), kept)
    print(size, flush=True)
"""


def test_a_kill_leaves_a_whole_head(tmp_path):
    """kill -9 at any moment: the store holds the last reported head or the one after it, and the next process goes on."""
    key, last = Key("ledger.example.org/test", bytes(32)), 0
    for turn in range(12):
        process = subprocess.Popen([sys.executable, "-c", KEEP, tmp_path], stdout=subprocess.PIPE, text=True)
        for _ in range(1 + turn * 7):
            process.stdout.readline()
        os.kill(process.pid, signal.SIGKILL)
        reported = [int(line) for line in process.stdout.read().split("\n")[:-1] if line]
        process.wait()
        process.stdout.close()
        kept = open_checkpoint((tmp_path / "checkpoint").read_bytes(), key.verifier)
        assert kept.size >= max([last, *reported])
        last = kept.size
    assert {file.name for file in tmp_path.iterdir()} <= {"checkpoint", ".checkpoint.part", ".lock"}


async def test_a_lost_tail_continues_under_a_new_name(engine, owner_engine, signer: Signer, heads, key, tmp_path):
    """Refused while nothing is lost or the name is old; then the new name signs over a record that says what was lost."""
    await append(engine, 5)
    await signer.sign_now()
    generate_key(tmp_path / "new", "ledger.example.org/test-2")
    new = Key.parse((tmp_path / "new").read_text().strip())
    with pytest.raises(Conflict, match="Nothing is lost"):
        await continue_ledger(engine, heads, new)
    await cut(owner_engine, 3)
    with pytest.raises(Conflict, match="never had"):
        await continue_ledger(engine, heads, Key.generate(key.name))
    assert await continue_ledger(engine, heads, new) == 3
    (tmp_path / "heads-2").mkdir()
    continued = Signer(engine, new, heads=HeadStore(tmp_path / "heads-2", new.name))
    await ensure_genesis(engine, new.name)
    head = await continued.sign_now()
    assert head is not None
    assert open_checkpoint(head.note, new.verifier).size == 4
    with pytest.raises(OtherLedger):
        await ensure_genesis(engine, key.name)
    with pytest.raises(RolledBack):
        await Signer(engine, key, heads=heads).sign_now()
