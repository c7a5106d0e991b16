"""`consent policy explain`: why a check came out as it did, from its record and the bundle that was in force then.

Nothing is decided anew. Two look-ups by key find the record and the bundle, however long the ledger is.
"""

import re

import msgspec
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from consent import db
from consent.activation.explanation import ExplainedItem, Explanation, Policy, reason
from consent.catalogue.model import Catalogue, Words
from consent.decisions.annotations import Rule, read_rules
from consent.decisions.bundle import Bundle, BundleError, read_bundle
from consent.decisions.codes import Code
from consent.errors import InvalidRequest, NotFound, Unavailable
from consent.ledger.events import AccessDecided
from consent.ledger.parts import DecidedItem
from consent_audit.record import Record, decode_record

_ID = re.compile(r"[A-Za-z0-9_-]{22}")
_RECORD = text("select r.bytes from decision d join ledger_record r on r.idx = d.idx where d.id = :id")
_POLICY = text("""
    select r.bytes, b.body from activation a join ledger_record r on r.idx = a.idx join ledger_blob b on b.sha256 = a.sha256
     where a.kind = 'policy' and a.version = :revision and a.idx < :idx order by a.idx desc limit 1
""")


async def explain(engine: AsyncEngine, decision_id: str) -> Explanation:
    """Explain one decision.

    Args:
        decision_id: `context.id` of the reply.

    Raises:
        InvalidRequest: no decision's id has this form.
        NotFound: no such decision is kept.
        Unavailable: the ledger lacks the policies that decided it.
    """
    if _ID.fullmatch(decision_id) is None:
        raise InvalidRequest(
            "决定编号由 22 个字母、数字、连字符或下划线组成，见答复中的 context.id。",
            "A decision's id is 22 letters, digits, hyphens or underscores: context.id of the reply.",
        )
    async with db.read(engine) as connection:
        raw = await connection.scalar(_RECORD, {"id": decision_id})
        if raw is None:
            raise NotFound("没有这个决定。", "No such decision is kept.", code="decision.unknown")
        record = decode_record(bytes(raw))
        decided = msgspec.convert(record.data, AccessDecided)
        bundle, policy = await _decided_by(connection, record, decided)
    catalogue, rules, texts = bundle.catalogue(), read_rules(bundle.modules), _texts(bundle)
    return Explanation(
        decision=decided.id,
        index=record.index,
        time=record.time,
        institution=decided.institution,
        platform=decided.platform,
        action=decided.action,
        purpose=decided.purpose,
        purpose_name=_purpose(catalogue, decided.purpose),
        outcome=decided.outcome,
        policy=policy,
        items=tuple(_item(item, catalogue, rules, texts) for item in decided.items),
    )


async def _decided_by(connection: AsyncConnection, record: Record, decided: AccessDecided) -> tuple[Bundle, Policy]:
    row = (await connection.execute(_POLICY, {"revision": decided.policy, "idx": record.index})).first()
    if row is None:
        raise _no_policies(decided.policy, "nothing activated them")
    try:
        bundle = read_bundle(row.body)
    except BundleError as error:
        raise _no_policies(decided.policy, str(error)) from None
    activated = decode_record(bytes(row.bytes))
    return bundle, Policy(
        revision=decided.policy,
        catalogue=decided.catalogue,
        activated=activated.index,
        approvers=tuple(activated.data["approvers"]),
        signed_by=activated.data["signed_by"],
    )


def _no_policies(revision: str, why: str) -> Unavailable:
    return Unavailable(
        f"账本中没有作出该决定的规则版本 {revision}。",
        f"The ledger lacks the policies {revision} that decided this: {why}.",
        code="policy.unknown",
    )


def _item(item: DecidedItem, catalogue: Catalogue, rules: tuple[Rule, ...], texts: dict[str, Code]) -> ExplainedItem:
    known = catalogue.item(item.item)
    return ExplainedItem(
        item=item.item,
        name=Words("目录中没有的信息项", "an item that no list has") if known is None else known.name,
        outcome=item.outcome,
        basis=item.basis,
        grant=item.grant,
        detail=item.identifier,
        fields=item.fields,
        withheld=item.withheld,
        reasons=tuple(reason(code, texts, rules) for code in item.codes),
    )


def _purpose(catalogue: Catalogue, code: str) -> Words:
    purpose = catalogue.purposes.get(code) or catalogue.not_financing.get(code)
    return Words("未列入的用途", "a purpose outside the list") if purpose is None else purpose.name


def _texts(bundle: Bundle) -> dict[str, Code]:
    """What the codes meant under these policies; members that a later release added to the file do no harm."""
    try:
        return msgspec.json.decode(bundle.documents["codes.json"], type=dict[str, Code])
    except (KeyError, msgspec.DecodeError):
        return {}
