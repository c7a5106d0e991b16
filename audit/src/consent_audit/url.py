"""A ledger read over HTTP, some files at once, over connections that are kept open.

No redirect is followed, no encoding accepted, and everything has an end: bytes, seconds and attempts. Proxies are those of
the environment (`HTTPS_PROXY`, `NO_PROXY`), as for other programs.
"""

import base64
import http.client
import io
import socket
import time
import urllib.parse
import urllib.request
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from consent_audit.errors import CannotCheck, Gone, Missing
from consent_audit.source import CHUNK_BYTES, Reading, Source, too_large

_BUSY = frozenset({429, 502, 503, 504})


class _Timed(io.RawIOBase):
    """What a socket receives, until the deadline."""

    def __init__(self, raw: io.RawIOBase, deadline: float) -> None:
        self._raw = raw
        self._deadline = deadline

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        if time.monotonic() > self._deadline:
            raise TimeoutError
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Response(http.client.HTTPResponse):
    """An answer that ends at the deadline wherever it stands: in headers, 100 Continue, chunk sizes and trailers without end too."""

    def __init__(self, deadline: float, sock: socket.socket, *arguments: Any, **named: Any) -> None:
        super().__init__(sock, *arguments, **named)
        self.fp = io.BufferedReader(_Timed(self.fp.detach(), deadline))


class UrlSource(Source):
    """A log served over HTTP. The token goes only with entries and blobs, and never to another host."""

    kind = "url"
    timeout_seconds = 30.0
    file_seconds = 300.0
    """Longest time for one file, its headers included, so that a peer that drips bytes does not hold the verifier."""
    pauses_seconds = (0.2, 1.0, 3.0)
    """Waits before another attempt when the peer is busy or the connection breaks."""
    parallel = 4
    ahead = 4
    """Files under way or waiting; a bundle can have 16 MiB."""

    def __init__(self, url: str, token: str | None = None) -> None:
        """Find the log at `url` or below `url`/ledger.

        Raises:
            CannotCheck: neither place has a checkpoint.
        """
        parts = urllib.parse.urlsplit(url)
        self._secure = parts.scheme == "https"
        self._host = parts.hostname or ""
        self._port = parts.port or (443 if self._secure else 80)
        self._token = token
        self._pool: ThreadPoolExecutor | None = None
        self._idle: deque[http.client.HTTPConnection] = deque()
        self._proxy = _proxy(parts)
        self._prefix = parts.path.rstrip("/") + "/"
        try:
            self.read("checkpoint", 1 << 16)
        except Missing:
            self._prefix += "ledger/"
            self.read("checkpoint", 1 << 16)

    def chunks(self, path: str, limit: int) -> Iterator[bytes]:
        deadline = time.monotonic() + self.file_seconds
        connection, response = self._open(path, deadline)
        whole = False
        try:
            taken = 0
            while chunk := response.read1(CHUNK_BYTES):
                taken += len(chunk)
                if taken > limit:
                    raise too_large(path, limit)
                if time.monotonic() > deadline:
                    raise _too_slow(path)
                yield chunk
            expected = response.headers.get("Content-Length")
            if expected is not None and expected != str(taken):
                raise CannotCheck(f"{path}: the connection broke")
            whole = True
        except (OSError, http.client.HTTPException) as error:
            if time.monotonic() > deadline:
                raise _too_slow(path) from error
            raise CannotCheck(f"{path}: the connection broke ({type(error).__name__})") from error
        finally:
            response.close()
            if whole and not response.will_close:
                self._idle.append(connection)
            else:
                connection.close()

    def _open(self, path: str, deadline: float) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        pauses = list(self.pauses_seconds)
        while True:
            connection = self._idle.pop() if self._idle else None
            kept = connection is not None
            connection = connection or self._connection()
            try:
                response = self._ask(connection, path, deadline)
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                if time.monotonic() > deadline:
                    raise _too_slow(path) from error
                if kept:
                    continue  # the server had closed it meanwhile; the next one is another or new
                if not pauses or isinstance(error, ConnectionRefusedError):
                    raise CannotCheck(f"{path}: the server does not answer ({type(error).__name__})") from error
            else:
                if response.status == 200:
                    return connection, self._plain(connection, response, path)
                response.close()
                connection.close()
                if response.status not in _BUSY or not pauses:
                    raise self._refusal(path, response.status)
            time.sleep(pauses.pop(0))

    def _ask(self, connection: http.client.HTTPConnection, path: str, deadline: float) -> http.client.HTTPResponse:
        connection.response_class = partial(_Response, deadline)  # type: ignore[assignment]
        target = self._prefix + path
        headers = {"Accept-Encoding": "identity", "User-Agent": "consent-audit"}
        if self._token and path.startswith(("tile/entries/", "blobs/")):
            headers["Authorization"] = f"Bearer {self._token}"
        if self._proxy is not None and not self._secure:
            target = f"http://{_bracketed(self._host)}:{self._port}{target}"
            headers |= self._proxy[2]
        connection.request("GET", target, headers=headers)
        return connection.getresponse()

    def _connection(self) -> http.client.HTTPConnection:
        kind = http.client.HTTPSConnection if self._secure else http.client.HTTPConnection
        if self._proxy is None:
            return kind(self._host, self._port, timeout=self.timeout_seconds)
        host, port, headers = self._proxy
        connection = kind(host, port, timeout=self.timeout_seconds)
        if self._secure:
            connection.set_tunnel(self._host, self._port, headers)
        return connection

    @staticmethod
    def _plain(connection: http.client.HTTPConnection, response: http.client.HTTPResponse, path: str) -> http.client.HTTPResponse:
        if response.headers.get("Content-Encoding", "identity") != "identity":
            response.close()
            connection.close()
            raise CannotCheck(f"{path}: the server sent an encoding that was not asked for")
        return response

    def _refusal(self, path: str, status: int) -> CannotCheck:
        if status == 410:
            return Gone(f"{path}: the server says that it has lost this file")
        if status == 404:
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
        while self._idle:
            self._idle.pop().close()


def _too_slow(path: str) -> CannotCheck:
    return CannotCheck(f"{path}: the server is too slow")


def _proxy(parts: urllib.parse.SplitResult) -> tuple[str, int, dict[str, str]] | None:
    """The environment's proxy for this place: host, port and the header that it wants."""
    address = urllib.request.getproxies().get(parts.scheme)
    if not address or urllib.request.proxy_bypass(parts.netloc):
        return None
    found = urllib.parse.urlsplit(address if "://" in address else f"http://{address}")
    headers = {}
    if found.username is not None:
        secret = f"{urllib.parse.unquote(found.username)}:{urllib.parse.unquote(found.password or '')}"
        headers["Proxy-Authorization"] = "Basic " + base64.b64encode(secret.encode()).decode()
    return found.hostname or "", found.port or 3128, headers


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
