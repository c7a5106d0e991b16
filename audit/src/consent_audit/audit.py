"""Judges a ledger's records and tiles one after another, without reading or writing anything itself.

Fed with the bundles and tiles of a checkpoint's tree in the order of `tiles.tile_files`, it re-hashes every record,
follows the chain, holds each record against the grammar of its type, and grows its own tree; each served tile must equal
what the records give. Invariant: what it keeps is the tree's right edge, the ledger's statements about itself and a bounded
list of findings, so memory does not grow with the log.
"""

import json
from binascii import b2a_base64
from collections.abc import Callable, Iterable, Iterator, Sequence
from hashlib import sha256
from itertools import pairwise
from typing import Any, NamedTuple

from consent_audit.errors import CannotCheck, Malformed
from consent_audit.grammar import PATTERNS, tail_grammar
from consent_audit.hashing import HASH_BYTES, TILE_WIDTH, TreeBuilder
from consent_audit.note import Checkpoint
from consent_audit.record import FIRST_PREV, Record, decode_record, decode_tail, real_second
from consent_audit.report import Report
from consent_audit.statements import NOTABLE, Statements
from consent_audit.tiles import Tile

_TIME = len('"time":"')
_TYPE = len('"time":"2026-11-20T08:00:00.000Z","type":"')
_DATA = len('","data":')
_LEAF = sha256(b"\x00")
"""The beginning of every leaf hash (RFC 6962 §2.1)."""


class _Form(NamedTuple):
    """What the record before was, since the next one is probably of the same type."""

    kind: str
    fullmatch: Callable[[bytes, int, int], Any]
    looked_at: bool


class Audit:
    """The records of one checkpoint under examination."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        report: Report,
        *,
        marks: Iterable[int] = (),
        parse: bool = True,
        visit: Callable[[Record], None] | None = None,
    ) -> None:
        """Begin before record 0.

        Args:
            marks: sizes at which the tree's root is wanted; it then stands in `roots`.
            parse: whether to read each record; without it only hashes, chain, order of indexes and tiles are judged.
            visit: is handed each well-formed record in order. What it makes of them counts only if the report says verified.
        """
        self.statements = Statements(checkpoint, report)
        self._checkpoint = checkpoint
        self._report = report
        self.roots: dict[int, bytes] = {}
        self._marks = frozenset(marks)
        self._parse = parse
        self._visit = visit
        self._tree = TreeBuilder()
        self._full: dict[tuple[int, int], Sequence[bytes]] = {}
        self._leaf = FIRST_PREV
        self._time = b""
        self._shift = 0
        self._form = self._form_of("ledger.genesis")

    def bundle(self, tile: Tile, data: bytes) -> None:
        """Judge the records of the next bundle.

        Raises:
            CannotCheck: after this bundle the tree cannot go on; the findings are in the report.
        """
        leaves, fault = self._records(tile, data)
        if fault:
            self._report.add("tile.malformed", tile.path, fault, tile.first_leaf)
            raise CannotCheck(f"{tile.path}: the records after it were not checked")
        self._report.records += len(leaves)
        self._full = {}
        for part in self._parts(leaves):
            self._full |= {(level, n): hashes for level, n, hashes in self._tree.extend(part)}
            if self._tree.size in self._marks:
                self.roots[self._tree.size] = self._tree.root()

    def _parts(self, leaves: list[bytes]) -> Iterator[list[bytes]]:
        """The leaves, cut where the tree reaches a size whose root is wanted."""
        size = self._tree.size
        cuts = sorted(mark - size for mark in self._marks if 0 < mark - size < len(leaves))
        return (leaves[start:end] for start, end in pairwise([0, *cuts, len(leaves)]))

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
        elif self._parse:
            self.statements.finish()
        if self._tree.root() != self._checkpoint.root:
            self._report.add("tree.root", "checkpoint", "the records do not give the root that the key signed")

    def _records(self, tile: Tile, data: bytes) -> tuple[list[bytes], str]:
        """The leaf hashes of a bundle's records, each judged at its place, and what is wrong with the bundle, if anything.

        This loop is the verifier's speed: it works on the bundle in place, and cuts a record out of it once, to be hashed.
        """
        leaf, parse, form, leaf_state = self._leaf, self._parse, self._form, _LEAF.copy
        leaves: list[bytes] = []
        position, end, add = 0, len(data), leaves.append
        for index in range(tile.first_leaf, tile.first_leaf + tile.width):
            start = position + 2
            if start > end:
                break
            after = start + (data[position] << 8 | data[position + 1])
            if after > end:
                break
            # A whole header compared at once proves version, index and chain, each in its one spelling.
            header = b'{"v":1,"index":%d,"prev":"%b",' % (index, b2a_base64(leaf, newline=False))
            if not data.startswith(header, start):
                self._diagnose(index, data[start:after], leaf)
            elif parse:
                tail = start + len(header)
                if form.looked_at or not form.fullmatch(data, tail, after):
                    form = self._look(index, leaf, data, tail, after) or form
                elif (when := data[tail + _TIME : tail + _TIME + 24]) != self._time:
                    self._clock(index, when)
            state = leaf_state()
            state.update(data[start:after])
            leaf = state.digest()
            add(leaf)
            position = after
        self._leaf, self._form = leaf, form
        if position != end:
            return leaves, "cut inside a record" if len(leaves) < tile.width else f"holds more than {tile.width} records"
        return leaves, "" if len(leaves) == tile.width else f"holds {len(leaves)} records instead of {tile.width}"

    def _form_of(self, kind: str) -> _Form:
        return _Form(kind, tail_grammar(kind).fullmatch, kind in NOTABLE or self._visit is not None)

    def _look(self, index: int, leaf: bytes, data: bytes, tail: int, after: int) -> _Form | None:
        """Judge a record of another type than the one before, or one whose content matters. Returns the form of its type, if known."""
        kind_end = data.find(b'"', tail + _TYPE, after)
        kind = data[tail + _TYPE : kind_end].decode("ascii", "replace")
        form = self._form_of(kind) if kind in PATTERNS else None
        try:
            if form is not None and form.fullmatch(data, tail, after):
                content = json.loads(data[kind_end + _DATA : after - 1]) if form.looked_at or index == 0 else None
            else:
                _, kind, content = decode_tail(data[tail:after], 0)
                if form is not None:
                    self._add("record.malformed", index, f"is not in the form of {kind}")
                    return form
                self._report.unknown_types += 1
        except Malformed as error:
            self._add(error.code, index, str(error))
            return form
        when = data[tail + _TIME : tail + _TIME + 24]
        self._clock(index, when)
        if kind in NOTABLE or index == 0:
            self.statements.note(index, kind, content or {})
        if self._visit is not None:
            self._visit(Record(index, leaf, when.decode("ascii"), kind, content or {}))
        return form

    def _clock(self, index: int, when: bytes) -> None:
        """Judge the time of a record that is otherwise in its form."""
        if not real_second(when[:19].decode("ascii")):
            self._add("record.malformed", index, "record: time does not exist")
        if when < self._time:
            self._add("record.time", index, "is earlier than the record before it")
        self._time = when

    def _add(self, code: str, index: int, message: str) -> None:
        self._report.add(code, f"record {index}", message, index)

    def _diagnose(self, index: int, entry: bytes, leaf: bytes) -> None:
        """Say why a record does not begin as it must."""
        try:
            record = decode_record(entry)
        except Malformed as error:
            self._add(error.code, index, str(error))
            return
        shift, self._shift = self._shift, record.index - index
        if self._shift not in {0, shift}:  # one finding where a gap begins, not one for each record behind it
            self._add("record.index", index, f"carries index {record.index}; a record was dropped, added or moved")
        if record.prev != leaf:
            what = "the zero hash" if index == 0 else f"the hash of record {index - 1} as shown here"
            self._add("record.prev", index, f"does not continue the chain: prev is not {what}")
