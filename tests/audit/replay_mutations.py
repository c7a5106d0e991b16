"""Changes of the story of replay_world, each with the event that is to blame afterwards and the code with which the replay says so."""

from datetime import timedelta
from hashlib import sha256

from replay_world import (
    BANK,
    CATALOGUE,
    CHECKED,
    CONDUIT,
    FAR,
    OPEN,
    OTHER,
    OTHER_FIRM,
    PERSON,
    PLATFORM,
    TAX,
    Change,
    Event,
    Story,
    at,
    change,
    client,
    decided,
    detail,
    grant,
    line,
    party,
    use,
)


def _set(name: str, **members: object) -> Change:
    def mutate(told: Story) -> str:
        told[at(told, name)].data |= members
        return name

    return mutate


def _line(name: str, n: int = 0, **members: object) -> Change:
    def mutate(told: Story) -> str:
        event = told[at(told, name)]
        lines = list(event.data["items"])
        lines[n] = lines[n] | members
        event.data["items"] = lines
        return name

    return mutate


def _told(name: str, **members: object) -> Change:
    def mutate(told: Story) -> str:
        event = told[at(told, name)]
        event.data["told"] = event.data["told"] | members
        return name

    return mutate


def _without(lost: str, blamed: str) -> Change:
    def mutate(told: Story) -> str:
        index = at(told, lost)
        del told[index]
        for event in told:
            if event.kind == "access.delivered" and event.data["index"] > index:
                event.data["index"] -= 1
        return blamed

    return mutate


def _twice(name: str, **members: object) -> Change:
    """The record comes again, later."""

    def mutate(told: Story) -> str:
        event = told[at(told, name)]
        told.append(Event("again", event.kind, event.data | members))
        return "again"

    return mutate


def _put(before: str, blamed: str, kind: str, data: dict) -> Change:
    def mutate(told: Story) -> str:
        index = at(told, before)
        told.insert(index, Event("new", kind, data))
        for event in told:
            if event.kind == "access.delivered" and event.data["index"] >= index:
                event.data["index"] += 1
        return blamed

    return mutate


def _again(name: str, before: str, **members: object) -> Change:
    """The record comes once more, before another."""

    def mutate(told: Story) -> str:
        event = told[at(told, name)]
        told.insert(at(told, before), Event("new", event.kind, event.data | members))
        return "new"

    return mutate


def _later(name: str, after: timedelta) -> Change:
    def mutate(told: Story) -> str:
        told[at(told, name)].after = after
        return name

    return mutate


def _detail(name: str, n: int = 0, *, blamed: str = "", **members: object) -> Change:
    def mutate(told: Story) -> str:
        event = told[at(told, name)]
        details = list(event.data["details"])
        details[n] = details[n] | members
        event.data["details"] = details
        return blamed or name

    return mutate


def _bank(**members: object) -> Change:
    """The bank's snapshot changes right before its first decision."""
    return _put("ticket", "ticket", "institution.changed", party(BANK, "bank", **members))


def _platform(**members: object) -> Change:
    return _put("redeemed", "redeemed", "platform.changed", party(PLATFORM, "platform", **members))


def _ends_early(told: Story) -> str:
    """One of two details ends before the other, and is used once more."""
    for name in ("request", "grant"):
        _detail(name, valid_until="2026-11-20T08:00:15.500Z")(told)
    return "redeemed"


def _persons_word(told: Story) -> str:
    """A person grants the identity document in an enterprise's open item, which is not hers to grant."""
    given = grant("g-3", detail("d1", OPEN, f"{OPEN}.03"), by="person")
    told.append(Event("granted", "grant.approved", given))
    told.append(Event("new", "access.decided", decided("x", line(OPEN, f"{OPEN}.03", grant="g-3", identifier="d1", basis="person"))))
    told[-2].data["details"][0]["valid_until"] = FAR
    return "new"


def _cancelled_client(told: Story) -> str:
    told.append(Event("gone", "client.changed", client(OTHER, status="cancelled")))
    told.append(Event("new", "client.changed", client(OTHER, "check")))
    return "new"


def _staff(kind: str, data: dict) -> Change:
    def mutate(told: Story) -> str:
        told.append(Event("anna", "staff.registered", {"staff": "anna", "role": "operator"}))
        told.append(Event("new", kind, data))
        return "new"

    return mutate


POLICY, LIST, NOBODY = sha256(b"bundle").hexdigest(), sha256(CATALOGUE).hexdigest(), "policy.not_approved"


def _activation(approvers: tuple[str, ...], named: tuple[str, ...] = ("anna", "omar"), approved: str = POLICY) -> Change:
    """Another activation of the same bundle, at the end; blamed is the first record that is not as it must be."""

    def mutate(told: Story) -> str:
        for staff, role in (("anna", "operator"), ("omar", "operator"), ("rita", "regulator")):
            told.append(Event(staff, "staff.registered", {"staff": staff, "role": role}))
        proposal = {"revision": "p-1", "sha256": POLICY}
        more = {"signed_by": "key-1", "catalogue": "c-1", "replaces": "p-1", "staff": "anna"}
        told.append(Event("proposal", "policy.proposed", proposal | more))
        index = at(told, "proposal")
        for n, staff in enumerate(approvers):
            told.append(Event(f"approval {n}", "policy.approved", {"proposal": index, "staff": staff} | proposal | {"sha256": approved}))
        told.append(Event("activation", "policy.activated", proposal | {"approvers": named}))
        if approved != POLICY:
            return "approval 0"
        return f"approval {len(approvers) - 1}" if len(approvers) > 1 else "activation"

    return mutate


TAX_PERMIT = {"grant": "g-1", "identifier": "d1"}
MUTATIONS = {
    # ---- who may ask
    "nobody registered the bank": (_set("attested", institution="unknown"), "permit.institution"),
    "the bank has only applied": (_without("bank opened", "ticket"), "permit.institution"),
    "the bank is suspended": (_bank(status="suspended"), "permit.institution"),
    "the bank must rectify": (_bank(status="rectifying"), "permit.institution"),
    "the bank has no agreement": (_bank(agreement=None), "permit.institution"),
    "the assessment ended": (_bank(assessed_until="2026-11-20T08:00:10.000Z"), "permit.institution"),
    "the assessment begins later": (_bank(assessed_from="2026-11-20T09:00:00.000Z"), "permit.institution"),
    "the purpose is not declared": (_bank(purposes=["post_loan"]), "permit.purpose"),
    "the purpose is no financing": (_set("open", purpose="marketing"), "permit.purpose"),
    "the product is unknown": (_set("ticket", product="other-loan"), "permit.product"),
    "the product leaves the item out": (_set("person", product="tax-loan"), "permit.product"),
    "the platform is suspended": (_platform(status="suspended"), "permit.platform"),
    "the platform is not assessed": (_platform(assessed_from=None, assessed_until=None), "permit.platform"),
    "a conduit is unknown": (_without("conduit", "ticket"), "permit.conduit"),
    "a conduit is cancelled": (
        _put("ticket", "ticket", "institution.changed", party(CONDUIT, "conduit", status="cancelled")),
        "permit.conduit",
    ),
    "a strange terminal": (_told("open", terminal="mismatch"), "permit.terminal"),
    "the client is unknown": (_without("other client", "open"), "decision.client"),
    "the client is another's": (_set("open", client=f"{BANK}-client"), "decision.client"),
    "the client is suspended": (
        _put("ticket", "ticket", "client.changed", client(BANK, "check", status="suspended")),
        "decision.client",
    ),
    "the client lost its scope": (_put("ticket", "ticket", "client.changed", client(BANK, "grants")), "decision.client"),
    "an institution of no record": (_set("denied", institution="ghost", client=f"{BANK}-client"), "decision.institution"),
    # ---- what was in force
    "another policy": (_set("denied", policy="p-2"), "decision.not_in_force"),
    "another catalogue": (_set("open", catalogue="c-2"), "decision.not_in_force"),
    "a policy without approvers": (
        _put("ticket", "new", "policy.activated", {"revision": "p-1", "sha256": POLICY, "approvers": []}),
        NOBODY,
    ),
    "a catalogue without approvers": (
        _put("ticket", "new", "catalogue.activated", {"version": "c-1", "sha256": LIST, "approvers": []}),
        NOBODY,
    ),
    "approved by one": (_activation(("anna", "anna")), "policy.approver"),
    "approved by a regulator": (_activation(("anna", "rita")), "policy.approver"),
    "approved for other bytes": (_activation(("anna", "omar"), approved=LIST), "policy.proposal"),
    "approvers who did not": (_activation(("anna",), named=("anna", "omar")), NOBODY),
    # ---- openly shared, or by a model
    "not openly shared": (_line("open", item=TAX, fields=[f"{TAX}.01"]), "permit.not_open"),
    "an identity document": (_line("open", fields=[f"{OPEN}.03"]), "permit.not_open"),
    "an item that is never provided": (_line("open", item="NB-01", fields=["NB-01.01"]), "permit.item"),
    "a field of another item": (_line("open", fields=[f"{TAX}.01"]), "permit.item"),
    "a field that was not asked": (_line("open", fields_requested=[f"{OPEN}.01"]), "permit.fields"),
    "given and withheld": (_line("open", withheld=[f"{OPEN}.01"]), "permit.outcome"),
    "detail for a model": (_line("model", outcome="permit"), "permit.outcome"),
    "the model is another's": (_set("model", model=f"{OTHER}-model"), "permit.model"),
    "the model was retired": (_put("model", "model", "institution.changed", party(BANK, "bank", models=[])), "permit.model"),
    "the model is not for the item": (
        _put("model", "model", "institution.changed", party(BANK, "bank", models=[{"model": f"{BANK}-model", "items": [OPEN]}])),
        "permit.model",
    ),
    "personal data for a model": (_line("model", fields=[f"{TAX}.03"], withheld=[]), "permit.not_open"),
    "a model's basis for a query": (_line("open", basis="model"), "permit.model"),
    # ---- on a grant
    "no grant at all": (_line("ticket", grant="g-9"), "permit.grant"),
    "the grant was never approved": (_without("person's grant", "person"), "permit.grant"),
    "another institution's grant": (_set("ticket", institution=OTHER, client=f"{OTHER}-client"), "permit.grant"),
    "another enterprise's grant": (_set("ticket", subject=OTHER_FIRM), "permit.grant"),
    "another detail": (_line("ticket", identifier="d2"), "permit.grant"),
    "an unknown detail": (_line("ticket", identifier="d7"), "permit.grant"),
    "a field beyond the grant": (_line("ticket", fields=[f"{TAX}.03"], fields_requested=None), "permit.grant"),
    "another purpose": (_set("ticket", purpose="post_loan"), "permit.grant"),
    "another action": (_set("ticket", action="push"), "permit.grant"),
    "a verify grant for a query": (_set("match", action="query"), "permit.grant"),
    "older data than granted": (_set("ticket", data_from="2024-12-31"), "permit.grant"),
    "a conduit beyond the grant": (_set("person", via=[CONDUIT]), "permit.grant"),
    "a processor beyond the grant": (_set("person", processor="agent-1"), "permit.grant"),
    "a person's grant as the enterprise's": (_line("person", basis="grant"), "permit.grant"),
    "a person who is not linked": (_told("person", uncounted=["g-2"]), "permit.grant"),
    "not verified": (_told("ticket", verified=False), "permit.grant"),
    "the grant is suspended": (_put("ticket", "ticket", "grant.suspended", change("g-1", 2)), "permit.grant"),
    "the grant is revoked": (_put("ticket", "ticket", "grant.revoked", change("g-1", 2)), "permit.grant"),
    "the detail was narrowed away": (
        _put("match", "match", "grant.narrowed", change("g-1", 2, removed=["d2"], remaining=["d1"])),
        "permit.grant",
    ),
    "the grant expired": (_later("after narrowing", timedelta(days=31)), "permit.grant"),
    "a grant of another item": (_line("ticket", item=OPEN, fields=[f"{OPEN}.01"], fields_requested=None), "permit.grant"),
    "a person grants the enterprise's": (_persons_word, "permit.grant"),
    "one detail of several expired": (_ends_early, "permit.grant"),
    "granted for another product": (_detail("person's grant", product="tax-loan", blamed="person"), "permit.grant"),
    "an open item that names a grant": (_line("open", **TAX_PERMIT), "permit.basis"),
    # ---- how often, and by which ticket
    "over the frequency": (_twice("attested", id="x", uses=[use("g-1", "d1", 3)]), "permit.grant"),
    "single use twice": (
        _put(
            "model",
            "new",
            "access.decided",
            decided(
                "x",
                line(CHECKED, f"{CHECKED}.01", grant="g-1", identifier="d2", outcome="verify_only"),
                platform=PLATFORM,
                action="verify",
                uses=[use("g-1", "d2", 2, "total")],
            ),
        ),
        "permit.grant",
    ),
    "a use is not counted": (_set("attested", uses=[]), "count.missing"),
    "a use is counted low": (_set("attested", uses=[use("g-1", "d1", 1)]), "count.wrong"),
    "a use is counted high": (_set("redeemed", uses=[use("g-1", "d1", 2)]), "count.wrong"),
    "counted in another day": (_set("redeemed", uses=[use("g-1", "d1", 1, "2026-11-19")]), "count.wrong"),
    "a bank's own check counts": (_set("ticket", uses=[use("g-1", "d1", 1)]), "count.wrong"),
    "a use of what has no bound": (_set("person", uses=[use("g-2", "d1", 1)]), "count.wrong"),
    "counted twice": (_set("redeemed", uses=[use("g-1", "d1", 1), use("g-1", "d1", 2)]), "count.wrong"),
    "an unknown ticket": (_set("redeemed", ticket="t-9", redeems="t-9"), "permit.ticket"),
    "no ticket at all": (_set("redeemed", ticket="unknown", redeems="unknown"), "permit.ticket"),
    "a ticket redeemed twice": (_again("redeemed", "attested", id="x", uses=[use("g-1", "d1", 2)]), "permit.ticket"),
    "a ticket after five minutes": (_later("redeemed", timedelta(minutes=5)), "permit.ticket"),
    "a ticket of another enterprise": (_set("redeemed", subject=OTHER_FIRM), "permit.ticket"),
    "a ticket for another purpose": (_set("redeemed", purpose="post_loan"), "permit.ticket"),
    "a field beyond the ticket": (_line("redeemed", fields=[f"{TAX}.01", f"{TAX}.02"], fields_requested=None), "permit.ticket"),
    "a denial as a ticket": (_set("redeemed", ticket="d-8", redeems="d-8"), "permit.ticket"),
    "redeemed, and not said": (_set("redeemed", redeems=None), "ticket.redeems"),
    "a bank redeems": (_set("ticket", ticket="t-0", redeems="t-0"), "decision.attested"),
    "attested by nobody": (_set("redeemed", attested="platform"), "decision.attested"),
    "a decision's id again": (_again("ticket", "redeemed"), "decision.repeated"),
    # ---- deliveries
    "delivered more than decided": (_set("delivered", items=[{"item": TAX, "fields": [f"{TAX}.01", f"{TAX}.02"]}]), "delivery.beyond"),
    "delivered twice": (_twice("delivered"), "delivery.repeated"),
    "delivered on another's decision": (_set("delivered", index=14, decision="t-1"), "delivery.unknown"),
    "delivered on another record": (_set("delivered", index=13), "delivery.unknown"),
    "delivered before it was decided": (_set("delivered", index=17, decision="d-2"), "delivery.unknown"),
    # ---- a decision contradicts itself
    "decision against outcome": (_set("open", decision=False), "decision.unsound"),
    "outcome against items": (_set("partly", outcome="full"), "decision.unsound"),
    "codes against items": (_set("partly", codes=[]), "decision.unsound"),
    "a denial with fields": (_line("partly", 1, fields=[f"{TAX}.01"]), "decision.unsound"),
    "a denial without reason": (_line("denied", codes=[]), "decision.unsound"),
    # ---- the life of a grant
    "answers no request": (_without("request", "grant"), "request.unknown"),
    "answers after an hour": (_later("grant", timedelta(hours=1)), "request.unknown"),
    "answers twice": (_twice("grant", grant="g-3"), "request.unknown"),
    "a request twice": (_again("request", "grant"), "request.repeated"),
    "asked by another's client": (_set("request", client=f"{OTHER}-client"), "request.client"),
    "asked under one name twice": (_detail("request", 1, identifier="d1"), "grant.details"),
    "granted more fields than asked": (_detail("grant", fields=[f"{TAX}.01", f"{TAX}.02", f"{TAX}.03"]), "grant.request"),
    "granted for longer than asked": (_detail("grant", valid_until=FAR), "grant.request"),
    "granted more often than asked": (_detail("grant", frequency={"max": 3, "per": "day"}), "grant.request"),
    "granted further back than asked": (_detail("grant", data_from=None), "grant.request"),
    "granted what was not asked": (_detail("grant", identifier="d3"), "grant.request"),
    "granted an unknown field": (_detail("person's grant", fields=[f"{PERSON}.07"]), "grant.details"),
    "granted under one name twice": (_set("person's grant", details=[detail("d1", PERSON, f"{PERSON}.01")] * 2), "grant.details"),
    "granted nothing": (_set("person's grant", details=[]), "grant.details"),
    "granted what is the person's": (_set("person's grant", by="enterprise"), "grant.by"),
    "granted when expired": (_detail("person's grant", valid_until="2026-11-20T08:00:00.000Z"), "grant.details"),
    "granted to a suspended bank": (
        _put("grant", "grant", "institution.changed", party(BANK, "bank", status="suspended")),
        "grant.institution",
    ),
    "granted again": (_twice("person's grant"), "grant.repeated"),
    "begins at version 2": (_set("grant", version=2), "grant.version"),
    "skips a version": (_set("narrowed", version=5), "grant.version"),
    "revoked again": (_twice("revoked", version=6), "grant.unknown"),
    "changed and never approved": (_set("suspended", grant="g-9"), "grant.unknown"),
    "another subject revokes": (_set("revoked", subject=OTHER_FIRM), "grant.parties"),
    "suspended twice": (_put("denied", "new", "grant.suspended", change("g-1", 3)), "grant.transition"),
    "resumed without reason": (_put("suspended", "new", "grant.resumed", change("g-1", 2)), "grant.transition"),
    "narrowed and still there": (_set("narrowed", remaining=["d1", "d2"]), "grant.details"),
    "narrowed to nothing": (_set("narrowed", removed=["d1", "d2"], remaining=[]), "grant.details"),
    "an expired grant skips a version": (_set("person revokes", version=3), "grant.version"),
    # ---- parties
    "registered twice": (_twice("other bank"), "party.repeated"),
    "changed and never registered": (_without("bank", "bank opened"), "party.unknown"),
    "another kind": (_set("bank opened", kind="guarantor"), "party.kind"),
    "a platform as an institution": (_set("platform", kind="bank"), "party.kind"),
    "back from the dead": (
        _put("bank opened", "bank opened", "institution.changed", party(BANK, "bank", status="cancelled")),
        "party.transition",
    ),
    "begins suspended": (_set("other bank", status="suspended"), "party.transition"),
    "a model of two banks": (_set("other bank", models=[{"model": f"{BANK}-model", "items": [TAX]}]), "model.owner"),
    "a client of nobody": (_without("other bank", "other client"), "party.unknown"),
    "a client twice": (_twice("other client"), "client.repeated"),
    "a client moves": (_put("ticket", "new", "client.changed", client(BANK, "check") | {"institution": OTHER}), "client.institution"),
    "a client that nobody registered changes": (
        _put("ticket", "new", "client.changed", client(BANK, "check") | {"client": "ghost"}),
        "client.unknown",
    ),
    "a cancelled client comes back": (_cancelled_client, "client.transition"),
    "staff registered twice": (_staff("staff.registered", {"staff": "anna", "role": "operator"}), "staff.repeated"),
    "staff that nobody registered": (_staff("staff.changed", {"staff": "omar", "role": "operator", "status": "locked"}), "staff.unknown"),
    "a bank asks for others": (_set("other client", scopes=["check:any"]), "client.scope"),
    "another catalogue's document": (_set("catalogue", version="c-9"), "catalogue.version"),
}
