"""A request_id makes a check repeatable: the same question has one answer and one record."""

import asyncio

import pytest
from decisions_world import BANK, OPEN, OTHER_BANK, PLATFORM, STATUS, TAX, World, ask, evaluation
from sqlalchemy import text

from consent.decisions.service import DecisionService
from consent.errors import Conflict


async def test_same_request_id_gives_the_same_bytes_and_record(service: DecisionService, world: World) -> None:
    """Also after the facts changed: it is the answer to the first question."""
    grant = await world.grant(TAX)
    first = await service.check(BANK, evaluation(world.enterprise, request_id="r-1"))
    await world.revoke(grant)
    assert await service.check(BANK, evaluation(world.enterprise, request_id="r-1")) == first
    assert len(await world.records("access.decided")) == 1


async def test_spelling_does_not_matter(service: DecisionService, world: World) -> None:
    """What is compared is the request and not its bytes: fields of items in another order are the same request."""
    ways = [{TAX: [f"{TAX}.01"], STATUS: [f"{STATUS}.01"]}, {STATUS: [f"{STATUS}.01"], TAX: [f"{TAX}.01"]}]
    first, second = [await service.check(BANK, evaluation(world.enterprise, [TAX, STATUS], fields=way, request_id="r-1")) for way in ways]
    assert first == second


async def test_another_request_under_the_same_id_is_refused(service: DecisionService, world: World) -> None:
    """It would otherwise get an answer to a question that it did not ask."""
    await ask(service, BANK, world.enterprise, [OPEN], request_id="r-1")
    with pytest.raises(Conflict):
        await ask(service, BANK, world.enterprise, [TAX], request_id="r-1")
    assert len(await world.records("access.decided")) == 1


async def test_request_ids_of_two_clients_have_nothing_to_do_with_each_other(service: DecisionService, world: World) -> None:
    """Nobody can occupy or read another client's request_id."""
    first = await ask(service, BANK, world.enterprise, [OPEN], request_id="r-1")
    other = await ask(service, OTHER_BANK, world.enterprise, [OPEN], institution="bank-b", request_id="r-1")
    assert first["context"]["id"] != other["context"]["id"]


async def test_parallel_repeats_are_one_decision(service: DecisionService, twin: DecisionService, world: World) -> None:
    """Thirty at once through two services: one record, one use, the same bytes for all."""
    await world.grant(TAX, frequency={"max": 1, "per": "total"})
    asked = evaluation(world.enterprise, request_id="r-1")
    replies = await asyncio.gather(*((service, twin)[n % 2].check(PLATFORM, asked) for n in range(30)))
    assert len(set(replies)) == 1
    assert b'"decision":true' in replies[0]
    assert len(await world.records("access.decided")) == 1


async def test_denials_repeat_too(service: DecisionService, world: World) -> None:
    """A later grant does not change what was answered under that request_id."""
    denied = await service.check(BANK, evaluation(world.enterprise, request_id="r-1"))
    await world.grant(TAX)
    assert await service.check(BANK, evaluation(world.enterprise, request_id="r-1")) == denied
    assert (await ask(service, BANK, world.enterprise, request_id="r-2"))["decision"] is True


async def test_reply_is_kept_only_for_a_request_id(service: DecisionService, world: World) -> None:
    """What nobody can ask for again is not stored."""
    await ask(service, BANK, world.enterprise, [OPEN])
    await ask(service, BANK, world.enterprise, [OPEN], request_id="r-1")
    async with world.engine.connect() as connection:
        lengths = (await connection.execute(text("select length(response) from decision order by idx"))).scalars().all()
    assert lengths[0] == 0
    assert lengths[1] > 0
