"""Institutions, platforms, clients and staff."""

from consent_audit.replay.state import Data, State
from consent_audit.replay.values import PLATFORMS, Client, Party

_NEXT = {
    "applied": {"active", "cancelled"},
    "active": {"rectifying", "suspended", "cancelled"},
    "rectifying": {"active", "suspended", "cancelled"},
    "suspended": {"active", "rectifying", "cancelled"},
    "cancelled": set[str](),
}


def register_party(state: State, index: int, time: str, data: Data, *, platform: bool) -> None:  # noqa: ARG001 (all handlers are called alike)
    """A new institution or platform."""
    if data["institution"] in state.parties:
        state.fault("party.repeated", index, f"registers {data['institution']} a second time")
    if data["status"] not in {"applied", "active"}:
        state.fault("party.transition", index, f"an institution does not begin as {data['status']}")
    _put(state, index, data, platform=platform)


def change_party(state: State, index: int, time: str, data: Data, *, platform: bool) -> None:  # noqa: ARG001
    """Its next snapshot."""
    before = state.parties.get(data["institution"])
    if before is None:
        state.fault("party.unknown", index, f"changes {data['institution']}, which nobody registered")
    elif before.kind != data["kind"]:
        state.fault("party.kind", index, f"{data['institution']} becomes another kind of institution")
    elif before.status != data["status"] and data["status"] not in _NEXT[before.status]:
        state.fault("party.transition", index, f"{data['institution']} goes from {before.status} to {data['status']}")
    _put(state, index, data, platform=platform)


def _put(state: State, index: int, data: Data, *, platform: bool) -> None:
    party = Party.read(index, data)
    if (party.kind in PLATFORMS) != platform:
        state.fault("party.kind", index, f"{party.kind} stands in a record of the other type")
    for model in party.models:
        owner = state.models.setdefault(model, data["institution"])
        if owner != data["institution"]:
            state.fault("model.owner", index, f"model {model} is {owner}'s")
    state.parties[data["institution"]] = party


def register_client(state: State, index: int, time: str, data: Data) -> None:  # noqa: ARG001
    """A new program of an institution."""
    if data["client"] in state.clients:
        state.fault("client.repeated", index, f"registers client {data['client']} a second time")
    _put_client(state, index, data)


def change_client(state: State, index: int, time: str, data: Data) -> None:  # noqa: ARG001
    """Its next snapshot."""
    before = state.clients.get(data["client"])
    if before is None:
        state.fault("client.unknown", index, f"changes client {data['client']}, which nobody registered")
    elif before.institution != data["institution"]:
        state.fault("client.institution", index, f"client {data['client']} becomes another institution's")
    elif before.status == "cancelled":
        state.fault("client.transition", index, f"client {data['client']} was cancelled")
    _put_client(state, index, data)


def _put_client(state: State, index: int, data: Data) -> None:
    party = state.parties.get(data["institution"])
    if party is None:
        state.fault("party.unknown", index, f"a client of {data['institution']}, which nobody registered")
    elif "check:any" in data["scopes"] and party.kind not in PLATFORMS:
        state.fault("client.scope", index, f"client {data['client']} may ask for others, but {data['institution']} is no platform")
    state.clients[data["client"]] = Client(data["institution"], data["status"], frozenset(data["scopes"]), index)


def register_staff(state: State, index: int, time: str, data: Data) -> None:  # noqa: ARG001
    """An account of somebody who works for the operator, the regulator or an auditor."""
    if data["staff"] in state.staff:
        state.fault("staff.repeated", index, f"registers account {data['staff']} a second time")
    state.staff[data["staff"]] = (data["role"], "active")


def change_staff(state: State, index: int, time: str, data: Data) -> None:  # noqa: ARG001
    """Its next state."""
    if data["staff"] not in state.staff:
        state.fault("staff.unknown", index, f"changes account {data['staff']}, which nobody registered")
    state.staff[data["staff"]] = (data["role"], data["status"])
