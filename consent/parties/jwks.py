"""A client's public keys and redirect addresses: what registration accepts.

Refuses private members, unknown members, keys too weak for FAPI 2.0 (RSA under 2048 bits, curves other than P-256 and Ed25519) and
every redirect address that a browser or a careless parser could read in two ways (RFC 9700 §2.1, RFC 6749 §3.1.2).
"""

import re
from base64 import urlsafe_b64decode
from collections.abc import Iterable
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey, RSAKey

from consent.errors import InvalidRequest

MAX_KEYS = 8
MAX_REDIRECT_URIS = 10

ALGORITHMS: dict[str, frozenset[str]] = {
    "RSA": frozenset({"PS256"}),
    "EC": frozenset({"ES256"}),
    "OKP": frozenset({"EdDSA", "Ed25519"}),
}
"""FAPI 2.0 Security Profile §5.4: PS256, ES256 and EdDSA on Ed25519."""

_PUBLIC_MEMBERS = {"RSA": {"n", "e"}, "EC": {"crv", "x", "y"}, "OKP": {"crv", "x"}}
_CURVES = {"EC": "P-256", "OKP": "Ed25519"}
_COMMON_MEMBERS = {"kty", "kid", "use", "alg", "key_ops"}
_PRIVATE_MEMBERS = {"d", "p", "q", "dp", "dq", "qi", "oth", "k"}
_KID = re.compile(r"[A-Za-z0-9._~-]{1,128}")
_BASE64URL = re.compile(r"[A-Za-z0-9_-]{1,1024}")

_URI = re.compile(r"[A-Za-z0-9._~:/?\[\]@!$&'()*+,;=%-]{1,2000}")
_HOST = re.compile(r"(?=.{1,253}\Z)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*")
_LOOPBACK = {"127.0.0.1", "::1", "localhost"}
_RESPONSE_PARAMETERS = {"code", "state", "iss", "error", "error_description", "error_uri", "response"}


def check_jwks(jwks: Any) -> list[str]:
    """The RFC 7638 thumbprints (base64url of SHA-256) of a set of public keys, sorted.

    Args:
        jwks: {"keys": [1 to 8 keys]}; each has a `kid` of its own.

    Raises:
        InvalidRequest: `jwks.invalid`; `jwks.private` if a private member stands in it, which the sender should treat as leaked.
    """
    if not isinstance(jwks, dict) or set(jwks) != {"keys"} or not isinstance(jwks["keys"], list) or not 1 <= len(jwks["keys"]) <= MAX_KEYS:
        raise _invalid_key("one to eight keys in the member keys")
    thumbprints = [_thumbprint(key) for key in jwks["keys"]]
    kids = {key["kid"] for key in jwks["keys"]}
    if len(kids) != len(thumbprints) or len(set(thumbprints)) != len(thumbprints):
        raise _invalid_key("each key and each kid once")
    return sorted(thumbprints)


def _thumbprint(key: Any) -> str:
    if not isinstance(key, dict):
        raise _invalid_key("keys are objects")
    if not _PRIVATE_MEMBERS.isdisjoint(key):
        raise InvalidRequest(
            "密钥集含有私钥成分，请立即更换密钥，且只登记公钥。",
            "The set holds a private key. Replace that key now, and register public keys only.",
            code="jwks.private",
            member="jwks",
        )
    kty = key.get("kty")
    if not isinstance(kty, str) or kty not in _PUBLIC_MEMBERS:
        raise _invalid_key("kty is RSA, EC or OKP")
    public = _PUBLIC_MEMBERS[kty]
    if not public <= set(key) <= public | _COMMON_MEMBERS or not all(isinstance(key[m], str) for m in public | {"kid"} if m in key):
        raise _invalid_key("only the members of a public signing key")
    if "kid" not in key or _KID.fullmatch(key["kid"]) is None or not all(_BASE64URL.fullmatch(key[m]) for m in public - {"crv"}):
        raise _invalid_key("a kid of 1 to 128 unreserved characters, numbers in base64url")
    if key.get("use", "sig") != "sig" or key.get("key_ops", ["verify"]) != ["verify"]:
        raise _invalid_key("use is sig")
    if "alg" in key and key["alg"] not in ALGORITHMS[kty]:
        raise _invalid_key("alg is PS256, ES256, EdDSA or Ed25519 and fits the key")
    if kty in _CURVES and key["crv"] != _CURVES[kty]:
        raise _invalid_key("crv is P-256 or Ed25519")
    return _imported_thumbprint(kty, key)


def _imported_thumbprint(kty: str, key: dict[str, Any]) -> str:
    """Parses the numbers themselves, so that a point off the curve or an even modulus is found now and not at the first signature."""
    try:
        if kty == "RSA":
            modulus = int.from_bytes(urlsafe_b64decode(key["n"] + "=" * (-len(key["n"]) % 4)))
            if not 2048 <= modulus.bit_length() <= 6144 or modulus % 2 == 0 or key["e"] != "AQAB":
                raise _invalid_key("RSA of 2048 to 6144 bits with exponent 65537")
            return RSAKey.import_key(key).thumbprint()
        if kty == "EC":
            return ECKey.import_key(key).thumbprint()
        return OKPKey.import_key(key).thumbprint()
    except (JoseError, ValueError, TypeError) as error:
        raise _invalid_key("numbers that make a key") from error


def _invalid_key(rule: str) -> InvalidRequest:
    """`rule` is one of the sentences above, never the key's text."""
    return InvalidRequest("公钥集不符合要求。", f"The key set is refused. Needed: {rule}.", code="jwks.invalid", member="jwks")


def check_redirect_uris(uris: Iterable[str]) -> tuple[str, ...]:
    """The redirect addresses, unchanged: matching is by exact comparison (RFC 9700 §2.1).

    Accepts https, and http on loopback (RFC 8252 §7.3).

    Raises:
        InvalidRequest: `redirect_uri.invalid`.
    """
    uris = tuple(uris)
    if len(uris) > MAX_REDIRECT_URIS or len(set(uris)) != len(uris) or not all(_is_redirect_uri(uri) for uri in uris):
        raise InvalidRequest(
            "回调地址不符合要求：应为 https（本机可用 http），不含用户信息、片段和相对路径。",
            "A redirect address is https (http on loopback), without user, fragment, dot segments or OAuth parameters.",
            code="redirect_uri.invalid",
            member="redirect_uris",
        )
    return uris


def _is_redirect_uri(uri: str) -> bool:
    if _URI.fullmatch(uri) is None:
        return False
    try:
        parts = urlsplit(uri)
        port = parts.port
        names = {name for name, _ in parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))}
    except ValueError:
        return False
    host = parts.hostname or ""
    # urlsplit lowers scheme and host; comparing with what stood there refuses every other spelling.
    written = f"[{host}]" if ":" in host else host
    if port is not None:
        written = f"{written}:{port}"
    segments = parts.path.lower().replace("%2e", ".").replace("%2f", "/").replace("%5c", "/").split("/")
    return (
        uri.startswith((f"https://{written}", f"http://{written}"))
        and (parts.scheme == "https" or host in _LOOPBACK)
        and parts.netloc == written
        and (host == "::1" or _HOST.fullmatch(host) is not None)
        and port != 0
        and not {".", ".."} & set(segments)
        and names.isdisjoint(_RESPONSE_PARAMETERS)
    )
