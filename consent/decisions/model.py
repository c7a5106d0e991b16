"""What a check asks, what it is judged on and what came out, as values. No I/O, and no permit is decided here.

`Check` is the validated question, `Facts` what the database knew at one instant, `Answer` what the policies made of both. An answer that
the facts cannot carry (`refute`) is treated as no answer at all: the policies decide, this module only refuses to pass on nonsense.
"""

from collections.abc import Iterator
from typing import Any, Literal

from msgspec import Struct

from consent.catalogue.model import Catalogue
from consent.decisions.answers import WISHES, CheckAnswer, ItemAnswer
from consent.ledger.words import LoanPhase

TICKET_SECONDS = 300
UNKNOWN = "unknown"
"""Stands in the ledger for whatever a caller wrote that names nothing of ours (design §3.9)."""

Attested = Literal["institution", "ticket", "platform"]
_FREE = frozenset({"open", "open_except_fields"})


class Asked(Struct, frozen=True, gc=False):
    """One item of a check. `fields` None: all of the item; `claimed` None: nothing is to be compared."""

    item: str
    fields: tuple[str, ...] | None
    claimed: tuple[str, ...] | None


class Check(Struct, frozen=True, kw_only=True, gc=False):
    """A validated question of an authenticated caller.

    platform      the asking platform's institution id, None if the institution asks for itself
    institution   who would see the data, as asked: perhaps no registered one
    identifier    the enterprise's 统一社会信用代码
    service       single, or bulk: pushed for a region or a trade, without looking at any one enterprise's grant
    channel       the way that the data will go, as the caller says: None or platform; department_direct
    operator      who at the institution asks, and branch where, in the institution's own words; no rule looks at them
    terminal      whether the client's registered terminal asks from where it is registered
    request_key   SHA-256(client || 0 || request_id), None without request_id
    request_hash  SHA-256 of the canonical request
    """

    client: str
    platform: str | None
    institution: str
    identifier: str
    action: str
    purpose: str
    product: str | None
    loan: str | None
    model: str | None
    processor: str | None
    via: tuple[str, ...]
    items: tuple[Asked, ...]
    data_from: str | None
    data_to: str | None
    request_id: str | None
    ticket: str | None
    request_key: bytes | None
    request_hash: bytes
    service: str = "single"
    channel: str | None = None
    operator: str | None = None
    branch: str | None = None
    terminal: Literal["match", "mismatch", "unregistered"] = "unregistered"

    @property
    def attested(self) -> Attested:
        """On whose word the check stands: the institution's own, its ticket, or the platform's alone."""
        return "institution" if self.platform is None else "platform" if self.ticket is None else "ticket"

    @property
    def scope(self) -> str:
        """What the client must be registered for to ask this."""
        return "check" if self.platform is None else "check:any"

    @property
    def counts(self) -> bool:
        """Whether a permit counts against frequency: a platform's does, an institution's own never (design §4)."""
        return self.platform is not None

    @property
    def parties(self) -> set[str]:
        """Whose standing the check rests on: the institution, the platform, the conduits in between. Perhaps no registered ones."""
        return {self.institution, *self.via} | ({self.platform} if self.platform is not None else set())

    @property
    def pair(self) -> tuple[str, str]:
        """Whose data for whom: counters and tickets belong to one pair."""
        return self.institution, self.identifier


class Known(Struct, frozen=True, gc=False):
    """A registered institution as of `version`.

    platform  the facts of one that serves others: its own domain's items besides (国办发〔2024〕15号 二(一))
    edges     the instants (ms) at which its standing may change by itself
    """

    version: int
    facts: dict[str, Any]
    platform: dict[str, Any]
    edges: tuple[int, ...]


class GrantItem(Struct, frozen=True, gc=False):
    """One granted item, its members in the order of the facts query. Times in ms since the epoch, days as YYYY-MM-DD."""

    grant_id: str
    seq: int
    by: str
    status: str
    item: str
    item_status: str
    action: str
    purpose: str
    product: str | None
    fields: list[str]
    data_from: str | None
    valid_until: int
    frequency_max: int | None
    frequency_per: str | None
    used: int
    via: list[str]
    processor: str | None
    retention_days: int | None

    @property
    def identifier(self) -> str:
        """The detail's place in its grant, as the ledger and the policies name it."""
        return f"d{self.seq}"


class Loan(Struct, frozen=True):
    """A loan of this institution to this enterprise."""

    phase: LoanPhase
    product: str | None
    version: int


class Ticket(Struct, frozen=True, kw_only=True):
    """The decision that a platform wants to redeem. `open` is whether it may be: right parties, action and purpose, in time, unused.

    known  whether there is such a decision at all; what is not may not stand in a record
    """

    open: bool
    until: int
    items: dict[str, list[str]]
    known: bool = True


class Recorded(Struct, frozen=True):
    """A decision that stands already under this request_id. `reply` lacks the ledger's part."""

    request_hash: bytes
    reply: bytes
    index: int
    leaf: bytes


class Facts(Struct, frozen=True, kw_only=True, gc=False):
    """What the database knew at `now` (ms), with the versions by which it is noticed that something changed since.

    subject_version  None: no such enterprise is registered
    uncounted        ids of persons' grants that do not count: she is no longer linked to the enterprise, or not verified
    grants_version   sum of the versions of all grants between this enterprise and this institution
    valid_before     the first instant (ms) at which time alone could change the answer
    terminal         whether terminal and address are the registered ones: match | mismatch | unregistered (nothing is registered)
    conduits         the registered ones among the conduits that the check names
    disputed         items with an open dispute
    guesses          by field of the items asked: how often it was compared today for this institution and enterprise
    """

    now: int
    today: str
    institution: Known | None
    platform: Known | None
    subject_version: int | None
    verified: bool
    pseudonym: str
    grants: list[GrantItem]
    grants_version: int
    loan: Loan | None
    model_items: list[str] | None
    ticket: Ticket | None
    recorded: Recorded | None
    valid_before: int
    uncounted: tuple[str, ...] = ()
    terminal: Literal["match", "mismatch", "unregistered"] = "unregistered"
    conduits: dict[str, Known] = {}
    disputed: tuple[str, ...] = ()
    guesses: dict[str, int] = {}


class Use(Struct, frozen=True, gc=False):
    """A counted use of a granted item: `used` is the count after it."""

    grant_id: str
    seq: int
    period: str
    used: int


def refute(check: Check, facts: Facts, answer: CheckAnswer, catalogue: Catalogue) -> str | None:
    """Why these facts cannot carry this answer, in our own words, or None.

    It decides nothing: what an answer must be in itself the engine has checked (answers.py), here it is held against the standing, the
    ticket and the grant that it names, and the catalogue (design §5.4).
    """
    denied = sum(item.outcome == "deny" for item in answer.items)
    if [item.item for item in answer.items] != [asked.item for asked in check.items]:
        return "other items were answered than asked"
    if answer.decision and any(item.outcome != WISHES.get(check.action, "permit") for item in answer.items):
        return "decision and outcomes contradict each other"
    if denied < len(answer.items) and (facts.institution is None or check.purpose not in catalogue.purposes):
        return "a permit for an unknown institution or a purpose outside the list"
    if denied < len(answer.items) and check.ticket is not None and (facts.ticket is None or not facts.ticket.open):
        return "a permit on a ticket that is not open"
    for asked, item in zip(check.items, answer.items, strict=True):
        if (reason := _refute_item(check, asked, facts, item, catalogue)) is not None:
            return reason
    return None


def _refute_item(check: Check, asked: Asked, facts: Facts, item: ItemAnswer, catalogue: Catalogue) -> str | None:
    if item.outcome == "deny":
        return "a denial with fields" if item.fields else None
    known = catalogue.field_codes.get(item.item)
    if (
        known is None
        or item.basis is None
        or not set(item.fields) <= set(known if asked.fields is None else asked.fields).intersection(known)
    ):
        return "a permit without basis, or for fields that were not asked for or are not in the item"
    if facts.ticket is not None and not set(item.fields) <= set(facts.ticket.items.get(item.item, ())):
        return "a permit beyond the ticket"
    modelling = check.action == "model"
    free = modelling or catalogue.items[item.item].provision in _FREE
    if item.basis in {"open", "model"}:
        return None if free and item.grant_id is None else "served without the grant that it needs"
    grant = granted(facts, item)
    if grant is None or grant.status != "active" or grant.item_status != "active" or grant.valid_until <= facts.now:
        return "a permit on a grant that is not in force"
    beyond = [field for field in item.fields if field not in grant.fields]
    if (
        (grant.by == "person") != (item.basis == "person")
        or (beyond and not free)
        or any(_sealed(field, modelling, catalogue) for field in beyond)
    ):
        return "a permit for fields outside the grant, or on another person's word"
    if grant.frequency_max is not None and grant.used >= grant.frequency_max:
        return "a permit beyond the granted frequency"
    return None


def _sealed(field: str, modelling: bool, catalogue: Catalogue) -> bool:
    """Whether only a grant can ever give the field."""
    kind = catalogue.fields[field].class_
    return kind == "identity_document" or (modelling and kind == "personal")


def granted(facts: Facts, item: ItemAnswer) -> GrantItem | None:
    """The granted item on which an answer rests."""
    if item.grant_id is None:
        return None
    for grant in facts.grants:
        if grant.grant_id == item.grant_id and grant.identifier == item.identifier and grant.item == item.item:
            return grant
    return None


def period(per: str, today: str) -> str:
    """The key under which a use on `today` (Asia/Shanghai) is counted."""
    return today if per == "day" else today[:7] if per == "month" else "total"


def uses(check: Check, facts: Facts, answer: CheckAnswer) -> list[Use]:
    """What this answer counts: every granted item with a frequency that a platform is let have."""
    return list(_uses(facts, answer)) if check.counts else []


def _uses(facts: Facts, answer: CheckAnswer) -> Iterator[Use]:
    for item in answer.items:
        grant = granted(facts, item)
        if item.outcome != "deny" and grant is not None and grant.frequency_per is not None:
            yield Use(grant.grant_id, grant.seq, period(grant.frequency_per, facts.today), grant.used + 1)


def guesses(check: Check, answer: CheckAnswer) -> list[str]:
    """The fields that this answer lets a platform compare: each counts against what may be compared of the enterprise in a day."""
    if not check.counts:
        return []
    return [field for item in answer.items if item.outcome == "verify_only" for field in item.fields]


def redeems(check: Check, answer: CheckAnswer) -> str | None:
    """The ticket that this answer uses up: a platform's, unless everything is denied."""
    return check.ticket if answer.outcome != "none" else None


def unavailable(check: Check, revision: str) -> CheckAnswer:
    """What is recorded where nothing was decided: a denial, never a permit (design §4)."""
    codes = ["policy.unavailable"]
    items = [
        ItemAnswer(
            item=asked.item,
            outcome="deny",
            basis=None,
            grant_id=None,
            identifier=None,
            fields=[],
            withheld=[],
            codes=codes,
            obligations=[],
            flags=[],
        )
        for asked in check.items
    ]
    return CheckAnswer(key="", revision=revision, decision=False, outcome="none", codes=codes, items=items)


class Decided(Struct, frozen=True, kw_only=True, gc=False):
    """A check with its answer, ready to be recorded if nothing it rests on has changed.

    id       random, 128 bits; a permit's id is its ticket
    guesses  fields that a platform compares, counted by day
    reply    the reply's bytes without the ledger's part
    binds    whether request_id is bound to this decision; a 503 binds nothing
    """

    id: str
    check: Check
    facts: Facts
    answer: CheckAnswer
    uses: list[Use]
    guesses: list[str]
    redeems: str | None
    reply: bytes
    binds: bool

    @property
    def ticket(self) -> dict[str, Any] | None:
        """What this decision lets a platform have: the terms of its ticket, and the bound of what may be delivered on it."""
        items = {item.item: item.fields for item in self.answer.items if item.outcome != "deny"}
        return {"action": self.check.action, "purpose": self.check.purpose, "items": items} if items else None
