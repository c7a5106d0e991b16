"""The access report over HTTP: a page, JSON and CSV, for regulators who signed in. Each reading is recorded before it is answered."""

from typing import Any

from litestar import Request, Response, get
from litestar.di import NamedDependency
from litestar.params import SkipValidation
from sqlalchemy.ext.asyncio import AsyncEngine

from consent.catalogue.model import Catalogue
from consent.clock import SHANGHAI, utc_now
from consent.parties.access import Regulator
from consent.reports import service
from consent.reports.model import Report, ReportFormat
from consent.reports.period import read_period, shortcuts
from consent.web.templates import environment

_PRIVATE = {"Cache-Control": "no-store"}

_QUERY = (
    "Query: `from`, an RFC 3339 instant or a day YYYY-MM-DD of Asia/Shanghai (absent: 30 days before the end); "
    "`to`, an instant, exclusive, or a day, inclusive (absent: now). At most 366 days."
)
AnyRequest = Request[Any, Any, Any]
Engine = NamedDependency[SkipValidation[AsyncEngine]]
Items = NamedDependency[SkipValidation[Catalogue]]
Reader = NamedDependency[SkipValidation[Regulator]]


async def _read(request: AnyRequest, engine: AsyncEngine, catalogue: Catalogue) -> Report:
    return await service.access_report(engine, catalogue, read_period(request.query_params.multi_items(), utc_now()))


async def _recorded(engine: AsyncEngine, report: Report, body: bytes, reader: Regulator, form: ReportFormat) -> None:
    await service.record_reading(engine, report, body, reader=str(reader.account_id), form=form)


@get(
    "/reports/accesses.json", summary="Accesses, denials and grants by institution, purpose and item", description=_QUERY, tags=["reports"]
)
async def accesses_json(request: AnyRequest, engine: Engine, catalogue: Items, regulator: Reader) -> Response[bytes]:
    """The report as one JSON object, with the range of records it was computed from and the checkpoint over them."""
    report = await _read(request, engine, catalogue)
    body = report.to_json()
    await _recorded(engine, report, body, regulator, "json")
    return Response(body, media_type="application/json", headers=_PRIVATE)


@get("/reports/accesses.csv", summary="The same as a table for spreadsheets", description=_QUERY, tags=["reports"])
async def accesses_csv(request: AnyRequest, engine: Engine, catalogue: Items, regulator: Reader) -> Response[bytes]:
    """The report as CSV, UTF-8 with a byte order mark."""
    report = await _read(request, engine, catalogue)
    body = report.to_csv()
    await _recorded(engine, report, body, regulator, "csv")
    name = f'attachment; filename="accesses-{report.period.first_day}-{report.period.last_day}.csv"'
    return Response(body, media_type="text/csv", headers={**_PRIVATE, "Content-Disposition": name})


@get("/reports/accesses", include_in_schema=False)
async def accesses_page(request: AnyRequest, engine: Engine, catalogue: Items, regulator: Reader) -> Response[str]:
    """The report as a page for people."""
    report = await _read(request, engine, catalogue)
    template = environment().get_template("accesses.html")
    body = template.render(visitor=regulator, zone=SHANGHAI, report=report, shortcuts=shortcuts(utc_now()), here="reports", wide=True)
    await _recorded(engine, report, body.encode(), regulator, "page")
    return Response(body, media_type="text/html", headers=_PRIVATE)


handlers = [accesses_page, accesses_json, accesses_csv]
