"""Facts that change while checks are in flight. The ledger is the judge: `replay` runs after each test."""

import asyncio
import time
from datetime import timedelta

import pytest
from decisions_world import BANK, OPEN, OTHER_BANK, PERSON, PLATFORM, STATUS, TAX, World, ask, evaluation
from sqlalchemy import text

from consent.catalogue.load import load
from consent.decisions.engine import PolicyEngine
from consent.decisions.service import DecisionService
from consent.errors import NotAuthenticated, Unavailable
from consent.ledger.writer import LEDGER_LOCK, write
from consent.parties import service as parties
from consent.parties.model import InstitutionChange


async def test_no_permit_after_its_revocation(service: DecisionService, world: World) -> None:
    """Checks run against revocations; no record permits on a grant that an earlier record revoked (design §5.2)."""
    for _ in range(3):
        grant = await world.grant(TAX, STATUS)
        stop = asyncio.Event()

        async def hammer(stop: asyncio.Event = stop) -> int:
            permits = 0
            while not stop.is_set():
                permits += (await ask(service, BANK, world.enterprise))["decision"] is True
            return permits

        hammers = [asyncio.create_task(hammer()) for _ in range(8)]
        await decisions(world, 10)
        await world.narrow(grant, "item-1")
        revoked = await world.revoke(grant)
        await decisions(world, 10)
        stop.set()
        assert sum(await asyncio.gather(*hammers)) > 0
        permits = [record.index for record in await world.records("access.decided") if _rests_on(record.data, grant.id)]
        assert permits
        assert max(permits) < revoked


async def test_suspended_institution_gets_nothing_after_its_record(service: DecisionService, world: World) -> None:
    """The process keeps institutions by version; the recheck finds a stale one."""
    await world.grant(TAX)
    stop = asyncio.Event()

    async def hammer() -> None:
        while not stop.is_set():
            await ask(service, BANK, world.enterprise, [TAX, OPEN])

    hammers = [asyncio.create_task(hammer()) for _ in range(8)]
    await decisions(world, 10)
    async with write(world.engine) as tx:
        await parties.change_institution(tx, "bank-a", InstitutionChange(status="suspended"), load())
    suspended = tx.receipts[0].index
    await decisions(world, 10)
    stop.set()
    await asyncio.gather(*hammers)
    outcomes = {(record.index > suspended, record.data["outcome"]) for record in await world.records("access.decided")}
    assert outcomes == {(False, "full"), (True, "none")}


async def test_expiry_between_facts_and_commit_is_decided_anew(service: DecisionService, world: World) -> None:
    """A grant that ends while the check waits for the ledger's lock permits nothing."""
    await world.grant(TAX, lasting=timedelta(seconds=0.8))
    assert (await ask(service, BANK, world.enterprise))["decision"] is True
    async with world.engine.connect() as connection, connection.begin():
        await connection.execute(text("select pg_advisory_xact_lock(:key)"), {"key": LEDGER_LOCK})
        waiting = asyncio.create_task(ask(service, BANK, world.enterprise))
        await asyncio.sleep(1.0)
        assert not waiting.done()
    reply = await waiting
    assert reply["context"]["codes"] == ["grant.expired"]


async def test_counter_that_moved_is_decided_anew(world: World, policy: PolicyEngine, service: DecisionService) -> None:
    """A bank's check that waits while the platform uses the grant up answers what is true when it is recorded."""
    await world.grant(TAX, frequency={"max": 1, "per": "total"})
    slow = Held(policy)
    other = DecisionService(world.engine, slow, load())
    await other.start()
    waiting = asyncio.create_task(ask(other, BANK, world.enterprise))
    await slow.asked.wait()
    assert (await ask(service, PLATFORM, world.enterprise))["decision"] is True
    slow.go.set()
    assert (await waiting)["context"]["codes"] == ["grant.frequency_exceeded"]
    await other.stop()


async def test_grant_given_meanwhile_is_seen(world: World, policy: PolicyEngine) -> None:
    """Also what would have been denied is decided on what stands when it is recorded."""
    slow = Held(policy)
    service = DecisionService(world.engine, slow, load())
    await service.start()
    waiting = asyncio.create_task(ask(service, BANK, world.enterprise))
    await slow.asked.wait()
    await world.grant(TAX)
    slow.go.set()
    assert (await waiting)["decision"] is True
    await service.stop()


async def test_person_suspended_meanwhile_is_seen(world: World, policy: PolicyEngine) -> None:
    """Her standing is a fact of the enterprises to which she is linked: a permit that waits is decided anew."""
    await world.grant(PERSON, by="person", action="verify")
    slow = Held(policy)
    service = DecisionService(world.engine, slow, load())
    await service.start()
    waiting = asyncio.create_task(ask(service, BANK, world.enterprise, [PERSON], action="verify"))
    await slow.asked.wait()
    async with write(world.engine) as tx:
        await parties.change_subject(tx, world.person_id, status="suspended")  # type: ignore[arg-type]
    slow.go.set()
    assert (await waiting)["decision"] is False
    await service.stop()


async def test_facts_that_never_rest_end_in_503(world: World, policy: PolicyEngine) -> None:
    """A check whose facts change at every attempt is told to come back, and is recorded nowhere."""

    class Restless(Held):
        async def decide(self, checks: list[dict[str, object]]) -> list[dict[str, object]]:
            async with write(world.engine) as tx:
                await tx.connection.execute(text("update subject set version = version + 1"))
            return await self.inner.decide(checks)

    service = DecisionService(world.engine, Restless(policy), load())
    await service.start()
    with pytest.raises(Unavailable):
        await ask(service, BANK, world.enterprise)
    assert not await world.records("access.decided")
    await service.stop()


async def test_client_suspended_meanwhile_gets_nothing(world: World, policy: PolicyEngine) -> None:
    """A client whose token was good when it asked is refused once its suspension, or the loss of its scope, stands before the decision."""
    await world.grant(TAX)
    for change in ("status = 'suspended'", "status = 'active', scopes = '{grants}'"):
        slow = Held(policy)
        service = DecisionService(world.engine, slow, load())
        await service.start()
        waiting = asyncio.create_task(ask(service, BANK, world.enterprise))
        neighbour = asyncio.create_task(ask(service, OTHER_BANK, world.enterprise, institution="bank-b"))
        await slow.asked.wait()
        async with write(world.engine) as tx:
            await tx.connection.execute(text(f"update client set {change} where id = 'bank-a-client'"))
        slow.go.set()
        with pytest.raises(NotAuthenticated):
            await waiting
        assert (await neighbour)["context"]["codes"] == ["item.not_granted"]
        await service.stop()
    assert {record.data["client"] for record in await world.records("access.decided")} == {"bank-b-client"}


@pytest.mark.parametrize("kind", ["policy", "catalogue"])
async def test_release_that_is_not_in_force_decides_nothing(service: DecisionService, world: World, kind: str) -> None:
    """A process that was started with other policies, or another catalogue, than the ledger names answers 503."""
    async with write(world.engine) as tx:
        statement = text("insert into activation (kind, idx, version, sha256) values (:kind, 1, 'another', :sha256)")
        await tx.connection.execute(statement, {"kind": kind, "sha256": b"\0" * 32})
    with pytest.raises(Unavailable):
        await ask(service, BANK, world.enterprise)
    assert not await world.records("access.decided")


async def test_caller_that_went_away_harms_nobody(service: DecisionService, world: World) -> None:
    """Cancelled checks leave the queue or are recorded unanswered; their neighbours are answered."""
    tasks = [asyncio.create_task(service.check(BANK, evaluation(world.enterprise, [OPEN]))) for _ in range(40)]
    await asyncio.sleep(0)
    for task in tasks[::2]:
        task.cancel()
    await asyncio.sleep(0.01)
    for task in tasks[1::4]:
        task.cancel()
    replies = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(reply, bytes | asyncio.CancelledError) for reply in replies)
    assert sum(isinstance(reply, bytes) for reply in replies) >= 10
    assert (await ask(service, BANK, world.enterprise, [OPEN]))["decision"] is True


async def test_stopping_finishes_what_is_in_flight(world: World, policy: PolicyEngine) -> None:
    """Every caller hears something: a recorded answer or 503."""
    service = DecisionService(world.engine, policy, load())
    await service.start()
    tasks = [asyncio.create_task(service.check(BANK, evaluation(world.enterprise, [OPEN]))) for _ in range(60)]
    await decisions(world, 1)
    started = time.monotonic()
    await service.stop()
    replies = await asyncio.gather(*tasks, return_exceptions=True)
    assert time.monotonic() - started < 5
    answered = sum(isinstance(reply, bytes) for reply in replies)
    assert answered == len(await world.records("access.decided")) > 0
    assert all(isinstance(reply, bytes | Unavailable) for reply in replies)


async def decisions(world: World, more: int) -> None:
    """Wait until so many more decisions stand in the ledger."""
    async with world.engine.connect() as connection:
        count = text("select count(*) from decision")
        enough = int(await connection.scalar(count)) + more
        while int(await connection.scalar(count)) < enough:
            await connection.rollback()
            await asyncio.sleep(0.005)


def _rests_on(data: dict[str, object], grant_id: str) -> bool:
    return any(item["grant"] == grant_id for item in data["items"])  # type: ignore[attr-defined]


class Held:
    """The real policies, but each answer waits for `go`."""

    def __init__(self, inner: PolicyEngine) -> None:
        self.inner = inner
        self.revision = inner.revision
        self.asked = asyncio.Event()
        self.go = asyncio.Event()

    async def decide(self, checks: list[dict[str, object]]) -> list[dict[str, object]]:
        answers = await self.inner.decide(checks)
        self.asked.set()
        await self.go.wait()
        return answers

    async def judge(self, requests: list[dict[str, object]]) -> list[dict[str, object]]:
        return await self.inner.judge(requests)

    async def start(self) -> None:
        await self.inner.start()

    async def close(self) -> None:
        await self.inner.close()
