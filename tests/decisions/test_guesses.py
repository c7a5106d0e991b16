"""Verification is no oracle: an enterprise's field is compared for one institution so often a day (国办发〔2021〕52号 注2)."""

import asyncio
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from decisions_replay import GUESSES_PER_DAY as LIMIT
from decisions_replay import Refuted, replay
from decisions_world import BANK, BUNDLE, CATALOGUE, OPEN, OTHER_BANK, OTHER_PLATFORM, PLATFORM, VERIFY, World, ask, new_uscc
from sqlalchemy import text
from test_races import Held

from consent.clock import shanghai_day
from consent.decisions.engine import PolicyEngine
from consent.decisions.service import DecisionService
from consent.ledger.writer import write
from consent.oauth.housekeeping import sweep
from consent.parties import service as parties
from consent.parties.access import Caller

FIELD, OTHER_FIELD = f"{VERIFY}.01", f"{VERIFY}.02"
SPENT = ["mode.too_many_guesses"]


async def verify(service: DecisionService, world: World, *fields: str, who: Caller = PLATFORM, **options: Any) -> dict[str, Any]:
    """The answer for the item of which these fields are compared."""
    compared = list(fields or [FIELD])
    asked = {"action": "verify", "fields": {VERIFY: compared}, "claimed_fields": compared}
    reply = await ask(service, who, world.enterprise, [VERIFY], **asked, **options)
    item: dict[str, Any] = reply["context"]["items"][0]
    return item


async def counted(world: World) -> dict[tuple[str, str], int]:
    """What is counted, by institution and field."""
    async with world.engine.connect() as connection:
        rows = await connection.execute(text("select institution_id, field, compared from guess"))
        return {(row.institution_id, row.field): row.compared for row in rows}


async def put(world: World, day: str, institution: str = "bank-a") -> None:
    """As if the limit had been reached on this day."""
    async with world.engine.begin() as connection:
        statement = text("insert into guess values (:day, :institution, :identifier, :field, :limit)")
        values = {"day": day, "institution": institution, "identifier": world.enterprise, "field": FIELD, "limit": LIMIT}
        await connection.execute(statement, values)


def test_the_oracle_has_the_policies_limit() -> None:
    """The number of this test and of settings.json is one."""
    assert BUNDLE.data["consent"]["settings"]["guesses_per_day"] == LIMIT


async def test_the_limit_fires(service: DecisionService, world: World) -> None:
    """So often a match or no match, then a denial that says why and what to do; a record of each."""
    await world.grant(VERIFY, action="verify")
    for n in range(LIMIT):
        assert (await verify(service, world))["outcome"] == "verify_only", n
    reply = await ask(service, PLATFORM, world.enterprise, [VERIFY], action="verify", fields={VERIFY: [FIELD]})
    item = reply["context"]["items"][0]
    assert (reply["decision"], reply["context"]["outcome"], reply["context"]["codes"]) == (False, "none", SPENT)
    assert (item["outcome"], item["fields"], item["codes"], item["flags"]) == ("deny", [], SPENT, [])
    assert {"zh", "en"} == reply["context"]["solution"].keys()
    assert await counted(world) == {("bank-a", FIELD): LIMIT}
    records = await world.records("access.decided")
    assert [record.data["items"][0]["outcome"] for record in records] == ["verify_only"] * LIMIT + ["deny"]


async def test_the_limit_is_each_fields_own(service: DecisionService, world: World) -> None:
    """What was compared too often is withheld; another field of the same check is compared still."""
    await world.grant(VERIFY, action="verify")
    for _ in range(LIMIT):
        await verify(service, world)
    item = await verify(service, world, FIELD, OTHER_FIELD)
    assert (item["outcome"], item["fields"]) == ("verify_only", [OTHER_FIELD])
    assert (item["withheld"], item["codes"]) == ([FIELD], SPENT)
    assert await counted(world) == {("bank-a", FIELD): LIMIT, ("bank-a", OTHER_FIELD): 1}


async def test_the_limit_is_each_pairs_own(service: DecisionService, world: World) -> None:
    """Through whichever platform, one institution has one count for one enterprise; another one has its own."""
    await world.grant(VERIFY, action="verify")
    await world.grant(VERIFY, action="verify", institution="bank-b")
    for n in range(LIMIT):
        await verify(service, world, who=(PLATFORM, OTHER_PLATFORM)[n % 2])
    assert (await verify(service, world, who=OTHER_PLATFORM))["codes"] == SPENT
    assert (await verify(service, world, institution="bank-b"))["outcome"] == "verify_only"
    world.enterprise = new_uscc()
    async with write(world.engine) as tx:
        company = await parties.register_subject(tx, kind="enterprise", uscc=world.enterprise, name="测试企业二", level="real_name")
    world.enterprise_id = company.id
    await world.grant(VERIFY, action="verify")
    assert (await verify(service, world))["outcome"] == "verify_only"


async def test_a_banks_own_check_guesses_nothing_but_is_told(service: DecisionService, world: World) -> None:
    """It shows no value, so it counts nothing; once the day's count is used up its answer is the platform's. Tickets redeemed count."""
    await world.grant(VERIFY, action="verify")
    tickets = []
    for _ in range(LIMIT + 1):
        reply = await ask(service, BANK, world.enterprise, [VERIFY], action="verify", fields={VERIFY: [FIELD]})
        tickets.append(reply["context"]["id"])
    assert await counted(world) == {}
    redeemed = [await verify(service, world, ticket=ticket) for ticket in tickets]
    assert [item["outcome"] for item in redeemed] == ["verify_only"] * LIMIT + ["deny"]
    assert redeemed[-1]["codes"] == SPENT
    assert (await verify(service, world, who=BANK))["codes"] == SPENT


async def test_detail_is_no_guess(service: DecisionService, world: World) -> None:
    """Only what is answered as match or no match counts: detail tells the value anyway, and a denial nothing."""
    await ask(service, PLATFORM, world.enterprise, [OPEN, VERIFY])
    assert await counted(world) == {}
    await world.grant(VERIFY)
    item = (await ask(service, PLATFORM, world.enterprise, [OPEN, VERIFY]))["context"]["items"][1]
    assert item["outcome"] == "verify_only"
    assert await counted(world) == {("bank-a", field): 1 for field in item["fields"]}


async def test_a_new_day_begins_anew(service: DecisionService, world: World) -> None:
    """What was compared on another day counts no more, and is not added to."""
    await world.grant(VERIFY, action="verify")
    await put(world, shanghai_day(datetime.now(UTC) - timedelta(days=1)))
    for _ in range(LIMIT):
        assert (await verify(service, world))["outcome"] == "verify_only"
    assert (await verify(service, world))["codes"] == SPENT


async def test_past_days_are_swept_and_today_is_not(service: DecisionService, world: World) -> None:
    """Counts are kept no longer than they can matter."""
    now = datetime.now(UTC)
    for days in (0, 1, 2, 40):
        await put(world, shanghai_day(now - timedelta(days=days)))
    await sweep(world.engine)
    async with world.engine.connect() as connection:
        kept = (await connection.execute(text("select day from guess order by day"))).scalars().all()
    assert kept == [shanghai_day(now - timedelta(days=1)), shanghai_day(now)]


@pytest.mark.parametrize("who", [PLATFORM, BANK], ids=["platform", "bank"])
async def test_counts_that_moved_are_decided_anew(service: DecisionService, world: World, policy: PolicyEngine, who: Caller) -> None:
    """A check that was judged before another one compared the field for the last time is judged again, the bank's own one too."""
    await world.grant(VERIFY, action="verify")
    for _ in range(LIMIT - 1):
        await verify(service, world)
    slow = Held(policy)
    other = DecisionService(world.engine, slow, CATALOGUE)
    await other.start()
    waiting = asyncio.create_task(verify(other, world, who=who))
    await slow.asked.wait()
    assert (await verify(service, world))["outcome"] == "verify_only"
    slow.go.set()
    assert (await waiting)["codes"] == SPENT
    await other.stop()


@pytest.mark.parametrize("services", [1, 2])
async def test_racing_guesses_never_exceed_the_limit(service: DecisionService, world: World, twin: DecisionService, services: int) -> None:
    """Sixty parallel checks, through one service or two, with and without its neighbours: as many comparisons as the limit allows."""
    await world.grant(VERIFY, action="verify")
    await world.grant(VERIFY, action="verify", institution="bank-b")
    running = (service, twin)[:services]
    asked = [
        verify(running[n % services], world, who=(PLATFORM, OTHER_PLATFORM)[n % 3 == 0], institution=("bank-a", "bank-b")[n // 2 % 2])
        for n in range(60)
    ]
    banks = [verify(running[n % services], world, who=(BANK, OTHER_BANK)[n % 2], institution=f"bank-{'ab'[n % 2]}") for n in range(10)]
    replies = (await asyncio.gather(*asked, *banks))[:60]
    assert Counter(item["outcome"] for item in replies) == {"verify_only": 2 * LIMIT, "deny": 60 - 2 * LIMIT}
    assert await counted(world) == {("bank-a", FIELD): LIMIT, ("bank-b", FIELD): LIMIT}


async def test_the_oracle_refuses_a_guess_too_many(service: DecisionService, world: World) -> None:
    """A record beyond the limit, had there been one, would be found by whoever reads the ledger."""
    await world.grant(VERIFY, action="verify")
    for _ in range(LIMIT):
        await verify(service, world)
    records = await world.records()
    replay(records)
    again = replace(records[-1], data={**records[-1].data, "id": "another"})
    with pytest.raises(Refuted, match="once too often"):
        replay([*records, again])
