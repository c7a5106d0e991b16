"""Databases of a test's own, cloned from the run's migrated template."""

import asyncpg

from consent.embedded import DATABASE

_OTHERS = "select pg_terminate_backend(pid) from pg_stat_activity where datname = $1 and usename in ('consent_app', 'consent_owner')"


async def _administrator(owner_url: str) -> asyncpg.Connection:
    return await asyncpg.connect(owner_url.replace("+asyncpg", "").replace(f"/{DATABASE}?", "/postgres?"))


async def create_clone(owner_url: str, name: str) -> None:
    """A copy of the template."""
    connection = await _administrator(owner_url)
    try:
        await connection.execute(f"create database {name} template {DATABASE}")
    finally:
        await connection.close()


async def drop_clone(owner_url: str, name: str) -> None:
    """Drop it with whatever a test left connected. Not WITH (FORCE): that wants the right to end an autovacuum worker, which a plain
    DROP DATABASE ends by itself."""
    connection = await _administrator(owner_url)
    try:
        for attempt in range(5):
            await connection.execute(_OTHERS, name)
            try:
                await connection.execute(f"drop database {name}")
            except asyncpg.ObjectInUseError:
                if attempt == 4:
                    raise
            else:
                return
    finally:
        await connection.close()
