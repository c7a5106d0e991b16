"""The consent page: what it says, what it hands on, and what it refuses."""

import asyncio
from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest
import sample_parties
from web_world import ISSUER, REDIRECT, World, detail

from consent.parties.accounts import create_account
from consent.web import notice

pytestmark = pytest.mark.usefixtures("ledger")


async def test_page_says_who_what_and_on_which_terms(world: World) -> None:
    """Institution, purpose, product, items with their fields, how long, how often, what is not given, and nothing ticked."""
    browser = await world.signed_in()
    page = (await browser.open(await world.push())).text
    for words in (
        "示例银行想查看贵企业的数据",
        sample_parties.uscc(1),
        "贷前调查",
        "税务贷",
        "示例机械有限公司",
        "纳税信息",
        "近一年增值税应纳税金额",
        "2030年1月1日 08:00",
        "每天最多 4 次",
        "2025年1月1日起的数据",
        "最多 1 年",
        "税务总局",
        "机构看不到",
        "（证件信息）",
        "必需",
        "可选",
        "提供出去的数据收不回来",
        "同意所选",
        "全部不同意",
    ):
        assert words in page, words
    assert " checked" not in page


async def test_approving_some_grants_those_alone(world: World) -> None:
    """What was ticked is granted, the rest stands as refused, and the browser goes back with code, state and issuer."""
    browser = await world.signed_in()
    reply = await browser.answer(await world.push(), "approve", "d1", "d3")
    assert reply.status_code == 303
    target = urlsplit(reply.headers["location"])
    answer = parse_qs(target.query)
    assert f"{target.scheme}://{target.netloc}{target.path}" == REDIRECT
    assert set(answer) == {"code", "state", "iss"}
    assert (answer["state"], answer["iss"]) == (["st-1"], [ISSUER])
    [grant] = await world.rows("select * from consent_grant")
    assert (grant.notice_version, bytes(grant.notice_sha256)) == (notice.current().version, notice.current().sha256)
    assert [row.identifier for row in await world.rows("select identifier from grant_item order by seq")] == ["tax-1", "estate"]
    assert (await world.record_types())[-1] == "grant.approved"


async def test_notice_is_kept_with_the_ledger(world: World) -> None:
    """The text that was on the screen can be shown years later: its bytes are a blob under the digest in the record."""
    browser = await world.signed_in()
    await browser.answer(await world.push(), "approve", "d1")
    record = msgspec.json.decode((await world.rows("select bytes from ledger_record order by idx desc limit 1"))[0].bytes)
    [blob] = await world.rows(
        "select body from ledger_blob where encode(sha256, 'hex') = :digest", digest=record["data"]["notice"]["sha256"]
    )
    assert blob.body == notice.current().body


@pytest.mark.parametrize("ticked", [(), ("d1",)])
async def test_refusing_grants_nothing_whatever_is_ticked(world: World, ticked: tuple[str, ...]) -> None:
    """全部不同意 needs no acknowledgement, is recorded, and the bank is told access_denied."""
    browser = await world.signed_in()
    reply = await browser.answer(await world.push(), "refuse", *ticked, acknowledged=False)
    assert parse_qs(urlsplit(reply.headers["location"]).query)["error"] == ["access_denied"]
    assert await world.rows("select 1 from consent_grant") == []
    assert (await world.record_types())[-1] == "grant.refused"


async def test_approving_nothing_is_an_error_that_says_what_to_do(world: World) -> None:
    """An empty approval is not taken for a refusal; nothing is used up."""
    browser, path = await world.signed_in(), await world.push()
    reply = await browser.answer(path, "approve")
    assert reply.status_code == 422
    assert "一项都没有勾选" in reply.text
    assert (await browser.answer(path, "approve", "d1")).status_code == 303


async def test_missing_acknowledgement_keeps_what_was_ticked(world: World) -> None:
    """Without the acknowledgement nothing is granted (国办发〔2021〕52号 注3), and no tick is lost."""
    browser = await world.signed_in()
    reply = await browser.answer(await world.push(), "approve", "d1", "d3", acknowledged=False)
    assert reply.status_code == 422
    assert "请读完风险告知" in reply.text
    assert [f'value="{box}" aria-describedby="{box}-what" checked' in reply.text for box in ("d1", "d2", "d3")] == [True, False, True]
    assert await world.rows("select 1 from consent_grant") == []
    reply = await browser.send("/authorize/consent", browser.answers("approve", "d1", "d3"))
    assert reply.status_code == 303


async def test_old_notice_is_not_an_acknowledgement(world: World) -> None:
    """A page made from other texts is shown again; what it said is not what would be recorded."""
    browser = await world.signed_in()
    reply = await browser.answer(await world.push(), "approve", "d1", shown="0" * 32)
    assert reply.status_code == 422
    assert "重新确认" in reply.text


async def test_second_approval_of_the_same_page_is_explained(world: World) -> None:
    """The back button and a double click change nothing and say so."""
    browser, path = await world.signed_in(), await world.push()
    await browser.open(path)
    fields = browser.answers("approve", "d1")
    first = await browser.send("/authorize/consent", fields)
    second = await browser.send("/authorize/consent", fields)
    assert (first.status_code, second.status_code) == (303, 409)
    assert "已经处理过了" in second.text
    assert (await browser.open(path)).status_code == 409
    assert len(await world.rows("select 1 from consent_grant")) == 1


async def test_double_click_grants_once(world: World) -> None:
    """Two posts at the same moment make one grant and one code."""
    browser = await world.signed_in()
    await browser.open(await world.push())
    fields = browser.answers("approve", "d1", "d2")
    replies = await asyncio.gather(*(browser.send("/authorize/consent", fields) for _ in range(4)))
    assert sorted(reply.status_code for reply in replies) == [303, 409, 409, 409]
    assert len(await world.rows("select 1 from authorization_code")) == 1


async def test_expired_request_is_explained(world: World) -> None:
    """A page left open too long says that nothing was provided and where to start again."""
    browser, path = await world.signed_in(), await world.push()
    await browser.open(path)
    fields = browser.answers("approve", "d1")
    async with world.engine.begin() as connection:
        await connection.exec_driver_sql("update pushed_request set expires_at = expires_at - interval '1 day'")
    for reply in (await browser.send("/authorize/consent", fields), await browser.open(path)):
        assert reply.status_code == 410
        assert "已经过期" in reply.text
    assert await world.rows("select 1 from consent_grant") == []


@pytest.mark.parametrize(
    "query",
    [
        "",
        "client_id=bank-a-client",
        "client_id=x&request_uri=y",
        "client_id=%00&request_uri=%ff",
        "client_id=a%0d%0ab&request_uri=%ED%A0%80",
    ],
)
async def test_unknown_request_is_a_page_and_no_redirect(world: World, query: str) -> None:
    """A broken or invented link leads nowhere (RFC 6749 §4.1.2.1)."""
    reply = await (await world.signed_in()).open(f"/authorize/consent?{query}")
    assert reply.status_code == 404
    assert "没有找到这份申请" in reply.text


async def test_request_of_another_client_is_unknown(world: World) -> None:
    """A request_uri is worth something only together with its client."""
    path = (await world.push()).replace("bank-a-client", "bank-b-client")
    assert (await (await world.signed_in()).open(path)).status_code == 404


async def test_form_of_another_session_is_refused(world: World) -> None:
    """A page made for one enterprise cannot be sent by another one, nor forged by a third site."""
    browser, other = await world.signed_in(), await world.signed_in("wu.qi")
    await browser.open(await world.push())
    reply = await other.send("/authorize/consent", browser.answers("approve", "d1"))
    assert reply.status_code == 403
    assert await world.rows("select 1 from consent_grant") == []


async def test_request_for_another_enterprise_is_refused(world: World) -> None:
    """Where the bank named the enterprise, nobody else's operator sees or answers the request."""
    path = await world.push(login_hint=world.parties.enterprise.uscc)
    assert (await (await world.signed_in("wu.qi")).open(path)).status_code == 403
    assert (await (await world.signed_in()).open(path)).status_code == 200


@pytest.mark.parametrize(
    "fields",
    [
        [("item", "d9"), ("decision", "approve")],
        [("item", "tax-1"), ("decision", "approve")],
        [("item", "d1"), ("item", "d1"), ("decision", "approve")],
        [("item", "d1"), ("decision", "approve"), ("decision", "refuse")],
        [("item", "d1"), ("decision", "maybe")],
        [("item", "d1")],
    ],
)
async def test_form_that_does_not_fit_its_page_is_refused(world: World, fields: list[tuple[str, str]]) -> None:
    """Boxes that the page does not have, or an unclear decision, grant nothing and use nothing up."""
    browser, path = await world.signed_in(), await world.push()
    await browser.open(path)
    base = [pair for pair in browser.answers("approve") if pair[0] != "decision"]
    assert (await browser.send("/authorize/consent", [*base, *fields])).status_code == 400
    assert await world.rows("select 1 from consent_grant") == []
    assert (await browser.open(path)).status_code == 200


async def test_persons_item_cannot_be_ticked_for_her(world: World) -> None:
    """What concerns a person has no box on the enterprise's page, and a forged one is refused (单独同意)."""
    path = await world.push(detail("N21-03-04", "tax-1"), detail(sample_parties.PERSON_ITEM, "family", product="tax-loan-01"))
    browser = await world.signed_in()
    page = (await browser.open(path)).text
    assert 'value="d1"' in page
    assert 'value="d2"' not in page
    assert "企业不能代为同意" in page
    assert (await browser.send("/authorize/consent", browser.answers("approve", "d1", "d2"))).status_code == 400


async def test_person_consents_to_her_own_item(world: World) -> None:
    """The person sees her item with a box and the enterprise's without, and her consent is recorded as hers."""
    path = await world.push(detail("N21-03-04", "tax-1"), detail(sample_parties.PERSON_ITEM, "family"))
    browser = await world.signed_in("shi.li")
    page = (await browser.open(path)).text
    assert "想查看涉及您本人的数据" in page
    assert 'value="d2"' in page
    assert 'value="d1"' not in page
    assert (await browser.answer(path, "approve", "d2")).status_code == 303
    [grant] = await world.rows("select granted_by, subject_id from consent_grant")
    assert (grant.granted_by, grant.subject_id) == ("person", world.parties.person.id)


async def test_person_with_two_enterprises_says_for_which(world: World) -> None:
    """Nobody guesses which enterprise a person means; choosing grants nothing."""
    from consent.ledger.writer import write
    from consent.parties import service

    async with write(world.engine) as tx:
        await service.link_person(
            tx, person_id=world.parties.person.id, enterprise_id=world.parties.other_enterprise.id, role="shareholder"
        )
    browser, path = await world.signed_in("shi.li"), await world.push(detail(sample_parties.PERSON_ITEM, "family"))
    page = (await browser.open(path)).text
    assert "为哪一家企业" in page
    chosen = f"{path}&enterprise={world.parties.other_enterprise.id}"
    assert (await browser.answer(chosen, "approve", "d1")).status_code == 303
    assert [row.enterprise_id for row in await world.rows("select enterprise_id from consent_grant")] == [world.parties.other_enterprise.id]


async def test_texts_of_others_are_escaped(world: World) -> None:
    """What an institution or a client wrote is shown as text, never as markup."""
    async with world.engine.begin() as connection:
        await connection.exec_driver_sql("update institution set name_zh = '<script>x</script>' where id = 'bank-a'")
    page = (await (await world.signed_in()).open(await world.push(detail("N21-03-04", 'a"><b')))).text
    assert "<script" not in page
    assert 'a"><b' not in page


async def test_unregistered_enterprise_cannot_grant(world: World) -> None:
    """Without real-name registration nothing can be granted online (国办发〔2021〕52号 注3), and the page says why."""
    async with world.engine.begin() as connection:
        await connection.exec_driver_sql("update subject set level = 'registered' where kind = 'enterprise'")
    browser = await world.signed_in()
    reply = await browser.answer(await world.push(), "approve", "d1")
    assert reply.status_code == 403
    assert "实名" in reply.text


async def test_page_may_lead_to_the_banks_origin_alone(world: World) -> None:
    """Chromium holds form-action against the redirect after the form: the bank's origin stands there, and nobody else's."""
    reply = await (await world.signed_in()).open(await world.push())
    assert "form-action 'self' https://bank-a.example;" in reply.headers["content-security-policy"]
    assert "script-src" not in reply.headers["content-security-policy"]


async def test_enterprise_account_names_who_acts(world: World) -> None:
    """The page says on whose behalf and by whom; a second operator of the same enterprise is shown by her own name."""
    await create_account(
        world.engine,
        username="qian.er",
        password="another-lotus-by-the-bridge",
        display_name="钱二",
        subject_id=world.parties.enterprise.id,
    )
    browser = world.browser()
    await browser.sign_in("qian.er", "another-lotus-by-the-bridge")
    assert "经办：钱二" in (await browser.open(await world.push())).text


async def test_request_that_expires_between_page_and_click(world: World) -> None:
    """The page of a request may be finished for a while after its request_uri lapsed, and not longer."""
    browser = await world.signed_in()
    assert (await browser.open(await world.push(lifetime=timedelta(seconds=-600)))).status_code == 200
    assert (await browser.open(await world.push(lifetime=timedelta(seconds=-1300)))).status_code == 410
