"""Signs a checkpoint over what is committed, once a second, beside the append path and never inside it.

Each round is one transaction under the signer's own advisory lock, so of many processes one signs: read the newest head; rebuild the right
edge of its tree and compare its root with the signed one and with the one in the second store; read the leaf hashes committed since; write
the complete subtrees (ledger_node), sign, keep the head in the second store, write it. Then, in a transaction of its own, it is shown: when
witnesses have cosigned it as the policy wants, or when they were given time enough. An append is never held up, and a round never sees a
gap: appends commit in the order of their indexes.

What a crash leaves. Before the second store has the head: nothing. Between there and COMMIT: a head there that the tables do not have, over
records that they have; the next round compares it and goes on. After COMMIT: a head that is not shown yet, which the next round of any
process shows. The lock belongs to the transaction and not to a session, so it cannot be held by a process that hangs elsewhere. The head's
size is a primary key: even two signers without the lock could not both write one size, and a head smaller or inconsistent with an earlier
one is refused, because the round starts from the newest.
"""

import asyncio
import contextlib
import logging
import math
from collections.abc import Iterator, Sequence
from datetime import timedelta

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from consent import db, metrics
from consent.errors import ConsentError, ServiceError
from consent.ledger import store, tree
from consent.ledger.cosigning import Cosigning
from consent.ledger.heads import HeadStore, HeadStoreFailed
from consent.ledger.keys import Keyring, LogKey
from consent.ledger.store import Head
from consent.ledger.tree import LedgerBroken, RolledBack
from consent.ledger.writer import refuse
from consent_audit.note import Checkpoint

__all__ = ["LedgerBroken", "RolledBack", "Signer"]

log = logging.getLogger(__name__)

SIGNER_LOCK = 0x636F6E73656E7402  # "consent" and 2
INTERVAL = timedelta(seconds=1)
_EARLY = 0.9
"""Of an interval: a round that starts a hair early does not wait for the next one."""
TAKEOVER = timedelta(seconds=5)
"""A head that its signer has neither shown nor brought to its witnesses by then is left to whoever looks next."""

_LOCK = text(f"select pg_advisory_xact_lock({SIGNER_LOCK})")
_TRY_LOCK = text(f"select pg_try_advisory_xact_lock({SIGNER_LOCK})")
# The key may sit in a slow device; this transaction holds up nobody.
_PATIENT = text("set local idle_in_transaction_session_timeout = '60s'")
_AGE = text("select extract(epoch from clock_timestamp() - time)::float8 from ledger_head where size = :size")
_INSERT_HEAD = text(
    "insert into ledger_head (size, root, note) values (:size, :root, :note)"
    " returning extract(epoch from clock_timestamp() - (select time from ledger_record where idx = :oldest))::float8"
)
_KEYS = text("select vkey from ledger_key where idx < :size order by idx")
_FIRST_KEY = text("insert into ledger_key (idx, vkey) values (0, :vkey)")


class Signer:
    """The signing loop of one process.

    Args:
        engine: the application's.
        key: its name is the ledger's origin; of several, the one that the ledger says signs, and those before it.
        interval: least time between two heads, over all processes.
        heads: the second store; None keeps heads in the database alone, which then cannot tell that it was rolled back.
        cosigning: the witnesses; None shows a head as soon as it is signed.
    """

    def __init__(
        self,
        engine: AsyncEngine,
        key: LogKey | Sequence[LogKey],
        interval: timedelta = INTERVAL,
        *,
        heads: HeadStore | None = None,
        cosigning: Cosigning | None = None,
    ) -> None:
        self._engine = engine
        self._keys = Keyring(key if isinstance(key, Sequence) else [key])
        self._interval = interval
        self._heads = heads
        self._cosigning = cosigning
        self._task: asyncio.Task[None] | None = None
        self.failure: Exception | None = None
        """Why the newest round failed; None when it held."""

    @property
    def vkey(self) -> str:
        """The verifier key that auditors need."""
        return self._keys.first

    @property
    def cosigning(self) -> Cosigning | None:
        """The witnesses."""
        return self._cosigning

    async def start(self) -> None:
        """Start the loop; its failures are logged and tried again."""
        if self._task is None:
            self._task = asyncio.create_task(self._loop(), name="ledger signer")

    async def stop(self) -> None:
        """Stop the loop and sign what is left, if the database lets us."""
        if self._task is None:
            return
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        self._task = None
        with contextlib.suppress(ServiceError):
            await self.sign_now()
        if self._cosigning is not None:
            await self._cosigning.stop()

    async def sign_now(self) -> Head | None:
        """Sign and show what is committed, however fresh the newest head is, waiting for another signer's round to end.

        Returns:
            The newest head, with the cosignatures that have come; None for an empty ledger.

        Raises:
            LedgerBroken, RolledBack: the tables contradict the newest head. After RolledBack nothing is recorded either.
            KeyRefused, HeadStoreFailed, DatabaseUnavailable: nothing was signed.
        """
        with self._noting_rollback(), db.guard():
            async with self._engine.connect() as connection, connection.begin():
                await connection.execute(_LOCK)
                head, age = await self._extend(connection, await store.signed_head(connection))
        refuse(self._engine, None)
        if head is None:
            return None
        await self._show(head, age)
        async with db.read(self._engine) as connection:
            return await store.newest_head(connection)

    async def check(self) -> None:
        """Look, before anything else is done, whether the database was rolled back; if so nothing will be recorded.

        Raises:
            DatabaseUnavailable: it is not known.
        """
        try:
            with self._noting_rollback():
                async with db.read(self._engine) as connection:
                    await self._compare(connection, await store.signed_head(connection), await store.committed_size(connection))
        except (RolledBack, LedgerBroken, HeadStoreFailed) as error:
            self._failed(error)

    @contextlib.contextmanager
    def _noting_rollback(self) -> Iterator[None]:
        """What stops signing for good stops recording too."""
        try:
            yield
        except RolledBack as error:
            refuse(self._engine, error)
            raise

    async def _loop(self) -> None:
        clock = asyncio.get_running_loop().time
        while True:
            due = clock() + self._interval.total_seconds()
            try:
                due = await self._round()
                self.failure = None
            except Exception as error:  # noqa: BLE001 - the loop outlives every failure; its type is all that is safe to log
                self._failed(error)
            await asyncio.sleep(max(0.0, due - clock()))

    def _failed(self, error: Exception) -> None:
        level = logging.CRITICAL if isinstance(error, LedgerBroken | RolledBack) else logging.ERROR
        if type(self.failure) is not type(error):
            log.log(level, "no checkpoint was signed: %s %s", type(error).__name__, error if isinstance(error, ServiceError) else "")
        metrics.SIGNER_FAILURES.labels(error.code if isinstance(error, ConsentError) else "error").inc()
        self.failure = error

    async def _round(self) -> float:
        """Sign if it is time; when the next round is due, by the loop's clock: an interval after the newest head."""
        clock, interval = asyncio.get_running_loop().time, self._interval.total_seconds()
        before, age = None, 0.0
        with self._noting_rollback(), db.guard():
            async with self._engine.connect() as connection, connection.begin():
                if not await connection.scalar(_TRY_LOCK):
                    return clock() + interval
                before = head = await store.signed_head(connection)
                stood = await self._stood(connection, head)
                if head is None or stood >= interval * _EARLY:
                    head, age = await self._extend(connection, head)
                    stood = 0.0
                else:
                    kept = await self._compare(connection, head, await store.committed_size(connection))
                    await self._keep(head, kept)
        due = clock() + max(interval - stood, interval / 10)
        refuse(self._engine, None)
        if head is not None and head != before:
            await self._show(head, age)
        elif head is not None:
            await self._take_over(head)
        return due

    async def _stood(self, connection: AsyncConnection, head: Head | None) -> float:
        """Seconds since the head was signed. A head of the future was made by a wrong clock, and must not hold up the next one."""
        age = None if head is None else await connection.scalar(_AGE, {"size": head.size})
        return math.inf if age is None or age < 0 else float(age)

    async def _extend(self, connection: AsyncConnection, head: Head | None) -> tuple[Head | None, float]:
        """Sign the committed records if there are new ones, under the signer's lock; also the age of the oldest of them in seconds."""
        old = 0 if head is None else head.size
        size = await store.committed_size(connection)
        kept = await self._compare(connection, head, size)
        if size == old:
            await self._keep(head, kept)
            return head, 0.0
        if size < old:
            raise LedgerBroken(
                f"there are {size} records but a head over {old} was signed: records were removed or an old backup was restored"
            )
        grown = await tree.resume(connection, head)
        if kept is not None and kept.size > old:
            await tree.grow(connection, grown, kept.size)
            _equal(grown.root(), kept)
        await tree.grow(connection, grown, size)
        new = await self._sign(connection, Checkpoint(self._keys.origin, size, grown.root()))
        await self._keep(new, kept)
        return new, await self._insert(connection, new, old)

    async def _insert(self, connection: AsyncConnection, head: Head, oldest: int) -> float:
        age = float(await connection.scalar(_INSERT_HEAD, {**head._asdict(), "oldest": oldest}) or 0)
        metrics.SIGNED.observe(age)
        metrics.SIGNED_SIZE.set(head.size)
        return age

    async def _sign(self, connection: AsyncConnection, checkpoint: Checkpoint) -> Head:
        await connection.execute(_PATIENT)
        valid = list((await connection.execute(_KEYS, {"size": checkpoint.size})).scalars())
        if not valid:
            valid = [self._keys.first]
            await connection.execute(_FIRST_KEY, {"vkey": valid[0]})
        note = await asyncio.to_thread(self._keys.sign, checkpoint.text(), valid)
        return Head(checkpoint.size, checkpoint.root, note)

    async def _compare(self, connection: AsyncConnection, head: Head | None, size: int) -> Checkpoint | None:
        """Hold the tables against the head in the second store, as far as the newest head's tree goes; returns that head.

        Raises:
            RolledBack: the tables do not extend it.
            HeadStoreFailed: the store cannot be read, or holds nothing although heads were signed.
        """
        if self._heads is None:
            return None
        kept = await asyncio.to_thread(self._heads.newest)
        if kept is None:
            if head is not None and head.note.startswith(f"{self._keys.origin}\n"):
                raise HeadStoreFailed(
                    "CONSENT_HEAD_STORE is empty although heads were signed: mount it; only if it is new, run `consent ledger adopt-heads`"
                )
            return None
        if size < kept.size:
            raise RolledBack(f"there are {size} records, but a head over {kept.size} was signed")
        if head is not None and kept.size <= head.size:
            try:
                root = head.root if kept.size == head.size else (await store.right_edge(connection, kept.size)).root()
            except ValueError:
                raise LedgerBroken("records or nodes below the head in the second store are missing") from None
            _equal(root, kept)
        return kept

    async def _keep(self, head: Head | None, kept: Checkpoint | None) -> None:
        """Have `head` in the second store too; `kept` is what stands there and was compared."""
        if self._heads is not None and head is not None and (kept is None or kept.size < head.size):
            await asyncio.to_thread(self._heads.keep, head.note, kept)

    async def _show(self, head: Head, age: float) -> None:
        """Let readers have the head, after its witnesses had their chance."""
        if self._cosigning is not None:
            self._cosigning.offer(head, age)
            await self._cosigning.wait(head)
        with db.guard():
            async with self._engine.begin() as connection:
                await store.put_stage(connection, "shown", head.size)

    async def _take_over(self, head: Head) -> None:
        """Bring to its end what another process, or this one before a failure, began with the newest head."""
        async with db.read(self._engine) as connection:
            if await self._stood(connection, head) < TAKEOVER.total_seconds():
                return
            shown = await store.is_staged(connection, "shown", head.size)
            cosigners = None if self._cosigning is None else await self._cosigning.cosigners(connection, head.size)
        if self._cosigning is not None and cosigners is not None:
            self._cosigning.offer(head, cosigners=cosigners)
            await self._cosigning.judge(head)
        if not shown:
            await self._show(head, 0.0)


def _equal(root: bytes, kept: Checkpoint) -> None:
    if root != kept.root:
        raise RolledBack(f"the first {kept.size} records are not those of the head that was signed over them")
