"""Who asked about a subject, when, for what, and what came out: read from the ledger's own records, denials too.

An enterprise sees every request about itself. A person sees those requests in which her own consent was used, and of them only the
items it covers: what else an enterprise shares is not hers to know.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
from litestar import Response, get
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from consent.catalogue.model import Catalogue
from consent.db import read
from consent.decisions import codes
from consent.errors import InvalidRequest
from consent.parties import store as parties
from consent.parties.access import SubjectVisitor
from consent.web import words
from consent.web.access import AnyRequest, Injected
from consent.web.items import item_words, purpose_words
from consent.web.templates import page
from consent.web.words import Chip, Words

PAGE = 30
_NOBODY = Words("未登记的机构", "an institution that is not registered")


class _DecidedItem(msgspec.Struct, frozen=True):
    """What this page needs of an item in an `access.decided` record."""

    item: str
    outcome: str
    basis: str | None
    grant: str | None
    codes: list[str]


class _Decided(msgspec.Struct, frozen=True):
    """What this page needs of the data of an `access.decided` record."""

    institution: str
    platform: str | None
    action: str
    purpose: str
    outcome: str
    redeems: str | None
    items: list[_DecidedItem]


class _Record(msgspec.Struct, frozen=True):
    data: _Decided


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessItem:
    """One item of a request. `grant` is the visitor's own grant that it rests on, if it does."""

    name: Words
    outcome: Chip
    because: Words
    grant: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """One request. `idx` is its ledger record; `delivered` the record in which the platform reported what it served."""

    idx: int
    at: datetime
    institution: Words
    platform: Words | None
    purpose: Words
    action: Words
    outcome: Chip
    redeems: bool
    delivered: int | None
    items: list[AccessItem]


_DECISIONS = text("""
select d.idx, d.created_at, r.bytes, v.idx as delivered
from decision d join ledger_record r on r.idx = d.idx left join delivery v on v.decision_id = d.id
where d.identifier = any(cast(:identifiers as text[])) and (cast(:before as bigint) is null or d.idx < :before)
  and (cast(:grants as text[]) is null or exists (
    select from json_array_elements(convert_from(r.bytes, 'UTF8')::json -> 'data' -> 'items') as i
    where i ->> 'grant' = any(cast(:grants as text[]))))
order by d.idx desc limit :limit
""")


@get("/my/history")
async def show_history(
    request: AnyRequest, engine: Injected[AsyncEngine], catalogue: Injected[Catalogue], subject_visitor: Injected[SubjectVisitor]
) -> Response[str]:
    """The requests about the visitor's subject, newest first."""
    before = _parse_index(request.query_params.get("before"))
    async with read(engine) as connection:
        subject = await parties.subject(connection, subject_visitor.subject_id)
        identifiers, own = await _scope(connection, subject_visitor)
        rows = await _rows(connection, identifiers, own, before)
        records = [msgspec.json.decode(row.bytes, type=_Record).data for row in rows]
        names = await _names(connection, records)
    accesses = [_access(catalogue, names, row, record, own) for row, record in zip(rows, records, strict=True)]
    older = accesses[-1].idx if len(accesses) == PAGE else None
    return page("history.html", visitor=subject_visitor, subject=subject, accesses=accesses, older=older, provable=own is None)


async def count_recent(connection: AsyncConnection, visitor: SubjectVisitor) -> int:
    """How many requests of the last thirty days the visitor would find in the history."""
    identifiers, own = await _scope(connection, visitor)
    if own is not None:
        return len(await _rows(connection, identifiers, own, None))
    statement = text("""
    select count(*) from decision
    where identifier = any(cast(:identifiers as text[])) and created_at > clock_timestamp() - interval '30 days'
    """)
    return int(await connection.scalar(statement, {"identifiers": identifiers}) or 0)


async def _scope(connection: AsyncConnection, visitor: SubjectVisitor) -> tuple[list[str], list[str] | None]:
    """The codes whose requests the visitor may see, and for a person her own grants, beyond which she sees nothing."""
    if visitor.kind != "person":
        subject = await parties.subject(connection, visitor.subject_id)
        return ([subject.identifier] if subject is not None else []), None
    # An enterprise that was erased has no code, and nothing about it can be found.
    statement = text("""
        select g.id, e.uscc from consent_grant g join subject e on e.id = g.enterprise_id and e.uscc is not null
         where g.subject_id = :id
    """)
    found = (await connection.execute(statement, {"id": visitor.subject_id})).all()
    return sorted({row.uscc for row in found}), [row.id for row in found]


async def _rows(connection: AsyncConnection, identifiers: list[str], own: list[str] | None, before: int | None) -> Sequence[Any]:
    parameters = {"identifiers": identifiers, "grants": own, "before": before, "limit": PAGE}
    return (await connection.execute(_DECISIONS, parameters)).all()


async def _names(connection: AsyncConnection, records: list[_Decided]) -> dict[str, Words]:
    ids = sorted({record.institution for record in records} | {record.platform for record in records if record.platform})
    rows = await connection.execute(text("select id, name_zh, name_en from institution where id = any(cast(:ids as text[]))"), {"ids": ids})
    return {row.id: Words(row.name_zh, row.name_en) for row in rows}


def _access(catalogue: Catalogue, names: Mapping[str, Words], row: Any, record: _Decided, own: list[str] | None) -> Access:
    shown = [item for item in record.items if own is None or item.grant in own]
    outcome = words.OUTCOMES[record.outcome] if own is None else _outcome(shown)
    return Access(
        idx=row.idx,
        at=row.created_at,
        institution=names.get(record.institution, _NOBODY),
        platform=None if record.platform is None else names.get(record.platform, _NOBODY),
        purpose=purpose_words(catalogue, record.purpose)
        if record.purpose in catalogue.purposes
        else _other_purpose(catalogue, record.purpose),
        action=_action(record.action),
        outcome=outcome,
        redeems=record.redeems is not None,
        delivered=row.delivered,
        items=[_item(catalogue, item, "grant" if own is None else "person") for item in shown],
    )


def _outcome(items: list[_DecidedItem]) -> Chip:
    """Of what a person may see, the outcome that these items alone would have."""
    denied = sum(item.outcome == "deny" for item in items)
    return words.OUTCOMES["full" if not denied else "none" if denied == len(items) else "partial"]


def _item(catalogue: Catalogue, item: _DecidedItem, own_basis: str) -> AccessItem:
    known = item.item != "unknown"
    if item.outcome == "deny":
        title = codes.title(item.codes[0]) if item.codes else None
        because = Words("", "") if title is None else Words(title.zh, title.en)
    else:
        because = words.BASES.get(item.basis or "", Words("", ""))
    return AccessItem(
        name=item_words(catalogue, item.item) if known else Words("目录里没有的数据项", "an item that no list has"),
        outcome=words.ITEM_OUTCOMES[item.outcome],
        because=because,
        grant=item.grant if item.basis == own_basis else None,
    )


def _other_purpose(catalogue: Catalogue, code: str) -> Words:
    known = catalogue.not_financing.get(code)
    return (
        Words("不明用途", "unknown purpose")
        if known is None
        else Words(f"{known.name.zh}（不是融资用途）", f"{known.name.en} (not financing)")
    )


def _action(code: str) -> Words:
    known = words.ACTIONS.get(code)
    return Words("不明操作", "Unknown action") if known is None else Words(known.zh, known.en)


def _parse_index(value: str | None) -> int | None:
    if value is None:
        return None
    if not (value.isascii() and value.isdigit() and len(value) <= 15):
        raise InvalidRequest("分页位置不正确。", "The position is not one of ours.", member="before")
    return int(value)


handlers = [show_history]
