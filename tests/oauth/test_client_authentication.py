"""private_key_jwt at every endpoint that authenticates clients."""

import time

import pytest
from oauth_world import ISSUER, Caller, ed_key, execute, rsa_key, scalar
from sample_parties import key
from sqlalchemy.ext.asyncio import AsyncEngine

from consent.ledger.writer import write
from consent.parties import service

FORM = {"token": "t" * 43}


async def attempt(bank: Caller, assertion: str) -> tuple[int, str]:
    """Status and error at introspection, which needs nothing but a client."""
    reply = await bank.post("/oauth/introspect", FORM, assertion=assertion)
    return reply.status_code, reply.json().get("error", "")


async def register_key(engine: AsyncEngine, bank: Caller, signer: object, kid: str) -> Caller:
    """`bank` with another registered key."""
    async with write(engine) as tx:
        jwks = {"keys": [{**signer.as_dict(private=False), "kid": kid}]}  # type: ignore[attr-defined]
        await service.change_client(tx, bank.client_id, jwks=jwks)
    return Caller(bank.http, bank.client_id, signer, kid, bank.redirect_uri)


@pytest.mark.parametrize("typ", ["client-authentication+jwt", "Client-Authentication+JWT", None, "JWT"])
async def test_types_that_are_taken(bank: Caller, typ: str | None) -> None:
    """RFC 10070: its own type; for now also none, and the plain one that older libraries write."""
    assert await attempt(bank, bank.assertion(header={"typ": typ})) == (200, "")


@pytest.mark.parametrize(
    ("kind", "algorithm"), [(rsa_key, "PS256"), (ed_key, "EdDSA"), (ed_key, "Ed25519")], ids=["PS256", "EdDSA", "Ed25519"]
)
async def test_algorithms_that_are_taken(engine: AsyncEngine, bank: Caller, kind: object, algorithm: str) -> None:
    """The three of FAPI 2.0; ES256 is what every other test uses."""
    other = await register_key(engine, bank, kind(), "k2")  # type: ignore[operator]
    assert await attempt(other, other.assertion(header={"alg": algorithm})) == (200, "")


async def test_no_kid(bank: Caller) -> None:
    """Without a kid the client's keys are tried."""
    assert await attempt(bank, bank.assertion(header={"kid": None})) == (200, "")


async def test_clocks_that_differ(bank: Caller) -> None:
    """iat and nbf up to ten seconds ahead are taken (FAPI 2.0 §5.3.2.1)."""
    ahead = int(time.time()) + 9
    assert await attempt(bank, bank.assertion(iat=ahead, nbf=ahead)) == (200, "")


async def test_client_id_may_be_left_out(bank: Caller) -> None:
    """The assertion names the client."""
    form = {"client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer", "client_assertion": bank.assertion()}
    assert (await bank.http.post("/oauth/introspect", data=form | FORM)).status_code == 200


@pytest.mark.parametrize("status", ["suspended", "cancelled"])
async def test_suspended_client(engine: AsyncEngine, bank: Caller, status: str) -> None:
    """A client that is no longer active is unknown, at once and everywhere."""
    assert await attempt(bank, bank.assertion()) == (200, "")
    await execute(engine, "update client set status = :status where id = :id", status=status, id=bank.client_id)
    assert await attempt(bank, bank.assertion()) == (401, "invalid_client")


async def test_replaced_key(engine: AsyncEngine, bank: Caller) -> None:
    """After a change of keys the former one proves nothing, also in a process that had parsed it."""
    assert await attempt(bank, bank.assertion()) == (200, "")
    other = await register_key(engine, bank, key("fresh"), "fresh")
    assert await attempt(bank, bank.assertion()) == (401, "invalid_client")
    assert await attempt(other, other.assertion()) == (200, "")


async def test_unknown_and_wrong_answer_alike(bank: Caller, other_bank: Caller) -> None:
    """Nobody learns which clients exist."""
    unknown = Caller(bank.http, "nobody", bank.key, bank.kid, bank.redirect_uri)
    stolen = Caller(bank.http, other_bank.client_id, bank.key, other_bank.kid, bank.redirect_uri)
    first = await unknown.post("/oauth/introspect", FORM)
    second = await stolen.post("/oauth/introspect", FORM)
    assert (first.status_code, first.content, first.headers["content-type"]) == (
        second.status_code,
        second.content,
        second.headers["content-type"],
    )


async def test_failed_assertion_leaves_no_mark(engine: AsyncEngine, bank: Caller) -> None:
    """Whoever cannot sign cannot fill the table of used ids."""
    before = await scalar(engine, "select count(*) from used_jti")
    await attempt(bank, bank.assertion(signer=key("stranger")))
    await attempt(bank, bank.assertion(aud=f"{ISSUER}/oauth/token"))
    assert await scalar(engine, "select count(*) from used_jti") == before
