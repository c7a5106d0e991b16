"""When the database or the policies are away: 503, nothing issued, nothing half-written, and it works again afterwards."""

import asyncio

import httpx
import pytest
from oauth_world import ISSUER, ITEM, VERIFIER, Caller, build_app, caller, detail, obtain_code, scalar
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from consent.catalogue.load import load
from consent.db import create_engine
from consent.decisions.bundle import load_bundle
from consent.decisions.engine import OpaEngine
from consent.decisions.service import DecisionService
from consent.oauth.errors import TemporarilyUnavailable, as_oauth_error
from consent.parties.access import SubjectVisitor

NOWHERE = "postgresql+asyncpg://consent@127.0.0.1:1/consent"


async def test_database_away() -> None:
    """Every OAuth endpoint answers in its own shape, a resource with a problem; never a 500."""
    engine = create_engine(NOWHERE)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(build_app(engine)), base_url=ISSUER) as http:
        bank = caller(http, "bank-a")
        for path in ("/oauth/par", "/oauth/token", "/oauth/introspect", "/oauth/revoke"):
            reply = await bank.post(path, bank.request_form() | {"token": "x"})
            assert (reply.status_code, reply.json()["error"]) == (503, "temporarily_unavailable")
            assert reply.headers["retry-after"]
            assert reply.headers["cache-control"] == "no-store"
        assert (await bank.call("/probe/check", "x" * 43)).status_code == 503
        query = {"client_id": "x", "request_uri": "urn:ietf:params:oauth:request_uri:" + "x" * 43}
        assert (await http.get("/oauth/authorize", params=query)).status_code == 503
    await engine.dispose()


async def test_connections_that_break(engine: AsyncEngine, owner_engine: AsyncEngine, bank: Caller, visitor: SubjectVisitor) -> None:
    """Broken connections cost a 503 at most; a code that was not redeemed because of it can still be."""
    code = await obtain_code(engine, bank, visitor)
    kill = text("select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()")
    async with owner_engine.connect() as connection:
        await connection.execute(kill)
    statuses = []
    for _ in range(8):
        reply = await bank.redeem(code)
        statuses.append(reply.status_code)
        if reply.status_code == 200:
            break
    assert statuses[-1] == 200
    assert set(statuses[:-1]) <= {503}


async def test_revocation_that_cannot_be_stored(engine: AsyncEngine, owner_engine: AsyncEngine, bank: Caller) -> None:
    """503, not 200, while the table cannot be written (RFC 7009 §2.2.1); then it can."""
    token = await bank.token()
    async with owner_engine.begin() as connection:
        await connection.execute(text("lock table access_token in access exclusive mode"))
        await connection.execute(text("set local idle_in_transaction_session_timeout = '60s'"))
        reply = await bank.post("/oauth/revoke", {"token": token})
        assert (reply.status_code, reply.json()["error"]) == (503, "temporarily_unavailable")
    assert (await bank.post("/oauth/revoke", {"token": token})).status_code == 200
    assert (await bank.post("/oauth/introspect", {"token": token})).json() == {"active": False}


async def test_policies_away(engine: AsyncEngine, bank: Caller) -> None:
    """A request that cannot be judged is neither accepted nor refused nor recorded."""
    opa = OpaEngine(load_bundle(load()), "http://127.0.0.1:1")
    await opa.start()
    before = await scalar(engine, "select count(*) from ledger_record")
    app = build_app(engine, DecisionService(engine, opa, load()))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=ISSUER) as http:
        reply = await caller(http, "bank-a").push(detail(ITEM))
    await opa.close()
    assert (reply.status_code, reply.json()["error"]) == (503, "temporarily_unavailable")
    assert await scalar(engine, "select count(*) from ledger_record") == before
    assert await scalar(engine, "select count(*) from pushed_request") == 0


async def test_cancelled_request(engine: AsyncEngine, bank: Caller, visitor: SubjectVisitor) -> None:
    """A caller who hangs up harms nobody who is gathered with him."""
    token = await bank.token()
    calls = [asyncio.create_task(bank.call("/probe/check", token)) for _ in range(12)]
    await asyncio.sleep(0)
    for call in calls[::2]:
        call.cancel()
    done = await asyncio.gather(*calls, return_exceptions=True)
    assert [reply.status_code for reply in done if isinstance(reply, httpx.Response)] == [200] * 6
    form = {"grant_type": "authorization_code", "redirect_uri": bank.redirect_uri, "code_verifier": VERIFIER}
    code = await obtain_code(engine, bank, visitor)
    hung_up = asyncio.create_task(bank.post("/oauth/token", form | {"code": code}, proof=bank.proof("POST", f"{ISSUER}/oauth/token")))
    await asyncio.sleep(0.001)
    hung_up.cancel()
    with pytest.raises(asyncio.CancelledError):
        await hung_up
    assert (await bank.call("/probe/check", token)).status_code == 200


@pytest.mark.parametrize("error", [RuntimeError("a secret"), KeyError("x"), RecursionError(), ValueError("y"), MemoryError()], ids=str)
def test_error_that_nobody_foresaw(error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    """It is answered 503 and logged by its type alone."""
    assert isinstance(as_oauth_error(error), TemporarilyUnavailable)
    assert type(error).__name__ in caplog.text
    assert "a secret" not in caplog.text
