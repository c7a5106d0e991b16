"""Who calls an OAuth endpoint: the registered client, proven by its assertion, and the key that it holds, if it shows one.

Runs before the request's own transaction: a jti is used up on its own, so it stays used when the request fails afterwards, and a request
never holds one connection while it waits for another.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
from sqlalchemy.ext.asyncio import AsyncEngine

from consent.clock import utc_now
from consent.decisions.requests import Allowed
from consent.oauth import store
from consent.oauth.assertion import is_asserted, prove, read_assertion, read_client_id
from consent.oauth.dpop import NonceNeeded, Proof, ProofRefused
from consent.oauth.errors import InvalidClient, InvalidDPoPProof, UseDPoPNonce
from consent.oauth.form import Form
from consent.oauth.gather import Gather
from consent.oauth.jose import JoseRefused, PublicKey, import_public_key
from consent.oauth.profile import Profile
from consent.oauth.proxies import Certificate
from consent.oauth.store import Mark
from consent.parties.model import AuthMethod

CACHED_CLIENTS = 1024


@dataclass(frozen=True, slots=True)
class RegisteredClient:
    """An active client.

    auth_method   the one way in which it proves who it is
    keys          public keys by kid, at most eight (`consent.parties.jwks`)
    certificates  thumbprints of its TLS certificates, where it authenticates by them
    allowed       the items and purposes that it may ask for
    """

    id: str
    institution_id: str
    institution_kind: str
    name: str
    redirect_uris: tuple[str, ...]
    scopes: frozenset[str]
    version: int
    keys: dict[str | None, PublicKey]
    auth_method: AuthMethod = "private_key_jwt"
    certificates: frozenset[str] = frozenset()
    allowed: Allowed = field(default_factory=Allowed)


@dataclass(frozen=True, slots=True)
class Authenticated:
    """A client that proved who it is, and what its tokens can be bound to.

    jkt         thumbprint of the key whose proof counted; None without a proof
    thumbprint  `x5t#S256` of the connection's client certificate; None without one
    """

    client: RegisteredClient
    jkt: str | None
    thumbprint: str | None = None

    @property
    def cnf(self) -> dict[str, str] | None:
        """The confirmation of a token issued now (RFC 7800): the proof's key, else the certificate; None where it holds neither."""
        if self.jkt is not None:
            return {"jkt": self.jkt}
        return None if self.thumbprint is None else {"x5t#S256": self.thumbprint}


class ClientAuthenticator:
    """Client authentication for all OAuth endpoints. Keys are parsed once per version of a client; its status is read every time."""

    def __init__(self, engine: AsyncEngine, issuer: str, profile: Profile) -> None:
        self._issuer = issuer
        self._profile = profile
        self._clients: Gather[str, Any] = Gather(lambda ids: store.active_clients(engine, ids))
        self._marks: Gather[Sequence[Mark], tuple[bool, ...]] = Gather(lambda batch: store.mark(engine, batch))
        self._known: OrderedDict[str, RegisteredClient] = OrderedDict()

    async def authenticate(
        self, form: Form, proof: Proof | ProofRefused | None = None, certificate: Certificate | None = None
    ) -> Authenticated:
        """The client that sent `form`.

        Args:
            proof: what became of the request's DPoP header. A refused one is only told to a client that is proven, and after its
                assertion was used up.
            certificate: of the connection, as a listed proxy names it.

        Raises:
            InvalidClient: not proven, or the assertion was used before.
            InvalidRequest: two ways of authentication at once.
            InvalidDPoPProof, UseDPoPNonce: the proof is refused or was used before.
            DatabaseUnavailable: nothing is known.
        """
        if is_asserted(form):
            client, marks = await self._by_assertion(form)
        else:
            client, marks = await self._by_certificate(form, certificate), []
        if isinstance(proof, Proof):
            marks.append(Mark.of("dpop", proof.jkt, proof.jti, proof.expires_at))
        first_use = await self._marks.get(marks) if marks else ()
        if is_asserted(form) and not first_use[0]:
            raise InvalidClient
        if isinstance(proof, NonceNeeded):
            raise UseDPoPNonce(proof.nonce)
        if isinstance(proof, ProofRefused):
            raise InvalidDPoPProof(f"The DPoP proof is refused: {proof}.")
        if not all(first_use):
            raise InvalidDPoPProof("The DPoP proof was used before.")
        return Authenticated(client, proof.jkt if proof else None, certificate.thumbprint if certificate else None)

    async def _by_assertion(self, form: Form) -> tuple[RegisteredClient, list[Mark]]:
        presented = read_assertion(form)
        client = self._read(await self._clients.get(presented.client_id))
        keys = client.keys if client is not None and client.auth_method == "private_key_jwt" else {}
        proven = prove(presented, keys, self._issuer, utc_now(), self._profile.untyped_until)
        if client is None:  # without keys nothing was proven
            raise InvalidClient
        return client, [Mark.of("assertion", proven.client_id, proven.jti, proven.expires_at)]

    async def _by_certificate(self, form: Form, certificate: Certificate | None) -> RegisteredClient:
        """RFC 8705 §2.2: the certificate is one that the client registered, and certificates are its registered way."""
        client_id = read_client_id(form)
        client = self._read(await self._clients.get(client_id)) if certificate else None
        if client is None or certificate is None or client.auth_method != "self_signed_tls_client_auth":
            raise InvalidClient
        if certificate.thumbprint not in client.certificates:
            raise InvalidClient
        return client

    def _read(self, row: Any) -> RegisteredClient | None:
        if row is None:
            return None
        known = self._known.get(row.id)
        if known is None or known.version != row.version:
            known = self._known[row.id] = _registered(row)
            if len(self._known) > CACHED_CLIENTS:
                self._known.popitem(last=False)
        return known


def _registered(row: Any) -> RegisteredClient:
    keys: dict[str | None, PublicKey] = {}
    for jwk in msgspec.json.decode(row.jwks)["keys"]:
        try:
            keys[jwk.get("kid")] = import_public_key(jwk)
        except JoseRefused:  # registration checks keys; one that came in another way simply proves nothing
            continue
    return RegisteredClient(
        id=row.id,
        institution_id=row.institution_id,
        institution_kind=row.institution_kind,
        name=row.name,
        redirect_uris=tuple(row.redirect_uris),
        scopes=frozenset(row.scopes),
        version=row.version,
        keys=keys,
        auth_method=row.auth_method,
        certificates=frozenset(row.certificates),
        allowed=Allowed(row.allowed_items, row.allowed_purposes),
    )
