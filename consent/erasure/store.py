"""SQL of erasure: why evidence is kept, where a subject stands, and the deletion itself, which only the tables' owner may do."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from consent.erasure.model import FLOOR_MONTHS, Hold
from consent.parties.model import Subject

# A grant lives until it was revoked or its last detail ended or expires; a loan until it is settled or refused.
_HOLDS = text("""
    with ended as (
      select 'grant' as why, g.institution_id, i.evidence_months,
             coalesce(g.ended_at, (select max(coalesce(d.ended_at, d.valid_until)) from grant_item d where d.grant_id = g.id)) as at
        from consent_grant g join institution i on i.id = g.institution_id
       where g.subject_id = :subject or g.enterprise_id = :subject
       union all
      select 'loan', l.institution_id, i.evidence_months, case when l.phase in ('settled', 'refused') then l.changed_at end
        from loan l join institution i on i.id = l.institution_id
       where l.subject_id = :subject
       union all
      select 'record', null, :floor, max(r.time)
        from evidence e join ledger_record r on r.idx = e.idx where e.owner = :subject
       having max(r.time) is not null
       union all
      select 'record', d.institution_id, :floor, max(d.created_at)
        from decision d where d.identifier = :identifier and d.ticket is not null group by d.institution_id
    )
    select why, institution_id, max(at + make_interval(months => evidence_months)) as until, bool_or(at is null) as open
      from ended group by why, institution_id order by why, institution_id
""")
_INDEXES = text("""
    select idx from evidence where owner = :subject
    union
    select e.idx from evidence e join decision d on d.idx = e.idx where d.identifier = :identifier
    order by idx
""")
_STANDING_GRANTS = text("""
    select id from consent_grant where (subject_id = :subject or enterprise_id = :subject) and status <> 'revoked' order by id
""")
# Evidence first: the decisions say which rows of callers' references are about her. A link's other party keeps its own row.
# The hash of a request is of few possible codes, so it goes as well as the code.
_HERS = "(select id from consent_grant where subject_id = :subject or enterprise_id = :subject)"
_FORGET = (
    "delete from evidence where owner = :subject",
    "delete from evidence e using decision d where d.idx = e.idx and d.identifier = :identifier",
    "update decision set identifier = 'erased', request_key = null, request_hash = decode(repeat('00', 32), 'hex'), response = ''"
    " where identifier = :identifier",
    "delete from guess where identifier = :identifier",
    "delete from pseudonym where identifier = :identifier",
    # A client names its details as it likes, perhaps after her; the ledger's own names of them stay.
    "update grant_item set identifier = 'd' || seq, detail = jsonb_set(detail, '{identifier}', to_jsonb('d' || seq))"
    f" where grant_id in {_HERS}",
    f"update grant_history set detail = '{{\"details\": []}}' where grant_id in {_HERS}",
    f"update consent_grant set refused = '[]' where id in {_HERS}",
    "delete from pushed_request where parameters ->> 'login_hint' = :identifier",
    "delete from loan where subject_id = :subject",
    "delete from person_link where person_id = :subject or enterprise_id = :subject",
    "delete from session where subject_id = :subject or account_id in (select id from account where subject_id = :subject)",
    "delete from account where subject_id = :subject",
    "update subject set uscc = null, name = '', erased_at = :now, version = version + 1 where id = :subject",
)


async def holds(connection: AsyncConnection, subject: Subject) -> list[Hold]:
    """Every reason to keep evidence about her, ended or not."""
    values = {"subject": subject.id, "identifier": subject.identifier, "floor": FLOOR_MONTHS}
    return [
        Hold(why=row.why, institution=row.institution_id, until=None if row.open else row.until)
        for row in await connection.execute(_HOLDS, values)
    ]


async def was_erased(connection: AsyncConnection, subject_id: UUID) -> bool:
    """Whether it was done already."""
    statement = text("select exists (select from subject where id = :id and erased_at is not null)")
    return bool(await connection.scalar(statement, {"id": subject_id}))


async def indexes(connection: AsyncConnection, subject: Subject) -> list[int]:
    """The records whose evidence is about her, rising."""
    rows = await connection.execute(_INDEXES, {"subject": subject.id, "identifier": subject.identifier})
    return list(rows.scalars())


async def standing_grants(connection: AsyncConnection, subject_id: UUID) -> Sequence[str]:
    """Her grants that nobody revoked, though they expired."""
    return (await connection.execute(_STANDING_GRANTS, {"subject": subject_id})).scalars().all()


async def forget(connection: AsyncConnection, subject: Subject, now: object) -> None:
    """Delete whatever says who she was."""
    values = {"subject": subject.id, "identifier": subject.identifier, "now": now}
    for statement in _FORGET:
        await connection.execute(text(statement), {name: value for name, value in values.items() if f":{name}" in statement})
