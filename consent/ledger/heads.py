"""The second store of signed heads: the newest one, in a directory that no restore of the database touches.

A database that is put back to an older state knows nothing of the heads that it had signed, and would sign another history of the same
size: the one thing that a log must never do. So every head is durable here before anybody sees it, and before each signature the tables
must still have the root that stands here. Production puts the directory on another disk or host than the database.

Several processes may share a directory or have one each. The file `checkpoint` holds the whole note; it is replaced, never written over, so
a crash leaves the older note or the newer one. A directory that holds nothing although heads were signed is not taken for a new one: it may
be a disk that is not mounted.
"""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from consent.errors import ServiceError
from consent_audit.errors import AuditError
from consent_audit.note import MAX_NOTE_BYTES, Checkpoint, split_note


class HeadStoreFailed(ServiceError):
    """The second store cannot be read or written: nothing is signed meanwhile; records go on and are signed later."""

    code = "ledger.head_store"

    def __init__(self, en: str) -> None:
        super().__init__("签名检查点的第二存储不可用，已暂停签名，详见英文说明。", en)


class HeadStore:
    """The newest signed head below `directory`, which must exist."""

    def __init__(self, directory: Path, origin: str) -> None:
        self._directory = directory
        self._file = directory / "checkpoint"
        self._origin = origin

    def newest(self) -> Checkpoint | None:
        """The head that was kept last; None if none ever was.

        Raises:
            HeadStoreFailed: the directory is not there, or the file is damaged or another ledger's.
        """
        if not self._directory.is_dir():
            raise HeadStoreFailed(f"CONSENT_HEAD_STORE {self._directory} is not a directory: mount it, or make it if this is a new ledger")
        try:
            with self._file.open("rb") as file:
                note = file.read(MAX_NOTE_BYTES + 1)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise HeadStoreFailed(f"{self._file} cannot be read ({error.strerror})") from None
        try:
            checkpoint = Checkpoint.parse(split_note(note)[0])
        except AuditError:
            raise HeadStoreFailed(f"{self._file} is damaged; keep it, and compare it with what auditors and witnesses hold") from None
        if checkpoint.origin != self._origin:
            raise HeadStoreFailed(f"{self._file} is a head of {checkpoint.origin}, not of {self._origin}; each ledger has its own store")
        return checkpoint

    def keep(self, note: str, after: Checkpoint | None) -> None:
        """Make `note` durable in place of `after`, the head that its tree was found to extend.

        Raises:
            HeadStoreFailed: it is not durable, or another head is kept by now.
        """
        try:
            with self._locked():
                if self.newest() != after:
                    # Signers of one database come one after the other, so this is another database's.
                    raise HeadStoreFailed(f"{self._file} was written by somebody else meanwhile: does another database share it?")
                self._replace(note)
        except OSError as error:
            raise HeadStoreFailed(f"{self._file} cannot be written ({error.strerror})") from None

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """One process at a time compares and replaces."""
        with (self._directory / ".lock").open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _replace(self, note: str) -> None:
        # One name, since the lock is held: what a killed process left of it is overwritten by the next one.
        part = self._file.with_name(".checkpoint.part")
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(note.encode())
            file.flush()
            os.fsync(file.fileno())
        part.replace(self._file)
        handle = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
