"""SQL of accounts. Every function takes the caller's connection; none commits."""

from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection


async def insert_account(connection: AsyncConnection, values: dict[str, Any]) -> bool:
    """Whether the user name was free."""
    statement = text("""
        insert into account (id, username, password_hash, display_name, kind, subject_id, role)
        values (:id, :username, :password_hash, :display_name, :kind, :subject_id, :role)
        on conflict do nothing
        returning id
    """)
    return (await connection.execute(statement, values)).one_or_none() is not None


async def count_attempt(connection: AsyncConnection, username: str, free: int, first: timedelta, longest: timedelta) -> Any | None:
    """Count an attempt before it is judged, and lock when the free ones are used up.

    Returns:
        The account's row, or None if there is none, it is locked, or it is closed. One statement, so parallel attempts queue on the row.
    """
    statement = text("""
        update account
           set failures = failures + 1,
               locked_until = case when failures + 1 >= :free
                 then clock_timestamp() + least(cast(:longest as interval),
                                               cast(:first as interval) * power(2, least(failures + 1 - :free, 20)))
                 end
         where username = :username and status = 'active' and (locked_until is null or locked_until <= clock_timestamp())
        returning id, username, password_hash, display_name, kind, subject_id, role
    """)
    parameters = {"username": username, "free": free, "first": first, "longest": longest}
    return (await connection.execute(statement, parameters)).one_or_none()


async def reset_attempts(connection: AsyncConnection, account_id: UUID, judged: str, replacement: str | None) -> bool:
    """Forget the failures after a success, and store the hash made anew if there is one.

    Returns:
        False if the password changed or the account was closed while it was judged: then nothing was changed.
    """
    statement = text("""
        update account set failures = 0, locked_until = null, password_hash = coalesce(cast(:replacement as text), password_hash)
         where id = :id and password_hash = :judged and status = 'active'
        returning id
    """)
    parameters = {"id": account_id, "judged": judged, "replacement": replacement}
    return (await connection.execute(statement, parameters)).one_or_none() is not None
