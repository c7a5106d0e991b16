"""`/grants` through the real edge: who may see and revoke what."""

import json
from collections.abc import AsyncIterator

import httpx
import pytest
from litestar import Litestar
from litestar.di import Provide
from oauth_world import ISSUER, Caller, caller, policies
from sample_parties import Parties
from sqlalchemy.ext.asyncio import AsyncEngine

import consent.grants.routes
from consent.catalogue.load import load
from consent.db import read
from consent.decisions.service import DecisionService
from consent.grants import service
from consent.grants.model import Actor
from consent.ledger.writer import write
from consent.oauth import access
from consent.oauth.routes import handlers
from consent.oauth.service import OAuth
from consent.parties import service as parties_service
from consent.web import problems

pytestmark = pytest.mark.usefixtures("ledger")


@pytest.fixture
async def http(engine: AsyncEngine, parties: Parties) -> AsyncIterator[httpx.AsyncClient]:
    """The authorization server and this slice, in process."""
    oauth = OAuth(engine, ISSUER, load(), DecisionService(engine, policies(), load()))
    app = Litestar(
        [*handlers, consent.grants.routes.router()],
        dependencies={
            "engine": Provide(lambda: engine, sync_to_thread=False),
            "oauth": Provide(lambda: oauth, sync_to_thread=False),
            **access.dependencies,
        },
        exception_handlers=problems.exception_handlers(),
    )
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=ISSUER) as client:
        yield client


@pytest.fixture
def bank(http: httpx.AsyncClient) -> Caller:
    """The institution that is granted to."""
    return caller(http, "bank-a")


@pytest.fixture
def other_bank(http: httpx.AsyncClient) -> Caller:
    """Another tenant."""
    return caller(http, "bank-b")


async def send(who: Caller, method: str, path: str, token: str) -> httpx.Response:
    """A request with a token and a fresh proof."""
    url = httpx.URL(f"{ISSUER}{path}")
    proof = who.proof(method, str(url.copy_with(query=None)), token=token)
    return await who.http.request(method, path, headers={"authorization": f"DPoP {token}", "dpop": proof})


def problem(reply: httpx.Response, status: int) -> dict:
    """The problem details of a refusal."""
    assert reply.status_code == status, reply.text
    assert reply.headers["content-type"].startswith("application/problem+json")
    return reply.json()


async def test_institution_sees_its_grant_as_it_was_granted(bank: Caller, approve, details) -> None:
    """Details as granted with their state, what was refused with its code, what was required and is missing."""
    grant = await approve(approved={"tax"})
    token = await bank.token("grants")
    reply = await send(bank, "GET", f"/grants/{grant.id}", token)
    assert reply.status_code == 200
    body = reply.json()
    assert set(body) == {
        "grant_id",
        "enterprise",
        "granted_by",
        "status",
        "version",
        "created_at",
        "ended_at",
        "notice",
        "authorization_details",
        "refused_details",
        "unmet_required",
        "ledger",
    }
    [entry] = body["ledger"]
    assert (entry["version"], entry["event"], len(entry["leaf"])) == (1, "grant.approved", 44)
    assert (body["grant_id"], body["status"], body["version"], body["ended_at"]) == (grant.id, "active", 1, None)
    [granted] = body["authorization_details"]
    assert granted.pop("status") == "active"
    assert granted == json.loads(json.dumps(granted_wire(details[0])))
    assert [(d["identifier"], d["code"]) for d in body["refused_details"]] == [
        ("grade", "item.not_granted"),
        ("arrears", "item.not_granted"),
    ]
    assert body["unmet_required"] == ["grade"]


def granted_wire(detail) -> dict:
    """The detail in the form of the public contract."""
    return {
        "type": "financing_data",
        "identifier": detail.name,
        "actions": [detail.action],
        "datatypes": [detail.item],
        "fields": list(detail.granted_fields),
        "purpose": detail.purpose,
        "product": detail.product,
        "necessity": detail.necessity,
        "valid_until": "2040-01-01T00:00:00Z",
        "frequency": {"max": 4, "per": "day"},
        "retention_days": 365,
    }


async def test_revocation_over_http_is_final_and_idempotent(bank: Caller, approve) -> None:
    """204 twice; the grant can still be queried and says so."""
    grant = await approve()
    token = await bank.token("grants")
    for _ in range(2):
        reply = await send(bank, "DELETE", f"/grants/{grant.id}", token)
        assert (reply.status_code, reply.content) == (204, b"")
    body = (await send(bank, "GET", f"/grants/{grant.id}", token)).json()
    assert (body["status"], body["version"]) == ("revoked", 2)
    assert {d["status"] for d in body["authorization_details"]} == {"revoked"}


async def test_list_is_paged_and_holds_no_other_tenants_grants(bank: Caller, other_bank: Caller, approve) -> None:
    """Following `next` meets each own grant once and no other's."""
    mine = {(await approve()).id for _ in range(3)}
    foreign = await approve(institution_id="bank-b", client_id="bank-b-client")
    token = await bank.token("grants")
    seen, path = [], "/grants?limit=2"
    while path:
        page = (await send(bank, "GET", path, token)).json()
        assert len(page["grants"]) <= 2
        seen += [grant["grant_id"] for grant in page["grants"]]
        path = page["next"] and f"/grants?limit=2&cursor={page['next']}"
    assert len(seen) == 3
    assert set(seen) == mine
    page = (await send(other_bank, "GET", "/grants", await other_bank.token("grants"))).json()
    assert [grant["grant_id"] for grant in page["grants"]] == [foreign.id]


ROUTES = [("GET", "/grants"), ("GET", "/grants/{id}"), ("DELETE", "/grants/{id}")]


@pytest.mark.parametrize(("method", "path"), ROUTES)
async def test_anonymous_is_told_to_authenticate(bank: Caller, approve, method: str, path: str) -> None:
    """No token, a made-up token, a bearer token: 401 with a challenge, and nothing changes."""
    grant = await approve()
    path = path.format(id=grant.id)
    token = await bank.token("grants")
    for headers in ({}, {"authorization": "DPoP " + "x" * 43}, {"authorization": f"Bearer {token}"}, {"authorization": f"DPoP {token}"}):
        reply = await bank.http.request(method, path, headers=headers)
        problem(reply, 401)
        assert reply.headers["www-authenticate"].startswith("DPoP")


@pytest.mark.parametrize(("method", "path"), ROUTES)
async def test_scope_is_needed(engine: AsyncEngine, bank: Caller, approve, method: str, path: str) -> None:
    """A token for checks is valid and not for this: 403, and the grant stays."""
    grant = await approve()
    problem(await send(bank, method, path.format(id=grant.id), await bank.token("check")), 403)
    async with read(engine) as connection:
        assert (await service.get(connection, grant.id, Actor.operator())).status == "active"


@pytest.mark.parametrize("method", ["GET", "DELETE"])
async def test_other_tenants_grant_does_not_exist(engine: AsyncEngine, other_bank: Caller, approve, method: str) -> None:
    """A foreign grant and a guess answer in the same bytes, whatever the guess looks like; the foreign one stays."""
    grant = await approve()
    token = await other_bank.token("grants")
    answers = set()
    for grant_id in (grant.id, "AAAAAAAAAAAAAAAAAAAAAA", "x", "%00", "%ED%A0%80", "%27%20or%201", "a" * 300):
        reply = await send(other_bank, method, f"/grants/{grant_id}", token)
        problem(reply, 404)
        answers.add(reply.text)
    assert len(answers) == 1
    async with read(engine) as connection:
        assert (await service.get(connection, grant.id, Actor.operator())).status == "active"


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=201",
        "limit=-1",
        "limit=x",
        "limit=",
        "limit=%D9%A1",
        "limit=5&limit=6",
        "page=2",
        "cursor=",
        "cursor=%00",
        "cursor=" + "a" * 200,
    ],
)
async def test_unfit_query_is_refused(bank: Caller, query: str) -> None:
    """Unknown, repeated, malformed and overlong parameters: 400, never a guess at what was meant."""
    problem(await send(bank, "GET", f"/grants?{query}", await bank.token("grants")), 400)


async def test_suspended_client_is_out_at_once(engine: AsyncEngine, bank: Caller, approve) -> None:
    """The token that it holds dies with the change of the client."""
    grant = await approve()
    token = await bank.token("grants")
    assert (await send(bank, "GET", f"/grants/{grant.id}", token)).status_code == 200
    async with write(engine) as tx:
        await parties_service.change_client(tx, "bank-a-client", status="suspended")
    problem(await send(bank, "GET", f"/grants/{grant.id}", token), 401)


async def test_schema_describes_the_routes(http: httpx.AsyncClient) -> None:
    """OpenAPI has all three, and no dependency of ours among the parameters."""
    document = (await http.get("/schema/openapi.json")).json()
    assert set(document["paths"]["/grants"]) == {"get"}
    assert set(document["paths"]["/grants/{grant_id}"]) == {"get", "delete"}
    assert "parameters" not in document["paths"]["/grants"]["get"]
