"""The log's signing key on disk: one line `PRIVATE+KEY+…` (C2SP signed-note, the form of Go's note package), mode 0600.

Whoever holds it can sign any history; only witnesses find that out. So it is made here once, never overwritten, and refused where others
could read it.
"""

import os
from pathlib import Path

from consent.errors import ServiceError
from consent_audit.errors import BadKey
from consent_audit.note import Signer


class KeyRefused(ServiceError):
    """The key file cannot be used; the message says why and never holds the key."""

    code = "ledger.key"

    def __init__(self, en: str) -> None:
        super().__init__("账本签名密钥文件不可用，详见英文说明。", en)


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
    if signer.name != origin:
        raise KeyRefused(f"{path} is the key of {signer.name}, not of {origin}; correct CONSENT_LEDGER_ORIGIN or make a key")
    return signer
