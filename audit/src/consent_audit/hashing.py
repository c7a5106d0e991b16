"""Merkle tree of RFC 6962 §2.1 over SHA-256: hashes, paths and their verification, and a tree that grows.

Pure: bytes in, bytes out. A *node* `(height, n)` is the complete subtree over leaves `[n·2^height, (n+1)·2^height)`.
Tile level L of C2SP tlog-tiles holds the nodes of height 8·L. Hashes are always 32 raw bytes.
"""

from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256

from consent_audit.errors import BadProof

HASH_BYTES = 32
TILE_HEIGHT = 8
TILE_WIDTH = 1 << TILE_HEIGHT
TILE_BYTES = TILE_WIDTH * HASH_BYTES
EMPTY_ROOT = sha256(b"").digest()
MAX_PATH = 63
"""No tree of fewer than 2^63 leaves has a longer inclusion path; a consistency path has at most one hash more."""

_NODE = sha256(b"\x01")
"""The beginning of every node's hash; to copy it is cheaper than to begin anew."""

Node = tuple[int, int]
Fetch = Callable[[int, int], bytes]
"""Reads the hash of node `(height, n)`."""


def leaf_hash(entry: bytes) -> bytes:
    """Hash of one entry: SHA-256(0x00 || entry)."""
    return sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash of two subtrees: SHA-256(0x01 || left || right)."""
    return sha256(b"\x01" + left + right).digest()


def root(leaves: Sequence[bytes]) -> bytes:
    """MTH over leaf hashes (not entries). Of nothing: SHA-256 of the empty string."""
    if not leaves:
        return EMPTY_ROOT
    row, begin = list(leaves), _NODE.copy
    # Pairing neighbours and carrying an odd last one up is the same tree as RFC 6962's split at a power of two.
    while len(row) > 1:
        above: list[bytes] = []
        for left, right in zip(row[::2], row[1::2], strict=False):
            state = begin()
            state.update(left + right)
            above.append(state.digest())
        row = above + (row[-1:] if len(row) % 2 else [])
    return row[0]


def root_from_nodes(hashes: Sequence[bytes]) -> bytes:
    """Root of a range from the hashes of its complete subtrees, left to right as `range_nodes` lists them."""
    if not hashes:
        return EMPTY_ROOT
    value = hashes[-1]
    for left in reversed(hashes[:-1]):
        value = node_hash(left, value)
    return value


def range_nodes(start: int, end: int) -> list[Node]:
    """Complete subtrees that make up `[start, end)`, left to right.

    `start` is a multiple of the largest power of two below the length, as in every range that a path names.
    """
    nodes = []
    while start < end:
        height = (end - start).bit_length() - 1
        nodes.append((height, start >> height))
        start += 1 << height
    return nodes


def tile_span(height: int, n: int) -> tuple[int, int, int]:
    """Where a node comes from in a store of tile rows: `(level, first, count)`.

    The node is the `root` of `count` (at most 128) consecutive hashes of tile level `level`, from hash `first`; they
    always lie in one tile.
    """
    level, rest = divmod(height, TILE_HEIGHT)
    return level, n << rest, 1 << rest


def _split(length: int) -> int:
    """Largest power of two strictly below `length` (RFC 6962 §2.1)."""
    return 1 << ((length - 1).bit_length() - 1)


def inclusion_ranges(index: int, size: int) -> list[tuple[int, int]]:
    """Leaf ranges whose roots form the inclusion path of `index`, the leaf's sibling first.

    Raises:
        ValueError: not `0 <= index < size`.
    """
    if not 0 <= index < size:
        raise ValueError("index outside the tree")
    start, end, ranges = 0, size, []
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            ranges.append((middle, end))
            end = middle
        else:
            ranges.append((start, middle))
            start = middle
    return ranges[::-1]


def consistency_ranges(old: int, new: int) -> list[tuple[int, int]]:
    """Leaf ranges whose roots form the consistency path between two sizes; none if `old` is 0 or equals `new`.

    Raises:
        ValueError: not `0 <= old <= new`.
    """
    if not 0 <= old <= new:
        raise ValueError("old size outside the tree")
    if old in {0, new}:
        return []
    start, end, ranges = 0, new, []
    while old != end:
        middle = start + _split(end - start)
        if old <= middle:
            ranges.append((middle, end))
            end = middle
        else:
            ranges.append((start, middle))
            start = middle
    if start > 0:
        ranges.append((start, end))
    return ranges[::-1]


def _path(ranges: Iterable[tuple[int, int]], fetch: Fetch) -> list[bytes]:
    return [root_from_nodes([fetch(height, n) for height, n in range_nodes(start, end)]) for start, end in ranges]


def inclusion_path(index: int, size: int, fetch: Fetch) -> list[bytes]:
    """Inclusion path of leaf `index` in the tree of `size` (RFC 6962 §2.1.1), reading nodes with `fetch`."""
    return _path(inclusion_ranges(index, size), fetch)


def consistency_path(old: int, new: int, fetch: Fetch) -> list[bytes]:
    """Consistency path between sizes `old` and `new` (RFC 6962 §2.1.2), reading nodes with `fetch`."""
    return _path(consistency_ranges(old, new), fetch)


def root_at(size: int, fetch: Fetch) -> bytes:
    """Root of the first `size` leaves, reading nodes with `fetch`."""
    return root_from_nodes([fetch(height, n) for height, n in range_nodes(0, size)])


def _check_shape(hashes: Iterable[bytes], path: Sequence[bytes]) -> None:
    if len(path) > MAX_PATH + 1:
        raise BadProof("proof is longer than any tree is deep")
    if any(len(value) != HASH_BYTES for value in (*hashes, *path)):
        raise BadProof("a hash of the proof is not 32 bytes")


def verify_inclusion(leaf: bytes, index: int, size: int, path: Sequence[bytes], root: bytes) -> None:
    """Check that `leaf` stands at `index` in the tree of `size` with `root` (RFC 9162 §2.1.3.2).

    Args:
        leaf: leaf hash, not the entry.
        path: the leaf's sibling first.

    Raises:
        BadProof: it does not, or the proof is too long or too short.
    """
    _check_shape((leaf, root), path)
    if not 0 <= index < size:
        raise BadProof("index outside the tree")
    position, last, value = index, size - 1, leaf
    for sibling in path:
        if last == 0:
            raise BadProof("inclusion proof too long")
        if position & 1 or position == last:
            value = node_hash(sibling, value)
            while not position & 1 and position:
                position >>= 1
                last >>= 1
        else:
            value = node_hash(value, sibling)
        position >>= 1
        last >>= 1
    if last != 0:
        raise BadProof("inclusion proof too short")
    if value != root:
        raise BadProof("inclusion proof leads to another root")


def verify_consistency(old: int, new: int, old_root: bytes, new_root: bytes, path: Sequence[bytes]) -> None:
    """Check that the tree of size `new` extends the tree of size `old` (RFC 9162 §2.1.4.2).

    An `old` of 0 has only the empty proof and the root of the empty tree.

    Raises:
        BadProof: it does not, or the proof is too long or too short.
    """
    _check_shape((old_root, new_root), path)
    if not 0 <= old <= new:
        raise BadProof("old size larger than the new one")
    if old in {0, new}:
        if path:
            raise BadProof("consistency proof must be empty")
        if old_root != (new_root if old == new else EMPTY_ROOT) or (new == 0 and new_root != EMPTY_ROOT):
            raise BadProof("trees of one size have two roots")
        return
    hashes = list(path)
    if old & (old - 1) == 0:
        hashes.insert(0, old_root)
    if len(hashes) < 2:
        raise BadProof("consistency proof too short")
    got_old, got_new = _climb(old - 1, new - 1, hashes)
    if got_old != old_root:
        raise BadProof("consistency proof leads to another old root")
    if got_new != new_root:
        raise BadProof("consistency proof leads to another new root")


def _climb(position: int, last: int, hashes: Sequence[bytes]) -> tuple[bytes, bytes]:
    while position & 1:
        position >>= 1
        last >>= 1
    got_old = got_new = hashes[0]
    for sibling in hashes[1:]:
        if last == 0:
            raise BadProof("consistency proof too long")
        if position & 1 or position == last:
            got_old, got_new = node_hash(sibling, got_old), node_hash(sibling, got_new)
            while not position & 1 and position:
                position >>= 1
                last >>= 1
        else:
            got_new = node_hash(got_new, sibling)
        position >>= 1
        last >>= 1
    if last != 0:
        raise BadProof("consistency proof too short")
    return got_old, got_new


class TreeBuilder:
    """A tree that grows by leaves and keeps only its right edge: at most 255 hashes per tile level.

    Invariants: `rows[L]` holds the hashes of level L's incomplete last tile, so `len(rows[L]) == (size >> 8·L) % 256`.
    """

    __slots__ = ("rows", "size")

    def __init__(self, size: int = 0, rows: Sequence[Sequence[bytes]] = ()) -> None:
        """Start empty, or go on from a stored right edge.

        Raises:
            ValueError: `rows` do not have the widths that `size` demands.
        """
        self.size = size
        self.rows: list[list[bytes]] = [list(row) for row in rows]
        widths = [width for _, _, width in edge_tiles(size)]
        if [len(row) for row in self.rows] != widths or any(len(value) != HASH_BYTES for row in self.rows for value in row):
            raise ValueError("right edge does not fit the size")

    def append(self, leaf: bytes) -> list[tuple[int, int, list[bytes]]]:
        """Append one leaf hash; see `extend`."""
        return self.extend((leaf,))

    def extend(self, leaves: Sequence[bytes]) -> list[tuple[int, int, list[bytes]]]:
        """Append leaf hashes.

        Returns:
            The tiles that became full, as `(level, n, hashes)`, lower levels first where one fills another. The `root`
            of a full tile `(level, n)` is hash `n` of level + 1.
        """
        full: list[tuple[int, int, list[bytes]]] = []
        taken = 0
        while taken < len(leaves):
            if not self.rows:
                self.rows.append([])
            row = self.rows[0]
            step = leaves[taken : taken + TILE_WIDTH - len(row)]
            row.extend(step)
            taken += len(step)
            self.size += len(step)
            if len(row) == TILE_WIDTH:
                self._carry(full)
        return full

    def _carry(self, full: list[tuple[int, int, list[bytes]]]) -> None:
        level = 0
        while len(self.rows[level]) == TILE_WIDTH:
            done = self.rows[level]
            full.append((level, (self.size >> (TILE_HEIGHT * (level + 1))) - 1, done))
            self.rows[level] = []
            level += 1
            if level == len(self.rows):
                self.rows.append([])
            self.rows[level].append(root(done))

    def root(self) -> bytes:
        """Root of all leaves so far."""
        value: bytes | None = None
        # The incomplete tile of a lower level is the right end of everything above it.
        for row in self.rows:
            if row or value is not None:
                value = _ragged_root(row, value)
        return EMPTY_ROOT if value is None else value


def _ragged_root(row: Sequence[bytes], tail: bytes | None) -> bytes:
    """Root of complete equal subtrees `row` followed by a smaller subtree `tail`."""
    peaks = [root(row[first : first + (1 << height)]) for height, first in ((h, n << h) for h, n in range_nodes(0, len(row)))]
    return root_from_nodes(peaks if tail is None else [*peaks, tail])


def edge_tiles(size: int) -> list[tuple[int, int, int]]:
    """The incomplete last tile of every level up to the highest, as `(level, n, width)`; width may be 0.

    What a store must read to resume a `TreeBuilder`: hashes `256·n … 256·n + width - 1` of each level.
    """
    tiles = []
    level = 0
    while size >> (TILE_HEIGHT * level):
        n, width = divmod(size >> (TILE_HEIGHT * level), TILE_WIDTH)
        tiles.append((level, n, width))
        level += 1
    return tiles
