"""The OAuth endpoints. Errors leave in the shape of RFC 6749 §5.2, but for the one endpoint at which a person stands."""

from collections.abc import Awaitable
from typing import Any, TypeAlias
from urllib.parse import urlencode

import msgspec
from litestar import Request, Response, get, post
from litestar.di import NamedDependency
from litestar.params import SkipValidation
from litestar.types import ControllerRouterHandler

from consent.oauth import authorization
from consent.oauth.errors import NO_STORE, OAuthError, respond
from consent.oauth.form import MAX_BODY, parse_query
from consent.oauth.metadata import jwks
from consent.oauth.service import OAuth

AnyRequest = Request[Any, Any, Any]
Injected: TypeAlias = NamedDependency[SkipValidation[OAuth]]

CONSENT_PAGE = "/authorize/consent"


async def _answer(endpoint: str, work: Awaitable[Any], status: int = 200) -> Response[bytes]:
    try:
        body = await work
    except Exception as error:  # noqa: BLE001 - the last resort of these endpoints: every error has an answer there
        return respond(error, endpoint)
    content = b"" if body is None else msgspec.json.encode(body)
    return Response(content, status_code=status, headers=dict(NO_STORE), media_type="application/json")


@post("/oauth/par", summary="Push an authorization request (RFC 9126)", request_max_body_size=MAX_BODY)
async def push(request: AnyRequest, oauth: Injected) -> Response[bytes]:
    """201 with a request_uri, or 400 with a verdict for each detail."""
    return await _answer("/oauth/par", oauth.push(request), 201)


@post("/oauth/token", summary="Exchange a code or client credentials for a token", request_max_body_size=MAX_BODY)
async def token(request: AnyRequest, oauth: Injected) -> Response[bytes]:
    """A DPoP token; for a code also what was granted and what was not."""
    return await _answer("/oauth/token", oauth.issue_token(request))


@post("/oauth/introspect", summary="State of a token (RFC 7662)", request_max_body_size=MAX_BODY)
async def introspect(request: AnyRequest, oauth: Injected) -> Response[bytes]:
    """True about revocation at once."""
    return await _answer("/oauth/introspect", oauth.introspect(request))


@post("/oauth/revoke", summary="End a token (RFC 7009)", request_max_body_size=MAX_BODY)
async def revoke(request: AnyRequest, oauth: Injected) -> Response[bytes]:
    """200 once it is ended; 503 where that is not known."""
    return await _answer("/oauth/revoke", oauth.revoke(request))


@get("/oauth/authorize", summary="Where a browser comes with a pushed request")
async def authorize(request: AnyRequest, oauth: Injected) -> Response[bytes]:
    """On to the consent page, or an error that is shown here: nothing redirects to a client before its request was found valid."""
    oauth.limits.check_address(request.scope)
    try:
        query = dict(parse_query(request.scope["query_string"]))
    except OAuthError:
        query = {}
    client_id, request_uri = authorization.check_authorization_query(query)
    await oauth.open(client_id, request_uri)
    location = f"{oauth.issuer}{CONSENT_PAGE}?{urlencode({'client_id': client_id, 'request_uri': request_uri})}"
    headers = NO_STORE | {"location": location, "referrer-policy": "no-referrer"}
    return Response(b"", status_code=303, headers=headers, media_type="text/plain")


@get("/.well-known/oauth-authorization-server", summary="Metadata (RFC 8414)")
async def metadata(oauth: Injected) -> dict[str, Any]:
    """What is supported, exactly."""
    return oauth.metadata


@get("/.well-known/jwks.json", summary="Keys of this server")
async def keys() -> dict[str, Any]:
    """None while nothing is signed."""
    return jwks()


handlers: list[ControllerRouterHandler] = [push, token, introspect, revoke, authorize, metadata, keys]
"""For `Litestar(route_handlers=…)`; they take `oauth` from the application's dependencies."""
