"""Granting, on real PostgreSQL; after each test the whole ledger is verified."""

import json
import re
from datetime import UTC, datetime

import msgspec
import pytest
from grants_world import counts, records, reload, version_of
from sample_parties import EITHER_ITEM, NOTICE, PERSON_ITEM, Parties, make_detail
from sqlalchemy.ext.asyncio import AsyncEngine

from consent.catalogue.load import load
from consent.errors import Conflict, Forbidden, InvalidRequest, NotFound
from consent.grants import service
from consent.grants.model import Notice, effective_status
from consent.grants.schema import authorization_details, grant_body, refused_details
from consent.ledger.writer import write
from consent.parties import service as parties_service
from consent.parties.model import InstitutionChange
from consent.parties.pseudonyms import pseudonym_for

pytestmark = pytest.mark.usefixtures("ledger")


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
        await parties_service.change_subject(tx, parties.person.id, status="suspended")
    assert effective_status(await reload(engine, grant.id), datetime.now(UTC)) == "suspended"
    async with write(engine) as tx:
        await parties_service.change_subject(tx, parties.person.id, status="active")
    assert effective_status(await reload(engine, grant.id), datetime.now(UTC)) == "active"
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


async def test_grant_is_suspended_with_its_enterprise(engine: AsyncEngine, approve, parties) -> None:
    """While the enterprise's registration is on hold its grants give nothing, and whoever reads them sees so."""
    grant = await approve()
    for change in ({"status": "suspended"}, {"status": "active", "level": "registered"}):
        async with write(engine) as tx:
            await parties_service.change_subject(tx, parties.enterprise.id, **change)
        assert effective_status(await reload(engine, grant.id), datetime.now(UTC)) == "suspended"
    async with write(engine) as tx:
        await parties_service.change_subject(tx, parties.enterprise.id, level="real_name")
    assert effective_status(await reload(engine, grant.id), datetime.now(UTC)) == "active"
