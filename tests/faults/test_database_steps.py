"""Writing interrupted between any two of its statements: nothing is half there, nothing has to be repaired, and the oracle agrees.

`lost`: the statement never reached the server. `persisted`: it was done, and the answer was lost. `killed`: signal 9 after it was done.
"""

import asyncio
from pathlib import Path

import pytest
from fault_operations import BATCH, Operation, Place, activate, append, append_to, in_a_process, settings, sign
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from tripwire import Mode, tripwire

from consent.activation import running
from consent.activation.running import bring_up
from consent.db import create_engine
from consent.errors import Unavailable
from consent.ledger.heads import HeadStore
from consent.ledger.signer import Signer
from consent_audit.hashing import root
from consent_audit.note import Signer as Key
from consent_audit.note import open_checkpoint

MODES: list[Mode] = ["lost", "persisted", "killed"]
LIMIT = 80
"""More steps than any operation has."""


async def interrupted(operation: Operation, place: Place, at: int, mode: Mode) -> tuple[bool, bool]:
    """Run it over a wire that breaks at that step.

    Returns:
        Whether the wire broke, and whether the operation reported success.
    """
    async with tripwire(place.url, at, mode) as wire:
        there = place._replace(url=wire.url)
        if mode != "killed":
            try:
                await operation(there)
            except Unavailable:
                return wire.broken.is_set(), False
            return wire.broken.is_set(), True
        process = in_a_process(operation, there)
        wire.victim = process.pid
        await asyncio.to_thread(process.join, 60)
        assert process.exitcode in {0, -9}, process.exitcode
        return wire.broken.is_set(), process.exitcode == 0


async def column(engine: AsyncEngine, sql: str) -> list:
    async with engine.connect() as connection:
        return list((await connection.execute(text(sql))).scalars())


@pytest.fixture
def place(database, key: Key, tmp_path: Path) -> Place:
    """The test's database, and a second store of its own."""
    heads = tmp_path / "heads"
    heads.mkdir()
    return Place(database.app_url, heads, key.private_key)


@pytest.mark.parametrize("mode", MODES)
async def test_append(engine: AsyncEngine, ledger: Signer, place: Place, mode: Mode) -> None:
    """All of a transaction or nothing; what was acknowledged is there; and what was done unheard is done once."""
    unheard = 0
    for at in range(LIMIT):
        before = await column(engine, "select count(*) from ledger_record")
        broken, acknowledged = await interrupted(append, place, at, mode)
        await append_to(engine)
        after = await column(engine, "select count(*) from ledger_record")
        added = after[0] - before[0] - BATCH
        assert added in {0, BATCH}
        assert added == BATCH or not acknowledged
        assert added == 0 or acknowledged or mode != "lost"
        unheard += added == BATCH and not acknowledged
        if not broken:
            break
    assert acknowledged
    assert at > 4
    assert unheard == (0 if mode == "lost" else 1), "the commit is the only step that can be done unheard"
    records = (await column(engine, "select count(*) from ledger_record"))[0] - 1
    assert await column(engine, "select count(*) from ledger_blob union all select count(*) from used_jti") == [records // BATCH] * 2


async def one_history(engine: AsyncEngine, key: Key) -> int:
    """Every head that was ever signed is over the records that stand now; returns how many there are."""
    leaves = await column(engine, "select leaf from ledger_record order by idx")
    notes = await column(engine, "select note from ledger_head order by size")
    for note in notes:
        checkpoint = open_checkpoint(note, key.verifier)
        assert checkpoint.root == root(leaves[: checkpoint.size])
    return len(notes)


@pytest.mark.parametrize("mode", MODES)
async def test_sign(engine: AsyncEngine, ledger: Signer, key: Key, place: Place, mode: Mode) -> None:
    """Wherever a round ends, the next one goes on, and the second store never has a head that the tables contradict."""
    heads = HeadStore(place.directory, key.name)
    for at in range(LIMIT):
        await append_to(engine)
        broken, _ = await interrupted(sign, place, at, mode)
        if not broken:
            break
        await append_to(engine)
        head = await Signer(engine, key, heads=heads).sign_now()
        kept = heads.newest()
        assert head is not None
        assert kept is not None
        assert (kept.size, kept.root) == (head.size, head.root)
        assert await column(engine, "select count(*) from ledger_record") == [head.size]
    assert at > 8
    assert await one_history(engine, key) >= at
    assert await column(
        engine, "select count(*) from ledger_head h where not exists (select from ledger_head_stage where size = h.size)"
    ) < [at]


EMPTY = """
do $$ declare name regclass; begin
    for name in select oid from pg_class where relnamespace = 'public'::regnamespace and relkind = 'r' and relname <> 'alembic_version' loop
        execute format('alter table %s disable trigger user', name);
        execute format('truncate %s cascade', name);
    end loop;
end $$
"""


@pytest.mark.parametrize("mode", MODES)
async def test_activation(owner_engine: AsyncEngine, place: Place, monkeypatch: pytest.MonkeyPatch, mode: Mode) -> None:
    """A first start that ended anywhere leaves what the next start completes: one genesis, one catalogue, one policy bundle."""
    own = running.installed(settings(place))  # half a second each time, and nothing of it is written
    monkeypatch.setattr(running, "installed", lambda _: own)
    for at in range(LIMIT):
        broken, _ = await interrupted(activate, place, at, mode)
        engine = create_engine(place.url)
        await bring_up(engine, settings(place))
        await engine.dispose()
        kinds = await column(owner_engine, "select convert_from(bytes, 'UTF8')::json ->> 'type' from ledger_record order by idx")
        assert kinds == ["ledger.genesis", "catalogue.activated", "policy.activated"]
        if not broken:
            break
        async with owner_engine.begin() as owner:
            await owner.execute(text(EMPTY))
    assert at > 10
