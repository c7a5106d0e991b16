"""Releases, keys and people for tests of what is in force."""

import json
import shutil
from pathlib import Path
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from consent import db
from consent.activation.model import Ruleset
from consent.activation.service import activate, approve, propose, read_signed
from consent.catalogue.load import load
from consent.decisions import signing
from consent.decisions.bundle import Bundle, default_directory, load_bundle
from consent.parties import accounts
from consent.parties.access import StaffRole
from consent.parties.accounts import Account
from consent.settings import Settings

PASSWORD = "long-enough-for-a-test-9"


def settings_for(app_url: str, origin: str, **more: Any) -> Settings:
    """A process's settings."""
    return Settings(database_url=app_url, issuer="https://test.example", ledger_key_file=Path("key"), ledger_origin=origin, **more)


async def records(engine: AsyncEngine, kind: str) -> list[dict[str, Any]]:
    """The data of all records of a type, each with its index."""
    async with db.read(engine) as connection:
        rows = list(await connection.execute(text("select idx, bytes from ledger_record order by idx")))
    found = [(row.idx, json.loads(row.bytes)) for row in rows]
    return [{"index": index, **record["data"]} for index, record in found if record["type"] == kind]


def release(folder: Path, name: str) -> Bundle:
    """The policies of another release: the tree's with one more line of comment, so they decide alike under another revision."""
    directory = Path(shutil.copytree(default_directory(), folder / name))
    file = directory / "decision.rego"
    file.write_text(f"{file.read_text(encoding='utf-8')}\n# release {name}\n", encoding="utf-8")
    return load_bundle(load(), directory)


class Signing:
    """A key below `folder`, and what it signs."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "policy.key"
        self.key_id = signing.generate_key(self.file)
        self.public = folder / "policy.key.pub"

    def sign(self, bundle: Bundle) -> bytes:
        """The signed archive."""
        return bundle.blob(signing.load_signing_key(self.file))


async def staff(engine: AsyncEngine, name: str, role: StaffRole = "operator") -> Account:
    """A member of the staff who just logged in."""
    await accounts.create_account(engine, username=name, password=PASSWORD, display_name="示例人员", role=role)
    return await accounts.authenticate(engine, name, PASSWORD)


async def put_in_force(engine: AsyncEngine, settings: Settings, body: bytes, first: Account, second: Account) -> Ruleset:
    """Propose, approve twice, activate."""
    ruleset = read_signed(settings, body)
    await propose(engine, ruleset, first)
    await approve(engine, ruleset, first)
    await approve(engine, ruleset, second)
    return await activate(engine, settings, ruleset.revision)
