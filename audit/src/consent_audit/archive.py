"""Exports as tar files: a writer that gives equal bytes for equal ledgers, and a reader that trusts nothing.

Only plain POSIX ustar with regular files (and ignored directories). Nothing is ever extracted; links, devices,
extension headers, absolute or climbing names, repeated names and members longer than the file are refused, because two
programs could read them as two different ledgers. Memory does not grow with the members' sizes, and by sixteen bytes per
full tile with their number.
"""

import os
import re
from array import array
from pathlib import Path
from typing import BinaryIO, Self

from consent_audit.errors import CannotCheck, MalformedTile, Missing
from consent_audit.hashing import TILE_HEIGHT, TILE_WIDTH
from consent_audit.tiles import Tile, parse_path

BLOCK = 512
MAX_MEMBER_BYTES = 8**11 - 1
MAX_SINGLE_MEMBERS = 200_000
"""Partial tiles and blobs that one archive may hold."""
_OCTAL = re.compile(rb" *([0-7]{1,11})[ \x00]*")
_NAME = re.compile(r"[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*", re.ASCII)
_CHECKPOINTS = frozenset({"checkpoint", "checkpoint.witnessed"})
_BLOB = re.compile(r"blobs/[0-9a-f]{64}", re.ASCII)


class TarWriter:
    """Writes regular files with fixed owner, mode and time, so that one ledger has one archive per size."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def add(self, path: str, body: bytes) -> None:
        """Append one file. Paths of this format fit the 100 bytes of a plain header.

        Raises:
            ValueError: a name or body that the archive form cannot hold.
        """
        name = path.encode("ascii")
        if len(name) > 100 or not _plain(path) or len(body) > MAX_MEMBER_BYTES:
            raise ValueError("not a name or size for this archive")
        header = bytearray(BLOCK)
        header[: len(name)] = name
        header[100:148] = b"0000644\x000000000\x000000000\x00%011o\x0000000000000\x00" % len(body)
        header[148:157] = b"        0"
        header[257:265] = b"ustar\x0000"
        header[148:156] = b"%06o\x00 " % sum(header)
        self._file.write(header)
        self._file.write(body)
        self._file.write(bytes(-len(body) % BLOCK))

    def finish(self) -> None:
        """Write the end marker. Without it a reader says that the archive was cut."""
        self._file.write(bytes(2 * BLOCK))


def _plain(name: str) -> bool:
    return _NAME.fullmatch(name) is not None and ".." not in name.split("/")


def _octal(field: bytes, what: str) -> int:
    matched = _OCTAL.fullmatch(field)
    if matched is None:
        raise CannotCheck(f"archive: a member's {what} is not a plain octal number")
    return int(matched[1], 8)


def _member_name(header: bytes) -> str:
    raw = header[:100].split(b"\x00", 1)[0]
    prefix = header[345:500].split(b"\x00", 1)[0] if header[257:263] == b"ustar\x00" else b""
    try:
        name = (prefix + b"/" + raw if prefix else raw).decode("ascii")
    except UnicodeDecodeError as error:
        raise CannotCheck("archive: a member's name is not ASCII") from error
    while name.startswith("./"):
        name = name[2:]
    name = name.rstrip("/") if header[156:157] == b"5" else name
    if name not in {"", "."} and not _plain(name):
        raise CannotCheck("archive: a member's name is absolute, climbs or holds characters that no export has")
    return name


class TarIndex:
    """Where each file of an export stands in an archive, found in one pass over the headers."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._end = file.seek(0, os.SEEK_END)
        self._full: dict[int, tuple[array[int], array[int]]] = {}
        self._single: dict[str, tuple[int, int]] = {}
        self._scan()

    @classmethod
    def open(cls, path: Path) -> Self:
        """Index the archive at `path`; `close` it after use.

        Raises:
            CannotCheck: unreadable, or not an archive of the plain form.
        """
        try:
            file = path.open("rb")
        except OSError as error:
            raise CannotCheck(f"archive: cannot be read ({error.strerror})") from error
        try:
            return cls(file)
        except BaseException:
            file.close()
            raise

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _scan(self) -> None:
        position = 0
        while True:
            self._file.seek(position)
            header = self._file.read(BLOCK)
            if len(header) < BLOCK:
                raise CannotCheck("archive: cut short, or not a tar file (unpack a compressed one first)")
            if header == bytes(BLOCK):
                return
            position = self._member(header, position + BLOCK)

    def _member(self, header: bytes, start: int) -> int:
        checksum = _octal(header[148:156], "checksum")
        if sum(header) - sum(header[148:156]) + 8 * 0x20 != checksum:
            raise CannotCheck("archive: a header's checksum is wrong, or this is not a tar file")
        kind = header[156:157]
        if kind not in {b"0", b"\x00", b"5"}:
            raise CannotCheck("archive: holds links, devices or extension headers; pack with tar --format=ustar and plain files")
        name, size = _member_name(header), _octal(header[124:136], "size")
        if start + size > self._end:
            raise CannotCheck("archive: a member is longer than the file")
        if kind != b"5":
            self._enter(name, start, size)
        return start + size + -size % BLOCK

    def _enter(self, name: str, start: int, size: int) -> None:
        try:
            tile = parse_path(name)
        except MalformedTile:
            tile = None
        if tile is not None and tile.width == TILE_WIDTH:
            self._enter_full(tile, start, size)
        elif tile is not None or name in _CHECKPOINTS or _BLOB.fullmatch(name):
            if name in self._single:
                raise CannotCheck(f"archive: {name} stands in it twice")
            if len(self._single) >= MAX_SINGLE_MEMBERS:
                raise CannotCheck("archive: too many partial tiles and blobs")
            self._single[name] = (start, size)

    def _enter_full(self, tile: Tile, start: int, size: int) -> None:
        # A complete export holds every tile before this one, and every level-0 tile below those, each at least a block
        # long: a larger number is a lie that would only make the arrays grow.
        if tile.n << (TILE_HEIGHT * max(tile.level, 0)) > self._end // BLOCK:
            raise CannotCheck("archive: a tile's number is larger than the archive")
        starts, sizes = self._full.setdefault(tile.level, (array("Q"), array("L")))
        missing = tile.n + 1 - len(starts)
        if missing > 0:
            starts.extend([0] * missing)
            sizes.extend([0] * missing)
        if starts[tile.n]:
            raise CannotCheck(f"archive: {tile.path} stands in it twice")
        starts[tile.n], sizes[tile.n] = start, size

    def locate(self, path: str) -> tuple[int, int]:
        """Offset and size of a file.

        Raises:
            Missing: no such file.
        """
        if path.startswith("tile/"):
            tile = parse_path(path)
            starts, sizes = self._full.get(tile.level, (array("Q"), array("L")))
            if tile.width == TILE_WIDTH and tile.n < len(starts) and starts[tile.n]:
                return starts[tile.n], sizes[tile.n]
        if path not in self._single:
            raise Missing(f"{path}: not in the archive")
        return self._single[path]

    def read_at(self, offset: int, size: int) -> bytes:
        """`size` bytes from `offset`.

        Raises:
            CannotCheck: the file ended, or changed while being read.
        """
        self._file.seek(offset)
        body = self._file.read(size)
        if len(body) != size:
            raise CannotCheck("archive: changed while being read")
        return body
