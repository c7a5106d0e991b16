"""Reading the ledger for a replay: records in order, with the documents and earlier records that they need.

A replay may take long and the ledger only grows, so each page is a transaction of its own: nothing is held while policies are asked.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

from sqlalchemy import Row, TextClause, text
from sqlalchemy.ext.asyncio import AsyncEngine

from consent import db
from consent.decisions.bundle import Bundle, read_bundle
from consent.errors import Unavailable
from consent_audit.errors import Malformed
from consent_audit.hashing import leaf_hash
from consent_audit.record import FIRST_PREV, Record, decode_record

_PAGE = 2000
_SIZE = text("select coalesce(max(idx) + 1, 0) from ledger_record")
_RECORDS = text("select bytes from ledger_record where idx >= :first and idx < :size order by idx limit :count")
_RECORD = text("select bytes from ledger_record where idx = :index")
_BLOB = text("select body from ledger_blob where sha256 = :sha256")


class LedgerUnsound(Unavailable):
    """The records in the database are not a chain; `consent-audit verify` names the place."""

    code = "ledger.broken"

    def __init__(self, index: int) -> None:
        super().__init__(
            f"账本第 {index} 条记录与前一条不相连，请先用 consent-audit verify 核查。",
            f"Record {index} does not continue the chain; verify the ledger with consent-audit first.",
        )


class BlobMissing(Unavailable):
    """A document that a record names is gone."""

    code = "ledger.blob_missing"

    def __init__(self, digest: str) -> None:
        super().__init__(f"账本缺少文件 {digest}，无法回放。", f"The ledger lacks the document {digest}; it cannot be replayed.")


class LedgerReader:
    """The records that stand when reading begins. What a record refers to is fetched before it is handed out."""

    def __init__(self, engine: AsyncEngine, prepare: Callable[[Sequence[Record]], Awaitable[None]] | None = None) -> None:
        """`prepare` is told of each page of records before they are handed out."""
        self._engine = engine
        self._prepare_page = prepare
        self._documents: dict[str, bytes] = {}
        self._earlier: dict[int, tuple[str, dict[str, Any]]] = {}
        self._policies: dict[str, str] = {}

    def blob(self, digest: str) -> bytes:
        """The document that the record at hand names."""
        return self._documents[digest]

    def recall(self, index: int) -> tuple[str, dict[str, Any]]:
        """Type and data of the record that the record at hand is about."""
        return self._earlier[index]

    async def records(self) -> AsyncIterator[Record]:
        """All records, each held against the one before it.

        Raises:
            LedgerUnsound: the chain breaks.
            DatabaseUnavailable: they cannot be read.
        """
        first, prev = 0, FIRST_PREV
        size = (await self._all(_SIZE))[0][0]
        while first < size:
            rows = await self._all(_RECORDS, first=first, size=size, count=_PAGE)
            if not rows:
                raise LedgerUnsound(first)
            page = []
            for row in rows:
                try:
                    record = decode_record(row.bytes)
                except Malformed:
                    raise LedgerUnsound(first) from None
                if (record.index, record.prev) != (first, prev):
                    raise LedgerUnsound(first)
                first, prev = first + 1, leaf_hash(row.bytes)
                page.append(record)
            if self._prepare_page is not None:
                await self._prepare_page(page)
            for record in page:
                await self._prepare(record)
                yield record

    async def bundle(self, revision: str) -> Bundle:
        """The policies of a revision that was activated before.

        Raises:
            BundleError: they cannot be run by this release.
            KeyError: no record activated them.
        """
        return read_bundle(await self._blob(self._policies[revision]))

    async def _prepare(self, record: Record) -> None:
        self._earlier.clear()
        if record.type == "catalogue.activated":
            digest = record.data["sha256"]
            self._documents = {digest: await self._blob(digest)}
        elif record.type == "policy.activated":
            self._policies[record.data["revision"]] = record.data["sha256"]
        elif record.type == "access.delivered":
            index = record.data["index"]
            for row in await self._all(_RECORD, index=index):
                found = decode_record(row.bytes)
                self._earlier[index] = found.type, found.data

    async def _blob(self, digest: str) -> bytes:
        rows = await self._all(_BLOB, sha256=bytes.fromhex(digest))
        if not rows:
            raise BlobMissing(digest)
        return bytes(rows[0].body)

    async def _all(self, statement: TextClause, **parameters: Any) -> Sequence[Row[Any]]:
        async with db.read(self._engine) as connection:
            return (await connection.execute(statement, parameters)).all()
