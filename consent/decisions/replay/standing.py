"""What decisions were told, held against what the database still knows: who is registered by real name, and which person is linked.

Records name subjects by fresh commitments, so nobody can join them from the ledger. The operator can: the salts stand beside the ledger,
and the pseudonyms in their table. Where they were erased, nothing can be said, and that is counted.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from consent import db
from consent.ledger.evidence import digest_of, salt_of
from consent_audit.record import Record

_EVIDENCE = text("select idx, secret, cast(members as text) as members from evidence where idx = any(:indexes)")
_PSEUDONYMS = text("select pseudonym, identifier from pseudonym where pseudonym = any(:names)")
_GRANTORS = text("""
    select g.id, cast(g.subject_id as text) as person, s.uscc as enterprise
      from consent_grant g join subject s on s.id = g.enterprise_id where g.id = any(:grants)
""")
_GRANTED = frozenset({"grant.approved", "grant.replaced", "grant.merged"})


class Standing:
    """Follows subjects and links through the records.

    Attributes:
        counts: `proven` and `unproven` decisions, and `unopened` records, whose salts are gone.
    """

    def __init__(self, engine: AsyncEngine) -> None:
        self.counts: Counter[str] = Counter()
        self._engine = engine
        self._evidence: dict[int, list[tuple[bytes, dict[str, str]]]] = {}
        self._identifiers: dict[str, str] = {}
        self._grantors: dict[str, tuple[str, str]] = {}
        self._verified: dict[str, bool] = {}
        self._links: dict[tuple[str, str], set[str]] = {}
        self._persons_grants: dict[tuple[str, str], dict[str, set[str]]] = {}

    async def prepare(self, records: Sequence[Record]) -> None:
        """Read what the next records need, all at once.

        Raises:
            DatabaseUnavailable: it cannot be read.
        """
        indexes = [record.index for record in records if record.type.startswith("subject.")]
        names = {record.data["subject"] for record in records if record.type == "access.decided"}
        grants = [record.data["grant"] for record in records if record.type in _GRANTED and record.data["by"] == "person"]
        async with db.read(self._engine) as connection:
            self._evidence = {}
            for row in await connection.execute(_EVIDENCE, {"indexes": indexes}):
                self._evidence.setdefault(row.idx, []).append((row.secret, msgspec.json.decode(row.members)))
            found = await connection.execute(_PSEUDONYMS, {"names": sorted(names)})
            self._identifiers = {row.pseudonym: row.identifier for row in found}
            for row in await connection.execute(_GRANTORS, {"grants": grants}):
                self._grantors[row.id] = row.person, row.enterprise

    def take(self, record: Record) -> Iterator[tuple[str, str]]:
        """Learn from a record; of a decision, what it was told wrongly, as code and reason."""
        data = record.data
        if record.type in {"subject.registered", "subject.changed"}:
            if (who := self._open(record, "commitment")) is not None:
                self._verified[who] = data["level"] == "real_name" and data.get("status", "active") == "active"
        elif record.type in {"subject.linked", "subject.unlinked"}:
            person, enterprise = self._open(record, "person"), self._open(record, "enterprise")
            if person is not None and enterprise is not None:
                roles = self._links.setdefault((person, enterprise), set())
                (roles.add if record.type == "subject.linked" else roles.discard)(data["role"])
        elif record.type in _GRANTED and data["by"] == "person":
            grants = self._persons_grants.setdefault((data["institution"], data["subject"]), {})
            grants.setdefault(data["grant"], set()).update(detail["item"] for detail in data["details"])
        elif record.type == "access.decided":
            yield from self._compare(data)

    def _open(self, record: Record, member: str) -> str | None:
        """Whom a commitment names, if its salt still stands."""
        for secret, members in self._evidence.get(record.index, ()):
            value = members.get(member)
            if value is not None and digest_of(salt_of(secret, member), value) == record.data[member]:
                return value
        self.counts["unopened"] += 1
        return None

    def _compare(self, data: dict[str, Any]) -> Iterator[tuple[str, str]]:
        who, told = self._identifiers.get(data["subject"]), data["told"]
        if who is None:
            self.counts["unproven"] += 1
            return
        # An enterprise that never registered counts as verified, so that it answers like one that granted nothing.
        if told["verified"] != self._verified.get(who, True):
            yield (
                "told.verified",
                f"was told that the enterprise is {'' if told['verified'] else 'not '}verified; its own records say otherwise",
            )
        asked = {line["item"] for line in data["items"]}
        grants = self._persons_grants.get((data["institution"], data["subject"]), {})
        of_persons = {grant for grant, items in grants.items() if items & asked}
        if not of_persons <= self._grantors.keys():
            self.counts["unproven"] += 1
            return
        if set(told["uncounted"]) != {grant for grant in of_persons if not self._counts(grant)}:
            yield "told.uncounted", "was told wrongly which persons' grants count"
        self.counts["proven"] += 1

    def _counts(self, grant: str) -> bool:
        person, enterprise = self._grantors[grant]
        return bool(self._links.get((person, enterprise))) and self._verified.get(person, False)
