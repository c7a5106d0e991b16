"""`consent subject erase`: refused while retention runs, complete when it does not, and no entry of the ledger changes."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
import pytest
from decisions_world import BANK, CATALOGUE, OTHER_BANK, TAX, World, rego, request
from sqlalchemy import text

from consent.decisions import schema
from consent.decisions.service import DecisionService
from consent.erasure.model import RetentionRuns
from consent.erasure.service import erase, find, holds
from consent.errors import Conflict, NotFound
from consent.grants import service as grants
from consent.grants.model import Actor
from consent.ledger.disclosure import check
from consent.ledger.proofs import prove
from consent.ledger.writer import write
from consent.parties import accounts
from consent.parties import service as parties
from consent.parties.model import InstitutionChange
from consent_audit.note import Verifier
from consent_audit.policy import Policy
from consent_audit.proof import Proof


@pytest.fixture
async def world(engine, ledger) -> World:
    """A populated world; the oracle verifies the whole ledger after each test, erased subjects and all."""
    made = World(engine)
    await made.populate()
    return made


async def do(engine, statement: str, **parameters: Any) -> None:
    async with engine.begin() as connection:
        await connection.execute(text(statement), parameters)


async def ask(world: World, caller: Any = BANK, **options: Any) -> dict[str, Any]:
    service = DecisionService(world.engine, rego(), CATALOGUE)
    await service.start()
    try:
        asked = request(world.enterprise, (TAX,), institution=caller.institution_id, **options)
        reply: dict[str, Any] = msgspec.json.decode(await service.check(caller, schema.decode_evaluation(msgspec.json.encode(asked))))
        return reply
    finally:
        await service.stop()


async def close(world: World, subject_id: UUID | None) -> UUID:
    assert subject_id is not None
    async with write(world.engine) as tx:
        await parties.change_subject(tx, subject_id, status="closed")
    return subject_id


async def age(owner_engine, **interval: int) -> None:
    """As if all grants, loans and decisions had happened so long ago; the ledger's own times cannot be changed."""
    by = timedelta(**interval)
    async with owner_engine.begin() as connection:
        for statement in (
            "update consent_grant set created_at = created_at - cast(:by as interval), ended_at = ended_at - cast(:by as interval)",
            "update grant_item set valid_until = valid_until - cast(:by as interval), ended_at = ended_at - cast(:by as interval)",
            "update decision set created_at = created_at - cast(:by as interval)",
            "update loan set changed_at = changed_at - cast(:by as interval)",
        ):
            await connection.execute(text(statement), {"by": by})


async def past_the_floor(monkeypatch) -> None:
    """Records are as old as the test; only the rules about grants and loans are tried."""
    from consent.erasure import store

    statement = str(store._HOLDS).replace("max(r.time)", "max(r.time) - interval '7 months'")
    monkeypatch.setattr(store, "_HOLDS", text(statement))


async def test_nothing_of_her_is_left_and_every_entry_stands(world: World, owner_engine, ledger, key, monkeypatch):
    """Mapping, salts, code, name, account, loan and links go; entries, proofs and the other subject's evidence stay."""
    await past_the_floor(monkeypatch)
    grant = await world.grant(TAX, identifier=world.enterprise)  # a client names its details as it likes
    await ask(world, loan="LOAN-1", request_id="r-1")
    await ask(world, OTHER_BANK, loan="LOAN-2", request_id="r-2")
    await do(world.engine, "insert into guess values ('2026-11-20', 'bank-a', :who, 'N21-05-01.01', 1)", who=world.enterprise)
    await accounts.create_account(
        world.engine, username="zhou.min", password="lotus-under-the-stone", display_name="周敏", subject_id=world.enterprise_id
    )
    async with write(world.engine) as tx:
        await grants.revoke(tx, grant.id, Actor.operator())
    subject_id = await close(world, world.enterprise_id)
    await ledger.sign_now()
    async with world.engine.connect() as connection:
        before = (await connection.execute(text("select idx, bytes from ledger_record order by idx"))).all()
        kept = await prove(connection, before[-1].idx)
    await do(owner_engine, "update consent_grant set refused = json_build_array(json_build_object('x', cast(:x as text)))", x="LOAN-1")
    await age(owner_engine, days=3 * 366)
    done = await erase(owner_engine, [subject_id])
    assert (done.subjects, len(done.indexes)) == (1, 1)
    await ledger.sign_now()
    async with owner_engine.connect() as connection:
        after = (await connection.execute(text("select idx, bytes from ledger_record order by idx"))).all()
        assert after[: len(before)] == before
        Proof.parse(kept.proof).verify(kept.record, Policy.trusting(Verifier.parse(key.vkey)))
        tables = (
            await connection.execute(text("select table_name from information_schema.tables where table_schema = 'public'"))
        ).scalars()
        for table in tables.all():
            rows = (await connection.execute(text(f"select * from {table}"))).all()
            for needle in (world.enterprise, "zhou.min", "周敏", "LOAN-1", "测试企业"):
                assert needle not in str(rows), (table, needle)
    found = await check(world.engine)
    assert (found.faults, found.redacted) == (0, done.records)
    assert found.opened > 0  # the person's own commitments
    [redaction] = await world.records("record.redacted")
    assert redaction.data["reason"] == "erasure"
    assert redaction.data["records"] == sorted(redaction.data["records"])


async def test_a_living_grant_holds_and_three_years_more(world: World, owner_engine, monkeypatch):
    """Nothing is deleted; the date is that of the grant's end and the institution's months."""
    await past_the_floor(monkeypatch)
    await world.grant(TAX, lasting=timedelta(days=30))
    subject_id = await close(world, world.enterprise_id)
    with pytest.raises(RetentionRuns) as refused:
        await erase(owner_engine, [subject_id])
    [hold] = [hold for hold in refused.value.holds if hold.why == "grant"]
    end = datetime.now(UTC) + timedelta(days=30)
    assert hold.institution == "bank-a"
    assert hold.until is not None
    assert abs(hold.until - end.replace(year=end.year + 3)) < timedelta(days=2)
    assert f"{hold.until:%Y-%m-%d}" in refused.value.en
    assert f"{hold.until:%Y-%m-%d}" in refused.value.zh
    assert (await check(world.engine)).redacted == 0
    await age(owner_engine, days=30 + 3 * 365 - 3)
    with pytest.raises(RetentionRuns):
        await erase(owner_engine, [subject_id])
    await age(owner_engine, days=5)
    assert (await erase(owner_engine, [subject_id])).subjects == 1
    # The grant had expired and nobody had revoked it: it is revoked, so that nobody comes back to it under a new pseudonym.
    approved, revoked = (await world.records("grant.approved"))[0], (await world.records("grant.revoked"))[0]
    assert approved.data["subject"] == revoked.data["subject"]


async def test_the_months_are_the_institutions(world: World, owner_engine, monkeypatch):
    """Each institution's own term counts for its own grants; less than six months cannot be agreed."""
    await past_the_floor(monkeypatch)
    async with write(world.engine) as tx:
        await parties.change_institution(tx, "bank-a", InstitutionChange(evidence_months=12), CATALOGUE)
    await world.grant(TAX, lasting=timedelta(days=30))
    subject_id = await close(world, world.enterprise_id)
    await age(owner_engine, days=30 + 360)
    assert [hold.why for hold in await holds(world.engine, subject_id)] == ["grant"]
    await age(owner_engine, days=10)
    assert await holds(world.engine, subject_id) == []


@pytest.mark.parametrize("phase", ["applied", "approved", "disbursed", "overdue"])
async def test_an_open_loan_holds_without_a_date(world: World, owner_engine, monkeypatch, phase: str):
    """There is no date while it is open; once settled there is one."""
    await past_the_floor(monkeypatch)
    statement = "insert into loan (institution_id, id, subject_id, phase) values ('bank-a', 'l-1', :subject, :phase)"
    await do(owner_engine, statement, subject=world.enterprise_id, phase=phase)
    subject_id = await close(world, world.enterprise_id)
    with pytest.raises(RetentionRuns, match="no date yet") as refused:
        await erase(owner_engine, [subject_id])
    assert refused.value.until is None
    await do(owner_engine, "update loan set phase = 'settled', changed_at = clock_timestamp()")
    with pytest.raises(RetentionRuns) as refused:
        await erase(owner_engine, [subject_id])
    assert refused.value.until is not None
    await age(owner_engine, days=3 * 366)
    assert (await erase(owner_engine, [subject_id])).subjects == 1


async def test_nothing_younger_than_six_months_goes(world: World, owner_engine):
    """The floor: her registration is of today."""
    subject_id = await close(world, world.enterprise_id)
    with pytest.raises(RetentionRuns) as refused:
        await erase(owner_engine, [subject_id])
    assert [hold.why for hold in refused.value.holds] == ["record"]
    assert refused.value.until is not None
    assert timedelta(days=180) < refused.value.until - datetime.now(UTC) < timedelta(days=185)


async def test_a_permit_given_lately_holds_and_a_denial_does_not(world: World, owner_engine, monkeypatch):
    """Whoever asks in vain, however often, does not keep her evidence alive."""
    await past_the_floor(monkeypatch)
    await ask(world, OTHER_BANK)
    assert await holds(world.engine, world.enterprise_id) == []
    await world.grant(TAX)
    await ask(world)
    assert [(hold.why, hold.institution) for hold in await holds(world.engine, world.enterprise_id)] == [
        ("grant", "bank-a"),
        ("record", "bank-a"),
    ]


async def test_who_is_not_closed_unknown_or_erased_already(world: World, owner_engine, monkeypatch):
    """An active subject, an unknown one, one erased before, and all or none."""
    await past_the_floor(monkeypatch)
    person = await close(world, world.person_id)
    with pytest.raises(Conflict, match="Close the subject first") as refused:
        await erase(owner_engine, [person, world.enterprise_id])
    assert refused.value.code == "subject.active"
    assert await find(world.engine, world.enterprise) == world.enterprise_id
    assert await find(world.engine, str(person)) == person
    for unknown in ("91330200999999999X", "x", "00000000-0000-0000-0000-000000000000"):
        with pytest.raises(NotFound):
            await find(world.engine, unknown)
    assert (await erase(owner_engine, [person])).subjects == 1
    with pytest.raises(Conflict, match="erased already"):
        await erase(owner_engine, [person])


async def test_a_person_goes_and_the_enterprise_stays(world: World, owner_engine, monkeypatch):
    """Of the record of their link her commitment can no longer be opened, and the enterprise's can."""
    await past_the_floor(monkeypatch)
    person = await close(world, world.person_id)
    done = await erase(owner_engine, [person])
    [link] = await world.records("subject.linked")
    async with world.engine.connect() as connection:
        rows = (await connection.execute(text("select members from evidence where idx = :idx"), {"idx": link.index})).scalars().all()
    assert rows == [{"enterprise": world.enterprise}]
    assert (await check(world.engine)).faults == 0
    assert done.records == 3  # registered, linked, closed


async def test_the_services_own_role_cannot_erase(world: World, monkeypatch):
    """A stolen application role leaves the evidence where it is."""
    await past_the_floor(monkeypatch)
    subject_id = await close(world, world.enterprise_id)
    with pytest.raises(Exception, match="permission denied"):
        await erase(world.engine, [subject_id])
    assert (await check(world.engine)).faults == 0


async def test_she_may_register_again(world: World, owner_engine, monkeypatch):
    """The code is free, and nothing joins the new subject to the old."""
    await past_the_floor(monkeypatch)
    await ask(world, OTHER_BANK)
    old = (await world.records("access.decided"))[-1].data["subject"]
    await erase(owner_engine, [await close(world, world.enterprise_id)])
    async with write(world.engine) as tx:
        await parties.register_subject(tx, kind="enterprise", uscc=world.enterprise, name="测试企业", level="real_name")
    await ask(world, OTHER_BANK)
    assert (await world.records("access.decided"))[-1].data["subject"] != old
