"""Fixtures of the report's tests."""

import pytest
from reports_world import make_reports
from sqlalchemy.ext.asyncio import AsyncEngine
from web_world import World


@pytest.fixture
async def world(engine: AsyncEngine) -> World:
    """The report's routes and the pages, with registered parties."""
    return await make_reports(engine)
