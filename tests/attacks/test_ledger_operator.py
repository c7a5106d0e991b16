"""Whoever runs the ledger cannot show two histories, though he has the log's key, the tables and a backup of them."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
from clones import create_clone, drop_clone
from ledger_judges import litewitness
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine

from consent import db
from consent.db import create_engine
from consent.embedded import DATABASE
from consent.ledger import store
from consent.ledger.cosigning import Cosigning
from consent.ledger.events import StaffRegistered
from consent.ledger.heads import HeadStore, HeadStoreFailed
from consent.ledger.signer import RolledBack, Signer
from consent.ledger.writer import ensure_genesis, write
from consent_audit.errors import Unwitnessed
from consent_audit.note import Signer as Key
from consent_audit.policy import Policy


async def grow(engine: AsyncEngine, count: int, staff: str = "staff-1") -> None:
    async with write(engine) as transaction:
        for _ in range(count):
            transaction.append(StaffRegistered(staff=staff, role="auditor"))


@pytest.fixture
async def rewritten(server_urls: tuple[str, str], origin: str) -> AsyncIterator[AsyncEngine]:
    """Another database with another history of the same name: what the tables hold once somebody has rewritten them."""
    owner_url, app_url = server_urls
    name = f"t_{secrets.token_hex(8)}"
    await create_clone(owner_url, name)
    engine = create_engine(app_url.replace(f"/{DATABASE}?", f"/{name}?"))
    await ensure_genesis(engine, origin)
    await grow(engine, 30, "staff-2")
    yield engine
    await engine.dispose()
    await drop_clone(owner_url, name)


@pytest.mark.golang
async def test_history_rewritten_and_signed_anew_with_the_stolen_key(
    engine: AsyncEngine, rewritten: AsyncEngine, key: Key, tmp_path: Path
) -> None:
    """The witness, which nobody here can talk to in another way, cosigns the true history only, whichever size the other one has;
    an auditor whose policy wants its cosignature does not accept the other one, and the true one goes on."""
    with litewitness(tmp_path, "witness.example.org/lite", key.vkey) as witness:
        policy = Policy.parse(f"log {key.vkey}\nwitness lite {witness.vkey} {witness.url}\nquorum lite\n")
        true = Signer(engine, key, cosigning=Cosigning(engine, policy))
        await grow(engine, 20)
        head = await true.sign_now()
        assert head is not None
        assert policy.demand(head.note).checkpoint.size == 21
        forged = Signer(rewritten, key, cosigning=Cosigning(rewritten, policy))
        for count in (0, 5):
            await grow(rewritten, count, "staff-2")
            head = await forged.sign_now()
            assert head is not None
            assert policy.open(head.note).checkpoint.size == 31 + count
            with pytest.raises(Unwitnessed, match="no quorum"):
                policy.demand(head.note)
            assert forged.cosigning is not None
            assert forged.cosigning.trouble == {"lite": "fork"}
        async with db.read(rewritten) as connection:
            assert await store.witnessed_head(connection) is None
        await grow(engine, 20)
        head = await true.sign_now()
        assert head is not None
        assert policy.demand(head.note).checkpoint.size == 41
        for signer in (true, forged):
            assert signer.cosigning is not None
            await signer.cosigning.stop()


async def test_a_backup_restored_behind_the_second_store(engine: AsyncEngine, rewritten: AsyncEngine, key: Key, tmp_path: Path) -> None:
    """A database that is not the one whose heads were kept signs nothing and records nothing, and says how many records are missing."""
    heads = HeadStore(tmp_path, key.name)
    await grow(engine, 40)
    await Signer(engine, key, heads=heads).sign_now()
    restored = Signer(rewritten, key, heads=heads)
    with pytest.raises(RolledBack, match="31 records, but a head over 41"):
        await restored.sign_now()
    with pytest.raises(RolledBack):
        await grow(rewritten, 1)
    async with db.read(rewritten) as connection:
        assert await store.signed_head(connection) is None


async def test_two_sequencers_with_databases_of_their_own(engine: AsyncEngine, rewritten: AsyncEngine, key: Key, tmp_path: Path) -> None:
    """Both hold the key and one second store: one of the two histories is signed, the other one never, at any size."""
    heads = HeadStore(tmp_path, key.name)
    await grow(engine, 30)
    first = Signer(engine, key, heads=heads)
    second = Signer(rewritten, key, heads=heads)
    answers = await asyncio.gather(first.sign_now(), second.sign_now(), return_exceptions=True)
    refused = [answer for answer in answers if isinstance(answer, RolledBack | HeadStoreFailed)]
    assert len(refused) == 1, answers
    loser, lost = (first, engine) if answers[0] is refused[0] else (second, rewritten)
    for _ in range(3):
        with pytest.raises(RolledBack):
            await loser.sign_now()
        with pytest.raises(RolledBack):
            await grow(lost, 1)
    assert (heads.newest() or pytest.fail("nothing kept")).size == 31


async def test_two_sequencers_on_one_database(database, engine: AsyncEngine, ledger: Signer, key: Key) -> None:
    """Several signers at once, and one that ignores the lock: heads are rows of one history, and no size has two."""
    engines = [create_engine(database.app_url) for _ in range(3)]
    signers = [Signer(each, key, timedelta(milliseconds=1)) for each in engines]
    for _ in range(10):
        await grow(engine, 3)
        await asyncio.gather(*(signer.sign_now() for signer in signers))
    head = await ledger.sign_now()
    assert head is not None
    statement = text("insert into ledger_head (size, root, note) values (:size, sha256('another root'), :note)")
    async with engine.connect() as connection:
        with pytest.raises(IntegrityError, match="duplicate key"):
            await connection.execute(statement, {"size": head.size, "note": head.note})
    for each in engines:
        await each.dispose()
