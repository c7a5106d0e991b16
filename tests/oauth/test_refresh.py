"""Refresh tokens: not rotated, bound to client and key, never for more than the grant, ended with it."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from joserfc.jwk import ECKey
from oauth_world import ISSUER, ITEM, SECOND_ITEM, Caller, answer, decide, detail, execute, obtain_code, scalar
from sqlalchemy.ext.asyncio import AsyncEngine

from consent.grants import service as grants
from consent.grants.model import Actor
from consent.ledger.writer import write
from consent.parties.access import SubjectVisitor

TOKEN_URL = f"{ISSUER}/oauth/token"


async def refresh(who: Caller, refresh_token: str, **members: Any) -> Any:
    form = {"grant_type": "refresh_token", "refresh_token": refresh_token} | members
    return await who.post("/oauth/token", form, proof=who.proof("POST", TOKEN_URL))


async def is_active(who: Caller, token: str) -> bool:
    return bool((await who.post("/oauth/introspect", {"token": token})).json()["active"])


async def end_in(engine: AsyncEngine, seconds: int) -> None:
    """Move the end of every granted detail."""
    until = datetime.now(UTC) + timedelta(seconds=seconds)
    await execute(
        engine,
        "update grant_item set valid_until = :until, detail = jsonb_set(detail, '{valid_until}', to_jsonb(cast(:text as text)))",
        until=until,
        text=f"{until:%Y-%m-%dT%H:%M:%SZ}",
    )


def assert_refused(reply: Any, error: str = "invalid_grant") -> None:
    assert (reply.status_code, reply.json()["error"]) == (400, error), reply.text


@pytest.fixture
async def tokens(engine: AsyncEngine, bank: Caller, visitor: SubjectVisitor) -> dict[str, Any]:
    """What a code for two items gave."""
    pushed = await bank.push(detail(), detail(SECOND_ITEM))
    url = await decide(engine, pushed.json()["request_uri"], visitor, [f"x-{ITEM}", f"x-{SECOND_ITEM}"])
    return dict((await bank.redeem(answer(url)["code"])).json())


async def test_refresh_gives_the_grant_again(bank: Caller, tokens: dict[str, Any]) -> None:
    """A new access token for the same details; the refresh token is not rotated and works again, also much later (no retry window ends)."""
    for _ in range(2):
        reply = await refresh(bank, tokens["refresh_token"])
        body = reply.json()
        assert reply.status_code == 200, reply.text
        assert reply.headers["cache-control"] == "no-store"
        assert "refresh_token" not in body
        assert body["access_token"] != tokens["access_token"]
        assert body["token_type"] == "DPoP"
        for name in ("grant_id", "authorization_details", "refused_details", "unmet_required"):
            assert body[name] == tokens[name]
        assert await is_active(bank, body["access_token"])


async def test_bound_to_client_and_key(bank: Caller, other_bank: Caller, tokens: dict[str, Any]) -> None:
    """Another client, and the same client with another key, get nothing; for its owner it works still."""
    assert_refused(await refresh(other_bank, tokens["refresh_token"]))
    other_key = Caller(bank.http, bank.client_id, bank.key, bank.kid, bank.redirect_uri, proof_key=ECKey.generate_key("P-256"))
    assert_refused(await refresh(other_key, tokens["refresh_token"]))
    form = {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]}
    assert_refused(await bank.post("/oauth/token", form), "invalid_dpop_proof")
    assert (await refresh(bank, tokens["refresh_token"])).status_code == 200


async def test_follows_the_grant(engine: AsyncEngine, bank: Caller, tokens: dict[str, Any]) -> None:
    """After a narrowing the old access token is dead and a refresh gives what is left; held, nothing; after the end, nothing for ever."""
    grant_id, owner = tokens["grant_id"], Actor.institution("bank-a")
    async with write(engine) as tx:
        await grants.narrow(tx, grant_id, [f"x-{ITEM}"], owner)
    assert not await is_active(bank, tokens["access_token"])
    body = (await refresh(bank, tokens["refresh_token"])).json()
    assert [one["datatypes"] for one in body["authorization_details"]] == [[SECOND_ITEM]]
    async with write(engine) as tx:
        await grants.suspend(tx, grant_id)
    assert_refused(await refresh(bank, tokens["refresh_token"]))
    async with write(engine) as tx:
        await grants.resume(tx, grant_id)
    assert (await refresh(bank, tokens["refresh_token"])).status_code == 200
    async with write(engine) as tx:
        await grants.revoke(tx, grant_id, owner)
    assert_refused(await refresh(bank, tokens["refresh_token"]))


async def test_never_outlives_the_grant(engine: AsyncEngine, bank: Caller, tokens: dict[str, Any]) -> None:
    """Its end is that of the last detail; what it gives ends there too, and past it nothing is given."""
    ends = "select expires_at = (select max(valid_until) from grant_item) from refresh_token"
    assert await scalar(engine, ends) is True
    await end_in(engine, 40)
    assert 0 < (await refresh(bank, tokens["refresh_token"])).json()["expires_in"] <= 40
    await end_in(engine, 0)
    assert_refused(await refresh(bank, tokens["refresh_token"]))


async def test_narrower_tokens(bank: Caller, tokens: dict[str, Any]) -> None:
    """A token request may leave out details and fields; introspection shows just that; the refresh token still stands for all."""
    first = tokens["authorization_details"][0]
    less = first | {"fields": first["fields"][:1]}
    body = (await refresh(bank, tokens["refresh_token"], authorization_details=json.dumps([less]))).json()
    assert body["authorization_details"] == [less]
    state = (await bank.post("/oauth/introspect", {"token": body["access_token"]})).json()
    assert state["authorization_details"] == [less]
    assert (await refresh(bank, tokens["refresh_token"])).json()["authorization_details"] == tokens["authorization_details"]


async def test_narrower_from_the_code(engine: AsyncEngine, bank: Caller, visitor: SubjectVisitor) -> None:
    """The same when a code is redeemed."""
    code = await obtain_code(engine, bank, visitor)
    fields = [f"{ITEM}.03"]
    body = (await bank.redeem(code, authorization_details=json.dumps([detail(fields=fields)]))).json()
    assert body["authorization_details"] == [detail(fields=fields)]


async def test_never_wider(bank: Caller, tokens: dict[str, Any]) -> None:
    """Another item, action, purpose, end, field, frequency or name than granted is refused, whatever else is right."""
    first, second = tokens["authorization_details"]
    wider = [
        first | {"datatypes": ["N21-03-01"]},
        first | {"actions": ["push"]},
        first | {"purpose": "post_loan"},
        first | {"product": "other"},
        first | {"valid_until": "2199-01-01T00:00:00Z"},
        first | {"fields": [*first["fields"], second["fields"][0]]},
        first | {"necessity": "optional"},
        first | {"frequency": {"max": 1, "per": "day"}},
        first | {"via": ["conduit-a"]},
        first | {"identifier": "x-other"},
        {name: value for name, value in first.items() if name != "identifier"},
        first | {"fields": []},
        first | {"extra": 1},
    ]
    for one in wider:
        for details in ([one], [second, one]):
            reply = await refresh(bank, tokens["refresh_token"], authorization_details=json.dumps(details))
            assert_refused(reply, "invalid_authorization_details")
    for body in ("", "[]", "{}", "null", '"x"', "[1]", "[" * 5000, json.dumps([first] * 81)):
        reply = await refresh(bank, tokens["refresh_token"], authorization_details=body)
        assert_refused(reply, "invalid_authorization_details")
    for name in ("scope", "resource", "code", "redirect_uri"):
        assert_refused(await refresh(bank, tokens["refresh_token"], **{name: "x"}), "invalid_request")


async def test_revoking_the_refresh_token_ends_what_it_gave(
    engine: AsyncEngine, bank: Caller, other_bank: Caller, tokens: dict[str, Any]
) -> None:
    """RFC 7009 §2.1; another client's attempt changes nothing; an access token alone leaves the refresh token."""
    later = (await refresh(bank, tokens["refresh_token"])).json()["access_token"]
    assert_refused(await other_bank.post("/oauth/revoke", {"token": tokens["refresh_token"]}), "unauthorized_client")
    assert (await bank.post("/oauth/revoke", {"token": later})).status_code == 200
    assert (await refresh(bank, tokens["refresh_token"])).status_code == 200
    for _ in range(2):
        assert (await bank.post("/oauth/revoke", {"token": tokens["refresh_token"]})).status_code == 200
    assert_refused(await refresh(bank, tokens["refresh_token"]))
    assert not await is_active(bank, tokens["access_token"])
    assert await scalar(engine, "select count(*) from access_token where revoked_at is null") == 0


async def test_replayed_code_ends_the_refresh_token(engine: AsyncEngine, bank: Caller, visitor: SubjectVisitor) -> None:
    """Whatever the code gave, and what that gave, is revoked, and stays so although the request failed."""
    code = await obtain_code(engine, bank, visitor)
    body = (await bank.redeem(code)).json()
    later = (await refresh(bank, body["refresh_token"])).json()["access_token"]
    assert_refused(await bank.redeem(code))
    assert_refused(await refresh(bank, body["refresh_token"]))
    assert not await is_active(bank, later)


async def test_revocation_racing_refreshes(engine: AsyncEngine, bank: Caller, tokens: dict[str, Any]) -> None:
    """Once a revocation was answered, no access token of the family is in force, also none that was being issued."""
    tasks = [asyncio.create_task(refresh(bank, tokens["refresh_token"])) for _ in range(8)]
    await asyncio.sleep(0.02)
    assert (await bank.post("/oauth/revoke", {"token": tokens["refresh_token"]})).status_code == 200
    await asyncio.gather(*tasks)
    assert await scalar(engine, "select count(*) from access_token where revoked_at is null") == 0


async def test_refresh_tokens_are_stored_hashed(engine: AsyncEngine, tokens: dict[str, Any]) -> None:
    """Whoever reads the table gets no credential."""
    assert tokens["refresh_token"] not in await scalar(engine, "select jsonb_agg(to_jsonb(t))::text from refresh_token t")


async def test_garbage(bank: Caller) -> None:
    """What was never a refresh token."""
    for value in ("x", "A" * 43, "A" * 20_000, "日本"):
        assert_refused(await refresh(bank, value))
    assert_refused(await refresh(bank, ""), "invalid_request")
