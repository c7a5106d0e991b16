"""A witness's signing key (C2SP tlog-cosignature, Ed25519 `cosignature/v1`).

A cosignature says: at this time this was the largest tree of this log that I saw, and it extended all that I saw before.
Whoever calls `cosign` has made sure of that and stored it.
"""

from dataclasses import dataclass
from typing import Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from consent_audit.encoding import format_base64, parse_base64
from consent_audit.errors import BadKey
from consent_audit.note import COSIGNATURE, Verifier, cosigned_text, valid_name

_PREFIX = "PRIVATE+KEY+"


@dataclass(frozen=True, slots=True, repr=False)
class Cosigner:
    """A witness's Ed25519 key of 32 secret bytes. Its `repr` shows no secret."""

    name: str
    seed: bytes

    def __post_init__(self) -> None:
        if not valid_name(self.name) or len(self.seed) != 32:
            raise BadKey("witness key: the name is not one, or the seed is not 32 bytes")

    @classmethod
    def generate(cls, name: str) -> Self:
        """Make a fresh key."""
        return cls(name, Ed25519PrivateKey.generate().private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption()))

    @classmethod
    def parse(cls, private_key: str) -> Self:
        """Read `PRIVATE+KEY+<name>+<hex id>+<base64(4 || seed)>`.

        Raises:
            BadKey: another form, or an id that is not the key's.
        """
        name, _, rest = private_key.removeprefix(_PREFIX).partition("+")
        identifier, _, encoded = rest.partition("+")
        try:
            key = parse_base64(encoded)
        except ValueError as error:
            raise BadKey("witness key: not canonical base64") from error
        if not private_key.startswith(_PREFIX) or key[:1] != bytes([COSIGNATURE]):
            raise BadKey("witness key: want PRIVATE+KEY+<name>+<id>+<base64> of type 4")
        cosigner = cls(name, key[1:])
        if cosigner.verifier.id.hex() != identifier:
            raise BadKey("witness key: the id does not belong to the key")
        return cosigner

    def __repr__(self) -> str:
        return f"Cosigner({self.verifier.vkey!r})"

    @property
    def verifier(self) -> Verifier:
        """The public half."""
        public = Ed25519PrivateKey.from_private_bytes(self.seed).public_key()
        return Verifier(self.name, COSIGNATURE, public.public_bytes(Encoding.Raw, PublicFormat.Raw))

    @property
    def private_key(self) -> str:
        """The secret as text; `parse` reads it."""
        return f"{_PREFIX}{self.name}+{self.verifier.id.hex()}+{format_base64(bytes([COSIGNATURE]) + self.seed)}"

    def cosign(self, text: str, time: int) -> str:
        """The signature line for a checkpoint's text.

        Args:
            time: now, in seconds since 1970.
        """
        signature = Ed25519PrivateKey.from_private_bytes(self.seed).sign(cosigned_text(text, time))
        return f"\u2014 {self.name} {format_base64(self.verifier.id + time.to_bytes(8, 'big') + signature)}\n"
