"""Opening digests of records, and the check that every one of them can be opened unless the ledger itself says that it was redacted.

What is kept beside the ledger (`evidence`) is not signed by itself; this is what ties it to the records, which are.
"""

from collections.abc import Iterator
from typing import Any

import msgspec
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from consent import db
from consent.errors import NotFound
from consent.ledger import store
from consent.ledger.evidence import digest_of, find, salt_of
from consent.ledger.statements import RecordRedacted
from consent_audit.encoding import format_base64
from consent_audit.record import Record, decode_record

DIGESTS: dict[str, tuple[str, ...]] = {
    "access.decided": ("loan", "operator", "branch", "request"),
    "grant.request_refused": ("verdicts.*.identifier_digest",),
    "subject.registered": ("commitment",),
    "subject.changed": ("commitment",),
    "subject.linked": ("person", "enterprise"),
    "subject.unlinked": ("person", "enterprise"),
}
"""Where each record type holds salted digests; `*` is every place of an array."""
CHUNK = 4096
MAX_FINDINGS = 100

_EVIDENCE = text("select idx, secret, members from evidence where idx >= :first and idx < :last order by idx, place")
_BEYOND = text("select min(idx) from evidence where idx >= :size")


class Opening(msgspec.Struct, frozen=True):
    """One digest with what opens it: `digest` is base64url(SHA-256(salt || value)); `salt` is base64."""

    member: str
    digest: str
    salt: str
    value: str


class Finding(msgspec.Struct, frozen=True):
    """What is wrong with a record's evidence: missing, false, stray (nothing in the record asks for it), kept (said to be deleted)."""

    index: int
    member: str
    what: str


class Checked(msgspec.Struct, frozen=True):
    """Result of a check over the first `records` records. The first MAX_FINDINGS findings are named; `faults` counts all."""

    records: int
    opened: int
    redacted: int
    faults: int
    findings: list[Finding]


def digests(record: Record) -> dict[str, str]:
    """The salted digests in a record, by member."""
    return {
        path: value for rule in DIGESTS.get(record.type, ()) for path in _paths(record.data, rule) if (value := find(record.data, path))
    }


def _paths(data: dict[str, Any], rule: str) -> Iterator[str]:
    array, star, rest = rule.partition(".*.")
    if not star:
        yield rule
        return
    for place in range(len(data.get(array) or ())):
        yield f"{array}.{place}.{rest}"


async def open_record(engine: AsyncEngine, index: int) -> list[Opening]:
    """What stands behind the digests of one record, as far as it is kept and true.

    Raises:
        NotFound: no such record.
    """
    async with db.read(engine) as connection:
        found = await store.entries(connection, index, 1)
        if not found:
            raise NotFound("账本没有这条记录。", "The ledger has no such record.")
        wanted = digests(decode_record(found[0]))
        rows = (await connection.execute(_EVIDENCE, {"first": index, "last": index + 1})).all()
    return [
        Opening(member=member, digest=wanted[member], salt=format_base64(salt_of(row.secret, member)), value=value)
        for row in rows
        for member, value in row.members.items()
        if wanted.get(member) == digest_of(salt_of(row.secret, member), value)
    ]


async def check(engine: AsyncEngine) -> Checked:
    """Hold every record against what is kept of it, in one snapshot; memory grows only with what was redacted.

    A missing salt or body is a fault unless a `record.redacted` names the record; one that was said to be deleted and stands is one too.
    """
    state = _State()
    async with db.read(engine) as connection:
        size = await store.committed_size(connection)
        for first in range(0, size, CHUNK):
            await _check_chunk(connection, state, first, min(first + CHUNK, size))
        beyond = await connection.scalar(_BEYOND, {"size": size})
    if beyond is not None:
        state.fault(beyond, "", "stray")
    for index in sorted(state.missing.keys() | state.redacted):
        if index not in state.redacted:
            for member in state.missing[index]:
                state.fault(index, member, "missing")
        elif index not in state.missing:
            state.fault(index, "", "kept")
    return Checked(records=size, opened=state.opened, redacted=len(state.redacted), faults=state.faults, findings=state.findings)


async def _check_chunk(connection: AsyncConnection, state: "_State", first: int, last: int) -> None:
    records = await store.entries(connection, first, last - first)
    kept: dict[int, list[Any]] = {}
    for row in await connection.execute(_EVIDENCE, {"first": first, "last": last}):
        kept.setdefault(row.idx, []).append(row)
    for raw in records:
        record = decode_record(raw)
        state.record(record, kept.get(record.index, []))


class _State:
    """What a pass over the records has found so far. `missing`: members without evidence, by index; `redacted`: indexes."""

    def __init__(self) -> None:
        self.opened = 0
        self.faults = 0
        self.missing: dict[int, list[str]] = {}
        self.redacted: set[int] = set()
        self.findings: list[Finding] = []

    def fault(self, index: int, member: str, what: str) -> None:
        self.faults += 1
        if len(self.findings) < MAX_FINDINGS:
            self.findings.append(Finding(index=index, member=member, what=what))

    def record(self, record: Record, rows: list[Any]) -> None:
        if record.type == RecordRedacted.TYPE:
            self.redacted.update(index for index in record.data["records"] if index < record.index)
        wanted = digests(record)
        kept = {member: (row.secret, value) for row in rows for member, value in row.members.items()}
        for member, digest in wanted.items():
            if member not in kept:
                self.missing.setdefault(record.index, []).append(member)
            elif digest_of(salt_of(kept[member][0], member), kept[member][1]) == digest:
                self.opened += 1
            else:
                self.fault(record.index, member, "false")
        for member in kept.keys() - wanted.keys():
            self.fault(record.index, member, "stray")
