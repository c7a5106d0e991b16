"""Use case: forget a subject. Mapping, salts, bodies and names go; the ledger's records stand and say that they were redacted.

Run by an operator with the database owner's role, for the service's own role cannot delete evidence. Afterwards nobody, the operator
included, can say whom the pseudonyms and commitments in the ledger meant, and every proof that was given out still holds.
"""

from collections.abc import Sequence
from typing import Literal
from uuid import UUID

import msgspec
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from consent import db
from consent.clock import truncate
from consent.erasure import store
from consent.erasure.model import Hold, RetentionRuns, standing
from consent.errors import Conflict, NotFound
from consent.grants import service as grants
from consent.grants.model import Actor
from consent.ledger.statements import RecordRedacted
from consent.ledger.writer import write
from consent.parties import store as parties
from consent.parties.model import Subject

PER_RECORD = 2000
_NOW = text("select clock_timestamp()")
Reason = Literal["erasure", "retention"]


class Erased(msgspec.Struct, frozen=True):
    """What was done: subjects forgotten, records redacted, and where the ledger says so."""

    subjects: int
    records: int
    indexes: tuple[int, ...]


async def find(engine: AsyncEngine, name: str) -> UUID:
    """The subject of a 统一社会信用代码 or a subject id.

    Raises:
        NotFound: there is none.
    """
    async with db.read(engine) as connection:
        found = await parties.subject_by_uscc(connection, name)
        if found is None:
            try:
                found = await parties.subject(connection, UUID(name))
            except ValueError:
                found = None
    if found is None:
        raise _no_subject()
    return found.id


async def holds(engine: AsyncEngine, subject_id: UUID) -> list[Hold]:
    """Why evidence about a subject must be kept still, and until when; empty if nothing demands it.

    Raises:
        NotFound: no such subject.
    """
    async with db.read(engine) as connection:
        subject = await _subject(connection, subject_id)
        now = await connection.scalar(_NOW)
        return standing(await store.holds(connection, subject), now)


async def erase(engine: AsyncEngine, subject_ids: Sequence[UUID], reason: Reason = "erasure") -> Erased:
    """Forget these subjects, all or none, in one transaction of the owner of the tables.

    Several at once are better: the ledger then does not say which of the redacted records belonged together.

    Raises:
        NotFound: no such subject.
        Conflict: `subject.erased`; or `subject.active`: she was not closed first.
        RetentionRuns: `subject.retained`: something must be kept still; nothing was deleted.
    """
    redacted: set[int] = set()
    async with write(engine) as tx:
        subjects = [await _subject(tx.connection, subject_id) for subject_id in dict.fromkeys(subject_ids)]
        for subject in subjects:
            if await store.was_erased(tx.connection, subject.id):
                raise Conflict("该主体已删除。", "This subject was erased already.", code="subject.erased")
            if subject.status != "closed":
                raise Conflict(
                    "请先将该主体注销，再删除其资料。", "Close the subject first (consent register subject-change).", code="subject.active"
                )
        kept = [hold for subject in subjects for hold in standing(await store.holds(tx.connection, subject), truncate(tx.time))]
        if kept:
            raise RetentionRuns(kept)
        for subject in subjects:
            for grant_id in await store.standing_grants(tx.connection, subject.id):
                await grants.revoke(tx, grant_id, Actor.operator())
            redacted.update(await store.indexes(tx.connection, subject))
            await store.forget(tx.connection, subject, tx.time)
        rising = sorted(redacted)
        chunks = [rising[n : n + PER_RECORD] for n in range(0, len(rising), PER_RECORD)]
        indexes = tuple(tx.append(RecordRedacted(records=tuple(chunk), reason=reason)) for chunk in chunks)
    return Erased(subjects=len(subjects), records=len(rising), indexes=indexes)


async def _subject(connection: AsyncConnection, subject_id: UUID) -> Subject:
    subject = await parties.subject(connection, subject_id)
    if subject is None:
        raise _no_subject()
    return subject


def _no_subject() -> NotFound:
    return NotFound("没有这个主体。", "No such subject.")
