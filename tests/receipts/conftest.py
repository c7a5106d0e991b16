"""The parties of `sample_parties`, with programs and browsers of theirs."""

from collections.abc import AsyncIterator

import httpx
import oauth_world
import pytest
import web_world
from receipts_world import make_app
from sqlalchemy.ext.asyncio import AsyncEngine

from consent.ledger.service import create_auditor_token


@pytest.fixture
async def world(engine: AsyncEngine) -> web_world.World:
    """Pages under the issuer that browsers know."""
    made = await web_world.make_world(engine)
    made.app = make_app(engine, web_world.ISSUER)
    return made


@pytest.fixture
async def http(engine: AsyncEngine, world: web_world.World) -> AsyncIterator[httpx.AsyncClient]:
    """The same service under the issuer that programs know."""
    transport = httpx.ASGITransport(make_app(engine, oauth_world.ISSUER))
    async with httpx.AsyncClient(transport=transport, base_url=oauth_world.ISSUER) as client:
        yield client


@pytest.fixture
async def auditor(engine: AsyncEngine) -> dict[str, str]:
    """Headers of an auditor."""
    return {"authorization": f"Bearer {await create_auditor_token(engine, 'an auditor', 30)}"}
