"""A subject's own grants: what each institution may see, until when, how often it was used, and taking it back.

What is shown is computed when it is read (consent.grants.model). Taking back goes through consent.grants.service inside the ledger's
transaction, as the institution's own DELETE does.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from litestar import Response, get, post
from litestar.params import FromPath
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from consent.catalogue.model import Catalogue
from consent.clock import utc_now
from consent.db import read
from consent.errors import InvalidRequest, NotFound
from consent.grants import service
from consent.grants.model import Actor, Grant, GrantItem, effective_item_status, effective_status, period_key
from consent.ledger.writer import write
from consent.parties import store as parties
from consent.parties.access import SubjectVisitor
from consent.web import words
from consent.web.access import AnyRequest, Injected
from consent.web.form import Form
from consent.web.items import ItemView, item_view, item_words, purpose_words
from consent.web.login import see_other
from consent.web.templates import page
from consent.web.words import Chip, Words

_DONE: Mapping[str, Words] = {
    "item": Words("已撤回这一项，立即生效。", "The item was revoked, with immediate effect."),
    "all": Words("已撤回全部授权，立即生效。", "Everything was revoked, with immediate effect."),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class GrantedItem:
    """An item of a grant. `live` is whether the institution can obtain it now."""

    seq: int
    view: ItemView
    state: Chip
    live: bool
    ended_at: datetime | None
    used: Words | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One line of a grant's history; `idx` is its ledger record, `items` what was granted or taken back."""

    what: Words
    who: Words
    at: datetime
    idx: int
    items: list[Words]


@dataclass(frozen=True, slots=True, kw_only=True)
class GrantView:
    """A grant on the page. `revocable` while there is anything left to take back."""

    id: str
    institution: Words
    state: Chip
    state_reason: Words | None
    purposes: list[Words]
    products: list[str]
    created_at: datetime
    until: datetime
    by: Literal["enterprise", "person"]
    notice_version: str
    items: list[GrantedItem]
    live: int
    revocable: bool
    refused: list[Words]
    history: list[Event]


@get("/my/grants")
async def show_grants(
    request: AnyRequest, engine: Injected[AsyncEngine], catalogue: Injected[Catalogue], subject_visitor: Injected[SubjectVisitor]
) -> Response[str]:
    """All that the visitor's subject granted, newest first."""
    async with read(engine) as connection:
        subject = await parties.subject(connection, subject_visitor.subject_id)
        found, older = await service.list_of_subject(connection, subject_visitor.subject_id, cursor=request.query_params.get("before"))
        grants = [await _view(connection, catalogue, grant) for grant in found]
    return page("grants.html", visitor=subject_visitor, subject=subject, grants=grants, older=older)


@get("/my/grants/{grant_id:str}")
async def show_grant(
    request: AnyRequest,
    engine: Injected[AsyncEngine],
    catalogue: Injected[Catalogue],
    subject_visitor: Injected[SubjectVisitor],
    grant_id: FromPath[str],
) -> Response[str]:
    """One grant with its history."""
    async with read(engine) as connection:
        grant = await _load(connection, grant_id, subject_visitor)
        history = await service.history(connection, grant.id, Actor.subject(subject_visitor.subject_id))
        view = await _view(connection, catalogue, grant, history)
    return page("grant.html", visitor=subject_visitor, grant=view, done=_DONE.get(request.query_params.get("done", "")))


@get("/my/grants/{grant_id:str}/revoke")
async def ask_revoke(
    request: AnyRequest,
    engine: Injected[AsyncEngine],
    catalogue: Injected[Catalogue],
    subject_visitor: Injected[SubjectVisitor],
    grant_id: FromPath[str],
) -> Response[Any]:
    """What taking back means, before it is done. Nothing changes by looking."""
    async with read(engine) as connection:
        grant = await _load(connection, grant_id, subject_visitor)
        view = await _view(connection, catalogue, grant)
        loans = await _open_loans(connection, grant)
    if not view.revocable:
        return see_other(f"/my/grants/{grant.id}")
    asked = request.query_params.get("item", "")
    only = next((item for item in view.items if str(item.seq) == asked), None)
    if asked and (only is None or _item(grant, asked).status == "revoked"):
        return see_other(f"/my/grants/{grant.id}")
    return page("revoke.html", visitor=subject_visitor, grant=view, only=only, loans=loans)


@post("/my/grants/{grant_id:str}/revoke")
async def revoke(
    engine: Injected[AsyncEngine], subject_visitor: Injected[SubjectVisitor], grant_id: FromPath[str], form: Injected[Form]
) -> Response[bytes]:
    """Take back one item or everything. Sent twice it changes nothing more."""
    _check_id(grant_id)
    asked = form.one("item")
    actor = Actor.subject(subject_visitor.subject_id)
    async with write(engine) as tx:
        if asked:
            grant = await service.get(tx.connection, grant_id, actor)
            if grant.status != "revoked":
                await service.narrow(tx, grant_id, [_item(grant, asked).detail.name], actor)
        else:
            await service.revoke(tx, grant_id, actor)
    return see_other(f"/my/grants/{grant_id}?done={'item' if asked else 'all'}")


async def count_active(connection: AsyncConnection, visitor: SubjectVisitor) -> int:
    """How many grants are in force; at most the newest 200 are looked at."""
    grants, _ = await service.list_of_subject(connection, visitor.subject_id, limit=service.PAGE_LIMIT)
    now = utc_now()
    return sum(effective_status(grant, now) == "active" for grant in grants)


def _check_id(grant_id: str) -> None:
    if len(grant_id) > 64 or not grant_id.isascii() or not grant_id.isprintable():
        raise NotFound("没有这项授权，或不属于您。", "No such grant, or not yours.")


async def _load(connection: AsyncConnection, grant_id: str, visitor: SubjectVisitor) -> Grant:
    _check_id(grant_id)
    return await service.get(connection, grant_id, Actor.subject(visitor.subject_id))


def _item(grant: Grant, seq: str) -> GrantItem:
    found = next((item for item in grant.items if str(item.seq) == seq), None)
    if found is None:
        raise InvalidRequest("这份授权里没有这一项。", "The grant has no such item.", code="grant.identifier_unknown", member="item")
    return found


async def names_of(connection: AsyncConnection, institution_id: str, details: list[Any]) -> tuple[Words, dict[str, str]]:
    """The institution's name, and what people call the products, conduits and processors that the details name."""
    institution = await parties.institution(connection, institution_id)
    if institution is None:
        return Words(institution_id, institution_id), {}
    names = {product.code: product.name_zh for product in institution.products}
    for other in sorted({code for detail in details for code in (*detail.via, detail.processor) if code}):
        found = await parties.institution(connection, other)
        if found is not None:
            names[other] = found.name_zh
    return Words(institution.name_zh, institution.name_en), names


async def _view(connection: AsyncConnection, catalogue: Catalogue, grant: Grant, history: Any = ()) -> GrantView:
    now = utc_now()
    details = [item.detail for item in grant.items]
    institution, names = await names_of(connection, grant.institution_id, details)
    uses = await _uses(connection, grant)
    named = {detail.name: detail.item for detail in details}
    items = []
    for item in grant.items:
        state = effective_item_status(grant, item, now)
        per = item.detail.frequency.per if item.detail.frequency else None
        items.append(
            GrantedItem(
                seq=item.seq,
                view=item_view(catalogue, f"d{item.seq}", item.detail, names),
                state=words.STATES[state],
                live=state == "active",
                ended_at=item.ended_at or (item.detail.valid_until if state == "expired" else None),
                used=None if per is None else words.used(uses.get((item.seq, period_key(per, now)), 0), per),
            )
        )
    return GrantView(
        id=grant.id,
        institution=institution,
        state=words.STATES[effective_status(grant, now)],
        state_reason=_hold(grant),
        purposes=[purpose_words(catalogue, code) for code in dict.fromkeys(detail.purpose for detail in details)],
        products=[names.get(code, code) for code in dict.fromkeys(detail.product for detail in details if detail.product)],
        created_at=grant.created_at,
        until=max(detail.valid_until for detail in details),
        by=grant.granted_by,
        notice_version=grant.notice_version,
        items=items,
        live=sum(item.live for item in items),
        revocable=effective_status(grant, now) in {"active", "suspended"},
        refused=[item_words(catalogue, refused.detail.item) for refused in grant.refused],
        history=[
            Event(
                what=words.EVENTS.get(entry.event, Words(entry.event, entry.event)),
                who=words.ACTORS[entry.actor],
                at=entry.at,
                idx=entry.index,
                items=[item_words(catalogue, named[name]) for name in entry.details if name in named],
            )
            for entry in reversed(history)
        ],
    )


def _hold(grant: Grant) -> Words | None:
    """Why a grant that nobody revoked gives nothing for now."""
    if grant.status == "revoked":
        return None
    if grant.status == "suspended":
        return Words(
            "平台已暂停这份授权，暂停期间机构不能取得数据。", "The platform has put this grant on hold; nothing can be obtained meanwhile."
        )
    if grant.institution_status != "active":
        return Words(
            "平台已暂停或限制这家机构，期间它不能凭这份授权取得数据。",
            "The platform has suspended or restricted this institution; it can obtain nothing meanwhile.",
        )
    if not grant.verified:
        return Words(
            "企业的实名登记已停用，机构不能凭这份授权取得数据。",
            "The enterprise's registration is on hold; nothing can be obtained on this grant meanwhile.",
        )
    if not grant.linked:
        return Words(
            "您与这家企业的关系已经结束，或您的实名登记已停用，机构不能凭这份同意取得数据。",
            "You are no longer linked to the enterprise, or your registration is on hold; nothing can be obtained on this consent.",
        )
    return None


async def _uses(connection: AsyncConnection, grant: Grant) -> dict[tuple[int, str], int]:
    rows = await connection.execute(text("select seq, period, used from grant_use where grant_id = :id"), {"id": grant.id})
    return {(row.seq, row.period): row.used for row in rows}


async def _open_loans(connection: AsyncConnection, grant: Grant) -> list[Words]:
    """The phases of open loans with this institution: a reason to think twice, never to forbid."""
    rows = await connection.execute(
        text("""
        select distinct phase from loan
        where institution_id = :institution and subject_id = :subject and phase = any(cast(:open as text[])) order by phase
        """),
        {"institution": grant.institution_id, "subject": grant.enterprise_id, "open": list(words.LOAN_PHASES)},
    )
    return [words.LOAN_PHASES[row.phase] for row in rows]


handlers = [show_grants, show_grant, ask_revoke, revoke]
