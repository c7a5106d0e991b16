"""The report's numbers, counted by PostgreSQL over the ledger's own bytes: one statement per table."""

from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from consent.reports.model import CodeRow, InstitutionRow, ItemRow, ProductRow

_RANGE = """
with record as (
  select idx, convert_from(bytes, 'UTF8')::jsonb as j
  from ledger_record where time >= :start and time < :end and idx < :size
), decided as (select j->'data' as d from record where j->>'type' = 'access.decided')
"""

_BOUNDS = text("select min(idx), max(idx) from ledger_record where time >= :start and time < :end and idx < :size")

_INSTITUTIONS = text(
    _RANGE
    + """
, event as (
  select j->'data'->>'institution' as institution, j->>'type' as type, j->'data'->>'outcome' as outcome,
         j->'data'->>'attested' as attested
  from record
  where j->>'type' in ('access.decided', 'grant.requested', 'grant.request_refused', 'grant.approved', 'grant.refused', 'grant.narrowed',
                       'grant.revoked')
)
select institution,
  count(*) filter (where type = 'access.decided') as checks,
  count(*) filter (where outcome = 'full') as "full",
  count(*) filter (where outcome = 'partial') as partial,
  count(*) filter (where outcome = 'none') as none,
  count(*) filter (where outcome <> 'none' and attested <> 'institution') as accesses,
  count(*) filter (where type = 'grant.requested') as requests,
  count(*) filter (where type = 'grant.request_refused') as requests_refused,
  count(*) filter (where type = 'grant.approved') as grants,
  count(*) filter (where type = 'grant.refused') as grants_refused,
  count(*) filter (where type = 'grant.narrowed') as narrowed,
  count(*) filter (where type = 'grant.revoked') as revoked
from event group by institution order by institution
"""
)

_ITEMS = text(
    _RANGE
    + """
, line as (
  select d->>'institution' as institution, d->>'purpose' as purpose, i->>'item' as item, i->>'outcome' as outcome,
         d->>'attested' as attested, false as granted
  from decided, jsonb_array_elements(d->'items') as i
  union all
  select j->'data'->>'institution', i->>'purpose', i->>'item', null, null, true
  from record, jsonb_array_elements(j->'data'->'details') as i where j->>'type' = 'grant.approved'
)
select institution, purpose, item,
  count(*) filter (where outcome <> 'deny') as permits,
  count(*) filter (where outcome <> 'deny' and attested <> 'institution') as accesses,
  count(*) filter (where outcome = 'deny') as denials,
  count(*) filter (where granted) as grants
from line group by institution, purpose, item order by institution, purpose, item
"""
)

_PRODUCTS = text(
    _RANGE
    + """
, asked as (
  select j->'data'->>'institution' as institution, p.product, j->>'type' as type, cast(j->'data'->>'excess' as int) as excess
  from record, lateral (
    select distinct d->>'product' as product from jsonb_array_elements(coalesce(j->'data'->'details', j->'data'->'verdicts')) as d
  ) p
  where j->>'type' in ('grant.requested', 'grant.request_refused')
)
select institution, product,
  count(*) as requests,
  count(*) filter (where type = 'grant.request_refused') as refused,
  count(*) filter (where excess > 0) as excessive,
  sum(excess) as excess_total,
  max(excess) as excess_max
from asked group by institution, product order by institution, product nulls first
"""
)

_CODES = text(
    _RANGE
    + """
select d->>'institution' as institution, c as code, count(*) as denials
from decided, jsonb_array_elements_text(d->'codes') as c
group by 1, 2 order by 1, 3 desc, 2
"""
)

_HEAD = text("select size, note from ledger_checkpoint where stage = 'shown' order by size desc limit 1")
_PRODUCT_NAMES = text("select institution_id, code, name_zh from product where institution_id = any(:ids)")
_NAMES = text("select id, name_zh from institution where id = any(:ids)")


async def signed_head(connection: AsyncConnection) -> tuple[int, str] | None:
    """Size and note of the newest signed head, or None before the first."""
    row = (await connection.execute(_HEAD)).first()
    return None if row is None else (int(row.size), str(row.note))


async def bounds(connection: AsyncConnection, start: datetime, end: datetime, size: int) -> tuple[int | None, int | None]:
    """First and last index below `size` whose time lies in the range."""
    row = (await connection.execute(_BOUNDS, {"start": start, "end": end, "size": size})).one()
    return row[0], row[1]


async def counts(
    connection: AsyncConnection, start: datetime, end: datetime, size: int
) -> tuple[tuple[InstitutionRow, ...], tuple[ProductRow, ...], tuple[ItemRow, ...], tuple[CodeRow, ...]]:
    """The four tables of the report."""
    values: dict[str, Any] = {"start": start, "end": end, "size": size}
    institutions = tuple(InstitutionRow(**row) for row in (await connection.execute(_INSTITUTIONS, values)).mappings())
    products = tuple(ProductRow(**row) for row in (await connection.execute(_PRODUCTS, values)).mappings())
    items = tuple(ItemRow(**row) for row in (await connection.execute(_ITEMS, values)).mappings())
    codes = tuple(CodeRow(**row) for row in (await connection.execute(_CODES, values)).mappings())
    return institutions, products, items, codes


async def institution_names(connection: AsyncConnection, ids: list[str]) -> dict[str, str]:
    """Chinese names by registered id."""
    return {row.id: row.name_zh for row in await connection.execute(_NAMES, {"ids": ids})}


async def product_names(connection: AsyncConnection, ids: list[str]) -> dict[str, dict[str, str]]:
    """Chinese names of the institutions' products as they are now, by institution and code."""
    found: dict[str, dict[str, str]] = {institution_id: {} for institution_id in ids}
    for row in await connection.execute(_PRODUCT_NAMES, {"ids": ids}):
        found[row.institution_id][row.code] = row.name_zh
    return found
