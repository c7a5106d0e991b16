"""Both clients before a peer that lies: nothing but an answer that fits the question is ever true, and nothing unexpected escapes."""

import gzip
import json
import socket
import threading
import time
from typing import Any

import pytest
from sdk_world import FIELD, ITEM, AnyClient, LyingPeer, answer, ask, denied, line, permit

from consent.demo.sample import new_key, request_details
from consent_sdk import CallFailed, Check, ConsentClient, Denial, PartialPermit, Permit, RequestRefused, Undecided

EVALUATION = "/access/v1/evaluation"
METADATA = "/.well-known/oauth-authorization-server"
TOKEN = "/oauth/token"
OTHER = "N21-03-03"


def without(value: dict[str, Any], *names: str) -> dict[str, Any]:
    """The same without these members."""
    return {name: member for name, member in value.items() if name not in names}


def changed(**context: Any) -> dict[str, Any]:
    """A permit whose context was changed."""
    made = permit(ITEM)
    return made | {"context": made["context"] | context}


def test_an_honest_peer(fooled: AnyClient) -> None:
    """The peer's usual answer is a permit; so what the other tests see comes from the lie."""
    decision = ask(fooled)
    assert type(decision) is Permit
    assert decision.permitted == {ITEM: (FIELD,)}


ANSWERS: dict[str, Any] = {
    "more fields than the item has": answer(line(ITEM, fields=[FIELD, f"{OTHER}.01"]), decision=True, outcome="full"),
    "another item": permit(OTHER),
    "an item more": permit(ITEM, OTHER),
    "an item twice": permit(ITEM, ITEM),
    "no items": answer(decision=True, outcome="full"),
    "true over a denied item": answer(denied(ITEM), decision=True, outcome="full"),
    "true over a masked item": answer(line(ITEM, outcome="permit_masked"), decision=True, outcome="full"),
    "true over withheld fields": answer(line(ITEM, withheld=[f"{ITEM}.02"]), decision=True, outcome="full"),
    "true over a match": answer(line(ITEM, outcome="verify_only"), decision=True, outcome="full"),
    "true and none": answer(line(ITEM), decision=True, outcome="none"),
    "true and an unknown outcome": answer(line(ITEM), decision=True, outcome="yes"),
    "false and full": answer(line(ITEM), decision=False, outcome="full"),
    "false over a full permit": answer(line(ITEM), decision=False, outcome="partial"),
    "denied with fields": answer(denied(ITEM, fields=[FIELD]), decision=False, outcome="none"),
    "permitted on no basis": answer(line(ITEM, basis=None), decision=True, outcome="full"),
    "denied on a basis": answer(denied(ITEM, basis="grant"), decision=False, outcome="none"),
    "an unknown basis": answer(line(ITEM, basis="friendship"), decision=True, outcome="full"),
    "an unknown item outcome": answer(line(ITEM, outcome="allow"), decision=True, outcome="full"),
    "given and withheld": answer(line(ITEM, outcome="permit_masked", withheld=[FIELD]), decision=False, outcome="partial"),
    "decision as text": permit(ITEM) | {"decision": "true"},
    "decision as number": permit(ITEM) | {"decision": 1},
    "decision null": permit(ITEM) | {"decision": None},
    "decision missing": without(permit(ITEM), "decision"),
    "context missing": {"decision": True},
    "context null": {"decision": True, "context": None},
    "context a list": {"decision": True, "context": []},
    "no id": changed(id=""),
    "id a number": changed(id=7),
    "items null": changed(items=None),
    "items an object": changed(items={ITEM: True}),
    "no ledger": changed(ledger=None),
    "no leaf": changed(ledger={"index": 7, "leaf": ""}),
    "negative index": changed(ledger={"index": -1, "leaf": "eA=="}),
    "fields as text": answer(line(ITEM, fields=FIELD), decision=True, outcome="full"),
    "codes as numbers": changed(codes=[1]),
    "solution as text": changed(solution="yes"),
    "obligations as text": answer(line(ITEM, obligations=["mask"]), decision=True, outcome="full"),
    "an error": {"decision": True, "context": {"error": {"status": 503, "code": "policy.unavailable", "en": "…"}}},
    "an error that is none": {"decision": True, "context": {"error": "later"}},
    "an error of success": {"decision": True, "context": {"error": {"status": 200, "code": "ok"}}},
    "only true": True,
    "null": None,
    "a list": [permit(ITEM)],
    "text": "permit",
    "empty object": {},
}


@pytest.mark.parametrize("said", ANSWERS.values(), ids=ANSWERS.keys())
def test_answers_that_do_not_fit(fooled: AnyClient, peer: LyingPeer, said: Any) -> None:
    """Whatever is said: Undecided, for one check and for one among several."""
    peer.says(EVALUATION, said)
    with pytest.raises(Undecided):
        ask(fooled)
    peer.says(f"{EVALUATION}s", {"evaluations": [permit(ITEM), said]})
    with pytest.raises(Undecided):
        fooled.check_many([Check(enterprise="x", items=[ITEM], purpose="pre_loan")] * 2)


def test_fields_beyond_those_asked(fooled: AnyClient, peer: LyingPeer) -> None:
    """Asked for some fields, the others of the item are too much."""
    peer.says(EVALUATION, permit(ITEM))
    assert ask(fooled, fields={ITEM: [FIELD]})
    with pytest.raises(Undecided):
        ask(fooled, fields={ITEM: [f"{ITEM}.02"]})


def test_another_order_of_items(fooled: AnyClient, peer: LyingPeer) -> None:
    """Items in another order are another answer: somebody may read them by place."""
    peer.says(EVALUATION, permit(OTHER, ITEM))
    with pytest.raises(Undecided):
        ask(fooled, items=(ITEM, OTHER))


@pytest.mark.parametrize("count", [0, 1, 3])
def test_another_number_of_answers(fooled: AnyClient, peer: LyingPeer, count: int) -> None:
    """Fewer or more answers than questions: none of them counts."""
    peer.says(f"{EVALUATION}s", {"evaluations": [permit(ITEM)] * count})
    with pytest.raises(Undecided):
        fooled.check_many([Check(enterprise="x", items=[ITEM], purpose="pre_loan")] * 2)


@pytest.mark.parametrize("action", ["verify", "model", "borrow"])
def test_detail_where_less_was_asked(fooled: AnyClient, action: str) -> None:
    """A permit in detail answers neither a verification, nor a model, nor an action that nobody knows."""
    with pytest.raises(Undecided):
        ask(fooled, action=action)


@pytest.mark.parametrize(("action", "outcome"), [("verify", "verify_only"), ("model", "model_only"), ("push", "permit")])
def test_other_actions_in_full(fooled: AnyClient, peer: LyingPeer, action: str, outcome: str) -> None:
    """Each action has the outcome that gives it all it asked."""
    peer.says(EVALUATION, answer(line(ITEM, outcome=outcome), decision=True, outcome="full"))
    decision = ask(fooled, action=action)
    assert type(decision) is Permit
    assert (decision.action, decision.permitted) == (action, {ITEM: (FIELD,)})


def test_only_what_may_be_had_as_asked_is_permitted(fooled: AnyClient, peer: LyingPeer) -> None:
    """Matches and fields that must be masked or banded are no plain fields: they stand in `items`, not in `permitted`."""
    masked = {"code": "mask", "fields": [f"{ITEM}.02"], "value": None}
    kept = {"code": "retain_days", "fields": [FIELD, f"{ITEM}.02"], "value": 30}
    lines = [
        line(ITEM, outcome="permit_masked", fields=[FIELD, f"{ITEM}.02"], obligations=[masked, kept]),
        line(OTHER, outcome="verify_only", obligations=[{"code": "match_only", "fields": [f"{OTHER}.01"]}]),
        denied("N21-01-02"),
    ]
    peer.says(EVALUATION, answer(*lines, decision=False, outcome="partial"))
    decision = ask(fooled, items=(ITEM, OTHER, "N21-01-02"))
    assert type(decision) is PartialPermit
    assert not decision
    assert decision.permitted == {ITEM: (FIELD,)}
    assert decision.items[0].obligations[1].value == 30


def test_denial(fooled: AnyClient, peer: LyingPeer) -> None:
    """A denial that fits is a Denial, and falsy."""
    peer.says(EVALUATION, answer(denied(ITEM), decision=False, outcome="none", solution={"zh": "请先取得授权。", "en": "Ask first."}))
    decision = ask(fooled)
    assert type(decision) is Denial
    assert not decision
    assert (decision.codes, decision.solution_en) == (("item.not_granted",), "Ask first.")


BODIES: dict[str, bytes] = {
    "nothing": b"",
    "not JSON": b"<html>ok</html>",
    "half of it": json.dumps(permit(ITEM)).encode()[:-9],
    "two values": json.dumps(permit(ITEM)).encode() * 2,
    "not UTF-8": b'{"decision":true,"context":"\xff"}',
    "very deep": b"[" * 100_000,
    "a deep object": b'{"a":' * 50_000 + b"1" + b"}" * 50_000,
    "compressed unasked": gzip.compress(json.dumps(permit(ITEM)).encode()),
    "too long": b" " * (5 * 1024 * 1024) + json.dumps(permit(ITEM)).encode(),
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES.keys())
@pytest.mark.parametrize("path", [EVALUATION, TOKEN, METADATA])
def test_bodies_that_cannot_be_read(fooled: AnyClient, peer: LyingPeer, path: str, body: bytes) -> None:
    """At any of the three endpoints: Undecided."""
    peer.says(path, body, content_encoding="gzip" if body[:2] == b"\x1f\x8b" else "identity")
    with pytest.raises(Undecided):
        ask(fooled)


@pytest.mark.parametrize("status", [201, 202, 204, 301, 302, 303, 307, 308, 500, 502, 503, 504])
@pytest.mark.parametrize("path", [EVALUATION, TOKEN, METADATA])
def test_other_statuses(fooled: AnyClient, peer: LyingPeer, path: str, status: int) -> None:
    """A perfect body under another status than 200 decides nothing, and no redirect is followed."""
    body = {EVALUATION: permit(ITEM), TOKEN: {"access_token": "t", "token_type": "DPoP"}, METADATA: peer.metadata()}[path]
    peer.says(path, b"" if status == 204 else body, status, location=f"{peer.url}/elsewhere")
    with pytest.raises(Undecided):
        ask(fooled)
    assert peer.seen["/elsewhere"] == 0
    assert peer.seen[path] == (2 if status == 503 else 1)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 413, 429])
def test_refused_calls(fooled: AnyClient, peer: LyingPeer, status: int) -> None:
    """A refusal says its status, code and reason; a page instead of JSON decides nothing."""
    peer.says(EVALUATION, {"code": "some.code", "detail": "say it otherwise", "decision": True}, status)
    with pytest.raises(CallFailed) as failed:
        ask(fooled)
    assert (failed.value.status, failed.value.code, failed.value.detail) == (status, "some.code", "say it otherwise")
    peer.says(EVALUATION, b"<html>", status)
    with pytest.raises(Undecided):
        ask(fooled)


def test_metadata_of_another(fooled: AnyClient, peer: LyingPeer) -> None:
    """Another issuer, or an endpoint anywhere else, gets no assertion and no token (RFC 8414 §3.3)."""
    lies = [{"issuer": "https://other.example"}, {"issuer": f"{peer.url}/"}, {"issuer": None}]
    for name in ("pushed_authorization_request_endpoint", "authorization_endpoint", "token_endpoint"):
        lies += [{name: url} for url in (f"{peer.url}.evil.example/x", "https://other.example/token", f"{peer.url}@evil/x", "", None, 7)]
    for lie in lies:
        peer.says(METADATA, peer.metadata(**lie))
        with pytest.raises(Undecided):
            ask(fooled)
    assert peer.seen[TOKEN] == 0


TOKENS: dict[str, Any] = {
    "Bearer": {"access_token": "t", "token_type": "Bearer", "expires_in": 300},
    "no type": {"access_token": "t", "expires_in": 300},
    "no token": {"token_type": "DPoP", "expires_in": 300},
    "empty": {"access_token": "", "token_type": "DPoP"},
    "a number": {"access_token": 7, "token_type": "DPoP"},
    "a line break": {"access_token": "a\r\nX-Evil: 1", "token_type": "DPoP"},
    "Chinese": {"access_token": "令牌", "token_type": "DPoP"},
    "life as text": {"access_token": "t", "token_type": "DPoP", "expires_in": "long"},
    "negative life": {"access_token": "t", "token_type": "DPoP", "expires_in": -5},
    "life null": {"access_token": "t", "token_type": "DPoP", "expires_in": None},
}


@pytest.mark.parametrize("said", TOKENS.values(), ids=TOKENS.keys())
def test_tokens_that_are_not_sender_constrained(fooled: AnyClient, peer: LyingPeer, said: Any) -> None:
    """A token of another type or shape is never used."""
    peer.says(TOKEN, said)
    with pytest.raises(Undecided):
        ask(fooled)
    assert peer.seen[EVALUATION] == 0


def test_grants_that_were_not_asked_for(fooled: AnyClient, peer: LyingPeer) -> None:
    """A code that brings other items, or unreadable ones, brings no grant."""
    good = {"access_token": "t", "token_type": "DPoP", "expires_in": 300, "grant_id": "g_1"}
    for details in ([{"datatypes": ["N24-07-02"]}], [{"datatypes": ITEM}], [{"datatypes": [7]}], [{}], [7], "all", None):
        pending = fooled.request_consent(request_details())
        peer.says(TOKEN, good | {"authorization_details": details})
        with pytest.raises(Undecided):
            fooled.finish(pending, f"https://bank.example/cb?code=c&state={pending.state}&iss={peer.url}")
    peer.says(TOKEN, good | {"authorization_details": [{"datatypes": [ITEM]}]})
    pending = fooled.request_consent(request_details())
    grant = fooled.finish(pending, f"/cb?code=c&state={pending.state}&iss={peer.url}")
    assert grant.items == (ITEM,)


def test_another_grant_and_a_revocation_that_was_none(fooled: AnyClient, peer: LyingPeer) -> None:
    """The state of another grant is none of this one's; only 204 is a revocation."""
    peer.says("/grants/g_1", {"grant_id": "g_2", "status": "active"})
    with pytest.raises(Undecided):
        fooled.grant("g_1")
    with pytest.raises(Undecided):
        fooled.revoke("g_1")
    peer.says("/grants/g_1", b"", 204)
    fooled.revoke("g_1")


@pytest.mark.parametrize("said", [{}, {"request_uri": "", "expires_in": 1}, {"request_uri": "u"}, {"request_uri": 7, "expires_in": 1}, []])
def test_pushed_requests_without_a_reference(fooled: AnyClient, peer: LyingPeer, said: Any) -> None:
    """Without a request_uri there is nowhere to send anybody."""
    peer.says("/oauth/par", said, 201)
    with pytest.raises(Undecided):
        fooled.request_consent(request_details())


def test_refusals_in_another_shape(fooled: AnyClient, peer: LyingPeer) -> None:
    """Verdicts are shown as they came if they can be read; a refusal without any is a refused call."""
    peer.says("/oauth/par", {"error": "invalid_authorization_details", "verdicts": [{"identifier": "d1", "verdict": "refuse"}]}, 400)
    with pytest.raises(RequestRefused) as refused:
        fooled.request_consent(request_details())
    assert refused.value.verdicts == [{"identifier": "d1", "verdict": "refuse"}]
    for verdicts in ([7], "all", [{"codes": 7}], [{"identifier": "d1", "verdict": "refuse", "codes": [1]}]):
        peer.says("/oauth/par", {"error": "invalid_authorization_details", "verdicts": verdicts}, 400)
        with pytest.raises(Undecided):
            fooled.request_consent(request_details())
    peer.says("/oauth/par", {"error": "invalid_authorization_details"}, 400)
    with pytest.raises(CallFailed):
        fooled.request_consent(request_details())


def test_answers_that_come_too_slowly(fooled: AnyClient, peer: LyingPeer) -> None:
    """Silence, and a body that drips, end within about twice the timeout: once, and once more."""

    def silent(handler: Any) -> tuple[int, dict[str, str], bytes]:
        time.sleep(1.6)
        return 200, {}, json.dumps(permit(ITEM)).encode()

    def dripping(handler: Any) -> tuple[int, dict[str, str], bytes]:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n")
        for _ in range(30):
            time.sleep(0.1)
            handler.wfile.write(b" ")
        return 200, {}, b""

    for reaction in (silent, dripping):
        peer.on[EVALUATION] = reaction
        begun = time.monotonic()
        with pytest.raises(Undecided):
            ask(fooled)
        assert time.monotonic() - begun < 6


def test_not_even_http(make: Any) -> None:
    """A peer that speaks something else, or hangs up at once."""
    for greeting in (b"SSH-2.0-x\r\n", b"", b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{}", b"HTTP/1.1 200 OK\r\n\xff: \x00\r\n\r\n"):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            done = threading.Event()

            def serve(listener: socket.socket = listener, greeting: bytes = greeting, done: threading.Event = done) -> None:
                for _ in range(2):
                    try:
                        near, _ = listener.accept()
                    except OSError:
                        return
                    near.recv(65536)
                    near.sendall(greeting)
                    near.shutdown(socket.SHUT_WR)
                    near.close()
                done.set()

            thread = threading.Thread(target=serve, daemon=True)
            thread.start()
            client = make(f"http://127.0.0.1:{listener.getsockname()[1]}", "c", new_key(), institution_id="bank", timeout=2.0)
            with pytest.raises(Undecided):
                ask(client)
            done.wait(0.1)
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(5)


@pytest.mark.parametrize("issuer", ["http://consent.example", "ftp://127.0.0.1", "consent.example", "", "http://127.0.0.1.evil.example"])
def test_issuers_that_are_not_safe(issuer: str) -> None:
    """Keys and tokens travel over https, and in the clear to this machine alone."""
    with pytest.raises(ValueError, match="https"):
        ConsentClient(issuer, "c", new_key(), institution_id="bank")


KEYS: dict[str, Any] = {
    "public": without(new_key(), "d"),
    "symmetric": {"kty": "oct", "k": "c2VjcmV0"},
    "another curve": new_key() | {"crv": "P-384"},
    "garbage": new_key() | {"x": "!", "d": "!"},
    "empty": {},
    "no coordinates": without(new_key(), "x"),
    "RSA without primes": {"kty": "RSA", "n": "AQAB", "e": "AQAB", "d": "AQAB"},
}


@pytest.mark.parametrize("jwk", KEYS.values(), ids=KEYS.keys())
def test_keys_that_cannot_sign(jwk: dict[str, Any]) -> None:
    """Refused when the client is made, not in the middle of a loan."""
    with pytest.raises(ValueError, match="key"):
        ConsentClient("https://consent.example", "c", jwk, institution_id="bank")
