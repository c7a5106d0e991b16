"""A published object store (S3 protocol), through obstore: each object appears whole, and is told how long it keeps.

Tiles, bundles and blobs are created and never overwritten; the checkpoint is replaced only if it is still the one that was read, so of two
publishers at once one is refused and readers never see an older checkpoint behind a newer one. Needs the extra `objects`.

Credentials, region and endpoint come from the environment, by the AWS tools' own names (AWS_ACCESS_KEY_ID, AWS_ENDPOINT_URL and so on).
"""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from consent.errors import Unavailable
from consent.ledger.targets import READERS_ONLY, CopyRefused

T = TypeVar("T")

AT_ONCE = 16
SECONDS = 30
_FOREVER = "max-age=31536000, immutable"
_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


class StoreUnavailable(Unavailable):
    """The object store did not answer, or refused; the same may be tried again. The message holds no credentials."""

    code = "ledger.store"

    def __init__(self, place: str, kind: str) -> None:
        super().__init__("对象存储暂不可用。", f"{place} cannot be written ({kind}); look at its address, credentials and bucket.")


class Objects:
    """One prefix of one bucket, `s3://bucket/prefix`."""

    def __init__(self, url: str) -> None:
        """Raises CopyRefused: the extra is not installed, or not such an address."""
        try:
            import obstore  # noqa: PLC0415 - an extra
            from obstore.store import from_url  # noqa: PLC0415
        except ModuleNotFoundError:
            raise CopyRefused("publishing to an object store needs the extra: pip install 'consent-server[objects]'") from None
        parts = urlsplit(url)
        if parts.scheme != "s3" or not parts.netloc or parts.query or parts.fragment or "@" in parts.netloc:
            raise CopyRefused("an object store is named s3://bucket/prefix, without anything else")
        endpoint = urlsplit(os.environ.get("AWS_ENDPOINT_URL", ""))
        plain = endpoint.scheme == "http" and endpoint.hostname in _LOOPBACK
        self._url = url.rstrip("/")
        self._obstore: Any = obstore
        options: Any = {"timeout": f"{SECONDS}s", "allow_http": plain}
        self._store = from_url(self._url, client_options=options, retry_config={"max_retries": 3})
        self._pending: set[asyncio.Task[None]] = set()
        self._tags: dict[str, str | None] = {}

    def __str__(self) -> str:
        return self._url

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[None]:
        """Nothing is locked: `replace` refuses whoever was overtaken. What is still on its way is waited for."""
        try:
            yield
        finally:
            await asyncio.gather(*self._pending, return_exceptions=True)
            self._pending.clear()

    async def read(self, path: str) -> bytes | None:
        """An object's content, remembered by its tag for `replace`."""

        async def get() -> bytes | None:
            try:
                found = await self._obstore.get_async(self._store, path)
            except FileNotFoundError:
                self._tags[path] = None
                return None
            self._tags[path] = found.meta["e_tag"]
            return bytes(await found.bytes_async())

        return await self._guarded(get)

    async def add(self, path: str, body: bytes) -> None:
        """Create an object that never changes; up to AT_ONCE are on their way at once."""
        if len(self._pending) >= AT_ONCE:
            done, self._pending = await asyncio.wait(self._pending, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        self._pending.add(asyncio.create_task(self._guarded(lambda: self._create(path, body))))

    async def sync(self) -> None:
        """Wait for all of them: what the store has acknowledged is durable."""
        while self._pending:
            done, self._pending = await asyncio.wait(self._pending)
            for task in done:
                task.result()

    async def replace(self, path: str, body: bytes) -> None:
        """Write an object that changes, over the very one that was read.

        Raises:
            CopyRefused: somebody else wrote it meanwhile.
        """
        if path not in self._tags:
            await self.read(path)
        tag = self._tags[path]
        mode: Any = "create" if tag is None else {"e_tag": tag}
        attributes = {"Content-Type": "text/plain; charset=utf-8", "Cache-Control": "public, max-age=1"}

        async def put() -> str | None:
            try:
                stored = await self._put(path, body, mode, attributes)
            except (self._obstore.exceptions.PreconditionError, self._obstore.exceptions.AlreadyExistsError):
                return None
            tag: str | None = stored["e_tag"]
            return tag

        self._tags[path] = await self._guarded(put)
        # The answer to a write that was done may have been lost, and the write been repeated: then our own stands there.
        if self._tags[path] is None and await self.read(path) != body:
            raise CopyRefused(f"somebody else is publishing into {self}")

    async def _create(self, path: str, body: bytes) -> None:
        readers = "private" if path.startswith(READERS_ONLY) else "public"
        attributes = {"Content-Type": "application/octet-stream", "Cache-Control": f"{readers}, {_FOREVER}"}
        try:
            await self._put(path, body, "create", attributes)
        except self._obstore.exceptions.AlreadyExistsError:
            if await self.read(path) != body:  # else it is of an earlier publication
                raise CopyRefused(f"{self}/{path} holds something else; keep it as evidence") from None

    async def _put(self, path: str, body: bytes, mode: Any, attributes: dict[str, str]) -> Any:
        # In one request, for only that one is refused where an object of the name stands.
        return await self._obstore.put_async(self._store, path, body, mode=mode, attributes=attributes, use_multipart=False)

    async def _guarded(self, work: Callable[[], Awaitable[T]]) -> T:
        try:
            return await work()
        except (self._obstore.exceptions.BaseError, OSError) as error:
            raise StoreUnavailable(self._url, type(error).__name__) from None  # the error's own text may quote what was sent


def open_place(name: str) -> Path | Objects:
    """What a name means: an object store if it has a scheme, else a directory.

    Raises:
        CopyRefused: as `Objects`.
    """
    return Objects(name) if "://" in name else Path(name)
