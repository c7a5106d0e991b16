"""A published directory: files that appear whole or not at all, durable before anything refers to them.

A file is written under another name, synced and renamed; its directory is synced before the checkpoint is written. Hash tiles are for all,
entries and blobs for the owner alone.
"""

import asyncio
import fcntl
import os
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from consent.ledger.targets import READERS_ONLY, CopyRefused


class Directory:
    """One directory. Disk work is done in threads, one call at a time."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._dirty: set[Path] = set()

    def __str__(self) -> str:
        return str(self._root)

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[None]:
        """Alone in the directory, by a lock that ends with the process.

        Raises:
            CopyRefused: another process publishes here.
        """
        self._root.mkdir(parents=True, exist_ok=True)
        handle = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise CopyRefused(f"another process is publishing into {self}") from None
            yield
        finally:
            os.close(handle)

    async def read(self, path: str) -> bytes | None:
        """A file's content."""
        try:
            return await asyncio.to_thread((self._root / path).read_bytes)
        except FileNotFoundError:
            return None

    async def add(self, path: str, body: bytes) -> None:
        """Write a file that never changes."""
        await asyncio.to_thread(self._add, path, body, replace=False)

    async def replace(self, path: str, body: bytes) -> None:
        """Write a file that changes."""
        await asyncio.to_thread(self._add, path, body, replace=True)

    async def sync(self) -> None:
        """Make the names durable too."""
        await asyncio.to_thread(self._sync)

    def _add(self, path: str, body: bytes, *, replace: bool) -> None:
        target = self._root / path
        closed = path.startswith(READERS_ONLY)
        self._make(target.parent, 0o700 if closed else 0o755)
        if not replace and target.exists() and target.stat().st_size == len(body):
            # Immutable, and renamed into place only after its bytes were durable. Its name may not be, if who wrote it was killed.
            self._dirty.update(parent for parent in target.parents if parent.is_relative_to(self._root))
            return
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

    def _sync(self) -> None:
        for directory in self._dirty:
            sync_directory(directory)
        self._dirty.clear()


def sync_directory(directory: Path) -> None:
    """Make the names in a directory durable."""
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
