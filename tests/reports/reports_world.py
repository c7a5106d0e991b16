"""The report's routes beside the pages, on a real database, and a ledger with something of every kind to count."""

import csv
import hashlib
import io
import json
import tarfile
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import sample_parties
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from web_world import PASSWORD, Browser, World, make_app

from consent.ledger import events, parts
from consent.ledger.service import export
from consent.ledger.writer import write
from consent.parties.accounts import create_account
from consent.reports import routes
from consent_audit.record import Record, decode_record
from consent_audit.tiles import unverified_entries

TAX, ARREARS, PAGE = "N21-03-04", "N21-03-03", "/reports/accesses"
DIGEST = "A" * 43


async def make_reports(engine: AsyncEngine) -> World:
    """Pages and reports, with registered parties."""
    parties = await sample_parties.register(engine)
    return World(engine, parties, make_app(engine, "http://127.0.0.1:8080", *routes.handlers))


async def reader(world: World, role: Any = "regulator") -> Browser:
    """A signed-in member of staff."""
    username = f"staff.{role}"
    if not await world.rows("select 1 from account where username = :username", username=username):
        await create_account(world.engine, username=username, password=PASSWORD, display_name="林岚", subject_id=None, role=role)
    browser = world.browser()
    assert (await browser.sign_in(username)).status_code == 303
    return browser


def detail(item: str, purpose: str = "pre_loan") -> parts.Detail:
    """A granted detail."""
    return parts.Detail(
        identifier="d1",
        item=item,
        action="query",
        purpose=purpose,
        product=None,
        fields=(f"{item}.01",),
        necessity="required",
        data_from=None,
        valid_until="2030-01-01T00:00:00.000Z",
        frequency=None,
        retention_days=None,
        via=(),
        processor=None,
    )


def decided(institution: str, *items: tuple[str, str], purpose: str = "pre_loan", attested: Any = "institution") -> events.AccessDecided:
    """A check by (item, outcome); denials carry a code each."""
    given = [outcome for _, outcome in items if outcome != "deny"]
    lines = tuple(
        parts.DecidedItem(
            item=item,
            fields_requested=None,
            claimed=None,
            outcome=outcome,  # type: ignore[arg-type]
            basis=None if outcome == "deny" else "open",
            grant=None,
            identifier=None,
            fields=() if outcome == "deny" or item == "unknown" else (f"{item}.01",),
            withheld=(),
            codes=("item.unknown" if item == "unknown" else "item.not_granted",) if outcome == "deny" else (),
        )
        for item, outcome in items
    )
    full = all(outcome == "permit" for _, outcome in items)
    return events.AccessDecided(
        id="dec",
        institution=institution,
        platform=None if attested == "institution" else "platform-a",
        client="bank-a-client",
        subject="p_" + "x" * 22,
        action="query",
        purpose=purpose,
        product=None,
        loan=None,
        operator=None,
        branch=None,
        model=None,
        processor=None,
        via=(),
        service="single",
        channel=None,
        data_from=None,
        data_to=None,
        request=None,
        ticket=None,
        told=parts.Told(verified=True, terminal="unregistered", loan=None, uncounted=()),
        items=lines,
        decision=full,
        outcome="full" if full else "partial" if given else "none",
        codes=tuple(sorted({code for line in lines for code in line.codes})),
        redeems=None,
        attested=attested,
        uses=(),
        policy="p-1",
        catalogue="c-1",
    )


def something_of_everything() -> list[events.Event]:
    """Two banks and a stranger: requests, refusals, grants, changes, checks of each outcome and attestation, unknown words."""
    subject, notice = "p_" + "x" * 22, parts.Notice(version="2026-01", sha256=sample_parties.NOTICE.sha256.hex())
    changed = {"grant": "g-1", "institution": "bank-a", "subject": subject, "actor": "subject"}
    requested = {"institution": "bank-a", "client": "bank-a-client", "policy": "p-1", "catalogue": "c-1"}
    elsewhere = requested | {"institution": "bank-b", "client": "bank-b-client"}
    verdict = parts.Verdict(
        identifier_digest=DIGEST,
        item=TAX,
        action="query",
        purpose="pre_loan",
        product=None,
        verdict="refuse",
        codes=("item.not_necessary",),
    )
    return [
        events.GrantRequested(request="r-1", details=(detail(TAX), detail(ARREARS)), excess=0, **requested),  # type: ignore[arg-type]
        events.GrantRequestRefused(request="r-2", verdicts=(verdict,), excess=40, **requested),  # type: ignore[arg-type]
        events.GrantRequestRefused(
            request="r-4",
            verdicts=(verdict, *(msgspec.structs.replace(verdict, product=code) for code in ("tax-loan-01", "tax-loan-01", "unknown"))),
            excess=75,
            **requested,  # type: ignore[arg-type]
        ),
        events.GrantRequestRefused(request="r-5", verdicts=(verdict,), excess=100, **elsewhere),  # type: ignore[arg-type]
        events.GrantApproved(
            grant="g-1",
            version=1,
            request="r-1",
            institution="bank-a",
            subject=subject,
            by="enterprise",
            channel="online",
            notice=notice,
            details=(detail(TAX), detail(ARREARS)),
            refused=(),
        ),
        events.GrantRefused(request="r-3", institution="bank-b", subject=subject, notice=notice),
        decided("bank-a", (TAX, "permit"), (ARREARS, "permit")),
        decided("bank-a", (TAX, "permit"), (ARREARS, "permit"), attested="ticket"),
        decided("bank-a", (TAX, "permit_masked"), (ARREARS, "deny"), attested="platform"),
        decided("bank-a", (TAX, "deny"), purpose="marketing"),
        decided("bank-a", ("unknown", "deny"), (TAX, "verify_only")),
        decided("bank-b", (TAX, "deny"), (ARREARS, "deny"), attested="platform"),
        decided("bank-b", (TAX, "permit"), purpose="post_loan"),
        decided("unknown", (TAX, "deny"), purpose="unknown"),
        events.GrantNarrowed(version=2, removed=("d2",), remaining=("d1",), **changed),  # type: ignore[arg-type]
        events.GrantRevoked(version=3, **changed),  # type: ignore[arg-type]
    ]


async def append(engine: AsyncEngine, *wanted: events.Event) -> None:
    """Onto the ledger, in one transaction."""
    async with write(engine) as tx:
        for event in wanted:
            tx.append(event)


async def exported(engine: AsyncEngine, folder: Path) -> list[Record]:
    """Every record, as an auditor reads them from an export."""
    await export(engine, folder / "counted.tar")
    with tarfile.open(folder / "counted.tar") as archive:
        names = sorted((m for m in archive.getnames() if m.startswith("tile/entries/")), key=str)
        bundles = {name: archive.extractfile(name) for name in names}
        entries = [entry for file in bundles.values() if file is not None for entry in unverified_entries(file.read())]
    return sorted((decode_record(entry) for entry in entries), key=lambda record: record.index)


def count(records: list[Record], start: datetime, end: datetime) -> dict[str, Counter[Any]]:
    """The report's numbers, counted a second time and in another way: (…, measure) → number, only what is not nought."""
    institutions: Counter[Any] = Counter()
    items: Counter[Any] = Counter()
    codes: Counter[Any] = Counter()
    products: Counter[Any] = Counter()
    words = {
        "grant.requested": "requests",
        "grant.request_refused": "requests_refused",
        "grant.approved": "grants",
        "grant.refused": "grants_refused",
        "grant.narrowed": "narrowed",
        "grant.revoked": "revoked",
    }
    for record in records:
        if not start <= datetime.fromisoformat(record.time) < end:
            continue
        data: Any = record.data
        if record.type in words:
            institutions[data["institution"], words[record.type]] += 1
        if record.type in {"grant.requested", "grant.request_refused"}:
            for product in {line["product"] for line in data.get("details") or data["verdicts"]}:
                key = (data["institution"], product)
                scores = {"requests": 1, "refused": "verdicts" in data, "excessive": data["excess"] > 0, "excess_total": data["excess"]}
                products.update({(*key, name): int(value) for name, value in scores.items()})
                products[*key, "excess_max"] = max(products[*key, "excess_max"], data["excess"])
        if record.type == "grant.approved":
            items.update((data["institution"], d["purpose"], d["item"], "grants") for d in data["details"])
        if record.type == "access.decided":
            who = data["institution"]
            served = data["attested"] != "institution"
            institutions.update([(who, "checks"), (who, data["outcome"])])
            institutions[who, "accesses"] += served and data["outcome"] != "none"
            codes.update((who, code) for code in data["codes"])
            for line in data["items"]:
                given = line["outcome"] != "deny"
                key = (who, data["purpose"], line["item"])
                items[*key, "permits" if given else "denials"] += 1
                items[*key, "accesses"] += given and served
    return {"institutions": +institutions, "products": +products, "items": +items, "codes": +codes}


def told(report: dict[str, Any]) -> dict[str, Counter[Any]]:
    """The numbers of a JSON report in the same form."""
    institutions: Counter[Any] = Counter()
    items: Counter[Any] = Counter()
    for row in report["institutions"]:
        institutions.update({(row["institution"], name): value for name, value in row.items() if name != "institution"})
    for row in report["items"]:
        key = (row["institution"], row["purpose"], row["item"])
        items.update({(*key, name): row[name] for name in ("permits", "accesses", "denials", "grants")})
    codes = Counter({(row["institution"], row["code"]): row["denials"] for row in report["codes"]})
    products: Counter[Any] = Counter()
    for row in report["products"]:
        measures = {name: value for name, value in row.items() if name not in {"institution", "product"}}
        products.update({(row["institution"], row["product"], name): value for name, value in measures.items()})
    return {"institutions": +institutions, "products": +products, "items": +items, "codes": +codes}


def table(body: bytes) -> list[dict[str, str]]:
    """The rows of a CSV report."""
    return list(csv.DictReader(io.StringIO(body.decode("utf-8-sig"))))


async def readings(engine: AsyncEngine) -> list[dict[str, Any]]:
    """Data of all report.read records."""
    async with engine.connect() as connection:
        rows = [msgspec.json.decode(row.bytes) for row in await connection.execute(text("select bytes from ledger_record order by idx"))]
    return [row["data"] for row in rows if row["type"] == "report.read"]


def sha256(body: bytes) -> str:
    """As report.read has it."""
    return hashlib.sha256(body).hexdigest()


def as_json(body: bytes) -> dict[str, Any]:
    """A JSON report."""
    made: dict[str, Any] = json.loads(body)
    return made
