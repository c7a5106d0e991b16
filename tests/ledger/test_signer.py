"""Checkpoints: what is signed, by whom, and when signing is refused."""

import asyncio
from datetime import timedelta
from itertools import pairwise

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from consent.db import create_engine
from consent.errors import DatabaseUnavailable
from consent.ledger.events import StaffRegistered, encode
from consent.ledger.signer import LedgerBroken, Signer
from consent.ledger.writer import write
from consent_audit.hashing import root
from consent_audit.note import open_checkpoint

EVENT = StaffRegistered(staff="staff-1", role="auditor")


async def append(engine: AsyncEngine, count: int) -> None:
    data = encode(EVENT)
    async with write(engine) as transaction:
        for _ in range(count):
            transaction.append_encoded(EVENT.TYPE, data)


async def column(engine: AsyncEngine, sql: str) -> list:
    async with engine.connect() as connection:
        return list((await connection.execute(text(sql))).scalars())


@pytest.mark.parametrize("steps", [[0], [1, 1, 1], [254, 1, 1], [255, 256, 1], [600, 3], [65_535, 1]])
async def test_a_head_commits_to_every_record(engine: AsyncEngine, ledger: Signer, key, steps: list[int]):
    """Root and size are those of all leaves, across tile boundaries, and complete subtrees are stored."""
    for count in steps:
        await append(engine, count)
        head = await ledger.sign_now()
        leaves = await column(engine, "select leaf from ledger_record order by idx")
        assert head is not None
        assert (head.size, head.root) == (len(leaves), root(leaves))
        checkpoint = open_checkpoint(head.note, key.verifier)
        assert (checkpoint.size, checkpoint.root) == (head.size, head.root)
    nodes = await column(engine, "select hash from ledger_node where level = 1 order by n")
    assert nodes == [root(leaves[first : first + 256]) for first in range(0, len(leaves) // 256 * 256, 256)]
    top = await column(engine, "select hash from ledger_node where level = 2")
    assert top == ([root(leaves[:65_536])] if len(leaves) >= 65_536 else [])


async def test_nothing_new_is_not_signed_again(engine: AsyncEngine, ledger: Signer):
    """A second round over the same records writes no head."""
    assert await ledger.sign_now() == await ledger.sign_now()
    assert await column(engine, "select size from ledger_head") == [1]


async def test_an_empty_ledger_is_not_signed(empty_engine: AsyncEngine, key):
    """There is no checkpoint before the genesis record."""
    assert await Signer(empty_engine, key).sign_now() is None


async def test_signers_that_race_sign_one_history(database, engine: AsyncEngine, ledger: Signer, key):
    """Four signers and a writer at once: heads grow, none repeats, and the oracle finds one tree."""
    engines = [create_engine(database.app_url) for _ in range(4)]
    racing = [Signer(each, key) for each in engines]

    async def sign(signer: Signer) -> None:
        for _ in range(20):
            await signer.sign_now()

    async def work() -> None:
        for count in range(40):
            await append(engine, count)

    await asyncio.gather(work(), *(sign(signer) for signer in racing))
    for each in engines:
        await each.dispose()
    assert len(await column(engine, "select size from ledger_head")) > 5


async def test_the_loop_signs_about_once_an_interval_in_all_processes(engine: AsyncEngine, ledger: Signer, key):
    """Three loops together sign no more often than one would: no two heads stand closer than the interval, less its tolerance."""
    loops = [Signer(engine, key, timedelta(milliseconds=200)) for _ in range(3)]
    for loop in loops:
        await loop.start()
    for _ in range(50):
        await append(engine, 1)
        await asyncio.sleep(0.02)
    times = await column(engine, "select time from ledger_head order by size")
    for loop in loops:
        await loop.stop()
    assert len(times) >= 3
    assert min(later - earlier for earlier, later in pairwise(times)) >= timedelta(milliseconds=180)
    assert await column(engine, "select max(size) from ledger_head") == [51]
    assert all(loop.failure is None for loop in loops)


async def test_the_loop_survives_a_database_that_goes_away(database, owner_engine: AsyncEngine, engine: AsyncEngine, ledger: Signer, key):
    """A round that fails is reported and tried again."""
    loop = Signer(engine, key, timedelta(milliseconds=50))
    async with owner_engine.begin() as owner:
        await owner.execute(text("revoke all on ledger_head from consent_app"))
    await loop.start()
    await asyncio.sleep(0.2)
    assert loop.failure is not None
    async with owner_engine.begin() as owner:
        await owner.execute(text("grant select, insert on ledger_head to consent_app"))
        await owner.execute(
            text("select pg_terminate_backend(pid) from pg_stat_activity where usename = 'consent_app' and datname = current_database()")
        )
    async with asyncio.timeout(5):
        while loop.failure is not None:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    await loop.stop()
    assert await column(engine, "select size from ledger_head") == [1]


async def test_an_append_does_not_wait_for_a_slow_signature(engine: AsyncEngine, ledger: Signer, key):
    """While one signer holds its lock, records are appended; another signer waits."""
    async with engine.connect() as connection, connection.begin():
        await connection.execute(text("select pg_advisory_xact_lock(:key)"), {"key": 0x636F6E73656E7402})
        waiting = asyncio.ensure_future(ledger.sign_now())
        async with asyncio.timeout(2):
            await append(engine, 3)
        assert not waiting.done()
    head = await waiting
    assert head is not None
    assert head.size == 4


# What follows breaks the ledger on purpose, so it does without the oracle.


async def _tamper(owner_engine: AsyncEngine, table: str, sql: str) -> None:
    async with owner_engine.begin() as owner:
        await owner.execute(text(f"alter table {table} disable trigger user"))
        await owner.execute(text(sql))
        await owner.execute(text(f"alter table {table} enable always trigger append_only"))


@pytest.mark.parametrize(
    ("table", "sql", "says"),
    [
        ("ledger_record", "update ledger_record set leaf = sha256('x') where idx = 258", "root"),
        ("ledger_record", "delete from ledger_record where idx >= 250", "removed"),
        ("ledger_record", "delete from ledger_record where idx = 258", "missing"),
        ("ledger_record", "update ledger_record set bytes = bytes || ' ' where idx = 262", "record 262"),
        ("ledger_node", "update ledger_node set hash = sha256('x')", "root"),
        ("ledger_node", "delete from ledger_node", "missing"),
        ("ledger_head", "update ledger_head set root = sha256('x')", "root"),
    ],
)
async def test_a_history_that_was_changed_is_not_signed(engine, owner_engine, signer: Signer, table: str, sql: str, says: str):
    """Whatever no longer leads to the newest signed root stops the signer, with the place, and leaves no head."""
    await append(engine, 259)
    await signer.sign_now()
    if "250" not in sql:
        await append(engine, 5)
    await _tamper(owner_engine, table, sql)
    with pytest.raises(LedgerBroken, match=says):
        await signer.sign_now()
    assert await column(engine, "select size from ledger_head") == [260]


async def test_the_application_cannot_sign_a_size_twice(engine: AsyncEngine, ledger: Signer):
    """The head's size is its key."""
    head = await ledger.sign_now()
    assert head is not None
    with pytest.raises(Exception, match="duplicate key"):
        async with engine.begin() as connection:
            await connection.execute(text("insert into ledger_head (size, root, note) values (:size, :root, :note)"), head._asdict())


async def test_signing_without_a_database_is_unavailable(database, key):
    """sign_now says so; nothing hangs."""
    away = create_engine(database.app_url.replace("host=/tmp", "host=/nonexistent"))
    with pytest.raises(DatabaseUnavailable):
        await Signer(away, key).sign_now()
    await away.dispose()
