"""The enterprise's part by hand, in a real browser at phone width."""

import re
from urllib.parse import parse_qs, urlsplit

import pytest
from browser_world import PHONE, Service
from playwright.async_api import Browser, Page, expect
from web_world import PASSWORD

pytestmark = pytest.mark.browser


async def sign_in(page: Page, username: str = "zhou.min") -> None:
    """Fill in the form that is open."""
    await page.get_by_label(re.compile("用户名")).fill(username)
    await page.get_by_label(re.compile("密码")).fill(PASSWORD)
    await page.get_by_role("button", name=re.compile("登录")).click()


async def no_sideways_scrolling(page: Page) -> None:
    """On a phone nothing stands outside the screen."""
    for element in await page.locator("main *:visible").all():
        box = await element.bounding_box()
        assert box is None or (box["x"] >= -1 and box["x"] + box["width"] <= PHONE["width"] + 1), await element.evaluate("e => e.outerHTML")


async def test_grant_from_link_to_code(phone: Page, service: Service, bank_url: str) -> None:
    """Link → sign-in → read → tick → a forgotten acknowledgement → approve → back at the bank with a code."""
    await phone.goto(await service.world.push())
    await expect(phone).to_have_url(re.compile("/login"))
    await sign_in(phone)
    await expect(phone.get_by_role("heading", level=1)).to_contain_text("示例银行想查看贵企业的数据")
    boxes = phone.locator("input[name=item]")
    assert [await box.is_checked() for box in await boxes.all()] == [False, False, False]
    await phone.get_by_label(re.compile("纳税信息")).check()
    await phone.get_by_label(re.compile("社会保险费")).check()
    await phone.get_by_role("button", name=re.compile("同意所选")).click()
    await expect(phone.get_by_role("alert")).to_contain_text("请读完风险告知")
    assert [await box.is_checked() for box in await boxes.all()] == [True, True, False]
    await phone.get_by_label(re.compile("我已读完并理解")).check()
    await phone.get_by_role("button", name=re.compile("同意所选")).click()
    await phone.wait_for_url(f"{bank_url}*")
    answer = parse_qs(urlsplit(phone.url).query)
    assert set(answer) == {"code", "state", "iss"}
    assert answer["iss"] == [service.url]
    granted = await service.world.rows("select identifier from grant_item order by seq")
    assert [row.identifier for row in granted] == ["tax-1", "social"]


async def test_back_button_after_approval_explains(phone: Page, service: Service, bank_url: str) -> None:
    """Going back and sending again changes nothing and says so."""
    path = await service.world.push()
    await phone.goto(path)
    await sign_in(phone)
    await phone.get_by_label(re.compile("纳税信息")).check()
    await phone.get_by_label(re.compile("我已读完并理解")).check()
    await phone.get_by_role("button", name=re.compile("同意所选")).click()
    await phone.wait_for_url(f"{bank_url}*")
    await phone.goto(path)
    await expect(phone.get_by_role("heading", level=1)).to_contain_text("已经处理过了")
    assert len(await service.world.rows("select 1 from consent_grant")) == 1


async def test_refusing_everything_leads_back(phone: Page, service: Service, bank_url: str) -> None:
    """One click refuses all, without reading to the end."""
    await phone.goto(await service.world.push())
    await sign_in(phone)
    await phone.get_by_role("button", name=re.compile("全部不同意")).click()
    await phone.wait_for_url(f"{bank_url}*")
    assert parse_qs(urlsplit(phone.url).query)["error"] == ["access_denied"]


async def test_item_and_then_all_are_revoked_by_hand(phone: Page, service: Service, bank_url: str) -> None:
    """From the home page to a revoked item and a revoked grant, each after a question."""
    await phone.goto(await service.world.push())
    await sign_in(phone)
    for name in ("纳税信息", "社会保险费"):
        await phone.get_by_label(re.compile(name)).check()
    await phone.get_by_label(re.compile("我已读完并理解")).check()
    await phone.get_by_role("button", name=re.compile("同意所选")).click()
    await phone.wait_for_url(f"{bank_url}*")
    await phone.goto("/")
    await phone.get_by_role("navigation").get_by_role("link", name="我的授权").click()
    await phone.get_by_role("link", name=re.compile("示例银行")).click()
    await phone.get_by_role("link", name=re.compile("撤回这一项 社会保险费")).click()
    await expect(phone.get_by_role("heading", level=1)).to_contain_text("撤回“社会保险费缴纳情况”？")
    await phone.get_by_role("button", name=re.compile("确认撤回")).click()
    await expect(phone.get_by_role("status")).to_contain_text("已撤回这一项")
    await phone.get_by_role("link", name=re.compile("撤回全部授权")).click()
    await phone.get_by_role("button", name=re.compile("确认撤回")).click()
    await expect(phone.get_by_role("status")).to_contain_text("已撤回全部授权")
    await expect(phone.get_by_role("link", name=re.compile("撤回全部授权"))).to_have_count(0)
    types = await service.world.record_types()
    assert types[-2:] == ["grant.narrowed", "grant.revoked"]


async def test_pages_fit_a_phone_and_can_be_read(browser: Browser, service: Service) -> None:
    """No page scrolls sideways at 390 px, every control has a name, and each page one first heading."""
    context = await browser.new_context(viewport=PHONE, base_url=service.url)
    page = await context.new_page()
    consent = await service.world.push()
    await page.goto("/login")
    await sign_in(page)
    for path in ("/", "/data", "/problems", "/my/grants", "/my/history", consent, "/nothing"):
        await page.goto(path)
        assert await page.locator("h1").count() == 1, path
        assert await page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"], path
        await no_sideways_scrolling(page)
        unnamed = await page.evaluate(
            """() => [...document.querySelectorAll('input:not([type=hidden]), button, a')]
                .filter(e => !(e.labels?.length || e.textContent.trim())).length"""
        )
        assert unnamed == 0, path
    await context.close()


async def test_keyboard_alone_suffices(browser: Browser, service: Service, bank_url: str) -> None:
    """A box is reached, seen to be focused and ticked by keys, and the form is sent by them."""
    context = await browser.new_context(viewport={"width": 1280, "height": 900}, base_url=service.url)
    page = await context.new_page()
    await page.goto(await service.world.push())
    await sign_in(page)
    for name in ("纳税信息", "我已读完并理解"):
        await page.get_by_label(re.compile(name)).focus()
        await page.keyboard.press("Space")
    await page.get_by_role("button", name=re.compile("同意所选")).focus()
    await page.keyboard.press("Enter")
    await page.wait_for_url(f"{bank_url}*")
    assert "code=" in page.url
    await context.close()


async def test_page_in_a_frame_is_refused(browser: Browser, service: Service, bank_url: str) -> None:
    """Another site cannot show the consent page in a frame of its own (clickjacking)."""
    context = await browser.new_context()
    page = await context.new_page()
    await page.goto(bank_url)
    await page.evaluate(
        "url => { const f = document.createElement('iframe'); f.src = url; document.body.append(f) }", f"{service.url}/login"
    )
    await page.wait_for_timeout(500)
    frame = page.frames[1]
    assert "登录" not in await frame.content()
    await context.close()
