"""What is interrupted at each of its steps: appending, signing, witnessing, activating, publishing and exporting.

Each is a coroutine over plain values, so that it runs in the test's process and in one that is going to be killed.
"""

import asyncio
import multiprocessing
import os
import signal
from collections.abc import Callable, Coroutine
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from consent.activation.running import bring_up
from consent.db import create_engine
from consent.ledger.cosigning import Cosigning
from consent.ledger.events import StaffRegistered
from consent.ledger.heads import HeadStore
from consent.ledger.service import export, publish
from consent.ledger.signer import Signer
from consent.ledger.writer import write
from consent.settings import Settings
from consent_audit.note import Signer as Key
from consent_audit.policy import Policy


class Place(NamedTuple):
    """Where an operation works. `private_key` is the log's, `policy` a tlog-policy text or empty."""

    url: str
    directory: Path
    private_key: str
    policy: str = ""


Operation = Callable[[Place], Coroutine[Any, Any, None]]
BATCH = 3


async def append(place: Place) -> None:
    """Three records, a document and a fact, together."""
    engine = create_engine(place.url)
    try:
        await append_to(engine)
    finally:
        await engine.dispose()


async def append_to(engine: AsyncEngine) -> None:
    """The same on an engine that is there."""
    async with write(engine) as transaction:
        for _ in range(BATCH):
            index = transaction.append(StaffRegistered(staff="staff-1", role="auditor"))
        await transaction.put_blob("text/plain", b"%d" % index)
        insert = text("insert into used_jti values (sha256(convert_to(:index, 'UTF8')), now() + interval '1 hour')")
        await transaction.connection.execute(insert, {"index": str(index)})


async def sign(place: Place) -> None:
    """A head: into the second store, into the tables, shown; cosigned where the policy names a witness."""
    engine = create_engine(place.url)
    client = httpx.AsyncClient(verify=False, trust_env=False)  # to read the system's certificates costs a tenth of a second
    cosigning = Cosigning(engine, Policy.parse(place.policy), client=client) if place.policy else None
    key = Key.parse(place.private_key)
    try:
        await Signer(engine, key, heads=HeadStore(place.directory, key.name), cosigning=cosigning).sign_now()
    finally:
        if cosigning is not None:
            await cosigning.stop()
        await client.aclose()
        await engine.dispose()


async def activate(place: Place) -> None:
    """Genesis, catalogue and policies of a new installation."""
    engine = create_engine(place.url)
    try:
        await bring_up(engine, settings(place))
    finally:
        await engine.dispose()


def settings(place: Place) -> Settings:
    """Of an installation in that place."""
    name = Key.parse(place.private_key).name
    return Settings(
        database_url=place.url,
        issuer=f"https://{name.partition('/')[0]}",
        ledger_origin=name,
        ledger_key_file=place.directory / "ledger.key",
    )


async def publish_directory(place: Place) -> None:
    """Static files in `directory`/public."""
    engine = create_engine(place.url)
    try:
        await publish(engine, place.directory / "public")
    finally:
        await engine.dispose()


async def export_archive(place: Place) -> None:
    """`directory`/ledger.tar."""
    engine = create_engine(place.url)
    try:
        await export(engine, place.directory / "ledger.tar")
    finally:
        await engine.dispose()


# Forked from a process that has imported what is slow to import: a kill costs a tenth of a second, not the start of an interpreter.
_fork = multiprocessing.get_context("forkserver")
_fork.set_forkserver_preload(["consent.activation.running", "consent.ledger.cosigning", "consent.ledger.service", "consent.ledger.signer"])


def in_a_process(operation: Operation, place: Place, *, kill_at: int | None = None) -> "multiprocessing.process.BaseProcess":
    """The operation in a process of its own, killed by itself behind its file step `kill_at` (see `file_steps`)."""
    process = _fork.Process(target=_run, args=(operation, place, kill_at), daemon=True)
    process.start()
    return process


def _run(operation: Operation, place: Place, kill_at: int | None) -> None:
    with file_steps(kill_at if kill_at is not None else -1, "killed"):
        asyncio.run(operation(place))


class Steps:
    """How many file steps were seen, and whether one failed."""

    def __init__(self) -> None:
        self.count = 0
        self.broken = False


_STEPS = ("open", "mkdir", "fsync", "replace", "fchmod", "chmod")


@contextmanager
def file_steps(at: int, mode: str, errno: int = 5) -> Any:
    """Let one of the calls that change files fail, counted from 0.

    mode  lost: not done and reported. persisted: done, and reported as failed all the same. killed: done, then signal 9.
    errno 5 is an input/output error, 28 a full disk.
    """
    steps = Steps()
    originals = {name: getattr(os, name) for name in _STEPS}

    def wrap(name: str) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            if name == "open" and not arguments[1] & os.O_CREAT:
                return originals[name](*arguments, **options)
            mine, steps.count = steps.count, steps.count + 1
            if mine != at:
                return originals[name](*arguments, **options)
            steps.broken = True
            if mode != "lost":
                try:
                    done = originals[name](*arguments, **options)
                finally:
                    if mode == "killed":
                        os.kill(os.getpid(), signal.SIGKILL)
                if name == "open":
                    os.close(done)
            raise OSError(errno, os.strerror(errno))

        return call

    for name in _STEPS:
        setattr(os, name, wrap(name))
    try:
        yield steps
    finally:
        for name, original in originals.items():
            setattr(os, name, original)
