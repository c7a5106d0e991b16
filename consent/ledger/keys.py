"""The log's signing keys: in a file, or in a device that only a command reaches.

A file holds one line `PRIVATE+KEY+…` (C2SP signed-note, the form of Go's note package), mode 0600. Whoever holds it can sign any history;
only witnesses find that out. So it is made here once, never overwritten, and refused where others could read it.

A command gets the bytes to be signed on standard input and prints the base64 of the 64 bytes of the Ed25519 signature (RFC 8032) on
standard output; what it prints on standard error goes nowhere. Its answer is checked with the public key before it is used.
"""

import contextlib
import os
import select
import shlex
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from consent.errors import ServiceError
from consent_audit.encoding import format_base64, parse_base64
from consent_audit.errors import BadKey, BadSignature
from consent_audit.note import ED25519, Signer, Verifier, split_note

COMMAND_SECONDS = 20
"""A slow device may take its time: signing holds nobody up but itself."""
MAX_OUTPUT = 4096
_DASH = "\u2014 "


class KeyRefused(ServiceError):
    """A key cannot be used; the message says why and never holds the key."""

    code = "ledger.key"

    def __init__(self, en: str) -> None:
        super().__init__("账本签名密钥不可用，详见英文说明。", en)


class LogKey(Protocol):
    """A key of the log. `name` is the ledger's origin, `vkey` its public half as C2SP text."""

    @property
    def name(self) -> str: ...

    @property
    def vkey(self) -> str: ...

    def sign(self, text: str) -> str:
        """The note of `text` with this key's one signature line. May block for as long as a device takes.

        Raises:
            KeyRefused: there is no valid signature.
        """
        ...


Key = TypeVar("Key", bound=LogKey)


@dataclass(frozen=True, slots=True)
class CommandKey:
    """A key behind a command, which runs without a shell."""

    command: tuple[str, ...]
    verifier: Verifier
    seconds: float = COMMAND_SECONDS

    @property
    def name(self) -> str:
        """The ledger's origin."""
        return self.verifier.name

    @property
    def vkey(self) -> str:
        """The public half."""
        return self.verifier.vkey

    def sign(self, text: str) -> str:
        """As in LogKey."""
        program = self.command[0]
        try:
            process = subprocess.Popen(  # the operator's own command, in a process group of its own
                self.command, bufsize=0, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True
            )
        except OSError as error:
            raise KeyRefused(f"the key command {program} cannot be run ({error.strerror})") from None
        with process:
            try:
                printed = _converse(process, text.encode(), self.seconds)
            except subprocess.TimeoutExpired:
                raise KeyRefused(f"the key command {program} gave no signature within {self.seconds:g} seconds") from None
            finally:
                # Neither the command nor a child that it left behind outlives its answer.
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
        if process.returncode != 0:
            raise KeyRefused(f"the key command {program} failed with exit status {process.returncode}; its own log says why")
        try:
            signature = parse_base64(printed.decode("ascii").strip())
            self.verifier.verify(text, signature)
        except (ValueError, BadSignature):
            raise KeyRefused(f"the key command {program} printed no signature by {self.vkey}: base64 of 64 bytes is wanted") from None
        return f"{text}\n{_DASH}{self.name} {format_base64(self.verifier.id + signature)}\n"


def _converse(process: "subprocess.Popen[bytes]", text: bytes, seconds: float) -> bytes:
    """What the process prints, at most `MAX_OUTPUT` bytes and one more, once it has ended.

    Raises:
        subprocess.TimeoutExpired: it did not end in time, or went on printing.
    """
    if process.stdin is None or process.stdout is None:
        raise ValueError("the process has no pipes")
    deadline = time.monotonic() + seconds
    with contextlib.suppress(BrokenPipeError):  # whoever does not read the text signs something else, which is found out
        process.stdin.write(text)
        process.stdin.close()
    printed = b""
    while len(printed) <= MAX_OUTPUT:
        ready, _, _ = select.select([process.stdout], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            raise subprocess.TimeoutExpired(process.args, seconds)
        chunk = os.read(process.stdout.fileno(), MAX_OUTPUT)
        if not chunk:
            break
        printed += chunk
    process.stdout.close()
    process.wait(max(0.0, deadline - time.monotonic()))
    return printed


class Keyring:
    """The keys that a process holds, of one origin; which of them signs is what the ledger says.

    Raises:
        KeyRefused: none, or keys of several origins.
    """

    def __init__(self, keys: Sequence[LogKey]) -> None:
        if len({key.name for key in keys}) != 1:
            raise KeyRefused("the keys of a ledger all bear its one name")
        self._keys = {key.vkey: key for key in keys}
        self.origin = keys[0].name
        self.first = keys[0].vkey

    @property
    def vkeys(self) -> tuple[str, ...]:
        """The public halves."""
        return tuple(self._keys)

    def __getitem__(self, vkey: str) -> LogKey:
        """The key.

        Raises:
            KeyRefused: it is not held.
        """
        try:
            return self._keys[vkey]
        except KeyError:
            raise KeyRefused(
                f"the ledger is signed with {vkey}, which this process does not hold; set CONSENT_LEDGER_KEY_FILE or"
                " CONSENT_LEDGER_KEY_COMMAND to it. A key is changed by `consent ledger rotate-key` alone"
            ) from None

    def sign(self, text: str, valid: Sequence[str]) -> str:
        """The note of `text`, signed with the last of the valid keys and with those before it that are still held.

        Raises:
            KeyRefused: the last is not held, or a key gave no signature.
        """
        lines = [self[valid[-1]].sign(text)]
        lines += [self._keys[vkey].sign(text) for vkey in reversed(valid[:-1]) if vkey in self._keys]
        return lines[0] + "".join(line.removeprefix(f"{text}\n") for line in lines[1:])


def signature_of(note: str) -> bytes:
    """The bytes of a note's first signature, without the key's id."""
    return split_note(note)[1][0][1][4:]


def generate_key(path: Path, origin: str) -> str:
    """Make a key named `origin` in a new file of mode 0600, durable before this returns.

    Returns:
        The verifier key (vkey) that auditors need.

    Raises:
        FileExistsError: a key is never overwritten.
        KeyRefused: `origin` cannot be a key's name.
    """
    try:
        signer = Signer.generate(origin)
    except BadKey as error:
        raise KeyRefused(f"{error}; it is CONSENT_LEDGER_ORIGIN, a URL without scheme") from None
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(signer.private_key + "\n")
        file.flush()
        os.fsync(file.fileno())
    return signer.vkey


def load_key(path: Path, origin: str) -> Signer:
    """Read the key of the ledger `origin`.

    Raises:
        KeyRefused: absent, readable for others, not a key, or of another name.
    """
    try:
        mode = path.stat().st_mode
        line = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise KeyRefused(f"{path} cannot be read ({type(error).__name__}); make a key with `consent ledger keygen`") from None
    if mode & 0o077:
        raise KeyRefused(f"{path} may be read by others; chmod 600 it, and think about making a new key")
    try:
        signer = Signer.parse(line)
    except BadKey as error:
        raise KeyRefused(f"{path}: {error}") from None
    return _named(signer, origin, str(path))


def command_key(command: str, vkey: str, origin: str) -> CommandKey:
    """The key that `command` signs with, its words split as a shell would, and `vkey` names.

    Raises:
        KeyRefused: no command, not a vkey of an Ed25519 log key, or of another name.
    """
    try:
        words, verifier = shlex.split(command), Verifier.parse(vkey)
    except (ValueError, BadKey) as error:
        raise KeyRefused(f"the key command: {error}") from None
    if not words or verifier.key_type != ED25519:
        raise KeyRefused("the key command: a command and the vkey of an Ed25519 key (type 1) are wanted")
    return _named(CommandKey(tuple(words), verifier), origin, "the vkey of the key command")


def _named(key: Key, origin: str, where: str) -> Key:
    if key.name != origin:
        raise KeyRefused(f"{where} is the key of {key.name}, not of {origin}; correct CONSENT_LEDGER_ORIGIN or make a key")
    return key
