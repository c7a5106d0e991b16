"""Deleting what expired so long ago that no answer depends on it. Expiry is computed when read; nothing relies on this having run."""

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from consent.oauth.store import alone

_SWEEP = (
    "delete from used_jti where expires_at < clock_timestamp() - interval '1 minute'",
    "delete from access_token where expires_at < clock_timestamp() - interval '1 day'",
    "delete from refresh_token where expires_at < clock_timestamp() - interval '1 day'",
    # A code outlives every token it gave, so that a replay is noticed as long as there is something to revoke.
    "delete from authorization_code c where expires_at < clock_timestamp() - interval '2 days'"
    " and not exists (select from refresh_token r where r.code_hash = c.hash)",
    "delete from session where expires_at < clock_timestamp() - interval '2 days'",
    # Days of Asia/Shanghai. A day more is kept, for the ledger's time may be behind the clock.
    "delete from guess where day < to_char(clock_timestamp() at time zone 'UTC' - interval '16 hours', 'YYYY-MM-DD')",
    "delete from pushed_request where expires_at < clock_timestamp() - interval '2 days'",
)


async def sweep(engine: AsyncEngine) -> None:
    """One round over the short-lived tables.

    Raises:
        DatabaseUnavailable: run it again later.
    """
    for statement in _SWEEP:
        async with alone(engine) as connection:
            await connection.execute(text(statement))
