"""The machine around the state: one record in, the next state out, and a bounded list of what was not allowed."""

from collections.abc import Callable
from functools import partial

from consent_audit.errors import CannotCheck
from consent_audit.record import Record
from consent_audit.replay import decisions, grants, in_force, parties, tickets
from consent_audit.replay.state import Data, State
from consent_audit.report import Finding

MAX_FINDINGS = 10_000
"""Contradictions kept in full; the rest is counted."""

_HANDLERS: dict[str, Callable[[State, int, str, Data], None]] = {
    "catalogue.activated": in_force.activate_catalogue,
    "policy.proposed": in_force.propose,
    "policy.approved": in_force.approve,
    "policy.activated": in_force.activate_policy,
    "institution.registered": partial(parties.register_party, platform=False),
    "institution.changed": partial(parties.change_party, platform=False),
    "platform.registered": partial(parties.register_party, platform=True),
    "platform.changed": partial(parties.change_party, platform=True),
    "client.registered": parties.register_client,
    "client.changed": parties.change_client,
    "staff.registered": parties.register_staff,
    "staff.changed": parties.change_staff,
    "grant.requested": grants.request,
    "grant.request_refused": grants.request_refused,
    "grant.approved": grants.approve,
    "grant.replaced": partial(grants.renew, merge=False),
    "grant.merged": partial(grants.renew, merge=True),
    "grant.refused": grants.refuse,
    "grant.narrowed": grants.narrow,
    "grant.revoked": grants.revoke,
    "grant.suspended": grants.suspend,
    "grant.resumed": grants.resume,
    "access.decided": decisions.decide,
    "access.delivered": tickets.deliver,
}


class Machine:
    """Applies records in order.

    Attributes:
        state: what is live after the last record.
        findings: what was not allowed, each with its record; at most MAX_FINDINGS, the rest is counted in `omitted`.
        unchecked: why something could not be judged.
        size: records applied.
        time: of the last one.
    """

    def __init__(self, blob: Callable[[str], bytes], recall: Callable[[int], tuple[str, Data]], *, forget: bool = True) -> None:
        self.state = State(self._fault, blob, recall, forget=forget)
        self.findings: list[Finding] = []
        self.omitted = 0
        self.unchecked: list[str] = []
        self.size = 0
        self.time = ""

    def _fault(self, code: str, index: int, message: str) -> None:
        if len(self.findings) < MAX_FINDINGS:
            self.findings.append(Finding(code, f"record {index}", message, index))
        else:
            self.omitted += 1

    def apply(self, record: Record) -> None:
        """Take in the next record."""
        state = self.state
        state.counts["records"] += 1
        self.size, time = record.index + 1, record.time
        if time != self.time:
            self.time = time
            state.advance(time)
        handler = _HANDLERS.get(record.type)
        if handler is None:
            return
        try:
            handler(state, record.index, time, record.data)
        except CannotCheck as error:
            if len(self.unchecked) < 100:
                self.unchecked.append(f"record {record.index}: {error}")
        except (KeyError, TypeError, AttributeError, ValueError):
            # A record of a newer form, or one that only the form's own check can explain.
            self._fault("record.form", record.index, f"is not in the form of {record.type} that this replay knows")
