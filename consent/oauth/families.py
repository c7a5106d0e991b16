"""SQL of what one authorization gave: the code, its refresh token and its access tokens, which a replay of the code ends together.

All of it runs in the token request's transaction (`consent.oauth.tokens`).
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, cast

import msgspec
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

_NOW = text("select clock_timestamp()")
_USE_CODE = text("""
    update authorization_code set used_at = clock_timestamp()
     where hash = :hash and client_id = :client_id and used_at is null
    returning grant_id, redirect_uri, code_challenge, dpop_jkt, expires_at > clock_timestamp() as in_time
""")
# The refresh token first: a refresh that is under way holds its row, so its access token is there when the second statement runs.
_REVOKE_REFRESH = text("""
    update refresh_token set revoked_at = clock_timestamp() where code_hash = :hash and client_id = :client_id and revoked_at is null
""")
_REVOKE_ACCESS = text("""
    update access_token set revoked_at = clock_timestamp() where code_hash = :hash and client_id = :client_id and revoked_at is null
""")
_INSERT_ACCESS = text("""
    insert into access_token (hash, client_id, grant_id, grant_version, code_hash, narrowing, scopes, cnf, issued_at, expires_at)
    values (:hash, :client_id, :grant_id, :grant_version, :code_hash, cast(:narrowing as jsonb), cast(:scopes as text[]),
            cast(:cnf as jsonb), clock_timestamp(), clock_timestamp() + cast(:lifetime as interval))
""")
_INSERT_REFRESH = text("""
    insert into refresh_token (hash, client_id, grant_id, code_hash, cnf, issued_at, expires_at)
    values (:hash, :client_id, :grant_id, :code_hash, cast(:cnf as jsonb), clock_timestamp(), :expires_at)
""")
# Shared, so that refreshes of one token do not wait for each other, but a revocation does for them.
_REFRESH = text("""
    select grant_id, code_hash from refresh_token
     where hash = :hash and client_id = :client_id and revoked_at is null and (cnf = '{}' or cnf = cast(:cnf as jsonb))
       and expires_at > clock_timestamp()
       for share
""")


@dataclass(frozen=True, slots=True)
class UsedCode:
    """A code that was just used up; `in_time` is whether it had not expired."""

    grant_id: str
    redirect_uri: str
    code_challenge: str
    dpop_jkt: str | None
    in_time: bool


@dataclass(frozen=True, slots=True)
class Family:
    """What tokens of one authorization share."""

    grant_id: str
    code_hash: bytes


async def now(connection: AsyncConnection) -> datetime:
    """The database's clock, which dates everything here."""
    return cast("datetime", (await connection.execute(_NOW)).scalar_one())


async def use_code(connection: AsyncConnection, code_hash: bytes, client_id: str) -> UsedCode | None:
    """One attempt per code, by the client that it was issued to; another client neither uses it up nor revokes anything.

    A second attempt waits here for the first one's commit, so it revokes also what the first one is about to give.
    """
    row = (await connection.execute(_USE_CODE, {"hash": code_hash, "client_id": client_id})).one_or_none()
    if row is None:
        await revoke_family(connection, code_hash, client_id)
        return None
    return UsedCode(row.grant_id, row.redirect_uri, row.code_challenge, row.dpop_jkt, row.in_time)


async def revoke_family(connection: AsyncConnection, code_hash: bytes, client_id: str) -> None:
    """End every token that this code gave."""
    for statement in (_REVOKE_REFRESH, _REVOKE_ACCESS):
        await connection.execute(statement, {"hash": code_hash, "client_id": client_id})


async def find_refresh(connection: AsyncConnection, token_hash: bytes, client_id: str, cnf: dict[str, str]) -> Family | None:
    """The family of a refresh token in force, held until the transaction ends; None for another client or another key, too."""
    parameters = {"hash": token_hash, "client_id": client_id, "cnf": msgspec.json.encode(cnf).decode()}
    row = (await connection.execute(_REFRESH, parameters)).one_or_none()
    return None if row is None else Family(row.grant_id, row.code_hash)


async def insert_access(connection: AsyncConnection, values: dict[str, Any], cnf: dict[str, str], lifetime: timedelta) -> None:
    """Store an access token. `values`: hash, client_id, grant_id, grant_version, code_hash, narrowing and scopes."""
    narrowing = values["narrowing"]
    encoded = None if narrowing is None else msgspec.json.encode(narrowing).decode()
    row = values | {"narrowing": encoded, "cnf": msgspec.json.encode(cnf).decode(), "lifetime": lifetime}
    await connection.execute(_INSERT_ACCESS, row)


async def insert_refresh(
    connection: AsyncConnection, token_hash: bytes, client_id: str, family: Family, cnf: dict[str, str], expires_at: datetime
) -> None:
    """Store a refresh token, one per code.

    It is bound to its client, and to the key of a proof; not to a certificate, which is renewed more often than a grant (RFC 8705 §7.1).
    """
    bound = cnf if "jkt" in cnf else {}
    await connection.execute(
        _INSERT_REFRESH,
        {
            "hash": token_hash,
            "client_id": client_id,
            "grant_id": family.grant_id,
            "code_hash": family.code_hash,
            "cnf": msgspec.json.encode(bound).decode(),
            "expires_at": expires_at,
        },
    )
