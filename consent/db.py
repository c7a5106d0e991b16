"""Connections to PostgreSQL: how an engine is set up, how reads are opened, and which failures mean that the database is away.

Writing is not here: facts and their records change only inside consent.ledger.write(). Statements are SQLAlchemy Core text with bound
parameters (docs/decisions/0004-sql-without-an-orm.md). No parameter or row value appears in an error's text.
"""

import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import asyncpg
from sqlalchemy import event
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from consent.errors import DatabaseUnavailable

log = logging.getLogger(__name__)

CONNECT_SECONDS = 5
ANSWER_SECONDS = 35
"""Just above the server's own statement_timeout, which does not run while the server or its network hangs."""
SESSION = {
    "application_name": "consent",
    "timezone": "UTC",
    "default_transaction_isolation": "read committed",
    "synchronous_commit": "on",  # a reply leaves after its record is durable (design §3.7)
    "lock_timeout": "5s",
    "idle_in_transaction_session_timeout": "10s",
    "statement_timeout": "30s",
    "jit": "off",
    # A plan that was kept from when a table was empty reads all of it for every batch, until statistics catch up; planning anew costs less.
    "plan_cache_mode": "force_custom_plan",
}
# SQLSTATE classes and codes after which the same request may be sent again: the connection, authentication, lack of resources, an
# operator's intervention, a system error; and single codes for a lock or serialization that failed, an idle transaction that was
# ended, and a server that is a read-only standby.
AWAY_CLASSES = frozenset({"08", "28", "3D", "53", "57", "58"})
AWAY_CODES = frozenset({"40001", "40P01", "55P03", "25P03", "25P04", "25006"})


def create_engine(url: str, *, pool_size: int = 10, answer_seconds: float = ANSWER_SECONDS) -> AsyncEngine:
    """An engine for `url` (postgresql+asyncpg://…), READ COMMITTED, UTC, with time limits on every wait.

    `answer_seconds` bounds each statement on this side too; a server that hangs is then as unavailable as one that is gone.

    A connection that turns out to be broken costs one failed transaction and empties the pool; nothing is asked on checkout.
    """
    engine = create_async_engine(
        url,
        pool_size=pool_size,
        max_overflow=pool_size,
        pool_timeout=CONNECT_SECONDS,
        hide_parameters=True,
        connect_args={"server_settings": SESSION, "timeout": CONNECT_SECONDS, "command_timeout": answer_seconds},
    )
    event.listen(engine.sync_engine, "handle_error", _forget_values)
    return engine


@asynccontextmanager
async def read(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """A connection in one read-only transaction that sees one snapshot throughout (REPEATABLE READ).

    Raises:
        DatabaseUnavailable: the database is away or went away.
    """
    with guard():
        async with engine.connect() as connection:
            await connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
            yield connection


@contextmanager
def guard() -> Iterator[None]:
    """Raise DatabaseUnavailable in place of every error that means so; let all others through."""
    try:
        yield
    except (DBAPIError, PoolTimeout, OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        if not is_unavailable(error):
            raise
        log.warning("the database is unavailable: %s %s", type(error).__name__, sqlstate(error) or "")
        raise DatabaseUnavailable from error


def is_unavailable(error: BaseException) -> bool:
    """Whether `error` means that the database is away, full or refuses for now, rather than that the statement is wrong."""
    if isinstance(error, PoolTimeout | OSError | asyncpg.InterfaceError):  # TimeoutError is an OSError
        return True
    if isinstance(error, DBAPIError) and (error.connection_invalidated or _is_driver_lost(error)):
        return True
    state = sqlstate(error)
    return state is not None and (state in AWAY_CODES or state[:2] in AWAY_CLASSES)


def _is_driver_lost(error: DBAPIError) -> bool:
    """Whether the driver could no longer use its connection, which SQLAlchemy does not always take for a disconnect.

    A value that does not fit its parameter is the driver's InterfaceError too, and a ValueError besides: that is the statement's fault.
    """
    cause = None if error.orig is None else error.orig.__cause__
    return isinstance(cause, asyncpg.InterfaceError) and not isinstance(cause, ValueError)


def sqlstate(error: BaseException) -> str | None:
    """The five characters of PostgreSQL's error code, if the server sent one."""
    origin = error.orig if isinstance(error, DBAPIError) else error
    state = getattr(origin, "sqlstate", None)
    return state if isinstance(state, str) else None


def _forget_values(context: ExceptionContext) -> None:
    """PostgreSQL's DETAIL quotes the row at fault; it must not reach a log through a traceback."""
    origin = context.original_exception.__cause__
    if isinstance(origin, asyncpg.PostgresError):
        origin.detail = None
