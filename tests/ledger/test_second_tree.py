"""The same records under another hash."""

import hashlib

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from consent.ledger.events import StaffRegistered
from consent.ledger.second_tree import SM3, Frontier, TreeHash, second_head
from consent.ledger.signer import Signer
from consent.ledger.writer import write
from consent_audit.hashing import leaf_hash, root

SHA256 = TreeHash("sha256", lambda value: hashlib.sha256(value).digest())
RECORDS = [f"entry-{number}".encode() for number in range(300)]


@pytest.mark.parametrize("count", [0, 1, 2, 3, 7, 8, 255, 256, 257, 300])
def test_the_tree_is_that_of_rfc_6962(count: int):
    """Under SHA-256 it has the root of the ledger's own tree, however the records come in pieces."""
    tree = Frontier(SHA256)
    tree.extend(RECORDS[: count // 3])
    tree.extend(RECORDS[count // 3 : count])
    assert tree.root() == root([leaf_hash(record) for record in RECORDS[:count]])
    assert tree.size == count


def test_sm3_is_that_of_the_standard():
    """GB/T 32905-2016 Appendix A.1."""
    assert SM3.digest(b"abc").hex() == "66c7f0f462eeedd9d1f2d46bdc10e4e24167c4875cf2f7a2297da02b8f4ba8e0"


async def test_the_second_head_covers_the_signed_records(engine: AsyncEngine, ledger: Signer):
    """Its origin says which hash; it grows from a kept frontier to the same root; what is not signed is not in it."""
    async with write(engine) as transaction:
        for number in range(300):
            transaction.append(StaffRegistered(staff=f"staff-{number}", role="auditor"))
    await ledger.sign_now()
    async with write(engine) as transaction:
        transaction.append(StaffRegistered(staff="late", role="auditor"))
    head = await second_head(engine)
    assert (head.origin, head.size) == ("ledger.example.org/test/sm3", 301)
    same = await second_head(engine, SHA256)
    signed = await ledger.sign_now()
    assert signed is not None
    assert (same.size, same.root != signed.root) == (301, True)
    assert (await second_head(engine, SHA256)).root == signed.root
