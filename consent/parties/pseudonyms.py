"""Pseudonyms: how the ledger names a subject towards one institution.

Random, never derived, so that two institutions' records of one enterprise cannot be joined and deleting the row of the table forgets
the subject for good (design §3.9). The table `pseudonym` is the only place that knows which is whom.
"""

import secrets
from collections.abc import Iterable

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from consent.db import guard
from consent.parties import store


async def pseudonym_for(database: AsyncEngine | AsyncConnection, institution_id: str, identifier: str) -> str:
    """The pseudonym of `identifier` towards `institution_id`, made if there is none.

    Args:
        database: an engine outside `consent.ledger.write`, for a transaction of its own; the connection of the ledger's transaction
            inside it. Never the connection of another transaction: one that made a pseudonym and then waited for the ledger's lock
            would hold up whoever has the lock and asks for the same one.
        institution_id: the institution that sees it.
        identifier: a 统一社会信用代码, or a person's subject id.
    """
    return (await pseudonyms_for(database, [(institution_id, identifier)]))[institution_id, identifier]


async def pseudonyms_for(database: AsyncEngine | AsyncConnection, pairs: Iterable[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """As `pseudonym_for`, for many (institution id, identifier) in at most three statements."""
    asked = sorted(set(pairs))
    if isinstance(database, AsyncConnection):
        return await _pseudonyms(database, asked)
    with guard():
        async with database.begin() as connection:
            return await _pseudonyms(connection, asked)


async def _pseudonyms(connection: AsyncConnection, asked: list[tuple[str, str]]) -> dict[tuple[str, str], str]:
    found = await store.pseudonyms(connection, asked)
    missing = [pair for pair in asked if pair not in found]
    if not missing:
        return found
    await store.insert_pseudonyms(connection, [(*pair, f"p_{secrets.token_urlsafe(16)}") for pair in missing])
    # Read back: where somebody else inserted first, the insert waited for his commit and then did nothing; his pseudonym stands.
    return found | await store.pseudonyms(connection, missing)
