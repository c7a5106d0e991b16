"""A check whose connection breaks between any two statements: asked again, it has one answer, one record, and is counted once."""

import pytest
from decisions_world import CATALOGUE, PLATFORM, TAX, World, evaluation
from tripwire import Mode, tripwire

from consent.db import create_engine
from consent.decisions.engine import RegopyEngine
from consent.decisions.service import DecisionService
from consent.errors import Unavailable

LIMIT = 60


@pytest.mark.parametrize("mode", ["lost", "persisted"])
async def test_a_check_asked_again(service: DecisionService, world: World, policy: RegopyEngine, database, mode: Mode) -> None:
    """`lost`: a statement never reached the database. `persisted`: it was done and its answer never came, the commit's too."""
    await world.grant(TAX, frequency={"max": 1000, "per": "total"})
    at: int | bytes
    for number, at in enumerate([b"COMMIT", *range(LIMIT)], 1):
        question = evaluation(world.enterprise, [TAX], request_id=f"r-{number}")
        before = len(await world.records())
        async with tripwire(database.app_url, at, mode) as wire:
            engine = create_engine(wire.url)
            broken = DecisionService(engine, policy, CATALOGUE)
            await broken.start()
            try:
                first = await broken.check(PLATFORM, question)
            except Unavailable:
                first = None
            await broken.stop()
            await engine.dispose()
        if at == b"COMMIT":
            assert first is None
            assert len(await world.records()) == before + (mode == "persisted")
        again = await service.check(PLATFORM, question)
        assert first in {None, again}
        records = await world.records()
        assert len(records) == before + 1
        assert [use["used"] for use in records[-1].data["uses"]] == [number]
        if not wire.broken.is_set():
            break
    assert first is not None
    assert number > 7
