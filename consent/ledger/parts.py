"""The parts that records are made of: structs that stand inside several record types (docs/spec/ledger.md)."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from consent.ledger.values import Day, Digest, Id, Identifier, Instant, Number, Period, Sha256, Version
from consent.ledger.words import Action, Code, Field, Item, LoanPhase, Word


class Part(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of all parts: every member is written, also when it is null."""


class Product(Part, frozen=True):
    """`items` null: all that the purpose matrix needs."""

    code: Id
    purposes: Annotated[tuple[Word, ...], Meta(max_length=16)]
    items: Annotated[tuple[Item, ...], Meta(max_length=128)] | None


class Model(Part, frozen=True):
    """A registered joint model and the items that it reads."""

    model: Id
    items: Annotated[tuple[Item, ...], Meta(max_length=128)]


class Frequency(Part, frozen=True):
    """At most `max` uses in each period."""

    max: Number
    per: Literal["day", "month", "total"]


class Detail(Part, frozen=True):
    """One authorization detail (RFC 9396 §2): one item, purpose and action. `fields` is always explicit."""

    identifier: Identifier
    item: Item
    action: Action
    purpose: Word
    product: Id | None
    fields: Annotated[tuple[Field, ...], Meta(max_length=128)]
    necessity: Literal["required", "optional"]
    data_from: Day | None
    valid_until: Instant
    frequency: Frequency | None
    retention_days: Number | None
    via: Annotated[tuple[Id, ...], Meta(max_length=16)]
    processor: Id | None


Details = Annotated[tuple[Detail, ...], Meta(max_length=128)]


Approvers = Annotated[tuple[Id, ...], Meta(max_length=2)]
"""Account ids of the staff who approved: two different ones, or none at the first activation."""


class Verdict(Part, frozen=True):
    """What was wrong with one detail of a refused request. `identifier_digest` is salted: the identifier is the caller's own text.

    `product` is `unknown` unless it is one of the institution's.
    """

    identifier_digest: Digest
    item: Item
    action: Action
    purpose: Word
    product: Id | None
    verdict: Literal["keep", "downgrade", "refuse"]
    codes: Annotated[tuple[Code, ...], Meta(max_length=32)]


class Notice(Part, frozen=True):
    """The risk notice that was acknowledged; its text is the blob of that digest."""

    version: Version
    sha256: Sha256


class RefusedDetail(Part, frozen=True):
    """A requested detail that the subject left out."""

    identifier: Identifier
    item: Item
    code: Code


class DecidedItem(Part, frozen=True):
    """The answer for one item. `fields_requested` null: all of the item; `claimed` null: nothing was to be compared."""

    item: Item
    fields_requested: Annotated[tuple[Field, ...], Meta(max_length=128)] | None
    claimed: Annotated[tuple[Field, ...], Meta(max_length=128)] | None
    outcome: Literal["permit", "permit_masked", "verify_only", "model_only", "deny"]
    basis: Literal["open", "grant", "person", "model"] | None
    grant: Id | None
    identifier: Identifier | None
    fields: Annotated[tuple[Field, ...], Meta(max_length=128)]
    withheld: Annotated[tuple[Field, ...], Meta(max_length=128)]
    codes: Annotated[tuple[Code, ...], Meta(max_length=32)]


class LoanTold(Part, frozen=True):
    """The loan that a check named, as it stood."""

    phase: LoanPhase
    product: Id | None


class Told(Part, frozen=True):
    """What a decision was told by the database and no other record shows, so that a replay has it on the operator's word.

    verified   the enterprise is registered by its real name and active, or nobody registered it
    loan       null: none was named, or it is none of this institution's to this enterprise
    uncounted  grants by a person that did not count: she is no longer linked to the enterprise, or not verified
    """

    verified: bool
    terminal: Literal["match", "mismatch", "unregistered"]
    loan: LoanTold | None
    uncounted: Annotated[tuple[Id, ...], Meta(max_length=256)]


class Use(Part, frozen=True):
    """A counted use: how often the granted detail was used in the period, this use included."""

    grant: Id
    identifier: Identifier
    period: Period
    used: Number


class DeliveredItem(Part, frozen=True):
    """Fields that were really served."""

    item: Item
    fields: Annotated[tuple[Field, ...], Meta(max_length=128)]
