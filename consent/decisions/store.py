"""SQL of recording decisions, in a transaction that holds the ledger's lock: few statements, none that waits for another."""

from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import text

from consent.clock import to_ms
from consent.decisions.model import TICKET_SECONDS, Check, Decided, Facts, period
from consent.decisions.reply import ticket_terms
from consent.ledger.writer import LedgerTransaction

# What of the facts is another now than when they were read. One statement, whose snapshot is younger than the lock.
_CHANGED = text("""
    select 'check' as what, a.n, null as id
      from unnest(cast(:n as int[]), cast(:identifier as text[]), cast(:institution as text[]), cast(:subject_version as bigint[]),
                  cast(:grants_version as bigint[]), cast(:request_key as bytea[]))
             as a (n, identifier, institution, subject_version, grants_version, request_key)
      left join subject s on s.uscc = a.identifier
     where s.version is distinct from a.subject_version
        or coalesce((select sum(c.version) from consent_grant c where c.enterprise_id = s.id and c.institution_id = a.institution), 0)
           <> a.grants_version
        or exists (select from decision d where d.request_key = a.request_key)
    union all
    select 'institution', null, a.id
      from unnest(cast(:institutions as text[]), cast(:institution_versions as bigint[])) as a (id, version)
      left join institution i on i.id = a.id
     where i.version is distinct from a.version
    union all
    select 'check', a.n, null
      from unnest(cast(:use_n as int[]), cast(:use_grant as text[]), cast(:use_seq as int[]), cast(:use_period as text[]),
                  cast(:use_used as int[])) as a (n, grant_id, seq, period, used)
      left join grant_use u on u.grant_id = a.grant_id and u.seq = a.seq and u.period = a.period
     where coalesce(u.used, 0) <> a.used
    union all
    select 'check', a.n, null
      from unnest(cast(:ticket_n as int[]), cast(:ticket as text[])) as a (n, ticket)
     where not exists (select from decision d where d.id = a.ticket and d.redeemed_by is null)
    union all
    select 'check', a.n, null
      from unnest(cast(:loan_n as int[]), cast(:loan_institution as text[]), cast(:loan_identifier as text[]), cast(:loan as text[]),
                  cast(:loan_version as bigint[])) as a (n, institution, identifier, loan, version)
      left join subject s on s.uscc = a.identifier
      left join loan l on l.institution_id = a.institution and l.id = a.loan and l.subject_id = s.id
     where l.version is distinct from a.version
    union all
    select 'check', a.n, null
      from unnest(cast(:model_n as int[]), cast(:model_institution as text[]), cast(:model as text[]), cast(:model_items as text[]))
             as a (n, institution, model, items)
      left join model m on m.id = a.model and m.institution_id = a.institution and m.status = 'active'
     where array_to_string(m.items, ',') is distinct from a.items
    union all
    (select 'policy', null, version from activation where kind = 'policy' order by idx desc limit 1)
""")

_INSERT = text("""
    insert into decision (id, idx, client_id, institution_id, identifier, request_key, request_hash, response,
                          ticket, ticket_until, created_at)
    select id, idx, client_id, institution_id, identifier, request_key, request_hash, response, cast(ticket as jsonb),
           case when dated then cast(:until as timestamptz) end, cast(:now as timestamptz)
      from unnest(cast(:id as text[]), cast(:idx as bigint[]), cast(:client as text[]), cast(:institution as text[]),
                  cast(:identifier as text[]), cast(:request_key as bytea[]), cast(:request_hash as bytea[]), cast(:response as bytea[]),
                  cast(:ticket as text[]), cast(:dated as boolean[]))
             as new (id, idx, client_id, institution_id, identifier, request_key, request_hash, response, ticket, dated)
""")
_COUNT = text("""
    insert into grant_use (grant_id, seq, period, used)
    select * from unnest(cast(:grant as text[]), cast(:seq as int[]), cast(:period as text[]), cast(:used as int[]))
    on conflict (grant_id, seq, period) do update set used = excluded.used
""")
_REDEEM = text("""
    update decision d set redeemed_by = a.redeemer
      from unnest(cast(:ticket as text[]), cast(:redeemer as text[])) as a (ticket, redeemer)
     where d.id = a.ticket and d.redeemed_by is null
""")


class Changes:
    """What must be decided anew: by position, with the institutions that changed and the policy in force."""

    def __init__(self, rows: Iterable[Any]) -> None:
        self.checks: set[int] = set()
        self.institutions: set[str] = set()
        self.policy: str | None = None
        for row in rows:
            if row.what == "check":
                self.checks.add(row.n)
            elif row.what == "institution":
                self.institutions.add(row.id)
            else:
                self.policy = row.id


async def changes(transaction: LedgerTransaction, decided: Sequence[Decided]) -> Changes:
    """Which decisions no longer rest on what they were made on, or whose time has passed."""
    found = Changes(await transaction.connection.execute(_CHANGED, _versions(decided)))
    now = to_ms(transaction.time)
    for n, one in enumerate(decided):
        if not one.facts.now <= now < one.facts.valid_before or not found.institutions.isdisjoint(_parties(one.check)):
            found.checks.add(n)
    return found


async def insert(transaction: LedgerTransaction, decided: Sequence[Decided], indexes: Sequence[int]) -> None:
    """Keep the decisions, count their uses and use up their tickets.

    Raises:
        RuntimeError: a ticket was used up in spite of the recheck; nothing may be committed.
    """
    await transaction.connection.execute(
        _INSERT,
        {
            "id": [one.id for one in decided],
            "idx": list(indexes),
            "client": [one.check.client for one in decided],
            "institution": [one.check.institution for one in decided],
            "identifier": [one.check.identifier for one in decided],
            "request_key": [one.check.request_key if one.binds else None for one in decided],
            "request_hash": [one.check.request_hash for one in decided],
            "response": [one.reply if one.binds and one.check.request_key is not None else b"" for one in decided],
            "ticket": [ticket_terms(one) for one in decided],
            "dated": [one.check.platform is None and one.answer.outcome != "none" for one in decided],
            "until": transaction.time + timedelta(seconds=TICKET_SECONDS),
            "now": transaction.time,
        },
    )
    if used := [use for one in decided for use in one.uses]:
        await transaction.connection.execute(
            _COUNT,
            {
                "grant": [use.grant_id for use in used],
                "seq": [use.seq for use in used],
                "period": [use.period for use in used],
                "used": [use.used for use in used],
            },
        )
    if redeemed := [(one.redeems, one.id) for one in decided if one.redeems is not None]:
        columns = {"ticket": [ticket for ticket, _ in redeemed], "redeemer": [redeemer for _, redeemer in redeemed]}
        if (await transaction.connection.execute(_REDEEM, columns)).rowcount != len(redeemed):
            raise RuntimeError("a ticket was redeemed twice under the lock")


def _parties(check: Check) -> set[str]:
    return {check.institution} if check.platform is None else {check.institution, check.platform}


def _versions(decided: Sequence[Decided]) -> dict[str, Any]:
    parties: dict[str, int | None] = {}
    for one in decided:
        parties[one.check.institution] = _version(one.facts, one.check.institution, one)
        if one.check.platform is not None:
            parties[one.check.platform] = _version(one.facts, one.check.platform, one)
    uses = [(n, grant, one.facts.today) for n, one in enumerate(decided) for grant in one.facts.grants if grant.frequency_per is not None]
    tickets = [(n, one.check.ticket) for n, one in enumerate(decided) if one.facts.ticket is not None and one.facts.ticket.open]
    loans = [(n, one) for n, one in enumerate(decided) if one.check.loan is not None]
    models = [(n, one) for n, one in enumerate(decided) if one.check.model is not None]
    return {
        "n": list(range(len(decided))),
        "identifier": [one.check.identifier for one in decided],
        "institution": [one.check.institution for one in decided],
        "subject_version": [one.facts.subject_version for one in decided],
        "grants_version": [one.facts.grants_version for one in decided],
        "request_key": [one.check.request_key for one in decided],
        "institutions": list(parties),
        "institution_versions": list(parties.values()),
        "use_n": [n for n, _, _ in uses],
        "use_grant": [grant.grant_id for _, grant, _ in uses],
        "use_seq": [grant.seq for _, grant, _ in uses],
        "use_period": [period(grant.frequency_per or "", today) for _, grant, today in uses],
        "use_used": [grant.used for _, grant, _ in uses],
        "ticket_n": [n for n, _ in tickets],
        "ticket": [ticket for _, ticket in tickets],
        "loan_n": [n for n, _ in loans],
        "loan_institution": [one.check.institution for _, one in loans],
        "loan_identifier": [one.check.identifier for _, one in loans],
        "loan": [one.check.loan for _, one in loans],
        "loan_version": [None if one.facts.loan is None else one.facts.loan.version for _, one in loans],
        "model_n": [n for n, _ in models],
        "model_institution": [one.check.institution for _, one in models],
        "model": [one.check.model for _, one in models],
        "model_items": [None if one.facts.model_items is None else ",".join(one.facts.model_items) for _, one in models],
    }


def _version(facts: Facts, institution_id: str, one: Decided) -> int | None:
    known = facts.institution if institution_id == one.check.institution else facts.platform
    return None if known is None else known.version
