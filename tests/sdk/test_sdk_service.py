"""Both clients before the real service: consent, checks, tickets, deliveries, revocation. Each test has an enterprise of its own."""

import socket
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import pytest
from joserfc.jwk import OKPKey, RSAKey
from sdk_world import ITEM, AnyClient, ask, granted
from service_world import Service, answer_page

from consent.demo.sample import EXCESS_ITEM, GRANTED_ITEMS, LEFT_OUT_ITEM, OPEN_ITEM, PRODUCT, PURPOSE, request_details
from consent_sdk import (
    CallFailed,
    Check,
    ConsentRefused,
    Denial,
    Detail,
    Frequency,
    PartialPermit,
    Permit,
    RequestRefused,
    Undecided,
)

UNTIL = (datetime.now(UTC) + timedelta(days=30)).strftime("%Y-%m-%dT00:00:00Z")

pytestmark = pytest.mark.xdist_group("service")  # one service for all of them, not one per worker


def test_over_broad_request(service: Service, bank: AnyClient) -> None:
    """Refused as a whole: one verdict per detail, and a solution in both languages for the one at fault."""
    with pytest.raises(RequestRefused) as refused:
        bank.request_consent(request_details(extra=EXCESS_ITEM), login_hint=service.facts.enterprise.id)
    verdicts = {verdict["identifier"]: verdict for verdict in refused.value.verdicts}
    assert len(verdicts) == len(GRANTED_ITEMS) + 2
    wrong = verdicts.pop(EXCESS_ITEM.lower())
    assert (wrong["verdict"], wrong["codes"]) == ("refuse", ["item.not_necessary"])
    assert wrong["solution"]["zh"]
    assert wrong["solution"]["en"]
    assert {verdict["verdict"] for verdict in verdicts.values()} == {"keep"}
    assert "item.not_necessary" in str(refused.value)


def test_consent_in_part(service: Service, bank: AnyClient) -> None:
    """What she ticked is granted exactly as asked for, what she left out is named; no secret shows in a log of either value."""
    enterprise = service.enterprise()
    pending = bank.request_consent(request_details(), login_hint=enterprise.id)
    assert pending.url.startswith(f"{service.issuer}/oauth/authorize?")
    grant = bank.finish(pending, answer_page(service, pending.url, enterprise, 3))
    assert sorted(grant.items) == sorted(GRANTED_ITEMS)
    assert [detail["datatypes"] for detail in grant.refused] == [[LEFT_OUT_ITEM]]
    assert not grant.complete
    assert grant.unmet_required == ()
    assert grant.granted[0]["frequency"] == {"max": 4, "per": "day"}
    assert grant.access_token is not None
    assert grant.access_token not in repr(grant)
    assert pending.state not in repr(pending)
    assert pending.code_verifier not in repr(pending)
    state = bank.grant(grant.grant_id)
    assert (state["grant_id"], state["status"]) == (grant.grant_id, "active")


def test_required_item_left_out(service: Service, bank: AnyClient) -> None:
    """A left-out required item stands in `unmet_required`."""
    enterprise = service.enterprise()
    pending = bank.request_consent(request_details(), login_hint=enterprise.id)
    grant = bank.finish(pending, answer_page(service, pending.url, enterprise, 0))
    assert ITEM not in grant.items
    assert len(grant.unmet_required) == 1


def test_enterprise_refuses_all(service: Service, bank: AnyClient) -> None:
    """`error=access_denied` is a refusal, not a grant."""
    enterprise = service.enterprise()
    pending = bank.request_consent(request_details(), login_hint=enterprise.id)
    with pytest.raises(ConsentRefused) as refused:
        bank.finish(pending, answer_page(service, pending.url, enterprise, decision="refuse"))
    assert refused.value.code == "access_denied"


def test_returned_urls_that_are_not_the_answer(service: Service, bank: AnyClient) -> None:
    """Wrong, missing or repeated parameters are refused before the code is spent; the true URL then still works, once."""
    enterprise = service.enterprise()
    pending = bank.request_consent(request_details(), login_hint=enterprise.id)
    returned = answer_page(service, pending.url, enterprise)
    base, _, query = returned.partition("?")
    true = dict(part.split("=", 1) for part in query.split("&"))
    bad = {
        "state_mismatch": [
            f"{base}?{query}&state={true['state']}",
            f"{base}?{query}&code=other",
            f"{base}?{query}&iss={true['iss']}",
            f"{base}?{query.replace(true['state'], 'x' * 43)}",
            f"{base}?" + query.replace(f"state={true['state']}", "x=y"),
            f"{base}#{query}",
            base,
            "",
            "http://[",
        ],
        "issuer_mismatch": [
            f"{base}?" + urlencode({"state": pending.state, "code": true["code"], "iss": "https://other.example"}),
            f"{base}?" + urlencode({"state": pending.state, "code": true["code"]}),
        ],
        "no_code": [f"{base}?" + urlencode({"state": pending.state, "iss": service.issuer})],
        "access_denied": [f"{base}?" + urlencode({"state": pending.state, "iss": service.issuer, "error": "access_denied", "code": "x"})],
    }
    for code, urls in bad.items():
        for url in urls:
            with pytest.raises(ConsentRefused) as refused:
                bank.finish(pending, url)
            assert refused.value.code == code, url
    assert len(bank.finish(pending, returned).items) == len(GRANTED_ITEMS) + 1
    with pytest.raises(CallFailed) as replayed:
        bank.finish(pending, returned)
    assert replayed.value.code == "invalid_grant"


def test_code_of_another_request(service: Service, bank: AnyClient) -> None:
    """A code that belongs to another request of the same bank does not pass: its verifier is another."""
    enterprise = service.enterprise()
    first, second = (bank.request_consent(request_details(), login_hint=enterprise.id) for _ in range(2))
    returned = answer_page(service, first.url, enterprise).replace(first.state, second.state)
    with pytest.raises(CallFailed) as failed:
        bank.finish(second, returned)
    assert failed.value.code == "invalid_grant"


def test_three_answers(service: Service, bank: AnyClient, second_bank: AnyClient) -> None:
    """All that was asked: Permit, the only truthy one. Some of it: PartialPermit. Nothing: Denial, with codes and a solution."""
    enterprise = service.enterprise()
    granted(service, bank, enterprise)
    full = ask(bank, enterprise.id, GRANTED_ITEMS)
    assert type(full) is Permit
    assert bool(full) is True
    assert tuple(full.permitted) == GRANTED_ITEMS
    assert all(field.startswith(f"{item}.") for item, fields in full.permitted.items() for field in fields)
    partial = ask(bank, enterprise.id, (*GRANTED_ITEMS, LEFT_OUT_ITEM))
    assert type(partial) is PartialPermit
    assert bool(partial) is False
    assert partial.permitted == full.permitted
    none = ask(second_bank, enterprise.id, GRANTED_ITEMS)
    assert type(none) is Denial
    assert bool(none) is False
    assert (none.permitted, none.codes) == ({}, ("item.not_granted",))
    assert none.solution_zh
    assert none.solution_en
    assert full.ledger_index < partial.ledger_index < none.ledger_index


def test_one_field(service: Service, bank: AnyClient) -> None:
    """A check for some fields is answered for those alone."""
    enterprise = service.enterprise()
    granted(service, bank, enterprise)
    decision = ask(bank, enterprise.id, fields={ITEM: [f"{ITEM}.03"]})
    assert decision
    assert decision.permitted == {ITEM: (f"{ITEM}.03",)}


def test_denied_for_its_purpose(service: Service, bank: AnyClient) -> None:
    """Words outside the list of purposes are recorded denials, not errors."""
    for purpose, code in (("marketing", "purpose.not_financing"), ("no_such_word", "purpose.unknown")):
        decision = ask(bank, service.facts.enterprise.id, purpose=purpose)
        assert type(decision) is Denial
        assert code in decision.codes


def test_order_of_many(service: Service, bank: AnyClient) -> None:
    """Answers stand in the order of the questions, whatever each says; each is a record of its own."""
    enterprise = service.enterprise()
    granted(service, bank, enterprise)
    wanted: list[tuple[str, str, type]] = [
        (ITEM, PURPOSE, Permit),
        (LEFT_OUT_ITEM, PURPOSE, Denial),
        (OPEN_ITEM, PURPOSE, Permit),
        (ITEM, "marketing", Denial),
    ] * 4
    checks = [Check(enterprise=enterprise.id, items=[item], purpose=purpose, product=PRODUCT) for item, purpose, _ in wanted]
    decisions = bank.check_many(checks)
    assert [type(decision) for decision in decisions] == [kind for _, _, kind in wanted]
    assert [decision.items[0].item for decision in decisions] == [item for item, _, _ in wanted]
    assert len({decision.ledger_index for decision in decisions}) == len(wanted)
    assert bank.check_many([]) == []


def test_too_many_and_malformed(service: Service, bank: AnyClient) -> None:
    """More than 64 checks, a wrong check digit, no items: the call is refused, and the reason is a sentence."""
    one = Check(enterprise=service.facts.enterprise.id, items=[ITEM], purpose=PURPOSE, product=PRODUCT)
    with pytest.raises(CallFailed) as many:
        bank.check_many([one] * 65)
    assert many.value.status in {400, 413}
    known = service.facts.enterprise.id
    wrong_check_digit = known[:-1] + ("0" if known[-1] != "0" else "1")
    for enterprise, items in ((wrong_check_digit, (ITEM,)), (known, ())):
        with pytest.raises(CallFailed) as malformed:
            ask(bank, enterprise, items)
        assert malformed.value.status == 400
        assert malformed.value.detail


def test_ticket_and_delivery(service: Service, bank: AnyClient, platform: AnyClient) -> None:
    """The platform redeems the bank's permit once, serves its fields and reports them; the ledger holds each step."""
    enterprise = service.enterprise()
    granted(service, bank, enterprise)
    permit = ask(bank, enterprise.id, GRANTED_ITEMS)
    redeemed = ask(platform, enterprise.id, GRANTED_ITEMS, institution="demo-bank", ticket=permit.id)
    assert type(redeemed) is Permit
    assert redeemed.permitted == permit.permitted
    platform.deliver(redeemed, redeemed.permitted)
    assert [record["decision"] for record in service.records("access.delivered")].count(redeemed.id) == 1
    again = ask(platform, enterprise.id, GRANTED_ITEMS, institution="demo-bank", ticket=permit.id)
    assert type(again) is Denial
    assert again.codes == ("ticket.invalid",)
    with pytest.raises(CallFailed):
        platform.deliver(permit, {ITEM: [f"{ITEM}.99"]})


def test_a_bank_asks_for_itself_only(service: Service, bank: AnyClient) -> None:
    """Another institution's name needs a scope that a bank has not."""
    with pytest.raises(CallFailed):
        ask(bank, service.facts.enterprise.id, institution="demo-second-bank")


def test_revoke(service: Service, bank: AnyClient, second_bank: AnyClient) -> None:
    """Given back, also twice: every later check is denied. Another bank's grant does not exist for this one."""
    enterprise = service.enterprise()
    grant = granted(service, bank, enterprise)
    for method in (second_bank.revoke, second_bank.grant):
        with pytest.raises(CallFailed) as failed:
            method(grant.grant_id)
        assert failed.value.status == 404
    assert ask(bank, enterprise.id)
    bank.revoke(grant.grant_id)
    bank.revoke(grant.grant_id)
    decision = ask(bank, enterprise.id)
    assert type(decision) is Denial
    assert decision.codes == ("grant.revoked",)
    assert bank.grant(grant.grant_id)["status"] == "revoked"
    assert [record["grant"] for record in service.records("grant.revoked")].count(grant.grant_id) == 1


def test_grant_ids_that_are_paths(bank: AnyClient) -> None:
    """A grant id is one segment of a path; what could leave it is never sent."""
    for text in ("", ".", "..", "a/b", "a?b", "a%2fb", "甲", "a b"):
        for method in (bank.grant, bank.revoke):
            with pytest.raises(ValueError, match="grant id"):
                method(text)


def test_answer_lost_on_the_way(service: Service, bank: AnyClient) -> None:
    """The connection breaks after the service has recorded: the client asks once more by itself, and there is one record."""
    enterprise = service.enterprise()
    granted(service, bank, enterprise)
    ask(bank, enterprise.id)
    before, lost = len(service.records("access.decided")), service.front.lost
    service.front.cut(b"POST /access/v1/evaluation ")
    decision = ask(bank, enterprise.id)
    assert decision
    assert service.front.lost == lost + 1
    records = service.records("access.decided")[before:]
    assert [record["index"] for record in records] == [decision.ledger_index]
    service.front.cut(b"POST /access/v1/evaluations ")
    checks = [Check(enterprise=enterprise.id, items=[item], purpose=PURPOSE, product=PRODUCT) for item in GRANTED_ITEMS]
    decisions = bank.check_many(checks)
    assert service.front.lost == lost + 2
    assert len(service.records("access.decided")) == before + 1 + len(decisions)


def test_token_request_lost_on_the_way(service: Service, bank: AnyClient) -> None:
    """A lost token is asked for again with a fresh assertion: nothing that may be used once is sent twice."""
    service.front.cut(b"POST /oauth/token ")
    assert ask(bank, service.facts.enterprise.id, (OPEN_ITEM,))


def test_one_time_calls_are_not_repeated(service: Service, bank: AnyClient) -> None:
    """A pushed request or a code whose answer was lost is Undecided at once; whoever asked decides what to do."""
    enterprise = service.enterprise()
    before = len(service.records("grant.requested"))
    service.front.cut(b"POST /oauth/par ")
    with pytest.raises(Undecided):
        bank.request_consent(request_details(), login_hint=enterprise.id)
    assert len(service.records("grant.requested")) == before + 1
    pending = bank.request_consent(request_details(), login_hint=enterprise.id)
    returned = answer_page(service, pending.url, enterprise)
    service.front.cut(b"POST /oauth/token ")
    with pytest.raises(Undecided):
        bank.finish(pending, returned)


def test_own_request_id(service: Service, bank: AnyClient) -> None:
    """The caller's own request_id gives the same record again; for another question it is refused."""
    enterprise = service.enterprise()
    first = ask(bank, enterprise.id, (OPEN_ITEM,), request_id=f"r-{enterprise.username}")
    again = ask(bank, enterprise.id, (OPEN_ITEM,), request_id=f"r-{enterprise.username}")
    assert (again.id, again.ledger_index) == (first.id, first.ledger_index)
    with pytest.raises(CallFailed) as conflict:
        ask(bank, enterprise.id, (ITEM,), request_id=f"r-{enterprise.username}")
    assert conflict.value.status == 409


def test_one_of_several_is_refused_by_itself(service: Service, bank: AnyClient) -> None:
    """A request_id used for another question spoils the call, not silently one line of it."""
    enterprise = service.enterprise()
    ask(bank, enterprise.id, (OPEN_ITEM,), request_id=f"m-{enterprise.username}")
    reused = Check(enterprise=enterprise.id, items=[ITEM], purpose=PURPOSE, product=PRODUCT, request_id=f"m-{enterprise.username}")
    with pytest.raises(CallFailed) as conflict:
        bank.check_many([Check(enterprise=enterprise.id, items=[OPEN_ITEM], purpose=PURPOSE, product=PRODUCT), reused])
    assert conflict.value.status == 409


def test_token_that_is_no_longer_taken(service: Service, bank: AnyClient) -> None:
    """A token that ended early is renewed once, unseen."""
    assert ask(bank, service.facts.enterprise.id, (OPEN_ITEM,))
    service.execute("update access_token set expires_at = now()")
    assert ask(bank, service.facts.enterprise.id, (OPEN_ITEM,))


def test_unknown_client_and_wrong_key(service: Service, make: Any) -> None:
    """Neither an unknown client nor another's key gets a token."""
    who, other = service.facts.bank, service.facts.second_bank
    for client_id, key in (("nobody", who.private_jwk), (who.client_id, other.private_jwk)):
        client = make(service.issuer, client_id, key, institution_id=who.institution_id)
        with pytest.raises(CallFailed) as failed:
            ask(client, service.facts.enterprise.id)
        assert failed.value.code == "invalid_client"


def test_scope_that_was_not_registered(service: Service, platform: AnyClient) -> None:
    """A platform holds no grants."""
    with pytest.raises(CallFailed) as failed:
        platform.grant("g_1")
    assert failed.value.code == "invalid_scope"


@pytest.mark.parametrize("kind", ["RSA", "Ed25519"])
def test_other_kinds_of_key(service: Service, make: Any, kind: str) -> None:
    """RSA and Ed25519 keys sign assertions that the service takes."""
    key = RSAKey.generate_key(2048, private=True) if kind == "RSA" else OKPKey.generate_key("Ed25519", private=True)
    jwk = {**key.as_dict(private=True), "kid": key.thumbprint()}
    client = make(service.issuer, service.client_with(jwk), jwk, institution_id="demo-bank")
    assert ask(client, service.facts.enterprise.id, (OPEN_ITEM,))


def test_details_on_the_wire(service: Service, bank: AnyClient) -> None:
    """Every member of a detail arrives as it was said."""
    enterprise = service.enterprise()
    asked = Detail(
        item=ITEM,
        purpose=PURPOSE,
        product=PRODUCT,
        valid_until=UNTIL,
        fields=(f"{ITEM}.03",),
        data_from="2025-01-01",
        frequency=Frequency(max=1, per="total"),
        retention_days=30,
    )
    detail = granted(service, bank, enterprise, asked).granted[0]
    assert detail["identifier"] == "detail-1"
    assert (detail["datatypes"], detail["actions"], detail["fields"]) == ([ITEM], ["query"], [f"{ITEM}.03"])
    assert (detail["data_from"], detail["frequency"], detail["retention_days"]) == ("2025-01-01", {"max": 1, "per": "total"}, 30)
    assert detail["valid_until"].startswith(UNTIL[:19])


def test_service_that_is_down(service: Service, make: Any) -> None:
    """Nobody listens: Undecided, and the reason is named."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    who = service.facts.bank
    client = make(f"http://127.0.0.1:{port}", who.client_id, who.private_jwk, institution_id=who.institution_id)
    with pytest.raises(Undecided, match="ConnectError"):
        ask(client)
