"""Grants: what an authorization detail is, and what state a grant is in. No I/O.

A `Detail` has one form from the pushed request to the page, the grant and the token: what the enterprise read is what is stored and
what the bank gets back. Expiry and suspension are never stored by a job: `effective_status` computes them at the moment of reading
(design §5.8).
"""

from collections.abc import Iterable
from datetime import date, datetime
from typing import Annotated, Any, Literal, Self
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, UnsetType

from consent.clock import SHANGHAI, shanghai_day, to_ms, truncate

Action = Literal["query", "verify", "push", "report", "model", "collect"]
Necessity = Literal["required", "optional"]
Per = Literal["day", "month", "total"]
GrantedBy = Literal["enterprise", "person"]
Channel = Literal["online", "written", "callback"]
Status = Literal["active", "expired", "suspended", "revoked"]
ActorKind = Literal["subject", "institution", "operator"]

# Words of the catalogue or of a registration: whether one is known is for the policy to say, with a code; here it only has a bound.
Word = Annotated[str, Meta(min_length=1, max_length=64, pattern=r"\A[^\x00-\x20\x7f\ud800-\udfff]+\Z")]
RegisteredId = Annotated[str, Meta(pattern=r"\A[a-z][a-z0-9-]{2,63}\Z")]
Identifier = Annotated[str, Meta(pattern=r"\A[A-Za-z0-9._~-]{1,64}\Z")]


class Frequency(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How often: at most `max` uses `per` calendar day or month of Asia/Shanghai, or in total. {1, total} is single use."""

    max: Annotated[int, Meta(ge=1, le=100_000)]
    per: Per


class Detail(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One authorization detail: one item for one purpose and one action (design §4, RFC 9396 §2).

    identifier      the client's name for the detail; once accepted always there and unique in its request
    fields          absent only as received, where it means all; once accepted always there
    necessity       whether the product can do without; a left-out required detail is reported, never forced
    data_from       earliest day of the data
    valid_until     end of the grant of this item, UTC
    via             registered ids of conduits that pass the data on
    processor       registered id of a third party that works for the institution (发改办财金〔2022〕299号 四)
    """

    type: Literal["financing_data"]
    identifier: Identifier | UnsetType = UNSET
    actions: Annotated[tuple[Action, ...], Meta(min_length=1, max_length=1)]
    datatypes: Annotated[tuple[Word, ...], Meta(min_length=1, max_length=1)]
    fields: Annotated[tuple[Word, ...], Meta(min_length=1, max_length=128)] | UnsetType = UNSET
    purpose: Word
    product: Word | UnsetType = UNSET
    necessity: Necessity
    data_from: date | UnsetType = UNSET
    valid_until: Annotated[datetime, Meta(tz=True)]
    frequency: Frequency | UnsetType = UNSET
    retention_days: Annotated[int, Meta(ge=1, le=36_500)] | UnsetType = UNSET
    via: Annotated[tuple[RegisteredId, ...], Meta(max_length=8)] = ()
    processor: RegisteredId | UnsetType = UNSET

    @property
    def item(self) -> str:
        """The one item's code."""
        return self.datatypes[0]

    @property
    def action(self) -> Action:
        """The one action."""
        return self.actions[0]

    @property
    def key(self) -> tuple[str, str, str]:
        """What must not occur twice in a request: item, purpose and action."""
        return self.item, self.purpose, self.action

    @property
    def name(self) -> str:
        """The identifier of an accepted detail."""
        if self.identifier is UNSET:
            raise ValueError("the detail has not been completed")
        return self.identifier

    @property
    def granted_fields(self) -> tuple[str, ...]:
        """The fields of an accepted detail, never empty."""
        if self.fields is UNSET:
            raise ValueError("the detail has not been completed")
        return self.fields

    def completed(self, *, identifier: str, fields: Iterable[str]) -> Self:
        """The accepted form: nothing left to be implied.

        Args:
            identifier: used where the client gave none.
            fields: all that this detail means, in the item's order.
        """
        return msgspec.structs.replace(
            self,
            identifier=self.identifier or identifier,
            fields=tuple(fields),
            valid_until=truncate(self.valid_until),
        )

    def to_policy(self) -> dict[str, Any]:
        """One of `details` in the policy's input; absent members are null there."""
        return {
            "identifier": None if self.identifier is UNSET else self.identifier,
            "item": self.item,
            "fields": None if self.fields is UNSET else list(self.fields),
            "action": self.action,
            "purpose": self.purpose,
            "product": _or_none(self.product),
            "data_from": None if self.data_from is UNSET else self.data_from.isoformat(),
            "valid_until": to_ms(self.valid_until),
            "frequency": None if self.frequency is UNSET else {"max": self.frequency.max, "per": self.frequency.per},
            "retention_days": _or_none(self.retention_days),
            "via": list(self.via),
            "processor": _or_none(self.processor),
        }


def ledger_identifier(seq: int) -> str:
    """How the ledger names the detail at position `seq` (from 1) of its request: a client's own identifier is free text."""
    return f"d{seq}"


class Notice(msgspec.Struct, frozen=True, kw_only=True):
    """The risk notice that was shown and acknowledged (国办发〔2021〕52号 注3): its version and the SHA-256 of its bytes."""

    version: Annotated[str, Meta(min_length=1, max_length=64)]
    sha256: bytes


class Actor(msgspec.Struct, frozen=True):
    """Who changes a grant. `id` is the subject's or institution's; the operator has none and may act on every grant.

    Built by the handler from its capability, never from a request's body.
    """

    kind: ActorKind
    id: str = ""

    @classmethod
    def subject(cls, subject_id: UUID) -> Self:
        """The enterprise or person that granted."""
        return cls("subject", str(subject_id))

    @classmethod
    def institution(cls, institution_id: str) -> Self:
        """The institution that was granted to."""
        return cls("institution", institution_id)

    @classmethod
    def operator(cls) -> Self:
        """The platform's operator."""
        return cls("operator")

    def may_change(self, grant: "Grant") -> bool:
        """Whether the grant is this actor's; if not, it must not learn that the grant exists."""
        if self.kind == "operator":
            return True
        return self.id == (str(grant.subject_id) if self.kind == "subject" else grant.institution_id)


class Refused(msgspec.Struct, frozen=True):
    """A requested detail that was not granted, with the code of the reason."""

    detail: Detail
    code: str


class GrantItem(msgspec.Struct, frozen=True, kw_only=True):
    """One granted detail. `status` is what is stored; what counts is `effective_item_status`.

    seq  position in the request from 1, so the ledger's name of the detail
    """

    seq: int
    detail: Detail
    status: Literal["active", "revoked"]
    ended_at: datetime | None = None


class Grant(msgspec.Struct, frozen=True, kw_only=True):
    """What one subject granted one institution in one act.

    status              as stored; what counts is `effective_status`
    subject_id          who granted: the enterprise, or the person for her own items
    enterprise_id       whose financing it is for
    enterprise          its 统一社会信用代码
    institution_status  as of the reading
    verified            whether the enterprise is registered by real name and active
    linked              False if a person granted and is no longer verified or no longer linked to the enterprise
    """

    id: str
    institution_id: str
    institution_status: str
    client_id: str
    subject_id: UUID
    enterprise_id: UUID
    enterprise: str
    request_id: str | None
    version: int
    status: Literal["active", "suspended", "revoked"]
    granted_by: GrantedBy
    channel: Channel
    notice_version: str
    notice_sha256: bytes
    created_at: datetime
    ended_at: datetime | None
    verified: bool
    linked: bool
    refused: tuple[Refused, ...]
    items: tuple[GrantItem, ...]

    @property
    def identifier(self) -> str:
        """What its pseudonym stands for: the enterprise, whoever granted, so that a replay finds all grants of a check."""
        return self.enterprise

    @property
    def unmet_required(self) -> tuple[str, ...]:
        """Identifiers of the refused details that the institution called required."""
        return tuple(refused.detail.name for refused in self.refused if refused.detail.necessity == "required")


class HistoryEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One version of a grant: what made it, who, and the index of its ledger record.

    details  identifiers of what was granted, or of what a narrowing removed
    """

    version: int
    at: datetime
    event: str
    actor: ActorKind
    index: int
    details: tuple[str, ...]


def effective_item_status(grant: Grant, item: GrantItem, now: datetime) -> Status:
    """The state of one item at `now`. Valid while `now` is before `valid_until`.

    Final states come first: what was revoked stays so when it would have expired, and an expired item of a suspended grant will not
    come back when the grant is resumed.
    """
    if grant.status == "revoked" or item.status == "revoked":
        return "revoked"
    if item.detail.valid_until <= now:
        return "expired"
    if grant.status == "suspended" or grant.institution_status != "active" or not (grant.verified and grant.linked):
        return "suspended"
    return "active"


def effective_status(grant: Grant, now: datetime) -> Status:
    """The state of the whole grant at `now`: active or suspended if an item of it is, else expired if one expired, else revoked."""
    states = {effective_item_status(grant, item, now) for item in grant.items}
    order: tuple[Status, ...] = ("active", "suspended", "expired")
    return next((state for state in order if state in states), "revoked")


def period_key(per: Per, at: datetime) -> str:
    """The period in which a use at `at` counts: 'total', 'YYYY-MM' or 'YYYY-MM-DD', calendar of Asia/Shanghai."""
    if per == "total":
        return "total"
    return at.astimezone(SHANGHAI).strftime("%Y-%m") if per == "month" else shanghai_day(at)


def _or_none(value: Any) -> Any:
    return None if value is UNSET else value
