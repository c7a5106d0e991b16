"""Use cases of reports: make one, and record that it was read. A report that cannot be recorded is not shown."""

import hashlib
import secrets
from collections.abc import Mapping, Sequence

from sqlalchemy.ext.asyncio import AsyncEngine

from consent import db
from consent.catalogue.model import Catalogue
from consent.clock import format_instant
from consent.decisions.codes import CODES, title
from consent.errors import Unavailable
from consent.ledger.events import ReportRead
from consent.ledger.writer import write
from consent.reports import store
from consent.reports.model import CodeRow, InstitutionRow, ItemRow, LedgerRange, Names, ProductRow, Report, ReportFormat
from consent.reports.period import Period


async def access_report(engine: AsyncEngine, catalogue: Catalogue, period: Period) -> Report:
    """Count accesses, denials and grants in the period, up to the newest signed checkpoint.

    Raises:
        Unavailable: no checkpoint has been signed yet.
    """
    start, end = period.start, period.end
    async with db.read(engine) as connection:
        head = await store.signed_head(connection)
        if head is None:
            raise Unavailable("账本尚未签出第一个检查点，请稍后重试。", "The ledger has no signed checkpoint yet; try again in a moment.")
        size, note = head
        first, last = await store.bounds(connection, start, end, size)
        institutions, products, items, codes = await store.counts(connection, start, end, size)
        ids = sorted({row.institution for row in institutions})
        registered, named = await store.institution_names(connection, ids), await store.product_names(connection, ids)
    return Report(
        report=f"r_{secrets.token_urlsafe(12)}",
        period=period,
        ledger=LedgerRange(first=first, last=last, checkpoint=note),
        institutions=institutions,
        products=products,
        items=items,
        codes=codes,
        names=_names(catalogue, registered, _products(products, named), institutions, items, codes),
    )


def _names(
    catalogue: Catalogue,
    registered: Mapping[str, str],
    products: dict[str, dict[str, str]],
    institutions: Sequence[InstitutionRow],
    items: Sequence[ItemRow],
    codes: Sequence[CodeRow],
) -> Names:
    """What the tables' words are called. What a caller wrote that nobody knows stands in the ledger as `unknown`."""
    purposes = {code: known.name.zh for code, known in catalogue.purposes.items()}
    purposes |= {code: f"{word.name.zh}（非融资用途）" for code, word in catalogue.not_financing.items()}
    return Names(
        products=products,
        institutions={row.institution: registered.get(row.institution, "未登记的机构") for row in institutions},
        purposes={row.purpose: purposes.get(row.purpose, "未列入的用途") for row in items},
        items={row.item: catalogue.items[row.item].name.zh if row.item in catalogue.items else "未列入目录的信息项" for row in items},
        codes={row.code: title(row.code).zh if row.code in CODES else row.code for row in codes},
    )


def _products(rows: Sequence[ProductRow], named: Mapping[str, Mapping[str, str]]) -> dict[str, dict[str, str]]:
    """Names of the products in the table; one that was replaced since keeps its code alone."""
    names: dict[str, dict[str, str]] = {}
    for row in rows:
        own = names.setdefault(row.institution, {})
        if row.product is not None:
            own[row.product] = "未登记的产品" if row.product == "unknown" else named[row.institution].get(row.product, row.product)
    return names


async def record_reading(engine: AsyncEngine, report: Report, body: bytes, *, reader: str, form: ReportFormat) -> int:
    """Append report.read with the digest of what is about to be shown; returns the record's index."""
    event = ReportRead(
        report=report.report,
        reader=reader,
        from_=format_instant(report.period.start),
        to=format_instant(report.period.end),
        format=form,
        first=report.ledger.first,
        last=report.ledger.last,
        sha256=hashlib.sha256(body).hexdigest(),
    )
    async with write(engine) as transaction:
        return transaction.append(event)
