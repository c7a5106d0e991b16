"""The code flow from the pushed request to a token that is introspected and revoked."""

import asyncio
import json
from datetime import UTC, datetime

import httpx
import pytest
from oauth_world import (
    ISSUER,
    ITEM,
    SECOND_ITEM,
    Caller,
    answer,
    as_visitor,
    decide,
    detail,
    execute,
    obtain_code,
    records,
    scalar,
)
from sample_parties import NOTICE, PERSON_ITEM, Parties, uscc
from sqlalchemy.ext.asyncio import AsyncEngine

from consent.catalogue.load import load
from consent.db import read
from consent.errors import Conflict, Forbidden, InvalidRequest, NotFound
from consent.grants import service as grants
from consent.grants.model import Actor
from consent.ledger.writer import write
from consent.oauth import authorization
from consent.parties.access import SubjectVisitor

pytestmark = pytest.mark.usefixtures("ledger")  # after each test the ledger is verified from its public bytes


async def test_from_push_to_token(engine: AsyncEngine, http: httpx.AsyncClient, bank: Caller, visitor: SubjectVisitor) -> None:
    """The details come back exactly as they were pushed, all fields spelled out, from PAR to token and introspection."""
    pushed = await bank.push(detail(), detail(SECOND_ITEM, necessity="optional"), login_hint=uscc(10))
    assert pushed.status_code == 201, pushed.text
    assert 90 <= pushed.json()["expires_in"] < 600
    url = await decide(engine, pushed.json()["request_uri"], visitor, [f"x-{ITEM}"])
    returned = answer(url)
    assert url.startswith(bank.redirect_uri + "?")
    assert (returned["state"], returned["iss"]) == ("s-1", ISSUER)
    reply = await bank.redeem(returned["code"])
    assert reply.status_code == 200
    assert reply.headers["cache-control"] == "no-store"
    body = reply.json()
    granted = detail(fields=list(load().field_codes[ITEM]))
    assert body["token_type"] == "DPoP"
    assert body["authorization_details"] == [granted]
    assert [(one["datatypes"], one["code"]) for one in body["refused_details"]] == [([SECOND_ITEM], "item.not_granted")]
    assert body["unmet_required"] == []
    assert "scope" not in body
    state = (await bank.post("/oauth/introspect", {"token": body["access_token"]})).json()
    assert (state["active"], state["cnf"], state["grant_id"]) == (True, {"jkt": bank.jkt}, body["grant_id"])
    assert state["authorization_details"] == [granted]
    assert [one["grant"] for one in await records(engine, "grant.approved")] == [body["grant_id"]]


async def test_required_and_left_out(engine: AsyncEngine, bank: Caller, visitor: SubjectVisitor) -> None:
    """A required detail that she left out is named in unmet_required; nothing is forced."""
    pushed = await bank.push(detail(), detail(SECOND_ITEM))
    url = await decide(engine, pushed.json()["request_uri"], visitor, [f"x-{ITEM}"])
    assert (await bank.redeem(answer(url)["code"])).json()["unmet_required"] == [f"x-{SECOND_ITEM}"]


async def test_refusing_all(engine: AsyncEngine, bank: Caller, visitor: SubjectVisitor) -> None:
    """Nothing ticked is access_denied with state and iss, and a record."""
    pushed = await bank.push()
    url = await decide(engine, pushed.json()["request_uri"], visitor, [])
    assert answer(url) == {"error": "access_denied", "state": "s-1", "iss": ISSUER}
    assert len(await records(engine, "grant.refused")) == 1


async def test_without_state(engine: AsyncEngine, bank: Caller, visitor: SubjectVisitor) -> None:
    """No state in, no state out."""
    pushed = await bank.push(state=None)
    assert set(answer(await decide(engine, pushed.json()["request_uri"], visitor, []))) == {"error", "iss"}


async def test_long_state(engine: AsyncEngine, bank: Caller, visitor: SubjectVisitor) -> None:
    """A state beyond 1,000 characters comes back unchanged (FAPI 2.0)."""
    state = "".join(chr(0x20 + n % 95) for n in range(2000))
    pushed = await bank.push(state=state)
    assert answer(await decide(engine, pushed.json()["request_uri"], visitor, []))["state"] == state


async def test_authorize_redirects_to_the_page_and_consumes_nothing(http: httpx.AsyncClient, bank: Caller) -> None:
    """303 to the consent page, as often as the person comes."""
    request_uri = (await bank.push()).json()["request_uri"]
    for _ in range(3):
        reply = await http.get("/oauth/authorize", params={"client_id": bank.client_id, "request_uri": request_uri})
        assert reply.status_code == 303
        assert reply.headers["location"].startswith(f"{ISSUER}/authorize/consent?")
        assert reply.headers["referrer-policy"] == "no-referrer"


async def test_second_decision_on_the_same_page(engine: AsyncEngine, bank: Caller, visitor: SubjectVisitor) -> None:
    """The request is consumed by the first decision, whatever it was."""
    for first in ([f"x-{ITEM}"], []):
        request_uri = (await bank.push()).json()["request_uri"]
        async with read(engine) as connection:
            pushed = await authorization.load_pushed(connection, bank.client_id, request_uri)
            who = await authorization.parties(connection, pushed, visitor)
        await decide(engine, request_uri, visitor, first)
        grants_before = await scalar(engine, "select count(*) from consent_grant")
        for again in ([f"x-{ITEM}"], []):
            with pytest.raises(Conflict):
                async with write(engine) as tx:
                    await authorization.complete(tx, pushed, who, catalogue=load(), issuer=ISSUER, approved=again, notice=NOTICE)
        assert await scalar(engine, "select count(*) from consent_grant") == grants_before
        with pytest.raises(NotFound):
            await decide(engine, request_uri, visitor, [f"x-{ITEM}"])


async def test_failed_approval_leaves_the_request(engine: AsyncEngine, bank: Caller, visitor: SubjectVisitor) -> None:
    """An approval that is refused changes nothing: the person may decide again."""
    request_uri = (await bank.push()).json()["request_uri"]
    with pytest.raises(InvalidRequest):
        await decide(engine, request_uri, visitor, ["never-asked"])
    assert "code" in answer(await decide(engine, request_uri, visitor, [f"x-{ITEM}"]))


async def test_expired_request_uri(engine: AsyncEngine, http: httpx.AsyncClient, bank: Caller, visitor: SubjectVisitor) -> None:
    """After its lifetime it cannot be opened; a page that was opened can be finished for some time more, then no longer."""
    request_uri = (await bank.push()).json()["request_uri"]
    await execute(engine, "update pushed_request set expires_at = clock_timestamp() - interval '1 second'")
    reply = await http.get("/oauth/authorize", params={"client_id": bank.client_id, "request_uri": request_uri})
    assert (reply.status_code, "location" in reply.headers) == (404, False)
    await execute(engine, "update pushed_request set expires_at = clock_timestamp() - interval '1201 seconds'")
    with pytest.raises(NotFound):
        await decide(engine, request_uri, visitor, [f"x-{ITEM}"])


async def test_page_opened_in_time_is_finished_later(engine: AsyncEngine, bank: Caller, visitor: SubjectVisitor) -> None:
    """A clerk who reads the notice slowly loses nothing."""
    request_uri = (await bank.push()).json()["request_uri"]
    await execute(engine, "update pushed_request set expires_at = clock_timestamp() - interval '1100 seconds'")
    assert "code" in answer(await decide(engine, request_uri, visitor, [f"x-{ITEM}"]))


async def test_login_hint_of_another_enterprise(engine: AsyncEngine, parties: Parties, bank: Caller) -> None:
    """Only the enterprise that the request names may answer it."""
    request_uri = (await bank.push(login_hint=uscc(10))).json()["request_uri"]
    with pytest.raises(Forbidden):
        await decide(engine, request_uri, as_visitor(parties.other_enterprise.id), [f"x-{ITEM}"])


async def test_person_answers_for_her_enterprise(engine: AsyncEngine, parties: Parties, bank: Caller) -> None:
    """A linked person is the granting subject, the enterprise is whose financing it is; another enterprise is not hers."""
    request_uri = (await bank.push(login_hint=uscc(10))).json()["request_uri"]
    other_uri = (await bank.push(login_hint=uscc(11))).json()["request_uri"]
    person = as_visitor(parties.person.id, "person")
    async with read(engine) as connection:
        pushed = await authorization.load_pushed(connection, bank.client_id, request_uri)
        who = await authorization.parties(connection, pushed, person)
        assert (who.by, who.subject_id, who.enterprise_id) == ("person", parties.person.id, parties.enterprise_id)
        assert authorization.approvable(pushed, load(), "person") == frozenset()
        assert authorization.approvable(pushed, load(), "enterprise") == {f"x-{ITEM}"}
        pushed = await authorization.load_pushed(connection, bank.client_id, other_uri)
        with pytest.raises(Forbidden):
            await authorization.parties(connection, pushed, person)


async def test_withdrawn_before_the_code_is_redeemed(engine: AsyncEngine, bank: Caller, visitor: SubjectVisitor) -> None:
    """A grant that is revoked between consent and redemption gives no token."""
    code = await obtain_code(engine, bank, visitor)
    grant_id = await scalar(engine, "select id from consent_grant")
    async with write(engine) as tx:
        await grants.revoke(tx, grant_id, Actor.institution("bank-a"))
    reply = await bank.redeem(code)
    assert (reply.status_code, reply.json()["error"]) == (400, "invalid_grant")
    assert await scalar(engine, "select count(*) from access_token") == 0


async def test_token_dies_with_its_grant(engine: AsyncEngine, bank: Caller, visitor: SubjectVisitor) -> None:
    """A token stands for one version of its grant: inactive at once after any change, also one whose revocation was missed."""
    pushed = await bank.push(detail(), detail(SECOND_ITEM))
    url = await decide(engine, pushed.json()["request_uri"], visitor, [f"x-{ITEM}", f"x-{SECOND_ITEM}"])
    body = (await bank.redeem(answer(url)["code"])).json()
    token = {"token": body["access_token"]}
    async with write(engine) as tx:
        await grants.narrow(tx, body["grant_id"], [f"x-{ITEM}"], Actor.institution("bank-a"))
    for _ in range(2):
        assert (await bank.post("/oauth/introspect", token)).json() == {"active": False}
        await execute(engine, "update access_token set revoked_at = null")  # as if it had been issued while the grant changed


async def test_token_issued_while_its_grant_is_narrowed(engine: AsyncEngine, bank: Caller, visitor: SubjectVisitor) -> None:
    """It stands for what was granted before, so it is inactive from the change's commit on, whichever of the two began first."""
    pushed = await bank.push(detail(), detail(SECOND_ITEM))
    url = await decide(engine, pushed.json()["request_uri"], visitor, [f"x-{ITEM}", f"x-{SECOND_ITEM}"])
    grant_id = await scalar(engine, "select id from consent_grant")
    async with write(engine) as tx:
        await grants.narrow(tx, grant_id, [f"x-{ITEM}"], Actor.institution("bank-a"))
        await asyncio.sleep(0.02)
        body = (await bank.redeem(answer(url)["code"])).json()
        assert len(body["authorization_details"]) == 2
    assert (await bank.post("/oauth/introspect", {"token": body["access_token"]})).json() == {"active": False}


async def test_token_ends_with_the_last_item(engine: AsyncEngine, bank: Caller, visitor: SubjectVisitor) -> None:
    """No token outlives what it stands for."""
    code = await obtain_code(engine, bank, visitor)
    soon = datetime.now(UTC).timestamp() + 30
    until = datetime.fromtimestamp(soon, UTC)
    await execute(
        engine,
        "update grant_item set valid_until = :until, detail = jsonb_set(detail, '{valid_until}', to_jsonb(cast(:text as text)))",
        until=until,
        text=until.isoformat().replace("+00:00", "Z"),
    )
    assert 1 <= (await bank.redeem(code)).json()["expires_in"] <= 30


async def test_person_item_in_an_enterprise_request(bank: Caller) -> None:
    """Whether an item may be asked for at all is the policies' verdict, one per detail in its order."""
    reply = await bank.push(detail(), detail(PERSON_ITEM))
    if reply.status_code == 400:
        assert [one["identifier"] for one in json.loads(reply.text)["verdicts"]] == [f"x-{ITEM}", f"x-{PERSON_ITEM}"]
