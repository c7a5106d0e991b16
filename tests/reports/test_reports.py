"""The access report: its numbers, who may read it, that reading is recorded first, and its three forms."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from reports_world import (
    ARREARS,
    PAGE,
    TAX,
    append,
    as_json,
    count,
    exported,
    reader,
    readings,
    sha256,
    something_of_everything,
    table,
    told,
)
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from web_world import HTML, World, make_app

from consent.db import create_engine
from consent.ledger.signer import Signer
from consent.reports import routes

FORMS = ("", ".json", ".csv")

pytestmark = pytest.mark.usefixtures("ledger")


async def filled(world: World, signer: Signer) -> Any:
    """Something of everything on a signed ledger, and the regulator's browser."""
    await append(world.engine, *something_of_everything())
    await signer.sign_now()
    return await reader(world)


async def test_numbers_equal_an_independent_count(world: World, signer: Signer, tmp_path: Path) -> None:
    """Counted again from the exported ledger, in another way: the same numbers, in JSON and in CSV; and none of them is missing."""
    browser = await filled(world, signer)
    report = as_json((await browser.open(f"{PAGE}.json")).content)
    records = await exported(world.engine, tmp_path)
    start, end = (datetime.fromisoformat(report[name]) for name in ("from", "to"))
    expected = count([r for r in records if r.index <= report["ledger"]["last"]], start, end)
    assert told(report) == expected
    measures = {key[-1] for key in expected["institutions"]}
    assert measures == {
        "checks", "full", "partial", "none", "accesses", "requests", "requests_refused", "grants", "grants_refused", "narrowed", "revoked",
    }  # fmt: skip
    assert {key[-1] for key in expected["items"]} == {"permits", "accesses", "denials", "grants"}
    rows = table((await browser.open(f"{PAGE}.csv")).content)
    flat = {(row["institution"], row["measure"]): int(row["value"]) for row in rows if row["section"] == "institution"}
    assert {key: value for key, value in flat.items() if value} == dict(expected["institutions"])
    flat_items = {
        (row["institution"], row["purpose"], row["item"], row["measure"]): int(row["value"]) for row in rows if row["section"] == "item"
    }
    assert {key: value for key, value in flat_items.items() if value} == dict(expected["items"])
    assert {(row["institution"], row["measure"]): int(row["value"]) for row in rows if row["section"] == "code"} == dict(expected["codes"])
    assert {key[-1] for key in expected["products"]} == {"requests", "refused", "excessive", "excess_total", "excess_max"}
    flat_products = {
        (row["institution"], row["product"] or None, row["measure"]): int(row["value"]) for row in rows if row["section"] == "product"
    }
    assert {key: value for key, value in flat_products.items() if value} == dict(expected["products"])


async def test_numbers_by_hand(world: World, signer: Signer) -> None:
    """A few of them counted by a person."""
    report = as_json((await (await filled(world, signer)).open(f"{PAGE}.json")).content)
    bank = next(row for row in report["institutions"] if row["institution"] == "bank-a")
    assert bank == {
        "institution": "bank-a", "checks": 5, "full": 2, "partial": 2, "none": 1, "accesses": 2, "requests": 1, "requests_refused": 2,
        "grants": 1, "grants_refused": 0, "narrowed": 1, "revoked": 1,
    }  # fmt: skip
    tax = next(row for row in report["items"] if (row["institution"], row["purpose"], row["item"]) == ("bank-a", "pre_loan", TAX))
    assert (tax["permits"], tax["accesses"], tax["denials"], tax["grants"]) == (4, 2, 0, 1)


async def test_excess_by_bank_and_product_by_hand(world: World, signer: Signer) -> None:
    """A request without a product stands apart, one with two counts for both, and the page names mean and highest score."""
    browser = await filled(world, signer)
    report = as_json((await browser.open(f"{PAGE}.json")).content)
    rows = {(row["institution"], row["product"]): row for row in report["products"]}
    assert list(rows) == [("bank-a", None), ("bank-a", "tax-loan-01"), ("bank-a", "unknown"), ("bank-b", None)]
    assert rows["bank-a", None] == {
        "institution": "bank-a", "product": None, "requests": 3, "refused": 2, "excessive": 2, "excess_total": 115, "excess_max": 75,
    }  # fmt: skip
    assert rows["bank-a", "tax-loan-01"]["requests"] == 1
    assert report["names"]["products"]["bank-a"]["unknown"] == "未登记的产品"
    page = (await browser.open(PAGE)).text
    assert "授权申请的必要性" in page
    assert "38.3" in page
    assert "未登记的产品" in page


async def test_bounds_of_the_period(world: World, signer: Signer) -> None:
    """From is within, to is not: moved by a millisecond around the records' instant, they come and go."""
    browser = await filled(world, signer)
    [row] = await world.rows(
        "select time from ledger_record where idx = (select min(idx) from ledger_record where bytes like '%access.decided%')"
    )
    at = row.time.astimezone(UTC)
    tick = timedelta(milliseconds=1)

    async def checks(start: datetime, end: datetime) -> int:
        query = {"from": start.isoformat(), "to": end.isoformat()}
        report = as_json((await browser.open(f"{PAGE}.json", params=query)).content)
        return sum(one["checks"] for one in report["institutions"])

    assert await checks(at, at + tick) == 8
    assert await checks(at - tick, at) == 0
    assert await checks(at + tick, at + tick * 2) == 0


async def test_only_signed_records_count(world: World, signer: Signer) -> None:
    """What no checkpoint covers yet is not reported; once signed, it is."""
    browser = await filled(world, signer)
    before = as_json((await browser.open(f"{PAGE}.json")).content)
    await append(world.engine, *something_of_everything())
    unsigned = as_json((await browser.open(f"{PAGE}.json")).content)
    assert (unsigned["institutions"], unsigned["ledger"]) == (before["institutions"], before["ledger"])
    await signer.sign_now()
    after = as_json((await browser.open(f"{PAGE}.json")).content)
    assert told(after)["institutions"]["bank-a", "checks"] == 10
    assert int(after["ledger"]["checkpoint"].split("\n")[1]) > after["ledger"]["last"]


async def test_no_checkpoint_yet(world: World) -> None:
    """503 until the first one is signed, and no reading is recorded."""
    browser = await reader(world)
    for form in FORMS:
        assert (await browser.open(PAGE + form)).status_code == 503
    assert await readings(world.engine) == []


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("who", ["anonymous", "enterprise", "operator", "auditor", "regulator"])
async def test_who_may_read(world: World, signer: Signer, form: str, who: str) -> None:
    """Supervisors alone; others learn nothing, and a person without a session is sent to sign in and back."""
    await signer.sign_now()
    if who == "anonymous":
        browser = world.browser()
    else:
        browser = await world.signed_in("zhou.min") if who == "enterprise" else await reader(world, who)
    reply = await browser.open(PAGE + form, follow_redirects=False)
    assert reply.status_code == {"anonymous": 303, "regulator": 200}.get(who, 403)
    if who == "anonymous":
        assert reply.headers["location"].startswith("/login?next=%2Freports%2Faccesses")
        assert (await browser.client.get(PAGE + form, headers={"accept": "application/json"})).status_code == 401
    assert len(await readings(world.engine)) == (who == "regulator")


@pytest.mark.parametrize("form", FORMS)
async def test_reading_is_recorded_before_it_is_answered(world: World, signer: Signer, form: str) -> None:
    """One record for each reading: by whom, which period and form, over which records, and the digest of the very bytes."""
    browser = await filled(world, signer)
    reply = await browser.open(f"{PAGE}{form}?from=2026-01-01T00:00:00Z&to=2026-12-31T16:00:00Z")
    assert reply.status_code == 200
    assert reply.headers["cache-control"] == "no-store"
    [reading] = await readings(world.engine)
    [account] = await world.rows("select id from account where username = 'staff.regulator'")
    assert reading["sha256"] == sha256(reply.content)
    assert (reading["reader"], reading["format"]) == (str(account.id), form[1:] or "page")
    assert (reading["from"], reading["to"]) == ("2026-01-01T00:00:00.000Z", "2026-12-31T16:00:00.000Z")
    again = as_json((await browser.open(f"{PAGE}.json?from=2026-01-01T00:00:00Z&to=2026-12-31T16:00:00Z")).content)
    assert (reading["first"], reading["last"]) == (again["ledger"]["first"], again["ledger"]["last"])
    assert reading["report"] != again["report"]


async def test_a_reading_that_cannot_be_recorded_is_not_shown(
    world: World, signer: Signer, owner_engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While nothing can be written, the report answers 503 and no number."""
    browser = await filled(world, signer)
    async with owner_engine.begin() as connection:
        await connection.execute(text("set local idle_in_transaction_session_timeout = '60s'"))
        await connection.execute(text("lock table ledger_record in share mode"))
        reply = await browser.open(f"{PAGE}.json")
        assert reply.status_code == 503
        assert "bank-a" not in reply.text
    assert await readings(world.engine) == []


@pytest.mark.parametrize(
    "query", ["from=x", "to=x", "from=2026-11-21&to=2026-11-20", "from=2024-01-01&to=2026-01-01", "form=2026-11-01", "to="]
)
async def test_refused_periods(world: World, signer: Signer, query: str) -> None:
    """400 in each form, as a page for people and a problem for programs, and nothing is recorded; an empty bound is no bound."""
    await signer.sign_now()
    browser = await reader(world)
    for form in FORMS:
        reply = await browser.open(f"{PAGE}{form}?{query}")
        assert reply.status_code == (200 if query == "to=" else 400)
        if query != "to=":
            problem = await browser.client.get(f"{PAGE}{form}?{query}", headers={"accept": "application/json"})
            assert problem.json()["code"] == "invalid_request"
    assert len(await readings(world.engine)) == (3 if query == "to=" else 0)


async def test_shape_of_the_json(world: World, signer: Signer) -> None:
    """Its members, and a Chinese name for every word in the tables."""
    report = as_json((await (await filled(world, signer)).open(f"{PAGE}.json")).content)
    assert list(report) == ["report", "from", "to", "ledger", "institutions", "products", "items", "codes", "names"]
    assert list(report["ledger"]) == ["first", "last", "checkpoint"]
    names = report["names"]
    assert set(names["institutions"]) == {row["institution"] for row in report["institutions"]}
    assert set(names["purposes"]) == {row["purpose"] for row in report["items"]}
    assert set(names["items"]) == {row["item"] for row in report["items"]}
    assert set(names["codes"]) == {row["code"] for row in report["codes"]}
    assert names["institutions"] == {"bank-a": "示例银行", "bank-b": "示例银行", "unknown": "未登记的机构"}
    assert (names["purposes"]["unknown"], names["items"]["unknown"]) == ("未列入的用途", "未列入目录的信息项")
    assert names["purposes"]["marketing"].endswith("（非融资用途）")
    flat = [group for kind, group in names.items() if kind != "products"]
    assert all(re.search("[\u4e00-\u9fff]", name) for group in flat for name in group.values())
    assert {(who, code) for who, group in names["products"].items() for code in group} == {
        (row["institution"], row["product"]) for row in report["products"] if row["product"] is not None
    }


async def test_page(world: World, signer: Signer) -> None:
    """Names in Chinese, unknown words in plain Chinese, the range of records, downloads of the same period, and the quick links."""
    browser = await filled(world, signer)
    page = (await browser.open(PAGE)).text
    for words in (
        "示例银行", "未登记的机构", "未列入的用途", "未列入目录的信息项", "贷前调查", "贷后", "item.not_granted", "本月", "上月",
        "本季度", "上季度",        "本次查阅已记入账本", f"{PAGE}.csv?from=20", f"{PAGE}.json?from=20",
    ):  # fmt: skip
        assert words in page, words
    assert ">unknown<" not in page
    for path in re.findall(rf'href="({PAGE}\?[^"]*)"', page):
        assert (await browser.open(path.replace("&amp;", "&"))).status_code == 200, path


async def test_page_of_an_empty_period(world: World, signer: Signer) -> None:
    """A sentence instead of empty tables: without any record, and with records that are none of the report's."""
    await signer.sign_now()
    browser = await reader(world)
    without = (await browser.open(f"{PAGE}?from=2020-01-01&to=2020-01-31")).text
    assert "这段时间没有授权或查询" in without
    assert "账本在这段时间没有记录" in without
    registrations = (await browser.open(PAGE)).text
    assert "已核对账本第 0 至" in registrations
    for page in (without, registrations):
        assert "<table" not in page
    report = as_json((await browser.open(f"{PAGE}.json?from=2020-01-01&to=2020-01-31")).content)
    assert (report["ledger"]["first"], report["ledger"]["last"], report["institutions"]) == (None, None, [])
    assert [row["section"] for row in table((await browser.open(f"{PAGE}.csv?from=2020-01-01&to=2020-01-31")).content)] == ["report"] * 5


async def test_csv_for_spreadsheets(world: World, signer: Signer) -> None:
    """UTF-8 with a byte order mark, named after its days, and a name that begins like a formula is shown as text."""
    browser = await filled(world, signer)
    async with world.engine.begin() as connection:
        await connection.execute(text("update institution set name_zh = '=HYPERLINK(\"x\")' where id = 'bank-b'"))
    reply = await browser.open(f"{PAGE}.csv?from=2026-11-01&to=2027-10-31")
    assert reply.content.startswith(b"\xef\xbb\xbf")
    assert reply.headers["content-type"] == "text/csv; charset=utf-8"
    assert reply.headers["content-disposition"] == 'attachment; filename="accesses-2026-11-01-2027-10-31.csv"'
    rows = table(reply.content)
    assert {row["institution_name"] for row in rows if row["institution"] == "bank-b"} == {'\'=HYPERLINK("x")'}
    assert not [cell for row in rows for cell in row.values() if cell[:1] in {"=", "+", "-", "@"}]
    about = {row["measure"]: row["value"] for row in rows if row["section"] == "report"}
    assert (about["from"], about["to"]) == ("2026-10-31T16:00:00.000Z", "2027-10-31T16:00:00.000Z")
    assert ARREARS in {row["item"] for row in rows}


async def test_database_away() -> None:
    """503 as a page and as a problem, never a 500."""
    engine = create_engine("postgresql+asyncpg://nobody:x@127.0.0.1:1/none")
    app = make_app(engine, "http://127.0.0.1:8080", *routes.handlers)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1:8080") as client:
        client.cookies.set("consent-session", "x" * 43)
        for form in FORMS:
            for headers in (HTML, {"accept": "application/json"}):
                assert (await client.get(PAGE + form, headers=headers)).status_code == 503
    await engine.dispose()
