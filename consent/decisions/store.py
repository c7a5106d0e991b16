"""SQL of recording decisions, in a transaction that holds the ledger's lock: few statements, none that waits for another."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec
from sqlalchemy import text

from consent.clock import to_ms
from consent.decisions.model import TICKET_SECONDS, Decided, period
from consent.decisions.reply import ticket_terms
from consent.ledger.writer import LedgerTransaction

_encode = msgspec.json.Encoder().encode

# What of the facts is another now than when they were read. One statement, whose snapshot is younger than the lock.
# Parameters are JSON documents: the driver encodes a text in no time, but arrays element by element.
_CHANGED = text("""
    select 'check' as what, a.n, null as id
      from json_to_recordset(cast(:checks as json))
             as a (n int, identifier text, institution text, subject bigint, grants bigint)
      left join subject s on s.uscc = a.identifier
     where s.version is distinct from a.subject
        or coalesce((select sum(c.version) from consent_grant c where c.enterprise_id = s.id and c.institution_id = a.institution), 0)
           <> a.grants
    union all
    select 'check', a.n, null
      from json_to_recordset(cast(:keys as json)) as a (n int, key text) join decision d on d.request_key = decode(a.key, 'hex')
    union all
    select 'institution', null, a.id
      from json_to_recordset(cast(:institutions as json)) as a (id text, version bigint)
      left join institution i on i.id = a.id
     where i.version is distinct from a.version
    union all
    select 'check', a.n, null
      from json_to_recordset(cast(:uses as json)) as a (n int, grant_id text, seq int, period text, used int)
      left join grant_use u on u.grant_id = a.grant_id and u.seq = a.seq and u.period = a.period
     where coalesce(u.used, 0) <> a.used
    union all
    select 'check', a.n, null
      from json_to_recordset(cast(:guesses as json)) as a (n int, identifier text, institution text, items text, day text, compared int)
     where coalesce((select sum(u.compared) from guess u
             where u.day = a.day and u.institution_id = a.institution and u.identifier = a.identifier
               and split_part(u.field, '.', 1) = any(string_to_array(a.items, ','))), 0) <> a.compared
    union all
    select 'check', a.n, null
      from json_to_recordset(cast(:tickets as json)) as a (n int, ticket text)
     where not exists (select from decision d where d.id = a.ticket and d.redeemed_by is null)
    union all
    select 'check', a.n, null
      from json_to_recordset(cast(:loans as json)) as a (n int, identifier text, institution text, loan text, version bigint)
      left join subject s on s.uscc = a.identifier
      left join loan l on l.institution_id = a.institution and l.id = a.loan and l.subject_id = s.id
     where l.version is distinct from a.version
    union all
    select 'check', a.n, null
      from json_to_recordset(cast(:models as json)) as a (n int, institution text, model text, items text)
      left join model m on m.id = a.model and m.institution_id = a.institution and m.status = 'active'
     where array_to_string(m.items, ',') is distinct from a.items
    union all
    select 'caller', a.n, null
      from json_to_recordset(cast(:callers as json)) as a (n int, client text, scope text)
     where not exists (select from client c where c.id = a.client and c.status = 'active' and a.scope = any(c.scopes))
    union all
    (select 'policy', null, version from activation where kind = 'policy' order by idx desc limit 1)
    union all
    (select 'catalogue', null, version from activation where kind = 'catalogue' order by idx desc limit 1)
""")

_DECISION = (
    "id",
    "idx",
    "client_id",
    "institution_id",
    "identifier",
    "request_key",
    "request_hash",
    "response",
    "ticket",
    "ticket_until",
    "created_at",
)
_COUNT = text("""
    insert into grant_use (grant_id, seq, period, used)
    select * from unnest(cast(:grant as text[]), cast(:seq as int[]), cast(:period as text[]), cast(:used as int[]))
    on conflict (grant_id, seq, period) do update set used = excluded.used
""")
_GUESS = text("""
    insert into guess (day, institution_id, identifier, field, compared)
    select *, 1 from unnest(cast(:day as text[]), cast(:institution as text[]), cast(:identifier as text[]), cast(:field as text[]))
    on conflict (day, institution_id, identifier, field) do update set compared = guess.compared + 1
""")
_REDEEM = text("""
    update decision d set redeemed_by = a.redeemer
      from unnest(cast(:ticket as text[]), cast(:redeemer as text[])) as a (ticket, redeemer)
     where d.id = a.ticket and d.redeemed_by is null
""")


class Changes:
    """What is another now, and what is in force.

    checks       positions of what must be decided anew
    refused      positions of what its client may no longer ask at all
    in_force     version of the newest activation of each kind
    """

    def __init__(self, rows: Iterable[Any], callers: Sequence[Sequence[int]]) -> None:
        self.checks: set[int] = set()
        self.refused: set[int] = set()
        self.institutions: set[str] = set()
        self.in_force: dict[str, str] = {}
        for row in rows:
            if row.what == "check":
                self.checks.add(row.n)
            elif row.what == "caller":
                self.refused.update(callers[row.n])
            elif row.what == "institution":
                self.institutions.add(row.id)
            else:
                self.in_force[row.what] = row.id


async def changes(transaction: LedgerTransaction, decided: Sequence[Decided]) -> Changes:
    """Which decisions no longer rest on what they were made on, or whose time has passed."""
    callers: dict[tuple[str, str], list[int]] = {}
    for n, one in enumerate(decided):
        callers.setdefault((one.check.client, one.check.scope), []).append(n)
    asking = [{"n": n, "client": client, "scope": scope} for n, (client, scope) in enumerate(callers)]
    versions = _versions(decided) | {"callers": _encode(asking).decode()}
    found = Changes(await transaction.connection.execute(_CHANGED, versions), list(callers.values()))
    now = to_ms(transaction.time)
    for n, one in enumerate(decided):
        if not one.facts.now <= now < one.facts.valid_before or not found.institutions.isdisjoint(one.check.parties):
            found.checks.add(n)
    return found


async def insert(transaction: LedgerTransaction, decided: Sequence[Decided], indexes: Sequence[int]) -> None:
    """Keep the decisions, count their uses and guesses, and use up their tickets.

    Raises:
        RuntimeError: a ticket was used up in spite of the recheck; nothing may be committed.
    """
    until = transaction.time + timedelta(seconds=TICKET_SECONDS)
    rows = [_row(one, index, until, transaction.time) for one, index in zip(decided, indexes, strict=True)]
    await transaction.copy("decision", _DECISION, rows)
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
    # Two checks of a batch that compare one field break the statement, as those that use one grant do: each then goes alone.
    if guessed := [(one.facts.today, *one.check.pair, field) for one in decided for field in one.guesses]:
        day, institution, identifier, field = (list(column) for column in zip(*guessed, strict=True))
        counted = {"day": day, "institution": institution, "identifier": identifier, "field": field}
        await transaction.connection.execute(_GUESS, counted)
    if redeemed := [(one.redeems, one.id) for one in decided if one.redeems is not None]:
        columns = {"ticket": [ticket for ticket, _ in redeemed], "redeemer": [redeemer for _, redeemer in redeemed]}
        if (await transaction.connection.execute(_REDEEM, columns)).rowcount != len(redeemed):
            raise RuntimeError("a ticket was redeemed twice under the lock")


def _row(one: Decided, index: int, until: datetime, now: datetime) -> tuple[object, ...]:
    check = one.check
    key = check.request_key if one.binds else None
    redeemable = check.platform is None and one.answer.outcome != "none"
    return (
        one.id,
        index,
        check.client,
        check.institution,
        check.identifier,
        key,
        check.request_hash,
        b"" if key is None else one.reply,
        ticket_terms(one),
        until if redeemable else None,
        now,
    )


def _versions(decided: Sequence[Decided]) -> dict[str, str]:
    parties: dict[str, int | None] = {}
    checks: list[dict[str, Any]] = []
    keys: list[dict[str, Any]] = []
    uses: list[dict[str, Any]] = []
    guesses: list[dict[str, Any]] = []
    tickets: list[dict[str, Any]] = []
    loans: list[dict[str, Any]] = []
    models: list[dict[str, Any]] = []
    for n, one in enumerate(decided):
        check, facts = one.check, one.facts
        parties[check.institution] = None if facts.institution is None else facts.institution.version
        if check.platform is not None:
            parties[check.platform] = None if facts.platform is None else facts.platform.version
        for conduit in check.via:
            parties[conduit] = facts.conduits[conduit].version if conduit in facts.conduits else None
        row = {
            "n": n,
            "identifier": check.identifier,
            "institution": check.institution,
            "subject": facts.subject_version,
            "grants": facts.grants_version,
        }
        checks.append(row)
        if check.request_key is not None:
            keys.append({"n": n, "key": check.request_key.hex()})
        for grant in facts.grants:
            if grant.frequency_per is not None:
                counted = period(grant.frequency_per, facts.today)
                uses.append({"n": n, "grant_id": grant.grant_id, "seq": grant.seq, "period": counted, "used": grant.used})
        # Counts of the day only rise, and only take away from what is compared: where nothing was, they change nothing.
        if facts.guesses or any(item.outcome == "verify_only" for item in one.answer.items):
            items = ",".join([asked.item for asked in check.items])
            guesses.append({**row, "items": items, "day": facts.today, "compared": sum(facts.guesses.values())})
        if facts.ticket is not None and facts.ticket.open:
            tickets.append({"n": n, "ticket": check.ticket})
        if check.loan is not None:
            loans.append({**row, "loan": check.loan, "version": None if facts.loan is None else facts.loan.version})
        if check.model is not None:
            modelled = None if facts.model_items is None else ",".join(facts.model_items)
            models.append({"n": n, "institution": check.institution, "model": check.model, "items": modelled})
    institutions = [{"id": party, "version": version} for party, version in parties.items()]
    documents = {
        "checks": checks,
        "keys": keys,
        "institutions": institutions,
        "uses": uses,
        "guesses": guesses,
        "tickets": tickets,
        "loans": loans,
        "models": models,
    }
    return {name: _encode(document).decode() for name, document in documents.items()}
