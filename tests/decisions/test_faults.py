"""What cannot decide or cannot record never permits, answers 503, and leaves nothing half-written (design §5.3)."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from decisions_world import BANK, CATALOGUE, OPEN, STATUS, TAX, World, ask, evaluation, new_uscc
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from consent.db import create_engine
from consent.decisions.bundle import load_bundle
from consent.decisions.engine import OpaEngine, PolicyEngine
from consent.decisions.judge import probe
from consent.decisions.service import DecisionService
from consent.errors import DatabaseUnavailable, PolicyUnavailable
from consent.ledger.writer import LEDGER_LOCK

BUNDLE = load_bundle(CATALOGUE)


@asynccontextmanager
async def opa(answer: Callable[[Any], Any], delay: float = 0.0) -> AsyncIterator[str]:
    """A server that answers like OPA, with whatever `answer` makes of the input; not JSON at all if that is bytes."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(next(line.split(b":")[1] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")))
                asked = json.loads(await reader.readexactly(length))["input"]
                await asyncio.sleep(delay)
                made = answer(asked)
                body = made if isinstance(made, bytes) else json.dumps(made).encode()
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


@asynccontextmanager
async def serving(world: World, policy: PolicyEngine) -> AsyncIterator[DecisionService]:
    """A service on other policies."""
    await policy.start()
    service = DecisionService(world.engine, policy, CATALOGUE)
    await service.start()
    yield service
    await service.stop()
    await policy.close()


def permit(asked: Any, **changes: Any) -> Any:
    """A packed answer that permits all of the first item of each check, with changes; by a grant, where they name one."""
    yields: dict[str, Any] = {}
    trials = []
    for n, case in enumerate(asked["cases"]):
        item = asked["questions"][case["question"]]["items"][0]
        deed = {
            "outcome": "permit",
            "basis": "open",
            "fields": list(CATALOGUE.field_codes.get(item, ())),
            "withheld": [],
            "obligations": [],
        }
        deed.update((name, value) for name, value in changes.items() if name in {*deed, "more"})
        yields[str(case["question"])] = {item: deed}
        spans = [asked["spans"][span] for place, span in asked["checks"] if place == n]
        usable = [lines for _, lines in spans[0]]
        line = 1000 if changes.get("grant_id") and case["held"] else 9999
        trial = {
            "case": n,
            "usable": usable,
            "over": [],
            "decision": True,
            "outcome": "full",
            "given": {item: [1000, line, item]},
            "denied": {},
        }
        trials.append(trial | {name: value for name, value in changes.items() if name in {"decision", "given", "denied"}})
    return {
        "result": {"revision": changes.get("revision", BUNDLE.revision), "reached": {}, "reasons": {}, "yields": yields, "trials": trials}
    }


async def test_engine_that_is_down_decides_nothing(world: World) -> None:
    """503, a recorded denial with its code, and the request_id stays free for the answer that comes later."""
    await world.grant(TAX)
    async with serving(world, OpaEngine(BUNDLE, "http://127.0.0.1:9")) as service:
        with pytest.raises(PolicyUnavailable):
            await ask(service, BANK, world.enterprise, request_id="r-1")
    record = (await world.records("access.decided"))[-1]
    assert (record.data["decision"], record.data["outcome"], record.data["codes"]) == (False, "none", ["policy.unavailable"])
    assert [item["codes"] for item in record.data["items"]] == [["policy.unavailable"]]


async def test_readiness_asks_the_engine(policy: PolicyEngine) -> None:
    """An engine that is away or has nothing to say is not ready, though it answers no question with no answer."""
    await probe(policy)
    dead = OpaEngine(BUNDLE, "http://127.0.0.1:9")
    await dead.start()
    with pytest.raises(PolicyUnavailable):
        await probe(dead)
    await dead.close()
    async with opa(lambda _: {"result": []}) as url:
        silent = OpaEngine(BUNDLE, url)
        await silent.start()
        with pytest.raises(PolicyUnavailable):
            await probe(silent)
        await silent.close()


async def test_503_binds_nothing(world: World, service: DecisionService) -> None:
    """The same request_id is decided when the engine is back."""
    await world.grant(TAX)
    async with serving(world, OpaEngine(BUNDLE, "http://127.0.0.1:9")) as dead:
        with pytest.raises(PolicyUnavailable):
            await ask(dead, BANK, world.enterprise, request_id="r-1")
    assert (await ask(service, BANK, world.enterprise, request_id="r-1"))["decision"] is True


async def test_slow_engine_decides_nothing(world: World) -> None:
    """A permit that comes after the deadline is none."""
    async with opa(permit, delay=1.0) as url, serving(world, OpaEngine(BUNDLE, url)) as service:
        with pytest.raises(PolicyUnavailable):
            await ask(service, BANK, world.enterprise, [OPEN])
    assert (await world.records("access.decided"))[-1].data["codes"] == ["policy.unavailable"]


async def test_the_fake_server_can_permit(world: World) -> None:
    """The garbage below differs from this in one thing each."""
    async with opa(permit) as url, serving(world, OpaEngine(BUNDLE, url)) as service:
        assert (await ask(service, BANK, world.enterprise, [OPEN]))["decision"] is True


GARBAGE: dict[str, Callable[[Any], Any]] = {
    "not JSON": lambda _: b"<html>",
    "nothing defined": lambda _: {},
    "null": lambda _: {"result": None},
    "no answers": lambda _: {"result": []},
    "an answer too many": lambda asked: {"result": permit(asked)["result"] | {"trials": permit(asked)["result"]["trials"] * 2}},
    "an answer to another case": lambda asked: {
        "result": permit(asked)["result"] | {"trials": [{**permit(asked)["result"]["trials"][0], "case": 9}]}
    },
    "another revision": lambda asked: permit(asked, revision="0" * 16),
    "a number for true": lambda asked: permit(asked, decision=1),
    "an unknown outcome": lambda asked: permit(asked, outcome="permit-all"),
    "an unknown basis": lambda asked: permit(asked, basis="trust me"),
    "no fields": lambda asked: permit(asked, fields=[]),
    "fields of another item": lambda asked: permit(asked, fields=[f"{STATUS}.01"]),
    "fields that no item has": lambda asked: permit(asked, fields=[f"{OPEN}.99"]),
    "another item": lambda asked: permit(asked, given={STATUS: [1000, 9999, STATUS]}),
    "an unknown code": lambda asked: permit(asked, denied={OPEN: ["made.up"]}),
    "a grant that does not exist": lambda asked: permit(asked, basis="grant", grant_id="g" * 22, identifier="d1"),
    "an extra member": lambda asked: permit(asked, more=1),
}


@pytest.mark.parametrize("garbage", GARBAGE)
async def test_garbage_is_no_permit(world: World, garbage: str) -> None:
    """An answer of any other shape, or to another question, decides nothing."""
    async with opa(GARBAGE[garbage]) as url, serving(world, OpaEngine(BUNDLE, url)) as service:
        with pytest.raises(PolicyUnavailable):
            await ask(service, BANK, world.enterprise, [OPEN])
    assert [record.data["codes"] for record in await world.records("access.decided")] == [["policy.unavailable"]]


@pytest.mark.parametrize("lie", ["open", "revoked", "spent", "purpose", "fields"])
async def test_well_formed_lies_are_not_believed(world: World, service: DecisionService, lie: str) -> None:
    """An answer that the facts cannot carry is refused, however well it is formed (design §5.4)."""
    grant = await world.grant(TAX, fields=[f"{TAX}.01"], frequency={"max": 1, "per": "total"})
    if lie == "revoked":
        await world.revoke(grant)
    covered: dict[str, Any] = {"basis": "grant", "grant_id": grant.id, "identifier": "d1", "fields": [f"{TAX}.01"]}
    changes: dict[str, Any] = {"open": {}, "fields": covered | {"fields": [f"{TAX}.01", f"{TAX}.02"]}}.get(lie, covered)
    options = {"purpose": "approval"} if lie == "purpose" else {}
    if lie == "purpose":
        options = {"purpose": "marketing"}
    if lie == "spent":
        from decisions_world import PLATFORM

        assert (await ask(service, PLATFORM, world.enterprise, fields={TAX: [f"{TAX}.01"]}))["context"]["outcome"] == "full"
    async with opa(lambda asked: permit(asked, **changes)) as url, serving(world, OpaEngine(BUNDLE, url)) as lying:
        with pytest.raises(PolicyUnavailable):
            await ask(lying, BANK, world.enterprise, **options)


async def test_bad_neighbour_in_the_engine_harms_nobody(world: World) -> None:
    """One check that spoils the engine's answer to a batch: the others are decided."""
    spoiler = new_uscc()

    def answer(asked: Any) -> Any:
        return {} if any(question["more"].get("data_from") == "2001-01-01" for question in asked["questions"]) else permit(asked)

    async with opa(answer) as url, serving(world, OpaEngine(BUNDLE, url)) as service:
        checks = [service.check(BANK, evaluation(new_uscc(), [OPEN])) for _ in range(12)]
        checks.insert(5, service.check(BANK, evaluation(spoiler, [OPEN], data_from="2001-01-01")))
        replies = await asyncio.gather(*checks, return_exceptions=True)
    assert isinstance(replies.pop(5), PolicyUnavailable)
    assert all(isinstance(reply, bytes) and b'"decision":true' in reply for reply in replies)


async def test_bad_neighbour_in_the_database_harms_nobody(world: World, service: DecisionService, owner_engine: AsyncEngine) -> None:
    """One row that the database refuses: its check gets 503, the others their records."""
    unlucky = new_uscc()
    async with owner_engine.begin() as connection:
        await connection.execute(text(f"alter table decision add constraint unlucky check (identifier <> '{unlucky}')"))
    checks = [service.check(BANK, evaluation(enterprise, [OPEN])) for enterprise in [*(new_uscc() for _ in range(6)), unlucky]]
    replies = await asyncio.gather(*checks, return_exceptions=True)
    assert isinstance(replies.pop(), DatabaseUnavailable)
    assert all(isinstance(reply, bytes) for reply in replies)
    assert len(await world.records("access.decided")) == 6


async def test_database_that_is_away_answers_503(world: World, policy: PolicyEngine) -> None:
    """No connection, no decision."""
    away = create_engine("postgresql+asyncpg://consent:x@127.0.0.1:9/consent")
    service = DecisionService(away, policy, CATALOGUE)
    await service.start()
    with pytest.raises(DatabaseUnavailable):
        await ask(service, BANK, world.enterprise, [OPEN])
    await service.stop()
    await away.dispose()


async def test_connection_lost_under_the_lock_leaves_nothing(world: World, service: DecisionService, owner_engine: AsyncEngine) -> None:
    """A backend that is ended while it waits for the lock: 503, no record, no row; the next check works."""
    async with owner_engine.connect() as holder, holder.begin():
        await holder.execute(text("select pg_advisory_xact_lock(:key)"), {"key": LEDGER_LOCK})
        waiting = asyncio.create_task(ask(service, BANK, world.enterprise, [OPEN], request_id="r-1"))
        async with owner_engine.connect() as connection:
            ended = 0
            while not ended:
                await asyncio.sleep(0.01)
                ending = "select count(pg_terminate_backend(pid)) from pg_stat_activity where wait_event = 'advisory'"
                ended = int(await connection.scalar(text(f"{ending} and datname = current_database()")) or 0)
                await connection.rollback()
        with pytest.raises(DatabaseUnavailable):
            await waiting
    assert not await world.records("access.decided")
    assert (await ask(service, BANK, world.enterprise, [OPEN], request_id="r-1"))["decision"] is True


async def test_connections_lost_at_random_never_split_a_decision(world: World, service: DecisionService, owner_engine: AsyncEngine) -> None:
    """Backends are ended while checks run; each acknowledged reply has its record, and each record its decision row."""
    acknowledged: list[str] = []
    stop, progress = asyncio.Event(), asyncio.Event()

    async def hammer() -> None:
        while not stop.is_set():
            try:
                acknowledged.append((await ask(service, BANK, world.enterprise, [OPEN]))["context"]["id"])
                progress.set()
            except DatabaseUnavailable:
                await asyncio.sleep(0.005)

    hammers = [asyncio.create_task(hammer()) for _ in range(6)]
    async with owner_engine.connect() as connection:
        for n in range(10):
            progress.clear()
            await progress.wait()
            await asyncio.sleep(0.003 * n)
            ending = "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and usename <> current_user"
            await connection.execute(text(ending))
            await connection.rollback()
    stop.set()
    await asyncio.gather(*hammers)
    recorded = [record.data["id"] for record in await world.records("access.decided")]
    async with owner_engine.connect() as connection:
        rows = set((await connection.execute(text("select id from decision"))).scalars())
    assert set(recorded) == rows
    assert set(acknowledged) <= rows
    assert acknowledged
