"""PostgreSQL's disk runs full under load: what was acknowledged stands, nothing else is promised, and space is all that it needs."""

import asyncio
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest
from fault_operations import append_to
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from consent.db import create_engine
from consent.embedded import EmbeddedPostgres
from consent.errors import DatabaseUnavailable
from consent.ledger.events import StaffRegistered
from consent.ledger.heads import HeadStore
from consent.ledger.service import export
from consent.ledger.signer import Signer
from consent.ledger.writer import ensure_genesis, write
from consent.migrations import migrate
from consent_audit import cli
from consent_audit.note import Signer as Key
from consent_audit.sources import open_source

MEBIBYTE = 1 << 20


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A file system of 200 MiB of its own; where none may be mounted the test is skipped."""
    directory = Path(tempfile.mkdtemp(prefix="consent-disk-"))
    mount = shutil.which("mount")
    command = [mount or "mount", "-t", "tmpfs", "-o", "size=200m,mode=0711", "tmpfs", str(directory)]
    if mount is None or subprocess.run(command, capture_output=True, check=False).returncode != 0:
        directory.rmdir()
        pytest.skip("no small disk may be mounted here; not tested: a full disk beneath PostgreSQL")
    yield directory
    subprocess.run(["umount", "--lazy", str(directory)], check=True)
    directory.rmdir()


def fill(directory: Path) -> Path:
    """Take every byte that is left but four MiB."""
    file = directory / "filler"
    with file.open("wb", buffering=0) as out, suppress(OSError):
        while True:
            out.write(bytes(64 * 1024))
    os.truncate(file, file.stat().st_size - 4 * MEBIBYTE)
    return file


async def count(engine: AsyncEngine) -> int:
    async with engine.connect() as connection:
        return (await connection.execute(text("select count(*) from ledger_record"))).scalar_one()


async def append_until_refused(engine: AsyncEngine) -> int:
    """Batches until one is not taken; the index of the last record that was acknowledged."""
    acknowledged = 0
    for _ in range(2000):
        try:
            async with write(engine) as transaction:
                for _ in range(200):
                    index = transaction.append(StaffRegistered(staff="staff-1", role="auditor"))
        except DatabaseUnavailable:
            return acknowledged
        acknowledged = index
    raise AssertionError("the disk was never full")


async def test_a_full_disk_beneath_postgresql(small_disk: Path, tmp_path: Path, capsys) -> None:
    """Every writer hears that the database is unavailable, not that something was recorded; a head already kept stays true; when there is
    space again the ledger goes on where it stopped, and verifies from its bytes."""
    key = Key.generate("ledger.example.org/full")
    postgres = EmbeddedPostgres(small_disk / "state")
    urls = postgres.start()
    try:
        await migrate(urls.owner_url)
        engine = create_engine(urls.app_url)
        await ensure_genesis(engine, key.name)
        signer = Signer(engine, key, heads=HeadStore(tmp_path, key.name))
        await append_to(engine)
        head = await signer.sign_now()
        filler = fill(small_disk)
        acknowledged = max(await asyncio.gather(*(append_until_refused(engine) for _ in range(3))))
        with pytest.raises(DatabaseUnavailable):
            await one_large_batch(engine)
        assert os.statvfs(small_disk).f_bavail * os.statvfs(small_disk).f_frsize < MEBIBYTE
        await engine.dispose()
        filler.unlink()
        urls = await running_again(postgres, urls)
        engine = create_engine(urls.app_url)
        size = await count(engine)
        assert size > acknowledged > 0
        async with write(engine) as transaction:
            assert transaction.append(StaffRegistered(staff="staff-1", role="auditor")) == size
        later = await Signer(engine, key, heads=HeadStore(tmp_path, key.name)).sign_now()
        assert head is not None
        assert later is not None
        assert later.size == size + 1 > head.size
        await export(engine, tmp_path / "ledger.tar")
        await engine.dispose()
    finally:
        postgres.stop()
    with closing(open_source(str(tmp_path / "ledger.tar"))):
        assert cli.main(["verify", str(tmp_path / "ledger.tar"), "--key", key.vkey, "--state", str(tmp_path / "memory")]) == 0
    assert f"the {size + 1} records" in capsys.readouterr().out


async def one_large_batch(engine: AsyncEngine) -> None:
    """One large batch, which has no room."""
    async with write(engine) as transaction:
        for _ in range(5000):
            transaction.append(StaffRegistered(staff="staff-1", role="auditor"))


async def running_again(postgres: EmbeddedPostgres, urls):
    """PostgreSQL goes on by itself, or its supervisor starts it again if it gave up for want of a place to write its log."""
    engine = create_engine(urls.app_url)
    for _ in range(20):
        try:
            await count(engine)
        except Exception:  # noqa: BLE001 - whatever it says while it recovers
            await asyncio.sleep(0.2)
        else:
            await engine.dispose()
            return urls
    await engine.dispose()
    postgres.stop()
    return postgres.start()
