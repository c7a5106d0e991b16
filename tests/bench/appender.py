"""A process that appends batches as fast as it can: python -m tests.bench.appender URL BATCHES. Says when it is ready, begins when told."""

import asyncio
import sys
import time

import uvloop

from consent.db import create_engine
from tests.bench.ledger import append, batches_of


async def main(url: str, batches: int) -> None:
    """One batch to warm up, then all of them; prints the clock at the end (time.perf_counter, which all processes share)."""
    engine = create_engine(url)
    await append(engine, batches_of(2))
    events = batches_of(batches)
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    await append(engine, events)
    print(time.perf_counter(), flush=True)
    await engine.dispose()


uvloop.run(main(sys.argv[1], int(sys.argv[2])))
