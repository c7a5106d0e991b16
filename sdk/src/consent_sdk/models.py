"""The values that callers send and get. Frozen, typed, and checked against what was asked before anybody sees them."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import msgspec

Outcome = Literal["permit", "permit_masked", "verify_only", "model_only", "deny"]


class Frequency(msgspec.Struct, frozen=True, kw_only=True):
    """At most `max` uses per day, month (Asia/Shanghai) or in total."""

    max: int
    per: Literal["day", "month", "total"]


class Detail(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One item that a bank asks an enterprise for (one action, one item, one purpose). RFC 9396 §2.

    Args:
        item: catalogue code, e.g. N21-03-04.
        purpose: one of the nine financing purposes, e.g. pre_loan.
        valid_until: RFC 3339 instant with Z.
        fields: field codes; None asks for all fields of the item.
        data_from: YYYY-MM-DD, the oldest data wanted.
    """

    item: str
    purpose: str
    valid_until: str
    action: str = "query"
    product: str | None = None
    fields: Sequence[str] | None = None
    necessity: Literal["required", "optional"] = "required"
    data_from: str | None = None
    frequency: Frequency | None = None
    retention_days: int | None = None
    via: Sequence[str] = ()
    processor: str | None = None
    identifier: str | None = None

    def to_wire(self, position: int) -> dict[str, Any]:
        """The authorization detail as the service takes it; `position` names it where the caller did not."""
        wire: dict[str, Any] = {
            "type": "financing_data",
            "identifier": self.identifier or f"detail-{position}",
            "actions": [self.action],
            "datatypes": [self.item],
            "purpose": self.purpose,
            "necessity": self.necessity,
            "valid_until": self.valid_until,
        }
        optional = {
            "product": self.product,
            "fields": list(self.fields) if self.fields is not None else None,
            "data_from": self.data_from,
            "frequency": msgspec.to_builtins(self.frequency) if self.frequency else None,
            "retention_days": self.retention_days,
            "via": list(self.via) or None,
            "processor": self.processor,
        }
        return wire | {name: value for name, value in optional.items() if value is not None}


class PendingConsent(msgspec.Struct, frozen=True, kw_only=True):
    """A pushed request. Send the person to `url`; keep the rest on the server side until she comes back."""

    url: str
    state: str
    code_verifier: str
    redirect_uri: str
    expires_in: int


class Grant(msgspec.Struct, frozen=True, kw_only=True):
    """What an enterprise granted. `granted` and `refused` are details as the service returned them."""

    grant_id: str
    granted: tuple[Mapping[str, Any], ...]
    refused: tuple[Mapping[str, Any], ...] = ()
    unmet_required: tuple[str, ...] = ()
    access_token: str | None = None
    expires_in: int | None = None

    @property
    def items(self) -> tuple[str, ...]:
        """Catalogue codes granted."""
        return tuple(code for detail in self.granted for code in detail["datatypes"])

    @property
    def complete(self) -> bool:
        """True if nothing that was asked for was left out."""
        return not self.refused


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One question: may this institution do this with these items of this enterprise?

    Args:
        enterprise: 统一社会信用代码.
        items: catalogue codes.
        institution: only for platforms that ask for others; a bank leaves it out.
        ticket: only for platforms: the id of the bank's permit, which this check redeems.
        request_id: makes the call repeatable; made up if absent.
    """

    enterprise: str
    items: Sequence[str]
    purpose: str
    action: str = "query"
    fields: Mapping[str, Sequence[str]] | None = None
    product: str | None = None
    loan: str | None = None
    model: str | None = None
    processor: str | None = None
    via: Sequence[str] = ()
    institution: str | None = None
    ticket: str | None = None
    request_id: str | None = None
    operator: str | None = None
    branch: str | None = None
    terminal_id: str | None = None
    channel: str | None = None
    data_from: str | None = None
    data_to: str | None = None
    claimed_fields: Sequence[str] | None = None

    def to_wire(self, institution: str, request_id: str) -> dict[str, Any]:
        """The AuthZEN evaluation request."""
        who = _present(operator=self.operator, branch=self.branch)
        how = _present(
            purpose=self.purpose,
            product=self.product,
            loan=self.loan,
            model=self.model,
            processor=self.processor,
            via=list(self.via) or None,
        )
        what: dict[str, Any] = {"items": list(self.items)}
        if self.fields is not None:
            what["fields"] = {item: list(fields) for item, fields in self.fields.items()}
        context = _present(
            request_id=self.request_id or request_id,
            ticket=self.ticket,
            terminal_id=self.terminal_id,
            channel=self.channel,
            data_from=self.data_from,
            data_to=self.data_to,
            claimed_fields=list(self.claimed_fields) if self.claimed_fields is not None else None,
        )
        subject: dict[str, Any] = {"type": "institution", "id": self.institution or institution}
        if who:
            subject["properties"] = who
        return {
            "subject": subject,
            "action": {"name": self.action, "properties": how},
            "resource": {"type": "enterprise", "id": self.enterprise, "properties": what},
            "context": context,
        }


def _present(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


class ItemResult(msgspec.Struct, frozen=True, kw_only=True):
    """The answer for one item. `fields` may be fetched; `withheld` may not, for the reasons in `codes`."""

    item: str
    outcome: Outcome
    basis: Literal["open", "grant", "person", "model"] | None
    grant_id: str | None
    fields: tuple[str, ...]
    withheld: tuple[str, ...]
    codes: tuple[str, ...]
    obligations: tuple[Mapping[str, Any], ...] = ()
    flags: tuple[str, ...] = ()


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """The common part of the three answers. Truth is the service's `decision`: everything asked, in full.

    `ledger` is (index, leaf in base64) of the record; `id` of a permit is its ticket for five minutes.
    """

    id: str
    items: tuple[ItemResult, ...]
    codes: tuple[str, ...]
    solution_zh: str
    solution_en: str
    policy: str
    catalogue: str
    ledger_index: int
    ledger_leaf: str

    granted_in_full: ClassVar[bool] = False

    def __bool__(self) -> bool:
        return self.granted_in_full

    @property
    def permitted(self) -> dict[str, tuple[str, ...]]:
        """Item → fields that may be had now; nothing else may be fetched."""
        return {result.item: result.fields for result in self.items if result.outcome != "deny"}


class Permit(Decision, frozen=True, kw_only=True):
    """Everything asked for may be had. The only truthy answer."""

    granted_in_full: ClassVar[bool] = True


class PartialPermit(Decision, frozen=True, kw_only=True):
    """Some of it may be had: go by `permitted`. Falsy, so that `if decision:` never fetches too much."""


class Denial(Decision, frozen=True, kw_only=True):
    """Nothing may be had; `codes` say why and the solution what would cure it. Falsy."""
