"""Tessera's fsck over what we publish: every bundle hashed again, every tile compared, the root and the checkpoint's signature checked."""

from pathlib import Path

import pytest
from ledger_judges import Refused, Tree, fsck
from sqlalchemy.ext.asyncio import AsyncEngine

from consent.ledger.events import StaffRegistered, encode
from consent.ledger.service import publish
from consent.ledger.signer import Signer
from consent.ledger.writer import write
from consent_audit.note import Signer as Key
from consent_audit.note import open_checkpoint

pytestmark = pytest.mark.golang

EVENT = StaffRegistered(staff="staff-1", role="auditor")


async def grow(engine: AsyncEngine, signer: Signer, count: int, batch: int = 5000) -> Tree:
    """`count` more records, signed; the tree that was signed."""
    data = encode(EVENT)
    for first in range(0, count, batch):
        async with write(engine) as transaction:
            for _ in range(min(batch, count - first)):
                transaction.append_encoded(EVENT.TYPE, data)
    head = await signer.sign_now()
    assert head is not None
    return Tree(head.size, head.root)


@pytest.mark.parametrize("steps", [[0], [254, 1, 1], [300, 4000, 1], [255, 256, 65_024, 1]])
async def test_every_publication_of_a_growing_ledger(engine, ledger: Signer, key: Key, tmp_path: Path, steps: list[int]) -> None:
    """One directory, published again as the ledger grows across tile boundaries of two levels: accepted each time at the size signed."""
    for count in steps:
        signed = await grow(engine, ledger, count)
        await publish(engine, tmp_path / "public")
        assert fsck(tmp_path / "public", key.vkey, tmp_path) == signed


async def test_one_hundred_thousand_records(engine, ledger: Signer, key: Key, tmp_path: Path) -> None:
    """A ledger of 100,000 records, as one publication."""
    signed = await grow(engine, ledger, 100_000 - 1)
    await publish(engine, tmp_path / "public")
    assert signed.size == 100_000
    assert fsck(tmp_path / "public", key.vkey, tmp_path) == signed


FILES = ["checkpoint", "tile/0/000", "tile/0/001.p/45", "tile/1/000.p/1", "tile/entries/000", "tile/entries/001.p/45"]


@pytest.fixture
async def public(engine, ledger: Signer, tmp_path: Path) -> Path:
    """A published ledger of 301 records."""
    await grow(engine, ledger, 300)
    await publish(engine, tmp_path / "public")
    return tmp_path / "public"


@pytest.mark.parametrize("path", FILES)
async def test_one_bit_changed_is_refused(public: Path, key: Key, tmp_path: Path, path: str) -> None:
    """The judge is not content with everything: one bit in the middle of any file, and it says no."""
    assert fsck(public, key.vkey, tmp_path).size == 301
    body = bytearray((public / path).read_bytes())
    body[len(body) // 2] ^= 1
    (public / path).write_bytes(body)
    with pytest.raises(Refused, match="fsck failed"):
        fsck(public, key.vkey, tmp_path)


@pytest.mark.parametrize("path", FILES)
async def test_a_missing_file_is_refused(public: Path, key: Key, tmp_path: Path, path: str) -> None:
    """Nothing may be left out."""
    (public / path).unlink()
    with pytest.raises(Refused, match="fsck failed"):
        fsck(public, key.vkey, tmp_path, seconds=20)


async def test_another_logs_key_is_refused(public: Path, key: Key, tmp_path: Path) -> None:
    """The same name under another key, and another name."""
    for other in (Key.generate(key.name), Key.generate("other.example.org/ledger")):
        with pytest.raises(Refused, match="fsck failed"):
            fsck(public, other.vkey, tmp_path)


async def test_a_root_that_was_signed_anew_is_refused(public: Path, key: Key, tmp_path: Path) -> None:
    """The log's own key over another root than the records have."""
    checkpoint = open_checkpoint((public / "checkpoint").read_bytes(), key.verifier)
    text = checkpoint.text().replace(checkpoint.text().split("\n")[2], "A" * 43 + "=")
    (public / "checkpoint").write_text(key.sign(text))
    with pytest.raises(Refused, match="calculated root"):
        fsck(public, key.vkey, tmp_path)
