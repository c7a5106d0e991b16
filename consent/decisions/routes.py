"""HTTP of checks: OpenID AuthZEN Authorization API 1.0 (evaluation, evaluations, metadata), and reports of deliveries.

Bodies are read here, not by the framework: strictly, within bounds, and without a second copy. Replies are the service's own bytes.
"""

import re

import msgspec
from litestar import Request, Response, Router, get, post
from litestar.datastructures import State
from litestar.di import NamedDependency
from litestar.params import SkipValidation
from sqlalchemy.ext.asyncio import AsyncEngine

from consent.decisions import deliveries, schema
from consent.decisions.service import DecisionService
from consent.errors import InvalidRequest
from consent.parties.access import AnyChecker, Caller
from consent.settings import Settings

_JSON = "application/json"
_REQUEST_ID = re.compile(r"[!-~]{1,128}")
_HEADERS = {"Cache-Control": "no-store"}

JsonRequest = Request[object, object, State]
Known = NamedDependency[SkipValidation[Caller]]
Platform = NamedDependency[SkipValidation[AnyChecker]]
Decisions = NamedDependency[SkipValidation[DecisionService]]
Engine = NamedDependency[SkipValidation[AsyncEngine]]
Configured = NamedDependency[SkipValidation[Settings]]


@post("/access/v1/evaluation", status_code=200, request_max_body_size=schema.MAX_CHECK_BYTES)
async def evaluation(request: JsonRequest, caller: Known, decisions: Decisions) -> Response[bytes]:
    """One check. AuthZEN 1.0, access evaluation API."""
    asked = schema.decode_evaluation(await _body(request))
    return _reply(request, await decisions.check(caller, asked))


@post("/access/v1/evaluations", status_code=200, request_max_body_size=schema.MAX_CALL_BYTES)
async def evaluations(request: JsonRequest, caller: Known, decisions: Decisions) -> Response[bytes]:
    """Several checks in one call. AuthZEN 1.0, access evaluations API."""
    asked, semantic, listed = schema.decode_evaluations(await _body(request))
    if not listed:
        return _reply(request, await decisions.check(caller, asked[0]))
    replies = await decisions.check_many(caller, asked, semantic)
    return _reply(request, b'{"evaluations":[' + b",".join(replies) + b"]}")


@post("/access/v1/deliveries", status_code=200, request_max_body_size=schema.MAX_CHECK_BYTES)
async def report_delivery(request: JsonRequest, any_checker: Platform, engine: Engine) -> Response[bytes]:
    """What was served under a decision."""
    delivery = schema.decode_delivery(await _body(request))
    return _reply(request, await deliveries.deliver(engine, any_checker, delivery))


@get("/.well-known/authzen-configuration", sync_to_thread=False)
def configuration(settings: Configured) -> Response[bytes]:
    """Where the endpoints are. AuthZEN 1.0, policy decision point metadata."""
    document = {
        "policy_decision_point": settings.issuer,
        "access_evaluation_endpoint": f"{settings.issuer}/access/v1/evaluation",
        "access_evaluations_endpoint": f"{settings.issuer}/access/v1/evaluations",
    }
    return Response(msgspec.json.encode(document), media_type=_JSON)


def router() -> Router:
    """The routes of this slice."""
    return Router("/", route_handlers=[evaluation, evaluations, report_delivery, configuration])


async def _body(request: JsonRequest) -> bytes:
    kind = request.headers.get("content-type", "")
    if kind.partition(";")[0].strip().lower() != _JSON:
        raise InvalidRequest("Content-Type 应为 application/json。", "The Content-Type must be application/json.")
    return await request.body()


def _reply(request: JsonRequest, body: bytes) -> Response[bytes]:
    """AuthZEN 1.0, request identification: an X-Request-ID is sent back."""
    request_id = request.headers.get("x-request-id")
    named = {"X-Request-ID": request_id} if request_id is not None and _REQUEST_ID.fullmatch(request_id) else {}
    return Response(body, media_type=_JSON, headers=_HEADERS | named)
