"""Recorded decisions as the questions that they answered: `Check` and `Facts`, rebuilt from the records before them."""

from collections import Counter
from collections.abc import Callable
from datetime import datetime
from typing import Any

from msgspec import Struct

from consent.decisions.facts import Instant
from consent.decisions.model import UNKNOWN, Asked, Check, Facts, GrantItem, Known, Loan, Ticket
from consent.parties.model import Institution, Model, Product
from consent_audit.record import Record
from consent_audit.replay.machine import Machine
from consent_audit.replay.times import day, period
from consent_audit.replay.times import to_ms as instant_ms
from consent_audit.replay.values import Grant, Party

_PAIR = tuple[str, str]


class PastDecision(Struct, frozen=True, kw_only=True, gc=False):
    """One `access.decided` with the question behind it.

    policy  the revision that answered
    data    the record's data
    """

    index: int
    time: str
    policy: str
    check: Check
    facts: Facts
    data: dict[str, Any]


class Rebuilder:
    """Takes records in order; of each decision it says what was asked and known, before the record counts.

    Args:
        blob: a document by its SHA-256.
        recall: type and data of an earlier record by its index.
    """

    def __init__(self, blob: Callable[[str], bytes], recall: Callable[[int], tuple[str, dict[str, Any]]]) -> None:
        self.machine = Machine(blob, recall, forget=False)
        self._grants: dict[_PAIR, list[str]] = {}
        self._guesses: dict[_PAIR, tuple[str, Counter[str]]] = {}
        self._known: dict[str, tuple[int, Known]] = {}

    def take(self, record: Record, *, wanted: bool) -> PastDecision | None:
        """The decision that this record is, if it is one and wanted; then the record counts."""
        found = None
        data = record.data
        if record.type == "access.decided" and wanted:
            self.machine.state.advance(record.time)
            found = PastDecision(
                index=record.index,
                time=record.time,
                policy=data["policy"],
                check=_check(data),
                facts=self._facts(record.time, data),
                data=data,
            )
        self.machine.apply(record)
        if record.type == "grant.approved":
            self._grants.setdefault((data["institution"], data["subject"]), []).append(data["grant"])
        elif record.type == "access.decided" and data["platform"] is not None:
            self._count_guesses(record.time, data)
        return found

    def _count_guesses(self, time: str, data: dict[str, Any]) -> None:
        """A field in an item that a platform's check got as match or no match is a guess, counted by day."""
        fields = [field for line in data["items"] if line["outcome"] == "verify_only" for field in line["fields"]]
        if fields:
            pair, today = (data["institution"], data["subject"]), day(time)
            if self._guesses.get(pair, ("",))[0] != today:
                self._guesses[pair] = today, Counter()
            self._guesses[pair][1].update(fields)

    def _facts(self, time: str, data: dict[str, Any]) -> Facts:
        state, told, pair = self.machine.state, data["told"], (data["institution"], data["subject"])
        instant = Instant.of(datetime.fromisoformat(time))
        asked = {line["item"] for line in data["items"]}
        uncounted = set(told["uncounted"])
        grants = [
            item
            for grant_id in self._grants.get(pair, ())
            if grant_id not in uncounted
            for item in _grant_items(grant_id, state.grants[grant_id], asked, time)
        ]
        party = state.parties.get(data["institution"])
        model = None if party is None or data["model"] is None else party.models.get(data["model"])
        today, guesses = self._guesses.get(pair, ("", Counter()))
        loan = told["loan"]
        return Facts(
            now=instant.now,
            today=instant.today,
            institution=self._party(data["institution"]),
            platform=None if data["platform"] is None else self._party(data["platform"]),
            subject_version=0,
            verified=told["verified"],
            pseudonym=data["subject"],
            grants=grants,
            grants_version=0,
            loan=None if loan is None else Loan(loan["phase"], loan["product"], 0),
            model_items=None if model is None else sorted(model),
            ticket=None if data["ticket"] is None else self._ticket(data, instant.now),
            recorded=None,
            valid_before=instant.midnight,
            terminal=told["terminal"],
            conduits={hop: known for hop in data["via"] if (known := self._party(hop)) is not None},
            guesses=dict(guesses) if today == instant.today else {},
        )

    def _ticket(self, data: dict[str, Any], now: int) -> Ticket:
        ticket = self.machine.state.tickets.get(data["ticket"])
        same = ticket is not None and (ticket.institution, ticket.subject, ticket.action, ticket.purpose) == (
            data["institution"],
            data["subject"],
            data["action"],
            data["purpose"],
        )
        if ticket is None or not same or ticket.redeemed is not None or ticket.until_ms <= now:
            return Ticket(open=False, until=0, items={}, known=data["ticket"] != UNKNOWN)
        return Ticket(open=True, until=ticket.until_ms, items={item: sorted(fields) for item, fields in ticket.fields.items()})

    def _party(self, name: str) -> Known | None:
        party = self.machine.state.parties.get(name)
        if party is None:
            return None
        index, known = self._known.get(name, (-1, None))
        if known is None or index != party.index:
            facts = _institution(name, party).facts()
            known = Known(party.index, facts, {**facts, "own_items": sorted(party.own_items)}, ())
            self._known[name] = party.index, known
        return known


def _institution(name: str, party: Party) -> Institution:
    """The institution as registered, but for the names, which no record holds. Its words are those of a record, whose form was checked."""
    return Institution(
        id=name,
        kind=party.kind,  # type: ignore[arg-type]
        uscc="",
        name_zh="",
        name_en="",
        status=party.status,  # type: ignore[arg-type]
        agreement=party.data["agreement"],
        assessed_from=None if party.assessed_from is None else datetime.fromisoformat(party.assessed_from),
        assessed_until=None if party.assessed_until is None else datetime.fromisoformat(party.assessed_until),
        purposes=tuple(party.data["purposes"]),
        own_items=tuple(party.data["own_items"]),
        products=tuple(
            Product(
                code=product["code"],
                name_zh="",
                name_en="",
                purposes=tuple(product["purposes"]),
                items=None if product["items"] is None else tuple(product["items"]),
            )
            for product in party.data["products"]
        ),
        models=tuple(Model(id=model["model"], name_zh="", name_en="", items=tuple(model["items"])) for model in party.data["models"]),
    )


def _check(data: dict[str, Any]) -> Check:
    return Check(
        client=data["client"],
        platform=data["platform"],
        institution=data["institution"],
        identifier=data["subject"],
        action=data["action"],
        purpose=data["purpose"],
        product=data["product"],
        loan=data["loan"],
        model=data["model"],
        processor=data["processor"],
        via=tuple(data["via"]),
        items=tuple(Asked(line["item"], _fields(line["fields_requested"]), _fields(line["claimed"])) for line in data["items"]),
        data_from=data["data_from"],
        data_to=data["data_to"],
        request_id=None,
        ticket=data["ticket"],
        request_key=None,
        request_hash=b"",
        service=data["service"],
        channel=data["channel"],
    )


def _fields(fields: list[str] | None) -> tuple[str, ...] | None:
    return None if fields is None else tuple(fields)


def _grant_items(grant_id: str, grant: Grant, asked: set[str], time: str) -> list[GrantItem]:
    found = []
    for identifier, detail in grant.everything().items():
        if detail.item in asked:
            ended = grant.status == "revoked" or identifier not in grant.details
            found.append(
                GrantItem(
                    grant_id,
                    int(identifier[1:]),
                    grant.by,
                    grant.status,
                    detail.item,
                    "revoked" if ended else "active",
                    detail.action,
                    detail.purpose,
                    detail.product,
                    sorted(detail.fields),
                    detail.data_from,
                    instant_ms(detail.valid_until),
                    detail.most if detail.per is not None else None,
                    detail.per,
                    0 if detail.per is None else detail.counted(period(detail.per, time)),
                    list(detail.via),
                    detail.processor,
                    detail.retention_days,
                )
            )
    return found
