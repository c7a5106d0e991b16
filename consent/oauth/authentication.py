"""Who calls an OAuth endpoint: the registered client, proven by its assertion, and the key that it holds, if it shows one.

Runs before the request's own transaction: a jti is used up on its own, so it stays used when the request fails afterwards, and a request
never holds one connection while it waits for another.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from sqlalchemy.ext.asyncio import AsyncEngine

from consent.clock import utc_now
from consent.oauth import store
from consent.oauth.assertion import prove, read_assertion
from consent.oauth.dpop import Proof, ProofRefused
from consent.oauth.errors import InvalidClient, InvalidDPoPProof
from consent.oauth.form import Form
from consent.oauth.gather import Gather
from consent.oauth.jose import JoseRefused, PublicKey, import_public_key
from consent.oauth.store import Mark

CACHED_CLIENTS = 1024


@dataclass(frozen=True, slots=True)
class RegisteredClient:
    """An active client. `keys` are its public keys by kid, at most eight (`consent.parties.jwks`)."""

    id: str
    institution_id: str
    institution_kind: str
    name: str
    redirect_uris: tuple[str, ...]
    scopes: frozenset[str]
    version: int
    keys: dict[str | None, PublicKey]


@dataclass(frozen=True, slots=True)
class Authenticated:
    """A client whose assertion counted, and the thumbprint of the key whose proof counted, None without a proof."""

    client: RegisteredClient
    jkt: str | None


class ClientAuthenticator:
    """private_key_jwt for all OAuth endpoints. Keys are parsed once per version of a client; its status is read every time."""

    def __init__(self, engine: AsyncEngine, issuer: str) -> None:
        self._issuer = issuer
        self._clients: Gather[str, Any] = Gather(lambda ids: store.active_clients(engine, ids))
        self._marks: Gather[Sequence[Mark], tuple[bool, ...]] = Gather(lambda batch: store.mark(engine, batch))
        self._known: OrderedDict[str, RegisteredClient] = OrderedDict()

    async def authenticate(self, form: Form, proof: Proof | ProofRefused | None = None) -> Authenticated:
        """The client that sent `form`.

        Args:
            proof: what became of the request's DPoP header. A refused one is only told to a client that is proven, and after its
                assertion was used up.

        Raises:
            InvalidClient: not proven, or the assertion was used before.
            InvalidDPoPProof: the proof is refused or was used before.
            DatabaseUnavailable: nothing is known.
        """
        presented = read_assertion(form)
        client = self._read(await self._clients.get(presented.client_id))
        proven = prove(presented, client.keys if client else {}, self._issuer, utc_now())
        if client is None:  # without keys nothing was proven
            raise InvalidClient
        marks = [Mark.of("assertion", proven.client_id, proven.jti, proven.expires_at)]
        if isinstance(proof, Proof):
            marks.append(Mark.of("dpop", proof.jkt, proof.jti, proof.expires_at))
        first_use = await self._marks.get(marks)
        if not first_use[0]:
            raise InvalidClient
        if isinstance(proof, ProofRefused):
            raise InvalidDPoPProof(f"The DPoP proof is refused: {proof}.")
        if not all(first_use):
            raise InvalidDPoPProof("The DPoP proof was used before.")
        return Authenticated(client, proof.jkt if proof else None)

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
    )
