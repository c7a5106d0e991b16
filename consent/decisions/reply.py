"""What a decision says outward: the reply to the caller (design §4) and the event for the ledger.

The caller gets its own words back; the ledger gets registered ids, catalogue words, pseudonyms and salted digests only (design §3.9).
"""

import base64
import functools
from collections.abc import Container, Iterable
from typing import Any

import msgspec

from consent.catalogue.model import Catalogue
from consent.decisions.answers import CheckAnswer, ItemAnswer
from consent.decisions.codes import solutions
from consent.decisions.model import UNKNOWN, Asked, Decided, Facts
from consent.ledger import events, parts
from consent.ledger.evidence import Evidence

_encode = msgspec.json.Encoder().encode
_MOST_UNCOUNTED = 256
"""Grants named in a record as not counting; a replay may judge differently by those beyond."""


def reply_head(decision_id: str, answer: CheckAnswer, catalogue_version: str) -> bytes:
    """The reply up to where the ledger's part follows, which is known only once the record is."""
    context = {
        "id": decision_id,
        "outcome": answer.outcome,
        "codes": answer.codes,
        "items": [_item(item) for item in answer.items],
        "solution": _solution(tuple(answer.codes)),
        "policy": answer.revision,
        "catalogue": catalogue_version,
    }
    return _encode({"decision": answer.decision, "context": context})[:-2]


def reply_body(head: bytes, index: int, leaf: bytes) -> bytes:
    """The whole reply. It may not be kept for later: a grant can be revoked at any moment, so `max_age_seconds` is 0."""
    return b'%b,"ledger":{"index":%d,"leaf":"%b"},"max_age_seconds":0}}' % (head, index, base64.b64encode(leaf))


def error_body(status: int, code: str, zh: str, en: str) -> bytes:
    """One of several evaluations that could not be decided. AuthZEN 1.0: closed, with the error in the context."""
    return _encode({"decision": False, "context": {"error": {"status": status, "message": en, "code": code, "zh": zh, "en": en}}})


def decided_event(decided: Decided, catalogue: Catalogue, evidence: Evidence) -> events.AccessDecided:
    """The record's data. The caller's own references stand in it as digests; `evidence` takes what they were."""
    check, facts, answer = decided.check, decided.facts, decided.answer
    institution = facts.institution
    known_purpose = check.purpose in catalogue.purposes or check.purpose in catalogue.not_financing
    products = institution.facts["products"] if institution is not None else ()
    named = {name for grant in facts.grants for name in (*grant.via, grant.processor)}
    return events.AccessDecided(
        id=decided.id,
        institution=UNKNOWN if institution is None else check.institution,
        platform=check.platform,
        client=check.client,
        subject=facts.pseudonym,
        action=check.action if check.action in catalogue.vocabulary.actions else UNKNOWN,  # type: ignore[arg-type]
        purpose=check.purpose if known_purpose else UNKNOWN,
        product=check.product if check.product is None or check.product in products else UNKNOWN,
        loan=evidence.commit_optional("loan", check.loan),
        operator=evidence.commit_optional("operator", check.operator),
        branch=evidence.commit_optional("branch", check.branch),
        model=check.model if check.model is None or facts.model_items is not None else UNKNOWN,
        processor=check.processor if check.processor is None or check.processor in named else UNKNOWN,
        via=tuple(dict.fromkeys(name if name in named or name in facts.conduits else UNKNOWN for name in check.via)),
        service=check.service if check.service in {"single", "bulk"} else UNKNOWN,  # type: ignore[arg-type]
        channel=check.channel if check.channel in {None, "platform", "department_direct"} else UNKNOWN,  # type: ignore[arg-type]
        data_from=check.data_from,
        data_to=check.data_to,
        request=evidence.commit_optional("request", check.request_id),
        ticket=check.ticket if facts.ticket is None or facts.ticket.known else UNKNOWN,
        told=_told(facts, products),
        items=tuple(_decided_item(item, asked, catalogue) for asked, item in zip(check.items, answer.items, strict=True)),
        decision=answer.decision,
        outcome=answer.outcome,
        codes=tuple(answer.codes),
        redeems=decided.redeems,
        attested=check.attested,
        uses=tuple(parts.Use(grant=use.grant_id, identifier=f"d{use.seq}", period=use.period, used=use.used) for use in decided.uses),
        policy=answer.revision,
        catalogue=catalogue.version,
    )


def ticket_terms(decided: Decided) -> str | None:
    """The terms as they are stored."""
    terms = decided.ticket
    return None if terms is None else _encode(terms).decode()


def _item(item: ItemAnswer) -> dict[str, Any]:
    return {
        "item": item.item,
        "outcome": item.outcome,
        "basis": item.basis,
        "grant_id": item.grant_id,
        "fields": item.fields,
        "withheld": item.withheld,
        "codes": item.codes,
        "obligations": item.obligations,
        "flags": item.flags,
    }


def _told(facts: Facts, products: Container[str | None]) -> parts.Told:
    loan = facts.loan
    return parts.Told(
        verified=facts.verified,
        terminal=facts.terminal,
        loan=None
        if loan is None
        else parts.LoanTold(phase=loan.phase, product=loan.product if loan.product is None or loan.product in products else UNKNOWN),
        uncounted=facts.uncounted[:_MOST_UNCOUNTED],
    )


def _decided_item(item: ItemAnswer, asked: Asked, catalogue: Catalogue) -> parts.DecidedItem:
    known = item.item in catalogue.items
    return parts.DecidedItem(
        item=item.item if known else UNKNOWN,
        fields_requested=None if asked.fields is None else _fields(asked.fields, item.item, catalogue),
        claimed=None if asked.claimed is None else _fields(asked.claimed, item.item, catalogue),
        outcome=item.outcome,
        basis=item.basis,
        grant=item.grant_id,
        identifier=item.identifier,
        fields=tuple(item.fields),
        withheld=_fields(item.withheld, item.item, catalogue),
        codes=tuple(item.codes),
    )


def _fields(fields: Iterable[str], item: str, catalogue: Catalogue) -> tuple[str, ...]:
    """Field codes of the item; all others together stand once as `unknown`."""
    known = catalogue.field_codes.get(item, ())
    return tuple(dict.fromkeys(field if field in known else UNKNOWN for field in fields))


@functools.lru_cache(maxsize=1024)
def _solution(denied: tuple[str, ...]) -> msgspec.Raw:
    return msgspec.Raw(_encode(solutions(denied) or None))
