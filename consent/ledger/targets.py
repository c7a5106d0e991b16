"""Where the ledger is published: what a place must be able to do, whatever it is."""

from contextlib import AbstractAsyncContextManager
from typing import Protocol

from consent.errors import ServiceError

CHECKPOINT = "checkpoint"
WITNESSED = "checkpoint.witnessed"
READERS_ONLY = ("tile/entries/", "blobs/")
"""What only auditors read (design §3.10)."""


class CopyRefused(ServiceError):
    """No copy was made, or not finished; the message says why."""

    code = "ledger.copy"

    def __init__(self, en: str) -> None:
        super().__init__("未能生成账本副本，详见英文说明。", en)


class Target(Protocol):
    """A directory or an object store. Its text names it in messages."""

    def writing(self) -> AbstractAsyncContextManager[None]:
        """While this is open nobody else publishes here, or whoever comes second is refused before readers see anything of his.

        Raises:
            CopyRefused: somebody else is at it.
        """
        ...

    async def read(self, path: str) -> bytes | None:
        """A file that is there; None if it is not."""
        ...

    async def add(self, path: str, body: bytes) -> None:
        """Write a file that never changes, unless it is there. Whole or not at all; durable after the next `sync`."""
        ...

    async def replace(self, path: str, body: bytes) -> None:
        """Write a file that changes. Whole or not at all."""
        ...

    async def sync(self) -> None:
        """Make everything so far durable."""
        ...
