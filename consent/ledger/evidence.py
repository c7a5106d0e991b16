"""What stands behind the digests of a record, kept beside the ledger: it opens them in a dispute, and its deletion erases (design §3.9).

A record holds `SHA-256(salt || value)`, never the value. The salt of a member is `SHA-256(secret || member)`; the secret is 32 fresh random
bytes for each record and party. So one row holds all salts of a record, one member can be opened without helping anybody to guess
another, and once the row is deleted nobody can show, or find by trying, what was there. Entries of the ledger never change.
"""

import hashlib
import os
from base64 import urlsafe_b64encode
from typing import Any
from uuid import UUID

import msgspec

SALT_BYTES = 32

_encode = msgspec.json.Encoder().encode


def salt_of(secret: bytes, member: str) -> bytes:
    """The salt of one member of a record."""
    return hashlib.sha256(secret + member.encode()).digest()


def digest_of(salt: bytes, value: str) -> str:
    """The digest that the record holds: base64url of SHA-256(salt || value), without padding."""
    return urlsafe_b64encode(hashlib.sha256(salt + value.encode()).digest()).decode().rstrip("=")


class Evidence:
    """The values behind one record's digests, of one party. Made before the record, handed over with it, used once.

    owner  the subject whom they concern; None for references of a caller's own, such as its loan and operator
    """

    __slots__ = ("_secret", "_values", "owner")

    def __init__(self, owner: UUID | None = None) -> None:
        self.owner = owner
        self._secret = os.urandom(SALT_BYTES)
        self._values: dict[str, str] = {}

    def commit(self, member: str, value: str) -> str:
        """The digest of `value` for the record.

        Args:
            member: where the digest stands in the record's data, a path such as `loan` or `verdicts.0.identifier_digest`.
        """
        self._values[member] = value
        return digest_of(salt_of(self._secret, member), value)

    def commit_optional(self, member: str, value: str | None) -> str | None:
        """The same; nothing for nothing."""
        return None if value is None else self.commit(member, value)

    def __bool__(self) -> bool:
        return bool(self._values)

    def row(self, index: int, place: int) -> tuple[object, ...]:
        """As it is stored, for the columns COLUMNS; `place` tells several of one record apart."""
        return index, place, self.owner, self._secret, _encode(self._values).decode()


COLUMNS = ("idx", "place", "owner", "secret", "members")


def find(data: Any, member: str) -> Any:
    """What stands at a member's path in a record's data; None if there is nothing."""
    for step in member.split("."):
        if isinstance(data, dict):
            data = data.get(step)
        elif isinstance(data, list) and step.isdecimal() and int(step) < len(data):
            data = data[int(step)]
        else:
            return None
    return data
