"""Connections, migrations, and the rights that the schema gives."""

import asyncio
import os
import signal

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine

from consent import db
from consent.db import create_engine
from consent.errors import DatabaseUnavailable
from consent.migrations import migrate

LEDGER_TABLES = {
    "ledger_record": "idx", "ledger_node": "n", "ledger_head": "size", "ledger_head_stage": "size", "ledger_cosignature": "size",
    "ledger_key": "idx", "ledger_blob": "body",
}  # fmt: skip


async def test_every_session_has_its_limits(engine: AsyncEngine):
    """READ COMMITTED, UTC, durable commits and time limits hold in each session."""
    async with engine.connect() as connection:
        shown = {name: await connection.scalar(text(f"show {name}")) for name in (*db.SESSION, "transaction_isolation")}
    assert shown == {**db.SESSION, "transaction_isolation": "read committed"}


async def test_read_sees_one_snapshot_and_cannot_write(engine: AsyncEngine):
    """A read transaction does not see what commits meanwhile, refuses to write, and leaves the session as it was."""
    insert = text("insert into used_jti values (decode('00', 'hex'), now())")
    count = text("select count(*) from used_jti")
    async with db.read(engine) as connection:
        assert await connection.scalar(count) == 0
        async with engine.begin() as other:
            await other.execute(insert)
        assert await connection.scalar(count) == 0
    with pytest.raises(DatabaseUnavailable):  # 25006: as on a read-only standby
        async with db.read(engine) as connection:
            await connection.execute(insert)
    async with engine.begin() as connection:
        assert await connection.scalar(count) == 1
        assert await connection.scalar(text("show transaction_read_only")) == "off"


async def test_migrating_again_changes_nothing(database):
    """Two migrations at once and one more afterwards all succeed."""
    await asyncio.gather(migrate(database.owner_url), migrate(database.owner_url))
    await migrate(database.owner_url)


@pytest.mark.parametrize("table", LEDGER_TABLES)
@pytest.mark.parametrize("statement", ["update {} set {} = {}", "delete from {}", "truncate {}"])
async def test_nobody_changes_the_ledger(engine: AsyncEngine, owner_engine: AsyncEngine, table: str, statement: str):
    """The owner is refused by a trigger even where no row matches, the application for lack of the right."""
    column = LEDGER_TABLES[table]
    sql = text(statement.format(table, column, column))
    with pytest.raises(IntegrityError, match="append-only"):
        async with owner_engine.begin() as connection:
            await connection.execute(sql)
    with pytest.raises(DBAPIError, match="permission denied"):
        async with engine.begin() as connection:
            await connection.execute(sql)


@pytest.mark.parametrize(
    "statement",
    [
        "update decision set ticket_until = null",
        "update grant_history set event = event",
        "update delivery set at = at",
        "update pseudonym set pseudonym = pseudonym",
        "update activation set version = version",
        *(
            f"delete from {table}"
            for table in (
                "account", "activation", "auditor_token", "client", "consent_grant", "decision", "delivery", "grant_history",
                "grant_item", "grant_use", "institution", "loan", "model", "person_link", "pseudonym", "subject",
            )
        ),
    ],
)  # fmt: skip
async def test_the_application_rewrites_no_past(engine: AsyncEngine, statement: str):
    """What was granted, counted, decided and put in force stays: a hole in the service must not be able to unmake it."""
    with pytest.raises(DBAPIError, match="permission denied"):
        async with engine.begin() as connection:
            await connection.execute(text(statement))


async def test_the_application_cannot_switch_a_trigger_off(engine: AsyncEngine):
    """The application's role owns nothing."""
    for statement in ("alter table ledger_record disable trigger all", "drop table ledger_head", "create table mine (x int)"):
        with pytest.raises(DBAPIError, match=r"must be owner|permission denied"):
            async with engine.begin() as connection:
                await connection.execute(text(statement))


async def test_a_database_that_is_away_is_unavailable(database, engine: AsyncEngine, owner_engine: AsyncEngine):
    """A missing server, an ended session and a wrong password are DatabaseUnavailable; a wrong statement is not."""
    absent = create_engine(database.app_url.replace("host=/tmp", "host=/nonexistent"))
    wrong = create_engine(database.app_url.replace("consent_app:", "consent_app:x"))
    for away in (absent, wrong):
        with pytest.raises(DatabaseUnavailable):
            async with db.read(away) as connection:
                await connection.execute(text("select 1"))
        await away.dispose()
    with pytest.raises(DatabaseUnavailable):  # noqa: PT012
        async with db.read(engine) as connection:
            pid = await connection.scalar(text("select pg_backend_pid()"))
            async with owner_engine.begin() as owner:
                await owner.execute(text("select pg_terminate_backend(:pid)"), {"pid": pid})
            await connection.execute(text("select 1"))
    async with db.read(engine) as connection:
        assert await connection.scalar(text("select 1")) == 1
    with pytest.raises(DBAPIError):
        async with db.read(engine) as connection:
            await connection.execute(text("select nothing"))


async def test_a_lock_that_is_not_granted_is_unavailable(engine: AsyncEngine):
    """A wait for a lock ends by lock_timeout as DatabaseUnavailable."""
    async with engine.begin() as holder:
        await holder.execute(text("select pg_advisory_xact_lock(7)"))
        with pytest.raises(DatabaseUnavailable), db.guard():  # noqa: PT012
            async with engine.begin() as waiter:
                await waiter.execute(text("set local lock_timeout = '10ms'"))
                await waiter.execute(text("select pg_advisory_xact_lock(7)"))


async def test_errors_quote_no_values(engine: AsyncEngine):
    """Neither parameters nor the row at fault appear in an error or its causes."""
    row = {"id": "00000000-0000-0000-0000-000000000001", "uscc": "SECRETVALUE0000001", "name": "SECRETNAME"}
    insert = text("insert into subject (id, kind, uscc, name) values (:id, 'enterprise', :uscc, :name)")
    with pytest.raises(IntegrityError) as caught:  # noqa: PT012
        async with engine.begin() as connection:
            await connection.execute(insert, row)
            await connection.execute(insert, row | {"id": "00000000-0000-0000-0000-000000000002"})
    error: BaseException | None = caught.value
    while error is not None:
        assert "SECRET" not in str(error)
        error = error.__cause__


async def test_a_database_that_hangs_is_unavailable(database):
    """A frozen backend neither answers nor refuses; the caller hears so within the bound, and a new connection serves again."""
    engine = create_engine(database.app_url, answer_seconds=1)
    try:
        with pytest.raises(DatabaseUnavailable):  # noqa: PT012 - reading, freezing and thawing are one scene
            async with db.read(engine) as connection:
                backend = (await connection.execute(text("select pg_backend_pid()"))).scalar_one()
                os.kill(backend, signal.SIGSTOP)
                try:
                    await connection.execute(text("select 1"))
                finally:
                    os.kill(backend, signal.SIGCONT)
        async with db.read(engine) as connection:
            assert (await connection.execute(text("select 1"))).scalar_one() == 1
    finally:
        await engine.dispose()


async def test_a_driver_that_lost_its_connection_is_unavailable(engine: AsyncEngine):
    """A connection that cannot be used any more, however SQLAlchemy words it; a value of the wrong type is not that."""

    async def use_twice() -> None:
        async with engine.connect() as connection, connection.begin():
            driver = (await connection.get_raw_connection()).driver_connection
            busy = asyncio.ensure_future(driver.execute("select pg_sleep(5)"))
            await asyncio.sleep(0.05)
            try:
                await connection.execute(text("select 1"))
            finally:
                busy.cancel()
                await asyncio.gather(busy, return_exceptions=True)

    with pytest.raises(DatabaseUnavailable), db.guard():
        await use_twice()
    async with engine.connect() as connection:
        with pytest.raises(DBAPIError), db.guard():
            await connection.execute(text("select cast(:n as bigint)"), {"n": "x"})
