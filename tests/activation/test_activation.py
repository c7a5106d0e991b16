"""What is in force, and what a process does that does not run it."""

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from consent import db
from consent.activation.running import bring_up, installed
from consent.ledger.in_force import Superseded, check_in_force
from consent.settings import Settings
from tests.activation.activation_world import records, settings_for


@pytest.fixture
def settings(database, origin: str) -> Settings:
    """Nothing about policies: the installation's own, unsigned."""
    return settings_for(database.app_url, origin)


async def test_the_first_start_activates_once(engine: AsyncEngine, ledger, settings: Settings) -> None:
    """Many processes leave one record each of catalogue and policies, without approvers, with the documents beside them."""
    own = installed(settings)
    for _ in range(3):
        assert (await bring_up(engine, settings)).versions == own.versions
    async with db.read(engine) as connection:
        await check_in_force(connection, catalogue=own.catalogue.version, policy=own.revision)
    (policy,) = await records(engine, "policy.activated")
    (catalogue,) = await records(engine, "catalogue.activated")
    assert (policy["revision"], policy["signed_by"], policy["approvers"]) == (own.revision, None, [])
    assert (catalogue["version"], catalogue["approvers"]) == (own.catalogue.version, [])
    async with db.read(engine) as connection:
        blobs = {row.sha256.hex(): row.body for row in await connection.execute(text("select sha256, body from ledger_blob"))}
    assert blobs[policy["sha256"]] == own.body
    assert blobs[catalogue["sha256"]] == own.catalogue.to_json()


async def test_what_is_not_in_force_says_so(engine: AsyncEngine, ledger, settings: Settings) -> None:
    """Whichever of the two documents is another."""
    own = await bring_up(engine, settings)
    async with db.read(engine) as connection:
        for catalogue, policy in ((own.catalogue.version, "f" * 16), ("2026-01-01+000000000000", own.revision)):
            with pytest.raises(Superseded):
                await check_in_force(connection, catalogue=catalogue, policy=policy)
