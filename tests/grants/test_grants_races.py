"""Use cases that run at once, on real PostgreSQL: some order of them explains every outcome, and the ledger tells that order."""

import asyncio
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from consent.db import read
from consent.errors import CallerError, Conflict
from consent.grants import service
from consent.grants.model import Actor, Grant
from consent.ledger.writer import write

pytestmark = pytest.mark.usefixtures("ledger")

BANK = Actor.institution("bank-a")


async def act(engine: AsyncEngine, grant_id: str, name: str) -> Grant:
    """One use case by name, in a transaction of its own."""
    async with write(engine) as tx:
        match name.split():
            case ["narrow", *identifiers]:
                return await service.narrow(tx, grant_id, identifiers, BANK)
            case ["revoke"]:
                return await service.revoke(tx, grant_id, BANK)
            case ["suspend"]:
                return await service.suspend(tx, grant_id)
            case ["resume"]:
                return await service.resume(tx, grant_id)
    raise AssertionError(name)


async def replay(engine: AsyncEngine, grant_id: str) -> tuple[str, int, set[str]]:
    """State, version and active items of a grant, from its records alone."""
    async with read(engine) as connection:
        rows = (await connection.execute(text("select bytes from ledger_record order by idx"))).scalars()
        records = [record for row in rows if (record := json.loads(row))["data"].get("grant") == grant_id]
    status, active = "", set()
    for version, record in enumerate(records, 1):
        data = record["data"]
        assert data["version"] == version
        match record["type"]:
            case "grant.approved":
                status, active = "active", {detail["identifier"] for detail in data["details"]}
            case "grant.narrowed":
                assert status != "revoked"
                assert set(data["removed"]) <= active
                active -= set(data["removed"])
                assert active == set(data["remaining"])
            case "grant.suspended":
                assert status == "active"
                status = "suspended"
            case "grant.resumed":
                assert status == "suspended"
                status = "active"
            case "grant.revoked":
                assert status != "revoked"
                status, active = "revoked", set()
    return status, len(records), active


async def stored(engine: AsyncEngine, grant_id: str) -> tuple[str, int, set[str]]:
    """The same from the tables."""
    async with read(engine) as connection:
        grant = await service.get(connection, grant_id, Actor.operator())
    return grant.status, grant.version, {f"d{item.seq}" for item in grant.items if item.status == "active"}


async def test_one_request_is_granted_once_under_parallel_approval(engine: AsyncEngine, approve) -> None:
    """Ten approvals of one page at once: one grant, nine conflicts, one record."""
    answers = await asyncio.gather(*(approve(request_id="r1") for _ in range(10)), return_exceptions=True)
    [grant] = [answer for answer in answers if isinstance(answer, Grant)]
    assert sum(isinstance(answer, Conflict) for answer in answers) == 9
    assert await replay(engine, grant.id) == await stored(engine, grant.id) == ("active", 1, {"d1", "d2", "d3"})


async def test_parallel_narrowings_lose_none(engine: AsyncEngine, approve) -> None:
    """Two people who each remove another item both succeed; the same item twice is recorded once; the last one revokes."""
    grant = await approve()
    names = ["narrow tax", "narrow grade", "narrow tax", "narrow grade"]
    await asyncio.gather(*(act(engine, grant.id, name) for name in names))
    assert await replay(engine, grant.id) == await stored(engine, grant.id) == ("active", 3, {"d3"})
    await asyncio.gather(*(act(engine, grant.id, name) for name in ("narrow arrears", "revoke")))
    assert await replay(engine, grant.id) == await stored(engine, grant.id) == ("revoked", 4, set())


async def test_revocation_and_approval_at_once_leave_both_grants_right(engine: AsyncEngine, approve) -> None:
    """Revoking the old grant while a new one is approved: the old is revoked, the new is active, whichever came first."""
    for _ in range(5):
        old = await approve()
        new, _ = await asyncio.gather(approve(), act(engine, old.id, "revoke"))
        assert (await replay(engine, old.id))[0] == (await stored(engine, old.id))[0] == "revoked"
        assert await replay(engine, new.id) == await stored(engine, new.id) == ("active", 1, {"d1", "d2", "d3"})


WORDS = st.sampled_from(["narrow tax", "narrow grade", "narrow tax arrears", "narrow tax grade arrears", "revoke", "suspend", "resume"])


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(WORDS, min_size=1, max_size=3), min_size=1, max_size=4))
async def test_any_history_can_be_replayed_from_its_records(engine: AsyncEngine, approve, rounds) -> None:
    """Whatever is done at once or in turn, the records alone give the stored state; what is active only ever gets less."""
    grant = await approve()
    before = {"d1", "d2", "d3"}
    for names in rounds:
        answers = await asyncio.gather(*(act(engine, grant.id, name) for name in names), return_exceptions=True)
        assert all(isinstance(answer, Grant | CallerError) for answer in answers)
        status, version, active = await stored(engine, grant.id)
        assert await replay(engine, grant.id) == (status, version, active)
        assert active <= before
        before = active
        if "revoke" in names:
            assert status == "revoked"
