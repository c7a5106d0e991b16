"""SQL that joins a record to its parties, through pseudonyms, decisions and evidence."""

from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

_SUBJECT = text("""
    select exists (
      select from pseudonym p join subject s on p.identifier = coalesce(s.uscc, cast(s.id as text))
       where p.pseudonym = :pseudonym and s.id = :subject)
""")
_INSTITUTION_OF_DECISION = text("select institution_id from decision where id = :decision")
_SUBJECT_OF_DECISION = text("""
    select exists (select from decision d join subject s on s.uscc = d.identifier where d.id = :decision and s.id = :subject)
""")


async def commits_to(connection: AsyncConnection, index: int, subject: UUID) -> bool:
    """Whether a commitment in the record is to this subject, as long as it can be opened."""
    statement = text("select exists (select from evidence where idx = :index and owner = :subject)")
    return bool(await connection.scalar(statement, {"index": index, "subject": subject}))


async def is_pseudonym_of(connection: AsyncConnection, pseudonym: str, subject: UUID) -> bool:
    """Whether the pseudonym stands for this subject, towards whichever institution."""
    return bool(await connection.scalar(_SUBJECT, {"pseudonym": pseudonym, "subject": subject}))


async def was_granted_by(connection: AsyncConnection, grant: str, subject: UUID) -> bool:
    """Whether this enterprise or person gave the grant."""
    statement = text("select exists (select from consent_grant where id = :grant and subject_id = :subject)")
    return bool(await connection.scalar(statement, {"grant": grant, "subject": subject}))


async def institution_of_decision(connection: AsyncConnection, decision: str) -> str | None:
    """For whom a decision was made."""
    found = await connection.scalar(_INSTITUTION_OF_DECISION, {"decision": decision})
    return None if found is None else str(found)


async def is_about(connection: AsyncConnection, decision: str, subject: UUID) -> bool:
    """Whether a decision was about this enterprise."""
    return bool(await connection.scalar(_SUBJECT_OF_DECISION, {"decision": decision, "subject": subject}))
