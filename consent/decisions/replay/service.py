"""The two use cases: `rerun` under the policies of the time, `dryrun` under new ones. Both stream the ledger once."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack

import msgspec
from sqlalchemy.ext.asyncio import AsyncEngine

from consent.decisions.answers import CheckAnswer
from consent.decisions.bundle import Bundle, BundleError
from consent.decisions.engine import PolicyEngine
from consent.decisions.facts import policy_input
from consent.decisions.replay.compare import differences, undecided
from consent.decisions.replay.outcome import Outcome, Span
from consent.decisions.replay.past import PastDecision, Rebuilder
from consent.decisions.replay.records import LedgerReader
from consent.decisions.replay.standing import Standing
from consent.errors import PolicyUnavailable

BATCH = 256
IN_FLIGHT = 3
"""Batches that the engine may have before the next one is built."""

Engines = Callable[[Bundle], AbstractAsyncContextManager[PolicyEngine]]
"""Makes an engine for a bundle; see `engines.engine_for`."""
_EngineOf = Callable[[LedgerReader, str], Awaitable[PolicyEngine | None]]


async def rerun(database: AsyncEngine, engines: Engines | None, span: Span | None = None) -> Outcome:
    """Rebuild the state from all records and judge each decision again by the revision that was in force at its place.

    What a decision was told is held against what the database still knows of subjects and links.

    Args:
        engines: makes an engine for a bundle; None only rebuilds the state.

    Raises:
        NoEngine: there is nothing to judge with.
        LedgerUnsound: the records are no chain.
        DatabaseUnavailable: they cannot be read.
    """
    outcome = Outcome()
    async with AsyncExitStack() as stack:
        running: dict[str, PolicyEngine | None] = {}

        async def engine_of(reader: LedgerReader, revision: str) -> PolicyEngine | None:
            if revision not in running:
                try:
                    bundle = await reader.bundle(revision)
                except (BundleError, KeyError) as error:
                    outcome.unreadable[revision] = str(error) if isinstance(error, BundleError) else "no record activated it"
                    running[revision] = None
                else:
                    assert engines is not None  # noqa: S101 - else nobody asks
                    running[revision] = await stack.enter_async_context(engines(bundle))
            return running[revision]

        standing = None if engines is None else Standing(database)
        await _run(database, outcome, None if engines is None else engine_of, span or Span(), standing)
    return outcome


async def dryrun(database: AsyncEngine, bundle: Bundle, engines: Engines, span: Span | None = None) -> Outcome:
    """Judge past decisions by `bundle`, as if it had been in force.

    Raises:
        NoEngine, LedgerUnsound, DatabaseUnavailable: see `rerun`.
    """
    outcome = Outcome()
    async with engines(bundle) as engine:

        async def always(reader: LedgerReader, revision: str) -> PolicyEngine | None:  # noqa: ARG001 - whatever decided then
            return engine

        await _run(database, outcome, always, span or Span())
    return outcome


async def _run(database: AsyncEngine, outcome: Outcome, engine_of: _EngineOf | None, span: Span, standing: Standing | None = None) -> None:
    reader = LedgerReader(database, None if standing is None else standing.prepare)
    rebuilder = Rebuilder(reader.blob, reader.recall)
    questions = _Questions(outcome)
    async for record in reader.records():
        outcome.records += 1
        if standing is not None:
            outcome.findings += [(record.index, code, reason) for code, reason in standing.take(record)]
        past = rebuilder.take(record, wanted=engine_of is not None and (record.index, record.time) in span)
        if past is None or engine_of is None:
            continue
        _note_told(outcome, past)
        if undecided(past.data):
            outcome.undecided += 1
            continue
        outcome.revisions[past.policy] += 1
        engine = await engine_of(reader, past.policy)
        if engine is not None:
            await questions.ask(engine, past)
    await questions.finish()
    machine = rebuilder.machine
    outcome.findings += [(found.index or 0, found.code, found.message) for found in machine.findings]
    outcome.findings.sort()
    outcome.unchecked = machine.unchecked
    if standing is not None:
        outcome.told.update(standing.counts)


def _note_told(outcome: Outcome, past: PastDecision) -> None:
    """Count what was taken from the record's own word."""
    told = past.data["told"]
    outcome.told["not_verified"] += not told["verified"]
    outcome.told["loan"] += told["loan"] is not None
    outcome.told["uncounted"] += bool(told["uncounted"])
    outcome.told["terminal"] += told["terminal"] != "unregistered"


class _Questions:
    """Batches on their way to an engine and back. Answers are noted in the order of the records."""

    def __init__(self, outcome: Outcome) -> None:
        self._outcome = outcome
        self._engine: PolicyEngine | None = None
        self._batch: list[PastDecision] = []
        self._flying: deque[tuple[list[PastDecision], asyncio.Task[list[CheckAnswer | None]]]] = deque()

    async def ask(self, engine: PolicyEngine, past: PastDecision) -> None:
        if engine is not self._engine or len(self._batch) >= BATCH:
            await self._send(leave=IN_FLIGHT)
            self._engine = engine
        self._batch.append(past)

    async def finish(self) -> None:
        await self._send(leave=0)

    async def _send(self, leave: int) -> None:
        if self._engine is not None and self._batch:
            self._flying.append((self._batch, asyncio.create_task(_judge(self._engine, self._batch))))
        self._batch = []
        while len(self._flying) > leave:
            batch, task = self._flying.popleft()
            for past, answer in zip(batch, await task, strict=True):
                if answer is None:
                    self._outcome.unanswered.append(past.index)
                else:
                    self._outcome.note(past, differences(past.index, past.data, answer))


async def _judge(engine: PolicyEngine, batch: list[PastDecision]) -> list[CheckAnswer | None]:
    """An answer for each decision, None where the engine gave none."""
    inputs = [policy_input(str(n), past.check, past.facts) for n, past in enumerate(batch)]
    try:
        return msgspec.convert(await engine.decide(inputs), list[CheckAnswer | None])
    except (PolicyUnavailable, msgspec.ValidationError):
        if len(batch) == 1:
            return [None]
    # One that cannot be answered must not hide its neighbours.
    return [answer for past in batch for answer in await _judge(engine, [past])]
