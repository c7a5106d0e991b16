"""DPoP with nonces (RFC 9449 §8, §9), where the operator demands them."""

import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from oauth_world import ISSUER, Caller, build_app, caller, scalar
from sample_parties import Parties
from sqlalchemy.ext.asyncio import AsyncEngine

from consent.oauth.nonces import WINDOW_SECONDS, Nonces
from consent.oauth.profile import Profile

TOKEN_URL = f"{ISSUER}/oauth/token"
FORM = {"grant_type": "client_credentials", "scope": "check"}


@pytest.fixture
async def strict(engine: AsyncEngine, parties: Parties) -> AsyncIterator[Caller]:
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(build_app(engine, profile=Profile(dpop_nonce=True))), base_url=ISSUER
    ) as http:
        yield caller(http, "bank-a")


async def ask(who: Caller, **claims: Any) -> httpx.Response:
    return await who.post("/oauth/token", FORM, proof=who.proof("POST", TOKEN_URL, **claims))


async def test_challenge_and_answer(strict: Caller) -> None:
    """Without a nonce a challenge with one; with it a token, and the same dance at a resource."""
    reply = await ask(strict)
    assert (reply.status_code, reply.json()["error"]) == (400, "use_dpop_nonce")
    nonce = reply.headers["dpop-nonce"]
    reply = await ask(strict, nonce=nonce)
    assert reply.status_code == 200, reply.text
    token = reply.json()["access_token"]
    reply = await strict.call("/probe/check", token)
    assert reply.status_code == 401
    assert 'error="use_dpop_nonce"' in reply.headers["www-authenticate"]
    proof = strict.proof("GET", f"{ISSUER}/probe/check", token=token, nonce=reply.headers["dpop-nonce"])
    assert (await strict.call("/probe/check", token, proof=proof)).status_code == 200


async def test_stale_and_foreign_nonces(strict: Caller) -> None:
    """Made up, of another type, or of two windows ago: a challenge each time, and no token."""
    for nonce in ("", "x", "A" * 32, 1, None, ["x"], "é"):
        reply = await ask(strict, nonce=nonce)
        assert (reply.status_code, reply.json()["error"]) == (400, "use_dpop_nonce")
    wrong = strict.proof("GET", TOKEN_URL, nonce="x")
    reply = await strict.post("/oauth/token", FORM, proof=wrong)
    assert reply.json()["error"] == "invalid_dpop_proof"


async def test_all_processes_share_the_key(engine: AsyncEngine, parties: Parties) -> None:
    """A nonce of one process is taken by another, in its window and the next, and not after."""
    first, second = Nonces(engine), Nonces(engine)
    await first.load()
    await second.load()
    now = time.time() // WINDOW_SECONDS * WINDOW_SECONDS
    nonce = first.current(now)
    assert second.is_current(nonce, now)
    assert second.is_current(nonce, now + 2 * WINDOW_SECONDS - 1)
    assert not second.is_current(nonce, now + 2 * WINDOW_SECONDS)
    assert not second.is_current(nonce, now - 1)
    assert await scalar(engine, "select count(*) from server_secret") == 1
