"""Use cases of reports: make one, and record that it was read. A report that cannot be recorded is not shown."""

import hashlib
import secrets
from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncEngine

from consent import db
from consent.catalogue.model import Catalogue
from consent.clock import format_instant, truncate
from consent.errors import InvalidRequest, Unavailable
from consent.ledger.events import ReportRead
from consent.ledger.writer import write
from consent.reports import store
from consent.reports.model import LedgerRange, Report, ReportFormat

_LONGEST = timedelta(days=366)


async def access_report(engine: AsyncEngine, catalogue: Catalogue, start: datetime, end: datetime) -> Report:
    """Count accesses, denials and grants in start ≤ time < end, up to the newest signed checkpoint.

    Raises:
        InvalidRequest: the period is empty or longer than 366 days.
        Unavailable: no checkpoint has been signed yet.
    """
    start, end = truncate(start), truncate(end)
    if not start < end:
        raise InvalidRequest("起始时间须早于结束时间。", "The period must begin before it ends.", member="from")
    if end - start > _LONGEST:
        raise InvalidRequest("统计期间最长为 366 天，请缩短后重试。", "The period is at most 366 days; shorten it.", member="to")
    async with db.read(engine) as connection:
        head = await store.signed_head(connection)
        if head is None:
            raise Unavailable("账本尚未签出第一个检查点，请稍后重试。", "The ledger has no signed checkpoint yet; try again in a moment.")
        size, note = head
        first, last = await store.bounds(connection, start, end, size)
        institutions, items, codes = await store.counts(connection, start, end, size)
        names = await store.institution_names(connection, sorted({row.institution for row in institutions}))
    names |= {code: catalogue.items[code].name.zh for code in {row.item for row in items} if code in catalogue.items}
    return Report(
        report=f"r_{secrets.token_urlsafe(12)}",
        start=start,
        end=end,
        ledger=LedgerRange(first=first, last=last, checkpoint=note),
        institutions=institutions,
        items=items,
        codes=codes,
        names=names,
    )


async def record_reading(engine: AsyncEngine, report: Report, body: bytes, *, reader: str, form: ReportFormat) -> int:
    """Append report.read with the digest of what is about to be shown; returns the record's index."""
    event = ReportRead(
        report=report.report,
        reader=reader,
        from_=format_instant(report.start),
        to=format_instant(report.end),
        format=form,
        first=report.ledger.first,
        last=report.ledger.last,
        sha256=hashlib.sha256(body).hexdigest(),
    )
    async with write(engine) as transaction:
        return transaction.append(event)
