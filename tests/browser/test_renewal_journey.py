"""A consent that changes an earlier one, by hand: the page says what becomes of what she granted before."""

import os
import re
from pathlib import Path

import pytest
from browser_world import PHONE, Service
from playwright.async_api import Page, expect
from web_world import PASSWORD

pytestmark = pytest.mark.browser
ITEM, OTHER = re.compile("纳税信息"), re.compile("社会保险费")


async def agree(page: Page, *items: re.Pattern[str], bank_url: str) -> None:
    """Tick these, acknowledge, approve."""
    for item in items:
        await page.get_by_label(item).check()
    await page.get_by_label(re.compile("我已读完并理解")).check()
    await page.get_by_role("button", name=re.compile("同意所选")).click()
    await page.wait_for_url(f"{bank_url}*")


@pytest.mark.parametrize(("renewal", "says", "left"), [("replace", "代替", ["tax-1"]), ("merge", "加入", ["social", "tax-1"])])
async def test_changing_a_grant(phone: Page, service: Service, bank_url: str, renewal: str, says: str, left: list[str]) -> None:
    """Granted once; a second request for the same grant names it and its day, and does what it says."""
    await phone.goto(await service.world.push())
    await phone.get_by_label(re.compile("用户名")).fill("zhou.min")
    await phone.get_by_label(re.compile("密码")).fill(PASSWORD)
    await phone.get_by_role("button", name=re.compile("登录")).click()
    await agree(phone, ITEM, OTHER, bank_url=bank_url)
    (grant,) = await service.world.rows("select id from consent_grant")
    await phone.goto(await service.world.push(renewal=renewal, grant_id=grant.id))
    relation = phone.get_by_role("definition").filter(has_text="给这家机构的授权")
    await expect(relation).to_contain_text(says)
    box = await relation.bounding_box()
    assert box is not None
    assert box["x"] + box["width"] <= PHONE["width"]
    if folder := os.environ.get("SCREENSHOTS"):
        await phone.screenshot(path=Path(folder) / f"{renewal}.png")
    await agree(phone, ITEM, bank_url=bank_url)
    active = await service.world.rows("select identifier from grant_item where status = 'active' order by identifier")
    assert [row.identifier for row in active] == left
