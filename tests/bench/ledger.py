"""Durable appends per second in batches, against a plain multi-row insert and commit of the same bytes."""

import asyncio
import secrets
import statistics
import sys
import time
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from consent.ledger.events import AccessDecided, encode
from consent.ledger.parts import DecidedItem, Told
from consent.ledger.writer import write
from tests.bench.world import CATALOGUE, ITEMS, ROOT, Place

BATCH = 256
LARGE = (1024, 4096)
"""Batches beyond those of the checks, as an import or a busier service makes them."""
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
            appended.append(await append(engine, batches_of(batches // ROUNDS)))
            rows = [await _rows(engine, first + n * BATCH) for n in range(batches // ROUNDS)]
            first += BATCH * len(rows)
            inserted.append(await _insert(owner, rows))
        return {
            "batch": BATCH,
            "records_per_second": round(statistics.median(appended)),
            "two_processes_per_second": round(statistics.median([await _two_processes(place, batches // ROUNDS) for _ in range(ROUNDS)])),
            "by_batch": {str(size): await _large(engine, size, batches * BATCH // 4) for size in LARGE},
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


def batches_of(count: int, size: int = BATCH) -> list[list[AccessDecided]]:
    """That many batches, made beforehand."""
    return [[_event() for _ in range(size)] for _ in range(count)]


async def _large(engine: AsyncEngine, size: int, records: int) -> int:
    """Records per second in batches of this size: the median of as many rounds."""
    rates = [await append(engine, batches_of(max(2, records // ROUNDS // size), size)) for _ in range(ROUNDS)]
    return round(statistics.median(rates))


async def _two_processes(place: Place, batches: int) -> float:
    """Records per second of two processes at once, as `consent serve --workers 2` appends; each makes its batches before both begin."""
    command = [sys.executable, "-m", "tests.bench.appender", place.urls.app_url, str(batches // 2)]
    pipe = asyncio.subprocess.PIPE
    workers = [await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdin=pipe, stdout=pipe) for _ in range(2)]
    for worker in workers:
        assert worker.stdout is not None
        await worker.stdout.readline()
    begun = time.perf_counter()
    answers = await asyncio.gather(*(worker.communicate(b"go\n") for worker in workers))
    ended = [float(answer) for answer, _ in answers]
    # Both read the clock of the same machine; what it takes them to end does not count.
    return 2 * (batches // 2) * BATCH / (max(ended) - begun)


async def append(engine: AsyncEngine, events: list[list[AccessDecided]]) -> float:
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
    return sum(map(len, events)) / (time.perf_counter() - began)


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
