"""The seam for a second tree over the same records: another hash, another head, the same bytes (docs/spec/ledger.md §5).

Institutions that must use the national algorithms want the tree under SM3 (GB/T 32905) and its head signed with SM2 (GB/T 32918). The
records do not depend on the hash, so the tree can be grown beside, from record 0 or from any frontier that was kept. Here is the tree, for
any hash of bytes, and its head over what is signed already. What is left to be filled: the head is not signed, stored or served; an SM2
signature comes from a certified device, and C2SP has no signature type for it yet. `consent ledger second-head` prints the text that such a
device would sign.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

from cryptography.hazmat.primitives import hashes
from sqlalchemy.ext.asyncio import AsyncEngine

from consent import db
from consent.errors import Unavailable
from consent.ledger import store
from consent.ledger.tree import CHUNK, LedgerBroken
from consent_audit.note import Checkpoint, split_note


class TreeHash(NamedTuple):
    """A hash of bytes to 32 bytes, and the word behind the origin of heads under it."""

    name: str
    digest: Callable[[bytes], bytes]


def _sm3(value: bytes) -> bytes:
    state = hashes.Hash(hashes.SM3())
    state.update(value)
    return state.finalize()


SM3 = TreeHash("sm3", _sm3)


@dataclass(slots=True)
class Frontier:
    """A tree that only grows: its size, and the roots of its complete subtrees from the largest to the smallest."""

    hash: TreeHash
    size: int = 0
    roots: tuple[bytes, ...] = ()

    def extend(self, records: Iterable[bytes]) -> None:
        """Append records, each as it stands in the ledger."""
        roots, digest = list(self.roots), self.hash.digest
        for record in records:
            value, filled = digest(b"\x00" + record), self.size
            while filled & 1:
                value, filled = digest(b"\x01" + roots.pop() + value), filled >> 1
            roots.append(value)
            self.size += 1
        self.roots = tuple(roots)

    def root(self) -> bytes:
        """The tree's root (RFC 6962 §2.1 with this hash)."""
        if not self.roots:
            return self.hash.digest(b"")
        value = self.roots[-1]
        for left in reversed(self.roots[:-1]):
            value = self.hash.digest(b"\x01" + left + value)
        return value


async def second_head(engine: AsyncEngine, kind: TreeHash = SM3) -> Checkpoint:
    """The unsigned head, under another hash, of the records below the newest signed head.

    Raises:
        Unavailable: nothing was signed yet.
        LedgerBroken: records are missing.
    """
    async with db.read(engine) as connection:
        head = await store.newest_head(connection)
    if head is None:
        raise Unavailable("账本尚未签出第一个检查点，请稍后重试。", "The ledger has no signed checkpoint yet; try again in a moment.")
    tree = Frontier(kind)
    while tree.size < head.size:
        async with db.read(engine) as connection:
            records = await store.entries(connection, tree.size, min(CHUNK, head.size - tree.size))
        if not records:
            raise LedgerBroken(f"records from {tree.size} on are missing")
        tree.extend(records)
    origin = Checkpoint.parse(split_note(head.note)[0]).origin
    return Checkpoint(f"{origin}/{kind.name}", tree.size, tree.root())
