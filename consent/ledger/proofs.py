"""Proofs that one record stands in the ledger (c2sp.org/tlog-proof@v1), each with the record's own bytes in its `extra` line.

Whoever reads one hashes the bytes: `extra` by itself is not authenticated (C2SP tlog-proof). Who may have which proof is not decided here.
"""

from typing import NamedTuple

from sqlalchemy.ext.asyncio import AsyncConnection

from consent.errors import NotFound
from consent.ledger import store
from consent.ledger.store import Head
from consent_audit.hashing import inclusion_path, inclusion_ranges, range_nodes
from consent_audit.proof import Proof


class Proven(NamedTuple):
    """A record and the file that proves it: `proof` holds `record` too."""

    record: bytes
    proof: str


def no_such_record() -> NotFound:
    """The one answer for a record that is not there, not signed yet, or somebody else's."""
    return NotFound(
        "没有可以提供给您的这条记录。刚写入的记录约一秒后才有凭证。",
        "There is no such record of yours. A new record has its proof after about a second.",
    )


async def record_of(connection: AsyncConnection, index: int) -> bytes:
    """The bytes of a record below the newest checkpoint.

    Raises:
        NotFound: there is none.
    """
    head = await store.newest_head(connection)
    found = await store.entries(connection, index, 1) if head is not None and 0 <= index < head.size else []
    if not found:
        raise no_such_record()
    return found[0]


async def prove(connection: AsyncConnection, index: int) -> Proven:
    """The record and its proof below the newest witnessed checkpoint, or the newest of all where that does not reach.

    Raises:
        NotFound: no such record, or not signed yet.
    """
    record = await record_of(connection, index)
    head = await _proving_head(connection, index)
    nodes = [node for start, end in inclusion_ranges(index, head.size) for node in range_nodes(start, end)]
    try:
        path = inclusion_path(index, head.size, await store.fetcher(connection, nodes))
    except LookupError:
        raise no_such_record() from None  # rows below a signed head are missing; the verifier will say so
    return Proven(record, Proof(index, tuple(path), head.note, record).format())


async def _proving_head(connection: AsyncConnection, index: int) -> Head:
    """The newest checkpoint that enough witnesses cosigned, if it covers the record; else the newest of all.

    On a busy ledger the newest one is always too young to be cosigned.
    """
    for head in (await store.witnessed_head(connection), await store.newest_head(connection)):
        if head is not None and index < head.size:
            return head
    raise no_such_record()
