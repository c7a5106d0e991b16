"""Client keys: assertions (RFC 7523 with the FAPI 2.0 rules) and DPoP proofs (RFC 9449)."""

import base64
import hashlib
import secrets
import time
from collections.abc import Mapping
from typing import Any

from joserfc import jws, jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, Key, OKPKey, RSAKey

_ALGORITHMS = {"EC": "ES256", "RSA": "PS256", "OKP": "Ed25519"}  # RFC 9864 for OKP
_CURVES = {"EC": "P-256", "RSA": None, "OKP": "Ed25519"}
_KEYS: dict[str, type[ECKey | OKPKey | RSAKey]] = {"EC": ECKey, "RSA": RSAKey, "OKP": OKPKey}


def b64url(data: bytes) -> str:
    """Base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def new_secret() -> str:
    """256 random bits, 43 characters: a state, a code verifier (RFC 7636 §4.1), a jti."""
    return b64url(secrets.token_bytes(32))


def challenge(verifier: str) -> str:
    """The S256 code challenge of RFC 7636 §4.2."""
    return b64url(hashlib.sha256(verifier.encode()).digest())


class ClientKey:
    """The key that a client registered; signs its assertions."""

    def __init__(self, private_jwk: Mapping[str, Any]) -> None:
        """`private_jwk`: EC P-256, Ed25519, or RSA of 2048 bits or more, with private members.

        Raises:
            ValueError: another kind of key, or one without private members.
        """
        kind = str(private_jwk.get("kty"))
        if kind not in _KEYS or "d" not in private_jwk or private_jwk.get("crv") != _CURVES[kind]:
            raise ValueError("the client key must be a private JWK: EC P-256, Ed25519 (OKP) or RSA")
        try:
            self._key: Key = _KEYS[kind].import_key(dict(private_jwk))
        except (JoseError, ValueError, TypeError) as error:
            raise ValueError(f"the client key cannot be read ({type(error).__name__})") from None
        if isinstance(self._key, RSAKey) and self._key.public_key.key_size < 2048:
            raise ValueError("an RSA key needs 2048 bits or more")
        self._alg = str(private_jwk.get("alg") or _ALGORITHMS[kind])
        self._kid = private_jwk.get("kid")

    def assertion(self, client_id: str, issuer: str) -> str:
        """A client assertion for one call: audience is the issuer alone, a minute of life, fresh jti (RFC 10070)."""
        now = int(time.time())
        header = {"alg": self._alg, "typ": "client-authentication+jwt"}
        if self._kid:
            header["kid"] = str(self._kid)
        claims = {"iss": client_id, "sub": client_id, "aud": issuer, "iat": now, "exp": now + 60, "jti": new_secret()}
        return jwt.encode(header, claims, self._key, algorithms=[self._alg])


class ProofKey:
    """A key of this process's own that its tokens are bound to; it never leaves memory."""

    def __init__(self) -> None:
        self._key = ECKey.generate_key("P-256")
        self._public = {name: str(value) for name, value in self._key.as_dict(private=False).items() if name in {"kty", "crv", "x", "y"}}
        self._header = {"typ": "dpop+jwt", "alg": "ES256", "jwk": self._public}

    def proof(self, method: str, url: str, *, access_token: str | None = None, nonce: str | None = None) -> str:
        """A DPoP proof for one request (RFC 9449 §4.2); `url` without query and fragment."""
        claims: dict[str, Any] = {"jti": new_secret(), "htm": method, "htu": url.split("?", maxsplit=1)[0], "iat": int(time.time())}
        if access_token:
            claims["ath"] = b64url(hashlib.sha256(access_token.encode()).digest())
        if nonce:
            claims["nonce"] = nonce
        registry = jws.JWSRegistry(algorithms=["ES256"], strict_check_header=False)
        return jwt.encode(self._header, claims, self._key, registry=registry)
