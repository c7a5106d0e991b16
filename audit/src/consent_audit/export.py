"""Keeps a copy of what a verification reads: the same archive that the service itself exports (docs/spec/ledger.md §1).

The copy is written beside its name, flushed to disk and renamed only at the end, so that no half archive ever bears the name.
"""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from consent_audit.archive import TarWriter
from consent_audit.errors import CannotCheck
from consent_audit.state import sync_directory


class Copy:
    """An archive under way. The files come in the order in which a verifier reads them, which is that of the archive."""

    def __init__(self, file: BinaryIO) -> None:
        self._tar = TarWriter(file)
        self._kept = True

    def add(self, path: str, body: bytes) -> None:
        """Copy one file."""
        self._tar.add(path, body)

    def discard(self) -> None:
        """Leave no archive: something could not be read."""
        self._kept = False

    def finish(self) -> bool:
        """End the archive; says whether it is to be kept."""
        if self._kept:
            self._tar.finish()
        return self._kept


@contextlib.contextmanager
def exporting(path: Path) -> Iterator[Copy]:
    """An archive that gets its name when the block ends without an error and was not discarded.

    Raises:
        CannotCheck: it cannot be written.
    """
    try:
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name)
    except OSError as error:
        raise CannotCheck(f"the export cannot be written ({error.strerror})") from error
    try:
        with os.fdopen(descriptor, "wb") as file:
            copy = Copy(file)
            yield copy
            kept = copy.finish()
            file.flush()
            os.fsync(file.fileno())
        if kept:
            Path(temporary).replace(path)
            sync_directory(path.parent)
    except OSError as error:
        raise CannotCheck(f"the export cannot be written ({error.strerror})") from error
    finally:
        Path(temporary).unlink(missing_ok=True)
