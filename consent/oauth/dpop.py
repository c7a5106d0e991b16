"""DPoP proofs (RFC 9449 §4.3), without I/O: whoever sends a request holds the key that its token is bound to.

Whether the jti was seen before is decided by whoever marks it, in the same statement that reads the token.
"""

import hashlib
import hmac
import re
from collections import OrderedDict
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

from consent.oauth.jose import (
    JoseRefused,
    PublicKey,
    b64url_encode,
    check_algorithm,
    import_public_key,
    is_identifier,
    is_numeric_date,
    parse_compact,
)
from consent.oauth.nonces import Nonces

PAST_SECONDS = 60
AHEAD_SECONDS = 10
KEEP = timedelta(seconds=PAST_SECONDS + AHEAD_SECONDS + 10)
"""How long after its iat a jti must be remembered, for the proof could be sent again until then."""

CACHED_KEYS = 2048
JKT = re.compile(r"[A-Za-z0-9_-]{43}")
_DEFAULT_PORTS = {"http": 80, "https": 443}


class ProofRefused(Exception):
    """The proof is missing or not valid. The message is ours and quotes nothing."""


class NonceNeeded(ProofRefused):
    """The proof is right but for its nonce, which the caller may make up for with the one given here (RFC 9449 §8)."""

    def __init__(self, nonce: str) -> None:
        super().__init__("a nonce of this server is needed")
        self.nonce = nonce


@dataclass(frozen=True, slots=True)
class ProofKey:
    """A key that proofs are made with, its algorithm and its thumbprint (RFC 7638), the `jkt`."""

    header_segment: str
    algorithm: str
    key: PublicKey
    jkt: str


@dataclass(frozen=True, slots=True)
class Proof:
    """A valid proof for one request; its jti must still be marked."""

    key: ProofKey
    jti: str
    expires_at: datetime

    @property
    def jkt(self) -> str:
        """Thumbprint of the key."""
        return self.key.jkt


class ProofKeys:
    """Keys whose tokens this process has seen, by the exact header segment, so that parsing and import happen once per key.

    Only keys of accepted requests are remembered: whoever has no token cannot push others out.
    """

    def __init__(self, limit: int = CACHED_KEYS) -> None:
        self._limit = limit
        self._keys: OrderedDict[str, ProofKey] = OrderedDict()

    def get(self, header_segment: str) -> ProofKey | None:
        """The key, if it was remembered."""
        return self._keys.get(header_segment)

    def remember(self, key: ProofKey) -> None:
        """Keep the key of an accepted request, at the cost of the one that was seen first."""
        if key.header_segment not in self._keys:
            self._keys[key.header_segment] = key
            if len(self._keys) > self._limit:
                self._keys.popitem(last=False)


def check_proof(
    headers: list[str],
    method: str,
    url: str,
    now: datetime,
    *,
    access_token: str | None = None,
    keys: ProofKeys | None = None,
    nonces: Nonces | None = None,
) -> Proof:
    """The one proof among the values of the DPoP header, checked against the request.

    Args:
        url: where the request was really sent, from the configured issuer; without query.
        access_token: where a token is presented, whose hash the proof must carry as `ath`.
        nonces: where a nonce is demanded.

    Raises:
        NonceNeeded: the rest is right.
        ProofRefused: RFC 9449 §4.3, any of its points but the jti's.
    """
    if len(headers) != 1:
        raise ProofRefused("exactly one DPoP header is needed")
    try:
        signed = parse_compact(headers[0])
        key = (keys.get(signed.header_segment) if keys else None) or _proof_key(signed.header_segment, signed.parse_header())
        claims = signed.parse_unverified_claims()
    except JoseRefused as error:
        raise ProofRefused(str(error)) from None
    if not signed.verify(key.algorithm, key.key):
        raise ProofRefused("the signature is not the key's")
    if claims.get("htm") != method or not _is_same_url(claims.get("htu"), url):
        raise ProofRefused("the proof is for another request")
    if not is_identifier(claims.get("jti")):
        raise ProofRefused("jti is missing or malformed")
    issued_at = _check_times(claims, now.timestamp())
    if access_token is not None:
        expected = b64url_encode(hashlib.sha256(access_token.encode("ascii")).digest())
        ath = claims.get("ath")
        if not isinstance(ath, str) or not hmac.compare_digest(ath.encode(), expected.encode()):
            raise ProofRefused("the proof is for another token")
    if nonces is not None and not nonces.is_current(claims.get("nonce"), now.timestamp()):
        raise NonceNeeded(nonces.current(now.timestamp()))
    return Proof(key, claims["jti"], datetime.fromtimestamp(issued_at, UTC) + KEEP)


def _proof_key(header_segment: str, header: dict[str, object]) -> ProofKey:
    typ = header.get("typ")
    if not isinstance(typ, str) or typ.lower() != "dpop+jwt":
        raise JoseRefused("typ is dpop+jwt")
    key = import_public_key(header.get("jwk"))
    return ProofKey(header_segment, check_algorithm(header.get("alg"), key), key, key.thumbprint())


def _check_times(claims: dict[str, object], seconds: float) -> int:
    issued_at = claims.get("iat")
    if not is_numeric_date(issued_at) or not seconds - PAST_SECONDS <= issued_at <= seconds + AHEAD_SECONDS:
        raise ProofRefused("iat is missing or too far from now")
    for name, is_passed in (("exp", True), ("nbf", False)):
        if name in claims:
            value = claims[name]
            if not is_numeric_date(value):
                raise ProofRefused(f"{name} is malformed")
            if (value <= seconds) if is_passed else (value > seconds + AHEAD_SECONDS):
                raise ProofRefused(f"{name} is not now")
    return issued_at


def _is_same_url(htu: object, url: str) -> bool:
    """RFC 9449 §4.3: without query and fragment, scheme and host in any case, a default port or none (RFC 3986 §6.2.2, §6.2.3)."""
    if htu == url:
        return True
    if not isinstance(htu, str) or len(htu) > 2048 or not htu.isascii() or not htu.isprintable():
        return False
    try:
        return _normalised(htu) == _normalised(url)
    except ValueError:
        return False


def _normalised(url: str) -> tuple[str, str, int | None, str]:
    parts = urlsplit(url)
    if parts.username is not None or parts.password is not None or not parts.hostname or parts.scheme not in _DEFAULT_PORTS:
        raise ValueError
    return parts.scheme, parts.hostname, parts.port or _DEFAULT_PORTS[parts.scheme], parts.path or "/"
