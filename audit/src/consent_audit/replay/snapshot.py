"""The state at an index, as a document: what was in force, who stood how, what was granted and used. For `--at` and for programs."""

from typing import Any

from consent_audit.replay.machine import Machine
from consent_audit.replay.values import Detail, Grant


def snapshot(machine: Machine) -> dict[str, Any]:
    """The state after the last record that was applied. Members may be added; none changes its meaning."""
    state = machine.state
    return {
        "size": machine.size,
        "time": machine.time,
        "catalogue": None if state.catalogue is None else state.catalogue.version,
        "policy": state.policy,
        "institutions": [{**party.data, "record": party.index} for _, party in sorted(state.parties.items())],
        "clients": [
            {
                "client": name,
                "institution": client.institution,
                "status": client.status,
                "scopes": sorted(client.scopes),
                "record": client.index,
            }
            for name, client in sorted(state.clients.items())
        ],
        "staff": [{"staff": name, "role": role, "status": status} for name, (role, status) in sorted(state.staff.items())],
        "grants": [_grant(name, grant, machine.time) for name, grant in sorted(state.grants.items())],
        "expired_grants": len(state.expired),
        "requests": [
            {"request": name, "institution": institution, "record": index}
            for name, (institution, _, index) in sorted(state.requests.items())
        ],
        "tickets": [
            {"ticket": name, "institution": ticket.institution, "record": ticket.index, "redeemed": ticket.redeemed}
            for name, ticket in sorted(state.tickets.items())
        ],
    }


def _grant(name: str, grant: Grant, time: str) -> dict[str, Any]:
    details = [(identifier, detail, "active") for identifier, detail in grant.details.items()]
    details += [(identifier, detail, "revoked") for identifier, detail in grant.ended.items()]
    return {
        "grant": name,
        "institution": grant.institution,
        "subject": grant.subject,
        "by": grant.by,
        "version": grant.version,
        "status": grant.status,
        "record": grant.index,
        "details": [_detail(detail, status, time) for _, detail, status in sorted(details, key=lambda part: int(part[0][1:]))],
    }


def _detail(detail: Detail, status: str, time: str) -> dict[str, Any]:
    lasting = "expired" if status == "active" and detail.valid_until <= time else status
    used = None if detail.per is None else {"period": detail.period or None, "used": detail.used}
    return {**detail.data, "status": lasting, "used": used}
