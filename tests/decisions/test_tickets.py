"""Counted once: tickets, frequencies, single use, also when many ask at once through several services."""

import asyncio
from collections import Counter
from datetime import timedelta
from typing import Any

import pytest
from decisions_world import BANK, OPEN, OTHER_PLATFORM, PLATFORM, STATUS, TAX, World, ask, evaluation, new_uscc
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from consent.decisions.service import DecisionService
from consent.errors import InvalidRequest

SINGLE = {"max": 1, "per": "total"}


async def test_platform_redeems_a_permit_once(service: DecisionService, world: World) -> None:
    """The platform gets the field list for the bank's ticket, and nobody gets it a second time."""
    await world.grant(TAX)
    permit = (await ask(service, BANK, world.enterprise))["context"]
    redeemed = await ask(service, PLATFORM, world.enterprise, ticket=permit["id"])
    assert redeemed["decision"] is True
    assert redeemed["context"]["items"][0]["fields"] == permit["items"][0]["fields"]
    for platform in (PLATFORM, OTHER_PLATFORM):
        again = await ask(service, platform, world.enterprise, ticket=permit["id"])
        assert again["context"]["codes"] == ["ticket.invalid"]
    records = await world.records("access.decided")
    assert [record.data["redeems"] for record in records] == [None, permit["id"], None, None]
    assert [record.data["attested"] for record in records] == ["institution", "ticket", "ticket", "ticket"]


async def test_ticket_is_redeemed_once_also_in_parallel(service: DecisionService, world: World, twin: DecisionService) -> None:
    """Forty parallel redemptions through two services: one permit."""
    await world.grant(TAX)
    permit = (await ask(service, BANK, world.enterprise))["context"]
    asked = [ask((service, twin)[n % 2], PLATFORM, world.enterprise, ticket=permit["id"]) for n in range(40)]
    outcomes = Counter(reply["decision"] for reply in await asyncio.gather(*asked))
    assert outcomes == {True: 1, False: 39}


OTHERWISE: list[dict[str, Any]] = [
    {"action": "verify"},
    {"purpose": "approval"},
    {"institution": "bank-b"},
    {"items": [STATUS]},
    {"enterprise": True},
    {"ticket": "x" * 22},
]


@pytest.mark.parametrize("change", OTHERWISE, ids=lambda change: next(iter(change)))
async def test_ticket_is_for_what_it_names(service: DecisionService, world: World, change: dict[str, Any]) -> None:
    """Another action, purpose, institution, enterprise or item, or a ticket that nobody gave, redeems nothing and uses nothing up."""
    await world.grant(TAX, STATUS)
    await world.grant(TAX, STATUS, institution="bank-b")
    permit = (await ask(service, BANK, world.enterprise))["context"]
    options: dict[str, Any] = {"ticket": permit["id"], **change}
    enterprise = new_uscc() if options.pop("enterprise", False) else world.enterprise
    reply = await ask(service, PLATFORM, enterprise, options.pop("items", (TAX,)), **options)
    assert reply["context"]["outcome"] == "none"
    assert (await ask(service, PLATFORM, world.enterprise, ticket=permit["id"]))["decision"] is True


async def test_ticket_bounds_the_fields(service: DecisionService, world: World) -> None:
    """A ticket for some fields lets the platform have those alone."""
    await world.grant(TAX)
    some = [f"{TAX}.01", f"{TAX}.03"]
    permit = (await ask(service, BANK, world.enterprise, fields={TAX: some}))["context"]
    reply = await ask(service, PLATFORM, world.enterprise, ticket=permit["id"])
    assert reply["context"]["items"][0]["fields"] == some


async def test_ticket_of_a_partial_permit_holds_what_was_permitted(service: DecisionService, world: World) -> None:
    """The granted items of a partial answer can be served on its ticket, the others cannot."""
    await world.grant(TAX)
    permit = (await ask(service, BANK, world.enterprise, [TAX, STATUS]))["context"]
    assert (await ask(service, PLATFORM, world.enterprise, ticket=permit["id"]))["decision"] is True


async def test_denial_is_no_ticket(service: DecisionService, world: World) -> None:
    """The id of a denial redeems nothing, not even what is open."""
    denial = (await ask(service, BANK, world.enterprise))["context"]
    assert (await ask(service, PLATFORM, world.enterprise, ticket=denial["id"]))["context"]["codes"] == ["ticket.invalid"]


async def test_platforms_own_permit_is_no_ticket(service: DecisionService, world: World) -> None:
    """Redeeming a redemption would serve twice for one question."""
    await world.grant(TAX)
    first = (await ask(service, PLATFORM, world.enterprise))["context"]
    assert first["outcome"] == "full"
    assert (await ask(service, PLATFORM, world.enterprise, ticket=first["id"]))["context"]["codes"] == ["ticket.invalid"]


async def test_ticket_lasts_five_minutes(service: DecisionService, world: World, owner_engine: AsyncEngine) -> None:
    """At the end of the fifth minute it is spent."""
    await world.grant(TAX)
    permit = (await ask(service, BANK, world.enterprise))["context"]
    async with owner_engine.begin() as connection:
        row = (await connection.execute(text("select created_at, ticket_until from decision"))).one()
        await connection.execute(text("update decision set ticket_until = created_at"))
    world.behind = True
    assert row.ticket_until - row.created_at == timedelta(minutes=5)
    assert (await ask(service, PLATFORM, world.enterprise, ticket=permit["id"]))["context"]["codes"] == ["ticket.invalid"]


async def test_revoked_grant_is_not_saved_by_a_ticket(service: DecisionService, world: World) -> None:
    """A permit is no promise: what is revoked before the platform serves is not served."""
    grant = await world.grant(TAX)
    permit = (await ask(service, BANK, world.enterprise))["context"]
    await world.revoke(grant)
    assert (await ask(service, PLATFORM, world.enterprise, ticket=permit["id"]))["context"]["codes"] == ["grant.revoked"]


async def test_institution_redeems_nothing(service: DecisionService, world: World) -> None:
    """Only a platform redeems; a bank that sends a ticket has misunderstood something and hears so."""
    with pytest.raises(InvalidRequest) as refusal:
        await ask(service, BANK, world.enterprise, [OPEN], ticket="x" * 22)
    assert refusal.value.member == "context.ticket"


async def test_single_use_counts_at_the_platform(service: DecisionService, world: World) -> None:
    """The bank may ask as often as it likes; the platform serves once."""
    await world.grant(TAX, frequency=SINGLE)
    permits = [(await ask(service, BANK, world.enterprise))["context"] for _ in range(3)]
    assert all(permit["outcome"] == "full" for permit in permits)
    assert (await ask(service, PLATFORM, world.enterprise, ticket=permits[0]["id"]))["decision"] is True
    for reply in (
        await ask(service, PLATFORM, world.enterprise, ticket=permits[1]["id"]),
        await ask(service, PLATFORM, world.enterprise),
        await ask(service, BANK, world.enterprise),
    ):
        assert reply["context"]["codes"] == ["grant.frequency_exceeded"]


async def test_check_without_a_ticket_counts_too(service: DecisionService, world: World) -> None:
    """A platform that asks on its own word is recorded so, and uses the grant up like any other."""
    await world.grant(TAX, frequency={"max": 2, "per": "day"})
    outcomes = [(await ask(service, PLATFORM, world.enterprise))["decision"] for _ in range(3)]
    assert outcomes == [True, True, False]
    records = await world.records("access.decided")
    assert [record.data["attested"] for record in records] == ["platform"] * 3
    assert [use["used"] for record in records for use in record.data["uses"]] == [1, 2]


async def test_frequency_is_counted_exactly_by_two_services(service: DecisionService, world: World, twin: DecisionService) -> None:
    """Sixty parallel checks through two services against a limit of seven: seven permits, and the ledger counts them one by one."""
    await world.grant(TAX, frequency={"max": 7, "per": "month"})
    asked = [ask((service, twin)[n % 2], PLATFORM, world.enterprise) for n in range(60)]
    replies = await asyncio.gather(*asked)
    assert Counter(reply["decision"] for reply in replies) == {True: 7, False: 53}
    assert sorted(use["used"] for record in await world.records("access.decided") for use in record.data["uses"]) == [1, 2, 3, 4, 5, 6, 7]


async def test_other_pairs_do_not_wait(service: DecisionService, world: World) -> None:
    """Only what could count together goes one by one: a hundred enterprises are decided in batches."""
    enterprises = [new_uscc() for _ in range(100)]
    replies = await asyncio.gather(*(service.check(PLATFORM, evaluation(enterprise, [OPEN])) for enterprise in enterprises))
    assert len(replies) == 100
    times = {record.time for record in await world.records("access.decided")}
    assert len(times) < 50
