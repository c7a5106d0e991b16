"""A populated world for each test; after it the whole ledger is read again and held against the rules that it must keep."""

from collections.abc import AsyncIterator, Iterator
from contextlib import nullcontext
from typing import Any

import pytest
from decisions_replay import replay
from decisions_world import CATALOGUE, World, rego
from sqlalchemy.ext.asyncio import AsyncEngine

from consent.db import create_engine
from consent.decisions.engine import PolicyEngine, RegopyEngine
from consent.decisions.replay.service import rerun
from consent.decisions.service import DecisionService


@pytest.fixture(scope="session")
def policy() -> Iterator[RegopyEngine]:
    """The product's policies; compiled once."""
    engine = rego()
    yield engine
    engine._pool.shutdown(wait=True)


@pytest.fixture
async def world(engine: AsyncEngine, policy: RegopyEngine, ledger: None) -> AsyncIterator[World]:
    """Registered parties. Afterwards no record may contradict those before it, and the policies answer every decision as they did."""
    made = World(engine)
    await made.populate()
    yield made
    replay(await made.records())
    if not made.behind:
        outcome = await rerun(engine, lambda _: nullcontext(policy))
        assert (outcome.findings, outcome.unchecked, outcome.unreadable) == ([], [], {})
        assert (outcome.differences, outcome.unanswered) == ([], [])


@pytest.fixture
async def service(engine: AsyncEngine, policy: PolicyEngine, world: World) -> AsyncIterator[DecisionService]:
    """A running service on the test's database."""
    made = DecisionService(engine, policy, CATALOGUE)
    await made.start()
    yield made
    await made.stop()


@pytest.fixture
async def twin(database: Any, policy: PolicyEngine, world: World) -> AsyncIterator[DecisionService]:
    """A second service with connections of its own, as another process has them."""
    engine = create_engine(database.app_url)
    made = DecisionService(engine, policy, CATALOGUE)
    await made.start()
    yield made
    await made.stop()
    await engine.dispose()
