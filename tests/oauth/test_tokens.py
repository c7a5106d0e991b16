"""client_credentials, introspection and revocation."""

import asyncio

import httpx
from oauth_world import ISSUER, Caller, execute, obtain_code, scalar
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from consent.grants import service as grants
from consent.grants.model import Actor
from consent.ledger.writer import write
from consent.oauth.housekeeping import sweep
from consent.parties import service as parties
from consent.parties.access import SubjectVisitor

INACTIVE = {"active": False}


async def introspect(who: Caller, token: str) -> dict[str, object]:
    reply = await who.post("/oauth/introspect", {"token": token, "token_type_hint": "refresh_token"})
    assert reply.status_code == 200
    assert reply.headers["cache-control"] == "no-store"
    return dict(reply.json())


async def test_client_credentials(bank: Caller) -> None:
    """A DPoP token for the scopes that were named, as registered."""
    proof = bank.proof("POST", f"{ISSUER}/oauth/token")
    reply = await bank.post("/oauth/token", {"grant_type": "client_credentials", "scope": "loans check"}, proof=proof)
    body = reply.json()
    assert (body["token_type"], body["scope"]) == ("DPoP", "loans check")
    assert len(body["access_token"]) == 43
    assert "refresh_token" not in body
    assert (await bank.call("/probe/check", body["access_token"])).json() == {"client": bank.client_id, "institution": "bank-a"}


async def test_tokens_are_stored_hashed(engine: AsyncEngine, bank: Caller) -> None:
    """Whoever reads the table gets no credential."""
    token = await bank.token()
    assert token not in await scalar(engine, "select jsonb_agg(to_jsonb(t))::text from access_token t")


async def test_who_may_introspect_what(
    engine: AsyncEngine, bank: Caller, other_bank: Caller, platform: Caller, visitor: SubjectVisitor
) -> None:
    """A grant's token: its institution and platforms. A client's own token: its institution alone. For others it does not exist."""
    granted = (await bank.redeem(await obtain_code(engine, bank, visitor))).json()["access_token"]
    own = await bank.token()
    assert (await introspect(bank, granted))["active"] is True
    assert (await introspect(platform, granted))["active"] is True
    assert await introspect(other_bank, granted) == INACTIVE
    assert (await introspect(bank, own))["scope"] == "check"
    assert await introspect(platform, own) == INACTIVE
    assert await introspect(other_bank, own) == INACTIVE
    assert await introspect(bank, "x" * 43) == INACTIVE
    await execute(engine, "update client set scopes = '{}', version = version + 1 where id = :id", id=platform.client_id)
    assert await introspect(platform, granted) == INACTIVE


async def test_revocation(engine: AsyncEngine, bank: Caller, other_bank: Caller) -> None:
    """The owner's ends it, again and again; another's is refused and changes nothing; an unknown one is no error."""
    token = await bank.token()
    reply = await other_bank.post("/oauth/revoke", {"token": token})
    assert (reply.status_code, reply.json()["error"]) == (400, "unauthorized_client")
    assert (await introspect(bank, token))["active"] is True
    for _ in range(2):
        reply = await bank.post("/oauth/revoke", {"token": token, "token_type_hint": "anything"})
        assert (reply.status_code, reply.content) == (200, b"")
    assert await introspect(bank, token) == INACTIVE
    assert (await bank.post("/oauth/revoke", {"token": "never was"})).status_code == 200
    assert (await bank.post("/oauth/revoke", {})).status_code == 400


async def test_sweeping_takes_nothing_that_counts(engine: AsyncEngine, bank: Caller) -> None:
    """What is in force stays; marks that no proof could need any more go."""
    token = await bank.token()
    proof = bank.proof("GET", f"{ISSUER}/probe/check", token=token)
    assert (await bank.call("/probe/check", token, proof=proof)).status_code == 200
    await sweep(engine)
    assert (await bank.call("/probe/check", token, proof=proof)).status_code == 401
    assert (await bank.call("/probe/check", token)).status_code == 200
    await execute(engine, "update used_jti set expires_at = clock_timestamp() - interval '2 minutes'")
    await sweep(engine)
    assert await scalar(engine, "select count(*) from used_jti") == 0


async def test_sweep_and_change_do_not_wait_for_each_other(engine: AsyncEngine, bank: Caller, visitor: SubjectVisitor) -> None:
    """Expired tokens may be locked by a long sweep; a revocation holds the ledger's lock and must not wait for it."""
    await bank.redeem(await obtain_code(engine, bank, visitor))
    await execute(engine, "update access_token set expires_at = clock_timestamp()")
    async with engine.begin() as sweeping:
        await sweeping.execute(text("delete from access_token"))
        async with asyncio.timeout(2), write(engine) as tx:
            await grants.revoke(tx, await tx.connection.scalar(text("select id from consent_grant")), Actor.institution("bank-a"))
            await parties.change_client(tx, "bank-a-client", status="suspended")


async def test_metadata(http: httpx.AsyncClient) -> None:
    """Every endpoint that it names exists below the issuer; what FAPI 2.0 forbids is not in it."""
    reply = await http.get("/.well-known/oauth-authorization-server")
    body = reply.json()
    assert body["issuer"] == ISSUER
    for name, url in body.items():
        if name.endswith(("_endpoint", "_uri")) and name != "grant_management_endpoint":  # another slice's (tests/grants)
            assert url.startswith(f"{ISSUER}/")
            assert (await http.request("GET", url)).status_code in {200, 400, 405}
    assert body["require_pushed_authorization_requests"] is True
    assert body["authorization_response_iss_parameter_supported"] is True
    assert body["code_challenge_methods_supported"] == ["S256"]
    assert body["token_endpoint_auth_methods_supported"] == ["private_key_jwt", "self_signed_tls_client_auth"]
    assert not {"none", "RS256", "HS256"} & set(body["token_endpoint_auth_signing_alg_values_supported"])
    assert (await http.get("/.well-known/jwks.json")).json() == {"keys": []}
