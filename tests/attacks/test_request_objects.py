"""Attacks on request objects (RFC 9101): the sub-cases of the OpenID Foundation's FAPI plan, and what Authlib's own JAR lets through."""

import json
import time
from typing import Any

import httpx
import pytest
from oauth_world import ISSUER, ITEM, Caller, decide, detail, ed_key, obtain_code, rsa_key, scalar, sign
from sqlalchemy.ext.asyncio import AsyncEngine

from consent.parties.access import SubjectVisitor


def request_object(
    bank: Caller, *, header: dict[str, Any] | None = None, signer: Any = None, drop: tuple[str, ...] = (), **claims: Any
) -> str:
    """A good one, but for what is given."""
    now = int(time.time())
    head = {"alg": "ES256", "kid": bank.kid, "typ": "oauth-authz-req+jwt"} | (header or {})
    values = bank.request_form() | {"authorization_details": [detail()]}
    values |= {"iss": bank.client_id, "client_id": bank.client_id, "aud": ISSUER, "iat": now, "nbf": now, "exp": now + 300} | claims
    head = {name: value for name, value in head.items() if value is not None}
    return sign(head, {name: value for name, value in values.items() if name not in drop}, signer or bank.key)


async def push(bank: Caller, request: str, **outside: Any) -> httpx.Response:
    return await bank.post("/oauth/par", {"request": request} | outside)


async def refused(bank: Caller, request: str, error: str = "invalid_request_object") -> None:
    reply = await push(bank, request)
    assert (reply.status_code, reply.json()["error"]) == (400, error), (request[:200], reply.text)


async def test_signed_request(engine: AsyncEngine, bank: Caller, visitor: SubjectVisitor) -> None:
    """What is signed is what is asked, to the token."""
    pushed = await push(bank, request_object(bank, state="s-2"))
    assert pushed.status_code == 201, pushed.text
    url = await decide(engine, pushed.json()["request_uri"], visitor, [f"x-{ITEM}"])
    assert "state=s-2" in url
    assert (await bank.redeem(httpx.URL(url).params["code"])).status_code == 200


async def test_several_audiences_and_a_clock_ahead(bank: Caller) -> None:
    """The issuer among others will do here; nbf may be eight seconds ahead; a request object needs no type, jti, iat or client_id."""
    now = int(time.time())
    assert (await push(bank, request_object(bank, aud=["https://other.example", ISSUER]))).status_code == 201
    assert (await push(bank, request_object(bank, nbf=now + 8))).status_code == 201
    assert (await push(bank, request_object(bank, header={"typ": None}, drop=("iat", "client_id")))).status_code == 201


async def test_what_stands_outside_counts_for_nothing(engine: AsyncEngine, bank: Caller) -> None:
    """A state or a redirect address beside the object is ignored, also where the object has none (FAPI: state only outside JAR)."""
    reply = await push(bank, request_object(bank, drop=("state",)), state="outside", redirect_uri="https://evil.example/cb")
    assert reply.status_code == 201
    kept = json.loads(await scalar(engine, "select cast(parameters as text) from pushed_request"))
    assert kept["redirect_uri"] == bank.redirect_uri
    assert kept.get("state") is None
    reply = await push(bank, request_object(bank, drop=("redirect_uri",)), redirect_uri=bank.redirect_uri)
    assert (reply.status_code, reply.json()["error"]) == (400, "invalid_request")
    for name in ("request_uri", "prompt", "x"):
        reply = await push(bank, request_object(bank), **{name: "x"})
        assert (reply.status_code, reply.json()["error"]) == (400, "invalid_request")


async def test_signatures(bank: Caller, other_bank: Caller) -> None:
    """None, symmetric, RS256, a wrong one, another client's key, keys that came along, an unknown kid, another type, crit."""
    good = request_object(bank)
    await refused(bank, request_object(bank, header={"alg": "none"}))
    await refused(bank, good[:-4] + ("AAAA" if good[-4:] != "AAAA" else "BBBB"))
    await refused(bank, request_object(bank, signer=other_bank.key))
    await refused(bank, request_object(bank, header={"alg": "RS256"}, signer=rsa_key()))
    await refused(bank, request_object(bank, header={"alg": "EdDSA"}, signer=ed_key()))
    for member in ("jwk", "jku", "x5u", "x5c"):
        await refused(bank, request_object(bank, header={member: "https://127.0.0.1/jwks"}))
    for header in (
        {"kid": "unknown"},
        {"kid": 1},
        {"typ": "at+jwt"},
        {"typ": "client-authentication+jwt"},
        {"typ": 1},
        {"typ": []},
        {"crit": ["exp"]},
    ):
        await refused(bank, request_object(bank, header=header))
    for text in ("x", "a.b", "a.b.c", "..", good + ".x", "A" * 40_000, "日本"):
        await refused(bank, text)


async def test_times(bank: Caller) -> None:
    """Expired, no exp, no nbf, over an hour, an old nbf, a future one, and what is no number."""
    now = int(time.time())
    await refused(bank, request_object(bank, exp=now - 1))
    await refused(bank, request_object(bank, drop=("exp",)))
    await refused(bank, request_object(bank, drop=("nbf",)))
    await refused(bank, request_object(bank, exp=now + 3700))
    await refused(bank, request_object(bank, nbf=now - 3700, exp=now + 10))
    await refused(bank, request_object(bank, nbf=now + 60))
    for value in ("1", 1.5, True, None, [], 10**30, -1):
        await refused(bank, request_object(bank, exp=value))
        await refused(bank, request_object(bank, nbf=value))


async def test_whose_and_for_whom(bank: Caller, other_bank: Caller) -> None:
    """Another issuer or client inside, other audiences or none."""
    for claims in ({"iss": other_bank.client_id}, {"client_id": other_bank.client_id}, {"iss": 1}, {"client_id": [bank.client_id]}):
        await refused(bank, request_object(bank, **claims))
    for aud in (
        "https://evil.example",
        f"{ISSUER}/",
        f"{ISSUER}/oauth/par",
        [],
        ["https://evil.example"],
        [ISSUER, 1],
        1,
        None,
        {"a": ISSUER},
    ):
        await refused(bank, request_object(bank, aud=aud))
    for name in ("iss", "aud"):
        await refused(bank, request_object(bank, drop=(name,)))


@pytest.mark.parametrize("value", [["code"], 1, True, None, {"a": 1}, 1.5, "a\0b"])
async def test_members_of_other_types(bank: Caller, value: Any) -> None:
    """A response_type list, a number as challenge, a state object: each 400 and never 500."""
    for name in ("response_type", "redirect_uri", "code_challenge", "code_challenge_method", "state", "dpop_jkt", "login_hint"):
        await refused(bank, request_object(bank, **{name: value}))


async def test_details_inside(bank: Caller) -> None:
    """An array of details and nothing else; judged as strictly as outside."""
    for value in ("[]", json.dumps([detail()]), {"a": 1}, 1, None):
        await refused(bank, request_object(bank, authorization_details=value))
    for value in ([], [1], [detail(), detail()], [detail(extra=1)]):
        await refused(bank, request_object(bank, authorization_details=value), "invalid_authorization_details")
    deep = '{"a":' * 3000 + "1" + "}" * 3000
    await refused(bank, sign({"alg": "ES256", "kid": bank.kid}, deep.encode(), bank.key))
    twice = json.dumps({"iss": bank.client_id})[:-1] + f',"iss":"{bank.client_id}"}}'
    await refused(bank, sign({"alg": "ES256", "kid": bank.kid}, twice.encode(), bank.key))


async def test_request_inside_a_request(bank: Caller) -> None:
    """Neither request nor request_uri nor authentication stands in a request object."""
    for name in ("request", "request_uri", "client_assertion", "client_assertion_type", "sub", "prompt"):
        await refused(bank, request_object(bank, **{name: "x"}))


async def test_not_taken_elsewhere(engine: AsyncEngine, bank: Caller, visitor: SubjectVisitor) -> None:
    """A request object is for PAR alone: not at the authorization endpoint, not as a client assertion."""
    reply = await bank.http.get("/oauth/authorize", params={"client_id": bank.client_id, "request": request_object(bank)})
    assert reply.status_code == 400
    reply = await bank.post("/oauth/introspect", {"token": "x"}, assertion=request_object(bank, sub=bank.client_id, jti="j"))
    assert (reply.status_code, reply.json()["error"]) == (401, "invalid_client")
    code = await obtain_code(engine, bank, visitor)
    assert (await bank.redeem(code, request=request_object(bank))).json()["error"] == "invalid_request"
