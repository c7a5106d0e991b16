"""Writing interrupted between any two of its statements: nothing is half there, nothing has to be repaired, and the oracle agrees.

`lost`: the statement never reached the server. `persisted`: it was done, and the answer was lost. `killed`: signal 9 after it was done.
"""

import asyncio
import time
from collections.abc import AsyncIterator
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
from consent.ledger import store
from consent.ledger.heads import HeadStore
from consent.ledger.signer import Signer
from consent_audit.cosigner import Cosigner
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


@pytest.fixture
async def witness() -> AsyncIterator[str]:
    """A policy that demands a witness, which cosigns whatever it is shown."""
    cosigner = Cosigner.generate("witness.example.org/w1")

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
        note = (await reader.readexactly(length)).decode().partition("\n\n")[2]
        line = cosigner.cosign(note.partition("\n\n")[0] + "\n", int(time.time())).encode()
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(line) + line)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    yield f"witness w1 {cosigner.verifier.vkey} {url}\nquorum w1\n"
    server.close()
    await server.wait_closed()


@pytest.mark.parametrize("mode", MODES)
async def test_witness(engine: AsyncEngine, ledger: Signer, key: Key, place: Place, witness: str, mode: Mode) -> None:
    """Wherever the cosigning of a head ends, the next head is cosigned, and no head counts as witnessed without its cosignature."""
    place = place._replace(policy=witness)
    for at in range(LIMIT):
        await append_to(engine)
        broken, _ = await interrupted(sign, place, at, mode)
        if not broken:
            break
        staged = await column(engine, "select note from ledger_checkpoint where stage = 'witnessed'")
        assert all("— witness.example.org/w1 " in note for note in staged)
        await append_to(engine)
        await sign(place)
        async with engine.connect() as connection:
            newest, witnessed = await store.newest_head(connection), await store.witnessed_head(connection)
        assert newest == witnessed
    assert at > 12
    assert await one_history(engine, key) >= at


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
