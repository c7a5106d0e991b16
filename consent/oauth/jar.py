"""Request objects (RFC 9101) in a pushed request (RFC 9126 §3), by the rules of FAPI 2.0 Message Signing §5.3. No I/O.

The client is authenticated already; its signature over the request itself is what it may be held to later. Nothing outside the object
counts then, so that what was signed is what is asked.
"""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from consent.oauth.assertion import is_signed
from consent.oauth.errors import InvalidRequestObject
from consent.oauth.form import Form
from consent.oauth.jose import JoseRefused, PublicKey, is_numeric_date, parse_compact

LIFETIME_SECONDS = 3600
"""Longest from nbf to exp, and longest since nbf (FAPI 2.0 Message Signing §5.3.1)."""
AHEAD_SECONDS = 10

TYPES = frozenset({None, "JWT", "oauth-authz-req+jwt"})
"""RFC 9101 §10.8 asks for its own type only of new profiles; what is typed as anything else is not a request object."""
_ENVELOPE = frozenset({"iss", "aud", "exp", "nbf", "iat", "jti", "client_id"})
_OWN_KEY_HEADERS = frozenset({"jwk", "jku", "x5u", "x5c"})


def read_request_object(
    value: str, client_id: str, keys: Mapping[str | None, PublicKey], issuer: str, names: frozenset[str], now: datetime
) -> Form:
    """The parameters that a request object carries, as if they stood in the form.

    Args:
        names: the parameters that may stand in it.

    Raises:
        InvalidRequestObject: not signed by the client, not for this service, not of now, or with a member that does not belong there.
    """
    try:
        signed = parse_compact(value)
        header, claims = signed.parse_header(), signed.parse_unverified_claims()
    except JoseRefused:
        raise InvalidRequestObject("It is not a signed JWT of acceptable size.") from None
    typ = header.get("typ")
    known_type = typ is None or (isinstance(typ, str) and typ in TYPES)
    if not known_type or not _OWN_KEY_HEADERS.isdisjoint(header) or not is_signed(signed, header, keys):
        raise InvalidRequestObject("It is not signed with PS256, ES256 or EdDSA by a key that the client registered.")
    _check_envelope(claims, client_id, issuer, now.timestamp())
    if not (names | _ENVELOPE).issuperset(claims):
        raise InvalidRequestObject("It has a member that is not taken; request and request_uri never stand inside.")
    return {name: _text(name, claim) for name, claim in claims.items() if name in names}


def _check_envelope(claims: dict[str, Any], client_id: str, issuer: str, seconds: float) -> None:
    if claims.get("iss") != client_id or claims.get("client_id", client_id) != client_id:
        raise InvalidRequestObject("Its iss and client_id are the client's.")
    aud = claims.get("aud")
    if aud != issuer and not (isinstance(aud, list) and all(isinstance(one, str) for one in aud) and issuer in aud):
        raise InvalidRequestObject("Its aud is the issuer.")
    exp, nbf = claims.get("exp"), claims.get("nbf")
    if not is_numeric_date(exp) or not is_numeric_date(nbf):
        raise InvalidRequestObject("It needs exp and nbf in whole seconds.")
    if not seconds < exp <= nbf + LIFETIME_SECONDS or not seconds - LIFETIME_SECONDS <= nbf <= seconds + AHEAD_SECONDS:
        raise InvalidRequestObject("It counts from nbf to exp, for an hour at most.")


def _text(name: str, claim: Any) -> str:
    """A claim in the shape of its parameter: details are JSON, all else is a string (RFC 9101 §4, RFC 9396 §3)."""
    if name == "authorization_details" and isinstance(claim, list):
        return json.dumps(claim, ensure_ascii=False, separators=(",", ":"))
    if name == "authorization_details" or not isinstance(claim, str) or "\0" in claim:
        raise InvalidRequestObject(f"The member {name} is of another type.")
    return claim
