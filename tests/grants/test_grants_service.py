"""Use cases on grants, on real PostgreSQL; after each test the whole ledger is verified."""

import json
import re
import secrets
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from sample_parties import EITHER_ITEM, NOTICE, PERSON_ITEM, Parties, make_detail
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from consent.catalogue.load import load
from consent.db import read
from consent.errors import Conflict, Forbidden, InvalidRequest, NotFound
from consent.grants import service
from consent.grants.model import Actor, Notice, effective_status
from consent.grants.schema import authorization_details, grant_body, refused_details
from consent.ledger.writer import write
from consent.parties import service as parties_service
from consent.parties import store as parties_store
from consent.parties.model import InstitutionChange
from consent.parties.pseudonyms import pseudonym_for

pytestmark = pytest.mark.usefixtures("ledger")

BANK = Actor.institution("bank-a")


async def records(engine: AsyncEngine) -> list[dict]:
    """Type and data of all records of grants."""
    async with read(engine) as connection:
        rows = (await connection.execute(text("select bytes from ledger_record order by idx"))).scalars()
        found = [json.loads(row) for row in rows]
    return [record for record in found if record["type"].startswith("grant.")]


async def counts(engine: AsyncEngine) -> tuple[int, ...]:
    """Records, grants, items, history: what a refused act must leave alone."""
    async with read(engine) as connection:
        tables = ("ledger_record", "consent_grant", "grant_item", "grant_history")
        return tuple([(await connection.execute(text(f"select count(*) from {table}"))).scalar_one() for table in tables])


async def version_of(engine: AsyncEngine, subject_id) -> int:
    """The subject's version."""
    async with read(engine) as connection:
        subject = await parties_store.subject(connection, subject_id)
    assert subject is not None
    return subject.version


async def reload(engine: AsyncEngine, grant_id: str):
    """The grant as stored."""
    async with read(engine) as connection:
        return await service.get(connection, grant_id, Actor.operator())


async def issue_token(engine: AsyncEngine, grant_id: str | None) -> None:
    """An access token that points to the grant."""
    async with engine.begin() as connection:
        await connection.execute(
            text("""
                insert into access_token (hash, client_id, grant_id, scopes, cnf, issued_at, expires_at)
                values (:hash, 'bank-a-client', :grant_id, '{}', '{"jkt":"x"}', now(), now() + interval '5 minutes')
            """),
            {"hash": secrets.token_bytes(32), "grant_id": grant_id},
        )


async def live_tokens(engine: AsyncEngine) -> int:
    """How many tokens are not revoked."""
    async with read(engine) as connection:
        return (await connection.execute(text("select count(*) from access_token where revoked_at is null"))).scalar_one()


# ---------------------------------------------------------------- approve
async def test_approved_grant_reads_back_as_it_was_chosen(engine: AsyncEngine, parties: Parties, approve, details) -> None:
    """Chosen details stand exactly as asked; what was left out stands beside them with a code; a required one is named unmet."""
    grant = await approve(approved={"tax", "arrears"})
    assert await reload(engine, grant.id) == grant
    assert re.fullmatch(r"[A-Za-z0-9_-]{22}", grant.id)
    body = grant_body(grant, datetime.now(UTC))
    wire = [json.loads(msgspec.json.encode(detail)) for detail in details]
    assert json.loads(msgspec.json.encode(body.authorization_details)) == [wire[0] | {"status": "active"}, wire[2] | {"status": "active"}]
    assert json.loads(msgspec.json.encode(authorization_details(grant, datetime.now(UTC)))) == [wire[0], wire[2]]
    assert json.loads(msgspec.json.encode(refused_details(grant))) == [wire[1] | {"code": "item.not_granted"}]
    assert body.unmet_required == ["grade"]
    assert (body.status, body.version, body.enterprise) == ("active", 1, parties.enterprise.uscc)


async def test_approval_is_on_record_by_position_and_pseudonym(engine: AsyncEngine, parties: Parties, approve) -> None:
    """The record names details by their place in the request, the enterprise by its pseudonym towards this bank, and the notice."""
    grant = await approve(approved={"tax", "arrears"})
    [record] = await records(engine)
    data = record["data"]
    assert data["subject"] == await pseudonym_for(engine, "bank-a", parties.enterprise.uscc)
    assert (data["grant"], data["version"], data["request"], data["by"]) == (grant.id, 1, grant.request_id, "enterprise")
    assert [detail["identifier"] for detail in data["details"]] == ["d1", "d3"]
    assert data["refused"] == [{"identifier": "d2", "item": "N21-03-01", "code": "item.not_granted"}]
    assert data["notice"] == {"version": NOTICE.version, "sha256": NOTICE.sha256.hex()}
    assert data["details"][0]["frequency"] == {"max": 4, "per": "day"}
    assert data["details"][0]["valid_until"] == "2040-01-01T00:00:00.000Z"
    raw = json.dumps(record, ensure_ascii=False)
    assert not re.search(f'{parties.enterprise.uscc}|{parties.enterprise_id}|示例|"tax"|arrears', raw)


async def test_approval_raises_the_subjects_version(engine: AsyncEngine, parties: Parties, approve) -> None:
    """A decision that is being made on the former facts is made again."""
    before = await version_of(engine, parties.enterprise_id)
    await approve()
    assert await version_of(engine, parties.enterprise_id) == before + 1


async def test_enterprise_cannot_grant_a_persons_item(engine: AsyncEngine, approve) -> None:
    """Whatever was ticked: the row concerns a person, whose consent is an act of his own (国办发〔2024〕15号 经信息主体授权)."""
    asked = [make_detail("N21-03-04", "tax"), make_detail(PERSON_ITEM, "marriage", necessity="required"), make_detail(EITHER_ITEM, "farm")]
    grant = await approve(details=asked)
    assert [item.detail.name for item in grant.items] == ["tax", "farm"]
    assert [(entry.detail.name, entry.code) for entry in grant.refused] == [("marriage", "item.person_consent_required")]
    assert grant.unmet_required == ("marriage",)
    with pytest.raises(InvalidRequest) as caught:
        await approve(details=asked, approved={"marriage"})
    assert caught.value.code == "grant.nothing_approved"


async def test_person_grants_her_own_items_only(engine: AsyncEngine, parties: Parties, approve) -> None:
    """Her act leaves the enterprise's items alone, and both versions rise; the record stands under the enterprise's pseudonym."""
    asked = [make_detail("N21-03-04", "tax"), make_detail(PERSON_ITEM, "marriage"), make_detail(EITHER_ITEM, "farm")]
    before = await version_of(engine, parties.enterprise_id)
    grant = await approve(details=asked, by="person", subject_id=parties.person.id)
    assert [item.detail.name for item in grant.items] == ["marriage", "farm"]
    assert [(entry.detail.name, entry.code) for entry in grant.refused] == [("tax", "item.not_granted")]
    assert (grant.granted_by, grant.subject_id, grant.enterprise_id) == ("person", parties.person.id, parties.enterprise_id)
    assert await reload(engine, grant.id) == grant
    assert await version_of(engine, parties.enterprise_id) == before + 1
    [record] = await records(engine)
    assert record["data"]["by"] == "person"
    assert record["data"]["subject"] == await pseudonym_for(engine, "bank-a", parties.enterprise.uscc)


async def test_persons_grant_counts_only_while_she_is_linked(engine: AsyncEngine, parties: Parties, approve) -> None:
    """A former legal representative's consent says nothing about the enterprise's financing any more."""
    grant = await approve(details=[make_detail(PERSON_ITEM, "marriage")], by="person", subject_id=parties.person.id)
    async with write(engine) as tx:
        await parties_service.end_link(tx, person_id=parties.person.id, enterprise_id=parties.enterprise_id, role="legal_representative")
    assert effective_status(await reload(engine, grant.id), datetime.now(UTC)) == "suspended"


async def test_nobody_grants_for_another(engine: AsyncEngine, parties: Parties, approve) -> None:
    """Not another enterprise, not a person without a link, not a person as an enterprise, not an enterprise as a person."""
    before = await counts(engine)
    other = parties.other_enterprise.id
    for members in (
        {"subject_id": other},
        {"by": "person", "subject_id": parties.person.id, "enterprise_id": other},
        {"by": "enterprise", "subject_id": parties.person.id},
        {"by": "person"},
    ):
        with pytest.raises(Forbidden) as caught:
            await approve(**members)
        assert caught.value.code == "subject.not_linked"
    for members in (
        {"subject_id": parties.person.id, "enterprise_id": parties.person.id},
        {"subject_id": "00000000-0000-0000-0000-000000000000", "enterprise_id": "00000000-0000-0000-0000-000000000000"},
        {"client_id": parties.other_client_id},
        {"institution_id": "bank-z"},
        {"client_id": "nobody"},
    ):
        with pytest.raises(NotFound):
            await approve(**members)
    assert await counts(engine) == before


async def test_granting_needs_registration_by_real_name(engine: AsyncEngine, parties: Parties, approve) -> None:
    """国办发〔2021〕52号 注3: online only after real-name registration; a suspended subject grants nothing either."""
    for change in ({"level": "registered"}, {"level": "real_name", "status": "suspended"}):
        async with write(engine) as tx:
            await parties_service.change_subject(tx, parties.enterprise_id, **change)
        with pytest.raises(Forbidden) as caught:
            await approve()
        assert caught.value.code == "subject.not_verified"


@pytest.mark.parametrize("status", ["suspended", "cancelled"])
async def test_suspended_institution_is_granted_nothing(engine: AsyncEngine, approve, status) -> None:
    """An institution that was suspended while the page was open gets no new grant."""
    async with write(engine) as tx:
        await parties_service.change_institution(tx, "bank-a", InstitutionChange(status=status), load())
    with pytest.raises(Forbidden):
        await approve()


async def test_grant_is_suspended_with_its_institution(engine: AsyncEngine, approve) -> None:
    """No job is needed: read after the institution's suspension, the grant is suspended, and active again afterwards."""
    grant = await approve()
    for status, expected in (("suspended", "suspended"), ("active", "active"), ("rectifying", "suspended")):
        async with write(engine) as tx:
            await parties_service.change_institution(tx, "bank-a", InstitutionChange(status=status), load())
        assert effective_status(await reload(engine, grant.id), datetime.now(UTC)) == expected


async def test_wrong_approval_leaves_nothing(engine: AsyncEngine, approve) -> None:
    """An identifier that was not asked for, nothing chosen, a notice that was never published: refused, nothing half-written."""
    before = await counts(engine)
    for members, code in (
        ({"approved": {"tax", "salary"}}, "grant.identifier_unknown"),
        ({"approved": set()}, "grant.nothing_approved"),
        ({"notice": Notice(version="2026-01", sha256=bytes(32))}, "notice.unknown"),
    ):
        with pytest.raises(InvalidRequest) as caught:
            await approve(**members)
        assert caught.value.code == code
    assert await counts(engine) == before


async def test_item_that_ended_or_left_the_catalogue_is_not_granted(approve) -> None:
    """Between request and approval an item may end or be withdrawn; it then stands as refused with the reason."""
    asked = [
        make_detail("N21-03-04", "tax"),
        make_detail("N21-03-01", "ended", valid_until=datetime(2020, 1, 1, tzinfo=UTC)),
        make_detail("NB-01", "withdrawn"),
        make_detail("N21-03-03", "unknown", datatypes=("N99-01-01",)),
    ]
    grant = await approve(details=asked)
    assert [entry.code for entry in grant.refused[:2]] == ["grant.expired", "item.unknown"]
    assert [item.detail.name for item in grant.items] == ["tax"]


async def test_request_is_answered_once(engine: AsyncEngine, approve, parties: Parties) -> None:
    """The second approval of a page is a conflict, also as a refusal, and changes nothing."""
    grant = await approve()
    before = await counts(engine)
    with pytest.raises(Conflict) as caught:
        await approve(request_id=grant.request_id)
    assert caught.value.code == "request.answered"
    with pytest.raises(Conflict):
        async with write(engine) as tx:
            await service.refuse(
                tx, request_id=grant.request_id, institution_id="bank-a", enterprise_id=parties.enterprise_id, notice=NOTICE
            )
    assert await counts(engine) == before
    assert (await approve(request_id=None)).id != (await approve(request_id=None)).id


async def test_refusal_is_on_record_and_grants_nothing(engine: AsyncEngine, parties: Parties) -> None:
    """She said no: one record, no grant."""
    async with write(engine) as tx:
        await service.refuse(tx, request_id="r1", institution_id="bank-a", enterprise_id=parties.enterprise_id, notice=NOTICE)
    [record] = await records(engine)
    assert record["type"] == "grant.refused"
    assert record["data"]["subject"] == await pseudonym_for(engine, "bank-a", parties.enterprise.uscc)
    assert (await counts(engine))[1:] == (0, 0, 0)


# ---------------------------------------------------------------- narrow, revoke, suspend
async def test_narrowing_ends_items_and_the_tokens_of_the_former_version(engine: AsyncEngine, parties: Parties, approve) -> None:
    """The rest stays; the version rises; a token that stood for more is dead, other tokens are not."""
    grant, other = await approve(), await approve()
    for grant_id in (grant.id, grant.id, other.id, None):
        await issue_token(engine, grant_id)
    before = await version_of(engine, parties.enterprise_id)
    async with write(engine) as tx:
        narrowed = await service.narrow(tx, grant.id, {"grade"}, Actor.subject(parties.enterprise_id))
    assert await reload(engine, grant.id) == narrowed
    assert (narrowed.version, narrowed.status) == (2, "active")
    assert [item.status for item in narrowed.items] == ["active", "revoked", "active"]
    assert await live_tokens(engine) == 2
    assert await version_of(engine, parties.enterprise_id) == before + 1
    record = (await records(engine))[-1]
    assert record["type"] == "grant.narrowed"
    assert (record["data"]["removed"], record["data"]["remaining"], record["data"]["actor"]) == (["d2"], ["d1", "d3"], "subject")


async def test_narrowing_again_changes_nothing_and_the_last_item_revokes(engine: AsyncEngine, approve) -> None:
    """What has ended is passed over; when nothing remains, the record says revoked, not narrowed to nothing."""
    grant = await approve()
    async with write(engine) as tx:
        once = await service.narrow(tx, grant.id, {"grade"}, BANK)
    before = await counts(engine)
    async with write(engine) as tx:
        assert await service.narrow(tx, grant.id, {"grade"}, BANK) == once
    assert await counts(engine) == before
    async with write(engine) as tx:
        ended = await service.narrow(tx, grant.id, {"tax", "grade", "arrears"}, BANK)
    assert (ended.status, ended.version) == ("revoked", 3)
    assert (await records(engine))[-1]["type"] == "grant.revoked"
    async with write(engine) as tx:
        assert await service.narrow(tx, grant.id, {"tax"}, BANK) == ended


async def test_narrowing_names_items_of_the_grant(engine: AsyncEngine, approve) -> None:
    """No identifier, an unknown one, and one that was refused at the approval are each refused."""
    grant = await approve(approved={"tax", "grade"})
    for identifiers in (set(), {"salary"}, {"tax", "salary"}, {"arrears"}):
        with pytest.raises(InvalidRequest):
            async with write(engine) as tx:
                await service.narrow(tx, grant.id, identifiers, BANK)
    assert (await reload(engine, grant.id)).version == 1


async def test_revocation_ends_all_at_once_and_is_idempotent(engine: AsyncEngine, parties: Parties, approve) -> None:
    """Every item and token dies with the grant in one commit; a second revocation answers the same and records nothing."""
    grant = await approve()
    await issue_token(engine, grant.id)
    async with write(engine) as tx:
        revoked = await service.revoke(tx, grant.id, Actor.subject(parties.enterprise_id))
    assert await reload(engine, grant.id) == revoked
    assert {item.status for item in revoked.items} == {"revoked"}
    assert revoked.ended_at is not None
    assert await live_tokens(engine) == 0
    before = await counts(engine)
    async with write(engine) as tx:
        assert await service.revoke(tx, grant.id, BANK) == revoked
    assert await counts(engine) == before


async def test_foreign_and_unknown_grants_answer_alike(engine: AsyncEngine, parties: Parties, approve) -> None:
    """Another bank, another enterprise and a guess hear the same, from every use case."""
    grant = await approve()
    strangers = [(grant.id, Actor.institution("bank-b")), (grant.id, Actor.subject(parties.other_enterprise.id))]
    guesses = [(grant_id, BANK) for grant_id in ("x", "", "\0", "\ud800", "' or true --", "a" * 5000)]
    heard = set()
    for grant_id, actor in strangers + guesses:
        for act in (service.revoke, lambda tx, g, a: service.narrow(tx, g, {"tax"}, a)):
            with pytest.raises(NotFound) as caught:
                async with write(engine) as tx:
                    await act(tx, grant_id, actor)
            heard.add((str(caught.value), caught.value.zh, caught.value.code))
        for look in (service.get, service.history):
            with pytest.raises(NotFound) as caught:
                async with read(engine) as connection:
                    await look(connection, grant_id, actor)
            heard.add((str(caught.value), caught.value.zh, caught.value.code))
    assert len(heard) == 1
    assert (await reload(engine, grant.id)).version == 1


async def test_operator_holds_and_resumes(engine: AsyncEngine, approve) -> None:
    """A held grant counts for nothing and its tokens die; resumed, it is what it was, one version on; a revoked one is neither."""
    grant = await approve()
    await issue_token(engine, grant.id)
    async with write(engine) as tx:
        held = await service.suspend(tx, grant.id)
        assert await service.suspend(tx, grant.id) == held
    assert await live_tokens(engine) == 0
    assert effective_status(await reload(engine, grant.id), datetime.now(UTC)) == "suspended"
    async with write(engine) as tx:
        resumed = await service.resume(tx, grant.id)
        assert await service.resume(tx, grant.id) == resumed
    assert msgspec.structs.replace(resumed, version=1) == grant
    async with write(engine) as tx:
        await service.suspend(tx, grant.id)
        await service.revoke(tx, grant.id, BANK)
    for act in (service.suspend, service.resume):
        with pytest.raises(Conflict):
            async with write(engine) as tx:
                await act(tx, grant.id)
    types = [record["type"] for record in await records(engine)]
    assert types == ["grant.approved", "grant.suspended", "grant.resumed", "grant.suspended", "grant.revoked"]


async def test_history_tells_each_version(engine: AsyncEngine, parties: Parties, approve) -> None:
    """Version, event, actor, details and the index of the record, which is the record of that event."""
    grant = await approve(approved={"tax", "grade"})
    async with write(engine) as tx:
        await service.narrow(tx, grant.id, {"grade"}, Actor.subject(parties.enterprise_id))
        await service.revoke(tx, grant.id, BANK)
    async with read(engine) as connection:
        entries = await service.history(connection, grant.id, BANK)
        bytes_ = {row.idx: json.loads(row.bytes) for row in await connection.execute(text("select idx, bytes from ledger_record"))}
    assert [(e.version, e.event, e.actor, e.details) for e in entries] == [
        (1, "grant.approved", "subject", ("tax", "grade")),
        (2, "grant.narrowed", "subject", ("grade",)),
        (3, "grant.revoked", "institution", ("tax",)),
    ]
    assert [bytes_[e.index]["type"] for e in entries] == [e.event for e in entries]


async def test_failed_transaction_leaves_no_trace(engine: AsyncEngine, approve) -> None:
    """An error after the revocation and before its commit revokes nothing and records nothing."""
    grant = await approve()
    before = await counts(engine)

    async def revoke_two(*grant_ids: str) -> None:
        async with write(engine) as tx:
            for grant_id in grant_ids:
                await service.revoke(tx, grant_id, BANK)

    with pytest.raises(NotFound):
        await revoke_two(grant.id, "no-such-grant")
    assert await reload(engine, grant.id) == grant
    assert await counts(engine) == before


# ---------------------------------------------------------------- lists
async def test_pages_hold_each_grant_once(engine: AsyncEngine, parties: Parties, approve) -> None:
    """Walking the pages of an institution and of a subject meets every grant once, newest first for people, no other tenant's."""
    made = [await approve() for _ in range(5)]
    await approve(institution_id="bank-b", client_id="bank-b-client")
    async with read(engine) as connection:

        async def walk(list_page, party) -> list[str]:
            seen, cursor = [], None
            while True:
                page, cursor = await list_page(connection, party, cursor=cursor, limit=2)
                seen += [grant.id for grant in page]
                if cursor is None:
                    return seen

        assert sorted(await walk(service.list_of_institution, "bank-a")) == sorted(grant.id for grant in made)
        mine = await walk(service.list_of_subject, parties.enterprise_id)
        assert len(mine) == len(set(mine)) == 6
        assert [i for i in mine if i in {g.id for g in made}] == [g.id for g in reversed(made)]
        assert await walk(service.list_of_subject, parties.person.id) == []
        assert await walk(service.list_of_institution, "bank-z") == []


async def test_persons_list_survives_the_end_of_her_link(engine: AsyncEngine, parties: Parties, approve) -> None:
    """She can still see and revoke what she granted when she left the enterprise; the enterprise sees her grant not at all."""
    grant = await approve(details=[make_detail(PERSON_ITEM, "marriage")], by="person", subject_id=parties.person.id)
    async with write(engine) as tx:
        await parties_service.end_link(tx, person_id=parties.person.id, enterprise_id=parties.enterprise_id, role="legal_representative")
    async with read(engine) as connection:
        assert [g.id for g in (await service.list_of_subject(connection, parties.person.id))[0]] == [grant.id]
        assert (await service.list_of_subject(connection, parties.enterprise_id))[0] == []
    with pytest.raises(NotFound):
        async with write(engine) as tx:
            await service.revoke(tx, grant.id, Actor.subject(parties.enterprise_id))
    async with write(engine) as tx:
        assert (await service.revoke(tx, grant.id, Actor.subject(parties.person.id))).status == "revoked"


@pytest.mark.parametrize("cursor", ["", ".", "x", "1.", ".x", "-1.x", "1" * 14 + ".x", "١.x", "1.\0", "1.\ud800"])
async def test_foreign_cursor_is_refused(engine: AsyncEngine, parties: Parties, cursor: str) -> None:
    """A cursor that is not ours answers a clear error."""
    async with read(engine) as connection:
        with pytest.raises(InvalidRequest):
            await service.list_of_subject(connection, parties.enterprise_id, cursor=cursor)
        for limit in (0, -1, 201):
            with pytest.raises(InvalidRequest):
                await service.list_of_institution(connection, "bank-a", limit=limit)


async def test_expiry_needs_no_job(engine: AsyncEngine, approve) -> None:
    """The stored row never changes; the answer does, at the instant."""
    end = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=1)
    grant = await approve(details=[make_detail("N21-03-04", "tax", valid_until=end)])
    assert effective_status(grant, end - timedelta(milliseconds=1)) == "active"
    assert effective_status(grant, end) == "expired"
    assert authorization_details(grant, end) == []
