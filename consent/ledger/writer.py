"""The one way to change a fact: inside a transaction that holds the ledger's lock and appends the record of the change.

Order of things, each of which prevents a failure that was seen (design §3.6, docs/decisions/0001-the-ledgers-order.md):

1. BEGIN, READ COMMITTED. 2. The advisory lock, as a statement of its own, so that the next statement's snapshot is taken after it was
granted. 3. Head and clock are read. 4. The caller reads facts again and changes them. 5. All staged records go in by one COPY. 6. COMMIT,
which releases the lock after the records are visible and durable; so whoever gets the lock next sees them.

A crash before COMMIT leaves nothing; a connection lost during COMMIT leaves all or nothing, and the caller hears DatabaseUnavailable either
way: what must not happen twice is found again by its own key (request_id, jti, code). Nothing waits for the network under the lock.

Before 1, at most WRITERS transactions of a process hold a connection while they wait for the lock; the others wait without one. Checks,
which come in batches that are bounded by themselves, do not stand in that line: however many others write, the pool has room for them.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from weakref import WeakKeyDictionary

import asyncpg
import msgspec
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from consent import db, metrics
from consent.clock import truncate
from consent.errors import DatabaseUnavailable, ServiceError, Unavailable
from consent.ledger.events import encode
from consent.ledger.evidence import COLUMNS as EVIDENCE_COLUMNS
from consent.ledger.evidence import Evidence
from consent.ledger.statements import Event, LedgerGenesis
from consent_audit.hashing import leaf_hash
from consent_audit.record import FIRST_PREV, assemble_record, format_time

LEDGER_LOCK = 0x636F6E73656E7400  # "consent" and 0
BACKWARD_LIMIT = timedelta(minutes=5)
WRITERS = 4
WAIT_SECONDS = 5
"""Longest that a transaction waits for its turn to wait for the lock."""

_LOCK = text(f"select pg_advisory_xact_lock({LEDGER_LOCK})")
_HEAD = text(
    "select clock_timestamp() as clock, (select max(size) from ledger_head) as signed, head.* from (select) as one"
    " left join lateral (select idx, leaf, time from ledger_record order by idx desc limit 1) as head on true"
)
_ORIGIN = text(
    "select coalesce((select split_part(vkey, '+', 1) from ledger_key order by idx desc limit 1),"
    " (select convert_from(bytes, 'UTF8')::json -> 'data' ->> 'origin' from ledger_record where idx = 0))"
)
_BLOB = text("insert into ledger_blob (sha256, media_type, body) values (:sha256, :media_type, :body) on conflict do nothing")


class ClockRefused(Unavailable):
    """The database's clock stands far behind the newest record; no time can be given to a new one."""

    code = "ledger.clock"

    def __init__(self) -> None:
        super().__init__(
            "数据库时钟明显落后于账本的最新记录，暂不能写入。请运维人员校准时钟。",
            "The database clock is over five minutes behind the newest record. Nothing is recorded until an operator sets it right.",
        )


class TailMissing(Unavailable):
    """Fewer records stand than were signed: nothing may be appended, or the ledger would fork from what outsiders hold."""

    code = "ledger.broken"

    def __init__(self) -> None:
        super().__init__(
            "账本记录少于已签名的检查点，已停止写入。请保全现场并核查。",
            "There are fewer records than a signed checkpoint covers: records were removed or an old backup was restored."
            " Nothing is recorded until an operator has looked.",
        )


class LedgerBusy(Unavailable):
    """Too many transactions of this process wait for the ledger's lock."""

    code = "ledger.busy"

    def __init__(self) -> None:
        super().__init__(
            "账本正忙，本次请求未写入，请稍后原样重试。", "The ledger is busy; nothing was recorded. Send the same request again later."
        )


class _Gate:
    """Where the transactions of one engine line up. `refused`: why none may begin at present."""

    __slots__ = ("places", "refused")

    def __init__(self) -> None:
        self.places = asyncio.Semaphore(WRITERS)
        self.refused: ServiceError | None = None


_gates: "WeakKeyDictionary[AsyncEngine, _Gate]" = WeakKeyDictionary()


def refuse(engine: AsyncEngine, why: ServiceError | None) -> None:
    """Let nothing more be recorded through this engine; None lifts it."""
    _gates.setdefault(engine, _Gate()).refused = why


class Receipt(msgspec.Struct, frozen=True, gc=False):
    """Where a record stands, and its leaf hash (32 bytes). Worth something only after the commit."""

    index: int
    leaf: bytes


class LedgerTransaction:
    """A transaction under the ledger's lock.

    connection  for the caller's own changes, in the same transaction
    time        UTC, ms; the time of every record of this transaction: the newest record's, or the database's clock if that is later
    size        number of records before it, which is the index of the first one appended
    receipts    one for each record appended, in order
    """

    __slots__ = ("_evidence", "_prev", "_records", "_time_text", "connection", "receipts", "size", "time")

    def __init__(self, connection: AsyncConnection, time: datetime, size: int, prev: bytes) -> None:
        self.connection = connection
        self.time = time
        self.size = size
        self.receipts: list[Receipt] = []
        self._time_text = format_time(time)
        self._prev = prev
        self._records: list[bytes] = []
        self._evidence: list[tuple[object, ...]] = []

    def append(self, event: Event, *evidence: Evidence) -> int:
        """Stage a record and what stands behind its digests; they are written when the transaction ends without an error.

        Returns:
            Its index.

        Raises:
            msgspec.ValidationError: the event holds a value that its type does not allow.
        """
        return self.append_encoded(event.TYPE, encode(event), *evidence)

    def append_encoded(self, kind: str, data: bytes, *evidence: Evidence) -> int:
        """Stage a record whose `data` came from `events.encode` before the lock was taken, so that the lock is held shorter."""
        index = self.size + len(self._records)
        if (index == 0) != (kind == LedgerGenesis.TYPE):
            raise RuntimeError("record 0, and no other, is ledger.genesis: call ensure_genesis first")
        record = assemble_record(index, self._prev, self._time_text, kind, data)
        self._prev = leaf_hash(record)
        self._records.append(record)
        self.receipts.append(Receipt(index, self._prev))
        self._evidence += [one.row(index, place) for place, one in enumerate(evidence) if one]
        return index

    async def put_blob(self, media_type: str, body: bytes) -> str:
        """Keep a document with the ledger.

        Returns:
            Its SHA-256 in hex, by which records name it. The same body twice is one blob.
        """
        digest = sha256(body)
        await self.connection.execute(_BLOB, {"sha256": digest.digest(), "media_type": media_type, "body": body})
        return digest.hexdigest()

    async def copy(self, table: str, columns: Sequence[str], rows: Sequence[tuple[object, ...]]) -> None:
        """Insert many rows by one COPY, which costs the server half of what an INSERT of as many does, and writes less log."""
        driver = (await self.connection.get_raw_connection()).driver_connection
        if driver is None:
            raise DatabaseUnavailable
        try:
            await driver.copy_records_to_table(table, columns=columns, records=rows)
        except (asyncpg.PostgresConnectionError, asyncpg.InterfaceError):
            # The pool does not see what happens on the driver's connection, and must not hand it out again.
            await self.connection.invalidate()
            raise

    async def _write(self) -> None:
        """All staged records."""
        if self._records:
            rows = [(receipt.index, receipt.leaf, self.time, record) for receipt, record in zip(self.receipts, self._records, strict=True)]
            await self.copy("ledger_record", ("idx", "leaf", "time", "bytes"), rows)
        if self._evidence:
            await self.copy("evidence", EVIDENCE_COLUMNS, self._evidence)


@asynccontextmanager
async def write(engine: AsyncEngine, *, ahead: bool = False) -> AsyncIterator[LedgerTransaction]:
    """A transaction in which facts change and their records are appended; commits on a clean exit, else leaves nothing.

    Args:
        ahead: do not wait behind other writers for a connection; for a caller who bounds by himself how many of his run at once.

    Raises:
        LedgerBusy: it was not this transaction's turn within WAIT_SECONDS.
        RolledBack: the database lost records that were signed (see `consent.ledger.signer`).
        DatabaseUnavailable: no connection, no lock within lock_timeout, or the connection was lost (then it is not known whether the
            transaction was committed).
        ClockRefused: the database's clock is too far behind the newest record.
        TailMissing: records that were signed are gone.
    """
    gate = _gates.setdefault(engine, _Gate())
    begun = time.monotonic()
    async with AsyncExitStack() as line:
        if not ahead:
            await line.enter_async_context(_place(gate))
        if gate.refused is not None:
            raise gate.refused.with_traceback(None)
        async with _locked(engine) as transaction:
            yield transaction
    metrics.DURABLE.observe(time.monotonic() - begun)
    metrics.RECORDS.inc(len(transaction.receipts))


@asynccontextmanager
async def _place(gate: _Gate) -> AsyncIterator[None]:
    """One of the places in the line."""
    try:
        async with asyncio.timeout(WAIT_SECONDS):
            await gate.places.acquire()
    except TimeoutError:
        raise LedgerBusy from None
    try:
        yield
    finally:
        gate.places.release()


@asynccontextmanager
async def _locked(engine: AsyncEngine) -> AsyncIterator[LedgerTransaction]:
    with db.guard():
        async with engine.connect() as connection, connection.begin():
            await connection.execute(_LOCK)
            head = (await connection.execute(_HEAD)).one()
            clock = truncate(head.clock)
            if (head.signed or 0) > (0 if head.idx is None else head.idx + 1):
                raise TailMissing
            if head.idx is None:
                transaction = LedgerTransaction(connection, clock, 0, FIRST_PREV)
            else:
                transaction = LedgerTransaction(connection, _record_time(head.time.astimezone(UTC), clock), head.idx + 1, head.leaf)
            yield transaction
            await transaction._write()


def _record_time(newest: datetime, clock: datetime) -> datetime:
    """A clock that was set back a little stands still until it has caught up; one that was set back far is refused.

    A jump forward cannot be told from a quiet weekend and is recorded as it is; if it was a mistake, putting it right is such a jump back.
    """
    if newest - clock > BACKWARD_LIMIT:
        raise ClockRefused
    return max(newest, clock)


class OtherLedger(Unavailable):
    """The database holds the ledger of another origin."""

    code = "ledger.origin"

    def __init__(self, found: str, wanted: str) -> None:
        super().__init__(
            "数据库中的账本属于另一个来源。", f"This database holds the ledger of {found}, not of {wanted}; correct CONSENT_LEDGER_ORIGIN."
        )


async def ensure_genesis(engine: AsyncEngine, origin: str) -> None:
    """Begin the ledger with its genesis record, unless it has begun.

    Raises:
        OtherLedger: it has begun under another origin.
        DatabaseUnavailable: nothing was changed, or as in `write`.
    """
    async with db.read(engine) as connection:
        found = await origin_in_force(connection)
    if not found:
        async with write(engine) as transaction:
            if transaction.size == 0:
                transaction.append(LedgerGenesis(origin=origin))
        async with db.read(engine) as connection:
            found = await origin_in_force(connection)
    if found != origin:
        raise OtherLedger(found, origin)


async def origin_in_force(connection: AsyncConnection) -> str:
    """The name of the ledger: of its newest key, or before the first head that of the genesis record; empty before that."""
    return str(await connection.scalar(_ORIGIN) or "")
