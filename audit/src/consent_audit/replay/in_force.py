"""What is in force: catalogue and policies, proposed by one operator and approved by two before they are activated."""

from dataclasses import dataclass, field

from consent_audit.replay.catalogue import Catalogue
from consent_audit.replay.state import Data, State

APPROVERS = 2


@dataclass(slots=True)
class Proposal:
    """A bundle that waits for its approvals, and who gave one."""

    revision: str
    sha256: str
    catalogue: str
    replaces: str
    approved_by: set[str] = field(default_factory=set)


def propose(state: State, index: int, time: str, data: Data) -> None:  # noqa: ARG001 (all handlers are called alike)
    """An operator proposes a bundle."""
    _operator(state, index, data["staff"])
    state.proposals[index] = Proposal(data["revision"], data["sha256"], data["catalogue"], data["replaces"])


def approve(state: State, index: int, time: str, data: Data) -> None:  # noqa: ARG001
    """An operator approves a proposal."""
    _operator(state, index, data["staff"])
    proposal = state.proposals.get(data["proposal"])
    if proposal is None or (proposal.revision, proposal.sha256) != (data["revision"], data["sha256"]):
        state.fault("policy.proposal", index, f"record {data['proposal']} is no open proposal of this bundle")
    elif data["staff"] in proposal.approved_by:
        state.fault("policy.approver", index, f"{data['staff']} approves a second time")
    else:
        proposal.approved_by.add(data["staff"])


def _operator(state: State, index: int, staff: str) -> None:
    if state.staff.get(staff) != ("operator", "active"):
        state.fault("policy.approver", index, f"{staff} is no active operator")


def activate_catalogue(state: State, index: int, time: str, data: Data) -> None:  # noqa: ARG001
    """From here on this catalogue is in force."""
    first, state.catalogue = state.catalogue is None, None
    if not (first and not data["approvers"]):
        waiting = [proposal for proposal in state.proposals.values() if proposal.catalogue == data["version"]]
        _check_approvers(state, index, data, waiting)
    state.catalogue = catalogue = Catalogue.parse(state.blob(data["sha256"]))
    if catalogue.version != data["version"]:
        state.fault("catalogue.version", index, "names another version than its document has")


def activate_policy(state: State, index: int, time: str, data: Data) -> None:  # noqa: ARG001
    """From here on these policies are in force, and what else was proposed in their place is not open any more."""
    if not (state.policy is None and not data["approvers"]):
        wanted = (data["revision"], data["sha256"], state.policy)
        waiting = [p for p in state.proposals.values() if (p.revision, p.sha256, p.replaces) == wanted]
        _check_approvers(state, index, data, waiting)
    state.policy = data["revision"]
    state.proposals.clear()


def _check_approvers(state: State, index: int, data: Data, waiting: list[Proposal]) -> None:
    approvers = set(data["approvers"])
    if len(approvers) < APPROVERS or not any(approvers <= proposal.approved_by for proposal in waiting):
        state.fault("policy.not_approved", index, "comes into force without two operators having approved it before")
    for staff in sorted(approvers):
        _operator(state, index, staff)
