"""Fixtures of the page tests."""

from collections.abc import AsyncIterator

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine
from web_world import World, make_world

from consent.db import create_engine


@pytest.fixture
async def world(engine: AsyncEngine) -> World:
    """The pages with registered parties and their accounts."""
    return await make_world(engine)


@pytest.fixture
async def dead_engine() -> AsyncIterator[AsyncEngine]:
    """An engine whose database does not answer."""
    engine = create_engine("postgresql+asyncpg://nobody:x@127.0.0.1:1/none")
    yield engine
    await engine.dispose()
