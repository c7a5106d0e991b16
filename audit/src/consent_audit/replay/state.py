"""The state machine: fed with records in order, it keeps what is live and names each record that those before it do not allow.

Kept are: the newest snapshot of each institution, platform, client and account of staff; grants from their approval to their revocation
or last expiry (of an expired one only the version, since a later record may still revoke it), each with the counters of the current
period; tickets for five minutes; unanswered requests for an hour; one bit for each record that a delivery was reported on. So memory grows
with what is in force, not with what was recorded. With `forget=False` grants stay for good, as a judge of denials needs them.
"""

import heapq
from collections import Counter, deque
from collections.abc import Callable
from typing import Any

from consent_audit.replay.catalogue import Catalogue
from consent_audit.replay.times import period, to_ms
from consent_audit.replay.values import Client, Detail, Grant, Party, Ticket

Data = dict[str, Any]
Fault = Callable[[str, int, str], None]
"""Called with a stable code, the index of the record at fault, and the reason in words that hold ids and places only."""

REQUEST_MS = 3_600_000
"""How long a request can still be answered (docs/spec/ledger.md §7)."""
REMEMBERED = 65_536
"""Ended grants and requests whose end is still known by its record; beyond that a reference to one is to something unknown."""


class State:
    """Everything that is live before the next record.

    Args:
        fault: told of each contradiction.
        blob: the bytes of a document by its SHA-256, checked by the caller.
        recall: type and data of an earlier record by its index.
        forget: whether grants that can permit nothing any more are dropped.
    """

    def __init__(
        self, fault: Fault, blob: Callable[[str], bytes], recall: Callable[[int], tuple[str, Data]], *, forget: bool = True
    ) -> None:
        self.fault = fault
        self.blob = blob
        self.recall = recall
        self.forget = forget
        self.catalogue: Catalogue | None = None
        self.policy: str | None = None
        self.proposals: dict[int, Any] = {}
        self.parties: dict[str, Party] = {}
        self.clients: dict[str, Client] = {}
        self.staff: dict[str, tuple[str, str]] = {}
        self.models: dict[str, str] = {}
        self.grants: dict[str, Grant] = {}
        self.expired: dict[str, int] = {}
        self.requests: dict[str, tuple[str, dict[str, Data], int]] = {}
        self.tickets: dict[str, Ticket] = {}
        self.delivered = bytearray()
        self.ended: dict[str, str] = {}
        self.counts: Counter[str] = Counter()
        self._request_ends: deque[tuple[int, str]] = deque()
        self._ticket_ends: deque[tuple[int, str]] = deque()
        self._grant_ends: list[tuple[str, str]] = []

    def advance(self, time: str) -> None:
        """Let go what time has ended before a record of this time."""
        now = to_ms(time)
        while self._ticket_ends and self._ticket_ends[0][0] <= now:
            self.tickets.pop(self._ticket_ends.popleft()[1], None)
        while self._request_ends and self._request_ends[0][0] <= now:
            self.requests.pop(self._request_ends.popleft()[1], None)
        while self._grant_ends and self._grant_ends[0][0] <= time:
            grant_id = heapq.heappop(self._grant_ends)[1]
            grant = self.grants.get(grant_id)
            if grant is not None and grant.last <= time:  # it may have been renewed since
                self.expired[grant_id] = self.grants.pop(grant_id).version

    def keep_grant(self, grant_id: str, grant: Grant) -> None:
        """A grant begins, or is renewed."""
        self.grants[grant_id] = grant
        if self.forget:
            heapq.heappush(self._grant_ends, (grant.last, grant_id))

    def end_grant(self, grant_id: str, how: str) -> None:
        """A grant was taken back as a whole."""
        if self.forget:
            self.grants.pop(grant_id, None)
            self.expired.pop(grant_id, None)
            self.remember(grant_id, how)

    def detail(self, grant_id: str | None, identifier: str | None) -> Detail | None:
        """A detail that is granted still."""
        grant = self.grants.get(grant_id or "")
        return None if grant is None or identifier is None else grant.details.get(identifier)

    @staticmethod
    def used_before(detail: Detail, time: str) -> int:
        """Uses of a detail with a frequency before a record of this time, in the period of that time."""
        return detail.counted(period(detail.per or "total", time))

    def keep_ticket(self, decision_id: str, ticket: Ticket) -> None:
        """A ticket can be redeemed from now on."""
        self.tickets[decision_id] = ticket
        self._ticket_ends.append((ticket.until_ms, decision_id))

    def keep_request(self, request_id: str, institution: str, details: dict[str, Data], index: int, time: str) -> None:
        """A request waits for its answer."""
        self.requests[request_id] = (institution, details, index)
        self._request_ends.append((to_ms(time) + REQUEST_MS, request_id))

    def remember(self, name: str, how: str) -> None:
        """Keep for a while how something ended, for the message to one who refers to it."""
        self.ended[name] = how
        if len(self.ended) > REMEMBERED:
            del self.ended[next(iter(self.ended))]

    def deliver(self, index: int) -> bool:
        """Note that what was served on the decision at `index` was reported; False if it was already."""
        byte, bit = index >> 3, 1 << (index & 7)
        if byte >= len(self.delivered):
            self.delivered.extend(bytes(byte + 4096 - len(self.delivered)))
        first = not self.delivered[byte] & bit
        self.delivered[byte] |= bit
        return first
