"""A witness: cosigns checkpoints of logs that only ever grow (C2SP tlog-witness).

For each log it keeps the newest checkpoint that it cosigned and cosigns another only with a proof that it extends that one.
The checkpoint is on the disk, flushed, before the cosignature leaves; check and store are one step under a lock. A crash
leaves the old checkpoint or the new one, and a new one that was never answered binds the witness all the same. What is
stored and cannot be read, or was not signed by this witness, stops it: it is never taken for a first sight.
"""

import contextlib
import os
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import IO, NamedTuple

try:
    import fcntl
except ImportError:  # pragma: no cover (Windows has no such lock)
    fcntl = None  # type: ignore[assignment]

from consent_audit.cosigner import Cosigner
from consent_audit.encoding import parse_base64, parse_decimal
from consent_audit.errors import AuditError, BadProof, BadSignature, CannotCheck, MalformedNote
from consent_audit.hashing import EMPTY_ROOT, MAX_PATH, verify_consistency
from consent_audit.note import MAX_NOTE_BYTES, Checkpoint, Verifier, open_signatures, split_note
from consent_audit.state import sync_directory

MAX_REQUEST_BYTES = MAX_NOTE_BYTES + (MAX_PATH + 2) * 64
_TEXT = "text/plain; charset=utf-8"
_SIZE = "text/x.tlog.size"


class Answer(NamedTuple):
    """What to answer over HTTP. The text of a refusal says why, for the log's operator."""

    status: int
    body: str
    content_type: str = _TEXT


class Witness:
    """The witness's keys, its logs and its memory. Safe to call from many threads; one process at a time per folder."""

    def __init__(self, cosigner: Cosigner, logs: Sequence[Verifier], folder: Path, clock: Callable[[], float]) -> None:
        """Begin, or go on from what was stored.

        Args:
            logs: the keys that are accepted; several of one name are one log.
            clock: seconds since 1970.

        Raises:
            CannotCheck: the folder cannot be used, another process uses it, or what is stored in it is damaged.
        """
        self._cosigner = cosigner
        self._clock = clock
        self._folder = folder
        self._logs = {name: [log for log in logs if log.name == name] for name in {log.name for log in logs}}
        self._locks = {name: threading.Lock() for name in self._logs}
        self._lock = _locked(folder)
        try:
            for name in self._logs:
                self._stored(name)
        except BaseException:
            self.close()
            raise

    @property
    def vkey(self) -> str:
        """The witness's verifier key."""
        return self._cosigner.verifier.vkey

    def close(self) -> None:
        """Leave the folder to others."""
        self._lock.close()

    def checkpoint(self, origin_hash: str) -> str | None:
        """The newest cosigned checkpoint of a log, by the hex SHA-256 of its origin, with all verified signatures."""
        for name in self._logs:
            if origin_hash == _hash(name):
                with self._locks[name]:
                    stored = self._stored(name)
                return stored[0] if stored else None
        return None

    def add_checkpoint(self, body: bytes) -> Answer:
        """Answer `add-checkpoint`: cosignature lines, or why not (tlog-witness gives the status codes).

        Raises:
            CannotCheck: what is stored is damaged, or the new checkpoint cannot be stored; nothing was cosigned.
        """
        try:
            old, path, note = _parse_request(body)
            checkpoint = Checkpoint.parse_lines(split_note(note)[0])
        except (AuditError, ValueError):
            return Answer(400, "the request is not an old size, hashes, an empty line and a checkpoint\n")
        if checkpoint.origin not in self._logs:
            return Answer(404, "this witness does not know the log\n")
        try:
            _, signed = open_signatures(note, self._logs[checkpoint.origin])
        except BadSignature:
            return Answer(403, "the checkpoint is not signed by a key of the log that this witness knows\n")
        if old > checkpoint.size:
            return Answer(400, "the old size is larger than the checkpoint\n")
        with self._locks[checkpoint.origin]:
            return self._extend(old, path, checkpoint, _only(note, signed))

    def _extend(self, old: int, path: list[bytes], checkpoint: Checkpoint, note: str) -> Answer:
        stored = self._stored(checkpoint.origin)
        size, root = (stored[1].size, stored[1].root) if stored else (0, EMPTY_ROOT)
        if old != size:
            return Answer(409, f"{size}\n", _SIZE)
        try:
            verify_consistency(size, checkpoint.size, root, checkpoint.root, path)
        except BadProof as error:
            return Answer(422, f"not shown to extend the checkpoint of size {size} that was cosigned: {error}\n")
        line = self._cosigner.cosign(checkpoint.text(), max(1, int(self._clock())))
        self._store(checkpoint.origin, note + line)
        return Answer(200, line)

    def _stored(self, origin: str) -> tuple[str, Checkpoint] | None:
        path = self._folder / _hash(origin)
        try:
            raw = path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise CannotCheck(f"witness: {path} cannot be read ({error.strerror})") from error
        try:
            text, _ = open_signatures(raw, [self._cosigner.verifier])
            checkpoint = Checkpoint.parse(text)
        except AuditError as error:
            raise CannotCheck(
                f"witness: {path} is damaged, or another witness wrote it; nothing of this log is cosigned until it is repaired"
            ) from error
        if checkpoint.origin != origin:
            raise CannotCheck(f"witness: {path} holds another log's checkpoint")
        return raw.decode("utf-8"), checkpoint

    def _store(self, origin: str, note: str) -> None:
        path = self._folder / _hash(origin)
        try:
            descriptor, temporary = tempfile.mkstemp(dir=self._folder, prefix=".new-")
            try:
                with os.fdopen(descriptor, "w", encoding="utf-8", newline="\n") as file:
                    file.write(note)
                    file.flush()
                    os.fsync(file.fileno())
                Path(temporary).replace(path)
            except BaseException:
                Path(temporary).unlink(missing_ok=True)
                raise
            sync_directory(self._folder)
        except OSError as error:
            raise CannotCheck(f"witness: {path} cannot be written ({error.strerror})") from error


def _locked(folder: Path) -> IO[bytes]:
    """An open file that holds the folder for this process; the system lets go of it also after a kill."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = (folder / "lock").open("wb")
    except OSError as error:
        raise CannotCheck(f"witness: {folder} cannot be used ({error.strerror})") from error
    try:
        if fcntl is not None:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        lock.close()
        raise CannotCheck(f"witness: another witness uses {folder}") from error
    return lock


@contextlib.contextmanager
def witnessing(cosigner: Cosigner, logs: Sequence[Verifier], folder: Path, clock: Callable[[], float]) -> Iterator[Witness]:
    """A witness that leaves its folder at the end."""
    witness = Witness(cosigner, logs, folder, clock)
    try:
        yield witness
    finally:
        witness.close()


def _hash(origin: str) -> str:
    return sha256(origin.encode()).hexdigest()


def _parse_request(body: bytes) -> tuple[int, list[bytes], bytes]:
    head, blank, note = body.partition(b"\n\n")
    first, *lines = head.decode("ascii").split("\n")
    if not blank or not first.startswith("old ") or len(lines) > MAX_PATH:
        raise MalformedNote("request")
    return parse_decimal(first.removeprefix("old ")), [parse_base64(line) for line in lines], note


def _only(note: bytes, signed: dict[Verifier, int | None]) -> str:
    """The note with no signatures but the verified ones, so that nobody fills the witness's disk with others."""
    text, _, lines = note.decode("utf-8").rpartition("\n\n")
    heads = tuple(f"\u2014 {verifier.name} " for verifier in signed)
    ids = {verifier.id for verifier in signed}
    kept = [line for line in lines.split("\n") if line.startswith(heads) and parse_base64(line.rpartition(" ")[2])[:4] in ids]
    return f"{text}\n\n" + "".join(f"{line}\n" for line in kept)
