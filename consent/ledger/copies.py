"""Whole copies of the ledger: one archive, or a directory that a plain file server can offer.

Both are written below one signed head and hashed again on the way, so a copy that is finished verifies. In a directory the checkpoint is
written last: a crash leaves the older checkpoint with all of its files, some newer files beside them, and no half file under a final name.
"""

import os
import secrets
from collections.abc import AsyncIterator
from pathlib import Path

from sqlalchemy.ext.asyncio import AsyncEngine

from consent import db
from consent.errors import ServiceError, Unavailable
from consent.ledger import store
from consent.ledger.store import Head
from consent_audit.archive import TarWriter
from consent_audit.errors import MalformedNote
from consent_audit.hashing import TILE_WIDTH, edge_tiles
from consent_audit.note import Checkpoint, split_note
from consent_audit.tiles import bundle_encode, entries_path, tile_path

CHUNK = 16 * TILE_WIDTH
READERS_ONLY = ("tile/entries/", "blobs/")
"""What only auditors read (design §3.10); a published directory closes these to others."""


class CopyRefused(ServiceError):
    """No copy was made, or not finished; the message says why."""

    code = "ledger.copy"

    def __init__(self, en: str) -> None:
        super().__init__("未能生成账本副本，详见英文说明。", en)


async def export(engine: AsyncEngine, file: Path) -> int:
    """Write the ledger at its newest head to `file` as tar, readable for its owner; equal ledgers give equal bytes.

    Returns:
        Number of records.

    Raises:
        Unavailable: nothing has been signed yet.
        CopyRefused: the records do not have the root that was signed.
        FileExistsError, OSError: the file cannot be written. A file of this name is replaced only by a complete one.
    """
    head = await _newest(engine)
    part = file.with_name(f".{file.name}.{secrets.token_hex(4)}")
    try:
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
            archive = TarWriter(out)
            archive.add("checkpoint", head.note.encode())
            async for path, body in _files(engine, head, 0):
                archive.add(path, body)
            archive.finish()
            out.flush()
            os.fsync(out.fileno())
        part.replace(file)
        _sync_directory(file.parent)
    finally:
        part.unlink(missing_ok=True)
    return head.size


async def publish(engine: AsyncEngine, directory: Path) -> int:
    """Bring `directory` up to the newest head, writing only what is missing; hash tiles for all, entries and blobs for their owner.

    Returns:
        Number of records.

    Raises:
        Unavailable: nothing has been signed yet.
        CopyRefused: the directory holds a larger or another ledger, or the records do not have the root that was signed.
    """
    head = await _newest(engine)
    writer = _Writer(directory)
    published = await _published(engine, head, directory)
    # Full tiles below the published size are there; partial ones are made again from their tile's beginning.
    async for path, body in _files(engine, head, published // TILE_WIDTH * TILE_WIDTH):
        writer.add(path, body)
    writer.sync()
    writer.add("checkpoint", head.note.encode(), replace=True)
    writer.sync()
    return head.size


async def _newest(engine: AsyncEngine) -> Head:
    async with db.read(engine) as connection:
        head = await store.newest_head(connection)
    if head is None:
        raise Unavailable("账本尚未签出第一个检查点，请稍后重试。", "The ledger has no signed checkpoint yet; try again in a moment.")
    return head


async def _published(engine: AsyncEngine, head: Head, directory: Path) -> int:
    """Size of the copy that stands in the directory, 0 for none; it must be an earlier head of this ledger."""
    try:
        old = Checkpoint.parse(split_note((directory / "checkpoint").read_bytes())[0])
        new = Checkpoint.parse(split_note(head.note)[0])
    except FileNotFoundError:
        return 0
    except MalformedNote:
        raise CopyRefused(f"{directory / 'checkpoint'} is not a checkpoint; publish into an empty directory") from None
    if old.origin != new.origin:
        raise CopyRefused(f"{directory} holds the ledger of {old.origin}, not of {new.origin}")
    if old.size > new.size:
        raise CopyRefused(f"{directory} holds {old.size} records, this ledger has {new.size}: was the database restored from a backup?")
    async with db.read(engine) as connection:
        if (await store.right_edge(connection, old.size)).root() != old.root:
            raise CopyRefused(f"{directory} holds another history below record {old.size}; keep it as evidence")
    return old.size


async def _files(engine: AsyncEngine, head: Head, start: int) -> AsyncIterator[tuple[str, bytes]]:
    """Every file of the tree but the checkpoint, from record `start` (a multiple of 256), in the order of `tiles.tile_files`; then blobs.

    Rows never change, so each chunk may be a transaction of its own, and a slow disk holds none open.
    """
    async with db.read(engine) as connection:
        tree = await store.right_edge(connection, start)
    for first in range(start, head.size, CHUNK):
        count = min(CHUNK, head.size - first)
        async with db.read(engine) as connection:
            leaves = await store.hashes(connection, 0, first, count)
            records = await store.entries(connection, first, count)
        if not len(leaves) == len(records) == count:
            raise CopyRefused(f"records between {first} and {first + count} are missing")
        for place in range(0, count, TILE_WIDTH):
            bundle = records[place : place + TILE_WIDTH]
            yield entries_path((first + place) // TILE_WIDTH, len(bundle)), bundle_encode(bundle)
            for level, n, row in tree.extend(leaves[place : place + TILE_WIDTH]):
                yield tile_path(level, n), b"".join(row)
    if tree.root() != head.root:
        raise CopyRefused("the records do not have the root that was signed")
    for (level, n, width), row in zip(edge_tiles(head.size), tree.rows, strict=True):
        if width:
            yield tile_path(level, n, width), b"".join(row)
    async for path, body in _blobs(engine):
        yield path, body


async def _blobs(engine: AsyncEngine) -> AsyncIterator[tuple[str, bytes]]:
    after = b""
    while True:
        async with db.read(engine) as connection:
            names = await store.blob_names(connection, after)
        if not names:
            return
        for name in names:
            async with db.read(engine) as connection:
                body = await store.blob(connection, name)
            if body is not None:
                yield f"blobs/{name.hex()}", body
        after = names[-1]


class _Writer:
    """Writes files that appear whole or not at all, and makes them durable together."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._root = directory
        self._dirty: set[Path] = set()

    def add(self, path: str, body: bytes, *, replace: bool = False) -> None:
        target = self._root / path
        closed = path.startswith(READERS_ONLY)
        self._make(target.parent, 0o700 if closed else 0o755)
        if not replace and target.exists() and target.stat().st_size == len(body):
            return  # immutable, and renamed into place only after its bytes were durable
        part = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
        try:
            with part.open("xb") as out:
                os.fchmod(out.fileno(), 0o600 if closed else 0o644)
                out.write(body)
                out.flush()
                os.fsync(out.fileno())
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)
        self._dirty.add(target.parent)

    def _make(self, directory: Path, mode: int) -> None:
        if not directory.exists():
            self._make(directory.parent, 0o755 if directory.parent.name == "tile" else mode)
            directory.mkdir()
            directory.chmod(mode)
            self._dirty.add(directory.parent)

    def sync(self) -> None:
        for directory in self._dirty:
            _sync_directory(directory)
        self._dirty.clear()


def _sync_directory(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
