"""Tree mathematics against RFC 6962's own recursive definitions, written here a second time and naively."""

from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consent_audit import hashing
from consent_audit.errors import BadProof
from consent_audit.hashing import (
    EMPTY_ROOT,
    TreeBuilder,
    consistency_path,
    edge_tiles,
    inclusion_path,
    leaf_hash,
    node_hash,
    root_at,
    tile_span,
    verify_consistency,
    verify_inclusion,
)

SIZES = 300
LEAVES = [leaf_hash(f"leaf {index}".encode()) for index in range(SIZES)]


def split(length: int) -> int:
    return max(1 << power for power in range(12) if 1 << power < length)


@cache
def mth(start: int, end: int) -> bytes:
    """MTH(D[start:end]) as RFC 6962 §2.1 writes it."""
    if end == start:
        return EMPTY_ROOT
    if end - start == 1:
        return LEAVES[start]
    middle = start + split(end - start)
    return node_hash(mth(start, middle), mth(middle, end))


def path(index: int, start: int, end: int) -> list[bytes]:
    """PATH(m, D[n]) as RFC 6962 §2.1.1 writes it."""
    if end - start <= 1:
        return []
    middle = start + split(end - start)
    if index < middle:
        return [*path(index, start, middle), mth(middle, end)]
    return [*path(index, middle, end), mth(start, middle)]


def subproof(old: int, start: int, end: int, *, whole: bool) -> list[bytes]:
    """SUBPROOF(m, D[n], b) as RFC 6962 §2.1.2 writes it."""
    if old == end:
        return [] if whole else [mth(start, end)]
    middle = start + split(end - start)
    if old <= middle:
        return [*subproof(old, start, middle, whole=whole), mth(middle, end)]
    return [*subproof(old, middle, end, whole=False), mth(start, middle)]


def fetch(height: int, n: int) -> bytes:
    return mth(n << height, (n + 1) << height)


def test_inclusion_of_every_leaf_in_every_size() -> None:
    """Every leaf's path is the RFC's and verifies; under another index or leaf it does not."""
    for size in range(1, SIZES + 1):
        for index in range(size):
            proof = inclusion_path(index, size, fetch)
            assert proof == path(index, 0, size)
            verify_inclusion(LEAVES[index], index, size, proof, mth(0, size))
        for leaf, wrong in ((LEAVES[index], size), (LEAVES[index], -1), (LEAVES[index], index ^ 1), (LEAVES[0] + b"x", index)):
            with pytest.raises(BadProof):
                verify_inclusion(leaf, wrong, size, proof, mth(0, size))


def test_consistency_of_every_older_size() -> None:
    """Every older size's path is the RFC's and verifies."""
    for new in range(1, SIZES + 1):
        for old in range(1, new + 1):
            proof = consistency_path(old, new, fetch)
            assert proof == (subproof(old, 0, new, whole=True) if old < new else [])
            verify_consistency(old, new, mth(0, old), mth(0, new), proof)
        verify_consistency(0, new, EMPTY_ROOT, mth(0, new), [])


@given(st.data())
def test_changed_inclusion_proof_is_refused(data: st.DataObject) -> None:
    """A proof with one hash changed, dropped, added or moved proves nothing."""
    size = data.draw(st.integers(2, SIZES))
    index = data.draw(st.integers(0, size - 1))
    forged = mutate(data, inclusion_path(index, size, fetch))
    with pytest.raises(BadProof):
        verify_inclusion(LEAVES[index], index, size, forged, mth(0, size))


@given(st.data())
def test_changed_consistency_proof_is_refused(data: st.DataObject) -> None:
    """A proof with one hash changed, dropped, added or moved proves nothing."""
    new = data.draw(st.integers(2, SIZES))
    old = data.draw(st.integers(1, new - 1))
    forged = mutate(data, consistency_path(old, new, fetch))
    with pytest.raises(BadProof):
        verify_consistency(old, new, mth(0, old), mth(0, new), forged)


def mutate(data: st.DataObject, proof: list[bytes]) -> list[bytes]:
    at = data.draw(st.integers(0, len(proof) - 1))
    way = data.draw(st.sampled_from(["flip", "drop", "repeat", "append", "shorten"]))
    value = proof[at]
    flipped = bytes([value[0] ^ 1]) + value[1:]
    return {
        "flip": [*proof[:at], flipped, *proof[at + 1 :]],
        "drop": proof[:at] + proof[at + 1 :],
        "repeat": [*proof[: at + 1], *proof[at:]],
        "append": [*proof, value],
        "shorten": [*proof[:at], value[:31], *proof[at + 1 :]],
    }[way]


@pytest.mark.parametrize("length", [65, 1000])
def test_overlong_proofs_are_refused(length: int) -> None:
    """No tree is that deep; the proof is refused before any hashing."""
    with pytest.raises(BadProof, match="longer than any tree"):
        verify_inclusion(LEAVES[0], 0, 2, [LEAVES[1]] * length, mth(0, 2))
    with pytest.raises(BadProof, match="longer than any tree"):
        verify_consistency(1, 2, mth(0, 1), mth(0, 2), [LEAVES[1]] * length)


def test_hashes_of_another_length_are_refused() -> None:
    """A proof is refused for its shape before any of it is hashed."""
    for leaf, sibling, value in ((b"", LEAVES[1], mth(0, 2)), (LEAVES[0], b"", mth(0, 2)), (LEAVES[0], LEAVES[1], b"")):
        with pytest.raises(BadProof, match="not 32 bytes"):
            verify_inclusion(leaf, 0, 2, [sibling], value)
        with pytest.raises(BadProof, match="not 32 bytes"):
            verify_consistency(1, 2, leaf, value, [sibling])


def test_size_zero() -> None:
    """Nothing is included in the empty tree; every tree extends it, with the empty proof and its one root only."""
    with pytest.raises(BadProof):
        verify_inclusion(LEAVES[0], 0, 0, [], EMPTY_ROOT)
    with pytest.raises(BadProof):
        verify_consistency(0, 5, EMPTY_ROOT, mth(0, 5), [LEAVES[0]])
    with pytest.raises(BadProof):
        verify_consistency(0, 5, LEAVES[0], mth(0, 5), [])
    with pytest.raises(BadProof):
        verify_consistency(0, 0, LEAVES[0], LEAVES[0], [])


def test_one_size_has_one_root() -> None:
    """Two roots of one size are a fork, whatever the proof."""
    with pytest.raises(BadProof):
        verify_consistency(5, 5, mth(0, 5), mth(0, 6), [])
    with pytest.raises(BadProof):
        verify_consistency(5, 5, mth(0, 5), mth(0, 5), [LEAVES[0]])
    with pytest.raises(BadProof):
        verify_consistency(6, 5, mth(0, 6), mth(0, 5), [])


@given(st.lists(st.integers(0, 700), min_size=1, max_size=6))
def test_growing_tree_equals_the_naive_one(steps: list[int]) -> None:
    """However the leaves arrive, root, full tiles and right edge are those of the definition, also after a restart."""
    tree = TreeBuilder()
    leaves: list[bytes] = []
    for step in steps:
        new = [leaf_hash(f"{len(leaves) + i}".encode()) for i in range(step)]
        leaves += new
        for level, n, hashes in tree.extend(new):
            width = 256**level
            assert hashes == [hashing.root(leaves[(n * 256 + i) * width : (n * 256 + i + 1) * width]) for i in range(256)]
        tree = TreeBuilder(tree.size, tree.rows)
    assert tree.size == len(leaves)
    assert tree.root() == hashing.root(leaves)
    assert [len(row) for row in tree.rows] == [width for _, _, width in edge_tiles(tree.size)]


@pytest.mark.parametrize("size", [0, 1, 2, 255, 256, 257, 300])
def test_root_from_stored_nodes(size: int) -> None:
    """The root follows from complete subtrees alone."""
    assert root_at(size, fetch) == mth(0, size)


def test_tile_edge_that_does_not_fit_is_refused() -> None:
    """A restart on rows of another size would sign a wrong root."""
    with pytest.raises(ValueError, match="right edge"):
        TreeBuilder(300, [LEAVES[:43], []])


@given(st.integers(0, 40), st.integers(0, 10**6))
def test_node_comes_from_one_tile(height: int, n: int) -> None:
    """A node's span lies in one tile and covers the node's leaves."""
    level, first, count = tile_span(height, n)
    assert first // 256 == (first + count - 1) // 256
    assert (first << (8 * level), count << (8 * level)) == (n << height, 1 << height)
