"""The database's clock jumps: records stay in order, a small step back costs nothing, a large one stops recording and is named."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from fault_operations import append_to
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from consent.ledger.signer import Signer
from consent.ledger.writer import ClockRefused
from consent_audit.record import decode_record

# Before pg_catalog in the search path stands a clock that can be set; every statement of the product then reads it.
# A column's default was bound to the true one when the table was made.
CLOCK = """
create schema clock;
create table clock.ahead (by interval not null);
insert into clock.ahead values ('0');
create function clock.clock_timestamp() returns timestamptz language sql volatile as
    $$ select pg_catalog.clock_timestamp() + (select by from clock.ahead) $$;
alter table ledger_head alter column time set default clock.clock_timestamp();
grant usage on schema clock to consent_app;
grant select on clock.ahead to consent_app;
"""


class Clock:
    """The clock of one database."""

    def __init__(self, owner: AsyncEngine) -> None:
        self.owner = owner

    async def set(self, ahead: timedelta) -> None:
        async with self.owner.begin() as connection:
            await connection.execute(text("update clock.ahead set by = :by"), {"by": ahead})


@pytest.fixture
async def clock(owner_engine: AsyncEngine, engine: AsyncEngine) -> Clock:
    """Installed beneath the application, which connects anew."""
    async with owner_engine.begin() as owner:
        for statement in CLOCK.split(";\n")[:-1]:
            await owner.execute(text(statement))
        name = await owner.scalar(text("select current_database()"))
        await owner.execute(text(f"alter database {name} set search_path = clock, pg_catalog, public"))
    await engine.dispose()
    return Clock(owner_engine)


async def records(engine: AsyncEngine) -> list[datetime]:
    """The times that the records themselves say."""
    async with engine.connect() as connection:
        rows = (await connection.execute(text("select bytes from ledger_record order by idx"))).scalars()
        return [datetime.fromisoformat(decode_record(row).time) for row in rows]


async def test_it_is_the_clock_that_the_product_reads(engine: AsyncEngine, ledger: Signer, clock: Clock) -> None:
    """What follows sets the true thing."""
    await clock.set(timedelta(days=3))
    await append_to(engine)
    assert (await records(engine))[-1] > datetime.now(UTC) + timedelta(days=2)


@pytest.mark.parametrize("back", [timedelta(seconds=1), timedelta(minutes=4, seconds=50)])
async def test_a_small_step_back(engine: AsyncEngine, ledger: Signer, clock: Clock, back: timedelta) -> None:
    """The ledger's time stands still until the clock has caught up; heads are signed meanwhile."""
    await append_to(engine)
    newest = (await records(engine))[-1]
    await clock.set(-back)
    for _ in range(3):
        await append_to(engine)
        head = await ledger.sign_now()
        assert head is not None
        assert head.size == len(await records(engine))
    times = await records(engine)
    assert times[-9:] == [newest] * 9
    await clock.set(timedelta(0))
    await append_to(engine)
    assert all(earlier <= later for earlier, later in pairwise(await records(engine)))


async def test_a_large_step_back(engine: AsyncEngine, ledger: Signer, clock: Clock) -> None:
    """Nothing is recorded, and the error says what to set right; with the clock set right it goes on by itself."""
    await append_to(engine)
    before = await records(engine)
    await clock.set(-timedelta(minutes=5, seconds=30))
    for _ in range(3):
        with pytest.raises(ClockRefused, match="clock is over five minutes behind"):
            await append_to(engine)
    assert await records(engine) == before
    assert await ledger.sign_now() is not None
    await clock.set(timedelta(0))
    await append_to(engine)
    assert len(await records(engine)) > len(before)


async def test_a_jump_ahead_and_back(engine: AsyncEngine, ledger: Signer, clock: Clock) -> None:
    """A day ahead by mistake is recorded as it is; putting it right is a large step back, and refused for that day."""
    await clock.set(timedelta(days=1))
    await append_to(engine)
    head = await ledger.sign_now()
    await clock.set(timedelta(0))
    with pytest.raises(ClockRefused):
        await append_to(engine)
    assert await ledger.sign_now() == head
    await clock.set(timedelta(days=1, seconds=1))
    await append_to(engine)
    later = await ledger.sign_now()
    assert later is not None
    assert head is not None
    assert later.size > head.size


async def test_the_loop_signs_on_behind_a_head_of_the_future(engine: AsyncEngine, key, ledger: Signer, clock: Clock) -> None:
    """A head that a wrong clock dated into the future does not hold up the next one."""
    await clock.set(timedelta(minutes=4))
    await append_to(engine)
    await ledger.sign_now()
    await clock.set(timedelta(0))
    await append_to(engine)
    await ledger._round()
    async with engine.connect() as connection:
        assert await connection.scalar(text("select max(size) from ledger_head")) == len(await records(engine))
