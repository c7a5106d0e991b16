"""Who waits for the ledger's lock, and with what in his hands."""

import asyncio
import time

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from consent import db, metrics
from consent.ledger import writer
from consent.ledger.events import StaffRegistered
from consent.ledger.signer import Signer
from consent.ledger.writer import LEDGER_LOCK, LedgerBusy, write


async def append(engine: AsyncEngine, *, ahead: bool = False) -> int:
    async with write(engine, ahead=ahead) as transaction:
        return transaction.append(StaffRegistered(staff="staff-1", role="auditor"))


async def test_waiting_writers_leave_the_pool_to_others(engine: AsyncEngine, owner_engine: AsyncEngine, ledger: Signer):
    """Sixty writers wait for a lock that is held: reads go on, a check's batch waits for the lock alone, and all are written."""
    async with owner_engine.connect() as holder, holder.begin():
        await holder.execute(text(f"select pg_advisory_xact_lock({LEDGER_LOCK})"))
        waiting = [asyncio.ensure_future(append(engine)) for _ in range(60)]
        await asyncio.sleep(0.3)
        begun = time.monotonic()
        for _ in range(10):
            async with db.read(engine) as connection:
                await connection.scalar(text("select 1"))
        batch = asyncio.ensure_future(append(engine, ahead=True))
        await asyncio.sleep(0.1)
        assert time.monotonic() - begun < db.CONNECT_SECONDS
        waits = text("select count(*) from pg_stat_activity where wait_event = 'advisory' and datname = current_database()")
        assert await holder.scalar(waits) == writer.WRITERS + 1
    assert await batch <= writer.WRITERS + 1
    assert sorted([*(await asyncio.gather(*waiting)), await batch]) == list(range(1, 62))


async def test_a_turn_that_does_not_come_is_given_up(engine: AsyncEngine, ledger: Signer, monkeypatch: pytest.MonkeyPatch):
    """The caller hears that nothing was recorded, and later writers find all places free."""
    monkeypatch.setattr(writer, "WAIT_SECONDS", 0.2)
    entered, leave = asyncio.Event(), asyncio.Event()

    async def hold() -> None:
        async with write(engine):
            entered.set()
            await leave.wait()

    holding = [asyncio.ensure_future(hold()) for _ in range(writer.WRITERS)]
    await entered.wait()
    with pytest.raises(LedgerBusy):
        await append(engine)
    late = asyncio.ensure_future(append(engine))
    await asyncio.sleep(0.05)
    late.cancel()
    leave.set()
    await asyncio.gather(*holding)
    assert sorted(await asyncio.gather(*(append(engine) for _ in range(8)))) == list(range(1, 9))


async def test_durations_are_counted(engine: AsyncEngine, ledger: Signer):
    """What /metrics shows grows with each append and each head, and names nobody."""
    before = _values()
    await append(engine)
    await ledger.sign_now()
    after = _values()
    for name in ("consent_ledger_durable_seconds_count", "consent_ledger_signed_seconds_count", "consent_ledger_records_total"):
        assert after[name] == before.get(name, 0) + 1, name
    assert after["consent_ledger_signed_size"] == 2
    assert after['consent_ledger_longest_seconds{stage="signed"}'] > 0
    assert b"staff-1" not in metrics.exposition()


def _values() -> dict[str, float]:
    lines = metrics.exposition().decode().splitlines()
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if not line.startswith("#"))}
