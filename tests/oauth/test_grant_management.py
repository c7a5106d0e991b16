"""FAPI Grant Management: a consent that makes a grant, takes the place of one, or is added to one."""

import asyncio
from typing import Any

import httpx
import pytest
from oauth_world import ITEM, SECOND_ITEM, Caller, answer, as_visitor, decide, detail, records
from sample_parties import Parties
from sqlalchemy.ext.asyncio import AsyncEngine

from consent.db import read
from consent.errors import Conflict, ConsentError, Forbidden
from consent.grants import service as grants
from consent.grants import store as grants_store
from consent.grants.model import Actor
from consent.ledger.writer import write
from consent.oauth import authorization
from consent.parties.access import SubjectVisitor

pytestmark = pytest.mark.usefixtures("ledger")
THIRD_ITEM = "N21-03-01"


async def consent(engine: AsyncEngine, bank: Caller, visitor: SubjectVisitor, *details: dict[str, Any], **members: Any) -> dict[str, Any]:
    """All of the details granted, and the tokens for it."""
    pushed = await bank.push(*details, **members)
    assert pushed.status_code == 201, pushed.text
    url = await decide(engine, pushed.json()["request_uri"], visitor, [one["identifier"] for one in details], bank.client_id)
    reply = await bank.redeem(answer(url)["code"])
    assert reply.status_code == 200, reply.text
    return dict(reply.json())


@pytest.fixture
async def first(engine: AsyncEngine, bank: Caller, visitor: SubjectVisitor) -> dict[str, Any]:
    """A grant of two items."""
    return await consent(engine, bank, visitor, detail(), detail(SECOND_ITEM), grant_management_action="create")


def items_of(body: dict[str, Any]) -> list[str]:
    return [one["datatypes"][0] for one in body["authorization_details"]]


async def is_active(bank: Caller, token: str) -> bool:
    return bool((await bank.post("/oauth/introspect", {"token": token})).json()["active"])


async def test_replace(engine: AsyncEngine, bank: Caller, visitor: SubjectVisitor, first: dict[str, Any]) -> None:
    """Same id, next version, only what was ticked this time; the former token is dead, the refresh token stands for the new state."""
    members = {"grant_management_action": "replace", "grant_id": first["grant_id"]}
    body = await consent(engine, bank, visitor, detail(fields=[f"{ITEM}.03"]), **members)
    assert body["grant_id"] == first["grant_id"]
    assert items_of(body) == [ITEM]
    assert body["authorization_details"][0]["fields"] == [f"{ITEM}.03"]
    assert not await is_active(bank, first["access_token"])
    assert await is_active(bank, body["access_token"])
    record = (await records(engine, "grant.replaced"))[-1]
    assert (record["grant"], record["version"], [one["identifier"] for one in record["details"]]) == (first["grant_id"], 2, ["d3"])
    async with read(engine) as connection:
        grant = await grants_store.grant(connection, first["grant_id"])
    assert grant is not None
    assert [(item.seq, item.status) for item in grant.items] == [(1, "revoked"), (2, "revoked"), (3, "active")]


async def test_merge(engine: AsyncEngine, bank: Caller, visitor: SubjectVisitor, first: dict[str, Any]) -> None:
    """What was granted stays, what is asked anew for the same item, purpose and action takes its place, the rest is added."""
    members = {"grant_management_action": "merge", "grant_id": first["grant_id"]}
    body = await consent(engine, bank, visitor, detail(fields=[f"{ITEM}.03"]), detail(THIRD_ITEM), **members)
    assert sorted(items_of(body)) == sorted([SECOND_ITEM, ITEM, THIRD_ITEM])
    record = (await records(engine, "grant.merged"))[-1]
    assert [one["identifier"] for one in record["details"]] == ["d2", "d3", "d4"]
    assert (await bank.post("/oauth/introspect", {"token": body["access_token"]})).json()["grant_id"] == first["grant_id"]
    again = await consent(engine, bank, visitor, detail("N21-03-02"), **members)
    assert len(items_of(again)) == 4
    assert [one["version"] for one in await records(engine, "grant.merged")] == [2, 3]


async def test_refused_and_left_out(engine: AsyncEngine, bank: Caller, visitor: SubjectVisitor, first: dict[str, Any]) -> None:
    """Refusing the request leaves the grant as it is; what is left out of a merge stands in refused_details of the answer."""
    members = {"grant_management_action": "merge", "grant_id": first["grant_id"]}
    pushed = await bank.push(detail(THIRD_ITEM), **members)
    url = await decide(engine, pushed.json()["request_uri"], visitor, [])
    assert answer(url)["error"] == "access_denied"
    assert await is_active(bank, first["access_token"])
    pushed = await bank.push(detail(THIRD_ITEM), detail("N21-03-02"), **members)
    url = await decide(engine, pushed.json()["request_uri"], visitor, [f"x-{THIRD_ITEM}"])
    body = (await bank.redeem(answer(url)["code"])).json()
    assert [one["datatypes"] for one in body["refused_details"]] == [["N21-03-02"]]
    body = await consent(engine, bank, visitor, detail("N21-03-02"), **members)  # places of what was refused are not used again
    assert [one["identifier"] for one in (await records(engine, "grant.merged"))[-1]["details"]] == ["d1", "d2", "d3", "d5"]


async def test_grants_of_others(
    engine: AsyncEngine, bank: Caller, other_bank: Caller, visitor: SubjectVisitor, first: dict[str, Any]
) -> None:
    """Another client's grant answers like one that never was; so does one that ended."""
    for action in ("replace", "merge"):
        for who, grant_id in ((other_bank, first["grant_id"]), (bank, "A" * 22), (bank, "x" * 500), (bank, "日本")):
            reply = await who.push(grant_management_action=action, grant_id=grant_id)
            assert (reply.status_code, reply.json()["error"]) == (400, "invalid_grant_id")
    for members in ({"grant_id": first["grant_id"]}, {"grant_management_action": "replace"}, {"grant_management_action": "update"},
                    {"grant_management_action": "create", "grant_id": first["grant_id"]}):  # fmt: skip
        reply = await bank.push(**members)
        assert (reply.status_code, reply.json()["error"]) == (400, "invalid_request")
    async with write(engine) as tx:
        await grants.revoke(tx, first["grant_id"], Actor.institution("bank-a"))
    reply = await bank.push(grant_management_action="merge", grant_id=first["grant_id"])
    assert reply.json()["error"] == "invalid_grant_id"


async def test_only_whoever_granted_may_change(engine: AsyncEngine, bank: Caller, parties: Parties, first: dict[str, Any]) -> None:
    """Another enterprise cannot answer the request, whatever link she was given."""
    pushed = await bank.push(detail(), grant_management_action="replace", grant_id=first["grant_id"])
    with pytest.raises(Forbidden):
        await decide(engine, pushed.json()["request_uri"], as_visitor(parties.other_enterprise.id), [f"x-{ITEM}"])
    assert await is_active(bank, first["access_token"])


async def test_the_grant_ends_meanwhile(engine: AsyncEngine, bank: Caller, visitor: SubjectVisitor, first: dict[str, Any]) -> None:
    """A grant that was revoked or held between the request and the consent is not brought back."""
    for _ in range(2):
        pushed = await bank.push(detail(), grant_management_action="replace", grant_id=first["grant_id"])
        async with write(engine) as tx:
            held = await grants.suspend(tx, first["grant_id"])
        with pytest.raises(Conflict):
            await decide(engine, pushed.json()["request_uri"], visitor, [f"x-{ITEM}"])
        async with write(engine) as tx:
            await grants.resume(tx, held.id)
    pushed = await bank.push(detail(), grant_management_action="replace", grant_id=first["grant_id"])
    async with write(engine) as tx:
        await grants.revoke(tx, first["grant_id"], Actor.institution("bank-a"))
    with pytest.raises(ConsentError):
        await decide(engine, pushed.json()["request_uri"], visitor, [f"x-{ITEM}"])
    assert await records(engine, "grant.replaced") == []


async def test_identifiers_stay_unique(engine: AsyncEngine, bank: Caller, visitor: SubjectVisitor, first: dict[str, Any]) -> None:
    """Two details of one grant never have one identifier."""
    members = {"grant_management_action": "merge", "grant_id": first["grant_id"]}
    pushed = await bank.push(detail(THIRD_ITEM, identifier=f"x-{ITEM}"), **members)
    with pytest.raises(ConsentError) as refused:
        await decide(engine, pushed.json()["request_uri"], visitor, [f"x-{ITEM}"])
    assert refused.value.code == "grant.identifier_taken"


async def test_merges_race(engine: AsyncEngine, bank: Caller, visitor: SubjectVisitor, first: dict[str, Any]) -> None:
    """Two consents to one grant at once both count, one after the other."""
    members = {"grant_management_action": "merge", "grant_id": first["grant_id"]}
    uris = [(await bank.push(detail(item), **members)).json()["request_uri"] for item in (THIRD_ITEM, "N21-03-02")]
    await asyncio.gather(decide(engine, uris[0], visitor, [f"x-{THIRD_ITEM}"]), decide(engine, uris[1], visitor, ["x-N21-03-02"]))
    merged = await records(engine, "grant.merged")
    assert [one["version"] for one in merged] == [2, 3]
    assert len(merged[-1]["details"]) == 4


async def test_several_grants_of_one_pair(
    engine: AsyncEngine, http: httpx.AsyncClient, bank: Caller, visitor: SubjectVisitor, first: dict[str, Any]
) -> None:
    """Without an action a second grant stands beside the first."""
    second = await consent(engine, bank, visitor, detail())
    assert second["grant_id"] != first["grant_id"]
    assert await is_active(bank, first["access_token"])
    assert await is_active(bank, second["access_token"])


async def test_page_says_what_becomes_of_the_grant(
    engine: AsyncEngine, bank: Caller, visitor: SubjectVisitor, first: dict[str, Any]
) -> None:
    """What the page is made from names the grant that would change."""
    pushed = await bank.push(detail(), grant_management_action="replace", grant_id=first["grant_id"])
    async with read(engine) as connection:
        loaded = await authorization.load_pushed(connection, bank.client_id, pushed.json()["request_uri"])
    assert (loaded.renewal, loaded.grant_id) == ("replace", first["grant_id"])
