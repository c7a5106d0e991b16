"""`consent subject …` and `consent ledger open|check-evidence`, as an operator types them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from decisions_world import World
from sqlalchemy import text

from consent.ledger.writer import write
from consent.parties import service as parties


@pytest.fixture
async def world(engine, ledger) -> World:
    made = World(engine)
    await made.populate()
    return made


@pytest.fixture
def consent(database, tmp_path: Path):
    """Runs a command on the test's database."""
    settings = {
        "CONSENT_DATABASE_URL": database.app_url,
        "CONSENT_DATABASE_OWNER_URL": database.owner_url,
        "CONSENT_ISSUER": "http://127.0.0.1:1",
        "CONSENT_LEDGER_KEY_FILE": str(tmp_path / "none"),
    }

    def run(*arguments: str, **changes: str) -> subprocess.CompletedProcess[str]:
        environment = {name: value for name, value in (os.environ | settings | changes).items() if value}
        command = [sys.executable, "-m", "consent", *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)

    return run


async def test_holds_and_refusal_name_the_day(world: World, consent):
    """Exit 1 with a date in both languages; nothing is deleted; without the owner's address it says what to set."""
    async with write(world.engine) as tx:
        await parties.change_subject(tx, world.enterprise_id, status="closed")
    done = consent("subject", "holds", world.enterprise)
    assert done.returncode == 1
    day = done.stdout.split()[-1]
    done = consent("subject", "erase", world.enterprise)
    assert done.returncode == 1
    assert f"it may be done after {day}" in done.stderr
    assert f"最早可在 {day} 之后删除" in done.stderr
    assert world.enterprise not in done.stderr
    assert "CONSENT_DATABASE_OWNER_URL" in consent("subject", "erase", world.enterprise, CONSENT_DATABASE_OWNER_URL="").stderr
    assert consent("subject", "erase", "nobody").returncode == 1


async def test_evidence_is_opened_and_checked(world: World, consent, owner_engine):
    """An opening as JSON; a fault is exit 1 with its record."""
    [index] = [record.index for record in await world.records("subject.registered")][:1]
    done = consent("ledger", "open", str(index))
    [opening] = json.loads(done.stdout)
    assert (opening["member"], opening["value"]) == ("commitment", world.enterprise)
    assert consent("ledger", "open", "999").returncode == 1
    done = consent("ledger", "check-evidence")
    assert (done.returncode, json.loads(done.stdout)["faults"]) == (0, 0)
    async with owner_engine.begin() as connection:
        await connection.execute(text("delete from evidence where idx = :idx"), {"idx": index})
    done = consent("ledger", "check-evidence")
    assert done.returncode == 1
    assert json.loads(done.stdout)["findings"] == [{"index": index, "member": "commitment", "what": "missing"}]
