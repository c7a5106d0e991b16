"""Gathering what a batch of checks is judged on: one query for the batch, at one instant of the database's clock.

Institutions change seldom, so each process keeps them by version; the recheck under the ledger's lock (store.py) compares versions, so a
stale one costs a second round and never a wrong answer. Everything here is fact: nothing is left out or added by what it would lead to.
"""

import secrets
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple, Self

import msgspec
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from consent.clock import SHANGHAI, shanghai_day, to_ms
from consent.decisions.model import UNKNOWN, Check, Facts, GrantItem, Known, Loan, Recorded, Ticket
from consent.grants.model import Detail
from consent.parties import store as parties

# One row for each granted item of a check, at least one for each check; the granted item's columns are those of GrantItem and come last.
# The instant is the later of the database's clock and the newest record's time, because the decision's own record will not be earlier.
_FACTS = text("""
    with instant as materialized (
      select date_trunc('milliseconds', greatest(clock_timestamp(), (select time from ledger_record order by idx desc limit 1))) as now
    ), today as materialized (
      select now, to_char(now at time zone 'UTC' + interval '8 hours', 'YYYY-MM-DD') as day from instant
    )
    select a.n, today.now, s.version as subject_version, s.level, s.status, p.pseudonym,
           (select sum(c.version) from consent_grant c where c.enterprise_id = s.id and c.institution_id = a.institution) as grants_version,
           l.phase, l.product, l.version as loan_version, m.items as model_items,
           t.id as ticket_id, cast(t.ticket as text) as ticket, t.ticket_until, t.institution_id as ticket_institution,
           t.identifier as ticket_identifier, t.redeemed_by, d.request_hash, d.response, d.idx, r.leaf,
           (select cast(json_object_agg(u.field, u.compared) as text) from guess u
             where u.day = today.day and u.institution_id = a.institution and u.identifier = a.identifier
               and split_part(u.field, '.', 1) = any(string_to_array(a.items, ','))) as guesses, g.*
      from json_to_recordset(cast(:checks as json)) as a (n int, institution text, identifier text, items text, loan text, model text,
                                                          ticket text, request_key text)
     cross join today
      left join subject s on s.uscc = a.identifier
      left join pseudonym p on p.institution_id = a.institution and p.identifier = a.identifier
      left join lateral (
        select c.subject_id = c.enterprise_id or exists (select from person_link k join subject o on o.id = k.person_id
                 where k.person_id = c.subject_id and k.enterprise_id = c.enterprise_id and k.ended_at is null
                   and o.level = 'real_name' and o.status = 'active') as counts,
               i.grant_id, i.seq, c.granted_by, c.status as grant_status, i.item, i.status as item_status, i.action, i.purpose,
               i.product as granted_product, i.fields, cast(i.data_from as text) as data_from,
               cast(extract(epoch from i.valid_until) * 1000 as bigint) as valid_until, i.frequency_max, i.frequency_per,
               coalesce((select u.used from grant_use u where u.grant_id = i.grant_id and u.seq = i.seq and u.period =
                 case i.frequency_per when 'day' then today.day when 'month' then left(today.day, 7) else 'total' end), 0) as used,
               i.via, i.processor, i.retention_days
          from consent_grant c join grant_item i on i.grant_id = c.id
         where c.enterprise_id = s.id and c.institution_id = a.institution and i.item = any(string_to_array(a.items, ','))
      ) g on true
      left join loan l on l.institution_id = a.institution and l.id = a.loan and l.subject_id = s.id
      left join model m on m.id = a.model and m.institution_id = a.institution and m.status = 'active'
      left join decision t on t.id = a.ticket
      left join decision d on d.request_key = decode(a.request_key, 'hex')
      left join ledger_record r on r.idx = d.idx
     order by a.n
""")

_REGISTERED = text("select id from institution where id = any(:ids)")

_encode = msgspec.json.Encoder().encode
_GRANT_COLUMNS = len(GrantItem.__struct_fields__)
_ticket = msgspec.json.Decoder(dict[str, Any])
_guesses = msgspec.json.Decoder(dict[str, int])


class Instant(NamedTuple):
    """The batch's moment: ms since the epoch, its day in Asia/Shanghai, and the end of that day, when counting and `today` move on."""

    now: int
    today: str
    midnight: int

    @classmethod
    def of(cls, at: datetime) -> Self:
        """What `at` means."""
        day = at.astimezone(SHANGHAI).replace(hour=0, minute=0, second=0, microsecond=0)
        return cls(to_ms(at), shanghai_day(at), to_ms(day + timedelta(days=1)))


class FactSource:
    """Reads facts for batches; keeps institutions by version."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine.execution_options(isolation_level="AUTOCOMMIT")
        self._known: dict[str, Known] = {}

    def forget(self, institution_ids: Iterable[str]) -> None:
        """Read these institutions anew next time: one of them changed."""
        for institution_id in institution_ids:
            self._known.pop(institution_id, None)

    async def gather(self, checks: Sequence[Check]) -> list[Facts]:
        """The facts of each check, in order.

        Raises:
            sqlalchemy.exc.DBAPIError, OSError: as the database answered.
        """
        async with self._engine.connect() as connection:
            known = await self._institutions(connection, checks)
            pairs = [(pseudonym_owner(check, known), check.identifier) for check in checks]
            found = (await connection.execute(_FACTS, _parameters(checks, pairs))).all()
            rows = {row.n: row for row in found}
            pseudonyms = await _complete(connection, pairs, [rows[n].pseudonym for n in range(len(checks))])
        grants: dict[int, list[GrantItem]] = {n: [] for n in rows}
        uncounted: dict[int, dict[str, None]] = {}
        for row in found:
            if row.counts:
                grants[row.n].append(GrantItem(*row[-_GRANT_COLUMNS:]))
            elif row.grant_id is not None:
                uncounted.setdefault(row.n, {})[row.grant_id] = None
        instant = Instant.of(found[0].now)
        return [
            _facts(check, known, instant, rows[n], grants[n], tuple(uncounted.get(n, ())), pseudonyms[n]) for n, check in enumerate(checks)
        ]

    async def _institutions(self, connection: AsyncConnection, checks: Sequence[Check]) -> dict[str, Known]:
        asked = {party for check in checks for party in check.parties}
        if missing := asked.difference(self._known):
            # Ids that nobody registered are never kept, and cost one statement however many there are.
            registered = (await connection.execute(_REGISTERED, {"ids": list(missing)})).scalars().all()
            for institution_id in registered:
                known = await _load(connection, institution_id)
                if known is not None:
                    self._known[institution_id] = known
        return {institution_id: self._known[institution_id] for institution_id in asked if institution_id in self._known}


def pseudonym_owner(check: Check, known: dict[str, Known]) -> str:
    """For whom the enterprise gets a pseudonym: institutions that nobody registered share one."""
    return check.institution if check.institution in known else UNKNOWN


def policy_input(key: str, check: Check, facts: Facts) -> dict[str, Any]:
    """One check as the policies take it. Times in ms since the epoch, days as YYYY-MM-DD."""
    return {
        "key": key,
        "now": facts.now,
        "today": facts.today,
        "action": check.action,
        "purpose": check.purpose,
        "product": check.product,
        "loan": None if facts.loan is None else {"phase": facts.loan.phase, "product": facts.loan.product},
        "model": None if check.model is None else {"registered": facts.model_items is not None, "items": facts.model_items or []},
        "processor": check.processor,
        "via": check.via,
        "service": check.service,
        "channel": check.channel,
        "data_from": check.data_from,
        "data_to": check.data_to,
        "caller": {"kind": "institution" if check.platform is None else "platform", "attested": check.attested},
        "institution": None if facts.institution is None else facts.institution.facts,
        "platform": None if facts.platform is None else facts.platform.platform,
        "conduits": {name: conduit.facts for name, conduit in facts.conduits.items()},
        "terminal": facts.terminal,
        "subject": {"verified": facts.verified},
        "ticket": None if facts.ticket is None else {"valid": facts.ticket.open, "items": facts.ticket.items},
        "disputed": facts.disputed,
        "guesses": facts.guesses,
        "items": [{"item": asked.item, "fields": asked.fields, "claimed": asked.claimed} for asked in check.items],
        "grants": [_grant_input(grant) for grant in facts.grants],
    }


def request_input(
    key: str,
    now: int,
    institution: dict[str, Any] | None,
    details: Sequence[Detail],
    allowed_items: Sequence[str] | None = None,
    allowed_purposes: Sequence[str] | None = None,
) -> dict[str, Any]:
    """One authorization request as the policies take it. `now` in ms since the epoch, `institution` as `Institution.facts()`."""
    return {
        "key": key,
        "now": now,
        "today": shanghai_day(datetime.fromtimestamp(now / 1000, UTC)),
        "institution": institution,
        "details": [detail.to_policy() for detail in details],
        "allowed_items": allowed_items,
        "allowed_purposes": allowed_purposes,
    }


def _grant_input(grant: GrantItem) -> dict[str, Any]:
    return {
        "grant_id": grant.grant_id,
        "identifier": grant.identifier,
        "by": grant.by,
        "status": grant.status,
        "item": grant.item,
        "item_status": grant.item_status,
        "action": grant.action,
        "purpose": grant.purpose,
        "product": grant.product,
        "fields": grant.fields,
        "data_from": grant.data_from,
        "valid_until": grant.valid_until,
        "frequency": None if grant.frequency_max is None else {"max": grant.frequency_max, "per": grant.frequency_per},
        "used": grant.used,
        "via": grant.via,
        "processor": grant.processor,
        "retention_days": grant.retention_days,
    }


async def _load(connection: AsyncConnection, institution_id: str) -> Known | None:
    institution = await parties.institution(connection, institution_id)
    if institution is None:
        return None
    edges = tuple(to_ms(at) for at in (institution.assessed_from, institution.assessed_until) if at is not None)
    facts = institution.facts()
    return Known(institution.version, facts, {**facts, "own_items": list(institution.own_items)}, edges)


def _parameters(checks: Sequence[Check], pairs: Sequence[tuple[str, str]]) -> dict[str, str]:
    """One JSON document: the driver encodes a text in no time, but arrays element by element."""
    asked = []
    for n, (check, (owner, identifier)) in enumerate(zip(checks, pairs, strict=True)):
        row = {"n": n, "institution": owner, "identifier": identifier, "items": ",".join([part.item for part in check.items])}
        for name in ("loan", "model", "ticket"):
            if (value := getattr(check, name)) is not None:
                row[name] = value
        if check.request_key is not None:
            row["request_key"] = check.request_key.hex()
        asked.append(row)
    return {"checks": _encode(asked).decode()}


async def _complete(connection: AsyncConnection, pairs: Sequence[tuple[str, str]], names: Sequence[str | None]) -> list[str]:
    """Pseudonyms for all: an enterprise that nobody registered gets one like any other, so that nothing tells them apart.

    A crash after this leaves a pseudonym that no record uses yet; the next check of the pair uses it.
    """
    missing = sorted({pair for pair, name in zip(pairs, names, strict=True) if name is None})
    if not missing:
        return [name for name in names if name is not None]
    await parties.insert_pseudonyms(connection, [(*pair, f"p_{secrets.token_urlsafe(16)}") for pair in missing])
    made = await parties.pseudonyms(connection, missing)
    return [name or made[pair] for pair, name in zip(pairs, names, strict=True)]


def _facts(
    check: Check, known: dict[str, Known], instant: Instant, row: Any, grants: list[GrantItem], uncounted: tuple[str, ...], pseudonym: str
) -> Facts:
    now = instant.now
    institution = known.get(check.institution)
    platform = None if check.platform is None else known.get(check.platform)
    ticket = None if check.ticket is None else _read_ticket(check, row, now)
    conduits = {name: known[name] for name in check.via if name in known}
    edges = [instant.midnight, *(grant.valid_until for grant in grants)]
    for party in (institution, platform, *conduits.values()):
        if party is not None:
            edges.extend(party.edges)
    if ticket is not None:
        edges.append(ticket.until)
    return Facts(
        now=now,
        today=instant.today,
        institution=institution,
        platform=platform,
        subject_version=row.subject_version,
        # An enterprise that never registered answers like one that granted nothing, so it counts as verified (design §3.10).
        verified=row.subject_version is None or (row.level == "real_name" and row.status == "active"),
        pseudonym=pseudonym,
        grants=grants,
        uncounted=uncounted,
        terminal=check.terminal,
        conduits=conduits,
        guesses={} if row.guesses is None else _guesses.decode(row.guesses),
        grants_version=int(row.grants_version or 0),
        loan=None if row.phase is None else Loan(row.phase, row.product, row.loan_version),
        model_items=row.model_items,
        ticket=ticket,
        recorded=None if row.request_hash is None else Recorded(row.request_hash, row.response, row.idx, row.leaf),
        valid_before=min(edge for edge in edges if edge > now),
    )


def _read_ticket(check: Check, row: Any, now: int) -> Ticket:
    """The ticket as far as it is this check's: a foreign, spent or unknown one tells nothing of what it was for."""
    if row.ticket is None or row.ticket_until is None:
        return Ticket(open=False, until=0, items={}, known=row.ticket_id is not None)
    terms, until = _ticket.decode(row.ticket), to_ms(row.ticket_until)
    same = (row.ticket_institution, row.ticket_identifier, terms["action"], terms["purpose"]) == (*check.pair, check.action, check.purpose)
    if not same or row.redeemed_by is not None or until <= now:
        return Ticket(open=False, until=0, items={})
    return Ticket(open=True, until=until, items=terms["items"])
