"""What an enterprise sees of its own grants and of who asked, and how it takes back."""

import msgspec
import pytest
import sample_parties
from sqlalchemy import text
from web_world import Browser, World, detail

from consent.ledger.events import AccessDecided, encode
from consent.ledger.parts import DecidedItem
from consent.ledger.writer import write
from consent.parties.pseudonyms import pseudonym_for

pytestmark = pytest.mark.usefixtures("ledger")


async def granted(world: World, *boxes: str) -> tuple[Browser, str]:
    """A browser whose enterprise has just granted these boxes of the standard request, and the grant's id."""
    browser = await world.signed_in()
    assert (await browser.answer(await world.push(), "approve", *boxes)).status_code == 303
    [grant] = await world.rows("select id from consent_grant")
    return browser, grant.id


async def test_grants_are_listed_with_their_state(world: World) -> None:
    """Who, what for, which items, until when."""
    browser = await world.signed_in()
    assert "还没有授权过任何机构" in (await browser.open("/my/grants")).text
    browser, grant_id = await granted(world, "d1", "d2")
    page = (await browser.open("/my/grants")).text
    for words in ("示例银行", "贷前调查", "纳税信息", "社会保险费缴纳情况", "2/2 项有效", "有效", f"/my/grants/{grant_id}"):
        assert words in page, words


async def test_grant_says_what_the_institution_sees_and_does_not(world: World) -> None:
    """Fields, terms, what is withheld, what was left out, and the record of the grant."""
    browser, grant_id = await granted(world, "d1", "d3")
    page = (await browser.open(f"/my/grants/{grant_id}")).text
    [record] = await world.rows("select max(idx) as idx from ledger_record")
    for words in (
        "近一年增值税应纳税金额",
        "每天最多 4 次",
        "今天已使用 0 次",
        "机构看不到",
        "当时没有同意的",
        f"账本第 {record.idx} 条",
        f'href="/ledger/proof/{record.idx}" download',
        "版本 2026-11，已确认",
    ):
        assert words in page, words


async def test_one_item_is_revoked_after_a_question(world: World) -> None:
    """Looking changes nothing; confirming ends that item, at once and for good, and leaves the others."""
    browser, grant_id = await granted(world, "d1", "d2")
    page = (await browser.open(f"/my/grants/{grant_id}/revoke?item=1")).text
    assert "撤回“纳税信息”？" in page
    assert (await world.record_types())[-1] == "grant.approved"
    reply = await browser.send(f"/my/grants/{grant_id}/revoke", {"csrf": browser.hidden("csrf"), "item": browser.hidden("item")})
    assert (reply.status_code, reply.headers["location"]) == (303, f"/my/grants/{grant_id}?done=item")
    assert [row.status for row in await world.rows("select status from grant_item order by seq")] == ["revoked", "active"]
    assert (await world.record_types())[-1] == "grant.narrowed"
    page = (await browser.open(reply.headers["location"])).text
    assert "已撤回这一项，立即生效" in page
    assert "撤回其中一部分" in page


async def test_everything_is_revoked_once(world: World) -> None:
    """Sent twice it is recorded once; the page then offers nothing more to take back."""
    browser, grant_id = await granted(world, "d1", "d2")
    await browser.open(f"/my/grants/{grant_id}/revoke")
    fields = {"csrf": browser.hidden("csrf")}
    for _ in range(2):
        assert (await browser.send(f"/my/grants/{grant_id}/revoke", fields)).status_code == 303
    assert (await world.record_types()).count("grant.revoked") == 1
    page = (await browser.open(f"/my/grants/{grant_id}")).text
    assert "已撤回" in page
    assert f"/my/grants/{grant_id}/revoke" not in page
    assert (await browser.open(f"/my/grants/{grant_id}/revoke")).status_code == 303


async def test_open_loan_is_warned_of_and_does_not_forbid(world: World) -> None:
    """Revoking while a loan is open is allowed, with a warning first."""
    browser, grant_id = await granted(world, "d1")
    assert "未结清的融资" not in (await browser.open(f"/my/grants/{grant_id}/revoke")).text
    async with world.engine.begin() as connection:
        await connection.execute(
            text("insert into loan (institution_id, id, subject_id, phase) values ('bank-a', 'l-1', :subject, 'disbursed')"),
            {"subject": world.parties.enterprise.id},
        )
    assert "未结清的融资" in (await browser.open(f"/my/grants/{grant_id}/revoke")).text
    assert (await browser.send(f"/my/grants/{grant_id}/revoke", {"csrf": browser.hidden("csrf")})).status_code == 303


async def test_others_grants_do_not_exist(world: World) -> None:
    """Another enterprise, and an invented id, get the same answer, looking and revoking."""
    _, grant_id = await granted(world, "d1")
    other = await world.signed_in("wu.qi")
    await other.open("/")
    fields = {"csrf": other.hidden("csrf")}
    for path in (f"/my/grants/{grant_id}", "/my/grants/none", "/my/grants/%00", "/my/grants/" + "a" * 100):
        assert (await other.open(path)).status_code == 404
        assert (await other.open(f"{path}/revoke")).status_code == 404
        assert (await other.send(f"{path}/revoke", fields)).status_code == 404
    assert grant_id not in (await other.open("/my/grants")).text
    assert (await world.record_types())[-1] == "grant.approved"


async def test_item_that_the_grant_has_not_is_refused(world: World) -> None:
    """An invented item changes nothing."""
    browser, grant_id = await granted(world, "d1")
    await browser.open("/")
    for item in ("9", "d1", "1 ", "\N{FULLWIDTH DIGIT ONE}"):
        assert (
            await browser.send(f"/my/grants/{grant_id}/revoke", {"csrf": browser.hidden("csrf") if browser.page else "", "item": item})
        ).status_code == 400
        await browser.open("/")
    assert (await world.record_types())[-1] == "grant.approved"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("update institution set status = 'suspended' where id = 'bank-a'", "平台已暂停或限制这家机构"),
        ("update consent_grant set status = 'suspended'", "平台已暂停这份授权"),
        ("update grant_item set detail = jsonb_set(detail, '{valid_until}', '\"2026-01-01T00:00:00Z\"')", "已到期"),
    ],
)
async def test_state_is_computed_when_read(world: World, change: str, words: str) -> None:
    """Suspension and expiry show on the page without any job having run."""
    browser, grant_id = await granted(world, "d1")
    async with world.engine.begin() as connection:
        await connection.exec_driver_sql(change)
    assert words in (await browser.open(f"/my/grants/{grant_id}")).text


async def record_access(world: World, **members: object) -> int:
    """A decision with its record, as the check path leaves them."""
    identifier = world.parties.enterprise.uscc or ""
    async with write(world.engine) as tx:
        values = {
            "id": f"dec-{tx.size}",
            "institution": "bank-b",
            "client": "bank-b-client",
            "subject": await pseudonym_for(tx.connection, "bank-b", identifier),
            "action": "query",
            "purpose": "pre_loan",
            "via": [],
            "service": "single",
            "told": {"verified": True, "terminal": "unregistered", "loan": None, "uncounted": []},
            "items": [
                {
                    "item": "N21-03-04",
                    "fields_requested": None,
                    "outcome": "deny",
                    "basis": None,
                    "grant": None,
                    "identifier": None,
                    "fields": [],
                    "withheld": [],
                    "codes": ["item.not_granted"],
                    "obligations": [],
                    "flags": [],
                }
            ],
            "decision": False,
            "outcome": "none",
            "codes": ["item.not_granted"],
            "attested": "institution",
            "uses": [],
            "policy": "p1",
            "catalogue": "c1",
        } | members
        known = {name: values.get(name) for name in AccessDecided.__struct_fields__}
        keep = set(DecidedItem.__struct_fields__)
        known["items"] = [{name: item.get(name) for name in keep} for item in msgspec.json.decode(msgspec.json.encode(known["items"]))]
        event = msgspec.convert(known, AccessDecided)
        assert encode(event)
        index = tx.append(event)
        await tx.connection.execute(
            text("""
            insert into decision (id, idx, client_id, institution_id, identifier, request_hash, response, created_at)
            values (:id, :idx, 'bank-b-client', 'bank-b', :identifier, :hash, :hash, :at)
            """),
            {"id": values["id"], "idx": index, "identifier": identifier, "hash": bytes(32), "at": tx.time},
        )
    return index


async def test_history_shows_denials_with_their_record(world: World) -> None:
    """Who asked in vain is shown too, with the reason and the record's place."""
    index = await record_access(world)
    page = (await (await world.signed_in()).open("/my/history")).text
    for words in ("示例银行", "贷前调查", "查询明细", "纳税信息", "拒绝", f"账本第 {index} 条", f'href="/ledger/proof/{index}" download'):
        assert words in page, words


async def test_history_is_ones_own(world: World) -> None:
    """Another enterprise does not see who asked about this one."""
    await record_access(world)
    assert "还没有机构查询过" in (await (await world.signed_in("wu.qi")).open("/my/history")).text


async def test_unknown_words_of_a_caller_are_shown_as_such(world: World) -> None:
    """An item, purpose or institution that nobody registered stands as unknown in the record and on the page."""
    item = {
        "item": "unknown",
        "fields_requested": None,
        "outcome": "deny",
        "basis": None,
        "grant": None,
        "identifier": None,
        "fields": [],
        "withheld": [],
        "codes": ["item.unknown"],
    }
    await record_access(world, purpose="unknown", action="unknown", items=[item], codes=["item.unknown", "purpose.unknown"])
    page = (await (await world.signed_in()).open("/my/history")).text
    for words in ("目录里没有的数据项", "不明用途", "不明操作"):
        assert words in page, words


async def test_history_pages_by_record(world: World) -> None:
    """Older requests stand on further pages; a position that is not ours is refused."""
    indexes = [await record_access(world) for _ in range(31)]
    browser = await world.signed_in()
    page = (await browser.open("/my/history")).text
    assert f"账本第 {indexes[0]} 条" not in page
    assert f"/my/history?before={indexes[1]}" in page
    assert f"账本第 {indexes[0]} 条" in (await browser.open(f"/my/history?before={indexes[1]}")).text
    for bad in ("x", "-1", "9" * 30, "%00"):
        assert (await browser.open(f"/my/history?before={bad}")).status_code == 400


async def test_person_sees_only_what_her_own_consent_was_used_for(world: World) -> None:
    """Of a request that used a person's consent she sees her item; the enterprise's items in it are not hers to know."""
    person = await world.signed_in("shi.li")
    await person.answer(await world.push(detail(sample_parties.PERSON_ITEM, "family")), "approve", "d1")
    [grant] = await world.rows("select id from consent_grant")
    base = {"fields_requested": None, "fields": [], "withheld": [], "codes": []}
    hers = {"item": sample_parties.PERSON_ITEM, "outcome": "permit", "basis": "person", "grant": grant.id, "identifier": "d1"} | base
    theirs = (
        {"item": "N21-03-04", "outcome": "deny", "basis": None, "grant": None, "identifier": None} | base | {"codes": ["item.not_granted"]}
    )
    await record_access(world)
    await record_access(world, items=[hers, theirs], outcome="partial")
    page = (await person.open("/my/history")).text
    assert page.count('class="event"') == 1
    assert "依据本人的同意" in page
    assert "/ledger/proof/" not in page
    assert "纳税信息" not in page


async def test_home_counts_what_there_is(world: World) -> None:
    """Grants in force and the requests of the last thirty days."""
    await record_access(world)
    browser, _ = await granted(world, "d1")
    page = (await browser.open("/")).text
    assert page.count('<span class="number">1</span>') == 2
