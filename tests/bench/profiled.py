"""Where the service's time goes: `consent serve` with a sampler in its worker. Not part of the bench, which measures the service as it is.

python -m tests.bench.profiled [SECONDS]
"""

import asyncio
import collections
import os
import signal
import sys
from contextlib import ExitStack
from pathlib import Path
from types import FrameType
from typing import Any

from granian.server import Server
from litestar import Litestar

import consent.app
import consent.serve
from consent.cli import main as command

INTERVAL_SECONDS = 0.001
_OUT = "BENCH_PROFILE"


def create_app() -> Litestar:
    """The application; each millisecond of CPU time its stack is noted, and all of them are written when it stops."""
    stacks: collections.Counter[tuple[str, ...]] = collections.Counter()

    def sample(_: int, frame: FrameType | None) -> None:
        stack = []
        while frame is not None:
            path = frame.f_code.co_filename
            short = path.partition("site-packages/")[2] or path.rpartition("/consent/")[2] or path
            stack.append(f"{short}:{frame.f_code.co_qualname}")
            frame = frame.f_back
        stacks[tuple(reversed(stack))] += 1

    async def begin() -> None:
        signal.signal(signal.SIGPROF, sample)
        signal.setitimer(signal.ITIMER_PROF, INTERVAL_SECONDS, INTERVAL_SECONDS)

    async def end() -> None:
        signal.setitimer(signal.ITIMER_PROF, 0)
        lines = [f"{count}\t{';'.join(stack)}\n" for stack, count in stacks.most_common()]
        Path(os.environ[_OUT]).write_text("".join(lines))

    app = consent.app.create_app()
    app.on_startup.append(begin)
    app.on_shutdown.append(end)
    return app


def report(file: Path, checks: int, limit: int = 60) -> None:
    """Samples by function, with and without what they call."""
    own: collections.Counter[str] = collections.Counter()
    inclusive: collections.Counter[str] = collections.Counter()
    total = 0
    for line in file.read_text().splitlines():
        number, _, stack = line.partition("\t")
        frames = stack.split(";")
        total += int(number)
        own[frames[-1]] += int(number)
        for name in set(frames):
            inclusive[name] += int(number)
    print(f"{total} samples, {checks} checks")
    for title, counted in (("inclusive", inclusive), ("own", own)):
        print(f"\n{title}")
        for name, count in counted.most_common(limit):
            print(f"{100 * count / total:6.1f} %  {name}")


def measure(seconds: float) -> None:
    """Checks for so long on a service that samples itself."""
    from tests.bench.checks import _checked
    from tests.bench.load import BoundToken, build, run
    from tests.bench.world import database, furnish, opa_server, service

    with ExitStack() as stack:
        state, urls = stack.enter_context(database())
        place = asyncio.run(furnish(state, urls, banks=4, enterprises=200))
        file = state / "profile"
        os.environ[_OUT] = str(file)
        url, _ = stack.enter_context(opa_server(state))
        count = 0
        with service(place, url, "tests.bench.profiled"):
            tokens = [BoundToken(place, bank) for bank in place.banks]
            spent = 0.0
            while spent < seconds:
                done = _checked(run(place.port, build(place, tokens, 2000), 64))
                spent += done.seconds
                count += len(done.latencies)
                print(f"{done.rate:.0f}/s", flush=True)
        report(file, count)


if __name__ == "__main__":
    if "serve" in sys.argv:
        profiled: Any = lambda _, **settings: Server("tests.bench.profiled:create_app", **settings)  # noqa: E731
        consent.serve.Server = profiled
        command()
    else:
        measure(float(sys.argv[1]) if len(sys.argv) > 1 else 10)
