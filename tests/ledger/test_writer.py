"""Appending: order, atomicity, time."""

import asyncio
import os
import signal
import subprocess
import sys
from datetime import timedelta

import msgspec
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from consent.clock import format_instant
from consent.db import create_engine
from consent.embedded import EmbeddedPostgres
from consent.errors import DatabaseUnavailable
from consent.ledger.events import StaffRegistered
from consent.ledger.signer import Signer
from consent.ledger.writer import ClockRefused, OtherLedger, TailMissing, ensure_genesis, write
from consent.migrations import migrate
from consent_audit.hashing import leaf_hash
from consent_audit.record import FIRST_PREV, decode_record


def staff(number: int) -> StaffRegistered:
    return StaffRegistered(staff=f"staff-{number}", role="operator")


async def count(engine: AsyncEngine) -> int:
    async with engine.connect() as connection:
        return (await connection.execute(text("select count(*) from ledger_record"))).scalar_one()


async def test_records_form_one_chain(engine: AsyncEngine, ledger):
    """Indexes count up, each record names the leaf hash of the one before, and receipts say what was stored."""
    receipts = []
    for batch in (1, 3, 300):
        async with write(engine) as transaction:
            assert transaction.size == 1 + len(receipts)
            for number in range(batch):
                assert transaction.append(staff(number)) == transaction.size + number
        receipts += transaction.receipts
    async with engine.connect() as connection:
        rows = (await connection.execute(text("select * from ledger_record order by idx"))).all()
    prev = FIRST_PREV
    for index, row in enumerate(rows):
        record = decode_record(row.bytes)
        assert (record.index, record.prev, row.idx, row.leaf) == (index, prev, index, leaf_hash(row.bytes))
        assert record.time == format_instant(row.time)
        prev = row.leaf
    assert [(r.index, r.leaf) for r in receipts] == [(row.idx, row.leaf) for row in rows[1:]]


async def test_a_failed_transaction_leaves_nothing(engine: AsyncEngine, ledger):
    """An error in the block undoes records and facts together, and the next append takes the same index."""
    with pytest.raises(ZeroDivisionError):  # noqa: PT012
        async with write(engine) as transaction:
            transaction.append(staff(1))
            await transaction.connection.execute(text("insert into used_jti values ('\\x00', now())"))
            raise ZeroDivisionError
    async with write(engine) as transaction:
        assert transaction.append(staff(2)) == 1
        assert await transaction.connection.scalar(text("select count(*) from used_jti")) == 0


async def test_a_wrong_value_is_refused_before_it_is_staged(engine: AsyncEngine, ledger):
    """A struct built past its type, or one that would carry free text, raises and stages nothing."""
    async with write(engine) as transaction:
        for bad in (
            {"role": "owner"},
            {"staff": "张三"},
            {"staff": "a b"},
            {"staff": "91330201MA2C0000XX"},
            {"staff": "line\n"},
            {"staff": 1},
        ):
            with pytest.raises(msgspec.ValidationError):
                transaction.append(msgspec.structs.replace(staff(1), **bad))
        assert transaction.append(staff(1)) == 1


async def test_processes_that_append_at_once_never_fork(database, engine: AsyncEngine, ledger):
    """Four processes with a hundred transactions each make one gapless chain."""
    program = [sys.executable, "-c", APPEND, database.app_url, "100"]
    processes = [await asyncio.create_subprocess_exec(*program) for _ in range(4)]
    assert [await process.wait() for process in processes] == [0, 0, 0, 0]
    async with engine.connect() as connection:
        indexes = (await connection.execute(text("select idx from ledger_record order by idx"))).scalars().all()
    assert indexes == list(range(1 + 4 * 100 * 3))


async def test_a_killed_writer_leaves_nothing_to_repair(database, engine: AsyncEngine, ledger):
    """kill -9 in the middle of transactions, ten times: the next writer goes on at once and the chain is whole."""
    for _ in range(10):
        process = subprocess.Popen([sys.executable, "-c", APPEND, database.app_url, "1000000"], stdout=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.readline()
        await asyncio.sleep(0.02)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()
        async with asyncio.timeout(5), write(engine) as transaction:
            transaction.append(staff(0))


async def test_acknowledged_records_survive_a_kill(database, engine: AsyncEngine, ledger):
    """What a killed process had reported as committed is there."""
    process = subprocess.Popen([sys.executable, "-c", APPEND, database.app_url, "1000000"], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for _ in range(20):
        last = int(process.stdout.readline())
    process.kill()
    rest = process.stdout.read().split("\n")
    process.wait()
    process.stdout.close()
    last = max([last, *(int(line) for line in rest[:-1] if line)])
    assert await count(engine) > last


async def test_time_never_runs_backwards(engine: AsyncEngine, owner_engine: AsyncEngine, ledger, monkeypatch: pytest.MonkeyPatch):
    """A clock a little behind the head repeats the head's time; one far behind is refused and leaves nothing."""
    async with write(engine) as transaction:
        transaction.append(staff(1))
    monkeypatch.setattr("consent.ledger.writer.truncate", lambda at: at - timedelta(minutes=4))
    async with write(engine) as second:
        second.append(staff(2))
    assert second.time == transaction.time
    monkeypatch.setattr("consent.ledger.writer.truncate", lambda at: at - timedelta(minutes=6))
    with pytest.raises(ClockRefused):
        async with write(engine):
            pytest.fail("must not get here")
    assert await count(engine) == 3


async def test_the_lock_is_waited_for_and_then_given_up(engine: AsyncEngine, ledger):
    """A second writer waits; when lock_timeout ends the wait, it hears that nothing was recorded."""
    async with write(engine) as holder:
        waiting = asyncio.ensure_future(_append(engine))
        await asyncio.sleep(0.2)
        assert not waiting.done()
        holder.append(staff(1))
    assert await waiting == 2
    async with write(engine):
        with pytest.raises(DatabaseUnavailable):
            await _append(engine)


async def _append(engine: AsyncEngine) -> int:
    async with write(engine) as transaction:
        return transaction.append(staff(0))


async def test_the_session_that_holds_the_lock_idly_is_ended(engine: AsyncEngine, ledger, monkeypatch: pytest.MonkeyPatch):
    """A writer that hangs under the lock loses it; what it had staged is not recorded."""
    with pytest.raises(DatabaseUnavailable):  # noqa: PT012
        async with write(engine) as hanging:
            await hanging.connection.execute(text("set local idle_in_transaction_session_timeout = '50ms'"))
            hanging.append(staff(1))
            await asyncio.sleep(0.3)
    assert await _append(engine) == 1


async def test_genesis_comes_first_and_once(engine: AsyncEngine, database):
    """Several processes begin one ledger; another origin is refused; nothing else can be record 0."""
    async with engine.connect() as connection:
        origin = (
            await connection.execute(text("select convert_from(bytes, 'UTF8')::json->'data'->>'origin' from ledger_record"))
        ).scalar_one()
    await asyncio.gather(*(ensure_genesis(engine, origin) for _ in range(4)))
    assert await count(engine) == 1
    with pytest.raises(OtherLedger):
        await ensure_genesis(engine, "other.example.org/ledger")


async def test_nothing_is_recorded_before_genesis(empty_engine: AsyncEngine):
    """Record 0 is ledger.genesis."""
    with pytest.raises(RuntimeError, match="genesis"):
        await _append(empty_engine)
    assert await count(empty_engine) == 0


async def test_blobs_are_kept_once_by_their_digest(engine: AsyncEngine, ledger):
    """The same document twice is one blob."""
    async with write(engine) as transaction:
        first = await transaction.put_blob("text/plain", b"notice")
        assert await transaction.put_blob("text/plain", b"notice") == first
        assert await transaction.connection.scalar(text("select count(*) from ledger_blob")) == 1


APPEND = """
import asyncio, sys
from consent.db import create_engine
from consent.ledger.events import StaffRegistered
from consent.ledger.writer import write

async def main():
    engine = create_engine(sys.argv[1])
    for number in range(int(sys.argv[2])):
        async with write(engine) as transaction:
            for place in range(3):
                index = transaction.append(StaffRegistered(staff=f"staff-{place}", role="auditor"))
        if int(sys.argv[2]) > 100:
            print(index, flush=True)
    await engine.dispose()

asyncio.run(main())
"""


async def test_a_cancelled_writer_lets_go_of_the_lock(engine: AsyncEngine, ledger):
    """A task cancelled under the lock, or while it waits for it, records nothing and holds nobody up."""
    entered = asyncio.Event()

    async def hang() -> None:
        async with write(engine) as transaction:
            transaction.append(staff(9))
            entered.set()
            await asyncio.sleep(60)

    holder = asyncio.ensure_future(hang())
    await entered.wait()
    waiter = asyncio.ensure_future(_append(engine))
    await asyncio.sleep(0.1)
    for task in (waiter, holder):
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    async with asyncio.timeout(2):
        assert await _append(engine) == 1


async def test_a_server_that_is_killed_under_load_keeps_what_it_acknowledged(tmp_path):
    """kill -9 of the whole server: after recovery every acknowledged record is there, and the next append goes on."""
    state = tmp_path / "own"
    postgres = EmbeddedPostgres(state)
    urls = postgres.start()
    await migrate(urls.owner_url)
    engine = create_engine(urls.app_url)
    await ensure_genesis(engine, "ledger.example.org/killed")
    acknowledged = 0

    async def work() -> None:
        nonlocal acknowledged
        while True:
            acknowledged = max(acknowledged, await _append(engine))

    load = asyncio.gather(*(work() for _ in range(4)), return_exceptions=True)
    await asyncio.sleep(0.5)
    os.kill(int((state / "postgresql/data/postmaster.pid").read_text().split()[0]), signal.SIGKILL)
    assert {type(error) for error in await load} == {DatabaseUnavailable}
    await engine.dispose()
    postgres.stop()
    with EmbeddedPostgres(state) as urls:
        engine = create_engine(urls.app_url)
        size = await count(engine)
        assert size > acknowledged > 0
        assert await _append(engine) == size
        await engine.dispose()


async def test_nothing_is_appended_behind_a_signed_head(engine: AsyncEngine, owner_engine: AsyncEngine, signer: Signer):
    """When records that were signed are gone, a new record would fork the ledger: refused, and nothing is written."""
    async with write(engine) as transaction:
        transaction.append(staff(1))
    await signer.sign_now()
    async with owner_engine.begin() as owner:
        await owner.execute(text("alter table ledger_record disable trigger user"))
        await owner.execute(text("delete from ledger_record where idx >= 1"))
    with pytest.raises(TailMissing):
        async with write(engine) as transaction:
            transaction.append(staff(2))
    assert await count(engine) == 1
