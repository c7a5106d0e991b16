"""Whole copies of the ledger: one archive, or a directory or object store that a plain file server can offer.

All are written below one signed head and hashed again on the way, so a copy that is finished verifies. Where files stand by themselves the
checkpoint is written last: a crash leaves the older checkpoint with all of its files, some newer files beside them, and no half file under
a final name. Disks and stores are written outside the event loop, and nothing here is in anybody's way who appends.
"""

import asyncio
import logging
import os
import secrets
from collections.abc import AsyncIterator
from pathlib import Path

from sqlalchemy.ext.asyncio import AsyncEngine

from consent import db
from consent.errors import Unavailable
from consent.ledger import store
from consent.ledger.directory import Directory, sync_directory
from consent.ledger.store import Head
from consent.ledger.targets import CHECKPOINT, READERS_ONLY, WITNESSED, CopyRefused, Target
from consent_audit.archive import TarWriter
from consent_audit.errors import MalformedNote
from consent_audit.hashing import TILE_WIDTH, edge_tiles
from consent_audit.note import Checkpoint, split_note
from consent_audit.tiles import bundle_encode, entries_path, tile_path

__all__ = ["CopyRefused", "export", "follow", "publish"]

log = logging.getLogger(__name__)

CHUNK = 16 * TILE_WIDTH


async def export(engine: AsyncEngine, file: Path) -> int:
    """Write the ledger at its newest head to `file` as tar, readable for its owner; equal ledgers give equal bytes.

    Returns:
        Number of records.

    Raises:
        Unavailable: nothing has been signed yet.
        CopyRefused: the records do not have the root that was signed.
        FileExistsError, OSError: the file cannot be written. A file of this name is replaced only by a complete one.
    """
    heads = await _newest(engine)
    part = file.with_name(f".{file.name}.{secrets.token_hex(4)}")
    try:
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
            archive = TarWriter(out)
            for path, head in heads.items():
                archive.add(path, head.note.encode())
            async for path, body in _files(engine, heads[CHECKPOINT], 0):
                await asyncio.to_thread(archive.add, path, body)
            archive.finish()
            out.flush()
            await asyncio.to_thread(os.fsync, out.fileno())
        part.replace(file)
        sync_directory(file.parent)
    finally:
        part.unlink(missing_ok=True)
    return heads[CHECKPOINT].size


async def publish(engine: AsyncEngine, place: Path | Target, *, open_only: bool = False) -> int:
    """Bring a directory or a store up to the newest head, writing only what is missing.

    Args:
        place: a directory, in which hash tiles are for all and entries and blobs for its owner; or an object store.
        open_only: leave entries and blobs away: what everybody may read (design §3.10).

    Returns:
        Number of records.

    Raises:
        Unavailable: nothing has been signed yet.
        CopyRefused: the place holds a larger or another ledger, or hashes only though entries are wanted, or is being written by somebody
            else, or cannot be written; or the records do not have the root that was signed.
        OSError: a directory cannot be written.
    """
    heads = await _newest(engine)
    head = heads[CHECKPOINT]
    target = Directory(place) if isinstance(place, Path) else place
    async with target.writing():
        published = await _published(engine, head, target)
        if not open_only and published >= TILE_WIDTH and await target.read(entries_path(published // TILE_WIDTH - 1)) is None:
            raise CopyRefused(f"{target} holds hashes only, for the public; publish for auditors into a place of its own")
        # Full tiles below the published size are there; partial ones are made again from their tile's beginning.
        async for path, body in _files(engine, head, published // TILE_WIDTH * TILE_WIDTH):
            if not (open_only and path.startswith(READERS_ONLY)):
                await target.add(path, body)
        await target.sync()
        for path, shown in heads.items():  # the checkpoint first, which covers the other
            await target.replace(path, shown.note.encode())
            await target.sync()
    return head.size


async def follow(engine: AsyncEngine, place: Path | Target, every_seconds: float, *, open_only: bool = False) -> None:
    """Publish for ever. What is away for a while is tried again; only a place that is refused ends it.

    Raises:
        CopyRefused: as `publish`.
    """
    last: dict[str, Head] | None = None
    while True:
        try:
            heads = await _newest(engine)
            if heads != last:
                await publish(engine, place, open_only=open_only)
                last = heads
        except Unavailable as error:
            log.warning("not published this time: %s", error.code)
        await asyncio.sleep(every_seconds)


async def _newest(engine: AsyncEngine) -> dict[str, Head]:
    """The newest head, and behind it the newest that a quorum of witnesses cosigned, by the names of their files."""
    async with db.read(engine) as connection:
        head = await store.newest_head(connection)
        witnessed = await store.witnessed_head(connection)
    if head is None:
        raise Unavailable("账本尚未签出第一个检查点，请稍后重试。", "The ledger has no signed checkpoint yet; try again in a moment.")
    covered = witnessed is not None and witnessed.size <= head.size
    return {CHECKPOINT: head} | ({WITNESSED: witnessed} if witnessed is not None and covered else {})


async def _published(engine: AsyncEngine, head: Head, target: Target) -> int:
    """Size of the copy that stands there, 0 for none; it must be an earlier head of this ledger."""
    note = await target.read(CHECKPOINT)
    if note is None:
        return 0
    try:
        old = Checkpoint.parse(split_note(note)[0])
        new = Checkpoint.parse(split_note(head.note)[0])
    except MalformedNote:
        raise CopyRefused(f"{target}/checkpoint is not a checkpoint; publish into an empty place") from None
    if old.origin != new.origin:
        raise CopyRefused(f"{target} holds the ledger of {old.origin}, not of {new.origin}")
    if old.size > new.size:
        raise CopyRefused(f"{target} holds {old.size} records, this ledger has {new.size}: was the database restored from a backup?")
    async with db.read(engine) as connection:
        if (await store.right_edge(connection, old.size)).root() != old.root:
            raise CopyRefused(f"{target} holds another history below record {old.size}; keep it as evidence")
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
