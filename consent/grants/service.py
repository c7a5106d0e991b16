"""Use cases on grants: the only code that changes one. Page, API, job and command line all come through here.

Each writer takes the ledger's open transaction: the change, the end of the tokens that pointed to the former version, the history and
the record are one commit. Since the ledger's lock is held, no two of them interleave, and a decision that was made on the former
version is made again (design §3.6).

What is granted only ever gets less: `narrow`, `suspend` and `revoke` have no opposite but `resume`, which gives back exactly what the
operator held. To get more, an institution asks again.
"""

import re
import secrets
from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from typing import Literal
from uuid import UUID

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from consent.catalogue.model import Catalogue
from consent.clock import to_ms
from consent.errors import Conflict, Forbidden, InvalidRequest, NotFound
from consent.grants import store
from consent.grants.model import (
    Actor,
    Detail,
    Grant,
    GrantedBy,
    GrantItem,
    HistoryEntry,
    Notice,
    Refused,
    ledger_identifier,
)
from consent.grants.records import approved_event, change_members
from consent.ledger import events, parts
from consent.ledger.statements import Event
from consent.ledger.writer import LedgerTransaction
from consent.parties import store as parties
from consent.parties.model import Institution, Subject
from consent.parties.pseudonyms import pseudonym_for

PAGE_LIMIT = 200

# Wider than the ids we make; what it refuses cannot be looked up in PostgreSQL at all, such as NUL.
_ID = re.compile(r"[A-Za-z0-9._~-]{1,128}")


async def approve(  # noqa: PLR0913 - each is a fact of the act, and all are named
    tx: LedgerTransaction,
    *,
    catalogue: Catalogue,
    request_id: str | None,
    institution_id: str,
    client_id: str,
    subject_id: UUID,
    enterprise_id: UUID,
    by: GrantedBy,
    details: Sequence[Detail],
    approved: Collection[str],
    notice: Notice,
) -> Grant:
    """Grant what a subject chose from a request, online.

    An act grants one party's items: the enterprise's hold its own, and those that concern a person stand as refused until that person
    consents in an act of her own (单独同意), whatever was ticked.

    Args:
        request_id: the pushed request that is answered; None where the enterprise began.
        subject_id: who is logged in: the enterprise itself, or the person for her own items.
        details: all that was asked, completed, in the request's order.
        approved: identifiers of the details that the subject chose; nothing else is granted.
        notice: the risk notice that she acknowledged, published as a blob of the ledger.

    Raises:
        Forbidden: `subject.not_verified`, or a person who is not linked to the enterprise, or an institution that was suspended.
        InvalidRequest: an identifier that was not asked for, a notice that was never published, or `grant.nothing_approved`: nothing is
            left to grant; use `refuse`.
        NotFound: no such subject, institution or client.
        Conflict: `request.answered`: the request has its grant.
    """
    enterprise = await check_subject(tx.connection, subject_id, enterprise_id, by)
    institution = await check_institution(tx.connection, institution_id, client_id)
    await check_notice(tx.connection, notice)
    if not {detail.name for detail in details}.issuperset(approved):
        raise InvalidRequest(
            "含有未申请的授权项。", "An identifier that was not asked for.", code="grant.identifier_unknown", member="approved"
        )
    items, refused = sort_out(catalogue, details, by=by, approved=approved, now=tx.time)
    grant = Grant(
        id=secrets.token_urlsafe(16),
        institution_id=institution_id,
        institution_status=institution.status,
        client_id=client_id,
        subject_id=subject_id,
        enterprise_id=enterprise_id,
        enterprise=enterprise.identifier,
        request_id=request_id,
        version=1,
        status="active",
        granted_by=by,
        channel="online",
        notice_version=notice.version,
        notice_sha256=notice.sha256,
        created_at=tx.time,
        ended_at=None,
        verified=True,
        linked=True,
        refused=tuple(entry for _, entry in refused),
        items=tuple(items),
    )
    if not await store.insert_grant(tx.connection, grant):
        raise Conflict("该授权请求已处理。", "This request has been answered.", code="request.answered")
    pseudonym = await pseudonym_for(tx.connection, institution_id, grant.identifier)
    event = approved_event(grant, refused, pseudonym)
    await record(tx, grant, event, Actor.subject(subject_id), [item.detail.name for item in items])
    return grant


def sort_out(
    catalogue: Catalogue, details: Sequence[Detail], *, by: GrantedBy, approved: Collection[str], now: datetime, first: int = 1
) -> tuple[list[GrantItem], list[tuple[int, Refused]]]:
    """What an act grants, and what of its request stays refused, each with its place in the grant.

    Args:
        first: the place of the first detail.

    Raises:
        InvalidRequest: `grant.nothing_approved`: nothing is left to grant.
    """
    items: list[GrantItem] = []
    refused: list[tuple[int, Refused]] = []
    for seq, detail in enumerate(details, first):
        code = _refusal(catalogue, detail, by=by, chosen=detail.name in approved, now=now)
        if code is None:
            items.append(GrantItem(seq=seq, detail=detail, status="active"))
        else:
            refused.append((seq, Refused(detail, code)))
    if not items:
        raise InvalidRequest("没有可授予的授权项。", "Nothing is left to grant.", code="grant.nothing_approved", member="approved")
    return items, refused


def _refusal(catalogue: Catalogue, detail: Detail, *, by: GrantedBy, chosen: bool, now: datetime) -> str | None:
    """The code with which a detail stands as refused, None if it is granted."""
    item = catalogue.item(detail.item)
    if item is None or not item.selectable:
        return "item.unknown"
    # The catalogue says that the member has no meaning for what is openly shared.
    person_only = item.consent_subject == "person" and item.provision != "open"
    if by == "enterprise" and person_only:
        return "item.person_consent_required"
    if not chosen or (by == "person" and not person_only and item.consent_subject != "enterprise_or_person"):
        return "item.not_granted"
    return "grant.expired" if detail.valid_until <= now else None


async def refuse(tx: LedgerTransaction, *, request_id: str, institution_id: str, enterprise_id: UUID, notice: Notice) -> None:
    """Record that the subject refused a request as a whole. Nothing else changes; the request is the authorization server's to consume.

    Raises:
        NotFound: no such enterprise.
        InvalidRequest: a notice that was never published.
        Conflict: `request.answered`.
    """
    enterprise = await parties.subject(tx.connection, enterprise_id)
    if enterprise is None:
        raise _not_found()
    await check_notice(tx.connection, notice)
    if await store.grant_of_request(tx.connection, request_id) is not None:
        raise Conflict("该授权请求已处理。", "This request has been answered.", code="request.answered")
    pseudonym = await pseudonym_for(tx.connection, institution_id, enterprise.identifier)
    shown = parts.Notice(version=notice.version, sha256=notice.sha256.hex())
    tx.append(events.GrantRefused(request=request_id, institution=institution_id, subject=pseudonym, notice=shown))


async def narrow(tx: LedgerTransaction, grant_id: str, identifiers: Collection[str], actor: Actor) -> Grant:
    """End some items for good. What has ended already is passed over; ending the last one revokes the grant.

    Args:
        identifiers: as in the request, of at least one item.

    Raises:
        NotFound: no such grant of this actor.
        InvalidRequest: no identifier, or one that the grant never had.
    """
    grant = await grant_of(tx.connection, grant_id, actor)
    wanted = set(identifiers)
    if not wanted or not {item.detail.name for item in grant.items}.issuperset(wanted):
        raise InvalidRequest(
            "授权中没有这些授权项。", "The grant has no such items.", code="grant.identifier_unknown", member="identifiers"
        )
    removed = [item for item in grant.items if item.status == "active" and item.detail.name in wanted]
    remaining = [item for item in grant.items if item.status == "active" and item.detail.name not in wanted]
    if not removed:
        return grant
    if not remaining:
        return await _revoke(tx, grant, actor)
    seqs = {item.seq for item in removed}
    ended = tuple(msgspec.structs.replace(i, status="revoked", ended_at=tx.time) if i.seq in seqs else i for i in grant.items)
    grant = msgspec.structs.replace(grant, version=grant.version + 1, items=ended)
    await store.end_items(tx.connection, grant_id, sorted(seqs), tx.time)
    members = await change_members(tx.connection, grant, actor)
    event = events.GrantNarrowed(
        **members,
        removed=tuple(ledger_identifier(item.seq) for item in removed),
        remaining=tuple(ledger_identifier(item.seq) for item in remaining),
    )
    await record(tx, grant, event, actor, [item.detail.name for item in removed])
    return grant


async def revoke(tx: LedgerTransaction, grant_id: str, actor: Actor) -> Grant:
    """End the whole grant for good, from this transaction on. A grant that was revoked already is returned unchanged.

    Raises:
        NotFound: no such grant of this actor.
    """
    grant = await grant_of(tx.connection, grant_id, actor)
    return grant if grant.status == "revoked" else await _revoke(tx, grant, actor)


async def _revoke(tx: LedgerTransaction, grant: Grant, actor: Actor) -> Grant:
    active = [item for item in grant.items if item.status == "active"]
    seqs = {item.seq for item in active}
    ended = tuple(msgspec.structs.replace(i, status="revoked", ended_at=tx.time) if i.seq in seqs else i for i in grant.items)
    grant = msgspec.structs.replace(grant, version=grant.version + 1, status="revoked", ended_at=tx.time, items=ended)
    await store.end_items(tx.connection, grant.id, sorted(seqs), tx.time)
    event = events.GrantRevoked(**await change_members(tx.connection, grant, actor))
    await record(tx, grant, event, actor, [item.detail.name for item in active])
    return grant


async def suspend(tx: LedgerTransaction, grant_id: str) -> Grant:
    """The operator holds a grant. One that is held already is returned unchanged.

    Raises:
        NotFound: no such grant.
        Conflict: `grant.revoked`.
    """
    return await _hold(tx, grant_id, "suspended", events.GrantSuspended)


async def resume(tx: LedgerTransaction, grant_id: str) -> Grant:
    """The operator lets a held grant count again. One that is active is returned unchanged.

    Raises:
        NotFound: no such grant.
        Conflict: `grant.revoked`.
    """
    return await _hold(tx, grant_id, "active", events.GrantResumed)


async def _hold(
    tx: LedgerTransaction,
    grant_id: str,
    status: Literal["active", "suspended"],
    event: type[events.GrantSuspended | events.GrantResumed],
) -> Grant:
    grant = await grant_of(tx.connection, grant_id, Actor.operator())
    if grant.status == "revoked":
        raise _revoked()
    if grant.status == status:
        return grant
    grant = msgspec.structs.replace(grant, version=grant.version + 1, status=status)
    await record(tx, grant, event(**await change_members(tx.connection, grant, Actor.operator())), Actor.operator(), [])
    return grant


# ---------------------------------------------------------------- reading
async def get(connection: AsyncConnection, grant_id: str, actor: Actor) -> Grant:
    """The grant.

    Raises:
        NotFound: it does not exist, or is not this actor's; both answer alike.
    """
    return await grant_of(connection, grant_id, actor)


async def list_of_institution(
    connection: AsyncConnection, institution_id: str, *, cursor: str | None = None, limit: int = 50
) -> tuple[list[Grant], str | None]:
    """A page of an institution's grants by id, and the cursor of the next one. New grants may come into any page.

    Raises:
        InvalidRequest: a cursor that is not ours, or a limit outside 1 to 200.
    """
    if cursor is not None and _ID.fullmatch(cursor) is None:
        raise _not_our_cursor()
    page = await store.grants_of_institution(connection, institution_id, after=cursor or "", limit=_checked_limit(limit) + 1)
    return page[:limit], page[limit - 1].id if len(page) > limit else None


async def list_of_subject(
    connection: AsyncConnection, subject_id: UUID, *, cursor: str | None = None, limit: int = 50
) -> tuple[list[Grant], str | None]:
    """A page of what a subject granted, newest first, and the cursor of the next one.

    Raises:
        InvalidRequest: a cursor that is not ours, or a limit outside 1 to 200.
    """
    before = None if cursor is None else _parse_cursor(cursor)
    page = await store.grants_of_subject(connection, subject_id, before=before, limit=_checked_limit(limit) + 1)
    if len(page) <= limit:
        return page, None
    last = page[limit - 1]
    return page[:limit], f"{to_ms(last.created_at)}.{last.id}"


async def history(connection: AsyncConnection, grant_id: str, actor: Actor) -> list[HistoryEntry]:
    """What made each version of the grant, oldest first.

    Raises:
        NotFound: no such grant of this actor.
    """
    await grant_of(connection, grant_id, actor)
    return await store.history(connection, grant_id)


def _parse_cursor(cursor: str) -> tuple[datetime, str]:
    ms, _, grant_id = cursor.partition(".")
    if not (ms.isascii() and ms.isdigit() and len(ms) <= 13) or _ID.fullmatch(grant_id) is None:
        raise _not_our_cursor()
    return datetime.fromtimestamp(int(ms) / 1000, UTC), grant_id


def _not_our_cursor() -> InvalidRequest:
    return InvalidRequest("分页位置不正确。", "The cursor is not one of ours.", member="cursor")


def _checked_limit(limit: int) -> int:
    if not 1 <= limit <= PAGE_LIMIT:
        raise InvalidRequest("每页条数应为1至200。", "A page has 1 to 200 entries.", member="limit")
    return limit


# ---------------------------------------------------------------- shared by the writers
async def grant_of(connection: AsyncConnection, grant_id: str, actor: Actor) -> Grant:
    grant = await store.grant(connection, grant_id) if _ID.fullmatch(grant_id) else None
    if grant is None or not actor.may_change(grant):
        raise _not_found()
    return grant


async def record(tx: LedgerTransaction, grant: Grant, event: Event, actor: Actor, details: Sequence[str]) -> None:
    """Store the version, end what pointed to the former one, and stage the record."""
    await store.update_status(tx.connection, grant)
    await store.end_tokens(tx.connection, grant.id, tx.time)
    index = tx.append(event)
    await store.insert_history(tx.connection, grant, at=tx.time, event=event.TYPE, actor=actor.kind, index=index, details=details)
    await parties.raise_version(tx.connection, sorted({grant.subject_id, grant.enterprise_id}))


async def check_subject(connection: AsyncConnection, subject_id: UUID, enterprise_id: UUID, by: GrantedBy) -> Subject:
    """The enterprise, if this subject may grant towards its financing."""
    subject = await parties.subject(connection, subject_id)
    enterprise = await parties.subject(connection, enterprise_id)
    if subject is None or enterprise is None or enterprise.kind == "person":
        raise _not_found()
    if not subject.verified or enterprise.status != "active":
        raise Forbidden(
            "完成实名注册后方可在线授权。", "Granting online needs registration by real name first.", code="subject.not_verified"
        )
    if by == "enterprise":
        allowed = subject_id == enterprise_id
    else:
        linked = await parties.linked_enterprises(connection, subject_id) if subject.kind == "person" else []
        allowed = any(other.id == enterprise_id for other in linked)
    if not allowed:
        raise Forbidden("您不能为该企业授权。", "You may not grant for this enterprise.", code="subject.not_linked")
    return enterprise


async def check_institution(connection: AsyncConnection, institution_id: str, client_id: str) -> Institution:
    institution = await parties.institution(connection, institution_id)
    client = await parties.client(connection, client_id)
    if institution is None or client is None or client.institution_id != institution_id:
        raise _not_found()
    if institution.status in {"suspended", "cancelled"} or client.status != "active":
        raise Forbidden("该机构目前不能获得授权。", "The institution can be granted nothing at present.", code="institution.suspended")
    return institution


async def check_notice(connection: AsyncConnection, notice: Notice) -> None:
    # A record that names a document which the ledger does not hold would be refuted by every verifier.
    if not await store.is_published(connection, notice.sha256):
        raise InvalidRequest("风险告知书版本未知。", "This risk notice was never published.", code="notice.unknown", member="notice")


def _not_found() -> NotFound:
    return NotFound("没有这项授权，或不属于您。", "No such grant, or not yours.")


def _revoked() -> Conflict:
    return Conflict("该授权已撤销。", "The grant was revoked.", code="grant.revoked")
