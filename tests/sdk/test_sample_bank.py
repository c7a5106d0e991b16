"""The sample bank and platform that a person clicks through: every way out of a page is a page."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import msgspec
import pytest
from service_world import Service, answer_page

from consent.catalogue.load import load
from consent.demo.bank import Bank, bank_app
from consent.demo.platform import PLACEHOLDER, platform_app
from consent.demo.sample import PRODUCT, PURPOSE, Enterprise, request_details
from consent_sdk import AsyncConsentClient

BANK = "http://bank.example"

pytestmark = pytest.mark.xdist_group("service")  # one service for all of them, not one per worker


class Visit:
    """A person at the sample bank, and the enterprise's clerk at the service."""

    def __init__(self, service: Service, http: httpx.AsyncClient, enterprise: Enterprise) -> None:
        self.service, self.http, self.enterprise = service, http, enterprise

    async def apply(self, *leave_out: int, decision: str = "approve") -> str:
        """Press the first button, decide at the service, come back. Returns the page."""
        sent = await self.http.post("/apply")
        assert sent.status_code == 303
        returned = httpx.URL(answer_page(self.service, sent.headers["location"], self.enterprise, *leave_out, decision=decision))
        return (await self.http.get(f"/callback?{returned.query.decode()}", follow_redirects=True)).text

    async def fetch(self) -> str:
        """Press the second button."""
        return (await self.http.post("/fetch", follow_redirects=True)).text


@pytest.fixture
async def visit(service: Service, request: pytest.FixtureRequest) -> AsyncIterator[Visit]:
    """Bank and platform in this process; without a platform if the test says so."""
    facts, enterprise = service.facts, service.enterprise()
    clients = [AsyncConsentClient(facts.issuer, who.client_id, who.private_jwk, institution_id=who.institution_id,
                                  redirect_uri=getattr(who, "redirect_uri", None)) for who in (facts.bank, facts.platform)]  # fmt: skip
    bank = Bank(
        client=clients[0],
        name="示例市远山银行",
        institution_id=facts.bank.institution_id,
        enterprise=enterprise.id,
        purpose=PURPOSE,
        product=PRODUCT,
        details=request_details(),
        platform_url="http://platform.example",
        labels={code: item.name.zh for code, item in load().items.items()},
    )
    app = bank_app(bank)
    await app.state.http.aclose()
    transport: Any = httpx.ASGITransport(platform_app(clients[1]))
    if getattr(request, "param", None) == "no platform":
        transport = httpx.MockTransport(lambda _: (_ for _ in ()).throw(httpx.ConnectError("away")))
    app.state.http = httpx.AsyncClient(transport=transport)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=BANK) as http:
        yield Visit(service, http, enterprise)
    await app.state.http.aclose()
    for client in clients:
        await client.close()


async def test_granted_in_part_and_fetched(visit: Visit) -> None:
    """What was given and left out, then the data of what was given, through the platform; the delivery is on record."""
    page = (await visit.http.get("/")).text
    assert page.count("必需 required") == 3
    page = await visit.apply(3)
    assert (page.count("已授权</span>"), page.count("未授权</span>")) == (3, 1)
    page = await visit.fetch()
    assert "允许查询" in page
    assert PLACEHOLDER in page
    assert "已记入账本第" in page


async def test_refused_after_a_grant(visit: Visit) -> None:
    """An application that is refused leaves nothing of the one before on the page."""
    assert "授权结果" in await visit.apply()
    page = await visit.apply(decision="refuse")
    assert "企业未授权" in page
    assert "授权结果" not in page


async def test_links_that_do_not_belong_here(visit: Visit) -> None:
    """A callback that nobody asked for, or with another state, is told so and grants nothing."""
    assert "已经用过" in (await visit.http.get("/callback?code=c&state=s", follow_redirects=True)).text
    await visit.http.post("/apply")
    page = (await visit.http.get("/callback?code=c&state=s", follow_redirects=True)).text
    assert "不符" in page
    assert "授权结果" not in page


@pytest.mark.parametrize("visit", ["no platform"], indirect=True)
async def test_platform_away(visit: Visit) -> None:
    """The permit stands, the data does not come, and the page says so."""
    await visit.apply()
    page = await visit.fetch()
    assert "没有应答" in page
    assert PLACEHOLDER not in page


async def test_platform_refuses_what_was_not_permitted(visit: Visit) -> None:
    """A made-up ticket gets codes and no data."""
    facts = visit.service.facts.platform
    client = AsyncConsentClient(visit.service.issuer, facts.client_id, facts.private_jwk, institution_id=facts.institution_id)
    order = {"institution": "demo-bank", "enterprise": visit.enterprise.id, "items": ["N21-03-04"], "purpose": PURPOSE, "product": PRODUCT}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(platform_app(client)), base_url="http://platform.example") as http:
        reply = await http.post("/data", content=msgspec.json.encode(order | {"ticket": "x" * 22}))
    assert (reply.status_code, reply.json()["codes"]) == (403, ["ticket.invalid"])
    await client.close()
