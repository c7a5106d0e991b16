"""An engine for any revision: an OPA of our own for each bundle, or rego-cpp in this process where there is no OPA.

The OPA that serves checks runs one revision and is busy; past ones are judged beside it, by a server that only this process knows.
"""

import asyncio
import os
import shutil
import socket
import tempfile
from asyncio.subprocess import DEVNULL, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import httpx

from consent.decisions.bundle import Bundle
from consent.decisions.engine import OpaEngine, PolicyEngine, RegopyEngine
from consent.errors import Unavailable

CALL_SECONDS = 60.0
"""Nobody waits for an answer here, so a call may take long."""
_START_SECONDS = 30.0


class NoEngine(Unavailable):
    """There is no OPA to run, or it does not start."""

    code = "policy.no_engine"

    def __init__(self) -> None:
        super().__init__(
            "找不到可用的 OPA（请用 --opa 指明程序路径），也未安装 regopy。",
            "No OPA could be started (name its program with --opa), and regopy is not installed.",
        )


def find_opa(program: Path | None) -> str | None:
    """The OPA program: the one named, or the one on the path."""
    return shutil.which("opa" if program is None else str(program))


@asynccontextmanager
async def engine_for(bundle: Bundle, opa: str | None) -> AsyncIterator[PolicyEngine]:
    """An engine that answers by `bundle` and ends with the block.

    Raises:
        NoEngine: neither OPA nor rego-cpp is there.
    """
    if opa is None:
        try:
            engine: PolicyEngine = RegopyEngine(bundle, threads=os.cpu_count() or 2)
            await engine.start()
        except ImportError:
            raise NoEngine from None
        try:
            yield engine
        finally:
            await engine.close()
        return
    with tempfile.TemporaryDirectory(prefix="consent-replay-") as folder:
        file = _written(bundle, Path(folder))
        async with _opa(opa, file) as url:
            served = OpaEngine(bundle, url, timeout_seconds=CALL_SECONDS)
            await served.start()
            try:
                yield served
            finally:
                await served.close()


def _written(bundle: Bundle, folder: Path) -> Path:
    file = folder / "bundle.tar.gz"
    file.write_bytes(bundle.blob())
    return file


@asynccontextmanager
async def _opa(program: str, bundle: Path) -> AsyncIterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    arguments = ["run", "--server", "--addr", address, "--log-level", "error", "--skip-version-check", "--bundle", str(bundle)]
    try:
        process = await asyncio.create_subprocess_exec(program, *arguments, stdin=DEVNULL, stdout=DEVNULL, stderr=DEVNULL)
    except OSError:
        raise NoEngine from None
    try:
        await _wait(f"http://{address}/health?bundles", process)
        yield f"http://{address}"
    finally:
        with suppress(ProcessLookupError):
            process.terminate()
        await process.wait()


async def _wait(url: str, process: Process) -> None:
    async with httpx.AsyncClient(trust_env=False) as client:
        for _ in range(int(_START_SECONDS / 0.1)):
            if process.returncode is not None:
                break
            with suppress(httpx.HTTPError):
                if (await client.get(url)).status_code == httpx.codes.OK:
                    return
            await asyncio.sleep(0.1)
    raise NoEngine
