"""Client authentication by private_key_jwt: the rules of RFC 7523 as FAPI 2.0 and RFC 10070 narrow them. No I/O.

Whether the jti was seen before is not decided here; `consent.oauth.authentication` marks it.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

from consent.oauth.errors import InvalidClient, InvalidRequest
from consent.oauth.form import Form
from consent.oauth.jose import JoseRefused, PublicKey, Signed, check_algorithm, is_identifier, is_numeric_date, parse_compact

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
PARAMETERS = frozenset({"client_id", "client_assertion", "client_assertion_type"})

TYPE = "client-authentication+jwt"
LIFETIME_SECONDS = 300
AHEAD_SECONDS = 10
"""FAPI 2.0 Security Profile §5.3.2.1: iat and nbf up to ten seconds ahead are clocks that differ."""

_CLIENT_ID = re.compile(r"[!-~]{1,128}")
_OWN_KEY_HEADERS = frozenset({"jwk", "jku", "x5u", "x5c"})


@dataclass(frozen=True, slots=True)
class PresentedAssertion:
    """An assertion as sent: who it claims to come from. Nothing is proven yet."""

    client_id: str
    signed: Signed
    header: dict[str, Any]
    claims: dict[str, Any]


@dataclass(frozen=True, slots=True)
class ProvenAssertion:
    """An assertion that a registered key signed for this service; its jti must still be marked."""

    client_id: str
    jti: str
    expires_at: datetime


def is_asserted(form: Form) -> bool:
    """Whether the request authenticates by an assertion, or tries to."""
    return "client_assertion" in form or "client_assertion_type" in form or "client_secret" in form


def read_client_id(form: Form) -> str:
    """Who a request without an assertion claims to come from.

    Raises:
        InvalidClient: nobody, or nothing that is a client id.
    """
    client_id = form.get("client_id", "")
    if _CLIENT_ID.fullmatch(client_id) is None:
        raise InvalidClient
    return client_id


def read_assertion(form: Form) -> PresentedAssertion:
    """The assertion among the parameters.

    Raises:
        InvalidClient: none, of another type, malformed, or its subject is not the client that `client_id` names.
        InvalidRequest: a client secret stands beside it (RFC 6749 §2.3).
    """
    if "client_secret" in form:
        raise InvalidRequest("One way of client authentication at a time; this service takes private_key_jwt, or a registered certificate.")
    if form.get("client_assertion_type") != ASSERTION_TYPE or "client_assertion" not in form:
        raise InvalidClient
    try:
        signed = parse_compact(form["client_assertion"])
        header, claims = signed.parse_header(), signed.parse_unverified_claims()
    except JoseRefused:
        raise InvalidClient from None
    client_id = claims.get("sub")
    if not isinstance(client_id, str) or _CLIENT_ID.fullmatch(client_id) is None or form.get("client_id", client_id) != client_id:
        raise InvalidClient
    return PresentedAssertion(client_id, signed, header, claims)


def prove(
    presented: PresentedAssertion, keys: Mapping[str | None, PublicKey], issuer: str, now: datetime, untyped_until: date
) -> ProvenAssertion:
    """Verify the signature with the client's registered keys, then the claims.

    Args:
        keys: the client's public keys by kid; empty for an unknown or suspended client.
        issuer: the only audience, as a string (RFC 10070 §3).
        untyped_until: the last day (UTC) on which an assertion may have no type of its own, or plain JWT, as older client libraries
            write it (RFC 10070 §4).

    Raises:
        InvalidClient: always the same, whatever is wrong.
    """
    header, claims = presented.header, presented.claims
    if (
        not _is_type(header.get("typ"), untyped=now.date() <= untyped_until)
        or not _OWN_KEY_HEADERS.isdisjoint(header)
        or not is_signed(presented.signed, header, keys)
    ):
        raise InvalidClient
    if claims.get("iss") != presented.client_id or claims.get("aud") != issuer or not is_identifier(claims.get("jti")):
        raise InvalidClient
    seconds = now.timestamp()
    exp = claims.get("exp")
    if not is_numeric_date(exp) or not seconds < exp <= seconds + LIFETIME_SECONDS + AHEAD_SECONDS:
        raise InvalidClient
    for name in ("iat", "nbf"):
        if name in claims and not (is_numeric_date(claims[name]) and claims[name] <= seconds + AHEAD_SECONDS):
            raise InvalidClient
    return ProvenAssertion(presented.client_id, claims["jti"], datetime.fromtimestamp(exp, UTC))


def _is_type(typ: Any, *, untyped: bool) -> bool:
    if untyped and (typ is None or typ == "JWT"):
        return True
    return isinstance(typ, str) and typ.lower().removeprefix("application/") == TYPE


def is_signed(signed: Signed, header: dict[str, Any], keys: Mapping[str | None, PublicKey]) -> bool:
    """By the key that `kid` names; without a kid by any key of the client's, of which there are at most eight."""
    if "kid" in header:
        kid = header["kid"]
        named = keys.get(kid) if isinstance(kid, str) else None
        candidates = [] if named is None else [named]
    else:
        candidates = list(keys.values())
    for key in candidates:
        try:
            algorithm = check_algorithm(header.get("alg"), key)
        except JoseRefused:
            continue
        if signed.verify(algorithm, key):
            return True
    return False
