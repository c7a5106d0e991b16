"""Tile paths, bundles and the list of files that a published tree has."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consent_audit.errors import MalformedTile
from consent_audit.tiles import ENTRIES, Tile, bundle_decode, bundle_encode, entries_path, parse_path, tile_decode, tile_files, tile_path


def test_paths_of_the_specification() -> None:
    """The examples of C2SP tlog-tiles."""
    assert tile_path(0, 1234067) == "tile/0/x001/x234/067"
    assert tile_path(0, 5) == "tile/0/005"
    assert tile_path(0, 273, 112) == "tile/0/273.p/112"
    assert entries_path(999) == "tile/entries/999"
    assert entries_path(1000, 1) == "tile/entries/x001/000.p/1"


@given(st.integers(ENTRIES, 63), st.integers(0, 2**60), st.integers(1, 256))
def test_path_round_trip(level: int, n: int, width: int) -> None:
    """Every tile's path reads back as that tile."""
    tile = Tile(level, n, width)
    assert parse_path(tile.path) == tile


@pytest.mark.parametrize(
    "path",
    [
        "",
        "tile",
        "tile/0",
        "tile/0/5",
        "tile/0/0005",
        "tile/0/x005",
        "tile/0/x000/005",
        "tile/0/001/005",
        "tile/00/005",
        "tile/64/005",
        "tile/-1/005",
        "tile/+1/005",
        "tile/0/005.p/0",
        "tile/0/005.p/256",
        "tile/0/005.p/01",
        "tile/0/005.p/",
        "tile/0/005.p",
        "tile/0/005/",
        "/tile/0/005",
        "tile/0/../0/005",
        "tile/0/٠٠٥",
        "tile/٣/005",
        "tile/0/ 05",
        "tile/0/0_5",
        "tile/data/005",
        "tile/0/" + "x999/" * 7 + "999",
        "tile/0/" + "x001/" * 40 + "001",
    ],
)
def test_other_spellings_are_refused(path: str) -> None:
    """A path has one spelling, and none leads out of the tree."""
    with pytest.raises(MalformedTile):
        parse_path(path)


@pytest.mark.parametrize("size", [0, 1, 255, 256, 257, 511, 512, 65535, 65536, 65537, 66000])
def test_files_of_a_tree(size: int) -> None:
    """Exactly the full tiles and partial widths that tlog-tiles demands for a size, each once, and no empty one."""
    expected = set()
    for level in range(4):
        hashes = size >> (8 * level)
        expected |= {(level, n, 256) for n in range(hashes >> 8)}
        if hashes % 256:
            expected.add((level, hashes >> 8, hashes % 256))
    expected |= {(ENTRIES, n, width) for level, n, width in expected if level == 0}
    files = list(tile_files(size))
    assert len(files) == len(set(files))
    assert set(files) == expected


@given(st.lists(st.binary(max_size=300), min_size=1, max_size=256))
def test_bundle_round_trip(entries: list[bytes]) -> None:
    """A bundle reads back as its entries."""
    assert bundle_decode(bundle_encode(entries), len(entries)) == entries


@given(st.lists(st.binary(max_size=9), min_size=1, max_size=9), st.data())
def test_cut_bundle_is_refused(entries: list[bytes], data: st.DataObject) -> None:
    """A bundle that ends early or holds another number of entries is refused."""
    raw = bundle_encode(entries)
    cut = data.draw(st.integers(0, len(raw) - 1))
    with pytest.raises(MalformedTile):
        bundle_decode(raw[:cut], len(entries))
    with pytest.raises(MalformedTile):
        bundle_decode(raw + b"\x00", len(entries))
    with pytest.raises(MalformedTile):
        bundle_decode(raw + b"\x00\x00", len(entries))


@pytest.mark.parametrize("entries", [[], [b""] * 257, [bytes(65_536)]])
def test_bundle_that_cannot_be_written(entries: list[bytes]) -> None:
    """No bundle is empty, holds more than 256 entries or one beyond 65,535 bytes."""
    with pytest.raises(ValueError, match="bundle"):
        bundle_encode(entries)


def test_tile_length() -> None:
    """A tile has exactly its width in hashes."""
    assert tile_decode(bytes(64), 2) == [bytes(32)] * 2
    for length in (0, 63, 65, 96):
        with pytest.raises(MalformedTile):
            tile_decode(bytes(length), 2)
