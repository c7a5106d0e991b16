"""The signed tree, taken up where the newest head left it and grown over what was committed since, in one transaction of the signer."""

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from consent.errors import ServiceError, Unavailable
from consent.ledger import store
from consent.ledger.store import Head
from consent_audit.hashing import TreeBuilder, root

CHUNK = 1 << 14

_LEAVES = text(
    "select leaf, sha256('\\x00'::bytea || bytes) = leaf as sound from ledger_record where idx >= :first and idx < :last order by idx"
)
_INSERT_NODES = text(
    "insert into ledger_node (level, n, hash)"
    " select * from unnest(cast(:levels as smallint[]), cast(:numbers as bigint[]), cast(:hashes as bytea[]))"
)


class LedgerBroken(ServiceError):
    """The tables contradict the newest signed head: nothing is signed until somebody has looked."""

    code = "ledger.broken"

    def __init__(self, en: str) -> None:
        super().__init__("账本数据与已签名的检查点不一致，已停止签名。请保全现场并核查。", en)


class RolledBack(Unavailable):
    """The database is behind, or beside, a head that was signed: another head of its size would fork the ledger."""

    code = "ledger.rolled_back"

    def __init__(self, what: str) -> None:
        super().__init__(
            "数据库落后于已签名的检查点（恢复了旧备份，或丢失了末尾记录），已停止签名和写入。请恢复到最新状态（时间点恢复或备库）；"
            "确已无法找回的，见 deploy/README.md。",
            f"{what}: an old backup was restored, or its tail was lost. Nothing is signed or recorded, because a second history under the"
            " same name would refute the ledger for ever. Bring back the newest state (point-in-time recovery, or the standby);"
            " if it is lost for good, deploy/README.md says how the ledger goes on under a new name.",
        )


async def resume(connection: AsyncConnection, head: Head | None) -> TreeBuilder:
    """The tree of the newest head, which must have the root that was signed.

    Raises:
        LedgerBroken: it has not.
    """
    try:
        tree = await store.right_edge(connection, 0 if head is None else head.size)
    except ValueError:
        raise LedgerBroken("records or nodes below the newest signed head are missing") from None
    if head is not None and tree.root() != head.root:
        raise LedgerBroken(f"the records below {head.size} no longer have the root that was signed")
    return tree


async def grow(connection: AsyncConnection, tree: TreeBuilder, size: int) -> None:
    """Add the records up to `size` and store the complete subtrees.

    Raises:
        LedgerBroken: records are missing, or do not have the leaf hash that stands beside them.
    """
    for first in range(tree.size, size, CHUNK):
        await _grow(connection, tree, first, min(first + CHUNK, size))


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
