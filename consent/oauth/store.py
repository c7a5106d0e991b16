"""SQL of replay marks, clients at the edge, and tokens in use. Look-ups take many keys, for they are gathered.

These statements run by themselves and commit at once: a mark must survive a request that fails, and a look-up needs no more.
"""

import hashlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from consent.db import guard


@dataclass(frozen=True, slots=True)
class Mark:
    """One jti to be used up, by the SHA-256 of whose it is and what it says."""

    hash: bytes
    expires_at: datetime

    @classmethod
    def of(cls, kind: str, issuer: str, jti: str, expires_at: datetime) -> "Mark":
        """`kind` is assertion or dpop; `issuer` the client or the key's thumbprint, so that nobody uses up another's jti."""
        return cls(hashlib.sha256(f"{kind}\0{issuer}\0{jti}".encode()).digest(), expires_at)


def secret_hash(secret: str) -> bytes:
    """How codes, tokens and request_uris are stored: 256 random bits need no salt."""
    return hashlib.sha256(secret.encode("utf-8")).digest()


# Sorted, so that two such inserts never wait for each other in a ring (design §3.6).
_MARK = text("""
    insert into used_jti (hash, expires_at)
    select hash, max(expires_at) from unnest(cast(:hashes as bytea[]), cast(:expiries as timestamptz[])) as m (hash, expires_at)
     group by hash order by hash
    on conflict do nothing
    returning hash
""")


async def mark(engine: AsyncEngine, batch: Sequence[Sequence[Mark]]) -> list[tuple[bool, ...]]:
    """For each mark of each request, whether this was its first use. Committed before it returns.

    Raises:
        DatabaseUnavailable: nothing is known; refuse.
    """
    marks = [one for marks in batch for one in marks]
    parameters = {"hashes": [one.hash for one in marks], "expiries": [one.expires_at for one in marks]}
    async with alone(engine) as connection:
        fresh = {row.hash for row in await connection.execute(_MARK, parameters)}
    return [tuple(_take(fresh, one.hash) for one in marks) for marks in batch]


def _take(fresh: set[bytes], jti: bytes) -> bool:
    """Of several equal marks in one batch the first alone counts."""
    if jti not in fresh:
        return False
    fresh.remove(jti)
    return True


_CLIENTS = text("""
    select c.id, c.institution_id, i.kind as institution_kind, c.name, cast(c.jwks as text) as jwks, c.redirect_uris, c.scopes, c.version,
           c.auth_method, c.certificates, c.allowed_items, c.allowed_purposes
      from client c join institution i on i.id = c.institution_id
     where c.id = any(cast(:ids as text[])) and c.status = 'active'
""")


async def active_clients(engine: AsyncEngine, ids: Sequence[str]) -> list[Any]:
    """The rows of the clients that exist and are active, None for the others; in the order asked.

    Raises:
        DatabaseUnavailable: nothing is known; refuse.
    """
    async with alone(engine) as connection:
        rows = {row.id: row for row in await connection.execute(_CLIENTS, {"ids": sorted(set(ids))})}
    return [rows.get(client_id) for client_id in ids]


@dataclass(frozen=True, slots=True)
class Presented:
    """A token, and what its sender holds.

    name   member of `cnf`: jkt, for the key of a valid proof; x5t#S256, for the connection's certificate
    value  its thumbprint
    jti    of the proof; None for a certificate, which proves each connection anew
    """

    token_hash: bytes
    name: str
    value: str
    jti: Mark | None


@dataclass(frozen=True, slots=True)
class TokenInUse:
    """A token that is in force now. `bound` is whether it is bound to what its sender holds, `fresh` whether the proof is new."""

    client_id: str
    institution_id: str
    institution_kind: str
    scopes: tuple[str, ...]
    grant_id: str | None
    terminals: str
    bound: bool
    fresh: bool


# One statement and one commit for a whole batch: token, client and institution are read, and the proof's jti is used up. A jti is only
# stored for a live token with the right key, so that nobody else can fill the table.
_USE = text("""
    with asked as (
      select * from unnest(cast(:tokens as bytea[]), cast(:names as text[]), cast(:values as text[]), cast(:jtis as bytea[]),
                           cast(:expiries as timestamptz[]))
        with ordinality as a (token, name, value, jti, expires_at, n)
    ), live as (
      select a.n, a.jti, a.expires_at, coalesce(t.cnf->>a.name = a.value, false) as bound, t.client_id, t.scopes, t.grant_id,
             cast(c.terminals as text) as terminals, c.institution_id, i.kind as institution_kind
        from asked a
        join access_token t on t.hash = a.token and t.revoked_at is null and t.expires_at > clock_timestamp()
        join client c on c.id = t.client_id and c.status = 'active'
        join institution i on i.id = c.institution_id
    ), marked as (
      insert into used_jti (hash, expires_at)
      select jti, max(expires_at) from live where bound and jti is not null group by jti order by jti
      on conflict do nothing
      returning hash
    )
    select live.n, live.jti, live.bound, live.client_id, live.scopes, live.grant_id, live.terminals,
           live.institution_id, live.institution_kind,
           live.jti is null or marked.hash is not null as fresh
      from live left join marked on marked.hash = live.jti
     order by live.n
""")


async def use_tokens(engine: AsyncEngine, batch: Sequence[Presented]) -> list[TokenInUse | None]:
    """What each token stands for now; None if it is unknown, expired, revoked, or its client is not active.

    Raises:
        DatabaseUnavailable: nothing is known; refuse.
    """
    parameters = {
        "tokens": [one.token_hash for one in batch],
        "names": [one.name for one in batch],
        "values": [one.value for one in batch],
        "jtis": [one.jti and one.jti.hash for one in batch],
        "expiries": [one.jti and one.jti.expires_at for one in batch],
    }
    async with alone(engine) as connection:
        rows = (await connection.execute(_USE, parameters)).all()
    fresh = {row.jti for row in rows if row.fresh and row.jti is not None}
    found: list[TokenInUse | None] = [None] * len(batch)
    for row in rows:
        found[row.n - 1] = TokenInUse(
            client_id=row.client_id,
            institution_id=row.institution_id,
            institution_kind=row.institution_kind,
            scopes=tuple(row.scopes),
            grant_id=row.grant_id,
            terminals=row.terminals,
            bound=row.bound,
            fresh=row.bound and (row.jti is None or _take(fresh, row.jti)),
        )
    return found


@asynccontextmanager
async def alone(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """A connection on which each statement is a transaction of its own, in one round trip."""
    with guard():
        async with engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
            yield connection
