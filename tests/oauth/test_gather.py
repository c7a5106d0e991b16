"""Gathering look-ups."""

import asyncio
from collections.abc import Sequence

import pytest

from consent.oauth.gather import Gather


class Source:
    """Answers each key with itself and the number of the call, when it is let."""

    def __init__(self) -> None:
        self.calls: list[list[int]] = []
        self.gate = asyncio.Event()

    async def load(self, keys: Sequence[int]) -> list[tuple[int, int]]:
        self.calls.append(list(keys))
        await self.gate.wait()
        if 13 in keys:
            raise LookupError
        return [(key, len(self.calls)) for key in keys]


async def test_one_call_at_a_time() -> None:
    """What arrives while a call is under way goes into the next one, never into the one that was sent."""
    source = Source()
    gather = Gather(source.load)
    first = [asyncio.create_task(gather.get(n)) for n in range(3)]
    await asyncio.sleep(0.01)
    later = [asyncio.create_task(gather.get(n)) for n in range(10, 13)]
    await asyncio.sleep(0.01)
    assert source.calls == [[0, 1, 2]]
    source.gate.set()
    assert await asyncio.gather(*first) == [(0, 1), (1, 1), (2, 1)]
    assert await asyncio.gather(*later) == [(10, 2), (11, 2), (12, 2)]


async def test_limit() -> None:
    """A batch is never longer than the limit."""
    source = Source()
    source.gate.set()
    gather = Gather(source.load, limit=4)
    await asyncio.gather(*(gather.get(n) for n in range(10)))
    assert [len(call) for call in source.calls] == [4, 4, 2]


async def test_failure_reaches_its_own_batch_only() -> None:
    """The next batch is asked as if nothing had been."""
    source = Source()
    source.gate.set()
    gather = Gather(source.load, limit=2)
    results = await asyncio.gather(*(gather.get(n) for n in (12, 13, 14)), return_exceptions=True)
    assert [type(result) for result in results] == [LookupError, LookupError, tuple]
    assert await gather.get(1) == (1, 3)


async def test_cancelled_waiter() -> None:
    """Whoever goes away takes nobody along."""
    source = Source()
    gather = Gather(source.load)
    gone, stays = asyncio.create_task(gather.get(1)), asyncio.create_task(gather.get(2))
    await asyncio.sleep(0.01)
    gone.cancel()
    source.gate.set()
    assert await stays == (2, 1)
    with pytest.raises(asyncio.CancelledError):
        await gone


async def test_answers_that_do_not_fit() -> None:
    """An answer too few is an error for all, never somebody else's answer."""

    async def short(keys: Sequence[int]) -> list[int]:
        return list(keys)[1:]

    gather = Gather(short)
    results = await asyncio.gather(gather.get(1), gather.get(2), return_exceptions=True)
    assert [type(result) for result in results] == [ValueError, ValueError]
