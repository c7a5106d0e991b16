"""Signed notes and checkpoints (C2SP signed-note, tlog-checkpoint, tlog-cosignature).

A note is a text that ends in a newline, an empty line, and signature lines. Signatures of unknown keys are ignored; a
wrong signature of a known key refuses the whole note; a note that no known key signed is refused. Every spelling has
one reading: canonical base64, plain decimals, no control characters.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from typing import Self

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from consent_audit.encoding import format_base64, parse_base64, parse_decimal
from consent_audit.errors import BadKey, BadSignature, CannotCheck, MalformedNote
from consent_audit.hashing import EMPTY_ROOT, HASH_BYTES

ED25519 = 0x01
COSIGNATURE = 0x04
MLDSA_COSIGNATURE = 0x06
KEY_BYTES = {ED25519: 32, COSIGNATURE: 32, MLDSA_COSIGNATURE: 1312}
"""The key types that are verified here, and how long such a public key is."""
MAX_NOTE_BYTES = 1 << 16
MAX_SIGNATURES = 64
MAX_NAME_BYTES = 255
_DASH = "\u2014 "
_TIMESTAMP_BYTES = 8
_MAX_TIMESTAMP = 2**63 - 1


def valid_name(name: str) -> bool:
    """Whether a key name is allowed: not empty, no Unicode space, no control character, no plus sign."""
    return (
        0 < len(name.encode("utf-8", "surrogatepass")) <= MAX_NAME_BYTES
        and "+" not in name
        and not any(character.isspace() or ord(character) < 0x20 or 0xD800 <= ord(character) <= 0xDFFF for character in name)
    )


def key_id(name: str, key_type: int, public_key: bytes) -> bytes:
    """The four bytes that tell signatures apart: SHA-256(name || newline || type || key)[:4]."""
    return sha256(name.encode() + b"\n" + bytes([key_type]) + public_key).digest()[:4]


@dataclass(frozen=True, slots=True)
class Verifier:
    """A trusted public key: a log's Ed25519 key (type 1), or a witness's cosignature key (Ed25519: 4, ML-DSA-44: 6)."""

    name: str
    key_type: int
    public_key: bytes

    @classmethod
    def parse(cls, vkey: str) -> Self:
        """Read a C2SP verifier key `<name>+<hex id>+<base64(type || key)>`.

        Raises:
            BadKey: another form, a type that is not supported, or an id that is not the key's.
        """
        name, _, rest = vkey.partition("+")
        identifier, _, encoded = rest.partition("+")
        try:
            key = parse_base64(encoded)
        except ValueError as error:
            raise BadKey("verifier key: not canonical base64") from error
        if not valid_name(name) or len(key) < 1:
            raise BadKey("verifier key: want <name>+<id>+<base64>")
        if len(key) != 1 + KEY_BYTES.get(key[0], 0):
            raise BadKey("verifier key: only Ed25519 (types 1 and 4) and ML-DSA-44 (type 6) are supported")
        if key_id(name, key[0], key[1:]).hex() != identifier:
            raise BadKey("verifier key: the id does not belong to the key")
        return cls(name, key[0], key[1:])

    @property
    def id(self) -> bytes:
        """Key id, 4 bytes."""
        return key_id(self.name, self.key_type, self.public_key)

    @property
    def vkey(self) -> str:
        """The key as text; `parse` reads it."""
        return f"{self.name}+{self.id.hex()}+{format_base64(bytes([self.key_type]) + self.public_key)}"

    def verify(self, text: str, signature: bytes) -> int | None:
        """Check the signature (without its key id) over a note's text.

        Returns:
            When a witness signed, in seconds since 1970; None for a log's own signature, which says no time.

        Raises:
            BadSignature: it is not this key's signature of this text.
            CannotCheck: the cryptography library was built without ML-DSA.
        """
        message, time = text.encode(), None
        if self.key_type != ED25519:
            stamp, signature = signature[:_TIMESTAMP_BYTES], signature[_TIMESTAMP_BYTES:]
            time = int.from_bytes(stamp, "big")
            if len(stamp) != _TIMESTAMP_BYTES or time > _MAX_TIMESTAMP:
                raise BadSignature(f"wrong signature by {self.name}")
            message = cosigned_text(text, time) if self.key_type == COSIGNATURE else cosigned_subtree(self.name, text, time)
        try:
            if self.key_type == MLDSA_COSIGNATURE:
                MLDSA44PublicKey.from_public_bytes(self.public_key).verify(signature, message)
            else:
                Ed25519PublicKey.from_public_bytes(self.public_key).verify(signature, message)
        except (InvalidSignature, ValueError) as error:
            raise BadSignature(f"wrong signature by {self.name}") from error
        except UnsupportedAlgorithm as error:
            raise CannotCheck("the cryptography library here cannot verify ML-DSA-44 signatures") from error
        return time


def cosigned_text(text: str, time: int) -> bytes:
    """What a witness's Ed25519 key signs (C2SP tlog-cosignature, `cosignature/v1`)."""
    return f"cosignature/v1\ntime {time}\n{text}".encode()


def cosigned_subtree(cosigner: str, text: str, time: int) -> bytes:
    """What a witness's ML-DSA-44 key signs (C2SP tlog-cosignature, `subtree/v1`): its own name and the checkpoint, no extension lines.

    Raises:
        MalformedNote: the text is not a checkpoint, or a name is longer than 255 bytes.
    """
    checkpoint = Checkpoint.parse(text)
    names = [cosigner.encode(), checkpoint.origin.encode()]
    if not all(0 < len(name) <= MAX_NAME_BYTES for name in names):
        raise MalformedNote("checkpoint: origin or the witness's name is longer than 255 bytes")
    own, origin = (bytes([len(name)]) + name for name in names)
    tree = bytes(8) + checkpoint.size.to_bytes(8, "big") + checkpoint.root
    return b"subtree/v1\n\0" + own + time.to_bytes(8, "big") + origin + tree


@dataclass(frozen=True, slots=True, repr=False)
class Signer:
    """A log's Ed25519 signing key. Its `repr` shows no secret."""

    name: str
    seed: bytes

    def __post_init__(self) -> None:
        if not valid_name(self.name):
            raise BadKey("signing key: name is empty or holds a space, plus sign or control character")
        if len(self.seed) != 32:
            raise BadKey("signing key: seed is not 32 bytes")

    @classmethod
    def generate(cls, name: str) -> Self:
        """Make a fresh key."""
        private = Ed25519PrivateKey.generate()
        return cls(name, private.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption()))

    @classmethod
    def parse(cls, private_key: str) -> Self:
        """Read `PRIVATE+KEY+<name>+<hex id>+<base64(1 || seed)>`, the form of Go's note package.

        Raises:
            BadKey: another form, or an id that is not the key's.
        """
        prefix = "PRIVATE+KEY+"
        name, _, rest = private_key.removeprefix(prefix).partition("+")
        identifier, _, encoded = rest.partition("+")
        try:
            key = parse_base64(encoded)
        except ValueError as error:
            raise BadKey("signing key: not canonical base64") from error
        if not private_key.startswith(prefix) or key[:1] != bytes([ED25519]):
            raise BadKey("signing key: want PRIVATE+KEY+<name>+<id>+<base64> of type 1")
        signer = cls(name, key[1:])
        if signer.verifier.id.hex() != identifier:
            raise BadKey("signing key: the id does not belong to the key")
        return signer

    def __repr__(self) -> str:
        return f"Signer({self.verifier.vkey!r})"

    @property
    def _key(self) -> Ed25519PrivateKey:
        return Ed25519PrivateKey.from_private_bytes(self.seed)

    @property
    def verifier(self) -> Verifier:
        """The public half."""
        return Verifier(self.name, ED25519, self._key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw))

    @property
    def vkey(self) -> str:
        """The public half as C2SP text."""
        return self.verifier.vkey

    @property
    def private_key(self) -> str:
        """The secret as text; `parse` reads it. Whoever holds it can sign any history."""
        return f"PRIVATE+KEY+{self.name}+{self.verifier.id.hex()}+{format_base64(bytes([ED25519]) + self.seed)}"

    def sign(self, text: str) -> str:
        """The note with this key's signature.

        Raises:
            MalformedNote: the text does not end in a newline or holds a control character.
        """
        if not text.endswith("\n") or _has_control(text):
            raise MalformedNote("note text must end in a newline and hold no control character")
        signature = self._key.sign(text.encode())
        return f"{text}\n{_DASH}{self.name} {format_base64(self.verifier.id + signature)}\n"


def _has_control(text: str) -> bool:
    return any(character < " " and character != "\n" for character in text)


def _signature_line(line: str) -> tuple[str, bytes]:
    if not line.startswith(_DASH):
        raise MalformedNote("note: a line after the text is not a signature")
    name, space, encoded = line.removeprefix(_DASH).partition(" ")
    try:
        value = parse_base64(encoded)
    except ValueError as error:
        raise MalformedNote("note: a signature is not canonical base64") from error
    if not space or not valid_name(name) or len(value) < 5:
        raise MalformedNote("note: a signature line has no name, id or signature")
    return name, value


def split_note(note: str | bytes) -> tuple[str, list[tuple[str, bytes]]]:
    """The unverified text of a note and its signatures as `(name, id || signature)`.

    Raises:
        MalformedNote: the bytes are not a note.
    """
    if len(note) > MAX_NOTE_BYTES:
        raise MalformedNote("note: larger than 64 KiB")
    try:
        decoded = note.decode("utf-8") if isinstance(note, bytes) else note.encode("utf-8").decode("utf-8")
    except UnicodeError as error:
        raise MalformedNote("note: not UTF-8") from error
    if _has_control(decoded):
        raise MalformedNote("note: control character")
    head, separator, tail = decoded.rpartition("\n\n")
    if not separator or not tail.endswith("\n"):
        raise MalformedNote("note: no empty line followed by signatures")
    lines = tail[:-1].split("\n")
    if len(lines) > MAX_SIGNATURES:
        raise MalformedNote("note: more than 64 signatures")
    return head + "\n", [_signature_line(line) for line in lines]


def open_signatures(note: str | bytes, verifiers: Iterable[Verifier]) -> tuple[str, dict[Verifier, int | None]]:
    """The text of a note, and which of the verifiers signed it, each with its newest time (see `Verifier.verify`).

    Raises:
        MalformedNote: the bytes are not a note.
        BadSignature: a known key's signature is wrong, or no known key signed.
    """
    text, signatures = split_note(note)
    known = {(verifier.name, verifier.id): verifier for verifier in verifiers}
    signed: dict[Verifier, int | None] = {}
    for name, value in signatures:
        verifier = known.get((name, value[:4]))
        if verifier is not None:
            time, before = verifier.verify(text, value[4:]), signed.get(verifier)
            signed[verifier] = time if time is None or before is None else max(time, before)
    if not signed:
        raise BadSignature("note: not signed by the given key")
    return text, signed


def open_note(note: str | bytes, verifiers: Iterable[Verifier]) -> str:
    """The text of a note that at least one of the verifiers signed; raises as `open_signatures` does."""
    return open_signatures(note, verifiers)[0]


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A tree head: whose log, how many records, which root. Extension lines are kept, not interpreted."""

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    def text(self) -> str:
        """The note text of this checkpoint."""
        lines = (self.origin, str(self.size), format_base64(self.root), *self.extensions)
        return "".join(f"{line}\n" for line in lines)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a note's text as a checkpoint.

        Raises:
            MalformedNote: not origin, size and root, each in its one spelling, or an empty tree with another root.
        """
        checkpoint = cls.parse_lines(text)
        if checkpoint.size == 0 and checkpoint.root != EMPTY_ROOT:
            raise MalformedNote("checkpoint: size 0 with a root that is not the empty tree's")
        return checkpoint

    @classmethod
    def parse_lines(cls, text: str) -> Self:
        """As `parse`, for a witness, which tells an impossible tree from lines that are none."""
        lines = text.split("\n")
        if len(lines) < 4 or lines[-1] != "" or "" in lines[:-1]:
            raise MalformedNote("checkpoint: want the lines origin, size and root")
        try:
            size = parse_decimal(lines[1])
            root = parse_base64(lines[2])
        except ValueError as error:
            raise MalformedNote("checkpoint: size or root in a spelling that is not allowed") from error
        if len(root) != HASH_BYTES:
            raise MalformedNote("checkpoint: root is not 32 bytes")
        return cls(lines[0], size, root, tuple(lines[3:-1]))


def open_checkpoint(note: str | bytes, verifier: Verifier) -> Checkpoint:
    """The checkpoint in a note that the log's key signed, its origin equal to the key's name.

    Raises:
        MalformedNote: not a checkpoint.
        BadSignature: not signed by this key, or another log's origin.
    """
    checkpoint = Checkpoint.parse(open_note(note, [verifier]))
    if checkpoint.origin != verifier.name:
        raise BadSignature("checkpoint: origin is not the key's name")
    return checkpoint
