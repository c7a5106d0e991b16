"""Paths and contents of tiles and entry bundles (C2SP tlog-tiles).

A tile holds up to 256 hashes, a bundle the up to 256 entries under a level-0 tile. A path has one spelling; a bundle
is read only to its exact end and count.
"""

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from consent_audit.encoding import MAX_SIZE, parse_decimal
from consent_audit.errors import MalformedTile
from consent_audit.hashing import HASH_BYTES, TILE_HEIGHT, TILE_WIDTH

MAX_ENTRY_BYTES = 65_535
MAX_BUNDLE_BYTES = TILE_WIDTH * (2 + MAX_ENTRY_BYTES)
ENTRIES = -1
"""The `level` of an entry bundle."""
_LEVEL = re.compile(r"0|[1-9]|[1-5][0-9]|6[0-3]", re.ASCII)
_GROUP = re.compile(r"[0-9]{3}", re.ASCII)


class Tile(NamedTuple):
    """A tile or bundle: its level (`ENTRIES` for a bundle), number and width 1..256."""

    level: int
    n: int
    width: int = TILE_WIDTH

    @property
    def path(self) -> str:
        """Path below the log's prefix."""
        level = "entries" if self.level == ENTRIES else str(self.level)
        partial = "" if self.width == TILE_WIDTH else f".p/{self.width}"
        return f"tile/{level}/{_number(self.n)}{partial}"

    @property
    def first_leaf(self) -> int:
        """Index of the first record below this tile."""
        return self.n << (TILE_HEIGHT * (max(self.level, 0) + 1))


def _number(n: int) -> str:
    groups = [f"{n % 1000:03d}"]
    while n := n // 1000:
        groups.append(f"x{n % 1000:03d}")
    return "/".join(reversed(groups))


def tile_path(level: int, n: int, width: int = TILE_WIDTH) -> str:
    """Path of a tile of hashes; a width below 256 is a partial tile."""
    return Tile(level, n, width).path


def entries_path(n: int, width: int = TILE_WIDTH) -> str:
    """Path of an entry bundle."""
    return Tile(ENTRIES, n, width).path


def parse_path(path: str) -> Tile:
    """Read `tile/<L>/<N>[.p/<W>]` or `tile/entries/<N>[.p/<W>]`.

    Raises:
        MalformedTile: any other spelling.
    """
    try:
        tile = _parse(path)
    except ValueError as error:
        raise MalformedTile("not a tile path") from error
    if tile.path != path:
        raise MalformedTile("tile path in a spelling that is not allowed")
    return tile


def _parse(path: str) -> Tile:
    parts = path.split("/")
    width = TILE_WIDTH
    if len(parts) > 3 and parts[-2].endswith(".p"):
        width = parse_decimal(parts.pop(), maximum=TILE_WIDTH - 1)
        parts[-1] = parts[-1].removesuffix(".p")
    if not 3 <= len(parts) <= 3 + 6 or parts[0] != "tile" or width == 0:
        raise ValueError("shape")
    if parts[1] != "entries" and _LEVEL.fullmatch(parts[1]) is None:
        raise ValueError("level")
    return Tile(ENTRIES if parts[1] == "entries" else int(parts[1]), _parse_number(parts[2:]), width)


def _parse_number(groups: Sequence[str]) -> int:
    value = 0
    for group in groups:
        digits = group.removeprefix("x")
        if _GROUP.fullmatch(digits) is None:
            raise ValueError("number")
        value = value * 1000 + int(digits)
    if value > MAX_SIZE:
        raise ValueError("number")
    return value


def tile_files(size: int) -> Iterator[Tile]:
    """Every tile and bundle of a published tree of `size`, in the order in which a verifier reads them.

    Each bundle is followed by its level-0 tile and the higher tiles that it completes; partial tiles come last.
    """
    for n in range(size // TILE_WIDTH):
        yield Tile(ENTRIES, n)
        yield Tile(0, n)
        level, done = 1, n + 1
        while done % TILE_WIDTH == 0:
            done //= TILE_WIDTH
            yield Tile(level, done - 1)
            level += 1
    if size % TILE_WIDTH:
        yield Tile(ENTRIES, size // TILE_WIDTH, size % TILE_WIDTH)
    level = 0
    while size >> (TILE_HEIGHT * level):
        n, width = divmod(size >> (TILE_HEIGHT * level), TILE_WIDTH)
        if width:
            yield Tile(level, n, width)
        level += 1


def bundle_encode(entries: Sequence[bytes]) -> bytes:
    """The bundle of 1 to 256 entries: each a big-endian 16-bit length and its bytes.

    Raises:
        ValueError: no entry, more than 256, or one above 65,535 bytes.
    """
    if not 1 <= len(entries) <= TILE_WIDTH or any(len(entry) > MAX_ENTRY_BYTES for entry in entries):
        raise ValueError("a bundle holds 1 to 256 entries of at most 65,535 bytes")
    return b"".join([len(entry).to_bytes(2, "big") + entry for entry in entries])


def bundle_decode(data: bytes, width: int) -> list[bytes]:
    """The entries of a bundle that must hold exactly `width` of them.

    Raises:
        MalformedTile: cut short, or too few or too many entries.
    """
    entries, position = _entries(data)
    if position != len(data):
        raise MalformedTile("bundle: cut inside an entry")
    if len(entries) != width:
        raise MalformedTile(f"bundle: holds {len(entries)} entries instead of {width}")
    return entries


def first_entries(data: bytes, width: int) -> bytes:
    """The beginning of a bundle that holds its first `width` entries, or all of it if it has fewer."""
    position, end = 0, len(data)
    for _ in range(width):
        if position + 1 >= end:
            break
        position += 2 + (data[position] << 8 | data[position + 1])
    return data[:position]


def unverified_entries(data: bytes) -> list[bytes]:
    """The whole entries at the beginning of a bundle that may be cut or hold any number of them."""
    entries, position = _entries(data)
    return entries if position == len(data) else entries[:-1]


def _entries(data: bytes) -> tuple[list[bytes], int]:
    """The entries and where the last one should end, which is beyond the data if that one is cut."""
    entries = []
    position, end = 0, len(data)
    while position < end:
        start = position + 2
        # Of a length that is cut only the first byte is there; the entry then ends beyond the data in any case.
        length = data[position] << 8 | data[position + 1] if start <= end else 0
        position = start + length
        entries.append(data[start:position])
    return entries, position


def tile_decode(data: bytes, width: int) -> list[bytes]:
    """The hashes of a tile that must hold exactly `width` of them.

    Raises:
        MalformedTile: another length.
    """
    if len(data) != width * HASH_BYTES:
        raise MalformedTile(f"tile: {len(data)} bytes instead of {width * HASH_BYTES}")
    return [data[at : at + HASH_BYTES] for at in range(0, len(data), HASH_BYTES)]
