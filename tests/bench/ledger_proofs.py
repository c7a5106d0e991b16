"""One inclusion proof from a large log: the log is made up by SQL, hashed and signed by the signer itself."""

import random
import time
from contextlib import suppress
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from consent.db import create_engine
from consent.ledger.proofs import prove
from consent.ledger.signer import Signer
from consent.ledger.writer import ensure_genesis
from consent.migrations import migrate
from consent_audit.note import Signer as Key
from consent_audit.policy import Policy
from consent_audit.proof import Proof
from tests.bench.ledger_times import spread
from tests.bench.world import Place

CHUNK = 250_000
PROOFS = 300
_DATABASE = "bench_proofs"
# Eight bytes for a record: neither hashes nor proofs ask what it says.
_FILL = text(
    "insert into ledger_record (idx, leaf, time, bytes)"
    " select n, sha256('\\x00'::bytea || int8send(n)), clock_timestamp(), int8send(n)"
    " from generate_series(cast(:first as bigint), :last) as n"
)


async def measure(place: Place, *, records: int) -> dict[str, Any]:
    """Proofs of random records of a log of that size, each verified; in a database of its own, dropped afterwards."""
    owner = create_async_engine(place.urls.owner_url, isolation_level="AUTOCOMMIT")
    urls = [url.replace("/consent?", f"/{_DATABASE}?") for url in (place.urls.owner_url, place.urls.app_url)]
    async with owner.connect() as connection:
        await connection.execute(text(f"create database {_DATABASE}"))
    engine = create_engine(urls[1])
    try:
        await migrate(urls[0])
        key = Key.generate("bench.example.org/proofs")
        await ensure_genesis(engine, key.name)
        filling = await _fill(engine, records)
        begun = time.perf_counter()
        await Signer(engine, key).sign_now()
        signing = time.perf_counter() - begun
        return {
            "records": records,
            "proof_ms": spread(await _prove(engine, key, records)),
            "filled_per_second": round(records / filling),
            "signed_per_second": round(records / signing),
        }
    finally:
        await engine.dispose()
        with suppress(Exception):
            async with owner.connect() as connection:
                await connection.execute(text(f"drop database {_DATABASE} with (force)"))
        await owner.dispose()


async def _fill(engine: AsyncEngine, records: int) -> float:
    begun = time.perf_counter()
    for first in range(1, records, CHUNK):
        async with engine.begin() as connection:
            await connection.execute(text("set local synchronous_commit = off"))
            await connection.execute(_FILL, {"first": first, "last": min(first + CHUNK, records) - 1})
    return time.perf_counter() - begun


async def _prove(engine: AsyncEngine, key: Key, records: int) -> list[float]:
    policy = Policy.parse(f"log {key.vkey}\nquorum none\n")
    times = []
    for index in [random.randrange(records) for _ in range(PROOFS)]:
        begun = time.perf_counter()
        async with engine.connect() as connection:
            proven = await prove(connection, index)
        times.append(time.perf_counter() - begun)
        Proof.parse(proven.proof).verify(proven.record, policy)
    return times[PROOFS // 10 :]
