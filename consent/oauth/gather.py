"""Many concurrent look-ups as one statement: while one is on its way, the next ones collect.

A key joins only a batch whose statement has not been sent, so what it gets was read after it asked; a revocation that was committed
before a request began is therefore always seen.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from consent.errors import Unavailable

K = TypeVar("K")
V = TypeVar("V")

MAX_WAITING = 8192
PAUSE_SECONDS = 0.002
"""Before the next batch when somebody waits already: a statement and its commit for one or two cost nearly as much as for a hundred."""


class Gather(Generic[K, V]):
    """Calls `load` with up to `limit` keys at once, one call at a time. One per event loop."""

    def __init__(self, load: Callable[[Sequence[K]], Awaitable[Sequence[V]]], *, limit: int = 256) -> None:
        """`load` answers each key at its place. If it raises, everyone in that batch gets the error."""
        self._load = load
        self._limit = limit
        self._waiting: list[tuple[K, asyncio.Future[V]]] = []
        self._runner: asyncio.Task[None] | None = None

    async def get(self, key: K) -> V:
        """The answer for `key`.

        Raises:
            Unavailable: too many wait already.
            whatever `load` raises.
        """
        if len(self._waiting) >= MAX_WAITING:
            raise Unavailable("请求过多，请稍后重试。", "Too much to do just now. Try again later.")
        future: asyncio.Future[V] = asyncio.get_running_loop().create_future()
        self._waiting.append((key, future))
        if self._runner is None:
            self._runner = asyncio.create_task(self._run())
        return await future

    async def _run(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[: self._limit], self._waiting[self._limit :]
                await self._answer(batch)
                if 0 < len(self._waiting) < self._limit:
                    await asyncio.sleep(PAUSE_SECONDS)
        finally:
            self._runner = None

    async def _answer(self, batch: list[tuple[K, asyncio.Future[V]]]) -> None:
        try:
            values = await self._load([key for key, _ in batch])
            answers = list(zip(batch, values, strict=True))  # all of them fit, or nobody gets one
            for (_, future), value in answers:
                if not future.done():  # done already if its request was cancelled
                    future.set_result(value)
        except Exception as error:  # noqa: BLE001 - it is raised again in each request that waits
            for _, future in batch:
                if not future.done():
                    future.set_exception(error)
        except BaseException:
            for _, future in batch:
                future.cancel()
            raise
