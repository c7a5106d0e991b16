"""How long it takes until a record is durable, signed and witnessed, and what publishing costs those who append meanwhile."""

import asyncio
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from consent.ledger.cosigning import Cosigning
from consent.ledger.events import StaffRegistered, encode
from consent.ledger.heads import HeadStore
from consent.ledger.keys import load_key
from consent.ledger.signer import Signer
from consent.ledger.writer import write
from consent.settings import Settings
from consent_audit.cosigner import Cosigner
from consent_audit.note import Signer as Key
from consent_audit.policy import Policy
from consent_audit.witness_http import serving
from tests.bench.world import HOST, ROOT, Place

APPENDERS = 4
PAUSE_SECONDS = 0.02
"""Between two appends of one appender: the service's own load, not the most that the machine can do."""
EVENT = encode(StaffRegistered(staff="staff-1", role="auditor"))
_SIGNED = text("select coalesce(max(size), 0) from ledger_head")
_WITNESSED = text("select coalesce(max(size), 0) from ledger_head_stage where stage = 'witnessed'")


async def measure(place: Place, *, seconds: float) -> dict[str, Any]:
    """Times of single records with a signer and a witness at work; then commits with and without a publisher beside them."""
    key = key_of(place)
    engine = place.engine()
    try:
        with _witness(key) as policy:
            signer = Signer(engine, key, heads=HeadStore(_heads(place), key.name), cosigning=Cosigning(engine, policy))
            await signer.start()
            result = await _times(engine, seconds)
            await signer.stop()
        return {**result, "publishing": await _publishing(place, engine, seconds)}
    finally:
        await engine.dispose()


def key_of(place: Place) -> Key:
    """The log's key of a place."""
    file = Path(place.environment["CONSENT_LEDGER_KEY_FILE"])
    settings = Settings(database_url=place.urls.app_url, issuer=place.issuer, ledger_key_file=file).checked()
    return load_key(file, settings.ledger_origin)


def _heads(place: Place) -> Path:
    return Path(place.environment["CONSENT_HEAD_STORE"])


@contextmanager
def _witness(key: Key) -> Iterator[Policy]:
    """Our own witness on loopback, and a policy that demands it."""
    cosigner = Cosigner.generate("witness.example.org/w1")
    with tempfile.TemporaryDirectory() as folder, serving(cosigner, [key.verifier], Path(folder), (HOST, 0)) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield Policy.parse(f"witness w1 {cosigner.verifier.vkey} http://{HOST}:{server.server_address[1]}\nquorum w1\n")
        finally:
            server.shutdown()
            thread.join()


async def _times(engine: AsyncEngine, seconds: float) -> dict[str, Any]:
    durable: list[float] = []
    waiting: dict[str, dict[int, float]] = {"signed": {}, "witnessed": {}}
    reached: dict[str, list[float]] = {"signed": [], "witnessed": []}
    until = time.perf_counter() + seconds

    async def append() -> None:
        while time.perf_counter() < until:
            begun = time.perf_counter()
            async with write(engine) as transaction:
                index = transaction.append_encoded(StaffRegistered.TYPE, EVENT)
            durable.append(time.perf_counter() - begun)
            for stage in waiting.values():
                stage[index] = begun
            await asyncio.sleep(PAUSE_SECONDS)

    async def watch() -> None:
        limit = until + 20
        while any(waiting.values()) or time.perf_counter() < until:
            if time.perf_counter() > limit:
                raise RuntimeError("a record was neither signed nor witnessed in time")
            async with engine.connect() as connection:
                for stage, statement in (("signed", _SIGNED), ("witnessed", _WITNESSED)):
                    size = int(await connection.scalar(statement) or 0)
                    now = time.perf_counter()
                    for index in [index for index in waiting[stage] if index < size]:
                        reached[stage].append(now - waiting[stage].pop(index))
            await asyncio.sleep(0.01)

    await asyncio.gather(watch(), *(append() for _ in range(APPENDERS)))
    return {"durable_ms": spread(durable), **{f"{stage}_ms": spread(times) for stage, times in reached.items()}, "records": len(durable)}


def spread(seconds: list[float]) -> dict[str, float]:
    """p50, p99 and maximum in milliseconds."""
    ordered = sorted(seconds)
    picks = {"p50": len(ordered) // 2, "p99": len(ordered) * 99 // 100, "max": len(ordered) - 1}
    return {name: round(1000 * ordered[min(place, len(ordered) - 1)], 2) for name, place in picks.items()}


_PUBLISH = """
import asyncio, sys
from pathlib import Path
from consent.db import create_engine
from consent.ledger.service import publish

async def main():
    engine = create_engine(sys.argv[1])
    n = 0
    while True:
        await publish(engine, Path(sys.argv[2]) / str(n))
        n += 1
        print(n, flush=True)

asyncio.run(main())
"""


async def _publishing(place: Place, engine: AsyncEngine, seconds: float) -> dict[str, Any]:
    """Alternating rounds: commits alone, and commits while another process publishes the whole ledger again and again."""
    alone: list[float] = []
    beside: list[float] = []
    publications = 0
    for _ in range(3):
        alone += await _commits(engine, seconds / 3)
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, "-c", _PUBLISH, place.urls.app_url, folder]
            publisher = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
            assert publisher.stdout is not None
            try:
                await asyncio.to_thread(publisher.stdout.readline)
                beside += await _commits(engine, seconds / 3)
            finally:
                publisher.kill()
                publications += 1 + len(publisher.stdout.read().split())
                publisher.stdout.close()
                publisher.wait()
    return {
        "alone_ms": spread(alone),
        "beside_ms": spread(beside),
        "publications": publications,
        "ratio": round(statistics.median(beside) / statistics.median(alone), 3),
    }


async def _commits(engine: AsyncEngine, seconds: float) -> list[float]:
    times = []
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        begun = time.perf_counter()
        async with write(engine) as transaction:
            transaction.append_encoded(StaffRegistered.TYPE, EVENT)
        times.append(time.perf_counter() - begun)
        await asyncio.sleep(PAUSE_SECONDS)
    return times
