"""Authentication at the edge of the resources: a sender-constrained token becomes a capability in a handler's signature.

Handlers name `checker`, `any_checker`, `grant_client` or `loan_reporter`; there is no other way to a `Caller`. One statement serves many
requests at once: it reads token, client and institution and uses up the proof's jti in one commit (`consent.oauth.store.use_tokens`).
"""

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar, cast

from litestar import Request
from litestar.di import NamedDependency, Provide
from litestar.params import SkipValidation
from sqlalchemy.ext.asyncio import AsyncEngine

from consent.clock import utc_now
from consent.errors import Forbidden, NotAuthenticated
from consent.oauth import store
from consent.oauth.dpop import Proof, ProofKeys, ProofRefused, check_proof
from consent.oauth.gather import Gather
from consent.oauth.jose import ALGORITHMS
from consent.oauth.store import Mark, Presented, TokenInUse, secret_hash
from consent.parties.access import AnyChecker, Caller, Checker, GrantClient, LoanReporter

AnyRequest = Request[Any, Any, Any]
C = TypeVar("C", bound=Caller)

_AUTHORIZATION = re.compile(r"dpop +([A-Za-z0-9_-]{43})", re.IGNORECASE)
_CHALLENGE = f'DPoP algs="{" ".join(ALGORITHMS)}"'


class TokenRefused(NotAuthenticated):
    """No token, or one that does not count with this proof (RFC 6750 §3.1, RFC 9449 §7.1)."""

    def __init__(self, error: str | None) -> None:
        """`error` is invalid_token, invalid_dpop_proof or use_dpop_nonce; None where no token was sent at all."""
        super().__init__(
            "需要有效的 DPoP 访问令牌及其持有证明。",
            "A valid DPoP access token and a proof of its key are needed.",
            code=error or "not_authenticated",
        )
        self.headers: Mapping[str, str] = {"www-authenticate": f'{_CHALLENGE}, error="{error}"' if error else _CHALLENGE}


class ScopeMissing(Forbidden):
    """The token is valid and not for this."""

    def __init__(self, refused: Forbidden, scope: str | None) -> None:
        super().__init__(refused.zh, refused.en, code=refused.code)
        wanted = f', scope="{scope}"' if scope else ""
        self.headers: Mapping[str, str] = {"www-authenticate": f'{_CHALLENGE}, error="insufficient_scope"{wanted}'}


class Edge:
    """Authenticates the requests of one process. One per event loop."""

    def __init__(self, engine: AsyncEngine, issuer: str) -> None:
        self._issuer = issuer
        self._keys = ProofKeys()
        self._tokens: Gather[Presented, TokenInUse | None] = Gather(lambda batch: store.use_tokens(engine, batch))

    async def authenticate(self, request: AnyRequest) -> Caller:
        """Whoever sends this request.

        Raises:
            TokenRefused: no token, not of the scheme DPoP, not in force, or without a fresh proof of its key for this request.
            DatabaseUnavailable: nothing is known.
        """
        token, proof = self._read(request)
        token_hash = secret_hash(token)
        mark = Mark.of("dpop", proof.jkt, proof.jti, proof.expires_at)
        found = await self._tokens.get(Presented(token_hash, proof.jkt, mark))
        if found is None:
            raise TokenRefused("invalid_token")
        if not found.bound or not found.fresh:
            raise TokenRefused("invalid_dpop_proof")
        self._keys.remember(proof.key)
        return Caller(
            client_id=found.client_id,
            institution_id=found.institution_id,
            institution_kind=found.institution_kind,
            scopes=frozenset(found.scopes),
            token_hash=token_hash,
        )

    def _read(self, request: AnyRequest) -> tuple[str, Proof]:
        """Token and proof from the headers, and from nowhere else: never a query, where logs would keep them."""
        authorization: list[str] = []
        proofs: list[str] = []
        for name, value in request.scope["headers"]:
            if name == b"authorization":
                authorization.append(value.decode("latin-1"))
            elif name == b"dpop":
                proofs.append(value.decode("latin-1"))
        if not authorization:
            raise TokenRefused(None)
        match = _AUTHORIZATION.fullmatch(authorization[0].strip()) if len(authorization) == 1 else None
        if match is None:  # another scheme too: a bound token must not be taken as a bearer token (RFC 9449 §7.1)
            raise TokenRefused("invalid_token")
        path = request.scope.get("raw_path") or request.scope["path"].encode()
        url = f"{self._issuer}{path.split(b'?')[0].decode('latin-1')}"
        try:
            return match[1], check_proof(proofs, request.scope["method"], url, utc_now(), access_token=match[1], keys=self._keys)
        except ProofRefused:
            raise TokenRefused("invalid_dpop_proof") from None


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
