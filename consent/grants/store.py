"""SQL of grants. Every function takes the caller's connection; none commits. Writers are inside the ledger's transaction."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from msgspec import UNSET
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from consent.grants.model import ActorKind, Detail, Grant, GrantItem, HistoryEntry, Refused

_GRANT = """
    select g.id, g.institution_id, i.status as institution_status, g.client_id, g.subject_id, g.enterprise_id,
           coalesce(e.uscc, '') as enterprise, e.level = 'real_name' and e.status = 'active' as verified,
           g.request_id, g.version, g.status, g.granted_by, g.channel, g.notice_version, g.notice_sha256, g.created_at, g.ended_at,
           cast(g.refused as text) as refused,
           g.granted_by = 'enterprise' or exists (select 1 from person_link l join subject o on o.id = l.person_id
                where l.person_id = g.subject_id and l.enterprise_id = g.enterprise_id and l.ended_at is null
                  and o.level = 'real_name' and o.status = 'active') as linked
      from consent_grant g
      join institution i on i.id = g.institution_id
      join subject e on e.id = g.enterprise_id
"""
_BY_ID = text(f"{_GRANT} where g.id = :id")
_BY_REQUEST = text(f"{_GRANT} where g.request_id = :request_id")
_OF_INSTITUTION = text(f"{_GRANT} where g.institution_id = :institution_id and g.id > :after order by g.id limit :limit")
# A person's grants are found through the enterprises to which she is or was linked: the index is by enterprise.
_OF_SUBJECT = text(f"""
    {_GRANT}
     where g.subject_id = :subject_id
       and g.enterprise_id in (select :subject_id union all select enterprise_id from person_link where person_id = :subject_id)
       and (cast(:before as timestamptz) is null or (g.created_at, g.id) < (:before, :before_id))
     order by g.created_at desc, g.id desc
     limit :limit
""")
_ITEMS = text("""
    select grant_id, seq, cast(detail as text) as detail, status, ended_at from grant_item
     where grant_id = any(cast(:ids as text[])) order by grant_id, seq
""")
_decode_detail = msgspec.json.Decoder(Detail).decode
_decode_refused = msgspec.json.Decoder(tuple[Refused, ...]).decode


async def _grants(connection: AsyncConnection, statement: Any, parameters: dict[str, Any]) -> list[Grant]:
    rows = (await connection.execute(statement, parameters)).all()
    items: dict[str, list[GrantItem]] = {row.id: [] for row in rows}
    for item in await connection.execute(_ITEMS, {"ids": list(items)}):
        items[item.grant_id].append(GrantItem(seq=item.seq, detail=_decode_detail(item.detail), status=item.status, ended_at=item.ended_at))
    return [Grant(**(dict(row._mapping) | {"refused": _decode_refused(row.refused), "items": tuple(items[row.id])})) for row in rows]


async def grant(connection: AsyncConnection, grant_id: str) -> Grant | None:
    """The grant with its items."""
    found = await _grants(connection, _BY_ID, {"id": grant_id})
    return found[0] if found else None


async def grant_of_request(connection: AsyncConnection, request_id: str) -> Grant | None:
    """The grant that answered a pushed request."""
    found = await _grants(connection, _BY_REQUEST, {"request_id": request_id})
    return found[0] if found else None


async def grants_of_institution(connection: AsyncConnection, institution_id: str, *, after: str, limit: int) -> list[Grant]:
    """At most `limit` grants whose id is above `after`, by id."""
    return await _grants(connection, _OF_INSTITUTION, {"institution_id": institution_id, "after": after, "limit": limit})


async def grants_of_subject(
    connection: AsyncConnection, subject_id: UUID, *, before: tuple[datetime, str] | None, limit: int
) -> list[Grant]:
    """At most `limit` grants that the subject made, newest first, older than `before` (created, id)."""
    at, grant_id = before or (None, None)
    parameters = {"subject_id": subject_id, "before": at, "before_id": grant_id, "limit": limit}
    return await _grants(connection, _OF_SUBJECT, parameters)


_INSERT_GRANT = text("""
    insert into consent_grant (id, institution_id, client_id, subject_id, request_id, version, status, granted_by, enterprise_id, channel,
                               notice_version, notice_sha256, created_at, refused)
    values (:id, :institution_id, :client_id, :subject_id, :request_id, :version, :status, :granted_by, :enterprise_id, :channel,
            :notice_version, :notice_sha256, :created_at, cast(:refused as jsonb))
    on conflict (request_id) do nothing
    returning id
""")
_INSERT_ITEM = text("""
    insert into grant_item (grant_id, seq, identifier, item, action, purpose, product, fields, necessity, data_from, valid_until,
                            frequency_max, frequency_per, retention_days, via, processor, detail)
    values (:grant_id, :seq, :identifier, :item, :action, :purpose, :product, cast(:fields as text[]), :necessity, :data_from, :valid_until,
            :frequency_max, :frequency_per, :retention_days, cast(:via as text[]), :processor, cast(:detail as jsonb))
""")


async def insert_grant(connection: AsyncConnection, value: Grant) -> bool:
    """Whether the request had no grant yet."""
    values = msgspec.structs.asdict(value)
    for name in ("institution_status", "enterprise", "verified", "linked", "items", "ended_at"):
        del values[name]
    values["refused"] = msgspec.json.encode(value.refused).decode()
    if (await connection.execute(_INSERT_GRANT, values)).one_or_none() is None:
        return False
    await connection.execute(_INSERT_ITEM, [_item_values(value.id, item) for item in value.items])
    return True


def _item_values(grant_id: str, item: GrantItem) -> dict[str, Any]:
    detail = item.detail
    frequency = None if detail.frequency is UNSET else detail.frequency
    return {
        "grant_id": grant_id,
        "seq": item.seq,
        "identifier": detail.name,
        "item": detail.item,
        "action": detail.action,
        "purpose": detail.purpose,
        "product": detail.product or None,
        "fields": list(detail.granted_fields),
        "necessity": detail.necessity,
        "data_from": detail.data_from or None,
        "valid_until": detail.valid_until,
        "frequency_max": frequency and frequency.max,
        "frequency_per": frequency and frequency.per,
        "retention_days": detail.retention_days or None,
        "via": list(detail.via),
        "processor": detail.processor or None,
        "detail": msgspec.json.encode(detail).decode(),
    }


async def insert_items(connection: AsyncConnection, grant_id: str, items: Sequence[GrantItem]) -> None:
    """Add granted details to a grant."""
    await connection.execute(_INSERT_ITEM, [_item_values(grant_id, item) for item in items])


async def update_consent(connection: AsyncConnection, value: Grant) -> None:
    """Store which request and notice the grant now stands on, and what was left out of it."""
    statement = text("""
        update consent_grant set request_id = :request_id, notice_version = :notice_version, notice_sha256 = :notice_sha256,
               refused = cast(:refused as jsonb)
         where id = :id
    """)
    values = {name: getattr(value, name) for name in ("id", "request_id", "notice_version", "notice_sha256")}
    await connection.execute(statement, values | {"refused": msgspec.json.encode(value.refused).decode()})


async def update_status(connection: AsyncConnection, value: Grant) -> None:
    """Store the grant's version and state."""
    await connection.execute(
        text("update consent_grant set version = :version, status = :status, ended_at = :ended_at where id = :id"),
        {"id": value.id, "version": value.version, "status": value.status, "ended_at": value.ended_at},
    )


async def end_items(connection: AsyncConnection, grant_id: str, seqs: Sequence[int], at: datetime) -> None:
    """End these items for good."""
    await connection.execute(
        text("""
            update grant_item set status = 'revoked', ended_at = :at
             where grant_id = :grant_id and seq = any(cast(:seqs as int[])) and status = 'active'
        """),
        {"grant_id": grant_id, "seqs": list(seqs), "at": at},
    )


async def end_tokens(connection: AsyncConnection, grant_id: str, at: datetime) -> None:
    """End the access tokens that point to the grant: what they stand for is no longer what was granted.

    Those that expired are left alone: the sweep may be deleting them, and nobody waits for it under the ledger's lock.
    """
    statement = text("""
        update access_token set revoked_at = :at where grant_id = :grant_id and revoked_at is null and expires_at > clock_timestamp()
    """)
    await connection.execute(statement, {"grant_id": grant_id, "at": at})


async def insert_history(
    connection: AsyncConnection, value: Grant, *, at: datetime, event: str, actor: ActorKind, index: int, details: Sequence[str]
) -> None:
    """What made this version of the grant. `details`: identifiers of what was granted or removed."""
    await connection.execute(
        text("""
            insert into grant_history (grant_id, version, at, event, actor, idx, detail)
            values (:grant_id, :version, :at, :event, :actor, :idx, cast(:detail as jsonb))
        """),
        {
            "grant_id": value.id,
            "version": value.version,
            "at": at,
            "event": event,
            "actor": actor,
            "idx": index,
            "detail": msgspec.json.encode({"details": details}).decode(),
        },
    )


async def history(connection: AsyncConnection, grant_id: str) -> list[HistoryEntry]:
    """All versions of the grant, oldest first."""
    statement = text("""
        select version, at, event, actor, idx as index, cast(detail -> 'details' as text) as details
          from grant_history where grant_id = :grant_id order by version
    """)
    rows = await connection.execute(statement, {"grant_id": grant_id})
    return [HistoryEntry(**(dict(row._mapping) | {"details": tuple(msgspec.json.decode(row.details))})) for row in rows]


async def is_published(connection: AsyncConnection, sha256: bytes) -> bool:
    """Whether the ledger holds a document of this digest."""
    return bool(
        (await connection.execute(text("select exists (select 1 from ledger_blob where sha256 = :sha256)"), {"sha256": sha256})).scalar()
    )


async def entries(connection: AsyncConnection, grant_id: str) -> list[tuple[int, str, int, bytes]]:
    """Version, event, index and leaf hash of the records that made the grant's versions, oldest first."""
    statement = text("""
        select h.version, h.event, h.idx, r.leaf from grant_history h join ledger_record r on r.idx = h.idx
         where h.grant_id = :grant_id order by h.version
    """)
    return [(row.version, row.event, row.idx, row.leaf) for row in await connection.execute(statement, {"grant_id": grant_id})]
