"""Use cases on parties, on real PostgreSQL, each with its record."""

import asyncio
import json
import re

import msgspec
import pytest
from sample_parties import bank, key, platform, public_jwks, register, uscc
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from consent.catalogue.load import load
from consent.db import read
from consent.errors import Conflict, InvalidRequest, NotFound
from consent.ledger.writer import write
from consent.parties import service, store
from consent.parties.model import InstitutionChange, Model, Product
from consent.parties.pseudonyms import pseudonym_for, pseudonyms_for

pytestmark = pytest.mark.usefixtures("ledger")


async def records(engine: AsyncEngine) -> list[dict]:
    """All records after the genesis."""
    async with read(engine) as connection:
        rows = (await connection.execute(text("select bytes from ledger_record order by idx offset 1"))).scalars()
        return [json.loads(row) for row in rows]


async def test_registered_institution_reads_back_and_is_on_record(engine: AsyncEngine) -> None:
    """What is stored is what was checked; the record is the full snapshot without names or code."""
    async with write(engine) as tx:
        stored = await service.register_institution(tx, bank(), load())
    async with read(engine) as connection:
        assert await store.institution(connection, "bank-a") == stored
        assert await store.institutions(connection) == [stored]
        assert await store.institution(connection, "bank-z") is None
    [record] = await records(engine)
    assert record["type"] == "institution.registered"
    assert record["data"] == {
        "institution": "bank-a",
        "kind": "bank",
        "status": "active",
        "agreement": "2026-01",
        "assessed_from": "2026-01-01T00:00:00.000Z",
        "assessed_until": "2035-12-30T00:00:00.000Z",
        "purposes": ["approval", "post_loan", "pre_loan"],
        "own_items": [],
        "products": [{"code": "tax-loan-01", "purposes": ["pre_loan"], "items": None}],
        "models": [],
        "evidence_months": 36,
    }


async def test_models_are_on_record_retire_and_keep_their_institution(engine: AsyncEngine) -> None:
    """A model is part of its institution's snapshot; one that is left out is retired, and its id never becomes another institution's."""
    model = Model(id="scoring-1", name_zh="评分模型", name_en="Scoring", items=("N21-03-04", "N21-01-01"))
    async with write(engine) as tx:
        stored = await service.register_institution(tx, bank(models=(model,)), load())
        await service.register_institution(tx, bank("bank-b", 9), load())
    async with read(engine) as connection:
        assert await store.institution(connection, "bank-a") == stored
    for models in ((), (model,)):
        async with write(engine) as tx:
            await service.change_institution(tx, "bank-a", InstitutionChange(models=models), load())
    on_record = {"model": "scoring-1", "items": ["N21-01-01", "N21-03-04"]}
    first, _, *changed = await records(engine)
    assert [record["data"]["models"] for record in (first, *changed)] == [[on_record], [], [on_record]]
    with pytest.raises(Conflict):
        async with write(engine) as tx:
            await service.change_institution(tx, "bank-b", InstitutionChange(models=(model,)), load())


@pytest.mark.parametrize("second", [bank(number=9), bank("bank-z")], ids=["same id", "same code"])
async def test_institution_is_registered_once(engine: AsyncEngine, second) -> None:
    """Neither an id nor a 统一社会信用代码 has two owners; the refused one leaves nothing, not even a record."""
    async with write(engine) as tx:
        await service.register_institution(tx, bank(), load())
    with pytest.raises(Conflict):
        async with write(engine) as tx:
            await service.register_institution(tx, second, load())
    assert len(await records(engine)) == 1


async def test_institution_does_not_begin_suspended(engine: AsyncEngine) -> None:
    """The life of an institution begins with an application or an opening."""
    with pytest.raises(InvalidRequest):
        async with write(engine) as tx:
            await service.register_institution(tx, bank(status="rectifying"), load())


async def test_change_replaces_products_and_raises_the_version(engine: AsyncEngine) -> None:
    """A decision that read version 1 can see that it is no longer so; the record is the whole new state."""
    product = Product(code="new-01", name_zh="新", name_en="New", purposes=("approval",), items=("N21-03-04", "N21-03-01"))
    async with write(engine) as tx:
        await service.register_institution(tx, bank(), load())
        await service.register_institution(tx, platform(), load())
    async with write(engine) as tx:
        changed = await service.change_institution(tx, "bank-a", InstitutionChange(status="suspended", products=(product,)), load())
        await service.change_institution(tx, "platform-a", InstitutionChange(agreement=None), load())
    async with read(engine) as connection:
        assert await store.institution(connection, "bank-a") == changed
    assert (changed.version, changed.status) == (2, "suspended")
    assert changed.products[0].items == ("N21-03-01", "N21-03-04")
    *_, one, two = await records(engine)
    assert [one["type"], two["type"]] == ["institution.changed", "platform.changed"]
    assert one["data"]["products"][0]["code"] == "new-01"


async def test_refused_change_changes_nothing(engine: AsyncEngine) -> None:
    """An unknown institution, an impossible status and an unknown purpose each leave state and ledger as they were."""
    async with write(engine) as tx:
        stored = await service.register_institution(tx, bank(), load())
    for institution_id, change, error in (
        ("bank-z", InstitutionChange(status="active"), NotFound),
        ("bank-a", InstitutionChange(status="applied"), InvalidRequest),
        ("bank-a", InstitutionChange(purposes=("resale",)), InvalidRequest),
        ("bank-a", InstitutionChange(purposes=()), InvalidRequest),  # its product needs pre_loan
    ):
        with pytest.raises(error):
            async with write(engine) as tx:
                await service.change_institution(tx, institution_id, change, load())
    async with read(engine) as connection:
        assert await store.institution(connection, "bank-a") == stored
    assert len(await records(engine)) == 1


async def test_unregistered_ids_are_found(engine: AsyncEngine) -> None:
    """What no institution has as its id is named, whatever it is; nothing asked, nothing found."""
    await register(engine)
    async with read(engine) as connection:
        assert await service.unregistered(connection, ["bank-a", "conduit-z", "bank-a", ""]) == {"conduit-z", ""}
        assert await service.unregistered(connection, []) == set()


async def test_client_is_known_by_its_public_keys(engine: AsyncEngine) -> None:
    """The record names the keys' thumbprints; the keys themselves read back as sent."""
    await register(engine)
    async with read(engine) as connection:
        client = await store.client(connection, "bank-a-client")
    assert client is not None
    assert client.jwks == public_jwks("bank-a")
    assert client.institution_kind == "bank"
    record = next(r for r in await records(engine) if r["type"] == "client.registered")
    assert record["data"]["keys"] == [key("bank-a").thumbprint()]


@pytest.mark.parametrize(
    ("members", "code"),
    [
        ({"jwks": {"keys": [key().as_dict(private=True)]}}, "jwks.private"),
        ({"jwks": {"keys": []}}, "jwks.invalid"),
        ({"redirect_uris": ["http://bank.example/cb"]}, "redirect_uri.invalid"),
        ({"scopes": ["grants", "admin"]}, "scope.invalid"),
        ({"scopes": ["check:any"]}, "scope.invalid"),
        ({"scopes": ["check", "check"]}, "scope.invalid"),
        ({"client_id": "Bank"}, "id.invalid"),
        ({"institution_id": "bank-z"}, "institution.unknown"),
        ({"client_id": "bank-a-client"}, "client.registered"),
    ],
)
async def test_unfit_client_is_refused(engine: AsyncEngine, members, code: str) -> None:
    """Private keys, weak addresses, scopes that do not exist or that only a platform may hold, unknown institutions, taken ids."""
    await register(engine)
    before = await records(engine)
    values = {"client_id": "new-client", "institution_id": "bank-a", "name": "系统", "jwks": public_jwks()} | members
    with pytest.raises((InvalidRequest, NotFound, Conflict)) as caught:
        async with write(engine) as tx:
            await service.register_client(tx, **values)
    assert caught.value.code == code
    assert await records(engine) == before


async def test_changed_client_loses_its_tokens(engine: AsyncEngine) -> None:
    """A token that was bound to a replaced key or a withdrawn scope is dead with the change."""
    await register(engine)
    async with engine.begin() as connection:
        await connection.execute(
            text("""
                insert into access_token (hash, client_id, scopes, cnf, issued_at, expires_at)
                values (sha256('t'), 'bank-a-client', '{check}', '{"jkt":"x"}', now(), now() + interval '5 minutes')
            """)
        )
    async with write(engine) as tx:
        client = await service.change_client(tx, "bank-a-client", jwks=public_jwks("rotated"), status="suspended")
    async with read(engine) as connection:
        assert await store.client(connection, "bank-a-client") == client
        assert (await connection.execute(text("select revoked_at is not null from access_token"))).scalar_one()
    assert (await records(engine))[-1]["data"]["status"] == "suspended"
    async with write(engine) as tx:
        await service.change_client(tx, "bank-a-client", status="cancelled")
    with pytest.raises(InvalidRequest):
        async with write(engine) as tx:
            await service.change_client(tx, "bank-a-client", status="active")
    with pytest.raises(NotFound):
        async with write(engine) as tx:
            await service.change_client(tx, "bank-z-client", status="active")


async def test_subject_stands_on_record_by_a_commitment_only(engine: AsyncEngine) -> None:
    """No record holds the code or the name, and two registrations cannot be joined by their commitments."""
    async with write(engine) as tx:
        one = await service.register_subject(tx, kind="sole_trader", uscc=uscc(5, "92"), name="示例个体户")
        await service.change_subject(tx, one.id, level="real_name")
    async with read(engine) as connection:
        stored = await store.subject_by_uscc(connection, uscc(5, "92"))
    assert stored == msgspec.structs.replace(one, level="real_name", version=2)
    assert not one.verified
    assert stored.verified
    first, second = await records(engine)
    assert (first["type"], second["type"]) == ("subject.registered", "subject.changed")
    assert first["data"]["commitment"] != second["data"]["commitment"]
    assert not re.search(f"{one.uscc}|{one.id}|示例", json.dumps([first, second], ensure_ascii=False))


async def test_subject_is_registered_once_and_closed_for_good(engine: AsyncEngine) -> None:
    """One code is one subject; a closed one does not come back."""
    async with write(engine) as tx:
        one = await service.register_subject(tx, kind="enterprise", uscc=uscc(5), name="示例公司")
    with pytest.raises(Conflict):
        async with write(engine) as tx:
            await service.register_subject(tx, kind="enterprise", uscc=uscc(5), name="另一家")
    async with write(engine) as tx:
        await service.change_subject(tx, one.id, status="closed")
    with pytest.raises(InvalidRequest):
        async with write(engine) as tx:
            await service.change_subject(tx, one.id, status="active")


async def test_link_joins_a_person_and_an_enterprise_and_can_be_made_again(engine: AsyncEngine) -> None:
    """A link has an end; while it stands there is one; both sides' versions rise with each change."""
    parties = await register(engine)
    link = {"person_id": parties.person.id, "enterprise_id": parties.enterprise_id, "role": "legal_representative"}
    with pytest.raises(Conflict):
        async with write(engine) as tx:
            await service.link_person(tx, **link)
    async with write(engine) as tx:
        await service.end_link(tx, **link)
    async with read(engine) as connection:
        assert await store.linked_enterprises(connection, parties.person.id) == []
    with pytest.raises(NotFound):
        async with write(engine) as tx:
            await service.end_link(tx, **link)
    async with write(engine) as tx:
        await service.link_person(tx, **link)
    async with read(engine) as connection:
        [enterprise] = await store.linked_enterprises(connection, parties.person.id)
        person = await store.subject(connection, parties.person.id)
    assert enterprise.version == person.version == 4
    stood = [record for record in await records(engine) if record["type"] in {"subject.linked", "subject.unlinked"}]
    assert [record["type"] for record in stood] == ["subject.linked", "subject.unlinked", "subject.linked"]
    assert {record["data"]["role"] for record in stood} == {"legal_representative"}
    assert len({record["data"][side] for record in stood for side in ("person", "enterprise")}) == 6  # nothing joins them but the salts
    for wrong in ({"person_id": parties.enterprise_id}, {"enterprise_id": parties.person.id}):
        with pytest.raises(NotFound):
            async with write(engine) as tx:
                await service.link_person(tx, **(link | wrong))


async def test_pseudonyms_are_random_per_institution(engine: AsyncEngine) -> None:
    """Two institutions' records of one enterprise have nothing in common; asked again, the answer is the same."""
    pairs = [("bank-a", uscc(1)), ("bank-b", uscc(1)), ("bank-a", uscc(2)), ("bank-a", uscc(1))]
    found = await pseudonyms_for(engine, pairs)
    assert len(set(found.values())) == 3
    assert all(re.fullmatch(r"p_[A-Za-z0-9_-]{22}", pseudonym) for pseudonym in found.values())
    assert await pseudonyms_for(engine, pairs) == found
    assert await pseudonym_for(engine, "bank-b", uscc(1)) == found["bank-b", uscc(1)]
    assert await pseudonyms_for(engine, []) == {}


async def test_racing_callers_get_one_pseudonym(engine: AsyncEngine) -> None:
    """Forty callers at once, half of them under the ledger's lock and asking in another order, agree on every pseudonym."""
    pairs = [("bank-a", uscc(n)) for n in range(5)]

    async def outside(turn: int) -> dict:
        return await pseudonyms_for(engine, pairs[turn % 5 :] + pairs[: turn % 5])

    async def inside(turn: int) -> dict:
        async with write(engine) as tx:
            return {pair: await pseudonym_for(tx.connection, *pair) for pair in pairs[turn % 5 :] + pairs[: turn % 5]}

    answers = await asyncio.gather(*(outside(n) if n % 2 else inside(n) for n in range(40)))
    assert all(answer == answers[0] for answer in answers)
    async with read(engine) as connection:
        assert (await connection.execute(text("select count(*) from pseudonym"))).scalar_one() == 5
