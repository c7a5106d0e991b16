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

try:
    import fcntl
except ImportError:  # pragma: no cover (Windows has no such lock)
    fcntl = None  # type: ignore[assignment]

from consent_audit.errors import AuditError, CannotCheck, Refuted
from consent_audit.note import Checkpoint, Verifier, open_checkpoint

MAX_STATE_BYTES = 1 << 24


def default_path() -> Path:
    """`consent-audit/seen.json` below the user's state directory (XDG Base Directory)."""
    configured = os.environ.get("XDG_STATE_HOME", "")
    base = Path(configured) if configured.startswith("/") else Path.home() / ".local" / "state"
    return base / "consent-audit" / "seen.json"


def load(path: Path, verifier: Verifier) -> Checkpoint | None:
    """The largest checkpoint seen of this key, or None if this is the first.

    Raises:
        CannotCheck: the file is damaged or cannot be read; nothing is assumed to be the first sight then.
    """
    note = _read(path).get(verifier.vkey)
    if note is None:
        return None
    try:
        return open_checkpoint(note, verifier)
    except AuditError as error:
        raise CannotCheck(f"state file {path}: holds a checkpoint that the key did not sign") from error


def remember(path: Path, verifier: Verifier, note: str, checkpoint: Checkpoint) -> None:
    """Keep a verified checkpoint unless a larger one is there already.

    Raises:
        Refuted: another run saw a different tree of this size meanwhile.
        CannotCheck: it could not be stored.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _locked(path):
            seen = load(path, verifier)
            if seen is not None and seen.size == checkpoint.size and seen.root != checkpoint.root:
                raise Refuted(f"another tree of size {seen.size} was seen under this key")
            if seen is None or seen.size < checkpoint.size:
                _replace(path, {**_read(path), verifier.vkey: note})
    except OSError as error:
        raise CannotCheck(f"state file {path}: cannot be written ({error.strerror})") from error


def _read(path: Path) -> dict[str, str]:
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_STATE_BYTES + 1)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise CannotCheck(f"state file {path}: cannot be read ({error.strerror})") from error
    try:
        content = json.loads(raw[: MAX_STATE_BYTES + 1])
    except (ValueError, RecursionError) as error:
        raise CannotCheck(f"state file {path}: damaged") from error
    notes = content.get("checkpoints") if isinstance(content, dict) and content.get("v") == 1 else None
    if not isinstance(notes, dict) or not all(isinstance(note, str) for note in notes.values()):
        raise CannotCheck(f"state file {path}: damaged, or of a newer version")
    return notes


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.with_name(path.name + ".lock").open("wb") as file:
        if fcntl is not None:
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _replace(path: Path, notes: dict[str, str]) -> None:
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump({"v": 1, "checkpoints": notes}, file, ensure_ascii=False, indent=1)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
