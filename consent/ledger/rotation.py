"""Changing the log's key: a record that both keys sign, after which heads are signed with the new one (docs/spec/ledger.md §5).

Every process is given the new key as its next one first. The record then switches them all at one index, without a restart: a head that
covers it is signed with the new key, and with the old one too wherever that is still held, so that witnesses and auditors who know only the
old key go on until they have learned the new one from the record. A key that is thought stolen is taken away at once.
"""

import asyncio
from collections.abc import Sequence

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from consent import db
from consent.errors import Conflict
from consent.ledger.keys import KeyRefused, Keyring, LogKey, signature_of
from consent.ledger.statements import KeyRotated
from consent.ledger.writer import write
from consent_audit.encoding import format_base64
from consent_audit.statements import rotation_text

_KEYS = text("select vkey from ledger_key order by idx")
_INSERT = text("insert into ledger_key (idx, vkey) values (:idx, :vkey)")


async def rotate(engine: AsyncEngine, keys: Sequence[LogKey]) -> tuple[int, str]:
    """Put the one key that the ledger does not know yet in the place of the one that signs now; both must be among `keys`.

    Returns:
        The record's index and the new key.

    Raises:
        KeyRefused: a key is missing, was used before, or gives no signature.
        Conflict: the ledger was rotated meanwhile.
        DatabaseUnavailable: nothing was recorded, or as in `write`.
    """
    ring = Keyring(keys)
    async with db.read(engine) as connection:
        known = await _known(connection)
    if not known:
        raise KeyRefused("nothing was signed yet: start the service once, or simply use the new key from the beginning")
    new = [vkey for vkey in ring.vkeys if vkey not in known]
    if len(new) != 1:
        raise KeyRefused(
            "set CONSENT_LEDGER_NEXT_KEY_FILE, or CONSENT_LEDGER_NEXT_KEY_COMMAND and CONSENT_LEDGER_NEXT_VKEY, to a key that never signed"
        )
    statement = rotation_text(ring.origin, known[-1], new[0])
    signatures = [format_base64(signature_of(await asyncio.to_thread(ring[vkey].sign, statement))) for vkey in (known[-1], new[0])]
    event = KeyRotated(old=known[-1], new=new[0], old_signature=signatures[0], new_signature=signatures[1])
    async with write(engine) as transaction:
        if await _known(transaction.connection) != known:
            raise Conflict("账本密钥刚刚已被更换。", "The ledger's key was rotated meanwhile; look which one signs now.")
        index = transaction.append(event)
        await transaction.connection.execute(_INSERT, {"idx": index, "vkey": new[0]})
    return index, new[0]


async def _known(connection: AsyncConnection) -> list[str]:
    return list((await connection.execute(_KEYS)).scalars())
