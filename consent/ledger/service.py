"""Use cases of reading the ledger: a file of the tile tree, a copy as archive or directory, readers' tokens.

Nothing above the newest signed head is shown. A copy is taken below one head, whose root is computed again from what was read: a copy that
would not verify is not finished.
"""

import hashlib
import secrets
from datetime import timedelta

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from consent import db
from consent.errors import InvalidRequest, NotAuthenticated, NotFound, ServiceError, Unavailable
from consent.ledger import store
from consent.ledger.copies import export, publish
from consent.ledger.store import Head
from consent_audit.hashing import HASH_BYTES, TILE_WIDTH
from consent_audit.tiles import ENTRIES, Tile, bundle_encode

__all__ = ["authenticate_auditor", "blob", "checkpoint", "create_auditor_token", "export", "publish", "tile"]

TOKEN_PREFIX = "cat_"  # noqa: S105 - "consent auditor token", so that a leaked one is recognised
TOKEN_DAYS_LIMIT = 3650

_INSERT_TOKEN = text(
    "insert into auditor_token (hash, name, expires_at) values (:hash, :name, clock_timestamp() + cast(:validity as interval))"
)
_TOKEN = text("select name from auditor_token where hash = :hash and revoked_at is null and expires_at > clock_timestamp()")


class NotAnAuditor(NotAuthenticated):
    """No valid auditor's token (RFC 6750 §3)."""

    def __init__(self) -> None:
        super().__init__("读取账本记录需要审计令牌。", "Reading records of the ledger needs an auditor's token.")
        self.headers = {"WWW-Authenticate": 'Bearer realm="ledger"'}


class RecordsGone(ServiceError):
    """Rows below a signed head are missing: the auditor's tool takes 410 for a refutation."""

    status = 410
    code = "ledger.gone"

    def __init__(self) -> None:
        super().__init__("已签名的账本记录缺失。", "Records below a signed checkpoint are missing: this ledger is not whole.")


def _absent() -> NotFound:
    return NotFound("账本没有这个文件。", "The ledger has no such file.")


async def checkpoint(engine: AsyncEngine) -> str:
    """The newest signed checkpoint, the whole note.

    Raises:
        Unavailable: nothing has been signed yet.
    """
    async with db.read(engine) as connection:
        return (await _head(connection)).note


async def witnessed(engine: AsyncEngine) -> str:
    """The newest checkpoint whose cosignatures were a quorum of the server's policy, the whole note.

    Raises:
        NotFound: there is none.
    """
    async with db.read(engine) as connection:
        head = await store.witnessed_head(connection)
    if head is None:
        raise _absent()
    return head.note


async def _head(connection: AsyncConnection) -> Head:
    head = await store.newest_head(connection)
    if head is None:
        raise Unavailable("账本尚未签出第一个检查点，请稍后重试。", "The ledger has no signed checkpoint yet; try again in a moment.")
    return head


async def tile(engine: AsyncEngine, wanted: Tile) -> bytes:
    """A tile of hashes or a bundle of entries: full ones below the newest head, partial ones of any size that was ever signed.

    Raises:
        NotFound: the ledger has not published it.
        RecordsGone: it has, and cannot show it any more.
    """
    level = max(wanted.level, 0)
    first = wanted.n * TILE_WIDTH
    needed = (first + wanted.width) * store.leaves_of(level)
    async with db.read(engine) as connection:
        head = await store.newest_head(connection)
        if head is None or needed > head.size:
            raise _absent()
        # A partial tile belongs to the sizes whose edge it is; level 0 of size 300 is 001.p/44.
        if wanted.width < TILE_WIDTH and not await store.was_published(connection, needed, needed + store.leaves_of(level)):
            raise _absent()
        if wanted.level == ENTRIES:
            body, count = await _bundle(connection, first, wanted.width)
        else:
            row = await store.hashes(connection, level, first, wanted.width)
            body, count = b"".join(row), len(row)
    if count != wanted.width:
        raise RecordsGone  # not 404: who reads this may say that the ledger broke its promise
    return body


async def _bundle(connection: AsyncConnection, first: int, width: int) -> tuple[bytes, int]:
    rows = await store.entries(connection, first, width)
    return (bundle_encode(rows), len(rows)) if rows else (b"", 0)


async def blob(engine: AsyncEngine, sha256: bytes) -> bytes:
    """The document of a digest.

    Raises:
        NotFound: there is none.
    """
    async with db.read(engine) as connection:
        body = await store.blob(connection, sha256)
    if body is None:
        raise _absent()
    return body


async def create_auditor_token(engine: AsyncEngine, name: str, days: int) -> str:
    """Make a token that reads entries and blobs for `days` (1 to 3650). Only its hash is kept, so it is shown once.

    Raises:
        InvalidRequest: an empty or overlong name, or days out of range.
    """
    if not 1 <= len(name) <= 200 or not 1 <= days <= TOKEN_DAYS_LIMIT:
        raise InvalidRequest("名称须为 1–200 字，天数须为 1–3650。", "A name has 1 to 200 characters, days are 1 to 3650.")
    token = TOKEN_PREFIX + secrets.token_urlsafe(HASH_BYTES)
    with db.guard():
        async with engine.begin() as connection:
            await connection.execute(_INSERT_TOKEN, {"hash": _hash(token), "name": name, "validity": timedelta(days=days)})
    return token


async def authenticate_auditor(engine: AsyncEngine, token: str) -> str:
    """The name of the auditor whose token this is. Looked up by hash, so no comparison leaks the token.

    Raises:
        NotAnAuditor: unknown, expired or revoked.
    """
    async with db.read(engine) as connection:
        name = await connection.scalar(_TOKEN, {"hash": _hash(token)})
    if name is None:
        raise NotAnAuditor
    return str(name)


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
