"""After each ledger test the whole ledger is verified again from its public bytes."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from consent.db import create_engine
from consent.ledger.service import export
from consent.ledger.signer import Signer
from consent_audit.note import Signer as Key
from consent_audit.sources import open_source
from consent_audit.verify import verify


@pytest.fixture
def key(origin: str) -> Key:
    """The log's key."""
    return Key.generate(origin)


@pytest.fixture
async def signer(engine: AsyncEngine, key: Key) -> Signer:
    """A signer that is not running; tests call sign_now()."""
    return Signer(engine, key)


@pytest.fixture
async def ledger(engine: AsyncEngine, signer: Signer, key: Key, tmp_path: Path) -> AsyncIterator[Signer]:
    """The oracle: signs what is left, exports, and lets the offline verifier judge every byte."""
    yield signer
    head = await signer.sign_now()
    assert head is not None
    assert await export(engine, tmp_path / "oracle.tar") == head.size
    source = open_source(str(tmp_path / "oracle.tar"))
    try:
        report = verify(source, key.verifier)
    finally:
        source.close()
    assert (report.findings, report.unchecked) == ([], [])
    assert report.checkpoint is not None
    assert report.checkpoint.size == head.size


@pytest.fixture
async def empty_engine(database) -> AsyncIterator[AsyncEngine]:
    """A ledger that has not begun."""
    engine = create_engine(database.app_url)
    yield engine
    await engine.dispose()
