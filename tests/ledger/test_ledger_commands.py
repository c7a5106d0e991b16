"""The operator's commands about keys and heads, as they are typed."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from test_heads import append, cut

from consent.cli import main
from consent.db import create_engine
from consent.ledger.heads import HeadStore
from consent.ledger.setup import make_signer
from consent.ledger.writer import ensure_genesis
from consent.settings import Settings

ORIGIN = "consent.example.org/ledger"


@pytest.fixture
def typed(database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Runs a command of `consent` with a whole environment; a number of records is signed already."""
    (tmp_path / "heads").mkdir()
    for name, value in {
        "CONSENT_DATABASE_URL": database.app_url, "CONSENT_ISSUER": "https://consent.example.org",
        "CONSENT_LEDGER_KEY_FILE": str(tmp_path / "key"), "CONSENT_HEAD_STORE": str(tmp_path / "heads"),
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)

    def run(*words: str) -> Result:
        return CliRunner().invoke(main, ["ledger", *words])

    assert run("keygen", str(tmp_path / "key"), "--origin", ORIGIN).exit_code == 0
    sign(records=5)
    return run


def sign(records: int = 0) -> str:
    """What a running service does: append and sign with what the environment says. Returns the note."""

    async def work() -> str:
        settings = Settings.from_environment()
        engine = create_engine(settings.database_url)
        await ensure_genesis(engine, settings.ledger_origin)
        if records:
            await append(engine, records)
        head = await make_signer(engine, settings).sign_now()
        await engine.dispose()
        assert head is not None
        return head.note

    return asyncio.run(work())


def test_a_key_is_changed(typed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Without a next key it says what to set; with one it prints the new key; a second time there is nothing to change to."""
    refused = typed("rotate-key")
    assert (refused.exit_code, "CONSENT_LEDGER_NEXT_KEY_FILE" in refused.output) == (1, True)
    new = typed("keygen", str(tmp_path / "new"), "--origin", ORIGIN).output.strip()
    monkeypatch.setenv("CONSENT_LEDGER_NEXT_KEY_FILE", str(tmp_path / "new"))
    assert typed("rotate-key").output == f"record 6\n{new}\n"
    assert sign().count("\u2014 ") == 2
    assert typed("rotate-key").exit_code == 1
    monkeypatch.setenv("CONSENT_LEDGER_KEY_FILE", str(tmp_path / "new"))
    monkeypatch.delenv("CONSENT_LEDGER_NEXT_KEY_FILE")
    assert sign(records=1).count("\u2014 ") == 1


def test_a_new_head_store_is_adopted_once(typed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Only an empty one, and only if there is one."""
    assert typed("adopt-heads").exit_code == 1
    (tmp_path / "second").mkdir()
    monkeypatch.setenv("CONSENT_HEAD_STORE", str(tmp_path / "second"))
    assert typed("adopt-heads").output == "6 records\n"
    monkeypatch.setenv("CONSENT_HEAD_STORE", "")
    assert "CONSENT_HEAD_STORE" in typed("adopt-heads").output


def test_a_ledger_continues_under_a_new_name(typed, database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Not while nothing is lost; then with a new origin, key and store, and the next head bears the new name."""
    (tmp_path / "heads-2").mkdir()
    typed("keygen", str(tmp_path / "key-2"), "--origin", f"{ORIGIN}-2")
    monkeypatch.setenv("CONSENT_LEDGER_ORIGIN", f"{ORIGIN}-2")
    monkeypatch.setenv("CONSENT_LEDGER_KEY_FILE", str(tmp_path / "key-2"))
    monkeypatch.setenv("CONSENT_HEAD_STORE", str(tmp_path / "heads-2"))
    assert "Nothing is lost" in typed("continue", str(tmp_path / "heads")).output

    async def lose() -> None:
        owner = create_engine(database.owner_url)
        await cut(owner, 3)
        await owner.dispose()

    asyncio.run(lose())
    assert typed("continue", str(tmp_path / "heads")).output == "record 3\n"
    assert sign().startswith(f"{ORIGIN}-2\n4\n")
    assert HeadStore(tmp_path / "heads-2", f"{ORIGIN}-2").newest() is not None


def test_the_second_head_is_printed(typed):
    """Unsigned text for a device: origin with the hash's name, size, root."""
    lines = typed("second-head").output.split("\n")
    assert (lines[0], lines[1], len(lines[2]), lines[3]) == (f"{ORIGIN}/sm3", "6", 44, "")


def test_several_workers_count_together(tmp_path: Path):
    """With a directory for their counts, any worker's /metrics adds up those of all, also of one that has ended."""
    count = "from consent import metrics\nmetrics.RECORDS.inc(3)\nmetrics.DURABLE.observe({})\nmetrics.SIGNED_SIZE.set({})\n"
    environment = os.environ | {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    for seconds, size in ((0.5, 7), (0.25, 9)):
        subprocess.run([sys.executable, "-c", count.format(seconds, size)], env=environment, check=True)
    shown = [sys.executable, "-c", "from consent import metrics\nprint(metrics.exposition().decode())"]
    lines = subprocess.run(shown, env=environment, check=True, capture_output=True, text=True).stdout.splitlines()
    assert "consent_ledger_records_total 6.0" in lines
    assert "consent_ledger_signed_size 9.0" in lines
    assert "consent_ledger_durable_seconds_count 2.0" in lines
    assert 'consent_ledger_longest_seconds{stage="durable"} 0.5' in lines
