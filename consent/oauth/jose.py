"""JSON Web Signatures, read strictly (RFC 7515, 8725): the part that client assertions and DPoP proofs share.

The bytes are taken apart here, because joserfc limits a header to 512 bytes (an RSA proof's is longer), takes the last of two equal
JSON members, and raises what is not its own error on hostile input. Keys and signatures stay joserfc's.
"""

import binascii
import json
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeGuard

from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey, RSAKey
from joserfc.jws import JWSRegistry

MAX_HEADER = 4096
MAX_PAYLOAD = 16 * 1024
MAX_SIGNATURE = 1024
MAX_RSA_BITS = 8192

ALGORITHMS: Mapping[str, str] = {"PS256": "RSA", "ES256": "EC", "EdDSA": "OKP", "Ed25519": "OKP"}
"""FAPI 2.0 Security Profile §5.4.1, and the kind of key that each needs."""

PublicKey: TypeAlias = RSAKey | ECKey | OKPKey

_SEGMENTS = tuple((limit * 4 + 2) // 3 for limit in (MAX_HEADER, MAX_PAYLOAD, MAX_SIGNATURE))
_COMPACT = re.compile(r"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)")
_PRIVATE = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
_MEMBERS = {"RSA": ("e", "kty", "n"), "EC": ("crv", "kty", "x", "y"), "OKP": ("crv", "kty", "x")}
_TYPES: Mapping[str, type[PublicKey]] = {"RSA": RSAKey, "EC": ECKey, "OKP": OKPKey}
_CURVES = {"EC": "P-256", "OKP": "Ed25519"}


class JoseRefused(Exception):
    """Not a signature, key or set of claims that this service takes. The message is ours and quotes nothing."""


@dataclass(frozen=True, slots=True)
class Signed:
    """A compact serialization taken apart; nothing is verified yet."""

    header_segment: str
    payload_segment: str
    signature: bytes

    def parse_header(self) -> dict[str, Any]:
        """The protected header.

        Raises:
            JoseRefused: not a JSON object, or with an extension that must be understood.
        """
        header = parse_object(_decode_segment(self.header_segment))
        if "crit" in header or "b64" in header:
            raise JoseRefused("no critical extension is understood")
        return header

    def parse_unverified_claims(self) -> dict[str, Any]:
        """The payload, before anybody vouched for it.

        Raises:
            JoseRefused: not a JSON object.
        """
        return parse_object(_decode_segment(self.payload_segment))

    def verify(self, algorithm: str, key: PublicKey) -> bool:
        """Whether `key` made the signature with `algorithm`, which must be one of `ALGORITHMS` and fit the key."""
        signing_input = f"{self.header_segment}.{self.payload_segment}".encode("ascii")
        try:
            return bool(JWSRegistry.algorithms[algorithm].verify(signing_input, self.signature, key))
        except (JoseError, ValueError, TypeError):
            return False


def parse_compact(text: str) -> Signed:
    """Take a compact serialization apart.

    Raises:
        JoseRefused: not three base64url parts within the limits.
    """
    match = _COMPACT.fullmatch(text) if len(text) <= sum(_SEGMENTS) + 2 else None
    if match is None or any(len(part) > limit for part, limit in zip(match.groups(), _SEGMENTS, strict=True)):
        raise JoseRefused("not a compact serialization of acceptable size")
    return Signed(match[1], match[2], b64url_decode(match[3]))


def b64url_decode(text: str) -> bytes:
    """Base64url without padding, in its one canonical spelling, so that a signature or hash has no second form.

    Raises:
        JoseRefused: anything else.
    """
    try:
        decoded = urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (binascii.Error, ValueError):
        raise JoseRefused("not base64url") from None
    if b64url_encode(decoded) != text:
        raise JoseRefused("not base64url")
    return decoded


def _decode_segment(text: str) -> bytes:
    """A part whose alphabet was checked. Its spelling is signed as it stands, so that a second one for the same bytes gains nothing."""
    try:
        return urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (binascii.Error, ValueError):
        raise JoseRefused("not base64url") from None


def b64url_encode(data: bytes) -> str:
    """Base64url without padding."""
    return urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def parse_json(data: bytes | str) -> Any:
    """JSON without repeated members, NaN, infinities, lone surrogates and NUL, nested no deeper than Python bears.

    Raises:
        JoseRefused: anything else.
    """
    try:
        text = data.decode("utf-8") if isinstance(data, bytes) else data
        if "\\u" in text:  # the only way to write a surrogate or NUL
            json.dumps(json.loads(text), ensure_ascii=False).encode("utf-8")
            if "\\u0000" in text:
                raise JoseRefused("a character that is not taken")
        return _strict.decode(text)
    except (ValueError, RecursionError):
        raise JoseRefused("not JSON in the strict sense") from None


def parse_object(data: bytes | str) -> dict[str, Any]:
    """A JSON object by the rules of `parse_json`.

    Raises:
        JoseRefused: not an object, or not such JSON.
    """
    value = parse_json(data)
    if not isinstance(value, dict):
        raise JoseRefused("not a JSON object")
    return value


def import_public_key(jwk: Any) -> PublicKey:
    """A public key for one of `ALGORITHMS`. Members that the key's kind does not need are left aside.

    Raises:
        JoseRefused: private members, another kind or curve, RSA outside 2048 to 8192 bits, or no key at all.
    """
    if not isinstance(jwk, dict) or not _PRIVATE.isdisjoint(jwk):
        raise JoseRefused("not a public key")
    kty = jwk.get("kty")
    names = _MEMBERS.get(kty) if isinstance(kty, str) else None
    if kty is None or names is None or not all(isinstance(jwk.get(name), str) for name in names):
        raise JoseRefused("not a key of a kind that is taken")
    if kty in _CURVES and jwk["crv"] != _CURVES[kty]:
        raise JoseRefused("a curve that is not taken")
    numbers = {name: int.from_bytes(b64url_decode(jwk[name])) for name in set(names) - {"kty", "crv"}}
    if kty == "RSA" and not (2048 <= numbers["n"].bit_length() <= MAX_RSA_BITS and numbers["e"].bit_length() <= 32):
        raise JoseRefused("RSA keys have 2048 to 8192 bits and a small exponent")
    try:
        key = _TYPES[kty].import_key({name: jwk[name] for name in names})
        key.raw_value  # noqa: B018 - parses the numbers, so that a point off the curve is found here
    except (JoseError, ValueError, TypeError):
        raise JoseRefused("not a key") from None
    return key


def check_algorithm(algorithm: Any, key: PublicKey) -> str:
    """`algorithm` if it is one of ours and fits `key`.

    Raises:
        JoseRefused: none, a symmetric one, or one for another kind of key (RFC 8725 §3.1).
    """
    if not isinstance(algorithm, str) or ALGORITHMS.get(algorithm) != key.key_type:
        raise JoseRefused("the algorithm is PS256, ES256 or EdDSA and fits the key")
    return algorithm


def is_numeric_date(value: Any) -> TypeGuard[int]:
    """Whether `value` is a whole number of seconds within four millennia; True, 1.0 and 1e400 are not."""
    return type(value) is int and 0 <= value <= 1 << 36


def is_identifier(value: Any) -> bool:
    """Whether `value` can be a jti: 1 to 256 printable characters of ASCII."""
    return isinstance(value, str) and 1 <= len(value) <= 256 and value.isascii() and value.isprintable()


def _members_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise JoseRefused("a member stands twice")
    return members


def _refuse_constant(_: str) -> Any:
    raise JoseRefused("not a JSON number")


def _finite(text: str) -> float:
    value = float(text)
    if value in {float("inf"), float("-inf")}:
        raise JoseRefused("not a number that can be held")
    return value


_strict = json.JSONDecoder(object_pairs_hook=_members_once, parse_constant=_refuse_constant, parse_float=_finite)
