"""The largest checkpoint seen per key, kept between runs: what makes a log's promise binding for this auditor.

The file holds whole signed notes, so it can prove to others that a log broke its promise; a note that its key did not
sign is refused when read. It is replaced atomically and flushed to disk before the verifier answers. A crash leaves the
old file or the new one, and perhaps a temporary file beside it.
"""

import contextlib
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, TypeGuard

try:
    import fcntl
except ImportError:  # pragma: no cover (Windows has no such lock)
    fcntl = None  # type: ignore[assignment]

from consent_audit.errors import AuditError, CannotCheck, Refuted
from consent_audit.note import Checkpoint, Verifier, open_checkpoint

MAX_STATE_BYTES = 1 << 24


class _Memory(NamedTuple):
    """What the file holds: signed notes by the key that signed them, and for keys that are no longer in force the one that is."""

    notes: dict[str, str]
    successors: dict[str, str]


def default_path() -> Path:
    """`consent-audit/seen.json` below the user's state directory (XDG Base Directory)."""
    configured = os.environ.get("XDG_STATE_HOME", "")
    base = Path(configured) if configured.startswith("/") else Path.home() / ".local" / "state"
    return base / "consent-audit" / "seen.json"


def load(path: Path, verifier: Verifier) -> Checkpoint | None:
    """The largest checkpoint seen of this log, or None if this is the first. `verifier` may be an earlier key of it.

    Raises:
        CannotCheck: the file is damaged or cannot be read; nothing is assumed to be the first sight then.
    """
    return _load(_read(path), path, verifier)


def _load(memory: _Memory, path: Path, verifier: Verifier) -> Checkpoint | None:
    try:
        signer = Verifier.parse(memory.successors.get(verifier.vkey, verifier.vkey))
        note = memory.notes.get(signer.vkey)
        return None if note is None else open_checkpoint(note, signer)
    except AuditError as error:
        raise CannotCheck(f"state file {path}: holds a checkpoint that the key did not sign") from error


def remember(path: Path, verifier: Verifier, note: str, checkpoint: Checkpoint, current: Verifier | None = None) -> None:
    """Keep a verified checkpoint unless a larger one is there already.

    Args:
        verifier: the key that was trusted.
        current: the key in force now, which signed `note`, if the log has changed its key since.

    Raises:
        Refuted: another run saw a different tree of this size meanwhile.
        CannotCheck: it could not be stored.
    """
    current = current or verifier
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _locked(path):
            memory = _read(path)
            for seen in (_load(memory, path, verifier), _load(memory, path, current)):
                if seen is not None and seen.size == checkpoint.size and seen.root != checkpoint.root:
                    raise Refuted(f"another tree of size {seen.size} was seen under this key")
                if seen is not None and seen.size > checkpoint.size:
                    return
            successors = {verifier.vkey: current.vkey} if current != verifier else {}
            changed = _Memory({**memory.notes, current.vkey: note}, {**memory.successors, **successors})
            if changed != memory:
                _replace(path, changed)
    except OSError as error:
        raise CannotCheck(f"state file {path}: cannot be written ({error.strerror})") from error


def check_writable(path: Path) -> None:
    """Make sure before a long run that its end can be remembered.

    Raises:
        CannotCheck: the file is damaged, or its folder cannot be written.
    """
    _read(path)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _locked(path), tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise CannotCheck(f"state file {path}: cannot be written ({error.strerror})") from error


def _read(path: Path) -> _Memory:
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_STATE_BYTES + 1)
    except FileNotFoundError:
        return _Memory({}, {})
    except OSError as error:
        raise CannotCheck(f"state file {path}: cannot be read ({error.strerror})") from error
    try:
        content = json.loads(raw[: MAX_STATE_BYTES + 1])
    except (ValueError, RecursionError) as error:
        raise CannotCheck(f"state file {path}: damaged") from error
    if not isinstance(content, dict) or content.get("v") != 1:
        raise CannotCheck(f"state file {path}: damaged, or of a newer version")
    notes, successors = content.get("checkpoints"), content.get("successors", {})
    if not _are_texts(notes) or not _are_texts(successors):
        raise CannotCheck(f"state file {path}: damaged, or of a newer version")
    return _Memory(notes, successors)


def _are_texts(value: Any) -> TypeGuard[dict[str, str]]:
    return isinstance(value, dict) and all(isinstance(text, str) for text in value.values())


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.with_name(path.name + ".lock").open("wb") as file:
        if fcntl is not None:
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _replace(path: Path, memory: _Memory) -> None:
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump({"v": 1, "checkpoints": memory.notes, "successors": memory.successors}, file, ensure_ascii=False, indent=1)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Make a rename in this directory durable."""
    directory = os.open(path, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
