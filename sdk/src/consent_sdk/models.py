"""The values that callers send and get. Frozen, typed, and checked against what was asked before anybody sees them."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import msgspec

Outcome = Literal["permit", "permit_masked", "verify_only", "model_only", "deny"]

IN_FULL: Mapping[str, Outcome] = {
    "query": "permit",
    "push": "permit",
    "report": "permit",
    "collect": "permit",
    "verify": "verify_only",
    "model": "model_only",
}
"""The outcome that gives an action all it asked for."""


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
    """A pushed request. Send the person to `url`; keep the rest on your side, bound to her session, until she comes back.

    `msgspec.json.encode(pending)` and `msgspec.json.decode(text, type=PendingConsent)` carry it through a session store.
    """

    url: str
    state: str
    code_verifier: str
    redirect_uri: str
    expires_in: int
    items: tuple[str, ...]

    def __repr__(self) -> str:
        """Without the secrets, for logs."""
        return f"PendingConsent(items={self.items!r}, expires_in={self.expires_in})"


class Grant(msgspec.Struct, frozen=True, kw_only=True):
    """What an enterprise granted. `granted` and `refused` are details as the service returned them."""

    grant_id: str
    granted: tuple[Mapping[str, Any], ...]
    refused: tuple[Mapping[str, Any], ...] = ()
    unmet_required: tuple[str, ...] = ()
    access_token: str | None = None
    expires_in: int | None = None

    def __repr__(self) -> str:
        """Without the token, for logs."""
        return f"Grant(grant_id={self.grant_id!r}, items={self.items!r}, unmet_required={self.unmet_required!r})"

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


class Obligation(msgspec.Struct, frozen=True, kw_only=True):
    """What must be done with these fields: mask, band, aggregate, match_only, do_not_store or retain_days; `serve` does it.

    `value`: the method of a mask, the rising edges of a band, a number of days; None for the others.
    """

    code: str
    fields: tuple[str, ...]
    value: int | str | tuple[int, ...] | None = None


class ItemResult(msgspec.Struct, frozen=True, kw_only=True):
    """The answer for one item. `fields` may be fetched; `withheld` may not, for the reasons in `codes`."""

    item: str
    outcome: Outcome
    basis: Literal["open", "grant", "person", "model"] | None
    grant_id: str | None
    fields: tuple[str, ...]
    withheld: tuple[str, ...]
    codes: tuple[str, ...]
    obligations: tuple[Obligation, ...] = ()
    flags: tuple[str, ...] = ()

    def plain_fields(self, action: str) -> tuple[str, ...]:
        """The fields that `action` may have just as it asked for them."""
        wish = IN_FULL.get(action)
        if self.outcome != wish and (wish, self.outcome) != ("permit", "permit_masked"):
            return ()
        altered = {field for duty in self.obligations if duty.code in {"mask", "band"} for field in duty.fields}
        return tuple(field for field in self.fields if field not in altered)


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """The common part of the three answers. Truth is the service's `decision`: everything asked, in full.

    `ledger_index` and `ledger_leaf` (base64) name its record; `id` of a permit is its ticket for five minutes.
    """

    id: str
    action: str
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
        """Item → fields that the action may have as it asked for them; nothing else may be fetched.

        What may be had in another form alone (masked, in bands, as a match) is not in here: see `items` and its obligations.
        """
        fields = {result.item: result.plain_fields(self.action) for result in self.items}
        return {item: codes for item, codes in fields.items() if codes}


class Permit(Decision, frozen=True, kw_only=True):
    """Everything asked for may be had. The only truthy answer."""

    granted_in_full: ClassVar[bool] = True


class PartialPermit(Decision, frozen=True, kw_only=True):
    """Some of it may be had: go by `permitted`. Falsy, so that `if decision:` never fetches too much."""


class Denial(Decision, frozen=True, kw_only=True):
    """Nothing may be had; `codes` say why and the solution what would cure it. Falsy."""


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """A record of the ledger that was proven. Keep `proof`: `consent-audit check-proof` checks it again, without us.

    index      its place in the ledger
    data       what it says, by docs/spec/ledger.md
    record     its bytes, which `proof` holds too
    proof      the file, c2sp.org/tlog-proof@v1; its name ends in .tlog-proof
    tree_size  size of the ledger that the checkpoint in it covers
    witnessed  witness → when it cosigned, in seconds since 1970
    """

    index: int
    type: str
    time: str
    data: Mapping[str, Any]
    record: bytes
    proof: bytes
    tree_size: int
    witnessed: Mapping[str, int]
