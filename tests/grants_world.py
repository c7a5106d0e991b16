"""What tests of grants look at: records, counts, versions, stored grants and tokens."""

import json
import secrets

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from consent.db import read
from consent.grants import service
from consent.grants.model import Actor
from consent.parties import store as parties_store


async def records(engine: AsyncEngine) -> list[dict]:
    """Type and data of all records of grants."""
    async with read(engine) as connection:
        rows = (await connection.execute(text("select bytes from ledger_record order by idx"))).scalars()
        found = [json.loads(row) for row in rows]
    return [record for record in found if record["type"].startswith("grant.")]


async def counts(engine: AsyncEngine) -> tuple[int, ...]:
    """Records, grants, items, history: what a refused act must leave alone."""
    async with read(engine) as connection:
        tables = ("ledger_record", "consent_grant", "grant_item", "grant_history")
        return tuple([(await connection.execute(text(f"select count(*) from {table}"))).scalar_one() for table in tables])


async def version_of(engine: AsyncEngine, subject_id) -> int:
    """The subject's version."""
    async with read(engine) as connection:
        subject = await parties_store.subject(connection, subject_id)
    assert subject is not None
    return subject.version


async def reload(engine: AsyncEngine, grant_id: str):
    """The grant as stored."""
    async with read(engine) as connection:
        return await service.get(connection, grant_id, Actor.operator())


async def issue_token(engine: AsyncEngine, grant_id: str | None) -> None:
    """An access token that points to the grant."""
    async with engine.begin() as connection:
        await connection.execute(
            text("""
                insert into access_token (hash, client_id, grant_id, scopes, cnf, issued_at, expires_at)
                values (:hash, 'bank-a-client', :grant_id, '{}', '{"jkt":"x"}', now(), now() + interval '5 minutes')
            """),
            {"hash": secrets.token_bytes(32), "grant_id": grant_id},
        )


async def live_tokens(engine: AsyncEngine) -> int:
    """How many tokens are not revoked."""
    async with read(engine) as connection:
        return (await connection.execute(text("select count(*) from access_token where revoked_at is null"))).scalar_one()
