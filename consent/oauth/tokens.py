"""The token endpoint on Authlib's grant skeletons, inside the request's transaction.

The skeletons are synchronous; they run through `AsyncConnection.run_sync`, and their hooks reach the transaction with `await_`. The
client was authenticated before (its jti must be committed apart), so the registered method only hands it over.

An OAuth error commits. The only writes that come before one are the use of a code and, after a replay, the revocation of what that code
gave; both must survive the request that failed (design §5.5). A failure of the database rolls all back, and the code can be tried again.
"""

import re
import secrets
from collections.abc import Coroutine
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeVar, cast

from authlib.oauth2 import OAuth2Error
from authlib.oauth2.rfc6749 import AuthorizationServer, ClientMixin, OAuth2Request
from authlib.oauth2.rfc6749 import InvalidGrantError as AuthlibInvalidGrant
from authlib.oauth2.rfc6749 import InvalidScopeError as AuthlibInvalidScope
from authlib.oauth2.rfc6749.grants import AuthorizationCodeGrant, ClientCredentialsGrant, RefreshTokenGrant
from authlib.oauth2.rfc6749.requests import BasicOAuth2Payload
from authlib.oauth2.rfc7636 import CodeChallenge
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from sqlalchemy.util import await_

from consent.db import guard
from consent.grants import store as grants_store
from consent.grants.model import Grant, effective_item_status
from consent.grants.schema import authorization_details, refused_details
from consent.oauth import families
from consent.oauth.assertion import PARAMETERS as AUTHENTICATION
from consent.oauth.authentication import Authenticated, RegisteredClient
from consent.oauth.errors import InvalidDPoPProof, InvalidRequest, OAuthError, from_authlib
from consent.oauth.families import Family, insert_access, insert_refresh
from consent.oauth.form import Form, check_names, required
from consent.oauth.model import TOKEN_SECONDS, token_type
from consent.oauth.narrowing import Narrowing, narrowed, read_narrowing
from consent.oauth.store import secret_hash

T = TypeVar("T")

METHOD = "registered"
"""Authlib's word for how the client authenticated, which was done before (`consent.oauth.authentication`)."""
PARAMETERS = {
    "authorization_code": AUTHENTICATION | {"grant_type", "code", "redirect_uri", "code_verifier", "authorization_details"},
    "refresh_token": AUTHENTICATION | {"grant_type", "refresh_token", "authorization_details"},
    "client_credentials": AUTHENTICATION | {"grant_type", "scope"},
}
_VERIFIER = re.compile(r"[A-Za-z0-9._~-]{43,128}")
_SCOPE = re.compile(r"[!#-\[\]-~]+(?: [!#-\[\]-~]+)*")


class _Client(ClientMixin):  # type: ignore[misc]
    """A registered client, in the words of Authlib's skeletons."""

    def __init__(self, client: RegisteredClient) -> None:
        self.client = client

    def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:  # noqa: ARG002
        return method == METHOD

    def check_grant_type(self, grant_type: str) -> bool:
        """A client without redirect addresses has no code flow, one without scopes no client_credentials; nobody has anything else."""
        if grant_type in {"authorization_code", "refresh_token"}:
            return bool(self.client.redirect_uris)
        return grant_type == "client_credentials" and bool(self.client.scopes)


class _TokenRequest(OAuth2Request):  # type: ignore[misc]
    """One request at the token endpoint, and the transaction that it runs in."""

    def __init__(self, connection: AsyncConnection, caller: Authenticated, cnf: dict[str, str], form: Form) -> None:
        # Authlib looks for https in the URL; behind a proxy that is the issuer's to say (consent.settings), so a constant stands here.
        super().__init__("POST", "https://token.endpoint.invalid/")
        self.payload = BasicOAuth2Payload(dict(form))
        self.connection = connection
        self.caller = caller
        self.cnf = cnf
        self.narrowing: Narrowing | None = None
        self.family: Family | None = None

    @property
    def form(self) -> dict[str, str]:
        return cast("dict[str, str]", self.payload.data)


@dataclass(frozen=True, slots=True)
class _Code:
    """A code that this request has just used up."""

    grant_id: str
    redirect_uri: str
    code_challenge: str
    code_challenge_method: str = "S256"

    def get_redirect_uri(self) -> str:
        return self.redirect_uri

    def get_scope(self) -> str:
        """None: the token of a grant opens no resource of this service."""
        return ""


class _S256(CodeChallenge):  # type: ignore[misc]
    """PKCE with S256 only, for every client. Authlib would fall back to plain, and answer a missing verifier with invalid_request."""

    DEFAULT_CODE_CHALLENGE_METHOD = "S256"
    SUPPORTED_CODE_CHALLENGE_METHOD = ("S256",)

    def validate_code_verifier(self, grant: Any, result: Any) -> None:
        if _VERIFIER.fullmatch(grant.request.form.get("code_verifier", "")) is None:
            raise AuthlibInvalidGrant
        super().validate_code_verifier(grant, result)


class _OfGrant:
    """What the two ways to a grant's tokens share."""

    request: _TokenRequest

    def read_grant(self, grant_id: str) -> Grant | None:
        """The grant if anything of it is in force, with the request's narrowing laid beside it."""
        connection = self.request.connection
        grant = _run(grants_store.grant(connection, grant_id))
        now = _run(families.now(connection))
        if grant is None or grant.client_id != self.request.caller.client.id:
            return None
        active = [item.detail for item in grant.items if effective_item_status(grant, item, now) == "active"]
        if not active:
            return None
        self.request.narrowing = read_narrowing(active, self.request.form.get("authorization_details"))
        self.request.now = now
        return grant

    def granted(self) -> dict[str, Any]:
        """What stands beside the token (RFC 9396 §7, FAPI Grant Management §4)."""
        grant: Grant = self.request.user
        return {
            "grant_id": grant.id,
            "authorization_details": narrowed(authorization_details(grant, self.request.now), self.request.narrowing),
            "refused_details": refused_details(grant),
            "unmet_required": list(grant.unmet_required),
        }


class _CodeGrant(_OfGrant, AuthorizationCodeGrant):  # type: ignore[misc]
    """Redeems a code, once."""

    TOKEN_ENDPOINT_AUTH_METHODS = (METHOD,)

    def query_authorization_code(self, code: str, client: _Client) -> _Code | None:
        """Use the code up, and revoke what it gave if it was used before."""
        code_hash = secret_hash(code)
        used = _run(families.use_code(self.request.connection, code_hash, client.client.id))
        if used is None or not used.in_time or used.dpop_jkt not in {None, self.request.caller.jkt}:
            return None
        self.request.family = Family(used.grant_id, code_hash)
        return _Code(used.grant_id, used.redirect_uri, used.code_challenge)

    def authenticate_user(self, authorization_code: _Code) -> Grant | None:
        """The grant behind the code, None if nothing of it is in force any more."""
        return self.read_grant(authorization_code.grant_id)

    def create_token_response(self) -> Any:
        status, token, headers = super().create_token_response()
        return status, token | self.granted(), headers

    def delete_authorization_code(self, authorization_code: _Code) -> None:
        """It stays, used: that is how a replay is noticed."""


@dataclass(frozen=True, slots=True)
class _Refresh:
    """A refresh token in force, presented by its client with its key."""

    grant_id: str

    def check_client(self, client: _Client) -> bool:  # noqa: ARG002
        """It was looked up by its client."""
        return True

    def get_scope(self) -> str:
        """None, as the code had none."""
        return ""


class _RefreshGrant(_OfGrant, RefreshTokenGrant):  # type: ignore[misc]
    """A new access token for the grant as it now stands. The refresh token stays (FAPI 2.0 Security Profile §5.3.2.1)."""

    TOKEN_ENDPOINT_AUTH_METHODS = (METHOD,)

    def authenticate_refresh_token(self, refresh_token: str) -> _Refresh | None:
        request = self.request
        request.family = _run(families.find_refresh(request.connection, secret_hash(refresh_token), request.caller.client.id, request.cnf))
        return None if request.family is None else _Refresh(request.family.grant_id)

    def authenticate_user(self, refresh_token: _Refresh) -> Grant:
        grant = self.read_grant(refresh_token.grant_id)
        if grant is None:
            raise AuthlibInvalidGrant
        return grant

    def create_token_response(self) -> Any:
        status, token, headers = super().create_token_response()
        return status, token | self.granted(), headers

    def revoke_old_credential(self, refresh_token: _Refresh) -> None:
        """Not rotated: whoever stole it has neither the client's key nor the proof's."""


class _CredentialsGrant(ClientCredentialsGrant):  # type: ignore[misc]
    """A client's own token, for exactly the scopes it names."""

    TOKEN_ENDPOINT_AUTH_METHODS = (METHOD,)

    def validate_requested_scope(self) -> None:
        scope = self.request.form.get("scope", "")
        words = scope.split(" ")
        if _SCOPE.fullmatch(scope) is None or len(set(words)) != len(words) or not self.request.caller.client.scopes.issuperset(words):
            raise AuthlibInvalidScope


class _Server(AuthorizationServer):  # type: ignore[misc]
    """Authlib's dispatch over the grants above."""

    def __init__(self) -> None:
        super().__init__()
        self.register_client_auth_method(METHOD, lambda _, request: _Client(request.caller.client))
        self.register_token_generator("default", _new_token)
        self.register_grant(_CodeGrant, [_S256()])
        self.register_grant(_RefreshGrant)
        self.register_grant(_CredentialsGrant)

    def query_client(self, client_id: str) -> None:  # noqa: ARG002
        """Never needed: the client of the request is known already."""
        return

    def save_token(self, token: dict[str, Any], request: _TokenRequest) -> None:
        _run(_insert_tokens(token, request))

    def create_oauth2_request(self, request: _TokenRequest) -> _TokenRequest:
        return request

    def handle_response(self, status: int, body: dict[str, Any], headers: Any) -> dict[str, Any]:  # noqa: ARG002
        return body

    def handle_error_response(self, request: _TokenRequest, error: OAuth2Error) -> OAuthError:  # noqa: ARG002
        """The error as a value, so that the transaction ends with a commit."""
        return from_authlib(error)

    def send_signal(self, name: str, *args: object, **kwargs: object) -> None:
        """Nobody listens."""


async def issue_token(engine: AsyncEngine, caller: Authenticated, form: Form) -> dict[str, Any]:
    """The body of a token response (RFC 6749 §5.1, RFC 9449 §5, RFC 9396 §7).

    Raises:
        OAuthError: nothing was issued.
        DatabaseUnavailable: it is not known whether anything was; what may have been issued was told to nobody.
    """
    grant_type = required(form, "grant_type")
    if grant_type in PARAMETERS:
        check_names(form, PARAMETERS[grant_type])
    if grant_type == "authorization_code":
        required(form, "code")
    if grant_type == "refresh_token":
        required(form, "refresh_token")
    if caller.cnf is None:
        raise InvalidDPoPProof("Tokens are bound to a key; send a DPoP proof.")
    with guard():
        async with engine.begin() as connection:
            request = _TokenRequest(connection, caller, caller.cnf, form)
            outcome = await connection.run_sync(lambda _: _server.create_token_response(request))
    if isinstance(outcome, OAuthError):
        raise outcome
    if not isinstance(outcome, dict):
        raise InvalidRequest("The request is malformed.")
    return outcome


def _run(work: Coroutine[Any, Any, T]) -> T:
    """Await inside a hook: the skeleton runs in a greenlet of the request's task."""
    return await_(work)


def _new_token(grant_type: str, client: _Client, scope: str | None = None, **_: object) -> dict[str, Any]:  # noqa: ARG001
    """256 random bits, opaque: what a token may do is looked up when it is used, so that a revocation holds at once."""
    token = {"access_token": secrets.token_urlsafe(32), "token_type": "DPoP", "expires_in": TOKEN_SECONDS}
    if grant_type == "authorization_code":
        token["refresh_token"] = secrets.token_urlsafe(32)
    return token | ({"scope": scope} if scope else {})


async def _insert_tokens(token: dict[str, Any], request: _TokenRequest) -> None:
    """Store what the response will carry, with the lifetimes that the grant leaves."""
    connection, client_id = request.connection, request.caller.client.id
    token["token_type"] = token_type(request.cnf)
    grant: Grant | None = request.user
    family: Family | None = request.family if grant else None
    if grant is not None:
        now = cast("datetime", request.now)
        ends = max(item.detail.valid_until for item in grant.items if effective_item_status(grant, item, now) == "active")
        token["expires_in"] = max(1, min(TOKEN_SECONDS, int((ends - now).total_seconds())))
        if "refresh_token" in token and family is not None:
            await insert_refresh(connection, secret_hash(token["refresh_token"]), client_id, family, request.cnf, ends)
    values = {
        "hash": secret_hash(token["access_token"]),
        "client_id": client_id,
        "grant_id": grant.id if grant else None,
        "grant_version": grant.version if grant else None,
        "code_hash": family.code_hash if family else None,
        "narrowing": request.narrowing if grant else None,
        "scopes": token.get("scope", "").split(),
    }
    await insert_access(connection, values, request.cnf, timedelta(seconds=token["expires_in"]))


_server = _Server()
