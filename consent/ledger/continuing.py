"""The last way on after signed records were lost for good: the ledger goes on under a new name, and says so.

No log may sign two histories under one name. When a restored database ends before a head that was signed, and nothing newer can be
brought back, the old name is finished: its checkpoints stand in the second store, at witnesses and at auditors, and refute anything else.
The records that are left then continue under a new origin with a new key; the first record of that time names the lost head, so no
verifier can overlook how many records are missing. What those records changed, a revocation above all, is gone from the tables too:
deploy/README.md says what has to be looked at before the service is started again.
"""

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from consent import db
from consent.errors import Conflict
from consent.ledger import store
from consent.ledger.heads import HeadStore
from consent.ledger.keys import LogKey
from consent.ledger.statements import LedgerContinued
from consent.ledger.tree import CHUNK
from consent.ledger.writer import origin_in_force, write
from consent_audit.encoding import format_base64
from consent_audit.note import Checkpoint

_INSERT = text("insert into ledger_key (idx, vkey) values (:idx, :vkey)")
_NAMES = text("select distinct split_part(vkey, '+', 1) from ledger_key")


async def continue_ledger(engine: AsyncEngine, lost: HeadStore, key: LogKey) -> int:
    """Go on under the name of `key`, because the newest head in `lost` covers records that the database does not have.

    Returns:
        Index of the record that says so.

    Raises:
        Conflict: nothing is lost, or the new name is not new.
        HeadStoreFailed: `lost` holds no head of this ledger.
    """
    head = lost.newest()
    if head is None:
        raise Conflict(
            "第二存储中没有检查点，无从证明有记录丢失。", "The old head store holds no head: nothing shows that anything was lost."
        )
    async with write(engine) as transaction:
        before = await origin_in_force(transaction.connection)
        names = set((await transaction.connection.execute(_NAMES)).scalars())
        if head.origin != before or key.name in names | {before}:
            raise Conflict(
                "新账本须有从未用过的名称和新密钥。",
                f"The ledger of {before} continues under a name that it never had, with a new key: set CONSENT_LEDGER_ORIGIN and the key.",
            )
        if not await _is_lost(transaction.connection, head, transaction.size):
            raise Conflict(
                "没有记录丢失，账本照常继续。", "Nothing is lost: the database extends the head in the old store. Go on as before."
            )
        event = LedgerContinued(origin=key.name, before=before, size=head.size, root=format_base64(head.root))
        index = transaction.append(event)
        await transaction.connection.execute(_INSERT, {"idx": index, "vkey": key.vkey})
    return index


async def adopt(engine: AsyncEngine, heads: HeadStore) -> int:
    """Begin a new second store with the newest head of the database; what it was before is not known then.

    Returns:
        Size of the head.

    Raises:
        Conflict: the store holds a head already, or nothing was signed yet.
    """
    async with db.read(engine) as connection:
        head = await store.signed_head(connection)
    kept = heads.newest()
    if kept is not None or head is None:
        raise Conflict(
            "第二存储已有检查点，或尚无签名的检查点。", "The head store holds a head already, or nothing was signed yet: nothing to adopt."
        )
    heads.keep(head.note, None)
    return head.size


async def _is_lost(connection: AsyncConnection, head: Checkpoint, size: int) -> bool:
    if size < head.size:
        return True
    signed = await store.signed_head(connection)
    start = min(head.size, 0 if signed is None else signed.size)
    tree = await store.right_edge(connection, start)
    for first in range(start, head.size, CHUNK):
        tree.extend(await store.hashes(connection, 0, first, min(CHUNK, head.size - first)))
    return tree.root() != head.root
