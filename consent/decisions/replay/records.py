"""Reading the ledger for a replay: records in order, from one snapshot, with the documents and earlier records that they need."""

from collections.abc import AsyncIterator
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from consent.decisions.bundle import Bundle, read_bundle
from consent.errors import Unavailable
from consent_audit.hashing import leaf_hash
from consent_audit.record import FIRST_PREV, Record, decode_record

_PAGE = 2000
_RECORDS = text("select idx, bytes from ledger_record where idx >= :first order by idx limit :count")
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


class LedgerReader:
    """The records of one snapshot of the database. What a record refers to is fetched before it is handed out."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection
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
        """
        first, prev = 0, FIRST_PREV
        while rows := (await self._connection.execute(_RECORDS, {"first": first, "count": _PAGE})).all():
            for row in rows:
                record = decode_record(row.bytes)
                if (record.index, record.prev) != (first, prev):
                    raise LedgerUnsound(first)
                first, prev = first + 1, leaf_hash(row.bytes)
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
            body = await self._connection.scalar(_RECORD, {"index": index})
            if body is not None:
                found = decode_record(body)
                self._earlier[index] = found.type, found.data

    async def _blob(self, digest: str) -> bytes:
        body = await self._connection.scalar(_BLOB, {"sha256": bytes.fromhex(digest)})
        if body is None:
            raise LedgerUnsound(0)
        return bytes(body)
