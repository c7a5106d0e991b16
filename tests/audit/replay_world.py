"""A ledger in which everything happens once, as events; tests change one and chain and sign the whole anew with their own key."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from types import UnionType
from typing import Any, Union, get_args, get_origin

import msgspec
from audit_ledgers import SIGNER, publish

from consent.ledger import events
from consent_audit.hashing import leaf_hash
from consent_audit.record import assemble_record, format_time

BEGIN = datetime(2026, 11, 20, 8, tzinfo=UTC)
BANK, OTHER, PLATFORM, CONDUIT = "bank-a", "bank-b", "platform-a", "credit-link"
FIRM, OTHER_FIRM = "p_" + "a" * 22, "p_" + "b" * 22
OPEN, TAX, PERSON, CHECKED = "N21-01-01", "N21-03-04", "N24-11-01", "N21-05-01"
FAR = "2027-11-20T08:00:00.000Z"
_NOTICE = b"notice"
NOTICE = {"version": "1", "sha256": sha256(_NOTICE).hexdigest()}


def _item(code: str, provision: str, consent: str, *classes: str) -> dict[str, Any]:
    fields = [{"code": f"{code}.{n:02d}", "class": kind} for n, kind in enumerate(classes, 1)]
    return {"code": code, "provision": provision, "consent_subject": consent, "selectable": True, "fields": fields}


CATALOGUE = json.dumps(
    {
        "version": "c-1",
        "items": [
            _item(OPEN, "open_except_fields", "enterprise", "public", "public", "identity_document"),
            _item(TAX, "grant", "enterprise", "commercial", "commercial", "personal"),
            _item(PERSON, "grant", "person", "personal"),
            _item(CHECKED, "verify", "enterprise", "commercial"),
            _item("NB-01", "none", "enterprise", "public"),
        ],
        "purposes": [{"code": "pre_loan"}, {"code": "post_loan"}, {"code": "modelling"}],
    }
).encode()
BLOBS = [CATALOGUE, _NOTICE, b"bundle"]


def _nullable(kind: Any) -> bool:
    return get_origin(kind) in {Union, UnionType} and type(None) in get_args(kind)


def _fill(kind: Any, value: Any) -> Any:
    """`value` with every absent member that may be null, so that a story need not be told again for each new one."""
    if get_origin(kind) in {Union, UnionType}:
        return value if value is None else _fill(next(part for part in get_args(kind) if part is not type(None)), value)
    if hasattr(kind, "__metadata__"):
        return _fill(get_args(kind)[0], value)
    if get_origin(kind) is tuple:
        return [_fill(get_args(kind)[0], part) for part in value]
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        fields = msgspec.structs.fields(kind)
        assert set(value) <= {field.encode_name for field in fields}, set(value) - {field.encode_name for field in fields}
        return {
            field.encode_name: _fill(field.type, value[field.encode_name]) if field.encode_name in value else None
            for field in fields
            if field.encode_name in value or _nullable(field.type)
        }
    return value


class Event:
    """One event of the story: its name there, type, data, and how long after the one before it came."""

    def __init__(self, name: str, kind: str, data: dict[str, Any], after: timedelta = timedelta(seconds=1)) -> None:
        self.name, self.kind, self.data, self.after = name, kind, data, after


Story = list[Event]


def at(story: Story, name: str) -> int:
    """The index of a named event."""
    return next(index for index, event in enumerate(story) if event.name == name)


def entries(story: Story) -> list[bytes]:
    """The chained records of a story."""
    made, prev, time = [], bytes(32), BEGIN
    for index, event in enumerate(story):
        kind = events.EVENTS[event.kind]
        data = events.encode(msgspec.convert(_fill(kind, event.data), kind))
        time += event.after
        raw = assemble_record(index, prev, format_time(time), event.kind, data)
        prev = leaf_hash(raw)
        made.append(raw)
    return made


def files(story: Story) -> dict[str, bytes]:
    """The published ledger of a story."""
    return publish(entries(story)) | {f"blobs/{sha256(body).hexdigest()}": body for body in BLOBS}


def party(institution: str, kind: str, **changes: Any) -> dict[str, Any]:
    """A snapshot in good standing."""
    bank = kind == "bank"
    return {
        "institution": institution,
        "kind": kind,
        "status": "active",
        "agreement": "2026-1",
        "assessed_from": "2026-01-01T00:00:00.000Z",
        "assessed_until": FAR,
        "purposes": ["modelling", "post_loan", "pre_loan"] if bank else [],
        "own_items": [],
        "products": [{"code": "tax-loan", "purposes": ["pre_loan"], "items": [OPEN, TAX]}] if bank else [],
        "models": [{"model": f"{institution}-model", "items": [TAX]}] if bank else [],
        "evidence_months": 36,
    } | changes


def client(institution: str, *scopes: str, **changes: Any) -> dict[str, Any]:
    """A program of an institution."""
    return {"client": f"{institution}-client", "institution": institution, "status": "active", "scopes": scopes, "keys": []} | changes


def detail(identifier: str, item: str, *fields: str, **changes: Any) -> dict[str, Any]:
    """What is granted; without fields, all that the item has."""
    return {
        "identifier": identifier,
        "item": item,
        "action": "query",
        "purpose": "pre_loan",
        "fields": fields,
        "necessity": "required",
        "valid_until": "2026-12-20T08:00:00.000Z",
        "via": [],
    } | changes


def grant(grant_id: str, *details: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """What an enterprise granted the bank."""
    return {
        "grant": grant_id,
        "version": 1,
        "institution": BANK,
        "subject": FIRM,
        "by": "enterprise",
        "channel": "online",
        "notice": NOTICE,
        "details": details,
        "refused": [],
    } | changes


def change(grant_id: str, version: int, **changes: Any) -> dict[str, Any]:
    """A change of such a grant."""
    return {"grant": grant_id, "version": version, "institution": BANK, "subject": FIRM, "actor": "subject"} | changes


def line(item: str, *fields: str, grant: str | None = None, identifier: str | None = None, **changes: Any) -> dict[str, Any]:
    """A permitted item."""
    basis = "open" if grant is None else "grant"
    return {
        "item": item,
        "outcome": "permit",
        "basis": basis,
        "grant": grant,
        "identifier": identifier,
        "fields": fields,
        "withheld": [],
        "codes": [],
    } | changes


def denied(item: str, code: str = "item.not_granted") -> dict[str, Any]:
    """A denied item."""
    return {"item": item, "outcome": "deny", "fields": [], "withheld": [], "codes": [code]}


def decided(decision_id: str, *lines: dict[str, Any], platform: str | None = None, **changes: Any) -> dict[str, Any]:
    """A decision whose answer as a whole follows from its items."""
    action = changes.get("action", "query")
    wish = {"verify": "verify_only", "model": "model_only"}.get(action, "permit")
    given = [part for part in lines if part["outcome"] != "deny"]
    full = all(part["outcome"] == wish and not part["withheld"] for part in lines)
    ticket = changes.get("ticket")
    return {
        "id": decision_id,
        "institution": BANK,
        "platform": platform,
        "client": f"{platform or changes.get('institution', BANK)}-client",
        "subject": FIRM,
        "action": action,
        "purpose": "pre_loan",
        "via": [],
        "service": "single",
        "told": {"verified": True, "terminal": "unregistered", "uncounted": []},
        "items": lines,
        "decision": full,
        "outcome": "full" if full else "partial" if given else "none",
        "codes": sorted({code for part in lines for code in part["codes"]}),
        "redeems": ticket if given else None,
        "attested": "institution" if platform is None else "platform" if ticket is None else "ticket",
        "uses": [],
        "policy": "p-1",
        "catalogue": "c-1",
    } | changes


def use(grant_id: str, identifier: str, used: int, period: str = "2026-11-20") -> dict[str, Any]:
    """A counted use."""
    return {"grant": grant_id, "identifier": identifier, "period": period, "used": used}


Change = Callable[[Story], str]
"""Changes a story and names the event that is to blame."""


def story() -> Story:
    """A bank asks, an enterprise and a person grant, a platform redeems, and everything is taken back again."""
    tax = detail("d1", TAX, f"{TAX}.01", f"{TAX}.02", frequency={"max": 2, "per": "day"}, data_from="2025-01-01", via=[CONDUIT])
    once = detail("d2", CHECKED, f"{CHECKED}.01", action="verify", frequency={"max": 1, "per": "total"})
    request = {"request": "r-1", "institution": BANK, "client": f"{BANK}-client", "excess": 0, "policy": "p-1", "catalogue": "c-1"}
    permit = line(TAX, f"{TAX}.01", grant="g-1", identifier="d1", fields_requested=[f"{TAX}.01"])
    served = [{"item": TAX, "fields": [f"{TAX}.01"]}]
    by_person = line(PERSON, f"{PERSON}.01", grant="g-2", identifier="d1", basis="person")
    match = line(CHECKED, f"{CHECKED}.01", grant="g-1", identifier="d2", outcome="verify_only")
    model = line(TAX, f"{TAX}.01", outcome="model_only", basis="model", withheld=[f"{TAX}.03"], codes=["field.not_granted"])
    told = [
        ("genesis", "ledger.genesis", {"origin": SIGNER.name}),
        ("catalogue", "catalogue.activated", {"version": "c-1", "sha256": sha256(CATALOGUE).hexdigest(), "approvers": []}),
        ("policy", "policy.activated", {"revision": "p-1", "sha256": sha256(b"bundle").hexdigest(), "approvers": []}),
        ("bank", "institution.registered", party(BANK, "bank", status="applied")),
        ("bank opened", "institution.changed", party(BANK, "bank")),
        ("other bank", "institution.registered", party(OTHER, "bank")),
        ("conduit", "institution.registered", party(CONDUIT, "conduit")),
        ("platform", "platform.registered", party(PLATFORM, "platform")),
        ("bank's client", "client.registered", client(BANK, "check", "grants")),
        ("other client", "client.registered", client(OTHER, "check")),
        ("platform's client", "client.registered", client(PLATFORM, "check:any")),
        ("request", "grant.requested", request | {"details": [tax, once]}),
        ("grant", "grant.approved", grant("g-1", tax, once, request="r-1")),
        ("person's grant", "grant.approved", grant("g-2", detail("d1", PERSON, f"{PERSON}.01"), by="person")),
        ("ticket", "access.decided", decided("t-1", permit, via=[CONDUIT], data_from="2025-06-01")),
        (
            "redeemed",
            "access.decided",
            decided("d-1", permit, platform=PLATFORM, ticket="t-1", via=[CONDUIT], uses=[use("g-1", "d1", 1)]),
        ),
        ("delivered", "access.delivered", {"decision": "d-1", "index": 15, "platform": PLATFORM, "items": served}),
        ("attested", "access.decided", decided("d-2", permit, platform=PLATFORM, uses=[use("g-1", "d1", 2)])),
        ("open", "access.decided", decided("d-3", line(OPEN, f"{OPEN}.01", f"{OPEN}.02"), institution=OTHER, subject=OTHER_FIRM)),
        ("partly", "access.decided", decided("d-4", line(OPEN, f"{OPEN}.01"), denied(TAX), institution=OTHER, subject=OTHER_FIRM)),
        ("person", "access.decided", decided("d-5", by_person)),
        ("match", "access.decided", decided("d-6", match, platform=PLATFORM, action="verify", uses=[use("g-1", "d2", 1, "total")])),
        ("model", "access.decided", decided("d-7", model, action="model", purpose="modelling", model=f"{BANK}-model")),
        ("suspended", "grant.suspended", change("g-1", 2, actor="operator")),
        ("denied", "access.decided", decided("d-8", denied(TAX, "grant.suspended"))),
        ("resumed", "grant.resumed", change("g-1", 3, actor="operator")),
        ("narrowed", "grant.narrowed", change("g-1", 4, removed=["d2"], remaining=["d1"])),
        ("after narrowing", "access.decided", decided("d-9", line(TAX, f"{TAX}.02", grant="g-1", identifier="d1"), product="tax-loan")),
        ("next day", "access.decided", decided("d-10", permit, platform=PLATFORM, uses=[use("g-1", "d1", 1, "2026-11-21")])),
        ("revoked", "grant.revoked", change("g-1", 5)),
        ("person's expired", "access.decided", decided("d-11", denied(PERSON, "grant.expired"))),
        ("person revokes", "grant.revoked", change("g-2", 2)),
    ]
    later = {"after narrowing": timedelta(hours=10), "person's expired": timedelta(days=40)}
    return [Event(name, kind, data, later.get(name, timedelta(seconds=1))) for name, kind, data in told]
