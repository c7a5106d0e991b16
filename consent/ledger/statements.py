"""What the ledger records about itself: whose it is, which key signs it, what was lost, what was redacted (docs/spec/ledger.md §4, §5)."""

from typing import Annotated, ClassVar, Literal

from msgspec import Meta

from consent.ledger.parts import Part
from consent.ledger.values import Count, Number, Origin, Root, Signature, Vkey


class Event(Part, frozen=True):
    """Base of all record types."""

    TYPE: ClassVar[str]


class LedgerGenesis(Event, frozen=True):
    """Record 0: whose ledger this is, equal to the origin of its checkpoints."""

    TYPE: ClassVar[str] = "ledger.genesis"
    origin: Origin


class KeyRotated(Event, frozen=True):
    """Heads above this record are signed with `new`; both keys sign `rotation_text` (consent_audit.statements)."""

    TYPE: ClassVar[str] = "key.rotated"
    old: Vkey
    new: Vkey
    old_signature: Signature
    new_signature: Signature


class LedgerContinued(Event, frozen=True):
    """The tail of the ledger `before`, up to its signed head of `size` and `root`, was lost; from here on checkpoints bear `origin`."""

    TYPE: ClassVar[str] = "ledger.continued"
    origin: Origin
    before: Origin
    size: Number
    root: Root


class RecordRedacted(Event, frozen=True):
    """What stood behind the digests of these records was deleted, so that nobody can open them any more; the records stand.

    `erasure`: because the subject demanded it. `retention`: because nothing demands to keep it any longer.
    """

    TYPE: ClassVar[str] = "record.redacted"
    records: Annotated[tuple[Count, ...], Meta(max_length=2000)]
    reason: Literal["erasure", "retention"]
