"""Attacks on codes and tokens: replay in sequence and in parallel on PostgreSQL, PKCE, other clients, keys and addresses, expiry."""

import asyncio
from typing import Any

import httpx
import pytest
from joserfc.jwk import ECKey
from oauth_world import ISSUER, VERIFIER, Caller, build_app, caller, execute, obtain_code, scalar
from sqlalchemy.ext.asyncio import AsyncEngine

from consent.db import create_engine
from consent.parties.access import SubjectVisitor

TOKEN_URL = f"{ISSUER}/oauth/token"


async def assert_invalid_grant(reply: httpx.Response) -> None:
    assert (reply.status_code, reply.json()["error"]) == (400, "invalid_grant")
    assert "access_token" not in reply.json()


async def is_active(bank: Caller, token: str) -> bool:
    return bool((await bank.post("/oauth/introspect", {"token": token})).json()["active"])


async def test_replay_revokes_what_the_code_gave(engine: AsyncEngine, bank: Caller, visitor: SubjectVisitor) -> None:
    """The second use is refused, and the first one's token dies although that request failed."""
    code = await obtain_code(engine, bank, visitor)
    token = (await bank.redeem(code)).json()["access_token"]
    assert await is_active(bank, token)
    await assert_invalid_grant(await bank.redeem(code))
    assert not await is_active(bank, token)
    await assert_invalid_grant(await bank.redeem(code))


async def test_replay_with_another_fault_revokes_too(engine: AsyncEngine, bank: Caller, visitor: SubjectVisitor) -> None:
    """A replay counts as one also when its verifier or address is wrong."""
    for members in ({"code_verifier": "w" * 43}, {"redirect_uri": "https://evil.example/cb"}, {"code_verifier": None}):
        code = await obtain_code(engine, bank, visitor)
        token = (await bank.redeem(code)).json()["access_token"]
        await assert_invalid_grant(await bank.redeem(code, **members))
        assert not await is_active(bank, token)


async def test_parallel_redemption_on_several_processes(engine: AsyncEngine, database: Any, bank: Caller, visitor: SubjectVisitor) -> None:
    """Of many simultaneous redemptions on several nodes one succeeds at most, and no token survives."""
    nodes = [create_engine(database.app_url) for _ in range(3)]
    clients = [httpx.AsyncClient(transport=httpx.ASGITransport(build_app(node)), base_url=ISSUER) for node in nodes]
    try:
        for _ in range(10):
            code = await obtain_code(engine, bank, visitor)
            replies = await asyncio.gather(*(caller(clients[n % 3], "bank-a").redeem(code) for n in range(6)))
            statuses = sorted(reply.status_code for reply in replies)
            assert statuses == [200] + [400] * 5
            assert {reply.json()["error"] for reply in replies if reply.status_code == 400} == {"invalid_grant"}
        assert await scalar(engine, "select count(*) from access_token") == 10
        assert await scalar(engine, "select count(*) from access_token where revoked_at is null") == 0
    finally:
        for client, node in zip(clients, nodes, strict=True):
            await client.aclose()
            await node.dispose()


async def test_code_of_another_client(engine: AsyncEngine, bank: Caller, other_bank: Caller, visitor: SubjectVisitor) -> None:
    """A thief with a client of his own gets nothing, uses nothing up, and revokes nothing."""
    code = await obtain_code(engine, bank, visitor)
    await assert_invalid_grant(await other_bank.redeem(code, redirect_uri=bank.redirect_uri))
    token = (await bank.redeem(code)).json()["access_token"]
    await assert_invalid_grant(await other_bank.redeem(code, redirect_uri=bank.redirect_uri))
    assert await is_active(bank, token)


@pytest.mark.parametrize(
    "verifier",
    [None, "", "v" * 42, "v" * 129, "v" * 43 + "\n", "w" * 43, VERIFIER.upper(), "é" * 43, "v" * 42 + " ", "v" * 42 + "%"],
    ids=range(10),
)
async def test_verifiers(engine: AsyncEngine, bank: Caller, visitor: SubjectVisitor, verifier: str | None) -> None:
    """Missing, wrong, too short or long, other alphabets: invalid_grant, and the code's one attempt is gone."""
    code = await obtain_code(engine, bank, visitor)
    await assert_invalid_grant(await bank.redeem(code, code_verifier=verifier))
    await assert_invalid_grant(await bank.redeem(code))


async def test_the_challenge_itself_is_no_verifier(engine: AsyncEngine, bank: Caller, visitor: SubjectVisitor) -> None:
    """plain never comes back through the token endpoint."""
    code = await obtain_code(engine, bank, visitor)
    challenge = await scalar(engine, "select code_challenge from authorization_code")
    await assert_invalid_grant(await bank.redeem(code, code_verifier=challenge))


@pytest.mark.parametrize("uri", [None, "", "https://bank-a.example/cb/", "https://evil.example/cb", "https://bank-a.example/cb?x"])
async def test_redirect_address_differs(engine: AsyncEngine, bank: Caller, visitor: SubjectVisitor, uri: str | None) -> None:
    """The address must be the one that was pushed."""
    await assert_invalid_grant(await bank.redeem(await obtain_code(engine, bank, visitor), redirect_uri=uri))


async def test_expiry_at_sixty_seconds(engine: AsyncEngine, bank: Caller, visitor: SubjectVisitor) -> None:
    """Valid until the sixtieth second by the database's clock, not at it."""
    lifetime = "select extract(epoch from expires_at - clock_timestamp()) from authorization_code where used_at is null"
    code = await obtain_code(engine, bank, visitor)
    assert 50 < await scalar(engine, lifetime) <= 60
    await execute(engine, "update authorization_code set expires_at = clock_timestamp()")
    await assert_invalid_grant(await bank.redeem(code))
    code = await obtain_code(engine, bank, visitor)
    await execute(engine, "update authorization_code set expires_at = clock_timestamp() + interval '5 seconds' where used_at is null")
    assert (await bank.redeem(code)).status_code == 200


async def test_codes_that_never_were(bank: Caller) -> None:
    """Garbage of every length."""
    for code in ("x", "A" * 43, "A" * 20_000, "日本", "a b", "'; drop table access_token; --"):
        await assert_invalid_grant(await bank.redeem(code))
    for code in (None, ""):
        reply = await bank.redeem(code)  # type: ignore[arg-type]
        assert (reply.status_code, reply.json()["error"]) == (400, "invalid_request")


async def test_key_bound_to_the_code(engine: AsyncEngine, bank: Caller, visitor: SubjectVisitor) -> None:
    """dpop_jkt at PAR binds the code: another key redeems nothing, the named one does (RFC 9449 §10)."""
    code = await obtain_code(engine, bank, visitor, dpop_jkt=bank.jkt)
    thief = Caller(bank.http, bank.client_id, bank.key, bank.kid, bank.redirect_uri, proof_key=ECKey.generate_key("P-256"))
    await assert_invalid_grant(await thief.redeem(code))
    code = await obtain_code(engine, bank, visitor, dpop_jkt=bank.jkt)
    body = (await bank.redeem(code)).json()
    state = (await bank.post("/oauth/introspect", {"token": body["access_token"]})).json()
    assert state["cnf"] == {"jkt": bank.jkt}


async def test_no_proof_uses_nothing_up(engine: AsyncEngine, bank: Caller, visitor: SubjectVisitor) -> None:
    """A request without a proof is refused before the code is looked at."""
    code = await obtain_code(engine, bank, visitor)
    form = {"grant_type": "authorization_code", "code": code, "redirect_uri": bank.redirect_uri, "code_verifier": VERIFIER}
    reply = await bank.post("/oauth/token", form)
    assert (reply.status_code, reply.json()["error"]) == (400, "invalid_dpop_proof")
    assert (await bank.redeem(code)).status_code == 200


async def test_widening_at_the_token_endpoint(engine: AsyncEngine, bank: Caller, visitor: SubjectVisitor) -> None:
    """Scopes and resources cannot be added when the code is redeemed; details only narrow (test_refresh)."""
    code = await obtain_code(engine, bank, visitor)
    for name in ("scope", "resource", "audience", "grant_id", "refresh_token"):
        reply = await bank.redeem(code, **{name: "[]"})
        assert (reply.status_code, reply.json()["error"]) == (400, "invalid_request")
    assert (await bank.redeem(code)).status_code == 200


async def test_grant_types(bank: Caller) -> None:
    """Only the three; what else OAuth knows was never registered."""
    jwt_bearer = "urn:ietf:params:oauth:grant-type:jwt-bearer"
    for grant_type in ("password", "implicit", jwt_bearer, "Authorization_Code", '"', "日"):
        reply = await bank.post("/oauth/token", {"grant_type": grant_type}, proof=bank.proof("POST", TOKEN_URL))
        assert (reply.status_code, reply.json()["error"]) == (400, "unsupported_grant_type")
        assert grant_type not in reply.json()["error_description"]
    reply = await bank.post("/oauth/token", {}, proof=bank.proof("POST", TOKEN_URL))
    assert reply.json()["error"] == "invalid_request"


@pytest.mark.parametrize(
    "scope", ["", "openid", "check:any", "check grants x", "check  grants", " check", "check check", "CHECK", "check\n", '"', "日"]
)
async def test_scopes_beyond_registration(bank: Caller, scope: str) -> None:
    """Every scope must be registered; one too many refuses all; nothing is granted by default."""
    reply = await bank.post("/oauth/token", {"grant_type": "client_credentials", "scope": scope}, proof=bank.proof("POST", TOKEN_URL))
    assert (reply.status_code, reply.json()["error"]) == (400, "invalid_scope")


async def test_token_of_a_grant_opens_no_resource(engine: AsyncEngine, bank: Caller, visitor: SubjectVisitor) -> None:
    """It has no scope, so no check, no grant query."""
    token = (await bank.redeem(await obtain_code(engine, bank, visitor))).json()["access_token"]
    for path in ("/probe/check", "/probe/any", "/probe/grants"):
        assert (await bank.call(path, token)).status_code == 403


async def test_flow_without_registration(platform: Caller) -> None:
    """A client without redirect addresses redeems no code."""
    reply = await platform.redeem("A" * 43)
    assert (reply.status_code, reply.json()["error"]) == (400, "unauthorized_client")
