"""One decision: is its record sound in itself, and was each permit in it covered at its position?

A permit is covered by an openly shared item, by a registered model, or by an active grant of the enterprise or the person to that
institution for that purpose, action and fields, within frequency and dates; the parties stand well at that moment, and a ticket is
redeemed once. What is necessary for a purpose is the policies' to say and not looked at here; a denial is never held against the service.
"""

from consent_audit.replay.counting import check_uses
from consent_audit.replay.state import Data, State
from consent_audit.replay.tickets import issue, redeem
from consent_audit.replay.values import PLATFORMS, Detail, Grant, Party

_WISH = {"verify": "verify_only", "model": "model_only"}
_COVERS = {"query": {"query", "verify"}}
"""Actions that a granted action covers, where it is more than itself."""
_OUTCOMES = {"verify": {"verify_only"}, "model": {"model_only"}}
_DETAIL = {"permit", "permit_masked", "verify_only"}


def decide(state: State, index: int, time: str, data: Data) -> None:
    """One `access.decided`."""
    permits = [line for line in data["items"] if line["outcome"] != "deny"]
    state.counts["decisions"] += 1
    state.counts["permits"] += bool(permits)
    _check_sound(state, index, data, len(permits))
    _check_caller(state, index, data)
    if permits:
        party = state.parties.get(data["institution"])
        if party is None:
            state.fault("permit.institution", index, f"permits to {data['institution']}, which nobody registered")
        else:
            _check_parties(state, index, time, data, party)
            for line in permits:
                _check_line(state, index, time, data, line, party)
    redeem(state, index, time, data, permits)
    check_uses(state, index, time, data, permits)
    if data["platform"] is None and permits:
        issue(state, index, time, data, permits)


def _check_sound(state: State, index: int, data: Data, permits: int) -> None:
    """What the record says of itself agrees with itself, and with what is in force."""
    wish = _WISH.get(data["action"], "permit")
    full, codes = True, set[str]()
    for line in data["items"]:
        if line["codes"]:
            codes.update(line["codes"])
        if line["outcome"] != wish or line["withheld"]:
            full = False
            if line["outcome"] == "deny" and (line["basis"] or line["grant"] or line["fields"] or line["withheld"] or not line["codes"]):
                state.fault("decision.unsound", index, f"{line['item']}: a denial that gives something, or no reason")
    outcome = "none" if not permits else "full" if full else "partial"
    if data["decision"] != (outcome == "full") or data["outcome"] != outcome or data["codes"] != sorted(codes):
        state.fault("decision.unsound", index, "its answers as a whole and by item contradict each other")
    if data["policy"] != state.policy or state.catalogue is None or data["catalogue"] != state.catalogue.version:
        state.fault("decision.not_in_force", index, "was made under a policy or catalogue that was not in force")
    attested = "institution" if data["platform"] is None else "platform" if data["ticket"] is None else "ticket"
    if data["attested"] != attested or (data["platform"] is None and data["ticket"] is not None):
        state.fault("decision.attested", index, "says that it stands on somebody else's word than it does")


def _check_caller(state: State, index: int, data: Data) -> None:
    client, platform = state.clients.get(data["client"]), data["platform"]
    owner, scope = (data["institution"], "check") if platform is None else (platform, "check:any")
    if client is None or client.institution != owner:
        state.fault("decision.client", index, f"client {data['client']} is none of {owner}")
    elif client.status != "active" or scope not in client.scopes:
        state.fault(
            "decision.client", index, f"client {data['client']} was {client.status} or lacked the scope since record {client.index}"
        )
    known = state.parties.get(data["institution"])
    if known is None and data["institution"] != "unknown":
        state.fault("decision.institution", index, f"{data['institution']} stands in a record, but nobody registered it")


def _check_parties(state: State, index: int, time: str, data: Data, party: Party) -> None:
    if lack := party.lacks(time):
        state.fault("permit.institution", index, f"{data['institution']} {lack} (record {party.index})")
    if data["platform"] is not None:
        platform = state.parties.get(data["platform"])
        lack = "is unknown" if platform is None else platform.lacks(time)
        if lack or platform is None or platform.kind not in PLATFORMS:
            state.fault("permit.platform", index, f"{data['platform']} {lack or 'is no platform'}")
    for hop in data["via"]:
        conduit = state.parties.get(hop)
        if lack := "is unknown" if conduit is None else conduit.lacks(time):
            state.fault("permit.conduit", index, f"{hop} {lack}")
    purposes = frozenset[str]() if state.catalogue is None else state.catalogue.purposes
    purpose, product = data["purpose"], data["product"]
    if purpose not in purposes or purpose not in party.purposes:
        state.fault(
            "permit.purpose", index, f"{purpose} is no financing purpose that {data['institution']} declared (record {party.index})"
        )
    if product is not None and (product not in party.products or purpose not in party.products[product][0]):
        state.fault("permit.product", index, f"{product} is no product of {data['institution']} for {purpose} (record {party.index})")
    if data["told"]["terminal"] == "mismatch":
        state.fault("permit.terminal", index, "permits to a terminal that is not the registered one")


def _check_line(state: State, index: int, time: str, data: Data, line: Data, party: Party) -> None:
    code, action = line["item"], data["action"]
    item = None if state.catalogue is None else state.catalogue.items.get(code)
    fields = frozenset(line["fields"])
    if item is None or not fields or not fields <= item.fields:
        state.fault("permit.item", index, f"{code}: no such item, or fields that it does not have")
        return
    asked = line["fields_requested"]
    if asked is not None and not fields <= set(asked):
        state.fault("permit.fields", index, f"{code}: gives fields that were not asked for")
    if line["outcome"] not in _OUTCOMES.get(action, _DETAIL) or line["basis"] is None or not fields.isdisjoint(line["withheld"]):
        state.fault(
            "permit.outcome", index, f"{code}: {line['outcome']} is no answer to {action}, has no basis, or gives what it withholds"
        )
    profile = None if data["product"] not in party.products else party.products[data["product"]][1]
    if profile is not None and code not in profile:
        state.fault("permit.product", index, f"{code}: not in the profile of product {data['product']} (record {party.index})")
    free = item.free
    if action == "model":
        if code not in party.models.get(data["model"] or "", ()):
            state.fault("permit.model", index, f"{code}: model {data['model']} is not registered for it (record {party.index})")
        elif item.grantors == {"enterprise"}:
            free = item.free | (item.fields - item.sealed)
    elif line["basis"] == "model":
        state.fault("permit.model", index, f"{code}: rests on a model, but the action is {action}")
    if line["basis"] in {"grant", "person"}:
        _check_grant(state, index, time, data, line, fields - free)
    elif line["grant"] is not None or line["identifier"] is not None:
        state.fault("permit.basis", index, f"{code}: names a grant, but rests on {line['basis']}")
    elif not fields <= free:
        state.fault("permit.not_open", index, f"{code}: rests on no grant, but {min(fields - free)} is not openly shared")


def _check_grant(state: State, index: int, time: str, data: Data, line: Data, needed: frozenset[str]) -> None:
    """The grant that the line names is in force and covers it."""
    place = f"{line['item']}: grant {line['grant']}"
    grant = state.grants.get(line["grant"])
    detail = None if grant is None else grant.details.get(line["identifier"])
    if grant is None or detail is None or grant.status == "revoked":
        ended = "was narrowed" if grant is not None else state.ended.get(line["grant"], "had expired or was never approved")
        state.fault("permit.grant", index, f"{place}: {line['identifier']} is not in force; it {ended}")
        return
    for reason in _beyond(state, time, data, line, grant, detail):
        state.fault("permit.grant", index, f"{place}, {line['identifier']} of record {grant.index}: {reason}")
    if not needed <= detail.fields:
        state.fault("permit.grant", index, f"{place}: {min(needed - detail.fields)} was not granted")


def _beyond(state: State, time: str, data: Data, line: Data, grant: Grant, detail: Detail) -> list[str]:
    """Why this grant does not cover this line, in words."""
    assert state.catalogue is not None  # noqa: S101 - the caller found the item in it
    told, since = data["told"], detail.data_from
    conditions = (
        (grant.institution == data["institution"] and grant.subject == data["subject"], "is of another institution or enterprise"),
        (grant.status == "active", "is {0.status}"),
        (time < detail.valid_until, "expired at {1.valid_until}"),
        (detail.item == line["item"], "is for {1.item}"),
        (detail.purpose == data["purpose"], "is for the purpose {1.purpose}"),
        (data["action"] == detail.action or data["action"] in _COVERS.get(detail.action, ()), "is for the action {1.action}"),
        ((grant.by == "person") == (line["basis"] == "person"), "was given by the {0.by}, and the record says otherwise"),
        (grant.by in state.catalogue.items[line["item"]].grantors, "was given by the {0.by}, whose item it is not"),
        (told["verified"], "counts for nothing while the enterprise is not verified"),
        (not told["uncounted"] or line["grant"] not in told["uncounted"], "did not count, by the record's own word"),
        (detail.product is None or _for_product(state, data, line["item"], detail.product), "is for the product {1.product}"),
        (not data["via"] or set(data["via"]) <= set(detail.via), "names no such conduit"),
        (data["processor"] is None or data["processor"] == detail.processor, "names no such processor"),
        (since is None or ((data["data_from"] or since) >= since and (data["data_to"] or since) >= since), "begins at {1.data_from}"),
        (detail.per is None or state.used_before(detail, time) < detail.most, "was used {1.most} times per {1.per} already"),
    )
    return [reason.format(grant, detail) for held, reason in conditions if not held]


def _for_product(state: State, data: Data, item: str, product: str) -> bool:
    """Whether what was granted for a product serves this decision, which names that product or none."""
    purposes, profile = state.parties[data["institution"]].products.get(product, (frozenset[str](), None))
    return data["product"] in {None, product} and data["purpose"] in purposes and (profile is None or item in profile)
