"""Durable appends per second in batches, against a plain multi-row insert and commit of the same bytes."""

import asyncio
import secrets
import statistics
import time
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from consent.ledger.events import AccessDecided, encode
from consent.ledger.parts import DecidedItem, Told
from consent.ledger.writer import write
from tests.bench.world import CATALOGUE, ITEMS, Place

BATCH = 256
ROUNDS = 4
_TABLE = text("create table bench_record (idx bigint primary key, leaf bytea not null, time timestamptz not null, bytes bytea not null)")
_DROP = text("drop table if exists bench_record")
_PLAIN = text(
    "insert into bench_record select * from"
    " unnest(cast(:idx as bigint[]), cast(:leaf as bytea[]), cast(:time as timestamptz[]), cast(:bytes as bytea[]))"
)
_LAST = text("select idx, leaf, time, bytes from ledger_record order by idx desc limit :count")


async def measure(place: Place, *, batches: int) -> dict[str, Any]:
    """`batches` of each, in alternating rounds."""
    engine = place.engine()
    owner = create_async_engine(place.urls.owner_url)
    try:
        async with owner.begin() as connection:
            await connection.execute(_DROP)
            await connection.execute(_TABLE)
        appended, inserted = [], []
        first = 0
        for _ in range(ROUNDS):
            events = [[_event() for _ in range(BATCH)] for _ in range(batches // ROUNDS)]
            appended.append(await _append(engine, events))
            rows = [await _rows(engine, first + n * BATCH) for n in range(batches // ROUNDS)]
            first += BATCH * len(rows)
            inserted.append(await _insert(owner, rows))
        return {
            "batch": BATCH,
            "records_per_second": round(statistics.median(appended)),
            "inserts_per_second": round(statistics.median(inserted)),
            "ratio": round(statistics.median(a / b for a, b in zip(appended, inserted, strict=True)), 3),
            "records": BATCH * (batches // ROUNDS) * ROUNDS,
            "bytes_per_record": len(rows[0]["bytes"][0]),
        }
    finally:
        async with owner.begin() as connection:
            await connection.execute(_DROP)
        await owner.dispose()
        await engine.dispose()


async def _append(engine: AsyncEngine, events: list[list[AccessDecided]]) -> float:
    """Records per second, encoding included; two batches under way, as in the service."""
    queue = iter(events)

    async def appender() -> None:
        for batch in queue:
            encoded = [encode(event) for event in batch]
            async with write(engine) as transaction:
                for data in encoded:
                    transaction.append_encoded(AccessDecided.TYPE, data)

    began = time.perf_counter()
    await asyncio.gather(appender(), appender())
    return BATCH * len(events) / (time.perf_counter() - began)


async def _insert(owner: AsyncEngine, rows: list[dict[str, Any]]) -> float:
    queue = iter(rows)

    async def inserter() -> None:
        for batch in queue:
            async with owner.begin() as connection:
                await connection.execute(_PLAIN, batch)

    began = time.perf_counter()
    await asyncio.gather(inserter(), inserter())
    return BATCH * len(rows) / (time.perf_counter() - began)


async def _rows(engine: AsyncEngine, first: int) -> dict[str, Any]:
    """The newest records as columns, under new numbers: the same bytes for the baseline."""
    async with engine.connect() as connection:
        found = (await connection.execute(_LAST, {"count": BATCH})).all()
    return {
        "idx": [first + n for n in range(BATCH)],
        "leaf": [row.leaf for row in found],
        "time": [row.time for row in found],
        "bytes": [row.bytes for row in found],
    }


def _event() -> AccessDecided:
    """A permit for three items, as a check records it."""
    grant = secrets.token_urlsafe(16)
    return AccessDecided(
        id=secrets.token_urlsafe(16),
        institution="bench-bank-0",
        platform=None,
        client="bench-bank-0-client",
        subject=f"p_{secrets.token_urlsafe(16)}",
        action="query",
        purpose="pre_loan",
        product="tax-loan-01",
        loan=None,
        operator=None,
        branch=None,
        model=None,
        processor=None,
        via=(),
        service="single",
        channel=None,
        data_from=None,
        data_to=None,
        request=secrets.token_urlsafe(32),
        ticket=None,
        told=Told(verified=True, terminal="unregistered", loan=None, uncounted=()),
        items=tuple(
            DecidedItem(
                item=item,
                fields_requested=None,
                claimed=None,
                outcome="permit",
                basis="grant",
                grant=grant,
                identifier=f"d{n}",
                fields=CATALOGUE.field_codes[item],
                withheld=(),
                codes=(),
            )
            for n, item in enumerate(ITEMS, 1)
        ),
        decision=True,
        outcome="full",
        codes=(),
        redeems=None,
        attested="institution",
        uses=(),
        policy="0123456789abcdef",
        catalogue=CATALOGUE.version,
    )
