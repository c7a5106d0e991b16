"""Judges a ledger's records and tiles one after another, without reading or writing anything itself.

Fed with the bundles and tiles of a checkpoint's tree in the order of `tiles.tile_files`, it re-hashes every record,
follows the chain, parses, and grows its own tree; each served tile must equal what the records give. Invariant: what
it keeps is the tree's right edge, the digests of named documents and a bounded list of findings, so memory does not
grow with the log.
"""

import re
from binascii import b2a_base64
from collections.abc import Sequence
from typing import Any

from consent_audit.errors import CannotCheck, Malformed
from consent_audit.hashing import HASH_BYTES, TILE_WIDTH, TreeBuilder, leaf_hash
from consent_audit.note import Checkpoint
from consent_audit.record import FIRST_PREV, decode_record, decode_tail
from consent_audit.report import Report
from consent_audit.tiles import Tile, bundle_decode, unverified_entries

MAX_DOCUMENTS = 100_000
"""Different documents that a ledger may name; each costs memory."""
_DIGEST = re.compile(r"[0-9a-f]{64}", re.ASCII)
_DOCUMENTS = {
    "catalogue.activated": ("sha256",),
    "policy.proposed": ("sha256",),
    "policy.activated": ("sha256",),
    "grant.approved": ("notice", "sha256"),
    "grant.refused": ("notice", "sha256"),
}
"""Which records name a document that the ledger must carry as a blob, and by which member."""


class Audit:
    """The records of one checkpoint under examination."""

    def __init__(self, checkpoint: Checkpoint, report: Report, *, seen: Checkpoint | None = None, parse: bool = True) -> None:
        """Begin before record 0.

        Args:
            seen: an earlier checkpoint of the same key, already verified, that this tree must extend.
            parse: whether to read each record; without it only hashes, chain, order of indexes and tiles are judged.
        """
        self.documents: dict[str, int] = {}
        self.redacted: set[str] = set()
        self._checkpoint = checkpoint
        self._report = report
        self._seen = seen
        self._parse = parse
        self._tree = TreeBuilder()
        self._full: dict[tuple[int, int], Sequence[bytes]] = {}
        self._prev = _spell(FIRST_PREV)
        self._time = ""
        self._shift = 0

    def bundle(self, tile: Tile, data: bytes) -> None:
        """Judge the records of the next bundle.

        Raises:
            CannotCheck: after this bundle the tree cannot go on; the findings are in the report.
        """
        try:
            entries = bundle_decode(data, tile.width)
        except Malformed as error:
            # Whatever can still be read tells the auditor at which record it begins.
            entries = unverified_entries(data)[: tile.width]
            self._records(tile.first_leaf, entries, [leaf_hash(entry) for entry in entries])
            self._report.add(error.code, tile.path, str(error), tile.first_leaf)
            raise CannotCheck(f"{tile.path}: the records after it were not checked") from error
        leaves = [leaf_hash(entry) for entry in entries]
        self._records(tile.first_leaf, entries, leaves)
        self._report.records += len(entries)
        self._full = {}
        for part in self._parts(leaves):
            self._full |= {(level, n): hashes for level, n, hashes in self._tree.extend(part)}
            self._compare_seen()

    def _parts(self, leaves: list[bytes]) -> tuple[list[bytes], ...]:
        """The leaves, cut where the tree reaches the size that was seen before."""
        cut = self._seen.size - self._tree.size if self._seen else 0
        return (leaves[:cut], leaves[cut:]) if 0 < cut < len(leaves) else (leaves,)

    def _compare_seen(self) -> None:
        if self._seen and self._seen.size == self._tree.size and self._tree.root() != self._seen.root:
            self._report.add(
                "checkpoint.inconsistent",
                "checkpoint",
                f"the first {self._seen.size} records are not those that this key signed before; history was rewritten",
                self._seen.size - 1,
            )

    def tile(self, tile: Tile, data: bytes) -> None:
        """Judge a tile that the last bundle filled, or at the end one of the incomplete last tiles."""
        expected = self._full[tile.level, tile.n] if tile.width == TILE_WIDTH else self._tree.rows[tile.level]
        self._report.tiles += 1
        if data == b"".join(expected):
            return
        if len(data) != len(expected) * HASH_BYTES:
            self._report.add("tile.malformed", tile.path, f"{len(data)} bytes instead of {len(expected) * HASH_BYTES}")
            return
        at = next(i for i, value in enumerate(expected) if data[i * HASH_BYTES : (i + 1) * HASH_BYTES] != value)
        index = (tile.n * TILE_WIDTH + at) << (8 * tile.level)
        if tile.level == 0:
            self._report.add("tile.mismatch", f"record {index}", f"its bytes do not give the leaf hash in {tile.path}", index)
        else:
            self._report.add("tile.mismatch", tile.path, f"hash {at} is not what the records from {index} on give", index)

    def finish(self) -> None:
        """Judge the root, once all bundles were fed."""
        if self._checkpoint.size == 0:
            self._report.add("genesis.missing", "checkpoint", "the ledger has no record, not even its first")
        if self._tree.root() != self._checkpoint.root:
            self._report.add("tree.root", "checkpoint", "the records do not give the root that the key signed")

    def _records(self, first: int, entries: list[bytes], leaves: list[bytes]) -> None:
        prev, time, parse = self._prev, self._time, self._parse
        for index, (entry, leaf) in enumerate(zip(entries, leaves, strict=True), first):
            # A whole header compared at once proves version, index and chain, each in its one spelling.
            header = b'{"v":1,"index":%d,"prev":"%b",' % (index, prev)
            if not entry.startswith(header):
                self._diagnose(index, entry, prev)
            elif parse:
                try:
                    when, kind, data = decode_tail(entry, len(header))
                except Malformed as error:
                    self._add(error.code, index, str(error))
                else:
                    if when < time:
                        self._add("record.time", index, "is earlier than the record before it")
                    time = when
                    if index == 0 or kind in _NOTABLE:
                        self._note(index, kind, data)
            prev = b2a_base64(leaf, newline=False)
        self._prev, self._time = prev, time

    def _add(self, code: str, index: int, message: str) -> None:
        self._report.add(code, f"record {index}", message, index)

    def _diagnose(self, index: int, entry: bytes, prev: bytes) -> None:
        """Say why a record does not begin as it must."""
        try:
            record = decode_record(entry)
        except Malformed as error:
            self._add(error.code, index, str(error))
            return
        shift, self._shift = self._shift, record.index - index
        if self._shift not in {0, shift}:  # one finding where a gap begins, not one for each record behind it
            self._add("record.index", index, f"carries index {record.index}; a record was dropped, added or moved")
        if _spell(record.prev) != prev:
            what = "the zero hash" if index == 0 else f"the hash of record {index - 1} as shown here"
            self._add("record.prev", index, f"does not continue the chain: prev is not {what}")

    def _note(self, index: int, kind: str, data: dict[str, Any]) -> None:
        if index == 0:
            if kind != "ledger.genesis" or data.get("origin") != self._checkpoint.origin:
                self._add("genesis.origin", index, "is not the genesis record of the checkpoint's origin")
        elif kind == "ledger.genesis":
            self._add("genesis.repeated", index, "is a second genesis record")
        elif kind == "record.redacted":
            digest = data.get("sha256")
            if isinstance(digest, str):
                self._bounded(self.redacted)
                self.redacted.add(digest)
        else:
            self._document(index, kind, data)

    def _document(self, index: int, kind: str, data: dict[str, Any]) -> None:
        value: Any = data
        for member in _DOCUMENTS[kind]:
            value = value.get(member) if isinstance(value, dict) else None
        if not isinstance(value, str) or _DIGEST.fullmatch(value) is None:
            self._add("blob.unnamed", index, f"{kind} does not name its document by 64 hex digits")
        elif value not in self.documents:
            self._bounded(self.documents)
            self.documents[value] = index

    def _bounded(self, collection: dict[str, int] | set[str]) -> None:
        if len(collection) >= MAX_DOCUMENTS:
            raise CannotCheck(f"the ledger names more than {MAX_DOCUMENTS} documents")


_NOTABLE = frozenset({"ledger.genesis", "record.redacted", *_DOCUMENTS})


def _spell(digest: bytes) -> bytes:
    return b2a_base64(digest, newline=False)
