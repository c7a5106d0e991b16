"""Signs a checkpoint over what is committed, once a second, beside the append path and never inside it.

Each round is one transaction under the signer's own advisory lock, so of many processes one signs: read the newest head; rebuild the right
edge of its tree and compare its root with the signed one; read the leaf hashes committed since; write the complete subtrees (ledger_node),
sign, write the head. An append is never held up, and a round never sees a gap: appends commit in the order of their indexes.

What a crash leaves: before COMMIT nothing, after it everything. The lock belongs to the transaction and not to a session, so it cannot be
held by a process that hangs elsewhere. The head's size is a primary key: even two signers without the lock could not both write one size,
and a head smaller or inconsistent with an earlier one is refused, because the round starts from the newest.
"""

import asyncio
import contextlib
import logging
from datetime import timedelta

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from consent import db
from consent.errors import ServiceError
from consent.ledger import store
from consent.ledger.store import Head
from consent_audit.hashing import TreeBuilder, root
from consent_audit.note import Checkpoint
from consent_audit.note import Signer as Key

log = logging.getLogger(__name__)

SIGNER_LOCK = 0x636F6E73656E7402  # "consent" and 2
INTERVAL = timedelta(seconds=1)
CHUNK = 1 << 14

_LOCK = text(f"select pg_advisory_xact_lock({SIGNER_LOCK})")
_TRY_LOCK = text(f"select pg_try_advisory_xact_lock({SIGNER_LOCK})")
# A head of the future was made by a wrong clock, and must not hold up the next one.
_RECENT = text(
    "select exists (select from ledger_head where size = :size"
    " and time > clock_timestamp() - cast(:age as interval) and time <= clock_timestamp())"
)
_LEAVES = text(
    "select leaf, sha256('\\x00'::bytea || bytes) = leaf as sound from ledger_record where idx >= :first and idx < :last order by idx"
)
_INSERT_NODES = text(
    "insert into ledger_node (level, n, hash)"
    " select * from unnest(cast(:levels as smallint[]), cast(:numbers as bigint[]), cast(:hashes as bytea[]))"
)
_INSERT_HEAD = text("insert into ledger_head (size, root, note) values (:size, :root, :note)")


class LedgerBroken(ServiceError):
    """The tables contradict the newest signed head: nothing is signed until somebody has looked."""

    code = "ledger.broken"

    def __init__(self, en: str) -> None:
        super().__init__("账本数据与已签名的检查点不一致，已停止签名。请保全现场并核查。", en)


class Signer:
    """The signing loop of one process.

    Args:
        engine: the application's.
        key: its name is the ledger's origin.
        interval: least time between two heads, over all processes.
    """

    def __init__(self, engine: AsyncEngine, key: Key, interval: timedelta = INTERVAL) -> None:
        self._engine = engine
        self._key = key
        self._interval = interval
        self._task: asyncio.Task[None] | None = None
        self.failure: Exception | None = None
        """Why the newest round failed; None when it held."""

    @property
    def vkey(self) -> str:
        """The verifier key that auditors need."""
        return self._key.vkey

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

    async def sign_now(self) -> Head | None:
        """Sign what is committed, however fresh the newest head is, waiting for another signer's round to end.

        Returns:
            The newest head; None for an empty ledger.

        Raises:
            LedgerBroken: the tables contradict the newest head.
            DatabaseUnavailable: nothing was signed.
        """
        with db.guard():
            async with self._engine.connect() as connection, connection.begin():
                await connection.execute(_LOCK)
                return await self._extend(connection)

    async def _loop(self) -> None:
        while True:
            try:
                await self._round()
                self.failure = None
            except Exception as error:  # noqa: BLE001 - the loop outlives every failure; its type is all that is safe to log
                level = logging.CRITICAL if isinstance(error, LedgerBroken) else logging.ERROR
                log.log(level, "no checkpoint was signed: %s %s", type(error).__name__, error if isinstance(error, ServiceError) else "")
                self.failure = error
            await asyncio.sleep(self._interval.total_seconds())

    async def _round(self) -> None:
        with db.guard():
            async with self._engine.connect() as connection, connection.begin():
                if await connection.scalar(_TRY_LOCK):
                    head = await store.newest_head(connection)
                    # A little less than the interval, or a head every other round would come of rounds that start a hair early.
                    if head is None or not await connection.scalar(_RECENT, {"size": head.size, "age": self._interval * 0.9}):
                        await self._extend(connection)

    async def _extend(self, connection: AsyncConnection) -> Head | None:
        """Sign the committed records if there are new ones; under the signer's lock."""
        head = await store.newest_head(connection)
        old = 0 if head is None else head.size
        size = await store.committed_size(connection)
        if size == old:
            return head
        if size < old:
            raise LedgerBroken(
                f"there are {size} records but a head over {old} was signed: records were removed or an old backup was restored"
            )
        tree = await _resume(connection, head)
        for first in range(old, size, CHUNK):
            await _grow(connection, tree, first, min(first + CHUNK, size))
        checkpoint = Checkpoint(self._key.name, size, tree.root())
        new = Head(size, checkpoint.root, self._key.sign(checkpoint.text()))
        await connection.execute(_INSERT_HEAD, new._asdict())
        return new


async def _resume(connection: AsyncConnection, head: Head | None) -> TreeBuilder:
    """The tree of the newest head, which must have the root that was signed."""
    try:
        tree = await store.right_edge(connection, 0 if head is None else head.size)
    except ValueError:
        raise LedgerBroken("records or nodes below the newest signed head are missing") from None
    if head is not None and tree.root() != head.root:
        raise LedgerBroken(f"the records below {head.size} no longer have the root that was signed")
    return tree


async def _grow(connection: AsyncConnection, tree: TreeBuilder, first: int, last: int) -> None:
    rows = (await connection.execute(_LEAVES, {"first": first, "last": last})).all()
    if len(rows) != last - first:
        raise LedgerBroken(f"records between {first} and {last} are missing")
    unsound = next((first + place for place, row in enumerate(rows) if not row.sound), None)
    if unsound is not None:
        raise LedgerBroken(f"record {unsound} does not have the leaf hash that stands beside it")
    full = tree.extend([row.leaf for row in rows])
    if full:
        levels, numbers, tiles = zip(*full, strict=True)
        values = {"levels": [level + 1 for level in levels], "numbers": list(numbers), "hashes": [root(tile) for tile in tiles]}
        await connection.execute(_INSERT_NODES, values)
