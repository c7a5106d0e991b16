"""Authentication at the edge of the resources: a sender-constrained token becomes a capability in a handler's signature.

Handlers name `checker`, `any_checker`, `grant_client` or `loan_reporter`; there is no other way to a `Caller`. One statement serves many
requests at once: it reads token, client and institution and uses up the proof's jti in one commit (`consent.oauth.store.use_tokens`).
"""

import re
from collections.abc import Awaitable, Callable, Mapping
from functools import lru_cache
from typing import Any, TypeVar, cast

import msgspec
from litestar import Request
from litestar.di import NamedDependency, Provide
from litestar.params import SkipValidation
from sqlalchemy.ext.asyncio import AsyncEngine

from consent.clock import utc_now
from consent.errors import Forbidden, NotAuthenticated
from consent.oauth import store
from consent.oauth.dpop import NonceNeeded, Proof, ProofKeys, ProofRefused, check_proof
from consent.oauth.gather import Gather
from consent.oauth.jose import ALGORITHMS
from consent.oauth.limits import Limits
from consent.oauth.nonces import Nonces
from consent.oauth.profile import Profile
from consent.oauth.proxies import CertificateRefused
from consent.oauth.store import Mark, Presented, TokenInUse, secret_hash
from consent.parties.access import AnyChecker, Caller, Checker, GrantClient, LoanReporter
from consent.parties.terminals import Terminal

AnyRequest = Request[Any, Any, Any]
C = TypeVar("C", bound=Caller)

_AUTHORIZATION = re.compile(r"(dpop|bearer) +([A-Za-z0-9_-]{43})", re.IGNORECASE)
_CHALLENGE = f'DPoP algs="{" ".join(ALGORITHMS)}"'


class TokenRefused(NotAuthenticated):
    """No token, or one that does not count with what its sender holds (RFC 6750 §3.1, RFC 9449 §7.1, RFC 8705 §3)."""

    def __init__(self, error: str | None, nonce: str | None = None) -> None:
        """`error` is invalid_token, invalid_dpop_proof or, with a `nonce`, use_dpop_nonce; None where no token was sent at all."""
        super().__init__(
            "需要有效的访问令牌，并以 DPoP 证明或所绑定的客户端证书证明持有。",
            "A valid access token is needed, with a DPoP proof of its key or over a connection with its client certificate.",
            code=error or "not_authenticated",
        )
        self.headers: Mapping[str, str] = {"www-authenticate": f'{_CHALLENGE}, error="{error}"' if error else _CHALLENGE}
        if nonce is not None:
            self.headers |= {"dpop-nonce": nonce}


class ScopeMissing(Forbidden):
    """The token is valid and not for this."""

    def __init__(self, refused: Forbidden, scope: str | None) -> None:
        super().__init__(refused.zh, refused.en, code=refused.code)
        wanted = f', scope="{scope}"' if scope else ""
        self.headers: Mapping[str, str] = {"www-authenticate": f'{_CHALLENGE}, error="insufficient_scope"{wanted}'}


class Edge:
    """Authenticates the requests of one process. One per event loop."""

    def __init__(self, engine: AsyncEngine, issuer: str, profile: Profile, nonces: Nonces | None, limits: Limits) -> None:
        self._issuer = issuer
        self._proxies = profile.proxies
        self._nonces = nonces
        self._limits = limits
        self._keys = ProofKeys()
        self._tokens: Gather[Presented, TokenInUse | None] = Gather(lambda batch: store.use_tokens(engine, batch))

    async def authenticate(self, request: AnyRequest) -> Caller:
        """Whoever sends this request.

        Raises:
            TokenRefused: no token, not in force, or without a fresh proof of its key for this request, or not over a connection with
                the certificate that it is bound to.
            RateExceeded: the client asks too often.
            DatabaseUnavailable: nothing is known.
        """
        if self._nonces is not None:
            await self._nonces.load()
        is_dpop, token = _token(request)
        token_hash = secret_hash(token)
        if is_dpop:
            proof = self._proof(request, token)
            mark = Mark.of("dpop", proof.jkt, proof.jti, proof.expires_at)
            found = await self._tokens.get(Presented(token_hash, "jkt", proof.jkt, mark))
        else:
            found = await self._tokens.get(Presented(token_hash, "x5t#S256", self._thumbprint(request), None))
        if found is None:
            raise TokenRefused("invalid_token")
        if not found.bound or not found.fresh:
            raise TokenRefused("invalid_dpop_proof" if is_dpop else "invalid_token")
        if is_dpop:
            self._keys.remember(proof.key)
        self._limits.check_client(found.client_id)
        return Caller(
            client_id=found.client_id,
            institution_id=found.institution_id,
            institution_kind=found.institution_kind,
            scopes=frozenset(found.scopes),
            token_hash=token_hash,
            terminals=_terminals(found.terminals),
            address=self._proxies.address(request.scope) if found.terminals != "[]" else None,
        )

    def _proof(self, request: AnyRequest, token: str) -> Proof:
        proofs = [value.decode("latin-1") for name, value in request.scope["headers"] if name == b"dpop"]
        path = request.scope.get("raw_path") or request.scope["path"].encode()
        url = f"{self._issuer}{path.split(b'?')[0].decode('latin-1')}"
        now = utc_now()
        try:
            return check_proof(proofs, request.scope["method"], url, now, access_token=token, keys=self._keys, nonces=self._nonces)
        except NonceNeeded as needed:
            raise TokenRefused("use_dpop_nonce", needed.nonce) from None
        except ProofRefused:
            raise TokenRefused("invalid_dpop_proof") from None

    def _thumbprint(self, request: AnyRequest) -> str:
        """Of the connection's certificate. A bound token without it is refused, whatever the token: nothing here is a bearer token."""
        try:
            certificate = self._proxies.certificate(request.scope, utc_now())
        except CertificateRefused:
            certificate = None
        if certificate is None:
            raise TokenRefused("invalid_token")
        return certificate.thumbprint


@lru_cache(1024)
def _terminals(text: str) -> tuple[Terminal, ...]:
    return msgspec.json.decode(text, type=tuple[Terminal, ...])


def _token(request: AnyRequest) -> tuple[bool, str]:
    """Whether the scheme is DPoP, and the token; from the header and nowhere else: never a query, where logs would keep it."""
    authorization = [value.decode("latin-1") for name, value in request.scope["headers"] if name == b"authorization"]
    if not authorization:
        raise TokenRefused(None)
    match = _AUTHORIZATION.fullmatch(authorization[0].strip()) if len(authorization) == 1 else None
    if match is None:
        raise TokenRefused("invalid_token")
    return match[1].lower() == "dpop", match[2]


def _provider(kind: type[C]) -> Callable[..., Awaitable[C]]:
    async def provide(request: AnyRequest, oauth: NamedDependency[SkipValidation[Any]]) -> C:
        caller = await oauth.edge.authenticate(request)
        try:
            return kind.of(caller)
        except Forbidden as refused:
            raise ScopeMissing(refused, kind.SCOPE) from None

    return provide


_CAPABILITIES: dict[str, type[Caller]] = {
    "caller": Caller,
    "checker": Checker,
    "any_checker": AnyChecker,
    "grant_client": GrantClient,
    "loan_reporter": LoanReporter,
}

dependencies: dict[str, Provide] = {name: Provide(cast("Any", _provider(kind))) for name, kind in _CAPABILITIES.items()}
"""For `Litestar(dependencies=…)`, beside `oauth` (`consent.oauth.service.OAuth`)."""
