"""Who may have the proof of which record: its own parties, and auditors. No I/O."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

import msgspec

UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Institution:
    """An institution or platform that presented a sender-constrained token."""

    id: str


@dataclass(frozen=True, slots=True)
class Subject:
    """An enterprise or a person with a browser session."""

    id: UUID


@dataclass(frozen=True, slots=True)
class Everybody:
    """An auditor, who reads all records."""


Reader = Institution | Subject | Everybody


class Named(msgspec.Struct, frozen=True):
    """The members by which a record of any type names its parties; a type that has none of them is nobody's."""

    institution: str | None = None
    platform: str | None = None
    subject: str | None = None
    grant: str | None = None
    decision: str | bool | None = None

    @property
    def institutions(self) -> frozenset[str]:
        """Registered ids; what nobody registered stands as `unknown`, which is no one's name."""
        return frozenset(name for name in (self.institution, self.platform) if name is not None) - {UNKNOWN}


class _Record(msgspec.Struct, frozen=True):
    type: str
    data: Named


def named_in(record: bytes) -> tuple[str, Named]:
    """The type of a record of ours, and whom it names."""
    found: Any = msgspec.json.decode(record, type=_Record)
    return found.type, found.data
