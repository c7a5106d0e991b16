"""Checks from several processes against grants that come, narrow and go all the time, at scale. The ledger is the judge."""

import asyncio
import os
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import msgspec
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

sys.path.insert(0, str(Path(__file__).parents[1] / "decisions"))

from decisions_replay import replay

from consent.errors import CallerError
from consent.grants import service as grants
from consent.grants.details import parse_details
from consent.grants.model import Actor, Notice
from consent.ledger.writer import write
from consent.parties import service as parties
from consent.parties.model import Institution, InstitutionChange
from consent_audit.record import Record
from tests.bench.world import CATALOGUE, ITEMS, PRODUCT, PURPOSE, ROOT, Place, new_code, notice_sha256
from tests.soak.soak_workers import Outcome, Task

PROCESSES = 3
SECONDS = float(os.environ.get("SOAK_SECONDS", "150"))


@pytest.mark.soak
@pytest.mark.opa
def test_no_permit_that_the_records_before_it_do_not_allow(place: Place, opa_url: str, judged: Callable[[Place], Iterator[Record]]) -> None:
    """Three processes check, one changes grants and institutions; the records, replayed in order, carry every permit and count
    (design §5.2), and each acknowledged decision has its record."""
    asyncio.run(_register_platform(place))
    task = msgspec.json.encode(Task(place.urls.app_url, opa_url, [bank.institution for bank in place.banks], place.enterprises))
    command = [sys.executable, "-m", "tests.soak.soak_workers", str(SECONDS)]
    workers = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT) for _ in range(PROCESSES)]
    try:
        for worker in workers:
            assert worker.stdin is not None
            worker.stdin.write(task)
            worker.stdin.close()
            worker.stdin = None
        changes = asyncio.run(_change(place, SECONDS))
        outcomes = [msgspec.json.decode(worker.communicate(timeout=60)[0], type=Outcome) for worker in workers]
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
    total: Counter[str] = Counter()
    for outcome in outcomes:
        total.update(outcome.outcomes)
    print(dict(total), dict(changes))
    assert min(total["full"], total["none"]) > SECONDS
    assert min(changes["granted"], changes["narrowed"], changes["revoked"], changes["standing"]) > SECONDS / 15
    seen: Counter[str] = Counter()
    replay(_counting(judged(place), seen))  # type: ignore[arg-type]
    # One that was late is recorded as a denial without being answered; nothing acknowledged is missing.
    assert sum(outcome.indexes for outcome in outcomes) <= seen["access.decided"]
    assert seen["access.decided"] - sum(outcome.indexes for outcome in outcomes) <= total["policy.unavailable"]


def _counting(records: Iterator[Record], seen: Counter[str]) -> Iterator[Record]:
    for record in records:
        seen[record.type] += 1
        yield record


async def _change(place: Place, seconds: float) -> Counter[str]:
    """Grant, narrow, revoke, and suspend and restore institutions, at random."""
    engine = place.engine()
    done: Counter[str] = Counter()
    chance = random.Random()
    live = await _live(engine)
    until = time.monotonic() + seconds
    try:
        while time.monotonic() < until:
            roll = chance.random()
            try:
                if roll < 0.05:
                    await _suspend(engine, place, chance)
                    done["standing"] += 1
                elif roll < 0.45 or not live:
                    await _grant(engine, place, chance, live)
                    done["granted"] += 1
                elif roll < 0.65:
                    grant_id, subject = chance.choice(live)
                    async with write(engine) as tx:
                        await grants.narrow(tx, grant_id, {f"item-{chance.randint(1, len(ITEMS))}"}, Actor.subject(subject))
                    done["narrowed"] += 1
                else:
                    grant_id, subject = live.pop(chance.randrange(len(live)))
                    async with write(engine) as tx:
                        await grants.revoke(tx, grant_id, Actor.subject(subject))
                    done["revoked"] += 1
            except CallerError:  # narrowed away already
                done["refused"] += 1
            await asyncio.sleep(chance.random() * 0.1)
    finally:
        await engine.dispose()
    return done


async def _live(engine: AsyncEngine) -> list[tuple[str, UUID]]:
    async with engine.connect() as connection:
        rows = await connection.execute(text("select id, subject_id from consent_grant where status = 'active'"))
        return [(row.id, row.subject_id) for row in rows]


async def _suspend(engine: AsyncEngine, place: Place, chance: random.Random) -> None:
    """Out of force for a moment; always restored."""
    institution = chance.choice(place.banks).institution
    for status in ("suspended", "active"):
        async with write(engine) as tx:
            await parties.change_institution(tx, institution, InstitutionChange(status=status), CATALOGUE)  # type: ignore[arg-type]
        await asyncio.sleep(chance.random() * 0.05)


async def _grant(engine: AsyncEngine, place: Place, chance: random.Random, live: list[tuple[str, UUID]]) -> None:
    """Some items, some with a frequency, some that end within seconds."""
    bank, enterprise = chance.choice(place.banks), chance.choice(place.enterprises)
    lasting = chance.choice([timedelta(seconds=2), timedelta(days=30)])
    wire = [
        {
            "type": "financing_data",
            "identifier": f"item-{n}",
            "actions": ["query"],
            "datatypes": [item],
            "fields": list(CATALOGUE.field_codes[item]),
            "purpose": PURPOSE,
            "product": PRODUCT,
            "necessity": "required",
            "valid_until": (datetime.now(UTC) + lasting).isoformat(),
            **({"frequency": {"max": chance.randint(1, 40), "per": "total"}} if chance.random() < 0.5 else {}),
        }
        for n, item in enumerate(ITEMS, 1)
    ]
    details = parse_details(msgspec.json.encode(wire))
    async with write(engine) as tx:
        subject = await tx.connection.scalar(text("select id from subject where uscc = :uscc"), {"uscc": enterprise})
        made = await grants.approve(
            tx,
            catalogue=CATALOGUE,
            request_id=None,
            institution_id=bank.institution,
            client_id=bank.client,
            subject_id=subject,
            enterprise_id=subject,
            by="enterprise",
            details=details,
            approved={detail.name for detail in chance.sample(details, chance.randint(1, len(details)))},
            notice=Notice(version="test-1", sha256=notice_sha256()),
        )
    live.append((made.id, subject))


async def _register_platform(place: Place) -> None:
    now = datetime.now(UTC)
    engine = place.engine()
    try:
        async with write(engine) as tx:
            platform = Institution(
                id="bench-platform",
                kind="platform",
                uscc=new_code(),
                name_zh="测试平台",
                name_en="bench-platform",
                status="active",
                agreement="2026-01",
                assessed_from=now - timedelta(days=30),
                assessed_until=now + timedelta(days=300),
                purposes=(),
                products=(),
            )
            await parties.register_institution(tx, platform, CATALOGUE)
            statement = text(
                "insert into client (id, institution_id, name, jwks, scopes)"
                " values ('bench-platform-client', 'bench-platform', 'bench-platform', '{\"keys\": []}', '{check:any}')"
            )
            await tx.connection.execute(statement)
    finally:
        await engine.dispose()
