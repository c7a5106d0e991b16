"""Tickets and deliveries: an institution's permit is redeemed by a platform once, and what was served stays within what was decided."""

from sys import intern

from consent_audit.replay.state import Data, State
from consent_audit.replay.times import to_ms
from consent_audit.replay.values import Ticket, shared

TICKET_MS = 300_000


def issue(state: State, index: int, time: str, data: Data, permits: list[Data]) -> None:
    """An institution's own permit is a ticket for five minutes."""
    if data["id"] in state.tickets:
        state.fault("decision.repeated", index, f"decision {data['id']} stands already at record {state.tickets[data['id']].index}")
    fields = {intern(line["item"]): shared(tuple(line["fields"])) for line in permits}
    state.keep_ticket(
        data["id"],
        Ticket(
            intern(data["institution"]),
            data["subject"],
            intern(data["action"]),
            intern(data["purpose"]),
            fields,
            to_ms(time) + TICKET_MS,
            index,
        ),
    )


def redeem(state: State, index: int, time: str, data: Data, permits: list[Data]) -> None:  # noqa: ARG001 (time moved the state on)
    """A platform's permit on a ticket uses it up; one that is not open permits nothing."""
    shown, redeems = data["ticket"], data["redeems"]
    if redeems != (shown if permits else None):
        state.fault("ticket.redeems", index, "redeems another ticket than was shown, or does not say that it does")
    if shown is None or not permits:
        return
    ticket = state.tickets.get(shown)
    if ticket is None:
        state.fault("permit.ticket", index, f"ticket {shown} is no institution's permit of the five minutes before")
        return
    if ticket.redeemed is not None:
        state.fault("permit.ticket", index, f"ticket {shown} was redeemed by record {ticket.redeemed}")
    same = (ticket.institution, ticket.subject, ticket.action, ticket.purpose)
    if same != (data["institution"], data["subject"], data["action"], data["purpose"]):
        state.fault("permit.ticket", index, f"ticket {shown} of record {ticket.index} is somebody else's, or for something else")
    for line in permits:
        if not ticket.fields.get(line["item"], frozenset()).issuperset(line["fields"]):
            state.fault("permit.ticket", index, f"{line['item']}: ticket {shown} of record {ticket.index} does not allow these fields")
    ticket.redeemed = index


def deliver(state: State, index: int, time: str, data: Data) -> None:  # noqa: ARG001 (all handlers are called alike)
    """One `access.delivered`."""
    at = data["index"]
    if at >= index:
        state.fault("delivery.unknown", index, f"is about record {at}, which is not before it")
        return
    kind, decided = state.recall(at)
    if kind != "access.decided" or decided["id"] != data["decision"] or decided["platform"] != data["platform"]:
        state.fault("delivery.unknown", index, f"record {at} is no decision {data['decision']} of {data['platform']}")
        return
    if not state.deliver(at):
        state.fault("delivery.repeated", index, f"what was served on record {at} was reported before")
    allowed = {line["item"]: set(line["fields"]) for line in decided["items"] if line["outcome"] != "deny"}
    for line in data["items"]:
        if not set(line["fields"]) <= allowed.get(line["item"], set()):
            state.fault("delivery.beyond", index, f"{line['item']}: more was served than record {at} permitted")
