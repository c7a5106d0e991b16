"""Reads of the ledger's tables. All of it is append-only, so what was read once holds for ever; only the newest head moves.

Tile level 0 is ledger_record.leaf; level L ≥ 1 is ledger_node, where the signer writes each complete subtree of 256^L records in the same
transaction as the first head that covers it. Everything here stays below the newest head: what is not signed is not shown.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from consent_audit.hashing import TILE_HEIGHT, TILE_WIDTH, Fetch, Node, TreeBuilder, edge_tiles, root, tile_span

_SIGNED = text("select size, root, note from ledger_head order by size desc limit 1")
# A ledger that was continued under a new name no longer shows heads under the old one.
_NEWEST = text(
    "select size, root, note from ledger_checkpoint where stage = :stage"
    " and starts_with(note, (select split_part(vkey, '+', 1) || chr(10) from ledger_key order by idx desc limit 1))"
    " order by size desc limit 1"
)
_STAGED = text("select exists (select from ledger_head_stage where stage = :stage and size = :size)")
_STAGE = text("insert into ledger_head_stage (stage, size) values (:stage, :size) on conflict do nothing")
_PUBLISHED = text("select exists (select from ledger_head where size >= :first and size < :last)")
_SIZE = text("select coalesce(max(idx) + 1, 0) from ledger_record")
_LEAVES = text("select leaf from ledger_record where idx >= :first and idx < :last order by idx")
_NODES = text("select hash from ledger_node where level = :level and n >= :first and n < :last order by n")
# Without the limit, which changes no answer, the planner may read the whole table once instead of each range by its index.
_LEAF_RANGES = text(
    "select place, leaf from unnest(cast(:firsts as bigint[]), cast(:counts as bigint[])) with ordinality as range (first, count, place)"
    " cross join lateral (select idx, leaf from ledger_record where idx >= first and idx < first + count order by idx limit count) as found"
    " order by place, idx"
)
_NODE_RANGES = text(
    "select place, hash from unnest(cast(:levels as smallint[]), cast(:firsts as bigint[]), cast(:counts as bigint[]))"
    " with ordinality as range (at, first, count, place)"
    " cross join lateral (select n, hash from ledger_node where level = at and n >= first and n < first + count"
    " order by n limit count) as found order by place, n"
)
_ENTRIES = text("select bytes from ledger_record where idx >= :first and idx < :last order by idx")
_BLOB = text("select body from ledger_blob where sha256 = :sha256")
_BLOB_NAMES = text("select sha256 from ledger_blob where sha256 > :after order by sha256 limit 1000")


Stage = Literal["shown", "witnessed"]


class Head(NamedTuple):
    """A signed tree head: size (≥ 1), root (32 bytes) and the whole note; of one that is shown, with all cosignatures that have come."""

    size: int
    root: bytes
    note: str


async def newest_head(connection: AsyncConnection) -> Head | None:
    """The newest head that readers may see, or None before the first. It never goes back: what was shown once stays shown."""
    return await _newest(connection, "shown")


async def witnessed_head(connection: AsyncConnection) -> Head | None:
    """The newest head whose cosignatures were a quorum of the server's policy; None without a policy or before the first."""
    return await _newest(connection, "witnessed")


async def _newest(connection: AsyncConnection, stage: Stage) -> Head | None:
    row = (await connection.execute(_NEWEST, {"stage": stage})).first()
    return None if row is None else Head(row.size, row.root, row.note)


async def signed_head(connection: AsyncConnection) -> Head | None:
    """The newest head that was signed, shown or not, without cosignatures: for the signer alone."""
    row = (await connection.execute(_SIGNED)).first()
    return None if row is None else Head(row.size, row.root, row.note)


async def is_staged(connection: AsyncConnection, stage: Stage, size: int) -> bool:
    """Whether the head of this size was shown, or witnessed."""
    return bool(await connection.scalar(_STAGED, {"stage": stage, "size": size}))


async def put_stage(connection: AsyncConnection, stage: Stage, size: int) -> None:
    """Say so once; doing it again changes nothing."""
    await connection.execute(_STAGE, {"stage": stage, "size": size})


async def was_published(connection: AsyncConnection, first: int, last: int) -> bool:
    """Whether a head of first ≤ size < last was ever signed."""
    return bool(await connection.scalar(_PUBLISHED, {"first": first, "last": last}))


async def committed_size(connection: AsyncConnection) -> int:
    """Number of records, signed or not."""
    return int((await connection.execute(_SIZE)).scalar_one())


async def hashes(connection: AsyncConnection, level: int, first: int, count: int) -> list[bytes]:
    """Hashes `first` … `first + count - 1` of a tile level; fewer if the ledger does not have them."""
    if level == 0:
        rows = await connection.execute(_LEAVES, {"first": first, "last": first + count})
    else:
        rows = await connection.execute(_NODES, {"level": level, "first": first, "last": first + count})
    return list(rows.scalars())


async def entries(connection: AsyncConnection, first: int, count: int) -> list[bytes]:
    """The bytes of records `first` … `first + count - 1`; fewer if the ledger does not have them."""
    return list((await connection.execute(_ENTRIES, {"first": first, "last": first + count})).scalars())


async def blob(connection: AsyncConnection, sha256: bytes) -> bytes | None:
    """The document of a digest."""
    body = await connection.scalar(_BLOB, {"sha256": sha256})
    return None if body is None else bytes(body)


async def blob_names(connection: AsyncConnection, after: bytes) -> list[bytes]:
    """Up to 1000 digests above `after`, in order."""
    return list((await connection.execute(_BLOB_NAMES, {"after": after})).scalars())


async def right_edge(connection: AsyncConnection, size: int) -> TreeBuilder:
    """The tree of the first `size` records, ready to grow.

    Raises:
        ValueError: rows are missing.
    """
    return TreeBuilder(size, [await hashes(connection, level, n * TILE_WIDTH, width) for level, n, width in edge_tiles(size)])


async def fetcher(connection: AsyncConnection, nodes: Sequence[Node]) -> Fetch:
    """A function that gives the hashes of these nodes, all read beforehand by two statements.

    Raises:
        KeyError: from the function, for a node that was not among them or whose rows are missing.
    """
    spans = [(node, *tile_span(*node)) for node in nodes]
    leaves = [span for span in spans if span[1] == 0]
    above = [span for span in spans if span[1] > 0]
    leaf_rows = await connection.execute(_LEAF_RANGES, {"firsts": [s[2] for s in leaves], "counts": [s[3] for s in leaves]})
    values = {"levels": [s[1] for s in above], "firsts": [s[2] for s in above], "counts": [s[3] for s in above]}
    node_rows = await connection.execute(_NODE_RANGES, values)
    known: dict[Node, bytes] = {}
    for part, rows in ((leaves, leaf_rows.all()), (above, node_rows.all())):
        found: dict[int, list[bytes]] = {}
        for place, value in rows:
            found.setdefault(place - 1, []).append(value)
        known |= {part[place][0]: root(row) for place, row in found.items() if len(row) == part[place][3]}
    return lambda height, n: known[height, n]


def leaves_of(level: int) -> int:
    """Number of records below one hash of a tile level."""
    return 1 << (TILE_HEIGHT * level)
