"""Browser sessions: one row per sign-in, found by the hash of a secret that only the cookie holds.

A session is bound to an account and to the subject for which it acts; when either changes it is over. It ends twelve hours after
sign-in, half an hour after the last use, or when its owner signs out. All times are the database's.
"""

import hashlib
import secrets
from dataclasses import dataclass, field
from datetime import timedelta
from uuid import UUID

from litestar.datastructures import Cookie
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from consent.db import read
from consent.parties.access import Visitor

ABSOLUTE = timedelta(hours=12)
IDLE = timedelta(minutes=30)
_EXTEND_AFTER = timedelta(minutes=1)  # A session's expiry moves at most once a minute, not with every page.


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A live session.

    hash     SHA-256 of the cookie's secret
    visitor  who is signed in, and for whom she acts
    stale    whether its expiry should be moved
    """

    hash: bytes = field(repr=False)
    visitor: Visitor
    stale: bool


def secret_hash(secret: str) -> bytes:
    """The name of a session in the database. The secret has 256 bits, so a plain hash is enough."""
    return hashlib.sha256(b"session\0" + secret.encode()).digest()


_FIND = text("""
select s.account_id, s.subject_id, s.csrf, a.display_name, a.kind, a.role,
       s.expires_at < least(s.created_at + :absolute, clock_timestamp() + :idle) - cast(:slack as interval) as stale
from session s join account a on a.id = s.account_id
where s.hash = :hash and s.ended_at is null and s.expires_at > clock_timestamp()
  and a.status = 'active' and a.subject_id is not distinct from s.subject_id
""")


async def find(engine: AsyncEngine, secret: str) -> Session | None:
    """The live session of a cookie, its expiry moved on; None when there is none, whatever the reason."""
    hashed = secret_hash(secret)
    async with read(engine) as connection:
        row = (await connection.execute(_FIND, {"hash": hashed, "absolute": ABSOLUTE, "idle": IDLE, "slack": _EXTEND_AFTER})).one_or_none()
    if row is None:
        return None
    visitor = Visitor(
        account_id=row.account_id,
        display_name=row.display_name,
        kind=row.kind,
        subject_id=row.subject_id,
        role=row.role,
        csrf=row.csrf,
    )
    return Session(hash=hashed, visitor=visitor, stale=row.stale)


async def extend(engine: AsyncEngine, session: Session) -> None:
    """Move the idle expiry, never past the absolute one, and never of a session that has ended."""
    async with engine.begin() as connection:
        await connection.execute(
            text("""
            update session set expires_at = least(created_at + :absolute, clock_timestamp() + :idle)
            where hash = :hash and ended_at is null and expires_at > clock_timestamp()
            """),
            {"hash": session.hash, "absolute": ABSOLUTE, "idle": IDLE},
        )


async def begin(connection: AsyncConnection, account_id: UUID, subject_id: UUID | None, *, replacing: str | None) -> str:
    """Start a session under a new secret and end the one whose cookie came along: nobody signs in under a secret he was given.

    Returns:
        The secret for the cookie.
    """
    if replacing is not None:
        await end(connection, replacing)
    secret = secrets.token_urlsafe(32)
    await connection.execute(
        text("""
        insert into session (hash, account_id, subject_id, csrf, created_at, expires_at)
        select :hash, :account_id, :subject_id, :csrf, t.now, t.now + :idle from (select clock_timestamp() as now) t
        """),
        {"hash": secret_hash(secret), "account_id": account_id, "subject_id": subject_id, "csrf": secrets.token_urlsafe(32), "idle": IDLE},
    )
    return secret


async def end(connection: AsyncConnection, secret: str) -> None:
    """End the session of a cookie; ending it twice is no error."""
    await connection.execute(
        text("update session set ended_at = clock_timestamp() where hash = :hash and ended_at is null"), {"hash": secret_hash(secret)}
    )


def cookie_name(*, https: bool, purpose: str = "session") -> str:
    """With https the name has the __Host- prefix, by which the browser itself refuses a cookie planted by another host."""
    return f"__Host-consent-{purpose}" if https else f"consent-{purpose}"


def cookie(value: str | None, *, https: bool, purpose: str = "session") -> Cookie:
    """The cookie that carries a secret; None takes it away. It ends with the browser, and the database ends it earlier."""
    return Cookie(
        key=cookie_name(https=https, purpose=purpose),
        value=value or "",
        max_age=0 if value is None else None,
        path="/",
        secure=https,
        httponly=True,
        samesite="lax",
    )
