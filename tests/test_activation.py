"""What is in force, and what a process does whose release no longer is."""

from pathlib import Path

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from consent import db
from consent.activation import Superseded, activate, bring_up, check_in_force
from consent.catalogue.load import load
from consent.decisions.bundle import load_bundle
from consent.settings import Settings


@pytest.fixture
def settings(database, origin: str) -> Settings:
    return Settings(database_url=database.app_url, issuer="https://test.example", ledger_key_file=Path("key"), ledger_origin=origin)


async def test_starting_again_activates_nothing_twice(engine: AsyncEngine, ledger, settings: Settings) -> None:
    """Many processes of one release leave one record each of catalogue and policies, with the documents beside them."""
    catalogue = load()
    for _ in range(3):
        await bring_up(engine, settings, catalogue)
    async with db.read(engine) as connection:
        await check_in_force(connection, catalogue=catalogue.version, policy=load_bundle(catalogue).revision)


async def test_a_superseded_process_says_so(engine: AsyncEngine, ledger, settings: Settings) -> None:
    """After another release came into force the old one is not ready, whichever of the two documents changed."""
    catalogue = load()
    revision = load_bundle(catalogue).revision
    await bring_up(engine, settings, catalogue)
    await activate(engine, catalogue=(catalogue.version, catalogue.to_json()), policy=("f" * 16, b"{}"))
    async with db.read(engine) as connection:
        with pytest.raises(Superseded):
            await check_in_force(connection, catalogue=catalogue.version, policy=revision)
        with pytest.raises(Superseded):
            await check_in_force(connection, catalogue="2026-01-01+000000000000", policy="f" * 16)
        await check_in_force(connection, catalogue=catalogue.version, policy="f" * 16)
