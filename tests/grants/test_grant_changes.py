"""Narrowing, revoking, holding and listing, on real PostgreSQL; after each test the whole ledger is verified."""

import json
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from grants_world import counts, issue_token, live_tokens, records, reload, version_of
from sample_parties import PERSON_ITEM, Parties, make_detail
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from consent.db import read
from consent.errors import Conflict, InvalidRequest, NotFound
from consent.grants import service
from consent.grants.model import Actor, effective_status
from consent.grants.schema import authorization_details
from consent.ledger.writer import write
from consent.parties import service as parties_service

pytestmark = pytest.mark.usefixtures("ledger")

BANK = Actor.institution("bank-a")


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
