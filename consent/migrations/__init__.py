"""The schema, forward only, applied with Alembic by the role that owns it.

The application's role (consent_app) must exist beforehand; the migrations grant it what it may do.
"""

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

MIGRATION_LOCK = 0x636F6E73656E7401  # "consent" and 1; the ledger's lock is another


async def migrate(owner_url: str) -> None:
    """Bring the database to the newest schema, in one transaction; does nothing where it is there already.

    Two that migrate at once take turns, in one process (Alembic keeps its context in globals) as in several.
    """
    engine = create_async_engine(owner_url, poolclass=NullPool, hide_parameters=True)
    async with engine.begin() as connection:
        await connection.execute(text("select pg_advisory_xact_lock(:key)"), {"key": MIGRATION_LOCK})
        await connection.run_sync(_upgrade)
    await engine.dispose()


def _upgrade(connection: Connection) -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
