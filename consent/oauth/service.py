"""The authorization server of one process: what its endpoints and the edge of the resources share."""

from typing import Any

from litestar import Request
from sqlalchemy.ext.asyncio import AsyncEngine

from consent import db
from consent.catalogue.model import Catalogue
from consent.clock import utc_now
from consent.oauth import authorization, introspection, par, tokens
from consent.oauth.access import Edge
from consent.oauth.authentication import Authenticated, ClientAuthenticator
from consent.oauth.dpop import Proof, ProofRefused, check_proof
from consent.oauth.errors import InvalidClient
from consent.oauth.form import Form, read_form
from consent.oauth.limits import Limits
from consent.oauth.metadata import metadata
from consent.oauth.model import PushedRequest, RequestJudge
from consent.oauth.nonces import Nonces
from consent.oauth.profile import Profile
from consent.oauth.proxies import CertificateRefused

AnyRequest = Request[Any, Any, Any]


class OAuth:
    """One per event loop, for it gathers the look-ups of concurrent requests."""

    def __init__(self, engine: AsyncEngine, issuer: str, catalogue: Catalogue, judge: RequestJudge, profile: Profile | None = None) -> None:
        """`issuer` is the configured one (`Settings.issuer`); no URL is ever made from a Host header."""
        self.issuer = issuer
        self.profile = profile or Profile()
        self._nonces = Nonces(engine) if self.profile.dpop_nonce else None
        self.limits = Limits(self.profile)
        self.edge = Edge(engine, issuer, self.profile, self._nonces, self.limits)
        self.metadata = metadata(issuer)
        self._engine = engine
        self._catalogue = catalogue
        self._judge = judge
        self._clients = ClientAuthenticator(engine, issuer, self.profile)

    def adopt(self, catalogue: Catalogue) -> None:
        """Judge requests against this catalogue from now on."""
        self._catalogue = catalogue

    async def push(self, request: AnyRequest) -> par.PushedReply:
        """POST /oauth/par."""
        caller, form = await self._authenticate(request, "/oauth/par")
        return await par.push(self._engine, self._catalogue, self._judge, self.issuer, caller, form)

    async def open(self, client_id: str, request_uri: str) -> PushedRequest:
        """GET /oauth/authorize: the request, if it may still be decided on."""
        async with db.read(self._engine) as connection:
            return await authorization.open_pushed(connection, client_id, request_uri)

    async def issue_token(self, request: AnyRequest) -> dict[str, Any]:
        """POST /oauth/token."""
        caller, form = await self._authenticate(request, "/oauth/token")
        return await tokens.issue_token(self._engine, caller, form)

    async def introspect(self, request: AnyRequest) -> dict[str, Any]:
        """POST /oauth/introspect."""
        caller, form = await self._authenticate(request, None)
        return await introspection.introspect(self._engine, self.issuer, caller.client, form)

    async def revoke(self, request: AnyRequest) -> None:
        """POST /oauth/revoke."""
        caller, form = await self._authenticate(request, None)
        await introspection.revoke(self._engine, caller.client, form)

    async def _authenticate(self, request: AnyRequest, proof_path: str | None) -> tuple[Authenticated, Form]:
        """The client and the form; where `proof_path` is given, a DPoP proof counts too."""
        self.limits.check_address(request.scope)
        form = await read_form(request)
        if self._nonces is not None:
            await self._nonces.load()
        try:
            certificate = self.profile.proxies.certificate(request.scope, utc_now())
        except CertificateRefused as refused:
            raise InvalidClient(str(refused)) from None
        proof = None if proof_path is None else self._proof(request, proof_path)
        caller = await self._clients.authenticate(form, proof, certificate)
        self.limits.check_client(caller.client.id)
        return caller, form

    def _proof(self, request: AnyRequest, path: str) -> Proof | ProofRefused | None:
        headers = [value.decode("latin-1") for name, value in request.scope["headers"] if name == b"dpop"]
        if not headers:
            return None
        try:
            return check_proof(headers, "POST", f"{self.issuer}{path}", utc_now(), nonces=self._nonces)
        except ProofRefused as refused:
            return refused
