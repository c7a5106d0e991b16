"""Rate limits: one caller cannot take what is there for all, and nobody else notices."""

import itertools

import httpx
import pytest
from oauth_world import ISSUER, Caller, build_app, caller
from sample_parties import Parties
from sqlalchemy.ext.asyncio import AsyncEngine

from consent.oauth import limits
from consent.oauth.limits import Buckets, RateExceeded
from consent.oauth.profile import Profile
from consent.oauth.proxies import Proxies

PROXIES = Proxies.parse("192.0.2.1")


def connect(app: object, address: str, forwarded: str | None = None) -> httpx.AsyncClient:
    headers = {"x-forwarded-for": forwarded} if forwarded else {}
    transport = httpx.ASGITransport(app, client=(address, 1))  # type: ignore[arg-type]
    return httpx.AsyncClient(transport=transport, base_url=ISSUER, headers=headers)


async def flood(http: httpx.AsyncClient, path: str = "/oauth/token", limit: int = 40) -> httpx.Response:
    for _ in range(limit):
        reply = await http.post(path, data={"client_id": "x"})
        if reply.status_code == 429:
            return reply
        assert reply.status_code == 401
    raise AssertionError("never refused")


async def test_one_address(engine: AsyncEngine, parties: Parties) -> None:
    """Whoever floods is told when to come back; another address, also behind the same proxy, is served."""
    app = build_app(engine, profile=Profile(proxies=PROXIES, rate_per_address=2))
    for address, forwarded, other in (
        ("198.51.100.1", None, None),
        ("192.0.2.1", "203.0.113.9", "203.0.113.10"),
        ("2001:db8::1", None, None),
    ):
        async with connect(app, address, forwarded) as http:
            reply = await flood(http)
            assert reply.json()["error"] == "slow_down"
            assert int(reply.headers["retry-after"]) >= 1
            assert (await http.get("/oauth/authorize")).status_code == 429
        async with connect(app, "198.51.100.2" if forwarded is None else address, other) as http:
            assert (await http.post("/oauth/token", data={"client_id": "x"})).status_code == 401
    async with connect(app, "2001:db8::ffff:1") as neighbour:  # of the same network, so the same caller
        assert (await neighbour.post("/oauth/token", data={"client_id": "x"})).status_code == 429
    async with connect(app, "198.51.100.1", "203.0.113.77") as liar:  # not a listed proxy
        assert (await liar.post("/oauth/token", data={"client_id": "x"})).status_code == 429


async def test_one_client(engine: AsyncEngine, parties: Parties) -> None:
    """A client's own limit holds over all endpoints and addresses, and is nobody else's."""
    app = build_app(engine, profile=Profile(rate_per_client=1))
    async with connect(app, "198.51.100.1") as http, connect(app, "198.51.100.2") as elsewhere:
        bank = caller(http, "bank-a")
        token = await bank.token()
        codes = [(await bank.call("/probe/check", token)).status_code for _ in range(8)]
        assert codes[0] == 200
        assert codes[-1] == 429
        reply = await Caller(elsewhere, bank.client_id, bank.key, bank.kid, bank.redirect_uri).post("/oauth/introspect", {"token": token})
        assert (reply.status_code, reply.json()["error"]) == (429, "slow_down")
        assert "retry-after" in reply.headers
        assert await caller(elsewhere, "bank-b").token()


def test_buckets() -> None:
    """Five seconds' worth at once, then the rate; what is refused costs nothing."""
    seconds = [0.0]
    buckets = Buckets(10, clock=lambda: seconds[0])
    for _ in range(50):
        buckets.take("a")
    for _ in range(3):
        with pytest.raises(RateExceeded):
            buckets.take("a")
    buckets.take("b")
    seconds[0] = 0.1
    buckets.take("a")
    with pytest.raises(RateExceeded) as refused:
        buckets.take("a", cost=20)
    assert refused.value.headers == {"retry-after": "2"}
    seconds[0] = 1000.0
    for _ in range(50):
        buckets.take("a")
    with pytest.raises(RateExceeded):
        buckets.take("a")


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many callers come, as many buckets as allowed stay, and the busy one keeps its own."""
    monkeypatch.setattr(limits, "MAX_BUCKETS", 100)
    buckets = Buckets(1, clock=lambda: 0.0)
    for _ in range(5):
        buckets.take("busy")
    for number in itertools.islice(itertools.count(), 90):
        buckets.take(str(number))
        with pytest.raises(RateExceeded):
            buckets.take("busy")
    for number in range(1000):
        buckets.take(f"x{number}")
    assert len(buckets._buckets) == 100
