"""The life of a grant: requested, approved within its request, and from then on only ever less."""

from sys import intern

from consent_audit.replay.state import Data, State
from consent_audit.replay.values import Detail, Grant


def request(state: State, index: int, time: str, data: Data) -> None:
    """An institution asks; nothing is granted yet."""
    _client_of(state, index, data)
    if data["request"] in state.requests:
        state.fault("request.repeated", index, f"request {data['request']} stands already")
    details = {detail["identifier"]: detail for detail in data["details"]}
    if len(details) != len(data["details"]):
        state.fault("grant.details", index, "two details have one identifier")
    state.keep_request(data["request"], data["institution"], details, index, time)


def request_refused(state: State, index: int, time: str, data: Data) -> None:  # noqa: ARG001 (all handlers are called alike)
    """An over-broad request was refused; nothing begins."""
    _client_of(state, index, data)


def _client_of(state: State, index: int, data: Data) -> None:
    client = state.clients.get(data["client"])
    if client is None or client.institution != data["institution"] or client.status != "active":
        state.fault("request.client", index, f"client {data['client']} is no active one of {data['institution']}")


def refuse(state: State, index: int, time: str, data: Data) -> None:  # noqa: ARG001
    """The subject refused a request as a whole."""
    _answer(state, index, data)


def approve(state: State, index: int, time: str, data: Data) -> None:
    """A grant begins."""
    grant_id = data["grant"]
    if grant_id in state.grants or grant_id in state.expired or grant_id in state.ended:
        state.fault("grant.repeated", index, f"grant {grant_id} was there before")
    _check_institution(state, index, data["institution"])
    if data["version"] != 1:
        state.fault("grant.version", index, f"grant {grant_id} begins with version {data['version']}")
    details = _details(state, index, data)
    for identifier, detail in details.items():
        _check_detail(state, index, identifier, detail, data["by"], time)
    if data["request"] is not None:
        asked = _answer(state, index, data)
        if asked is not None:
            _check_request(state, index, data, asked)
    if details:
        state.keep_grant(grant_id, _grant(data, details, index))


def _grant(data: Data, details: dict[str, Detail], index: int) -> Grant:
    places = max(int(entry["identifier"][1:]) for entry in (*data["details"], *data["refused"]))
    return Grant(intern(data["institution"]), data["subject"], intern(data["by"]), data["version"], "active", details, index, places)


def _check_institution(state: State, index: int, institution: str) -> None:
    party = state.parties.get(institution)
    if party is None or party.status in {"suspended", "cancelled"}:
        standing = "is unknown" if party is None else f"is {party.status}"
        state.fault("grant.institution", index, f"{institution} can be granted nothing: it {standing}")


def _details(state: State, index: int, data: Data) -> dict[str, Detail]:
    details = {intern(entry["identifier"]): Detail.read(entry) for entry in data["details"]}
    if not details or len(details) != len(data["details"]):
        state.fault("grant.details", index, f"grant {data['grant']} has no details, or two with one identifier")
    return details


def renew(state: State, index: int, time: str, data: Data, *, merge: bool) -> None:
    """Another consent takes the grant's place, or adds to it; `details` are all that it holds from there on."""
    grant_id = data["grant"]
    _check_institution(state, index, data["institution"])
    grant = _next(state, index, data)
    expired = grant is None and state.expired.pop(grant_id, None) is not None
    details = _details(state, index, data)
    if grant is not None:
        if grant.status != "active" or grant.by != data["by"]:
            state.fault(
                "grant.transition", index, f"grant {grant_id} is {grant.status}, by the {grant.by}, and cannot be changed like this"
            )
        staying = _check_staying(state, index, grant, details, merge=merge)
    else:  # of an expired grant only the version is known: what expired may stay, and permits nothing
        staying = {identifier for identifier, detail in details.items() if merge and detail.valid_until <= time}
    fresh = {identifier: detail for identifier, detail in details.items() if identifier not in staying}
    for identifier, detail in fresh.items():
        _check_detail(state, index, identifier, detail, data["by"], time)
        if grant is not None and int(identifier[1:]) <= grant.places:
            state.fault("grant.details", index, f"{identifier}: grant {grant_id} had a detail of this name before")
    asked = _answer(state, index, data)
    if asked is not None:
        _check_renewal(state, index, data, set(fresh), asked)
    if details and (grant is not None or expired):
        kept = {name: detail if grant is None or name not in staying else grant.details[name] for name, detail in details.items()}
        ended = {} if grant is None else {name: old for name, old in grant.everything().items() if name not in details}
        renewed = _grant(data, kept, index)
        renewed.ended = ended
        state.keep_grant(grant_id, renewed)


def _check_staying(state: State, index: int, grant: Grant, details: dict[str, Detail], *, merge: bool) -> set[str]:
    """The details that the grant had before and has still. A replacement leaves none; a merge only ends what it grants anew."""
    staying = {identifier for identifier in details if identifier in grant.details}
    for identifier in sorted(staying):
        if not merge or not details[identifier].same(grant.details[identifier]):
            state.fault(
                "grant.details", index, f"{identifier}: stands since record {grant.index} and is another now, or was to be replaced"
            )
    anew = {detail.key for identifier, detail in details.items() if identifier not in staying}
    for identifier, detail in grant.details.items():
        if merge and (identifier in staying) == (detail.key in anew):
            state.fault("grant.details", index, f"{identifier}: is neither left alone nor replaced")
    return staying


def _check_renewal(state: State, index: int, data: Data, fresh: set[str], asked: dict[str, Data]) -> None:
    """As `_check_request`, but the places in the grant are not those in the request."""
    waiting = {(entry["item"], entry["purpose"], entry["action"]): entry for entry in asked.values()}
    for entry in data["details"]:
        if entry["identifier"] in fresh:
            wanted = waiting.pop((entry["item"], entry["purpose"], entry["action"]), None)
            if wanted is None or not _within(entry, wanted):
                state.fault("grant.request", index, f"{entry['identifier']}: more was granted than asked")
    if sorted(entry["item"] for entry in data["refused"]) != sorted(entry["item"] for entry in waiting.values()):
        state.fault("grant.request", index, "answers other details than its request asked")


def _check_detail(state: State, index: int, identifier: str, detail: Detail, by: str, time: str) -> None:
    item = None if state.catalogue is None else state.catalogue.items.get(detail.item)
    if item is None or not detail.fields or not detail.fields <= item.fields:
        state.fault("grant.details", index, f"{identifier}: the catalogue in force has no such item or fields")
    elif by not in item.grantors and not item.free:
        state.fault("grant.by", index, f"{identifier}: this item is not the {by}'s to grant")
    if detail.valid_until <= time:
        state.fault("grant.details", index, f"{identifier}: is granted although it had expired")


def _answer(state: State, index: int, data: Data) -> dict[str, Data] | None:
    """The details of the request that is answered, which ends with it."""
    waiting = state.requests.pop(data["request"], None)
    if waiting is None or waiting[0] != data["institution"]:
        how = state.ended.get(data["request"], "nobody made it in the hour before")
        state.fault("request.unknown", index, f"answers request {data['request']}: {how}")
        return None
    state.remember(data["request"], f"record {index} answered it")
    return waiting[1]


def _check_request(state: State, index: int, data: Data, asked: dict[str, Data]) -> None:
    answered = [entry["identifier"] for entry in (*data["details"], *data["refused"])]
    if sorted(answered) != sorted(asked):
        state.fault("grant.request", index, "answers other details than its request asked")
    for entry in data["details"]:
        wanted = asked.get(entry["identifier"])
        if wanted is not None and not _within(entry, wanted):
            state.fault("grant.request", index, f"{entry['identifier']}: more was granted than asked")


def _within(granted: Data, asked: Data) -> bool:
    same = ("item", "action", "purpose", "product", "processor")
    if any(granted[name] != asked[name] for name in same) or granted["valid_until"] > asked["valid_until"]:
        return False
    if not set(granted["fields"]) <= set(asked["fields"]) or not set(granted["via"]) <= set(asked["via"]):
        return False
    if asked["data_from"] is not None and (granted["data_from"] is None or granted["data_from"] < asked["data_from"]):
        return False
    return asked["frequency"] is None or granted["frequency"] == asked["frequency"]


def _next(state: State, index: int, data: Data) -> Grant | None:
    """The grant that a record changes, its version raised. None if only its version is known, or nothing at all."""
    grant_id, version = data["grant"], data["version"]
    grant = state.grants.get(grant_id)
    known = grant.version if grant is not None and grant.status != "revoked" else state.expired.get(grant_id)
    if known is None:
        how = state.ended.get(grant_id, "it was never approved, or ended before")
        state.fault("grant.unknown", index, f"changes grant {grant_id}: {how}")
        return None
    if version != known + 1:
        state.fault("grant.version", index, f"grant {grant_id} goes from version {known} to {version}")
    if grant is None:
        state.expired[grant_id] = version
        return None
    if (grant.institution, grant.subject) != (data["institution"], data["subject"]):
        state.fault("grant.parties", index, f"grant {grant_id} is of another institution or subject since record {grant.index}")
    grant.version = version
    return grant


def narrow(state: State, index: int, time: str, data: Data) -> None:  # noqa: ARG001
    """Some details end."""
    grant = _next(state, index, data)
    if grant is None:
        return
    removed, remaining = set(data["removed"]), set(data["remaining"])
    if not removed or not remaining or removed & remaining or removed | remaining != set(grant.details):
        state.fault("grant.details", index, f"grant {data['grant']} is not left with what it had less what was removed")
    ended = {identifier: grant.details.pop(identifier) for identifier in sorted(removed & set(grant.details))}
    grant.ended = {**(grant.ended or {}), **ended}


def revoke(state: State, index: int, time: str, data: Data) -> None:  # noqa: ARG001
    """The whole grant ends."""
    grant = _next(state, index, data)
    if grant is not None:
        grant.status = "revoked"
    state.end_grant(data["grant"], f"record {index} revoked it")


def suspend(state: State, index: int, time: str, data: Data) -> None:  # noqa: ARG001
    """The operator holds it."""
    grant = _next(state, index, data)
    if grant is not None:
        if grant.status != "active":
            state.fault("grant.transition", index, f"grant {data['grant']} is held already")
        grant.status = "suspended"


def resume(state: State, index: int, time: str, data: Data) -> None:  # noqa: ARG001
    """It counts again as it was."""
    grant = _next(state, index, data)
    if grant is not None:
        if grant.status != "suspended":
            state.fault("grant.transition", index, f"grant {data['grant']} was not held")
        grant.status = "active"
