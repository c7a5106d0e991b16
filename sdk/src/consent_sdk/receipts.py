"""Receipts: that a decision or a change of a grant stands in the ledger, as the service said, for everybody who looks.

Nothing is believed: the record must hash to the leaf that came with the reply, say what the reply said, and be proven below a
checkpoint that the configured log signed and, with a witness policy, as many witnesses cosigned as it demands.
"""

import base64
from collections.abc import Mapping
from typing import Any

import msgspec

from consent_audit.errors import AuditError, BadKey, BadPolicy, Unwitnessed
from consent_audit.hashing import leaf_hash
from consent_audit.note import Verifier
from consent_audit.policy import Cosigned, Policy
from consent_audit.proof import Proof
from consent_audit.record import Record, decode_record
from consent_sdk.errors import CallFailed, ReceiptPending, ReceiptRefused
from consent_sdk.models import Decision, Receipt
from consent_sdk.protocol import Call, Protocol, Steps

_PAUSE_SECONDS = 0.5
_UNKNOWN = "unknown"


class Trust:
    """Whose checkpoints count: one log's key, or a tlog-policy that names logs and the witnesses that must agree."""

    def __init__(self, log_vkey: str | None, witness_policy: str | None) -> None:
        """At most one of the two.

        Raises:
            ValueError: both, or a text that is neither a verifier key nor a policy; the message names the line.
        """
        if log_vkey is not None and witness_policy is not None:
            raise ValueError("a witness policy names the log itself: give log_vkey or witness_policy, not both")
        self._policy: Policy | None = None
        try:
            if witness_policy is not None:
                self._policy = Policy.parse(witness_policy)
            elif log_vkey is not None:
                self._policy = Policy.trusting(Verifier.parse(log_vkey))
        except (BadKey, BadPolicy) as error:
            raise ValueError(str(error)) from None

    @property
    def policy(self) -> Policy:
        """The policy to check by.

        Raises:
            ValueError: none was configured; without one a receipt proves nothing.
        """
        if self._policy is None:
            raise ValueError("configure log_vkey or witness_policy: a receipt is worth the key that it is checked with")
        return self._policy


def fetch(protocol: Protocol, trust: Trust, index: int, leaf: str, wait_seconds: float) -> Steps[Receipt]:
    """The receipt of record `index`, which must hash to `leaf`; asked for again until it is signed and witnessed.

    Raises:
        ReceiptPending: not within `wait_seconds`.
        ReceiptRefused: what the service gave does not prove the record.
    """
    policy, waited = trust.policy, 0.0
    while True:
        call = Call(
            method="GET", url=f"{protocol.issuer}/ledger/proof/{index}", repeatable=True, wait_seconds=_PAUSE_SECONDS if waited else 0
        )
        reply = yield from protocol.call_in_any_scope(call)
        if reply.status == 200:
            try:
                return check(reply.body, policy, index, leaf)
            except Unwitnessed as error:
                why = str(error)
        elif reply.status == 404:
            why = "the service has no proof of this record, or not yet"
        else:
            raise CallFailed(reply.status, "receipt", "the service gave no receipt")
        if waited >= wait_seconds:
            raise ReceiptPending(why)
        waited += _PAUSE_SECONDS


def check(body: bytes, policy: Policy, index: int, leaf: str) -> Receipt:
    """A receipt that proves record `index` with this leaf hash.

    Raises:
        Unwitnessed: proven by the log alone, and the policy demands more.
        ReceiptRefused: it proves something else or nothing.
    """
    try:
        proof = Proof.parse(body)
        if proof.index != index or proof.extra is None or base64.b64encode(leaf_hash(proof.extra)).decode() != leaf:
            raise ReceiptRefused("the receipt is of another record than the reply named")
        cosigned = proof.verify(proof.extra, policy)
        record = decode_record(proof.extra)
    except Unwitnessed:
        raise
    except AuditError as error:
        raise ReceiptRefused(f"the receipt does not hold: {error}") from None
    if record.index != index:
        raise ReceiptRefused("the record gives itself another place in the ledger")
    return _receipt(record, proof, body, cosigned)


def _receipt(record: Record, proof: Proof, body: bytes, cosigned: Cosigned) -> Receipt:
    return Receipt(
        index=proof.index,
        type=record.type,
        time=record.time,
        data=record.data,
        record=proof.extra or b"",
        proof=body,
        tree_size=cosigned.checkpoint.size,
        witnessed=dict(cosigned.times),
    )


def of_decision(protocol: Protocol, trust: Trust, decision: Decision, wait_seconds: float) -> Steps[Receipt]:
    """The receipt of a decision.

    Raises:
        ReceiptPending, ReceiptRefused: as `fetch` and `agree`.
    """
    receipt = yield from fetch(protocol, trust, decision.ledger_index, decision.ledger_leaf, wait_seconds)
    return agree(decision, receipt)


def agree(decision: Decision, receipt: Receipt) -> Receipt:
    """The receipt, if its record says what the decision said.

    Raises:
        ReceiptRefused: the service told the caller one thing and the ledger another.
    """
    data = receipt.data
    said = {
        "id": decision.id,
        "decision": decision.granted_in_full,
        "codes": list(decision.codes),
        "policy": decision.policy,
        "catalogue": decision.catalogue,
    }
    if receipt.type != "access.decided" or any(data.get(name) != value for name, value in said.items()):
        raise ReceiptRefused("the record says something else than the decision did")
    items = data.get("items")
    if not isinstance(items, list) or len(items) != len(decision.items):
        raise ReceiptRefused("the record is about other items than the decision")
    for told, recorded in zip(decision.items, items, strict=True):
        expected: Mapping[str, Any] = {
            "outcome": told.outcome,
            "basis": told.basis,
            "grant": told.grant_id,
            "fields": list(told.fields),
            "codes": list(told.codes),
        }
        if recorded.get("item") not in {told.item, _UNKNOWN} or any(recorded.get(name) != value for name, value in expected.items()):
            raise ReceiptRefused("the record says something else of an item than the decision did")
    return receipt


class Entry(msgspec.Struct, frozen=True):
    """Where one version of a grant stands in the ledger."""

    index: int
    leaf: str
    event: str


def of_grant(protocol: Protocol, trust: Trust, grant_id: str, wait_seconds: float) -> Steps[list[Receipt]]:
    """The receipts of all that happened to a grant, oldest first.

    Raises:
        ReceiptPending, ReceiptRefused: as `fetch`; also a record that is of another grant.
    """
    state = yield from protocol.grant(grant_id)
    try:
        entries = msgspec.convert(state.get("ledger"), list[Entry])
    except msgspec.ValidationError:
        raise ReceiptRefused("the service does not say where the grant stands in the ledger") from None
    receipts = []
    for entry in entries:
        receipt = yield from fetch(protocol, trust, entry.index, entry.leaf, wait_seconds)
        if (receipt.type, receipt.data.get("grant")) != (entry.event, grant_id):
            raise ReceiptRefused("the record is not of this grant")
        receipts.append(receipt)
    return receipts
