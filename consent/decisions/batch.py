"""Gathering concurrent checks into batches (group commit, design §3.7).

While one batch is decided and another committed, the next collects. Two checks that could count on the same grant, or that carry the same
request_id, never stand in flight at once: the later one waits for the earlier one's outcome, in order, instead of failing its recheck.
Checks that only read do not wait for each other.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, field

from consent.decisions.model import Check
from consent.errors import ServiceError, Unavailable

MAX_QUEUE = 8192
MAX_TRIES = 24
"""How often a check may find its facts changed before its caller is told to come back."""
PIPELINE = 2
"""One batch reads and decides while another holds the ledger."""


@dataclass(slots=True, eq=False)
class Pending:
    """A check that waits for its reply."""

    check: Check
    reply: "asyncio.Future[bytes]"
    tries: int = field(default=0)

    def settle(self, reply: bytes) -> None:
        """Answer, unless the caller has gone away."""
        if not self.reply.done():
            self.reply.set_result(reply)

    def fail(self, error: Exception) -> None:
        """Answer with an error, unless the caller has gone away."""
        if not self.reply.done():
            self.reply.set_exception(error)


class Gatherer:
    """A queue of one process, emptied in batches.

    Args:
        process: settles a batch and returns those that must be tried again; never raises.
        capacity: how many checks a batch may hold at present.
    """

    def __init__(self, process: Callable[[list[Pending]], Awaitable[Sequence[Pending]]], capacity: Callable[[], int]) -> None:
        self._process = process
        self._capacity = capacity
        self._queue: deque[Pending] = deque()
        self._running: set[asyncio.Task[None]] = set()
        self._held: set[Hashable] = set()
        self._woken = False
        self._closed = True

    def start(self) -> None:
        """Take checks from now on."""
        self._closed = False

    async def stop(self) -> None:
        """Finish what is in flight; turn away what has not begun."""
        self._closed = True
        while self._queue:
            self._queue.popleft().fail(_stopping())
        while self._running:
            await asyncio.wait(set(self._running))

    async def submit(self, check: Check) -> bytes:
        """The reply to one check.

        Raises:
            Unavailable: the service stops, has too much to do, or the check's facts kept changing.
        """
        if self._closed:
            raise _stopping()
        if len(self._queue) >= MAX_QUEUE:
            raise _busy()
        pending = Pending(check, asyncio.get_running_loop().create_future())
        self._queue.append(pending)
        self._wake()
        return await pending.reply

    def _wake(self) -> None:
        # The batch starts a turn of the loop later, so that handlers which are ready now still join it.
        if not self._woken and self._queue and len(self._running) < PIPELINE:
            self._woken = True
            asyncio.get_running_loop().call_soon(self._begin)

    def _begin(self) -> None:
        self._woken = False
        batch, held = self._take()
        if not batch:
            return
        self._held |= held
        task = asyncio.create_task(self._run(batch, held))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        self._wake()

    def _take(self) -> tuple[list[Pending], set[Hashable]]:
        """The next batch and the keys that it holds. What must wait keeps its place before what came later."""
        size = self._capacity()
        batch: list[Pending] = []
        later: list[Pending] = []
        held: set[Hashable] = set()
        blocked: set[Hashable] = set()
        while self._queue and len(batch) < size:
            pending = self._queue.popleft()
            if pending.reply.done():
                continue
            needs = set(_keys(pending.check))
            if needs & self._held or needs & held or needs & blocked:
                later.append(pending)
                blocked |= set(_held_keys(pending.check))
            else:
                batch.append(pending)
                held |= set(_held_keys(pending.check))
        self._queue.extendleft(reversed(later))
        return batch, held

    async def _run(self, batch: list[Pending], held: set[Hashable]) -> None:
        try:
            again = await self._process(batch)
        except asyncio.CancelledError:
            for pending in batch:
                pending.fail(_stopping())
            raise
        finally:
            self._held -= held
        for pending in reversed(again):
            pending.tries += 1
            if pending.tries >= MAX_TRIES or self._closed:
                pending.fail(_busy())
            else:
                self._queue.appendleft(pending)
        # The task still counts as running until its callback; leave the set now, so that the next batch may begin.
        current = asyncio.current_task()
        if current is not None:
            self._running.discard(current)
        self._wake()


def _keys(check: Check) -> Iterator[Hashable]:
    """What must not be in flight when this check begins."""
    yield check.pair
    if check.request_key is not None:
        yield check.request_key


def _held_keys(check: Check) -> Iterator[Hashable]:
    """What others must not touch while this check is in flight: its request_id, and the counters if it may count."""
    if check.counts:
        yield check.pair
    if check.request_key is not None:
        yield check.request_key


def _stopping() -> ServiceError:
    return Unavailable("服务正在停止，请稍后重试。", "The service is stopping; try again later.")


def _busy() -> ServiceError:
    return Unavailable("当前请求过多，未作出任何决定，请稍后重试。", "Too much is going on at once; nothing was decided. Try again later.")
