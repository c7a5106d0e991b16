"""The endpoints over HTTP: who may ask what, in which shape answers and errors come."""

from typing import Any

import httpx
import msgspec
import pytest
from decisions_world import BANK, OPEN, OTHER_PLATFORM, PLATFORM, STATUS, TAX, World, caller, new_uscc, request
from litestar import Litestar, Request
from litestar.datastructures import State
from litestar.di import NamedDependency, Provide
from litestar.params import SkipValidation

from consent.decisions import routes
from consent.decisions.engine import PolicyEngine
from consent.decisions.service import DecisionService
from consent.errors import NotAuthenticated
from consent.parties.access import AnyChecker, Caller
from consent.settings import Settings
from consent.web.problems import exception_handlers

CALLERS = {
    "bank": BANK,
    "platform": PLATFORM,
    "other-platform": OTHER_PLATFORM,
    "no-scope": caller("bank-a", "grants"),
    "wrong-kind": caller("bank-a", "check:any"),
    "loans": caller("bank-a", "loans", "grants"),
}
CHECK, MANY, DELIVERIES = "/access/v1/evaluation", "/access/v1/evaluations", "/access/v1/deliveries"


def known_caller(request: Request[Any, Any, State]) -> Caller:
    """Stands for the authentication at the edge, which has tests of its own."""
    name = request.headers.get("authorization")
    if name is None:
        raise NotAuthenticated("请先认证。", "Authenticate first.")
    return CALLERS[name]


@pytest.fixture
async def client(world: World, service: DecisionService, policy: PolicyEngine, database: Any, tmp_path: Any) -> Any:
    """The routes of the slice in an application."""

    def any_checker(caller: NamedDependency[SkipValidation[Caller]]) -> AnyChecker:
        return AnyChecker.of(caller)

    settings = Settings(database_url=database.app_url, issuer="https://consent.example.org", ledger_key_file=tmp_path / "key")
    app = Litestar(
        [routes.router()],
        dependencies={
            "caller": Provide(known_caller, sync_to_thread=False),
            "any_checker": Provide(any_checker, sync_to_thread=False),
            "decisions": Provide(lambda: service, sync_to_thread=False, use_cache=True),
            "engine": Provide(lambda: world.engine, sync_to_thread=False, use_cache=True),
            "settings": Provide(lambda: settings, sync_to_thread=False, use_cache=True),
        },
        exception_handlers=exception_handlers(),
    )
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="https://consent.example.org") as made:
        yield made


async def post(client: Any, path: str, who: str | None, body: Any, **headers: str) -> Any:
    """The response."""
    sent = {"content-type": "application/json", **headers} | ({"authorization": who} if who else {})
    return await client.post(path, content=body if isinstance(body, bytes) else msgspec.json.encode(body), headers=sent)


WHO = [
    (None, "bank-a", 401),
    ("no-scope", "bank-a", 403),
    ("loans", "bank-a", 403),
    ("wrong-kind", "bank-b", 403),
    ("bank", "bank-b", 403),
    ("bank", "bank-a", 200),
    ("platform", "bank-a", 200),
    ("platform", "bank-b", 200),
]


@pytest.mark.parametrize(("who", "institution", "status"), WHO)
@pytest.mark.parametrize("path", [CHECK, MANY])
async def test_who_may_check_for_whom(client: Any, world: World, path: str, who: str | None, institution: str, status: int) -> None:
    """An institution for itself with `check`, a platform for any with `check:any`, nobody else; a refusal is not recorded."""
    document = request(world.enterprise, [OPEN], institution=institution)
    reply = await post(client, path, who, document if path == CHECK else {"evaluations": [document]})
    assert reply.status_code == status
    assert len(await world.records("access.decided")) == (status == 200)


async def test_one_forbidden_question_refuses_the_call(client: Any, world: World) -> None:
    """Of several checks none is decided if the caller may not ask one of them."""
    call = {"evaluations": [request(world.enterprise, [OPEN], institution=name) for name in ("bank-a", "bank-b")]}
    assert (await post(client, MANY, "bank", call)).status_code == 403
    assert not await world.records("access.decided")


@pytest.mark.parametrize("path", [CHECK, MANY, DELIVERIES])
@pytest.mark.parametrize("body", [b"", b"{}", b"nonsense", b"[]", b'{"a":1}', b"\xff", b"[" * 10_000])
async def test_malformed_body_is_a_problem(client: Any, world: World, path: str, body: bytes) -> None:
    """400 with problem details; nothing is recorded."""
    reply = await post(client, path, "platform", body)
    assert reply.status_code == 400
    assert reply.headers["content-type"] == "application/problem+json"
    assert reply.json()["code"] == "invalid_request"
    assert not await world.records("access.decided")


async def test_problem_names_the_member_and_not_the_text(client: Any, world: World) -> None:
    """Both languages, the path, and nothing of what the caller wrote."""
    document = request(world.enterprise, ["SECRET WORD"])
    reply = await post(client, CHECK, "bank", document)
    assert reply.json()["member"] == "resource.properties.items[0]"
    assert "SECRET" not in reply.text


async def test_oversized_body_is_refused(client: Any) -> None:
    """The bound holds before anything is read."""
    assert (await post(client, CHECK, "bank", b" " * (64 * 1024 + 1))).status_code == 413


async def test_other_content_type_is_refused(client: Any, world: World) -> None:
    """A form of a foreign page cannot be taken for a check."""
    reply = await client.post(CHECK, content=msgspec.json.encode(request(world.enterprise)), headers={"authorization": "bank"})
    assert reply.status_code == 400


async def test_request_identification_is_echoed(client: Any, world: World) -> None:
    """AuthZEN 1.0: X-Request-ID comes back, if it is fit for a header."""
    reply = await post(client, CHECK, "bank", request(world.enterprise, [OPEN]), **{"x-request-id": "abc-1"})
    assert reply.headers["x-request-id"] == "abc-1"
    assert reply.headers["cache-control"] == "no-store"


async def test_same_request_id_same_bytes_other_request_409(client: Any, world: World) -> None:
    """Over HTTP as in the service."""
    first = await post(client, CHECK, "bank", request(world.enterprise, [OPEN], request_id="r-1"))
    again = await post(client, CHECK, "bank", request(world.enterprise, [OPEN], request_id="r-1"))
    other = await post(client, CHECK, "bank", request(world.enterprise, [TAX], request_id="r-1"))
    assert (first.content, other.status_code) == (again.content, 409)


async def test_evaluations_are_answered_in_order(client: Any, world: World) -> None:
    """execute_all: one answer for each question, at its place."""
    items = [OPEN, TAX, OPEN, STATUS]
    call = {**request(world.enterprise), "evaluations": [_item(item, world) for item in items]}
    reply = (await post(client, MANY, "bank", call)).json()
    assert [one["context"]["items"][0]["item"] for one in reply["evaluations"]] == items
    assert [one["decision"] for one in reply["evaluations"]] == [True, False, True, False]
    assert len(await world.records("access.decided")) == 4


@pytest.mark.parametrize(
    ("semantic", "items", "decisions"),
    [
        ("deny_on_first_deny", [OPEN, TAX, OPEN], [True, False]),
        ("deny_on_first_deny", [OPEN, OPEN], [True, True]),
        ("permit_on_first_permit", [TAX, OPEN, OPEN], [False, True]),
        ("permit_on_first_permit", [TAX, STATUS], [False, False]),
        ("execute_all", [TAX, OPEN], [False, True]),
    ],
)
async def test_semantics(client: Any, world: World, semantic: str, items: list[str], decisions: list[bool]) -> None:
    """AuthZEN 1.0, evaluations semantics: what comes after the end is neither decided nor recorded."""
    call = {"evaluations": [request(world.enterprise, [item]) for item in items], "options": {"evaluations_semantic": semantic}}
    reply = (await post(client, MANY, "bank", call)).json()
    assert [one["decision"] for one in reply["evaluations"]] == decisions
    assert len(await world.records("access.decided")) == len(decisions)


async def test_error_of_one_evaluation_stands_at_its_place(client: Any, world: World) -> None:
    """AuthZEN 1.0, errors: closed, with the reason; the others are decided."""
    await post(client, CHECK, "bank", request(world.enterprise, [OPEN], request_id="r-1"))
    call = {"evaluations": [request(world.enterprise, [OPEN]), request(world.enterprise, [TAX], request_id="r-1")]}
    first, second = (await post(client, MANY, "bank", call)).json()["evaluations"]
    assert first["decision"] is True
    assert second["decision"] is False
    assert second["context"]["error"]["status"] == 409


async def test_call_without_evaluations_answers_like_one_check(client: Any, world: World) -> None:
    """AuthZEN 1.0, access evaluations request."""
    reply = (await post(client, MANY, "bank", request(world.enterprise, [OPEN]))).json()
    assert reply["decision"] is True


async def test_metadata_names_the_endpoints(client: Any) -> None:
    """AuthZEN 1.0, policy decision point metadata."""
    reply = await client.get("/.well-known/authzen-configuration")
    assert reply.json() == {
        "policy_decision_point": "https://consent.example.org",
        "access_evaluation_endpoint": "https://consent.example.org/access/v1/evaluation",
        "access_evaluations_endpoint": "https://consent.example.org/access/v1/evaluations",
    }


# ---------------------------------------------------------------- deliveries
def delivery(decision: str, *fields: str, item: str = TAX) -> dict[str, Any]:
    """A report."""
    return {"decision": decision, "items": [{"item": item, "fields": list(fields)}]}


@pytest.fixture
async def served(client: Any, world: World) -> tuple[str, str]:
    """Ids of a bank's permit and of the platform's redemption of it."""
    await world.grant(TAX)
    permit = (await post(client, CHECK, "bank", request(world.enterprise))).json()["context"]["id"]
    redemption = (await post(client, CHECK, "platform", request(world.enterprise, ticket=permit))).json()["context"]["id"]
    return permit, redemption


@pytest.mark.parametrize("named", [0, 1], ids=["ticket", "redemption"])
async def test_delivery_is_recorded_once(client: Any, world: World, served: tuple[str, str], named: int) -> None:
    """By the platform that redeemed, whichever of the two ids it names; a second report is a conflict."""
    reply = await post(client, DELIVERIES, "platform", delivery(served[named], f"{TAX}.01"))
    assert reply.status_code == 200
    record = (await world.records("access.delivered"))[-1]
    assert record.index == reply.json()["ledger"]["index"]
    index = next(found.index for found in await world.records("access.decided") if found.data["id"] == served[1])
    items = [{"item": TAX, "fields": [f"{TAX}.01"]}]
    assert record.data == {"decision": served[1], "index": index, "platform": "platform-a", "items": items}
    for again in served:
        assert (await post(client, DELIVERIES, "platform", delivery(again, f"{TAX}.01"))).status_code == 409


@pytest.mark.parametrize("who", [(None, 401), ("bank", 403), ("no-scope", 403), ("other-platform", 404), ("platform", 200)], ids=str)
async def test_who_may_report(client: Any, world: World, served: tuple[str, str], who: tuple[str | None, int]) -> None:
    """The platform whose decision it is, nobody else; whose it is stays hidden."""
    assert (await post(client, DELIVERIES, who[0], delivery(served[1], f"{TAX}.01"))).status_code == who[1]


async def test_nothing_served_may_be_reported(client: Any, served: tuple[str, str]) -> None:
    """A source that was down serves nothing, and that is worth a record."""
    assert (await post(client, DELIVERIES, "platform", {"decision": served[1], "items": []})).status_code == 200


@pytest.mark.parametrize(
    "report",
    [
        {"item": STATUS, "fields": [f"{STATUS}.01"]},
        {"item": TAX, "fields": [f"{TAX}.99"]},
        {"item": TAX, "fields": [f"{STATUS}.01"]},
    ],
    ids=["item", "field", "foreign-field"],
)
async def test_more_than_was_decided_is_refused(client: Any, world: World, served: tuple[str, str], report: dict[str, Any]) -> None:
    """What was served without a decision cannot be reported away."""
    reply = await post(client, DELIVERIES, "platform", {"decision": served[1], "items": [report]})
    assert (reply.status_code, reply.json()["member"]) == (400, "items[0]")
    assert not await world.records("access.delivered")


async def test_unknown_and_unredeemed_decisions_are_not_found(client: Any, world: World) -> None:
    """A permit that this platform never redeemed is none of its business."""
    await world.grant(TAX)
    permit = (await post(client, CHECK, "bank", request(world.enterprise))).json()["context"]["id"]
    for decision in (permit, "x" * 22):
        assert (await post(client, DELIVERIES, "platform", delivery(decision, f"{TAX}.01"))).status_code == 404


async def test_denied_decision_has_nothing_to_deliver(client: Any, world: World) -> None:
    """Not one field."""
    denied = (await post(client, CHECK, "platform", request(new_uscc()))).json()["context"]["id"]
    assert (await post(client, DELIVERIES, "platform", delivery(denied, f"{TAX}.01"))).status_code == 400


def _item(item: str, world: World) -> dict[str, Any]:
    return {"resource": {"type": "enterprise", "id": world.enterprise, "properties": {"items": [item]}}}
