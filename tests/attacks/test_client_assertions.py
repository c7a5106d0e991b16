"""Attacks on client authentication. Each answers 401 invalid_client or 400, never 500, and nothing else happens."""

import asyncio
import base64
import hmac
import json
import time
from typing import Any

import httpx
import pytest
from oauth_world import ISSUER, TYPE, Caller, b64url, build_app, caller, records, rsa_key, scalar, sign
from sample_parties import key, public_jwks
from sqlalchemy.ext.asyncio import AsyncEngine

from consent.db import create_engine
from consent.ledger.writer import write
from consent.parties import service


async def refused(bank: Caller, assertion: str, **form: str) -> httpx.Response:
    """The assertion is refused at every endpoint alike."""
    values = {"client_assertion_type": TYPE, "client_assertion": assertion, "token": "t", "client_id": bank.client_id} | form
    replies = [await bank.http.post(path, data=values) for path in ("/oauth/par", "/oauth/token", "/oauth/introspect", "/oauth/revoke")]
    assert {(reply.status_code, reply.json()["error"]) for reply in replies} == {(401, "invalid_client")}, assertion[:600]
    return replies[0]


async def test_alg_none(bank: Caller) -> None:
    """An unsigned assertion."""
    await refused(bank, bank.assertion(header={"alg": "none"}))


async def test_hs256_keyed_with_the_public_key(bank: Caller) -> None:
    """The classic confusion of a public key with a secret."""
    for secret in (json.dumps(public_jwks("bank-a")), bank.key.as_pem(private=False).decode()):
        head, body, _ = bank.assertion(header={"alg": "ES256"}).split(".")
        head = b64url(json.dumps({"alg": "HS256", "kid": bank.kid}).encode())
        signature = hmac.digest(secret.encode(), f"{head}.{body}".encode(), "sha256")
        await refused(bank, f"{head}.{body}.{b64url(signature)}")


async def test_rs256(engine: AsyncEngine, bank: Caller) -> None:
    """A weaker algorithm with a right key of the client's kind."""
    rsa = rsa_key()
    async with write(engine) as tx:
        await service.change_client(tx, bank.client_id, jwks={"keys": [{**rsa.as_dict(private=False), "kid": "rsa"}]})
    other = Caller(bank.http, bank.client_id, rsa, "rsa", bank.redirect_uri)
    for algorithm in ("RS256", "PS384", "RS512"):
        await refused(other, other.assertion(header={"alg": algorithm}))
    assert (await other.post("/oauth/introspect", {"token": "t"}, assertion=other.assertion(header={"alg": "PS256"}))).status_code == 200


async def test_audience_is_the_issuer_as_a_string(bank: Caller) -> None:
    """Endpoint URLs, arrays, a trailing slash, other spellings."""
    hostile: list[Any] = [
        f"{ISSUER}/oauth/token", f"{ISSUER}/oauth/par", f"{ISSUER}/", ISSUER.upper(), [ISSUER], [ISSUER, "https://evil.example"],
        "", None, 1, {"x": ISSUER}, f"{ISSUER} ", "https://evil.example",
    ]  # fmt: skip
    for aud in hostile:
        await refused(bank, bank.assertion(aud=aud))


async def test_missing_claim(bank: Caller) -> None:
    """Each of them is needed."""
    hostile: list[Any] = ["iss", "sub", "aud", "exp", "jti"]  # fmt: skip
    for name in hostile:
        await refused(bank, bank.assertion(drop=[name]))


async def test_hostile_claims(bank: Caller) -> None:
    """Lifetimes, types and sizes."""
    now = int(time.time())
    hostile: list[Any] = [
        {"exp": now - 1}, {"exp": now + 3600}, {"exp": now + 365 * 86400}, {"exp": float(now + 60)}, {"exp": True}, {"exp": str(now + 60)},
        {"exp": 10**400}, {"exp": -1}, {"exp": None}, {"exp": [now + 60]},
        {"iat": now + 61}, {"iat": "now"}, {"iat": 1.5}, {"nbf": now + 61}, {"nbf": {}},
        {"iss": "other"}, {"iss": 1}, {"sub": "bank-b-client"}, {"sub": 7}, {"sub": ["bank-a-client"]},
        {"jti": 7}, {"jti": ""}, {"jti": "x" * 40_000}, {"jti": "x" * 257}, {"jti": "a\0b"}, {"jti": "a\nb"}, {"jti": "日"},
        {"jti": ["x"]}, {"jti": None},
    ]  # fmt: skip
    for claims in hostile:
        await refused(bank, bank.assertion(**claims))


async def test_numbers_that_are_none(bank: Caller) -> None:
    """JSON that Python would read and RFC 8259 does not know."""
    hostile: list[Any] = ["NaN", "Infinity", "-Infinity", "1e400", "1" * 5000]  # fmt: skip
    for number in hostile:
        payload = f'{{"iss":"{bank.client_id}","sub":"{bank.client_id}","aud":"{ISSUER}","jti":"n","exp":{number}}}'.encode()
        await refused(bank, sign({"alg": "ES256", "kid": bank.kid}, payload, bank.key))


async def test_hostile_headers(bank: Caller) -> None:
    """Another kind of token, keys of the attacker's choice, extensions that nobody understands."""
    hostile: list[Any] = [
        {"typ": "at+jwt"}, {"typ": "dpop+jwt"}, {"typ": "id_token+jwt"}, {"typ": 1}, {"typ": ["JWT"]}, {"kid": "unknown"}, {"kid": 1},
        {"kid": None, "jwk": {}}, {"jwk": key("evil").as_dict(private=False)}, {"jku": "https://evil.example/jwks"},
        {"x5u": "https://evil.example/x"}, {"x5c": []}, {"crit": ["exp"], "exp": 1}, {"crit": []}, {"b64": False},
    ]  # fmt: skip
    for header in hostile:
        await refused(bank, bank.assertion(header=header))


async def test_own_key_in_the_header(bank: Caller) -> None:
    """A signature by the key that the header brings along."""
    evil = key("evil")
    await refused(bank, bank.assertion(header={"jwk": evil.as_dict(private=False), "kid": None}, signer=evil))


async def test_what_is_no_assertion(bank: Caller) -> None:
    """Garbage in every shape."""
    hostile: list[Any] = [
        "", "a", "a.b", "a.b.c.d", "..", "a.b.c\n", "é.b.c", " a.b.c", "a=.b.c", "x" * 70_000,
        f"{b64url(b'[]')}.{b64url(b'[]')}.YQ", f"{b64url(b'7')}.{b64url(b'{}')}.YQ",
    ]  # fmt: skip
    for assertion in hostile:
        reply = await bank.http.post("/oauth/introspect", data={"client_assertion_type": TYPE, "client_assertion": assertion, "token": "t"})
        assert reply.status_code in {400, 401}
        assert reply.json()["error"] in {"invalid_client", "invalid_request"}


async def test_deeply_nested_json(bank: Caller) -> None:
    """Nesting that exhausts a recursive parser, in header and in payload."""
    deep = b'{"a":' * 3000 + b"1" + b"}" * 3000
    lists = b'{"a":' + b"[" * 7000 + b"]" * 7000 + b"}"
    for hostile in (deep, lists):
        await refused(bank, sign({"alg": "ES256", "kid": bank.kid}, hostile, bank.key))
    head = b64url(b'{"alg":"ES256","x":' + b"[" * 1500 + b"]" * 1500 + b"}")
    await refused(bank, f"{head}.{bank.assertion().split('.')[1]}.{'A' * 86}")


async def test_duplicate_members(bank: Caller) -> None:
    """Two values for one claim, of which two parsers would see different ones."""
    _, body, _ = bank.assertion().split(".")
    claims = base64.urlsafe_b64decode(body + "==")
    for twice in (claims[:-1] + b',"sub":"bank-a-client"}', b'{"aud":"https://evil.example",' + claims[1:]):
        await refused(bank, sign({"alg": "ES256", "kid": bank.kid}, twice, bank.key))
    twice_header = b64url(b'{"alg":"none","alg":"ES256"}')
    signature = bank.assertion().split(".")[2]
    await refused(bank, f"{twice_header}.{body}.{signature}")


async def test_bad_utf8_and_surrogates(bank: Caller) -> None:
    """Bytes that are no text, and text that cannot be encoded again."""
    for payload in (b'{"sub":"\xff"}', b'{"sub":"\\ud800"}', b'{"sub":"bank-a-client","jti":"\\u0000"}', b"\xef\xbb\xbf{}"):
        await refused(bank, sign({"alg": "ES256", "kid": bank.kid}, payload, bank.key))


async def test_signature_of_another_client(bank: Caller, other_bank: Caller) -> None:
    """Another registered client's key proves nothing about this one."""
    await refused(bank, bank.assertion(signer=other_bank.key))
    await refused(bank, bank.assertion(signer=other_bank.key, header={"kid": other_bank.kid}))


async def test_malleable_signature(bank: Caller) -> None:
    """A second spelling of the last base64url character is another text with the same bytes."""
    good = bank.assertion()
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    twin = good[:-1] + alphabet[alphabet.index(good[-1]) + 1]
    await refused(bank, twin)


async def test_client_id_of_another(bank: Caller) -> None:
    """The parameter and the assertion name different clients."""
    await refused(bank, bank.assertion(), client_id="bank-b-client")


async def test_two_ways_of_authentication(bank: Caller) -> None:
    """A secret beside the assertion."""
    reply = await bank.post("/oauth/introspect", {"token": "t", "client_secret": "s"})
    assert (reply.status_code, reply.json()["error"]) == (400, "invalid_request")


async def test_no_assertion_at_all(bank: Caller) -> None:
    """A bare client_id, with and without Basic authentication of bad bytes."""
    for headers in ({}, {"authorization": "Basic //8="}, {"authorization": "Basic !"}):
        form = {"client_id": bank.client_id, "grant_type": "client_credentials"}
        reply = await bank.http.post("/oauth/token", data=form, headers=headers)
        assert (reply.status_code, reply.json()["error"]) == (401, "invalid_client")


async def test_replay(bank: Caller) -> None:
    """An assertion counts once, whichever endpoint it is sent to."""
    assertion = bank.assertion()
    assert (await bank.post("/oauth/introspect", {"token": "t"}, assertion=assertion)).status_code == 200
    await refused(bank, assertion)


async def test_same_jti_in_a_fresh_assertion(bank: Caller) -> None:
    """The jti counts, not the bytes."""
    assert (await bank.post("/oauth/introspect", {"token": "t"}, assertion=bank.assertion(jti="j1"))).status_code == 200
    await refused(bank, bank.assertion(jti="j1", exp=int(time.time()) + 61))


async def test_same_jti_of_two_clients(bank: Caller, other_bank: Caller) -> None:
    """One client cannot use up another's ids."""
    for one in (bank, other_bank):
        assert (await one.post("/oauth/introspect", {"token": "t"}, assertion=one.assertion(jti="shared"))).status_code == 200


@pytest.mark.parametrize("path", ["/oauth/par", "/oauth/token", "/oauth/introspect", "/oauth/revoke"])
async def test_replay_after_a_failed_request(bank: Caller, path: str) -> None:
    """The assertion is used up although the request that carried it failed."""
    assertion = bank.assertion()
    first = await bank.post(path, {"no": "such parameter"}, assertion=assertion)
    assert first.status_code == 400
    second = await bank.post(path, {"no": "such parameter"}, assertion=assertion)
    assert (second.status_code, second.json()["error"]) == (401, "invalid_client")


async def test_parallel_replay_on_several_processes(engine: AsyncEngine, database: Any, parties: Any) -> None:
    """Of many simultaneous uses on several nodes exactly one counts."""
    nodes = [create_engine(database.app_url) for _ in range(3)]
    clients = [httpx.AsyncClient(transport=httpx.ASGITransport(build_app(node)), base_url=ISSUER) for node in nodes]
    try:
        for _ in range(5):
            assertion = caller(clients[0], "bank-a").assertion()
            uses = [caller(clients[n % 3], "bank-a").post("/oauth/introspect", {"token": "t"}, assertion=assertion) for n in range(24)]
            statuses = [reply.status_code for reply in await asyncio.gather(*uses)]
            assert sorted(statuses) == [200] + [401] * 23
    finally:
        for client, node in zip(clients, nodes, strict=True):
            await client.aclose()
            await node.dispose()


async def test_nothing_is_recorded_for_a_stranger(engine: AsyncEngine, bank: Caller) -> None:
    """An unknown caller leaves no trace in the ledger."""
    before = await scalar(engine, "select count(*) from ledger_record")
    await refused(bank, bank.assertion(signer=key("stranger")))
    assert await scalar(engine, "select count(*) from ledger_record") == before
    assert await records(engine, "grant.requested") == []
