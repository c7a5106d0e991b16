"""What a token stands for now (RFC 7662), and ending one (RFC 7009).

Both look at the tables each time: nothing is cached, so a revocation, a suspended client or a changed grant shows at once.
"""

from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from consent import db
from consent.grants import store as grants_store
from consent.grants.schema import authorization_details
from consent.oauth import families
from consent.oauth.assertion import PARAMETERS as AUTHENTICATION
from consent.oauth.authentication import RegisteredClient
from consent.oauth.errors import UnauthorizedClient
from consent.oauth.form import Form, check_names, required
from consent.oauth.model import token_type
from consent.oauth.narrowing import narrowed
from consent.oauth.store import secret_hash
from consent.parties.access import PLATFORM_KINDS, AnyChecker

PARAMETERS = AUTHENTICATION | {"token", "token_type_hint"}
INACTIVE: dict[str, Any] = {"active": False}

_TOKEN = text("""
    select t.client_id, t.grant_id, t.grant_version, t.scopes, cast(t.cnf as text) as cnf, t.issued_at, t.expires_at, c.institution_id,
           cast(t.narrowing as text) as narrowing, clock_timestamp() as now
      from access_token t
      join client c on c.id = t.client_id and c.status = 'active'
     where t.hash = :hash and t.revoked_at is null and t.expires_at > clock_timestamp()
""")


async def introspect(engine: AsyncEngine, issuer: str, client: RegisteredClient, form: Form) -> dict[str, Any]:
    """The token's state, for whom it is: its own institution, or a platform that is shown the token of a grant.

    Raises:
        InvalidRequest: no token, or a parameter that does not belong here.
        DatabaseUnavailable: nothing is known; the caller must not serve.
    """
    check_names(form, PARAMETERS)
    token = required(form, "token")
    async with db.read(engine) as connection:
        row = (await connection.execute(_TOKEN, {"hash": secret_hash(token)})).one_or_none()
        if row is None or not _may_see(client, row):
            return INACTIVE
        cnf = msgspec.json.decode(row.cnf)
        answer = {
            "active": True,
            "iss": issuer,
            "client_id": row.client_id,
            "token_type": token_type(cnf),
            "cnf": cnf,
            "iat": _seconds(row.issued_at),
            "exp": _seconds(row.expires_at),
        }
        if row.grant_id is None:
            return answer | {"scope": " ".join(row.scopes)}
        grant = await grants_store.grant(connection, row.grant_id)
        narrowing = None if row.narrowing is None else msgspec.json.decode(row.narrowing)
        details = narrowed(authorization_details(grant, row.now), narrowing) if grant else []
        # A token ends with the version of the grant that it was issued for: those that exist at a change are revoked with it, one that
        # was being issued meanwhile is told by its version.
        if grant is None or grant.version != row.grant_version or not details:
            return INACTIVE
        return answer | {"grant_id": grant.id, "authorization_details": details}


def _may_see(client: RegisteredClient, row: Any) -> bool:
    """A client_credentials token is for this service alone, so nobody but its own institution learns that it exists."""
    if client.institution_id == row.institution_id:
        return True
    return row.grant_id is not None and client.institution_kind in PLATFORM_KINDS and AnyChecker.SCOPE in client.scopes


_FIND = text("""
    select 'access' as kind, client_id, code_hash from access_token where hash = :hash
    union all
    select 'refresh', client_id, code_hash from refresh_token where hash = :hash
""")
_REVOKE = text("update access_token set revoked_at = clock_timestamp() where hash = :hash and revoked_at is null")


async def revoke(engine: AsyncEngine, client: RegisteredClient, form: Form) -> None:
    """End the client's own token, with a refresh token the access tokens that it gave (RFC 7009 §2.1).

    One that is unknown or has ended already is no error (RFC 7009 §2.2).

    Raises:
        UnauthorizedClient: the token is another client's; it stays as it is.
        InvalidRequest: no token, or a parameter that does not belong here.
        DatabaseUnavailable: it may not be revoked; try again.
    """
    check_names(form, PARAMETERS)
    token = required(form, "token")
    token_hash = secret_hash(token)
    with db.guard():
        async with engine.begin() as connection:
            found = (await connection.execute(_FIND, {"hash": token_hash})).one_or_none()
            if found is None:
                return
            if found.client_id != client.id:
                raise UnauthorizedClient("The token was issued to another client.")
            if found.kind == "refresh":
                await families.revoke_family(connection, found.code_hash, client.id)
            else:
                await connection.execute(_REVOKE, {"hash": token_hash})


def _seconds(at: datetime) -> int:
    return int(at.timestamp())
