"""Where a published ledger is read from: a URL, a directory or an archive."""

import errno
import os
import re
import stat
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from consent_audit.archive import TarIndex
from consent_audit.errors import CannotCheck, Missing
from consent_audit.source import CHUNK_BYTES, Reading, Source, too_large
from consent_audit.url import UrlSource

__all__ = ["TOKEN", "DirectorySource", "Reading", "Source", "TarSource", "UrlSource", "open_source"]

TOKEN = re.compile(r"[\x21-\x7e]{1,4096}", re.ASCII)
"""What a bearer token may look like in a header."""


def _file_chunks(file: IO[bytes], path: str, limit: int) -> Iterator[bytes]:
    taken = 0
    while chunk := file.read(CHUNK_BYTES):
        taken += len(chunk)
        if taken > limit:
            raise too_large(path, limit)
        yield chunk


class DirectorySource(Source):
    """A tree of files, as `consent ledger publish` writes it."""

    kind = "directory"

    def __init__(self, root: Path) -> None:
        self._root = root

    def chunks(self, path: str, limit: int) -> Iterator[bytes]:
        try:
            # Without O_NONBLOCK a named pipe in the tree would hold the verifier for ever.
            descriptor = os.open(self._root / path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
            with os.fdopen(descriptor, "rb") as file:
                if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                    raise CannotCheck(f"{path}: not a regular file")
                yield from _file_chunks(file, path, limit)
        except OSError as error:
            if error.errno in {errno.ENOENT, errno.ENOTDIR}:
                raise Missing(f"{path}: not in the directory") from error
            raise CannotCheck(f"{path}: cannot be read ({error.strerror})") from error


class TarSource(Source):
    """An export file, read in place."""

    kind = "archive"

    def __init__(self, path: Path) -> None:
        self._index = TarIndex.open(path)

    def chunks(self, path: str, limit: int) -> Iterator[bytes]:
        offset, size = self._index.locate(path)
        if size > limit:
            raise too_large(path, limit)
        for start in range(0, size, CHUNK_BYTES):
            yield self._index.read_at(offset + start, min(CHUNK_BYTES, size - start))

    def close(self) -> None:
        self._index.close()


def _good_url(text: str) -> bool:
    try:
        parts = urllib.parse.urlsplit(text)
        port = parts.port
    except ValueError:
        return False
    plain = not (parts.query or parts.fragment or parts.username) and re.fullmatch(r"[\x21-\x7e]+", text)
    return bool(parts.hostname and port != 0 and plain)


def open_source(text: str, token: str | None = None) -> Source:
    """The source that a command-line argument names.

    Raises:
        CannotCheck: there is nothing there, or it cannot be read.
    """
    if text.lower().startswith(("http://", "https://")):
        if not _good_url(text):
            raise CannotCheck("the URL has no host, or holds a query, a user name, blanks or letters that are not ASCII")
        return UrlSource(text, token)
    path = Path(text)
    if path.is_dir():
        return DirectorySource(path)
    if path.is_file():
        return TarSource(path)
    raise CannotCheck("the source is neither an http(s) URL nor a directory nor a file")
