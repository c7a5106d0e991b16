"""The access report over HTTP: a page, JSON and CSV, for regulators who signed in. Each reading is recorded before it is answered."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

from litestar import Response, get
from litestar.di import NamedDependency
from litestar.params import QueryParameter, SkipValidation
from sqlalchemy.ext.asyncio import AsyncEngine

from consent.catalogue.model import Catalogue
from consent.clock import SHANGHAI, utc_now
from consent.decisions.codes import CODES
from consent.errors import InvalidRequest
from consent.parties.access import Regulator
from consent.reports import service
from consent.reports.model import Report, ReportFormat
from consent.web.templates import environment

_TEXT_LIMIT = 40
_PRIVATE = {"Cache-Control": "no-store"}

Start = Annotated[
    str | None, QueryParameter(name="from", description="RFC 3339 instant, or a day YYYY-MM-DD of Asia/Shanghai; absent: 30 days ago")
]
End = Annotated[str | None, QueryParameter(name="to", description="RFC 3339 instant, exclusive, or a day, inclusive; absent: now")]
Engine = NamedDependency[SkipValidation[AsyncEngine]]
Items = NamedDependency[SkipValidation[Catalogue]]
Reader = NamedDependency[SkipValidation[Regulator]]


def _instant(value: str | None, member: str, default: datetime, *, end: bool = False) -> datetime:
    """A bound of the period.

    Raises:
        InvalidRequest: not a day and not an instant with an offset.
    """
    if not value:
        return default
    try:
        if len(value) == 10:
            day = datetime.strptime(value, "%Y-%m-%d").replace(tzinfo=SHANGHAI)
            return day + timedelta(days=1) if end else day
        at = datetime.fromisoformat(value) if len(value) <= _TEXT_LIMIT else None
    except (ValueError, OverflowError):
        at = None
    if at is None or at.tzinfo is None or not 2000 <= at.year <= 9000:
        raise InvalidRequest(
            "时间应写作 2026-11-20 或带时区的 2026-11-20T08:00:00Z。",
            "Write a day as 2026-11-20 or an instant with its offset as 2026-11-20T08:00:00Z.",
            member=member,
        )
    return at.astimezone(UTC)


async def _read(engine: AsyncEngine, catalogue: Catalogue, start: str | None, end: str | None) -> Report:
    now = utc_now()
    until = _instant(end, "to", now + timedelta(seconds=1), end=True)
    return await service.access_report(engine, catalogue, _instant(start, "from", until - timedelta(days=30)), until)


async def _recorded(engine: AsyncEngine, report: Report, body: bytes, reader: Regulator, form: ReportFormat) -> None:
    await service.record_reading(engine, report, body, reader=str(reader.account_id), form=form)


@get("/reports/accesses.json", summary="Accesses, denials and grants by institution, purpose and item", tags=["reports"])
async def accesses_json(engine: Engine, catalogue: Items, regulator: Reader, start: Start = None, end: End = None) -> Response[bytes]:
    """The report as one JSON object, with the range of records it was computed from and the checkpoint over them."""
    report = await _read(engine, catalogue, start, end)
    body = report.to_json()
    await _recorded(engine, report, body, regulator, "json")
    return Response(body, media_type="application/json", headers=_PRIVATE)


@get("/reports/accesses.csv", summary="The same as a table for spreadsheets", tags=["reports"])
async def accesses_csv(engine: Engine, catalogue: Items, regulator: Reader, start: Start = None, end: End = None) -> Response[bytes]:
    """The report as CSV, UTF-8 with a byte order mark."""
    report = await _read(engine, catalogue, start, end)
    body = report.to_csv()
    await _recorded(engine, report, body, regulator, "csv")
    name = f'attachment; filename="accesses-{report.start:%Y%m%d}-{report.end:%Y%m%d}.csv"'
    return Response(body, media_type="text/csv; charset=utf-8", headers={**_PRIVATE, "Content-Disposition": name})


@get("/reports/accesses", include_in_schema=False)
async def accesses_page(engine: Engine, catalogue: Items, regulator: Reader, start: Start = None, end: End = None) -> Response[str]:
    """The report as a page for people."""
    report = await _read(engine, catalogue, start, end)
    body = (
        environment()
        .get_template("accesses.html")
        .render(
            visitor=regulator,
            zone=SHANGHAI,
            titles=CODES,
            report=report,
            purposes=catalogue.purposes,
            here="reports",
            wide=True,
            first_day=report.start,
            last_day=report.end - timedelta(seconds=1),
        )
    )
    await _recorded(engine, report, body.encode(), regulator, "page")
    return Response(body, media_type="text/html; charset=utf-8", headers=_PRIVATE)


handlers = [accesses_page, accesses_json, accesses_csv]
