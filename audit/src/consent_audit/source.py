"""What a place is from which a published ledger is read.

A source hands out bytes up to a limit and judges none of them. That a file is absent is `Missing`; every other reason
not to have it is `CannotCheck`; a file larger than its kind can be is `Malformed`, since no honest log serves it.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from typing import Self

from consent_audit.errors import Malformed

CHUNK_BYTES = 1 << 20


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


def too_large(path: str, limit: int) -> Malformed:
    """The error for a file that no honest log serves."""
    return Malformed(f"{path}: larger than the {limit} bytes that it can have")
