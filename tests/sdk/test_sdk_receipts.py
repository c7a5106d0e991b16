"""Receipts: before the real service, where they hold, and before a peer that lies, where none does."""

import base64
import re
from collections.abc import Callable
from typing import Any

import pytest
from sdk_world import ITEM, AnyClient, LyingPeer, ask, denied, granted, line, permit
from service_world import Service, run

from consent.db import create_engine
from consent.demo.sample import EXCESS_ITEM, OPEN_ITEM, PRODUCT, PURPOSE, new_key, request_details
from consent.ledger.disclosure import Checked
from consent.ledger.disclosure import check as check_evidence
from consent_audit.cosigner import Cosigner
from consent_audit.hashing import leaf_hash, node_hash
from consent_audit.note import Checkpoint, Signer
from consent_audit.policy import Policy
from consent_audit.proof import Proof
from consent_audit.record import encode_record
from consent_sdk import ConsentClient, Decision, Denial, Permit, ReceiptPending, ReceiptRefused, RequestRefused

pytestmark = pytest.mark.xdist_group("service")
Make = Callable[..., AnyClient]


def client_of(make: Make, service: Service, party: Any, **options: Any) -> AnyClient:
    """A client that knows the ledger's key."""
    redirect = getattr(party, "redirect_uri", None)
    return make(
        service.issuer,
        party.client_id,
        party.private_jwk,
        institution_id=party.institution_id,
        redirect_uri=redirect,
        **({"log_vkey": service.facts.auditor.vkey} | options),
    )


def test_decisions_and_grants_are_proven(make: Make, service: Service) -> None:
    """A permit, a denial and every version of a grant; the file stands by itself, for whoever has the ledger's key."""
    bank = client_of(make, service, service.facts.bank)
    enterprise = service.enterprise()
    grant = granted(service, bank, enterprise)
    yes = bank.check(enterprise.id, [ITEM], PURPOSE, product=PRODUCT, loan="loan-1", operator="op-1", branch="b-1")
    bank.revoke(grant.grant_id)
    no = bank.check(enterprise.id, [ITEM], PURPOSE, product=PRODUCT)
    assert (type(yes), type(no)) == (Permit, Denial)
    for decision in (yes, no):
        receipt = bank.receipt(decision)
        assert (receipt.index, receipt.type, receipt.data["id"]) == (decision.ledger_index, "access.decided", decision.id)
        proof = Proof.parse(receipt.proof)
        assert proof.extra == receipt.record
        assert (
            proof.verify(receipt.record, Policy.parse(f"log {service.facts.auditor.vkey}\nquorum none\n")).checkpoint.size
            == receipt.tree_size
        )
    assert [receipt.type for receipt in bank.grant_receipts(grant.grant_id)] == ["grant.approved", "grant.revoked"]


def test_a_platform_proves_what_it_redeemed(make: Make, service: Service) -> None:
    """Its own scope is enough; the bank's own check is not its record."""
    bank, platform = client_of(make, service, service.facts.bank), client_of(make, service, service.facts.platform)
    enterprise = service.enterprise()
    ticket = bank.check(enterprise.id, [OPEN_ITEM], PURPOSE, product=PRODUCT)
    institution = service.facts.bank.institution_id
    served = platform.check(enterprise.id, [OPEN_ITEM], PURPOSE, product=PRODUCT, institution=institution, ticket=ticket.id)
    assert platform.receipt(served).data["redeems"] == ticket.id
    assert bank.receipt(served).data["platform"] == service.facts.platform.institution_id
    with pytest.raises(ReceiptPending):
        platform.receipt(ticket, wait_seconds=0)


def test_every_digest_that_the_service_wrote_opens(make: Make, service: Service) -> None:
    """Whatever the tests of this service did before: no salted digest stands in its ledger that its evidence does not open."""
    bank = client_of(make, service, service.facts.bank)
    bank.check(service.enterprise().id, [OPEN_ITEM], PURPOSE, product=PRODUCT, loan="loan-2", operator="op-2", branch="b-2")
    with pytest.raises(RequestRefused):
        bank.request_consent(request_details(extra=EXCESS_ITEM))

    async def checked() -> Checked:
        engine = create_engine(service.app_url)
        try:
            return await check_evidence(engine)
        finally:
            await engine.dispose()

    found = run(checked())
    assert (found.faults, found.findings) == (0, [])
    assert found.opened >= 10


def test_another_logs_key_proves_nothing(make: Make, service: Service) -> None:
    """A key that did not sign refuses; a policy whose witnesses did not cosign leaves it open; no key at all is a mistake of ours."""
    enterprise = service.enterprise()
    stranger = Signer.generate(service.facts.auditor.vkey.partition("+")[0]).vkey
    witness = Cosigner("witness.example.org/w", bytes(32)).verifier.vkey
    policy = f"log {service.facts.auditor.vkey}\nwitness w {witness}\nquorum w\n"
    for options, error in (
        ({"log_vkey": stranger}, ReceiptRefused),
        ({"log_vkey": None, "witness_policy": policy}, ReceiptPending),
        ({"log_vkey": None}, ValueError),
    ):
        bank = client_of(make, service, service.facts.bank, **options)
        decision = bank.check(enterprise.id, [OPEN_ITEM], PURPOSE, product=PRODUCT)
        with pytest.raises(error):
            bank.receipt(decision, wait_seconds=1.0)


@pytest.mark.parametrize(
    "options", [{"log_vkey": "x"}, {"witness_policy": "log x\n"}, {"log_vkey": "x", "witness_policy": "quorum none\n"}]
)
def test_a_key_that_is_none_is_refused_at_once(options: dict[str, str]) -> None:
    """Not first when a receipt is needed."""
    with pytest.raises(ValueError, match=r"key|policy|line"):
        ConsentClient("https://consent.example", "c", new_key(), institution_id="bank", **options)


# ---------------------------------------------------------------- a peer that lies
KEY = Signer("ledger.example.org", bytes(range(32)))
WITNESS = Cosigner("witness.example.org/w", bytes(range(32, 64)))


def data(said: Decision, /, **members: Any) -> dict[str, Any]:
    """The record of a decision, as far as receipts look at it."""
    items = [
        {"item": i.item, "outcome": i.outcome, "basis": i.basis, "grant": i.grant_id, "fields": list(i.fields), "codes": list(i.codes)}
        for i in said.items
    ]
    values = {"id": said.id, "items": items, "decision": bool(said), "codes": list(said.codes)}
    return values | {"policy": said.policy, "catalogue": said.catalogue} | members


def proof(record: bytes, index: int = 1, *, sibling: bytes = bytes(32), signer: Signer = KEY, cosigned: bool = False) -> str:
    """A ledger of two records, of which `record` is the one at `index`."""
    pair = (sibling, leaf_hash(record)) if index else (leaf_hash(record), sibling)
    note = signer.sign(Checkpoint(signer.name, 2, node_hash(*pair)).text())
    if cosigned:
        note += WITNESS.cosign(note.partition("\n\n")[0] + "\n", 1767225600)
    return Proof(index, (sibling,), note, record).format()


def record_of(said: Decision, /, index: int = 1, kind: str = "access.decided", **members: Any) -> bytes:
    return encode_record(index, bytes(32), "2026-11-20T08:00:00.000Z", kind, data(said, **members))


@pytest.fixture
def told(make: Make, peer: LyingPeer) -> Callable[..., tuple[AnyClient, Decision]]:
    """A client of the peer, and a decision whose reply names the leaf of the record that `make_record` makes of it."""

    def ask_for(make_record: Callable[[Decision], bytes] = record_of, body: Any = None, **options: Any) -> tuple[AnyClient, Decision]:
        options = {"log_vkey": KEY.vkey} | options
        client = make(peer.url, "bank-client", new_key(), institution_id="bank", **options)
        said = body or permit(ITEM)
        peer.says("/access/v1/evaluation", said)
        first = ask(client)
        leaf = base64.b64encode(leaf_hash(make_record(first))).decode()
        peer.says("/access/v1/evaluation", said | {"context": said["context"] | {"ledger": {"index": 1, "leaf": leaf}}})
        return client, ask(client)

    return ask_for


def test_an_honest_peer_is_believed(told: Any, peer: LyingPeer) -> None:
    """So what the other tests see comes from the lie. A record that is not there yet is asked for again."""
    client, decision = told()
    replies = iter([(404, {}, b"{}"), (200, {}, proof(record_of(decision)).encode())])
    peer.on["/ledger/proof/1"] = lambda _: next(replies)
    assert client.receipt(decision).tree_size == 2
    assert peer.seen["/ledger/proof/1"] == 2


def test_witnesses_are_demanded(told: Any, peer: LyingPeer) -> None:
    """With a policy the log's word is not enough; with the cosignature it holds, and says when."""
    policy = f"log {KEY.vkey}\nwitness w {WITNESS.verifier.vkey}\nquorum w\n"
    client, decision = told(log_vkey=None, witness_policy=policy)
    peer.says("/ledger/proof/1", proof(record_of(decision)).encode())
    with pytest.raises(ReceiptPending):
        client.receipt(decision, wait_seconds=0)
    peer.says("/ledger/proof/1", proof(record_of(decision), cosigned=True).encode())
    assert client.receipt(decision).witnessed == {"w": 1767225600}


OTHER_KEY = Signer("ledger.example.org", bytes(32))
LIES: dict[str, Callable[[bytes], str]] = {
    "another record": lambda record: proof(record.replace(b"08:00", b"09:00")),
    "another place": lambda record: proof(record, 0),
    "another place in the proof alone": lambda record: proof(record).replace("index 1", "index 0"),
    "no record": lambda record: re.sub(r"extra .*\n", "", proof(record)),
    "two records": lambda record: proof(record).replace("extra ", "extra AAAA\nextra ", 1),
    "another path": lambda record: re.sub(r"A{43}=\n", "B" + "A" * 42 + "=\n", proof(record)),
    "a longer path": lambda record: re.sub(r"(A{43}=\n)", r"\1\1", proof(record)),
    "no path": lambda record: re.sub(r"A{43}=\n", "", proof(record)),
    "another log": lambda record: proof(record, signer=Signer("other.example.org", bytes(range(32)))),
    "another key": lambda record: proof(record, signer=OTHER_KEY),
    "not signed": lambda record: proof(record).rpartition("\u2014")[0],
    "nothing": lambda _: "",
    "json": lambda _: '{"index": 1}',
}


@pytest.mark.parametrize("lie", LIES)
def test_a_receipt_that_proves_something_else(told: Any, peer: LyingPeer, lie: str) -> None:
    """Refused, each of them."""
    client, decision = told()
    peer.says("/ledger/proof/1", LIES[lie](record_of(decision)).encode())
    with pytest.raises(ReceiptRefused):
        client.receipt(decision, wait_seconds=0)


RECORDS: dict[str, Callable[[Decision], bytes]] = {
    "another decision": lambda said: record_of(said, id="other"),
    "a denial": lambda said: record_of(said, decision=False),
    "another policy": lambda said: record_of(said, policy="other"),
    "another type": lambda said: record_of(said, kind="grant.approved"),
    "no items": lambda said: record_of(said, items=[]),
    "fewer fields": lambda said: record_of(said, items=[data(said)["items"][0] | {"fields": []}]),
    "another outcome": lambda said: record_of(said, items=[data(said)["items"][0] | {"outcome": "deny"}]),
    "another item": lambda said: record_of(said, items=[data(said)["items"][0] | {"item": "N21-03-03"}]),
    "another index": lambda said: record_of(said, index=2),
}


@pytest.mark.parametrize("lie", RECORDS)
def test_a_record_that_says_something_else(told: Any, peer: LyingPeer, lie: str) -> None:
    """The service told the caller one thing and the ledger another: the proof holds and the receipt is refused."""
    client, decision = told(RECORDS[lie])
    peer.says("/ledger/proof/1", proof(RECORDS[lie](decision)).encode())
    with pytest.raises(ReceiptRefused):
        client.receipt(decision, wait_seconds=0)


def test_a_denials_record_must_deny(told: Any, peer: LyingPeer) -> None:
    """A permit on record where the caller was told no is a lie as well."""
    body = {"decision": False, "context": permit(ITEM)["context"] | {"outcome": "none", "items": [denied(ITEM)]}}
    client, decision = told(lambda said: record_of(said, items=[data(said)["items"][0] | {"outcome": "permit"}]), body)
    assert line(ITEM)["outcome"] == "permit"
    peer.says("/ledger/proof/1", proof(record_of(decision, items=[data(decision)["items"][0] | {"outcome": "permit"}])).encode())
    with pytest.raises(ReceiptRefused):
        client.receipt(decision, wait_seconds=0)


def test_receipts_of_a_grant_are_of_that_grant(told: Any, peer: LyingPeer) -> None:
    """Another grant's record, another event, no entries, an error."""
    client, _ = told()
    record = encode_record(1, bytes(32), "2026-11-20T08:00:00.000Z", "grant.approved", {"grant": "g-2"})
    entry = {"version": 1, "event": "grant.approved", "index": 1, "leaf": base64.b64encode(leaf_hash(record)).decode()}
    peer.says("/ledger/proof/1", proof(record).encode())
    for grant, ledger in (("g-1", [entry]), ("g-2", [entry | {"event": "grant.revoked"}]), ("g-2", None), ("g-2", [{"index": "1"}])):
        peer.says(f"/grants/{grant}", {"grant_id": grant, "ledger": ledger})
        with pytest.raises(ReceiptRefused):
            client.grant_receipts(grant, wait_seconds=0)
    peer.says("/grants/g-2", {"grant_id": "g-2", "ledger": [entry]})
    [receipt] = client.grant_receipts("g-2")
    assert receipt.data == {"grant": "g-2"}
