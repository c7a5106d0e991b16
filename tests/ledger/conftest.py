"""What only the ledger's own tests need; the oracle stands in tests/conftest.py."""

from collections.abc import AsyncIterator

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from consent.db import create_engine


@pytest.fixture
async def empty_engine(database) -> AsyncIterator[AsyncEngine]:
    """A ledger that has not begun."""
    engine = create_engine(database.app_url)
    yield engine
    await engine.dispose()
