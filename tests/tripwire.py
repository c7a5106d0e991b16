"""A wire to PostgreSQL that breaks at one chosen step, so that a write can be interrupted between any two of its statements.

A step is one message of the client that wants an answer (a query, a sync, the end of a COPY). The protocol is
https://www.postgresql.org/docs/current/protocol-message-formats.html; nothing of ours takes part, so nothing of ours can look away.
"""

import asyncio
import contextlib
import os
import signal
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from sqlalchemy import make_url

Mode = Literal["lost", "persisted", "killed"]
_ASKING = b"QSc"  # Query, Sync, CopyDone
_ANSWERED = b"ZG"  # ReadyForQuery, CopyInResponse


@dataclass
class Wire:
    """A broken wire, or one that is going to break.

    url   for a client that goes over it
    at    the step at which it breaks, counted over all connections from 0, or the first one behind a COPY that holds these bytes;
          later steps pass
    mode  lost: the step never reaches the server. persisted: the server has done it, and its answer never arrives.
          killed: the client dies by signal 9 after the server has done it.
    """

    url: str
    at: int | bytes
    mode: Mode
    victim: int | None = None
    steps: int = 0
    broken: asyncio.Event = field(default_factory=asyncio.Event)


@asynccontextmanager
async def tripwire(url: str, at: int | bytes, mode: Mode) -> AsyncIterator[Wire]:
    """A wire beside the direct one of `url`, which names the directory of a Unix socket."""
    direct = make_url(url)
    socket = f".s.PGSQL.{direct.query.get('port', 5432)}"
    with tempfile.TemporaryDirectory(prefix="wire-") as directory:
        wire = Wire(direct.update_query_dict({"host": directory}).render_as_string(hide_password=False), at, mode)
        open_now: set[asyncio.Task[None]] = set()

        async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            open_now.add(task)
            backend = await asyncio.open_unix_connection(f"{direct.query['host']}/{socket}")
            try:
                await _relay(wire, (reader, writer), backend)
            finally:
                for end in (writer, backend[1]):
                    end.transport.abort()
                open_now.discard(task)

        server = await asyncio.start_unix_server(connect, Path(directory) / socket)
        try:
            yield wire
        finally:
            server.close()
            for task in list(open_now):
                task.cancel()
            await asyncio.gather(*open_now, return_exceptions=True)


Ends = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def _relay(wire: Wire, client: Ends, backend: Ends) -> None:
    """Both directions, until one side closes or the wire breaks."""
    answers = asyncio.create_task(_copy(backend[0], client[1]))
    copied = False
    with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
        backend[1].write(await _body(client[0]))  # the startup message has no type
        while True:
            kind = await client[0].readexactly(1)
            message = kind + await _body(client[0])
            if kind in _ASKING:
                wire.steps += 1
                copied = copied or b"COPY" in message
                here = copied and wire.at in message if isinstance(wire.at, bytes) else wire.at == wire.steps - 1
                if here and not wire.broken.is_set():
                    answers.cancel()
                    await asyncio.gather(answers, return_exceptions=True)  # one reader at a time
                    await _break(wire, message, backend)
                    break
            backend[1].write(message)
            await backend[1].drain()
    answers.cancel()


async def _break(wire: Wire, message: bytes, backend: Ends) -> None:
    wire.broken.set()
    if wire.mode != "lost":
        backend[1].write(message)
        answer = b"?"
        while answer not in _ANSWERED:
            answer = await backend[0].readexactly(1)
            await _body(backend[0])
    if wire.mode == "killed" and wire.victim is not None:
        os.kill(wire.victim, signal.SIGKILL)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers pass message by message, so that none is torn when the wire breaks."""
    with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
        while True:
            writer.write(await reader.readexactly(1) + await _body(reader))
            await writer.drain()
    writer.transport.abort()


async def _body(reader: asyncio.StreamReader) -> bytes:
    length = await reader.readexactly(4)
    return length + await reader.readexactly(int.from_bytes(length, "big") - 4)
