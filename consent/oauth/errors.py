"""Error responses of the OAuth endpoints (RFC 6749 §5.2), and what becomes of every other error there.

OAuthError
├── InvalidRequest                invalid_request                400
├── InvalidClient                 invalid_client                 401
├── InvalidGrant                  invalid_grant                  400
├── InvalidScope                  invalid_scope                  400
├── UnauthorizedClient            unauthorized_client            400
├── UnsupportedGrantType          unsupported_grant_type         400
├── UnsupportedResponseType       unsupported_response_type      400
├── InvalidDPoPProof              invalid_dpop_proof             400   RFC 9449 §5
├── InvalidGrantId                invalid_grant_id               400   FAPI Grant Management §5
├── UseDPoPNonce                  use_dpop_nonce                 400   RFC 9449 §8
├── InvalidRequestObject          invalid_request_object         400   RFC 9101 §7
├── InvalidAuthorizationDetails   invalid_authorization_details  400   RFC 9396 §5, with a verdict per detail where it was judged
├── SlowDown                      slow_down                      429   the word of RFC 8628 §3.5
└── TemporarilyUnavailable        temporarily_unavailable        503

A description is one of our sentences in ASCII; it never repeats what the caller sent. Authlib's own descriptions do, so they are
dropped and only its error codes are kept.
"""

import logging
from collections.abc import Mapping
from typing import Any, ClassVar

import msgspec
from authlib.oauth2 import OAuth2Error
from litestar import Response
from litestar.exceptions import HTTPException
from sqlalchemy.exc import DBAPIError

from consent.db import is_unavailable, sqlstate
from consent.errors import CallerError, TooManyRequests, Unavailable

_log = logging.getLogger("consent.oauth")

NO_STORE = {"cache-control": "no-store", "pragma": "no-cache"}


class OAuthError(Exception):
    """Root of the errors that leave through an OAuth endpoint."""

    error: ClassVar[str]
    status: ClassVar[int] = 400
    headers: Mapping[str, str] = {}

    def __init__(self, description: str) -> None:
        """`description` is a sentence of ours: printable ASCII without quotes and backslashes (RFC 6749 §5.2)."""
        super().__init__(description)
        self.description = description

    def body(self) -> dict[str, Any]:
        """The members of the response."""
        return {"error": self.error, "error_description": self.description}


class InvalidRequest(OAuthError):
    """Malformed, incomplete, or with a parameter that is unknown or stands twice."""

    error = "invalid_request"


class InvalidClient(OAuthError):
    """The client did not prove who it is. Unknown and known clients answer alike."""

    error = "invalid_client"
    status = 401

    def __init__(self, description: str = "Client authentication failed.") -> None:
        super().__init__(description)


class InvalidGrant(OAuthError):
    """The code or refresh token is not valid for this client, or its verifier, redirect_uri or key does not fit."""

    error = "invalid_grant"

    def __init__(
        self,
        description: str = "The code or refresh token is invalid, expired, ended or used, or was issued to another client, key or request.",
    ) -> None:
        super().__init__(description)


class InvalidScope(OAuthError):
    """A scope is unknown, or the client is not registered for it."""

    error = "invalid_scope"


class UnauthorizedClient(OAuthError):
    """The client is not registered for this."""

    error = "unauthorized_client"


class UnsupportedGrantType(OAuthError):
    """Only authorization_code, refresh_token and client_credentials."""

    error = "unsupported_grant_type"


class UnsupportedResponseType(OAuthError):
    """Only code."""

    error = "unsupported_response_type"


class InvalidDPoPProof(OAuthError):
    """The proof of possession is missing, invalid or was used before."""

    error = "invalid_dpop_proof"


class InvalidGrantId(OAuthError):
    """No such grant of this client that could be changed (FAPI Grant Management §5)."""

    error = "invalid_grant_id"

    def __init__(self) -> None:
        super().__init__("There is no such grant of this client, or it has ended.")


class UseDPoPNonce(OAuthError):
    """The same request again, with the nonce that the header DPoP-Nonce gives in a new proof."""

    error = "use_dpop_nonce"

    def __init__(self, nonce: str) -> None:
        super().__init__("Send the proof again with the nonce of the DPoP-Nonce header.")
        self.headers = {"dpop-nonce": nonce}


class InvalidRequestObject(OAuthError):
    """The request object is not signed by the client for this service and this hour, or carries what does not belong in it."""

    error = "invalid_request_object"


class InvalidAuthorizationDetails(OAuthError):
    """Too much is asked, or not in the shape that this service takes."""

    error = "invalid_authorization_details"

    def __init__(self, description: str, verdicts: list[dict[str, Any]] | None = None, excess: int = 0) -> None:
        """`verdicts`: one per detail with identifier, verdict, codes, solution and advice (members of the detail as they would be kept, or
        null); None if nothing was judged. `excess`: 0 to 100, how far the request goes beyond what its purposes need."""
        super().__init__(description)
        self.verdicts = verdicts
        self.excess = excess

    def body(self) -> dict[str, Any]:
        return super().body() | ({} if self.verdicts is None else {"verdicts": self.verdicts, "excess": self.excess})


class SlowDown(OAuthError):
    """Too many requests of this client or address; Retry-After says when to come back (RFC 6585 §4)."""

    error = "slow_down"
    status = 429

    def __init__(self, headers: Mapping[str, str]) -> None:
        super().__init__("Too many requests; try again later.")
        self.headers = headers


class TemporarilyUnavailable(OAuthError):
    """Nothing was changed; the same request may be sent again, with a new assertion."""

    error = "temporarily_unavailable"
    status = 503

    def __init__(self) -> None:
        super().__init__("The service cannot answer just now. Try again later.")


_OF_AUTHLIB: dict[str, OAuthError] = {
    "invalid_client": InvalidClient(),
    "invalid_grant": InvalidGrant(),
    "invalid_scope": InvalidScope("A scope is unknown, or the client is not registered for it."),
    "unauthorized_client": UnauthorizedClient("The client is not registered for this grant type."),
    "unsupported_grant_type": UnsupportedGrantType("The grant type is authorization_code, refresh_token or client_credentials."),
}


def from_authlib(error: OAuth2Error) -> OAuthError:
    """The error in our words: Authlib puts the caller's text into its descriptions."""
    return _OF_AUTHLIB.get(str(error.error), InvalidRequest("The request is malformed."))


def as_oauth_error(error: Exception) -> OAuthError:
    """What any exception is to a caller of an OAuth endpoint. Only those of ours say more than their kind.

    An error that nobody foresaw is logged by its type alone, since messages may quote what was sent, and answered 503: nothing was
    issued, and the caller cannot mend it.
    """
    if isinstance(error, OAuthError):
        return error
    if isinstance(error, OAuth2Error):
        return from_authlib(error)
    if isinstance(error, TooManyRequests):
        return SlowDown(getattr(error, "headers", {}))
    if isinstance(error, CallerError) or (isinstance(error, HTTPException) and error.status_code < 500) or _is_bad_value(error):
        return InvalidRequest("The request is malformed.")
    if not isinstance(error, Unavailable) and not is_unavailable(error):
        _log.error("unexpected %s.%s", type(error).__module__, type(error).__qualname__)
    return TemporarilyUnavailable()


def _is_bad_value(error: Exception) -> bool:
    """A value that the database cannot hold (SQLSTATE class 22, data exception); what is parsed here should never get there."""
    return isinstance(error, DBAPIError) and (sqlstate(error) or "").startswith("22")


def respond(error: Exception, endpoint: str) -> Response[bytes]:
    """The error as a response that no cache keeps, and as a line of the security log (OWASP ASVS 16.3). `endpoint` is a path of ours."""
    shown = as_oauth_error(error)
    _log.info("%s answered %s", endpoint, shown.error)
    headers = NO_STORE | dict(shown.headers)
    if shown.status == 503:
        headers["retry-after"] = "1"
    return Response(msgspec.json.encode(shown.body()), status_code=shown.status, headers=headers, media_type="application/json")
