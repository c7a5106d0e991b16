"""`consent check-config` about the ledger: what would hurt later is an error now."""

import sys
from pathlib import Path

import msgspec
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from consent.ledger.heads import HeadStore
from consent.ledger.keys import generate_key, load_key
from consent.serve import Finding, check_configuration
from consent.settings import Settings
from consent_audit.cosigner import Cosigner
from consent_audit.note import Checkpoint

ORIGIN = "consent.example.org/ledger"


@pytest.fixture
def settings(database, tmp_path: Path) -> Settings:
    """Fit for production, as far as the ledger goes."""
    generate_key(tmp_path / "key", ORIGIN)
    (tmp_path / "heads").mkdir()
    witness = Cosigner.generate("witness.example.org/w").verifier
    (tmp_path / "policy").write_text(f"witness w1 {witness.vkey} https://witness.example.org\nquorum w1\n")
    return Settings(
        database_url=database.app_url, issuer="https://consent.example.org", ledger_key_file=tmp_path / "key",
        head_store=tmp_path / "heads", witness_policy=tmp_path / "policy",
    ).checked()  # fmt: skip


async def findings(settings: Settings, **changes: object) -> list[Finding]:
    return await check_configuration(msgspec.structs.replace(settings, **changes))


def errors(found: list[Finding]) -> list[str]:
    return [message for level, message in found if level == "error"]


async def test_a_sound_ledger_has_nothing_to_say(settings: Settings, tmp_path: Path):
    """Key, head store, witnesses and database are each in order, before the first head and after."""
    key = load_key(tmp_path / "key", ORIGIN)
    for kept in ("no head yet", "3 records"):
        found = await findings(settings)
        assert errors(found) == []
        assert {("ok", f"ledger key {key.vkey}"), ("ok", f"head store: {kept}"), ("ok", "witnesses w1"), ("ok", "database")} <= set(found)
        if kept == "no head yet":
            HeadStore(tmp_path / "heads", ORIGIN).keep(key.sign(Checkpoint(ORIGIN, 3, bytes(32)).text()), None)


async def test_what_is_missing_for_production_is_a_warning(settings: Settings):
    """Neither a second store nor witnesses: trials run so."""
    found = await findings(settings, head_store=None, witness_policy=None)
    assert errors(found) == []
    warnings = " ".join(message for level, message in found if level == "warning")
    assert "CONSENT_HEAD_STORE" in warnings
    assert "CONSENT_WITNESS_POLICY" in warnings


async def test_a_key_command_is_tried(settings: Settings, tmp_path: Path):
    """One that signs is in order; one that does not is named before the first head would need it."""
    key = load_key(tmp_path / "key", ORIGIN)
    program = tmp_path / "kms.py"
    program.write_text(
        "import base64, sys\nfrom consent_audit.note import Signer, split_note\n"
        "key = Signer.parse(open(sys.argv[1]).read().strip())\n"
        "print(base64.b64encode(split_note(key.sign(sys.stdin.read()))[1][0][1][4:]).decode())\n"
    )
    held = {"ledger_key_file": None, "ledger_vkey": key.vkey}
    found = await findings(settings, ledger_key_command=f"{sys.executable} {program} {tmp_path / 'key'}", **held)
    assert errors(found) == []
    found = await findings(settings, ledger_key_command="/nonexistent/kms", **held)
    assert ["cannot be run" in message for message in errors(found)] == [True]


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda folder: (folder / "key").chmod(0o644), "by others"),
        (lambda folder: (folder / "heads").rmdir(), "not a directory"),
        (lambda folder: (folder / "heads/checkpoint").write_text("junk"), "damaged"),
        (lambda folder: (folder / "policy").write_text((folder / "policy").read_text().replace(" https://witness.example.org", "")), "URL"),
        (lambda folder: (folder / "policy").unlink(), "cannot be read"),
    ],
    ids=["key open to others", "store absent", "store damaged", "witness without address", "policy absent"],
)
async def test_what_would_fail_later_is_an_error(settings: Settings, tmp_path: Path, spoil, why: str):
    """One line that says what to do."""
    spoil(tmp_path)
    assert [why in message for message in errors(await findings(settings))] == [True]


async def test_rights_and_triggers_are_looked_at(settings: Settings, database, owner_engine: AsyncEngine):
    """A role that may rewrite, and a trigger that somebody switched off, on any of the ledger's tables."""
    assert ["application role" in message for message in errors(await findings(settings, database_url=database.owner_url))] == [True]
    async with owner_engine.begin() as owner:
        await owner.execute(text("alter table ledger_cosignature disable trigger append_only"))
    assert ["ledger_cosignature" in message for message in errors(await findings(settings))] == [True]
    async with owner_engine.begin() as owner:
        await owner.execute(text("alter table ledger_cosignature enable always trigger append_only"))
        await owner.execute(text("grant update on ledger_head to consent_app"))
    assert ["may change" in message for message in errors(await findings(settings))] == [True]
