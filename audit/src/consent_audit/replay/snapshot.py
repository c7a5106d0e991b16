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
    details = sorted(grant.everything().items(), key=lambda part: int(part[0][1:]))
    return {
        "grant": name,
        "institution": grant.institution,
        "subject": grant.subject,
        "by": grant.by,
        "version": grant.version,
        "status": grant.status,
        "record": grant.index,
        "details": [_detail(identifier, detail, time, held=identifier in grant.details) for identifier, detail in details],
    }


def _detail(identifier: str, detail: Detail, time: str, *, held: bool) -> dict[str, Any]:
    counted = detail.per is not None
    return {
        "identifier": identifier,
        "status": "revoked" if not held else "expired" if detail.valid_until <= time else "active",
        "item": detail.item,
        "action": detail.action,
        "purpose": detail.purpose,
        "product": detail.product,
        "fields": sorted(detail.fields),
        "necessity": detail.necessity,
        "data_from": detail.data_from,
        "valid_until": detail.valid_until,
        "frequency": {"max": detail.most, "per": detail.per} if counted else None,
        "retention_days": detail.retention_days,
        "via": list(detail.via),
        "processor": detail.processor,
        "used": {"period": detail.period or None, "used": detail.used} if counted else None,
    }
