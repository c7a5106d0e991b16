"""What can be recorded: one frozen struct for each record type, its members in the order in which they are written (docs/spec/ledger.md).

Every value is a registered id, a catalogue word, a pseudonym, a digest, an instant or a count; patterns and lengths hold for each, so free
text has no member to stand in. Whatever a caller wrote that we do not know stands as `unknown`. `encode` is the only way to bytes, and it
matches what it wrote against the type's grammar, so a struct that was built with a wrong value is refused before it reaches the ledger.
"""

from typing import Annotated, ClassVar, Literal

import msgspec
from msgspec import Meta

from consent.ledger.grammar import compile_grammar
from consent.ledger.parts import (
    Approvers,
    DecidedItem,
    DeliveredItem,
    Details,
    Model,
    Notice,
    Product,
    RefusedDetail,
    Told,
    Use,
    Verdict,
)
from consent.ledger.statements import Event
from consent.ledger.values import (
    Count,
    Day,
    Digest,
    Id,
    Identifier,
    Instant,
    Number,
    Pseudonym,
    Sha256,
    Version,
)
from consent.ledger.words import Action, Code, GrantActor, InstitutionKind, InstitutionStatus, Item, Word


class CatalogueActivated(Event, frozen=True):
    """From here on decisions use this catalogue; the document is the blob of that digest. `approvers` as in policy.activated."""

    TYPE: ClassVar[str] = "catalogue.activated"
    version: Version
    sha256: Sha256
    approvers: Approvers


class PolicyProposed(Event, frozen=True):
    """Staff proposes a signed policy bundle, with the catalogue in it, in place of the revision in force."""

    TYPE: ClassVar[str] = "policy.proposed"
    revision: Version
    sha256: Sha256
    signed_by: Id
    catalogue: Version
    replaces: Version
    staff: Id


class PolicyApproved(Event, frozen=True):
    """Staff approves the bundle of that digest, proposed in record `proposal`."""

    TYPE: ClassVar[str] = "policy.approved"
    proposal: Count
    revision: Version
    sha256: Sha256
    staff: Id


class PolicyActivated(Event, frozen=True):
    """From here on decisions use this policy bundle; the document is the blob of that digest.

    `signed_by` is the signing key's thumbprint. `approvers` are two different members of the staff; at a ledger's first activation there
    are none, and the bundle that the service was installed with may be unsigned.
    """

    TYPE: ClassVar[str] = "policy.activated"
    revision: Version
    sha256: Sha256
    signed_by: Id | None
    approvers: Approvers


class InstitutionRegistered(Event, frozen=True):
    """A full snapshot, so that the newest one before an index is the state at that index."""

    TYPE: ClassVar[str] = "institution.registered"
    institution: Id
    kind: InstitutionKind
    status: InstitutionStatus
    agreement: Version | None
    assessed_from: Instant | None
    assessed_until: Instant | None
    purposes: Annotated[tuple[Word, ...], Meta(max_length=16)]
    own_items: Annotated[tuple[Item, ...], Meta(max_length=128)]
    products: Annotated[tuple[Product, ...], Meta(max_length=256)]
    models: Annotated[tuple[Model, ...], Meta(max_length=256)]
    evidence_months: Number


class InstitutionChanged(InstitutionRegistered, frozen=True):
    """The snapshot after a change."""

    TYPE: ClassVar[str] = "institution.changed"


class PlatformRegistered(InstitutionRegistered, frozen=True):
    """The same for the kinds platform, accounting_platform, tax_gateway and department."""

    TYPE: ClassVar[str] = "platform.registered"


class PlatformChanged(InstitutionRegistered, frozen=True):
    """The snapshot after a change."""

    TYPE: ClassVar[str] = "platform.changed"


class ClientRegistered(Event, frozen=True):
    """A program of an institution and the RFC 7638 thumbprints of its public keys."""

    TYPE: ClassVar[str] = "client.registered"
    client: Id
    institution: Id
    status: Literal["active", "suspended", "cancelled"]
    scopes: tuple[Literal["grants", "check", "check:any", "loans"], ...]
    keys: Annotated[tuple[Digest, ...], Meta(max_length=32)]


class ClientChanged(ClientRegistered, frozen=True):
    """The snapshot after a change."""

    TYPE: ClassVar[str] = "client.changed"


class StaffRegistered(Event, frozen=True):
    """A person who works for the operator, the regulator or an auditor, by account id."""

    TYPE: ClassVar[str] = "staff.registered"
    staff: Id
    role: Literal["operator", "regulator", "auditor"]


class StaffChanged(StaffRegistered, frozen=True):
    """The state after a change."""

    TYPE: ClassVar[str] = "staff.changed"
    status: Literal["active", "locked", "closed"]


class SubjectRegistered(Event, frozen=True):
    """That somebody was registered. `commitment`: SHA-256(salt || identifier), the salt fresh and 32 bytes."""

    TYPE: ClassVar[str] = "subject.registered"
    commitment: Digest
    kind: Literal["enterprise", "sole_trader", "cooperative", "person"]
    level: Literal["registered", "real_name"]


class SubjectChanged(SubjectRegistered, frozen=True):
    """That somebody's level or status changed. The commitment is fresh: nothing joins it to the registration but the salts."""

    TYPE: ClassVar[str] = "subject.changed"
    status: Literal["active", "suspended", "closed"]


class SubjectLinked(Event, frozen=True):
    """That a person was verified as related to an enterprise, both by fresh commitments. What she grants counts while a link stands."""

    TYPE: ClassVar[str] = "subject.linked"
    person: Digest
    enterprise: Digest
    role: Literal["legal_representative", "farm_owner", "household_member", "shareholder"]


class SubjectUnlinked(SubjectLinked, frozen=True):
    """That such a link ended."""

    TYPE: ClassVar[str] = "subject.unlinked"


class GrantRequested(Event, frozen=True):
    """An institution asks (RFC 9126); nothing is granted yet. `excess`, 0 to 100: how far beyond what is needed the request went."""

    TYPE: ClassVar[str] = "grant.requested"
    request: Id
    institution: Id
    client: Id
    details: Details
    excess: Count
    policy: Version
    catalogue: Version


class GrantRequestRefused(Event, frozen=True):
    """An over-broad request, refused as a whole."""

    TYPE: ClassVar[str] = "grant.request_refused"
    request: Id
    institution: Id
    client: Id
    verdicts: Annotated[tuple[Verdict, ...], Meta(max_length=128)]
    excess: Count
    policy: Version
    catalogue: Version


class GrantApproved(Event, frozen=True):
    """A subject's consent: what, to whom, for how long."""

    TYPE: ClassVar[str] = "grant.approved"
    grant: Id
    version: Number
    request: Id | None
    institution: Id
    subject: Pseudonym
    by: Literal["enterprise", "person"]
    channel: Literal["online", "written", "callback"]
    notice: Notice
    details: Details
    refused: Annotated[tuple[RefusedDetail, ...], Meta(max_length=128)]


class GrantReplaced(GrantApproved, frozen=True):
    """The subject put another consent in the grant's place (FAPI Grant Management §4.2): `details` are all that is granted from here on."""

    TYPE: ClassVar[str] = "grant.replaced"


class GrantMerged(GrantApproved, frozen=True):
    """The subject added to the grant: `details` are all that is granted from here on, with the identifiers that they had."""

    TYPE: ClassVar[str] = "grant.merged"


class GrantRefused(Event, frozen=True):
    """The subject refused a request as a whole."""

    TYPE: ClassVar[str] = "grant.refused"
    request: Id
    institution: Id
    subject: Pseudonym
    notice: Notice


class GrantRevoked(Event, frozen=True):
    """The whole grant ended."""

    TYPE: ClassVar[str] = "grant.revoked"
    grant: Id
    version: Number
    institution: Id
    subject: Pseudonym
    actor: GrantActor


class GrantNarrowed(GrantRevoked, frozen=True):
    """Some details ended; `remaining` are those still granted."""

    TYPE: ClassVar[str] = "grant.narrowed"
    removed: Annotated[tuple[Identifier, ...], Meta(max_length=128)]
    remaining: Annotated[tuple[Identifier, ...], Meta(max_length=128)]


class GrantSuspended(GrantRevoked, frozen=True):
    """The operator holds the grant; nothing is permitted on it meanwhile."""

    TYPE: ClassVar[str] = "grant.suspended"


class GrantResumed(GrantRevoked, frozen=True):
    """The grant counts again as it was."""

    TYPE: ClassVar[str] = "grant.resumed"


class AccessDecided(Event, frozen=True):
    """One check and its answer. `attested`: whose word it is that the data was asked for.

    `model` is `unknown` unless it is the institution's own; `processor` and each of `via`, unless a grant in question names it; `ticket`,
    unless it is a decision.
    """

    TYPE: ClassVar[str] = "access.decided"
    id: Id
    institution: Id
    platform: Id | None
    client: Id
    subject: Pseudonym
    action: Action
    purpose: Word
    product: Id | None
    loan: Digest | None
    operator: Digest | None
    branch: Digest | None
    model: Id | None
    processor: Id | None
    via: Annotated[tuple[Id, ...], Meta(max_length=16)]
    service: Literal["single", "bulk", "unknown"]
    channel: Literal["platform", "department_direct", "unknown"] | None
    data_from: Day | None
    data_to: Day | None
    request: Digest | None
    ticket: Id | None
    told: Told
    items: Annotated[tuple[DecidedItem, ...], Meta(max_length=64)]
    decision: bool
    outcome: Literal["full", "partial", "none"]
    codes: Annotated[tuple[Code, ...], Meta(max_length=64)]
    redeems: Id | None
    attested: Literal["institution", "ticket", "platform"]
    uses: Annotated[tuple[Use, ...], Meta(max_length=128)]
    policy: Version
    catalogue: Version


class AccessDelivered(Event, frozen=True):
    """A platform reports what it served on a decision, whose record stands at `index`."""

    TYPE: ClassVar[str] = "access.delivered"
    decision: Id
    index: Count
    platform: Id
    items: Annotated[tuple[DeliveredItem, ...], Meta(max_length=64)]


class ReportRead(Event, frozen=True):
    """Somebody read a report over from ≤ time < to, computed from records first to last; `sha256` of the bytes shown, which are no blob."""

    TYPE: ClassVar[str] = "report.read"
    report: Id
    reader: Id
    from_: Instant = msgspec.field(name="from")
    to: Instant
    format: Literal["page", "json", "csv", "xlsx"]
    first: Count | None
    last: Count | None
    sha256: Sha256


def _leaves(kind: type[Event]) -> list[type[Event]]:
    return [kind, *(leaf for child in kind.__subclasses__() for leaf in _leaves(child))]


EVENTS: dict[str, type[Event]] = {kind.TYPE: kind for kind in _leaves(Event)[1:]}
"""Every record type by its name."""

_encode = msgspec.json.Encoder().encode
_decoders: dict[type[Event], msgspec.json.Decoder[Event]] = {kind: msgspec.json.Decoder(kind) for kind in EVENTS.values()}
_grammars = {kind: compile_grammar(kind) for kind in EVENTS.values()}


def encode(event: Event) -> bytes:
    """The canonical bytes of the record's `data`.

    Raises:
        msgspec.ValidationError: a member has a value that its type does not allow; nothing may be recorded.
    """
    data = _encode(event)
    if _grammars[type(event)].fullmatch(data) is None:
        _decoders[type(event)].decode(data)  # names the member
        raise msgspec.ValidationError("not in canonical form")
    return data
