"""Mutual TLS (RFC 8705): clients that authenticate by a certificate, and tokens bound to one, as a listed proxy names it (RFC 9440)."""

import base64
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from certificates_world import certificate, pem
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding
from oauth_world import ISSUER, ITEM, Caller, as_visitor, build_app, caller, decide, execute, records
from sample_parties import Parties, public_jwks
from sqlalchemy.ext.asyncio import AsyncEngine

from consent.errors import InvalidRequest
from consent.ledger.writer import write
from consent.oauth.access import Edge
from consent.oauth.profile import Profile
from consent.oauth.proxies import Proxies
from consent.parties import service
from consent.parties.certificates import certificate_thumbprint
from consent.parties.terminals import Terminal

PROXY, ELSEWHERE = ("192.0.2.1", 443), ("198.51.100.7", 443)
PROFILE = Profile(proxies=Proxies.parse("192.0.2.0/24, 2001:db8::/32"))
FORM = {"grant_type": "client_credentials", "scope": "check"}


def header(value: x509.Certificate) -> str:
    return f":{base64.b64encode(value.public_bytes(Encoding.DER)).decode()}:"


@dataclass
class Connection:
    """A client behind a proxy (or not), with a certificate (or none)."""

    app: Any
    certificate: str | None
    peer: tuple[str, int] = PROXY

    async def request(self, method: str, path: str, *, form: dict[str, str] | None = None, **headers: str) -> httpx.Response:
        values = {name.replace("_", "-"): value for name, value in headers.items()}
        if self.certificate is not None:
            values["client-cert"] = self.certificate
        transport = httpx.ASGITransport(self.app, client=self.peer)
        async with httpx.AsyncClient(transport=transport, base_url=ISSUER) as http:
            return await http.request(method, path, data=form, headers=values)


@pytest.fixture
def own() -> x509.Certificate:
    return certificate()


@pytest.fixture
async def app(engine: AsyncEngine, parties: Parties, own: x509.Certificate) -> Any:
    async with write(engine) as tx:
        await service.register_client(
            tx, client_id="tls-client", institution_id="bank-a", name="前置机", certificates=[pem(own)], scopes=["check", "grants"]
        )
    return build_app(engine, profile=PROFILE)


async def test_certificate_instead_of_an_assertion(engine: AsyncEngine, app: Any, own: x509.Certificate) -> None:
    """The registered certificate is proof enough; the token is bound to it, and works over such connections alone."""
    bank = Connection(app, header(own))
    reply = await bank.request("POST", "/oauth/token", form=FORM | {"client_id": "tls-client"})
    assert reply.status_code == 200, reply.text
    body = reply.json()
    assert body["token_type"] == "Bearer"
    bearer = f"Bearer {body['access_token']}"
    assert (await bank.request("GET", "/probe/check", authorization=bearer)).json() == {"client": "tls-client", "institution": "bank-a"}
    state = (await bank.request("POST", "/oauth/introspect", form={"client_id": "tls-client", "token": body["access_token"]})).json()
    thumbprint = certificate_thumbprint(own.public_bytes(Encoding.DER))
    assert (state["cnf"], state["token_type"]) == ({"x5t#S256": thumbprint}, "Bearer")
    assert (await records(engine, "client.registered"))[-1]["keys"] == [thumbprint]
    for thief in (Connection(app, None), Connection(app, header(certificate())), Connection(app, header(own), ELSEWHERE)):
        refused = await thief.request("GET", "/probe/check", authorization=bearer)
        assert (refused.status_code, refused.json()["code"]) == (401, "invalid_token")
    assert (await bank.request("GET", "/probe/check", authorization=f"DPoP {body['access_token']}")).status_code == 401


async def test_who_may_not_authenticate_so(app: Any, own: x509.Certificate) -> None:
    """Another certificate, none, one that came past the proxy, one for a client of assertions, an expired or malformed one: one answer."""
    attempts = [
        (Connection(app, header(certificate())), "tls-client"),
        (Connection(app, None), "tls-client"),
        (Connection(app, header(own), ELSEWHERE), "tls-client"),
        (Connection(app, header(own)), "bank-a-client"),
        (Connection(app, header(own)), "nobody"),
        (Connection(app, header(own)), ""),
        (Connection(app, header(certificate(days=-1))), "tls-client"),
        (Connection(app, header(own)[1:-1]), "tls-client"),
        (Connection(app, ":AAAA:"), "tls-client"),
        (Connection(app, ":" + "A" * 20_000 + ":"), "tls-client"),
        (Connection(app, pem(own).replace("\n", "")), "tls-client"),
    ]
    for connection, client_id in attempts:
        reply = await connection.request("POST", "/oauth/token", form=FORM | {"client_id": client_id})
        assert (reply.status_code, reply.json()["error"]) == (401, "invalid_client"), client_id


async def test_two_headers(app: Any, own: x509.Certificate) -> None:
    """A proxy that adds its header beside the caller's instead of replacing it is found out."""
    transport = httpx.ASGITransport(app, client=PROXY)
    async with httpx.AsyncClient(transport=transport, base_url=ISSUER) as http:
        headers = [("client-cert", header(own)), ("client-cert", header(certificate()))]
        reply = await http.post("/oauth/token", data=FORM | {"client_id": "tls-client"}, headers=headers)
    assert reply.status_code == 401


async def test_assertion_client_with_a_certificate(engine: AsyncEngine, app: Any) -> None:
    """It authenticates by its assertion and may have its tokens bound to whatever certificate its connection has."""
    http = httpx.AsyncClient(transport=httpx.ASGITransport(app, client=PROXY), base_url=ISSUER)
    bank, mine = caller(http, "bank-a"), header(certificate())
    reply = await http.post("/oauth/token", data=bank.authenticated(FORM), headers={"client-cert": mine})
    assert reply.json()["token_type"] == "Bearer"
    authorization = f"Bearer {reply.json()['access_token']}"
    assert (await http.get("/probe/check", headers={"authorization": authorization, "client-cert": mine})).status_code == 200
    assert (await http.get("/probe/check", headers={"authorization": authorization})).status_code == 401
    # A proof counts before the certificate, and a token bound to a key is no bearer token for anybody with a certificate.
    proof = bank.proof("POST", f"{ISSUER}/oauth/token")
    reply = await http.post("/oauth/token", data=bank.authenticated(FORM), headers={"client-cert": mine, "dpop": proof})
    assert reply.json()["token_type"] == "DPoP"
    authorization = f"Bearer {reply.json()['access_token']}"
    assert (await http.get("/probe/check", headers={"authorization": authorization, "client-cert": mine})).status_code == 401
    # A certificate never authenticates the client of assertions.
    assert (await http.post("/oauth/token", data=FORM | {"client_id": bank.client_id}, headers={"client-cert": mine})).status_code == 401
    await http.aclose()


async def test_tls_client_and_an_assertion(engine: AsyncEngine, app: Any, own: x509.Certificate, parties: Parties) -> None:
    """A client of certificates has no other way, though it has keys for request objects."""
    async with write(engine) as tx:
        await service.change_client(tx, "tls-client", jwks=public_jwks("bank-a"))
    http = httpx.AsyncClient(transport=httpx.ASGITransport(app, client=PROXY), base_url=ISSUER)
    impostor = Caller(http, "tls-client", caller(http, "bank-a").key, "bank-a", "https://bank-a.example/cb")
    reply = await impostor.post("/oauth/introspect", {"token": "x"})
    assert (reply.status_code, reply.json()["error"]) == (401, "invalid_client")
    await http.aclose()


async def test_code_flow_by_certificate(engine: AsyncEngine, app: Any, own: x509.Certificate, parties: Parties) -> None:
    """From PAR to refresh with certificates alone; the refresh token outlives the certificate, bound to its client."""
    next_one = certificate()
    async with write(engine) as tx:
        await service.change_client(tx, "tls-client", certificates=[pem(own), pem(next_one)], redirect_uris=["https://bank-a.example/cb"])
    plain = Caller(httpx.AsyncClient(), "tls-client", None, "", "https://bank-a.example/cb")
    bank = Connection(app, header(own))
    pushed = await bank.request("POST", "/oauth/par", form=plain.request_form() | {"client_id": "tls-client"})
    assert pushed.status_code == 201, pushed.text
    visitor = as_visitor(parties.enterprise_id)
    url = await decide(engine, pushed.json()["request_uri"], visitor, [f"x-{ITEM}"], "tls-client")
    form = {"client_id": "tls-client", "grant_type": "authorization_code", "code": httpx.URL(url).params["code"]}
    form |= {"redirect_uri": "https://bank-a.example/cb", "code_verifier": "v" * 43}
    tokens = (await bank.request("POST", "/oauth/token", form=form)).json()
    assert tokens["token_type"] == "Bearer"
    renewed = Connection(app, header(next_one))
    form = {"client_id": "tls-client", "grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]}
    reply = await renewed.request("POST", "/oauth/token", form=form)
    assert reply.status_code == 200, reply.text
    state = await renewed.request("POST", "/oauth/introspect", form={"client_id": "tls-client", "token": reply.json()["access_token"]})
    assert state.json()["cnf"] == {"x5t#S256": certificate_thumbprint(next_one.public_bytes(Encoding.DER))}


async def test_a_removed_certificate_ends_its_tokens(engine: AsyncEngine, app: Any, own: x509.Certificate) -> None:
    """A change of the client ends what was issued before."""
    bank = Connection(app, header(own))
    token = (await bank.request("POST", "/oauth/token", form=FORM | {"client_id": "tls-client"})).json()["access_token"]
    async with write(engine) as tx:
        await service.change_client(tx, "tls-client", certificates=[pem(certificate())])
    assert (await bank.request("GET", "/probe/check", authorization=f"Bearer {token}")).status_code == 401
    assert (await bank.request("POST", "/oauth/token", form=FORM | {"client_id": "tls-client"})).status_code == 401


async def test_registration_of_certificates(engine: AsyncEngine, parties: Parties) -> None:
    """No private key, no chain, no weak key, no other text, none twice."""
    good = certificate()
    weak = certificate(key=rsa.generate_private_key(65537, 1024))
    refused = [[pem(good), pem(good)], [pem(good) + pem(certificate())], [pem(weak)], ["x"], ["é"], [pem(good)[:200]]]
    refused += [["-----BEGIN PRIVATE KEY-----"], [pem(certificate()) for _ in range(9)]]
    for bad in refused:
        async with write(engine) as tx:
            with pytest.raises(InvalidRequest, match="certificates are refused"):
                await service.register_client(tx, client_id="tls-x", institution_id="bank-a", name="x", certificates=bad)
    async with write(engine) as tx:
        with pytest.raises(InvalidRequest):
            await service.register_client(tx, client_id="tls-x", institution_id="bank-a", name="x")


@pytest.mark.parametrize(
    ("peer", "forwarded", "expected"),
    [
        ("192.0.2.1", ["203.0.113.9"], "203.0.113.9"),
        ("192.0.2.1", ["10.9.9.9, 203.0.113.9, 192.0.2.7"], "203.0.113.9"),
        ("192.0.2.1", ["10.9.9.9", "203.0.113.9"], "203.0.113.9"),
        ("192.0.2.1", ["203.0.113.9, garbage"], "192.0.2.1"),
        ("192.0.2.1", [], "192.0.2.1"),
        ("198.51.100.7", ["203.0.113.9"], "198.51.100.7"),
        ("::ffff:192.0.2.1", ["203.0.113.9"], "203.0.113.9"),
        ("2001:db8::1", ["2001:db8:1::2, 2001:4860::1"], "2001:4860::1"),
    ],
    ids=range(8),
)
def test_addresses(peer: str, forwarded: list[str], expected: str) -> None:
    """The nearest address that no listed proxy vouches away; what an unlisted peer claims counts for nothing."""
    scope = {"client": (peer, 1), "headers": [(b"x-forwarded-for", value.encode()) for value in forwarded]}
    assert str(PROFILE.proxies.address(scope)) == expected


def test_no_address_on_a_unix_socket() -> None:
    """Nobody is listed there."""
    assert PROFILE.proxies.address({"client": None, "headers": []}) is None


async def test_suspended_client(engine: AsyncEngine, app: Any, own: x509.Certificate) -> None:
    """A certificate of a suspended client proves nothing."""
    await execute(engine, "update client set status = 'suspended' where id = 'tls-client'")
    reply = await Connection(app, header(own)).request("POST", "/oauth/token", form=FORM | {"client_id": "tls-client"})
    assert reply.status_code == 401


async def test_caller_carries_terminals_and_address(engine: AsyncEngine, app: Any, own: x509.Certificate) -> None:
    """What the policies need to know of where a request came from reaches the capability; without terminals no address is kept."""
    seen = []

    class Watched(Edge):
        async def authenticate(self, request: Any) -> Any:
            seen.append(await super().authenticate(request))
            return seen[-1]

    oauth = app.dependencies["oauth"].dependency()
    oauth.edge.__class__ = Watched
    for terminals in ((), (Terminal("T-01", ("203.0.113.0/24",)),)):
        async with write(engine) as tx:
            await service.change_client(tx, "tls-client", terminals=terminals)
        bank = Connection(app, header(own))
        token = (await bank.request("POST", "/oauth/token", form=FORM | {"client_id": "tls-client"})).json()["access_token"]
        reply = await bank.request("GET", "/probe/check", authorization=f"Bearer {token}", x_forwarded_for="203.0.113.9")
        assert reply.status_code == 200
    assert [(one.terminals, one.address and str(one.address)) for one in seen] == [
        ((), None),
        ((Terminal("T-01", ("203.0.113.0/24",)),), "203.0.113.9"),
    ]
