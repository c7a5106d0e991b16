"""Brings new heads to the witnesses of a policy and their cosignatures into the ledger, early or late.

Beside the append path and beside signing: each witness has one request in flight at most, for the newest head, in a task of its own. A
witness that fails is left alone for a while that doubles up to a minute, so a slow, lying or absent one delays nobody; what was the matter
with it stands in `trouble`, in the log when it changes, and in the metrics. Several processes may ask for the same head: a witness gives
the same answer to each, and the row of the first counts.

What a crash leaves: a cosignature that was given and not stored is asked for again, by whichever process looks next.
"""

import asyncio
import logging
import time
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import timedelta

import httpx
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from consent import db, metrics
from consent.ledger import store
from consent.ledger.store import Head
from consent.ledger.witness import Cosignature, Trouble, WitnessFailed, ask
from consent_audit.hashing import consistency_path, consistency_ranges, range_nodes
from consent_audit.policy import Policy, Witness

log = logging.getLogger(__name__)

PATIENCE = timedelta(seconds=2)
"""How long a head that the log has signed waits for its quorum before it is shown without."""
BACKOFF_SECONDS = (1, 2, 4, 8, 15, 30, 60)
_ALARMING: tuple[Trouble, ...] = ("fork", "ahead")

_INSERT = text(
    "insert into ledger_cosignature (size, witness, key_id, line) values (:size, :witness, :key_id, :line) on conflict do nothing"
)
_COSIGNERS = text("select witness, key_id from ledger_cosignature where size = :size")


@dataclass(slots=True, eq=False)
class _Worker:
    """What this process knows of one witness. `seen`: the size that it cosigned last. `prompt`: its last answer was in time."""

    witness: Witness
    seen: int = 0
    prompt: bool = True
    failures: int = 0
    not_before: float = 0.0
    trouble: Trouble | None = None
    wanted: tuple[Head, float] | None = None
    task: "asyncio.Task[None] | None" = field(default=None)


class Cosigning:
    """The witnesses of one policy, as one process asks them.

    Args:
        policy: witnesses without a URL are not asked; their cosignatures cannot come.
        patience: how long `wait` waits.
        client: HTTP to the witnesses; closed by `stop`.
    """

    def __init__(
        self, engine: AsyncEngine, policy: Policy, *, patience: timedelta = PATIENCE, client: httpx.AsyncClient | None = None
    ) -> None:
        self._engine = engine
        self._policy = policy
        self._patience = patience.total_seconds()
        self._client = client or httpx.AsyncClient(timeout=10, limits=httpx.Limits(max_connections=64))
        self._workers = [_Worker(witness) for witness in policy.witnesses if witness.url]

    @property
    def trouble(self) -> dict[str, Trouble]:
        """What is the matter with which witness, by its name in the policy; empty when all answer."""
        return {worker.witness.name: worker.trouble for worker in self._workers if worker.trouble is not None}

    def offer(self, head: Head, age: float = 0.0, cosigners: Collection[str] = ()) -> None:
        """Ask for cosignatures of `head`, unless a witness is being left alone.

        Args:
            head: as the log signed it.
            age: seconds since its oldest record was appended, for the measure of how long witnessing takes.
            cosigners: witnesses that have cosigned it already, by name in the policy.
        """
        for worker in self._workers:
            if worker.witness.name in cosigners or worker.seen >= head.size:
                continue
            worker.wanted = (head, time.monotonic() - age)
            if worker.task is None and time.monotonic() >= worker.not_before:
                worker.task = asyncio.create_task(self._work(worker), name="ledger witness")

    async def wait(self, head: Head) -> None:
        """Return when `head` has its quorum, when patience ends, or when those that answer promptly cannot make a quorum."""
        deadline = time.monotonic() + self._patience
        while not self._policy.reached(self._cosigned(head)):
            hopeful = [worker for worker in self._workers if worker.task is not None and worker.prompt]
            names = self._cosigned(head) | {worker.witness.name for worker in hopeful}
            left = deadline - time.monotonic()
            if left <= 0 or not self._policy.reached(names):
                return
            tasks = [worker.task for worker in hopeful if worker.task is not None]
            await asyncio.wait(tasks, timeout=left, return_when=asyncio.FIRST_COMPLETED)

    async def judge(self, head: Head) -> bool:
        """Note that the head has its quorum, if it has; returns whether that was news."""
        if self._policy.quorum is None:
            return False
        with db.guard():
            async with self._engine.begin() as connection:
                if await store.is_staged(connection, "witnessed", head.size):
                    return False
                if not self._policy.reached(await self.cosigners(connection, head.size)):
                    return False
                await store.put_stage(connection, "witnessed", head.size)
                return True

    async def cosigners(self, connection: AsyncConnection, size: int) -> set[str]:
        """Who has cosigned the head of this size, by name in the policy."""
        found = {(row.witness, bytes(row.key_id)) for row in await connection.execute(_COSIGNERS, {"size": size})}
        return {one.name for one in self._policy.witnesses if (one.verifier.name, one.verifier.id) in found}

    async def stop(self) -> None:
        """Give up what is in flight."""
        tasks = [worker.task for worker in self._workers if worker.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._client.aclose()

    def _cosigned(self, head: Head) -> set[str]:
        return {worker.witness.name for worker in self._workers if worker.seen >= head.size}

    async def _work(self, worker: _Worker) -> None:
        try:
            while worker.wanted is not None:
                (head, born), worker.wanted = worker.wanted, None
                if not await self._ask(worker, head, born):
                    worker.wanted = None
        finally:
            worker.task = None

    async def _ask(self, worker: _Worker, head: Head, born: float) -> bool:
        begun = time.monotonic()
        try:
            cosignature = await ask(self._client, worker.witness, head, worker.seen, self._prove)
            await self._store(head, cosignature, born)
        except WitnessFailed as failure:
            if failure.seen is not None and await self._overtaken(failure.seen):
                worker.seen = failure.seen
                return True
            self._failed(worker, failure)
            return False
        except Exception as error:  # noqa: BLE001 - ours, not the witness's; the next round tries again
            log.warning("a witness was not asked, or its cosignature not stored: %s", type(error).__name__)
            return False
        worker.seen = head.size
        worker.failures = 0
        worker.prompt = time.monotonic() - begun < self._patience
        self._say(worker, None)
        metrics.WITNESS_SIZE.labels(worker.witness.name).set(head.size)
        return True

    def _failed(self, worker: _Worker, failure: WitnessFailed) -> None:
        worker.prompt = False
        worker.not_before = time.monotonic() + BACKOFF_SECONDS[min(worker.failures, len(BACKOFF_SECONDS) - 1)]
        worker.failures += 1
        worker.seen = 0  # it will say what it has seen
        metrics.WITNESS_FAILURES.labels(worker.witness.name, failure.trouble).inc()
        self._say(worker, failure)

    def _say(self, worker: _Worker, failure: WitnessFailed | None) -> None:
        """Into the log when it changes, not at every try."""
        trouble = None if failure is None else failure.trouble
        if trouble == worker.trouble:
            return
        worker.trouble = trouble
        name = worker.witness.name
        if failure is None:
            log.info("witness %s cosigns again", name)
        else:
            log.log(logging.CRITICAL if trouble in _ALARMING else logging.WARNING, "witness %s does not cosign: %s", name, failure)

    async def _overtaken(self, seen: int) -> bool:
        """Whether another process showed the witness a larger head of ours meanwhile."""
        async with db.read(self._engine) as connection:
            newest = await store.signed_head(connection)
        return newest is not None and newest.size >= seen

    async def _store(self, head: Head, cosignature: Cosignature, born: float) -> None:
        with db.guard():
            async with self._engine.begin() as connection:
                await connection.execute(_INSERT, {"size": head.size, **cosignature._asdict()})
        # In a transaction of its own: of two cosignatures that come at once, neither sees the other before its commit.
        if await self.judge(head):
            metrics.WITNESSED.observe(time.monotonic() - born)

    async def _prove(self, old: int, new: int) -> list[bytes]:
        nodes = [node for start, end in consistency_ranges(old, new) for node in range_nodes(start, end)]
        async with db.read(self._engine) as connection:
            return consistency_path(old, new, await store.fetcher(connection, nodes))
