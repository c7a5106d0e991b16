"""The DPoP sub-cases of the OpenID Foundation's FAPI 2.0 plan, at a resource and at the token endpoint (RFC 9449 §4.3)."""

import asyncio
import time
from typing import Any

import httpx
import pytest
from joserfc.jwk import ECKey
from oauth_world import ISSUER, Caller, b64url, build_app, caller, ed_key, execute, rsa_key, scalar
from sample_parties import Parties
from sqlalchemy.ext.asyncio import AsyncEngine

from consent.db import create_engine

PATH = "/probe/check"
URL = f"{ISSUER}{PATH}"
TOKEN_URL = f"{ISSUER}/oauth/token"
OFF_THE_CURVE = {"kty": "EC", "crv": "P-256", "x": "A" * 43, "y": "A" * 43}
KINDS = {"PS256": rsa_key, "EdDSA": ed_key, "Ed25519": ed_key}


@pytest.fixture
async def token(bank: Caller) -> str:
    """A valid token with the scope of the resource."""
    return await bank.token("check")


async def assert_refused(reply: httpx.Response, error: str = "invalid_dpop_proof") -> None:
    assert reply.status_code == 401, reply.text
    challenge = reply.headers["www-authenticate"]
    assert challenge.startswith("DPoP ")
    assert f'error="{error}"' in challenge
    assert reply.headers["content-type"] == "application/problem+json"


async def test_hostile_proofs_at_a_resource(bank: Caller, token: str) -> None:
    """Every sub-case is refused, and a right proof still works afterwards."""
    now = int(time.time())
    private = bank.proof_key.as_dict(private=True)
    stranger = ECKey.generate_key("P-256")
    proofs: dict[str, str] = {
        "not a JWT": "x",
        "typ missing": bank.proof("GET", URL, token=token, drop=["typ"]),
        "alg missing": bank.proof("GET", URL, token=token).split(".", 1)[1],
        "jwk missing": bank.proof("GET", URL, token=token, drop=["jwk"]),
        "wrong typ": bank.proof("GET", URL, token=token, header={"typ": "JWT"}),
        "typ at+jwt": bank.proof("GET", URL, token=token, header={"typ": "at+jwt"}),
        "private jwk": bank.proof("GET", URL, token=token, header={"jwk": private}),
        "none": bank.proof("GET", URL, token=token, header={"alg": "none"}),
        "bad signature": bank.proof("GET", URL, token=token, signer=stranger),
        "other key": bank.proof("GET", URL, token=token, signer=stranger, header={"jwk": stranger.as_dict(private=False)}),
        "wrong htm": bank.proof("POST", URL, token=token),
        "htm in lower case": bank.proof("get", URL, token=token),
        "wrong htu path": bank.proof("GET", f"{ISSUER}/probe/any", token=token),
        "wrong htu host": bank.proof("GET", f"https://evil.example{PATH}", token=token),
        "htu of http": bank.proof("GET", URL.replace("https", "http"), token=token),
        "htu with userinfo": bank.proof("GET", URL.replace("https://", "https://evil@"), token=token),
        "htu with another port": bank.proof("GET", URL.replace(".example", ".example:8443"), token=token),
        "htu with a bad port": bank.proof("GET", URL.replace(".example", ".example:port"), token=token),
        "htu no string": bank.proof("GET", URL, token=token, htu=[URL]),
        "htu relative": bank.proof("GET", PATH, token=token),
        "iat an hour ago": bank.proof("GET", URL, token=token, iat=now - 3600),
        "iat in an hour": bank.proof("GET", URL, token=token, iat=now + 3600),
        "iat as text": bank.proof("GET", URL, token=token, iat=str(now)),
        "iat as float": bank.proof("GET", URL, token=token, iat=float(now)),
        "iat true": bank.proof("GET", URL, token=token, iat=True),
        "expired": bank.proof("GET", URL, token=token, exp=now - 5),
        "not yet valid": bank.proof("GET", URL, token=token, nbf=now + 300),
        "wrong ath": bank.proof("GET", URL, token="x" * 43),
        "ath no string": bank.proof("GET", URL, token=token, ath=1),
        "jti too long": bank.proof("GET", URL, token=token, jti="x" * 257),
        "jti a number": bank.proof("GET", URL, token=token, jti=1),
        "jti with NUL": bank.proof("GET", URL, token=token, jti="a\0"),
        "crit": bank.proof("GET", URL, token=token, header={"crit": ["x"], "x": 1}),
        "symmetric key": bank.proof("GET", URL, token=token, header={"jwk": {"kty": "oct", "k": "AAAA"}}),
        "point off the curve": bank.proof("GET", URL, token=token, header={"jwk": OFF_THE_CURVE}),
        "jwk no object": bank.proof("GET", URL, token=token, header={"jwk": "key"}),
        "jwk members no strings": bank.proof("GET", URL, token=token, header={"jwk": {"kty": "EC", "crv": 1, "x": [], "y": {}}}),
        "another curve": bank.proof("GET", URL, token=token, header={"jwk": ECKey.generate_key("P-384").as_dict(private=False)}),
    } | {f"{name} missing": bank.proof("GET", URL, token=token, drop=[name]) for name in ("jti", "htm", "htu", "iat", "ath")}
    for name, proof in proofs.items():
        reply = await bank.call(PATH, token, proof=proof)
        assert reply.status_code == 401, name
        await assert_refused(reply)
    assert (await bank.call(PATH, token)).status_code == 200


async def test_rs256_proof(bank: Caller) -> None:
    """RS256 is refused with a key that PS256 would be taken from."""
    bank.proof_key, bank.proof_alg = rsa_key(), "RS256"
    proof = bank.proof("POST", TOKEN_URL)
    reply = await bank.post("/oauth/token", {"grant_type": "client_credentials", "scope": "check"}, proof=proof)
    assert (reply.status_code, reply.json()["error"]) == (400, "invalid_dpop_proof")


@pytest.mark.parametrize("algorithm", sorted(KINDS))
async def test_other_keys_of_proofs(bank: Caller, algorithm: str) -> None:
    """An RSA proof, whose header is longer than 512 bytes, and Ed25519 by both of its names."""
    bank.proof_key, bank.proof_alg = KINDS[algorithm](), algorithm
    token = await bank.token("check")
    for _ in range(2):
        assert (await bank.call(PATH, token)).status_code == 200


async def test_small_rsa_key(bank: Caller) -> None:
    """1,024 bits are no key, nor is an exponent that takes a second to raise to."""
    for size, exponent in ((128, b"\1\0\1"), (2048, b"\1\0\1"), (256, b"\xff" * 200)):
        jwk = {"n": b64url(b"\xff" * size), "e": b64url(exponent)}
        proof = bank.proof("POST", TOKEN_URL, header={"alg": "PS256", "jwk": {"kty": "RSA"} | jwk}, signer=rsa_key())
        reply = await bank.post("/oauth/token", {"grant_type": "client_credentials", "scope": "check"}, proof=proof)
        assert reply.json()["error"] == "invalid_dpop_proof"
        assert "RSA keys have" in reply.json()["error_description"]


async def test_spellings_that_are_equal(bank: Caller, token: str) -> None:
    """Query and fragment are ignored, scheme and host have no case, a default port may be written (RFC 9449 §4.3)."""
    for htu in (f"{URL}?x=1", f"{URL}#f", URL.replace("https://consent", "HTTPS://Consent"), URL.replace(".example", ".example:443")):
        assert (await bank.call(PATH, token, proof=bank.proof("GET", htu, token=token))).status_code == 200


async def test_proof_of_a_request_with_a_query(bank: Caller, token: str) -> None:
    """The query is no part of htu."""
    proof = bank.proof("GET", URL, token=token)
    reply = await bank.http.get(f"{PATH}?a=1", headers={"authorization": f"DPoP {token}", "dpop": proof})
    assert reply.status_code == 200


async def test_clocks_ten_seconds_apart(bank: Caller, token: str) -> None:
    """iat ten seconds before and almost ten after now is taken, and extra members are ignored."""
    for shift in (-10, 9):
        proof = bank.proof("GET", URL, token=token, iat=int(time.time()) + shift, extra={"a": [1]}, header={"extra": "x"})
        assert (await bank.call(PATH, token, proof=proof)).status_code == 200


async def test_two_proofs(bank: Caller, token: str) -> None:
    """Two DPoP headers are none; so are two tokens."""
    proof, second = bank.proof("GET", URL, token=token), bank.proof("GET", URL, token=token)
    headers = [("authorization", f"DPoP {token}"), ("dpop", proof), ("dpop", second)]
    await assert_refused(await bank.http.get(PATH, headers=headers))
    headers = [("authorization", f"DPoP {token}"), ("authorization", f"DPoP {token}"), ("dpop", proof)]
    await assert_refused(await bank.http.get(PATH, headers=headers), "invalid_token")


async def test_no_proof(bank: Caller, token: str) -> None:
    """A stolen token alone opens nothing."""
    await assert_refused(await bank.http.get(PATH, headers={"authorization": f"DPoP {token}"}))


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "Basic", ""])
async def test_downgrade_to_bearer(bank: Caller, token: str, scheme: str) -> None:
    """A bound token is no bearer token, with or without a proof beside it."""
    await assert_refused(await bank.call(PATH, token, scheme=scheme), "invalid_token")
    await assert_refused(await bank.http.get(PATH, headers={"authorization": f"{scheme} {token}"}), "invalid_token")


async def test_scheme_in_any_case(bank: Caller, token: str) -> None:
    """Schemes have no case (RFC 9110 §11.1)."""
    for scheme in ("dpop", "DPOP", "DPoP"):
        assert (await bank.call(PATH, token, scheme=scheme)).status_code == 200


async def test_token_in_the_query(bank: Caller, token: str) -> None:
    """There, it is no credential."""
    reply = await bank.http.get(f"{PATH}?access_token={token}", headers={"dpop": bank.proof("GET", URL, token=token)})
    assert reply.status_code == 401
    assert "error=" not in reply.headers["www-authenticate"]


async def test_replayed_proof(bank: Caller, token: str) -> None:
    """A proof counts once, here and across endpoints."""
    proof = bank.proof("GET", URL, token=token)
    assert (await bank.call(PATH, token, proof=proof)).status_code == 200
    await assert_refused(await bank.call(PATH, token, proof=proof))
    again = bank.proof("GET", URL, token=token, jti="twice")
    assert (await bank.call(PATH, token, proof=again)).status_code == 200
    await assert_refused(await bank.call(PATH, token, proof=bank.proof("GET", URL, token=token, jti="twice")))


async def test_replayed_proof_after_a_forbidden_request(bank: Caller, token: str) -> None:
    """The jti is used up although the request was refused."""
    proof = bank.proof("GET", f"{ISSUER}/probe/grants", token=token)
    assert (await bank.call("/probe/grants", token, proof=proof)).status_code == 403
    await assert_refused(await bank.call("/probe/grants", token, proof=proof))


async def test_parallel_replay_of_a_proof(engine: AsyncEngine, database: Any, parties: Parties) -> None:
    """Of many simultaneous uses on several nodes exactly one counts, also within one gathered batch."""
    nodes = [create_engine(database.app_url) for _ in range(3)]
    clients = [httpx.AsyncClient(transport=httpx.ASGITransport(build_app(node)), base_url=ISSUER) for node in nodes]
    try:
        bank = caller(clients[0], "bank-a")
        token = await bank.token("check")
        for _ in range(5):
            headers = {"authorization": f"DPoP {token}", "dpop": bank.proof("GET", URL, token=token)}
            replies = await asyncio.gather(*(clients[n % 3].get(PATH, headers=headers) for n in range(24)))
            assert sorted(reply.status_code for reply in replies) == [200] + [401] * 23
    finally:
        for client, node in zip(clients, nodes, strict=True):
            await client.aclose()
            await node.dispose()


async def test_proof_at_the_token_endpoint(bank: Caller) -> None:
    """No proof, a proof for elsewhere, and one that was used give no token; the assertion is used up all the same."""
    form = {"grant_type": "client_credentials", "scope": "check"}
    used = bank.proof("POST", TOKEN_URL)
    assert (await bank.post("/oauth/token", form, proof=used)).status_code == 200
    for proof in (None, bank.proof("POST", f"{ISSUER}/oauth/par"), bank.proof("GET", TOKEN_URL), used, "x"):
        assertion = bank.assertion()
        reply = await bank.post("/oauth/token", form, proof=proof, assertion=assertion)
        assert (reply.status_code, reply.json()["error"]) == (400, "invalid_dpop_proof")
        reply = await bank.post("/oauth/token", form, proof=bank.proof("POST", TOKEN_URL), assertion=assertion)
        assert (reply.status_code, reply.json()["error"]) == (401, "invalid_client")


async def test_revoked_expired_and_suspended(engine: AsyncEngine, bank: Caller, token: str) -> None:
    """Each holds for the very next request."""
    assert (await bank.call(PATH, token)).status_code == 200
    assert (await bank.post("/oauth/revoke", {"token": token})).status_code == 200
    await assert_refused(await bank.call(PATH, token), "invalid_token")
    second = await bank.token("check")
    await execute(engine, "update access_token set expires_at = clock_timestamp()")
    await assert_refused(await bank.call(PATH, second), "invalid_token")
    third = await bank.token("check")
    await execute(engine, "update client set status = 'suspended' where id = :id", id=bank.client_id)
    await assert_refused(await bank.call(PATH, third), "invalid_token")


async def test_missing_scope(bank: Caller, token: str, platform: Caller) -> None:
    """403 insufficient_scope names the scope; scopes imply nothing about each other."""
    for path, scope in (("/probe/grants", "grants"), ("/probe/any", "check:any")):
        reply = await bank.call(path, token)
        assert reply.status_code == 403
        assert 'error="insufficient_scope"' in reply.headers["www-authenticate"]
        assert f'scope="{scope}"' in reply.headers["www-authenticate"]
    theirs = await platform.token("check:any")
    assert (await platform.call("/probe/any", theirs)).status_code == 200
    assert (await platform.call(PATH, theirs)).status_code == 403


async def test_guessed_tokens_leave_no_marks(engine: AsyncEngine, bank: Caller, token: str) -> None:
    """Whoever has no token, or another's without the key, cannot fill the table of used ids."""
    before = await scalar(engine, "select count(*) from used_jti")
    guess = b64url(b"0" * 32)
    await assert_refused(await bank.call(PATH, guess, proof=bank.proof("GET", URL, token=guess)), "invalid_token")
    thief = caller(bank.http, "bank-b")
    await assert_refused(await thief.call(PATH, token))
    assert await scalar(engine, "select count(*) from used_jti") == before


async def test_host_header_means_nothing(bank: Caller, token: str) -> None:
    """htu is held against the configured issuer, whatever Host and forwarded headers say."""
    proof = bank.proof("GET", f"https://evil.example{PATH}", token=token)
    headers = {"authorization": f"DPoP {token}", "dpop": proof, "host": "evil.example", "x-forwarded-host": "evil.example"}
    await assert_refused(await bank.http.get(PATH, headers=headers))
    headers["dpop"] = bank.proof("GET", URL, token=token)
    assert (await bank.http.get(PATH, headers=headers)).status_code == 200
