"""How the clients use their connections: tokens and nonces renewed, once-only values never sent twice, threads, closing."""

import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import parse_qsl

import pytest
from joserfc import jws
from sdk_world import ITEM, AnyClient, LyingPeer, ask, permit

from consent.demo.sample import new_key, request_details
from consent_sdk import AsyncConsentClient, CallFailed, ConsentClient, Permit, Undecided

EVALUATION = "/access/v1/evaluation"
TOKEN = "/oauth/token"


def claims(compact: str) -> dict[str, Any]:
    """What a JWS says, unverified."""
    return json.loads(jws.extract_compact(compact.encode()).payload)


def sent(peer: LyingPeer, path: str) -> list[tuple[dict[str, Any], dict[str, str]]]:
    """Proof claims and form of every request to a path."""
    return [
        (claims(headers["dpop"]), dict(parse_qsl(body.decode())) if path == TOKEN else {})
        for seen, headers, body in peer.requests
        if seen == path
    ]


def test_nonce_challenges(fooled: AnyClient, peer: LyingPeer) -> None:
    """A demanded nonce (RFC 9449 §8, §9) is sent at once and kept; the proof and the assertion are made anew, not sent twice."""

    def demanding(handler: Any) -> tuple[int, dict[str, str], bytes]:
        if claims(handler.headers["dpop"]).get("nonce") == "n-1":
            token = {"access_token": "t", "token_type": "DPoP", "expires_in": 300}
            return 200, {}, json.dumps(token if handler.path == TOKEN else permit(ITEM)).encode()
        if handler.path == TOKEN:
            return 400, {"dpop-nonce": "n-1"}, b'{"error":"use_dpop_nonce"}'
        return 401, {"dpop-nonce": "n-1", "www-authenticate": 'DPoP error="use_dpop_nonce"'}, b"{}"

    peer.on[TOKEN] = peer.on[EVALUATION] = demanding
    assert ask(fooled)
    assert ask(fooled)
    assert (peer.seen[TOKEN], peer.seen[EVALUATION]) == (2, 2)
    proofs = [proof for path in (TOKEN, EVALUATION) for proof, _ in sent(peer, path)]
    assert len({proof["jti"] for proof in proofs}) == 4
    assert len({claims(form["client_assertion"])["jti"] for _, form in sent(peer, TOKEN)}) == 2


def test_nonce_that_never_fits(fooled: AnyClient, peer: LyingPeer) -> None:
    """A peer that always wants another nonce is asked twice and no more."""
    counter = iter(range(1000))

    def never(_: Any) -> tuple[int, dict[str, str], bytes]:
        return 400, {"dpop-nonce": f"n-{next(counter)}"}, b'{"error":"use_dpop_nonce"}'

    peer.on[TOKEN] = never
    with pytest.raises(CallFailed) as failed:
        ask(fooled)
    assert failed.value.code == "use_dpop_nonce"
    assert peer.seen[TOKEN] == 2


def test_token_renewed_once(fooled: AnyClient, peer: LyingPeer) -> None:
    """After 401 one new token is fetched; a second 401 is the caller's to see."""
    refusals = iter([True, False])

    def once(_: Any) -> tuple[int, dict[str, str], bytes]:
        return (401, {}, b'{"code":"not_authenticated"}') if next(refusals) else (200, {}, json.dumps(permit(ITEM)).encode())

    peer.on[EVALUATION] = once
    assert ask(fooled)
    assert (peer.seen[TOKEN], peer.seen[EVALUATION]) == (2, 2)
    peer.says(EVALUATION, {"code": "not_authenticated"}, 401)
    with pytest.raises(CallFailed):
        ask(fooled)
    assert (peer.seen[TOKEN], peer.seen[EVALUATION]) == (3, 4)


def test_token_kept_and_left_in_time(fooled: AnyClient, peer: LyingPeer) -> None:
    """A token is used until half a minute before its end; one that lives shorter is used once."""
    for _ in range(3):
        ask(fooled)
    assert peer.seen[TOKEN] == 1
    peer.says(TOKEN, {"access_token": "t", "token_type": "DPoP", "expires_in": 20})
    peer.says(EVALUATION, {"code": "not_authenticated"}, 401)
    with pytest.raises(CallFailed):
        ask(fooled)
    peer.says(EVALUATION, permit(ITEM))
    before = peer.seen[TOKEN]
    for _ in range(3):
        ask(fooled)
    assert peer.seen[TOKEN] == before + 3


def test_busy_service(fooled: AnyClient, peer: LyingPeer) -> None:
    """503 is tried once more with the same request_id and another proof; a request for consent is not."""
    states = iter([503, 200])

    def busy(_: Any) -> tuple[int, dict[str, str], bytes]:
        return next(states), {}, json.dumps(permit(ITEM)).encode()

    peer.on[EVALUATION] = busy
    assert ask(fooled)
    ids = [json.loads(body)["context"]["request_id"] for path, _, body in peer.requests if path == EVALUATION]
    assert len(ids) == 2
    assert len(set(ids)) == 1
    assert len({proof["jti"] for proof, _ in sent(peer, EVALUATION)}) == 2
    peer.says("/oauth/par", {}, 503)
    with pytest.raises(Undecided):
        fooled.request_consent(request_details())
    assert peer.seen["/oauth/par"] == 1


def test_one_connection_for_many_calls(fooled: AnyClient, peer: LyingPeer) -> None:
    """Discovery, token and twenty checks share a connection."""
    for _ in range(20):
        ask(fooled)
    assert peer.connections == 1


def test_each_check_has_a_request_id_of_its_own(fooled: AnyClient, peer: LyingPeer) -> None:
    """Two checks that look alike are two checks."""
    for _ in range(2):
        ask(fooled)
    assert len({json.loads(body)["context"]["request_id"] for path, _, body in peer.requests if path == EVALUATION}) == 2


def test_many_threads(peer: LyingPeer) -> None:
    """One blocking client in sixteen threads: every answer belongs to its question, no proof is used twice."""

    def echo(handler: Any) -> tuple[int, dict[str, str], bytes]:
        return 200, {}, json.dumps(permit(*json.loads(handler.body)["resource"]["properties"]["items"])).encode()

    peer.on[EVALUATION] = echo
    items = [f"N21-{n:02}-01" for n in range(1, 61)]

    def one(item: str) -> bool:
        decision = ask(client, items=(item,))
        return type(decision) is Permit and set(decision.permitted) == {item}

    with ConsentClient(peer.url, "c", new_key(), institution_id="bank") as client, ThreadPoolExecutor(16) as pool:
        assert all(pool.map(one, items))
    jtis = Counter(proof["jti"] for path in (TOKEN, EVALUATION) for proof, _ in sent(peer, path))
    assert max(jtis.values()) == 1
    assert peer.seen[EVALUATION] == len(items)
    assert peer.seen[TOKEN] <= 16


def test_closed(fooled: AnyClient, peer: LyingPeer) -> None:
    """A closed client answers nothing; closing twice is fine."""
    assert ask(fooled)
    fooled.close()
    fooled.close()
    with pytest.raises(RuntimeError, match="clos"):
        ask(fooled)


async def test_context_managers(peer: LyingPeer) -> None:
    """Both kinds close at the end of their block."""
    async with AsyncConsentClient(peer.url, "c", new_key(), institution_id="bank") as client:
        assert await client.check("x", [ITEM], "pre_loan")
    with pytest.raises(RuntimeError, match="clos"):
        await client.check("x", [ITEM], "pre_loan")
    with ConsentClient(peer.url, "c", new_key(), institution_id="bank") as blocking:
        pass
    with pytest.raises(RuntimeError, match="clos"):
        blocking.check("x", [ITEM], "pre_loan")


def test_consent_needs_a_redirect_uri(make: Any, peer: LyingPeer) -> None:
    """Said before anything is sent."""
    client = make(peer.url, "c", new_key(), institution_id="bank")
    with pytest.raises(ValueError, match="redirect_uri"):
        client.request_consent(request_details())
    assert not peer.seen
