"""After each ledger test the whole ledger is verified again from its public bytes."""

from collections.abc import AsyncIterator

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from consent.db import create_engine
from consent_audit.hashing import leaf_hash
from consent_audit.record import FIRST_PREV, decode_record


@pytest.fixture
async def ledger(engine: AsyncEngine) -> AsyncIterator[None]:
    """The oracle: chain, indexes and times of all records."""
    yield
    async with engine.connect() as connection:
        rows = (await connection.execute(text("select bytes from ledger_record order by idx"))).scalars().all()
    prev, time = FIRST_PREV, ""
    for index, raw in enumerate(rows):
        record = decode_record(raw)
        assert (record.index, record.prev) == (index, prev)
        assert record.time >= time
        prev, time = leaf_hash(raw), record.time


@pytest.fixture
async def empty_engine(database) -> AsyncIterator[AsyncEngine]:
    """A ledger that has not begun."""
    engine = create_engine(database.app_url)
    yield engine
    await engine.dispose()
