"""Where a published ledger is read from: a URL, a directory or an archive.

A source hands out bytes up to a limit and judges none of them. That a file is absent is `Missing`; every other reason
not to have it is `CannotCheck`; a file larger than its kind can be is `Malformed`, since no honest log serves it.
"""

import errno
import os
import re
import stat
import time
import urllib.error
import urllib.parse
import urllib.request
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import IO, Self

from consent_audit.archive import TarIndex
from consent_audit.errors import CannotCheck, Malformed, Missing

CHUNK_BYTES = 1 << 20
TOKEN = re.compile(r"[\x21-\x7e]{1,4096}", re.ASCII)
"""What a bearer token may look like in a header."""


class Source(ABC):
    """A published ledger."""

    kind: str

    @abstractmethod
    def chunks(self, path: str, limit: int) -> Iterator[bytes]:
        """The file's bytes, piece by piece.

        Raises:
            Missing: there is no such file.
            CannotCheck: it could not be read.
            Malformed: it is longer than `limit` bytes.
        """

    def read(self, path: str, limit: int) -> bytes:
        """The whole file; raises as `chunks` does."""
        return b"".join(self.chunks(path, limit))

    def read_ahead(self, requests: Iterable[tuple[str, int]]) -> Iterator["Reading"]:
        """A reading for each `(path, limit)`, in order; a slow source works on several at once."""
        return (Reading(self, path, limit) for path, limit in requests)

    def close(self) -> None:  # noqa: B027 (some sources hold nothing)
        """Release what the source holds."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Reading:
    """One file to be read, perhaps already under way."""

    def __init__(self, source: Source, path: str, limit: int, future: Future[bytes] | None = None) -> None:
        self.source = source
        self._arguments = (path, limit)
        self._future = future

    def result(self) -> bytes:
        """The file's bytes; raises as `Source.chunks` does."""
        return self._future.result() if self._future else self.source.read(*self._arguments)


def _too_large(path: str, limit: int) -> Malformed:
    return Malformed(f"{path}: larger than the {limit} bytes that it can have")


def _file_chunks(file: IO[bytes], path: str, limit: int) -> Iterator[bytes]:
    taken = 0
    while chunk := file.read(CHUNK_BYTES):
        taken += len(chunk)
        if taken > limit:
            raise _too_large(path, limit)
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
            raise _too_large(path, limit)
        for start in range(0, size, CHUNK_BYTES):
            yield self._index.read_at(offset + start, min(CHUNK_BYTES, size - start))

    def close(self) -> None:
        self._index.close()


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect would carry the auditor's token to another host."""

    def redirect_request(self, *_: object) -> None:
        return None


class UrlSource(Source):
    """A log served over HTTP. The token goes only with entries and blobs, and never to another host."""

    kind = "url"
    timeout_seconds = 30.0
    file_seconds = 300.0
    """Longest time for one file, so that a peer that drips bytes does not hold the verifier."""
    pauses_seconds = (0.2, 1.0, 3.0)
    """Waits before another attempt when the peer is busy or the connection breaks."""
    parallel = 4
    ahead = 8

    def __init__(self, url: str, token: str | None = None) -> None:
        """Find the log at `url` or below `url`/ledger.

        Raises:
            CannotCheck: neither place has a checkpoint.
        """
        self._opener = urllib.request.build_opener(_NoRedirect)
        self._token = token
        self._pool: ThreadPoolExecutor | None = None
        self._prefix = url.rstrip("/") + "/"
        try:
            self.read("checkpoint", 1 << 16)
        except Missing:
            self._prefix += "ledger/"
            self.read("checkpoint", 1 << 16)

    def chunks(self, path: str, limit: int) -> Iterator[bytes]:
        deadline = time.monotonic() + self.file_seconds
        try:
            with self._open(path) as response:
                taken = 0
                while chunk := response.read1(CHUNK_BYTES):
                    taken += len(chunk)
                    if taken > limit:
                        raise _too_large(path, limit)
                    if time.monotonic() > deadline:
                        raise CannotCheck(f"{path}: the server is too slow")
                    yield chunk
                expected = response.headers.get("Content-Length")
                if expected is not None and expected != str(taken):
                    raise CannotCheck(f"{path}: the connection broke")
        except (OSError, HTTPException) as error:
            raise CannotCheck(f"{path}: the connection broke ({type(error).__name__})") from error

    def _open(self, path: str) -> HTTPResponse:
        pauses = list(self.pauses_seconds)
        while True:
            try:
                response: HTTPResponse = self._opener.open(self._request(path), timeout=self.timeout_seconds)
            except urllib.error.HTTPError as error:
                error.close()
                if error.code not in {429, 502, 503, 504} or not pauses:
                    raise self._refusal(path, error.code) from error
            except (OSError, HTTPException) as error:
                if not pauses or isinstance(getattr(error, "reason", None), ConnectionRefusedError):
                    raise CannotCheck(f"{path}: the server does not answer ({type(error).__name__})") from error
            else:
                if response.headers.get("Content-Encoding", "identity") != "identity":
                    response.close()
                    raise CannotCheck(f"{path}: the server sent an encoding that was not asked for")
                return response
            time.sleep(pauses.pop(0))

    def _request(self, path: str) -> urllib.request.Request:
        request = urllib.request.Request(self._prefix + path)  # noqa: S310 (open_source admits only http and https)
        if self._token and path.startswith(("tile/entries/", "blobs/")):
            request.add_unredirected_header("Authorization", f"Bearer {self._token}")
        return request

    def _refusal(self, path: str, status: int) -> CannotCheck:
        if status in {404, 410}:
            return Missing(f"{path}: the server has no such file")
        if status in {401, 403}:
            hint = "the token is not accepted" if self._token else "an auditor's token is needed (--token)"
            return CannotCheck(f"{path}: {hint}")
        return CannotCheck(f"{path}: the server answered {status}")

    def read_ahead(self, requests: Iterable[tuple[str, int]]) -> Iterator[Reading]:
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self.parallel)
        waiting: deque[Reading] = deque()
        for path, limit in requests:
            waiting.append(Reading(self, path, limit, self._pool.submit(self.read, path, limit)))
            if len(waiting) >= self.ahead:
                yield waiting.popleft()
        yield from waiting

    def close(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)


def open_source(text: str, token: str | None = None) -> Source:
    """The source that a command-line argument names.

    Raises:
        CannotCheck: there is nothing there, or it cannot be read.
    """
    if text.lower().startswith(("http://", "https://")):
        parts = urllib.parse.urlsplit(text)
        if not parts.hostname or parts.query or parts.fragment or parts.username or re.search(r"[\x00-\x20\x7f]", text):
            raise CannotCheck("the URL has no host, or holds a query, a user name or blanks")
        return UrlSource(text, token)
    path = Path(text)
    if path.is_dir():
        return DirectorySource(path)
    if path.is_file():
        return TarSource(path)
    raise CannotCheck("the source is neither an http(s) URL nor a directory nor a file")
