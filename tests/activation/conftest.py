"""A ledger that has begun with a signed release, a key that staff trusts, and two operators."""

from pathlib import Path
from typing import NamedTuple

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from consent.activation.model import Ruleset
from consent.activation.running import bring_up
from consent.catalogue.load import load
from consent.decisions.bundle import load_bundle
from consent.parties.accounts import Account
from consent.settings import Settings
from tests.activation.activation_world import Signing, settings_for, staff


class Installation(NamedTuple):
    """Settings of a process, the release with which the ledger began, and who may put another in force."""

    settings: Settings
    first: Ruleset
    key: Signing
    ann: Account
    bob: Account


@pytest.fixture
def policy_key(tmp_path: Path) -> Signing:
    """The operator's signing key."""
    return Signing(tmp_path)


@pytest.fixture
async def installation(engine: AsyncEngine, ledger, database, origin: str, tmp_path: Path, policy_key: Signing) -> Installation:
    """Began with the tree's policies, signed."""
    bundle = tmp_path / "release.tar.gz"
    bundle.write_bytes(policy_key.sign(load_bundle(load())))
    settings = settings_for(database.app_url, origin, policy_keys_file=policy_key.public, policy_bundle=bundle)
    first = await bring_up(engine, settings)
    return Installation(settings, first, policy_key, await staff(engine, "ann"), await staff(engine, "bob"))
