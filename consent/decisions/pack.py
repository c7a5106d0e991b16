"""The policies' input, packed: what the checks of a batch have in common stands once.

Reading the input was the greater part of what a decision cost, so it holds as little as possible. A check as `facts.policy_input` makes
it is taken apart into a question (who asks what, apart from grants), the terms of each granted item, and how long and how often they
may still be used. Equal questions, terms and cases stand once in a batch and are judged once. Nothing is left out or added by what it
would lead to: `unpack` puts every answer back to its check, with what the engine left to be looked up.

The document:
    now, today   of the batch
    parties      [{id, kind, status, agreement, assessed_from, assessed_until, purposes, own_items?}]: institutions, platforms, conduits
    questions    [{institution?, way, verified, action, purpose, product, items [item], offers, terms {item: [place]}, more}]
                 way: [caller, attested, terminal, service]; offers: the institution's products that the question or a term names;
                 more: whatever most questions do not have: platform, fields, claimed, ticket, loan, model, processor, via, hops,
                 channel, data_from, data_to, disputed, guesses
    terms        [{head, by, item, fields, …}]; fields: null for all of the item; head: [status, item_status, action, purpose, product]
    cases        [{question, held {item: [[line, place of terms]]}}]
    ends         [[until, used, most]]: how long and how often a granted item may be used; one without frequency stands as 0 of 1
    spans        [[[end, [line]]]]: the lines of a case by their end
    checks       [[case, span]]
A line is the place of a granted item in the order of grant_id and identifier, from 1000: all lines have the same count of digits.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

FIRST_LINE = 1000
NO_LINE = 9999
_STANDING = ("id", "kind", "status", "agreement", "assessed_from", "assessed_until", "purposes", "own_items")
_DETAIL = ("identifier", "item", "action", "purpose", "product", "fields", "data_from", "valid_until", "frequency", "retention_days")
_DEED = {"lacks", "full", "outcome", "basis", "fields", "withheld", "obligations", "offered", "retain_days"}
_encode = msgspec.json.Encoder().encode


Span = tuple[tuple[int, tuple[int, ...]], ...]
"""Ends with the lines that they are the end of."""


class Packed(NamedTuple):
    """A batch's document, and for each check its case, question and span, and its granted items in the order of their lines."""

    document: bytes
    places: list[tuple[int, int, Span]]
    lines: list[list[dict[str, Any]]]


class _Once:
    """Values that stand once, in the order of their first appearance, encoded."""

    def __init__(self) -> None:
        self._places: dict[bytes, int] = {}

    def place(self, value: object) -> int:
        return self._places.setdefault(_encode(value), len(self._places))

    def array(self) -> bytes:
        return b"[" + b",".join(self._places) + b"]"


def pack(checks: Sequence[dict[str, Any]], items: dict[str, Any]) -> Packed:
    """The document of checks that all have the same `now`; `items` are the catalogue's, as the policies have them.

    Raises:
        KeyError: a check lacks a member; a missing fact decides nothing.
    """
    parties, terms, ends, spans = _Once(), _Once(), _Once(), _Once()
    questions: dict[bytes, dict[str, Any]] = {}
    cases = _Once()
    pairs: list[tuple[int, int]] = []
    places: list[tuple[int, int, Span]] = []
    lines: list[list[dict[str, Any]]] = []
    for check in checks:
        held = sorted(check["grants"], key=_order)
        by_item: dict[str, list[tuple[int, int]]] = {}
        for line, grant in enumerate(held, FIRST_LINE):
            by_item.setdefault(grant["item"], []).append((line, terms.place(_terms(grant, items))))
        question = _question(check, parties)
        known = questions.setdefault(_encode(question), {"place": len(questions), "question": question, "terms": {}})
        for item, entries in by_item.items():
            known["terms"].setdefault(item, {}).update((place, None) for _, place in entries)
        by_end: dict[int, list[int]] = {}
        for line, grant in enumerate(held, FIRST_LINE):
            by_end.setdefault(ends.place(_end(grant)), []).append(line)
        span = tuple((end, tuple(of_end)) for end, of_end in by_end.items())
        case = cases.place({"question": known["place"], "held": by_item})
        pairs.append((case, spans.place(span)))
        places.append((case, known["place"], span))
        lines.append(held)
    document = b'{"now":%b,"today":%b,"parties":%b,"questions":%b,"terms":%b,"cases":%b,"ends":%b,"spans":%b,"checks":%b}' % (
        _encode(checks[0]["now"]),
        _encode(checks[0]["today"]),
        parties.array(),
        _encode([{**known["question"], "terms": {i: list(t) for i, t in known["terms"].items()}} for known in questions.values()]),
        terms.array(),
        cases.array(),
        ends.array(),
        spans.array(),
        _encode(pairs),
    )
    return Packed(document, places, lines)


def pack_requests(requests: Sequence[dict[str, Any]]) -> bytes:
    """The document of authorization requests that all have the same `now`: every detail is a question of its own.

    Raises:
        KeyError: a request or a detail lacks a member.
        ValueError: the requests are of different moments.
    """
    if len({request["now"] for request in requests}) != 1:
        raise ValueError
    parties = _Once()
    questions = []
    for place, request in enumerate(requests):
        institution = request["institution"]
        for detail in request["details"]:
            question = {
                **{member: detail[member] for member in _DETAIL},
                "request": place,
                "way": (),
                "items": (detail["item"],),
                "offers": {} if institution is None else _offers(institution["products"], {detail["product"]}),
                "more": {},
                "allowed_items": request["allowed_items"],
                "allowed_purposes": request.get("allowed_purposes"),
            }
            if institution is not None:
                question["institution"] = _party(institution, parties)
            questions.append(question)
    return b'{"now":%b,"today":%b,"parties":%b,"questions":%b,"requests":%b}' % (
        _encode(requests[0]["now"]),
        _encode(requests[0]["today"]),
        parties.array(),
        _encode(questions),
        _encode([{"key": request["key"], "count": len(request["details"])} for request in requests]),
    )


def unpack(packed: Packed, checks: Sequence[dict[str, Any]], reply: Any, table: dict[str, Any]) -> list[dict[str, Any]]:
    """An answer for each check, whole.

    Raises:
        KeyError, IndexError, TypeError, ValueError: the reply does not fit what was asked.
    """
    reached = {int(end): (tuple(hurdle)) for end, hurdle in reply["reached"].items()}
    trials = {(trial["case"], _groups(trial["usable"]), _over(trial["over"])): trial for trial in reply["trials"]}
    if len(trials) != len(reply["trials"]) or any(
        not deed.keys() <= _DEED for deeds in reply["yields"].values() for deed in deeds.values()
    ):
        raise ValueError
    answers = []
    for check, (case, question, span), held in zip(checks, packed.places, packed.lines, strict=True):
        usable = tuple(lines for end, lines in span if end not in reached)
        over = tuple((reached[end], lines) for end, lines in span if end in reached)
        answers.append(_answer(check, question, trials[case, usable, over], held, reply, table))
    return answers


def _groups(groups: list[list[int]]) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(lines) for lines in groups)


def _over(over: list[Any]) -> tuple[Any, ...]:
    return tuple((tuple(hurdle), tuple(lines)) for hurdle, lines in over)


def _answer(
    check: dict[str, Any], question: int, trial: dict[str, Any], held: list[dict[str, Any]], reply: Any, table: dict[str, Any]
) -> dict[str, Any]:
    rows = table.get(check["purpose"], {})
    yields, reasons = reply["yields"][str(question)], reply["reasons"].get(str(question), {})
    items = []
    for asked in check["items"]:
        code = asked["item"]
        if code in trial["denied"]:
            item = _denied(code, trial["denied"][code])
        else:
            _, line, key = trial["given"][code]
            grant = None if line == NO_LINE else held[line - FIRST_LINE]
            item = _given(code, yields[str(key)], sorted(reasons.get(str(key), ())), rows[code], grant)
        item["flags"] = ["disputed"] if code in check["disputed"] else []
        items.append(item)
    return {
        "key": check["key"],
        "revision": reply["revision"],
        "decision": trial["decision"],
        "outcome": trial["outcome"],
        "codes": sorted({code for item in items for code in item["codes"]}),
        "items": items,
    }


def _denied(code: str, codes: list[str]) -> dict[str, Any]:
    return {
        "item": code,
        "outcome": "deny",
        "basis": None,
        "grant_id": None,
        "identifier": None,
        "fields": [],
        "withheld": [],
        "codes": codes,
        "obligations": [],
    }


def _given(code: str, deed: dict[str, Any], codes: list[str], row: dict[str, Any], grant: dict[str, Any] | None) -> dict[str, Any]:
    fields = deed.get("fields", row["givable"])
    obligations = deed.get("obligations", [])
    if "retain_days" in deed:
        obligations = [*obligations, {"code": "retain_days", "fields": fields, "value": deed["retain_days"]}]
    return {
        "item": code,
        "outcome": deed["outcome"],
        "basis": deed["basis"],
        "grant_id": None if grant is None else grant["grant_id"],
        "identifier": None if grant is None else grant["identifier"],
        "fields": fields,
        "withheld": deed.get("withheld", row["remainder"]),
        "codes": codes if deed.get("withheld") or (deed["outcome"] == "verify_only") else [],
        "obligations": obligations,
    }


def _order(grant: dict[str, Any]) -> tuple[str, str]:
    return grant["grant_id"], grant["identifier"]


def _end(grant: dict[str, Any]) -> tuple[Any, int, int]:
    frequency = grant["frequency"]
    return (grant["valid_until"], 0, 1) if frequency is None else (grant["valid_until"], grant["used"], frequency["max"])


def _question(check: dict[str, Any], parties: _Once) -> dict[str, Any]:
    institution, platform = check["institution"], check["platform"]
    more = {name: check[name] for name in ("ticket", "model", "processor", "channel", "data_from", "data_to") if check[name] is not None}
    more |= {name: check[name] for name in ("disputed", "guesses") if check[name]}
    for name in ("fields", "claimed"):
        if named := {asked["item"]: sorted(asked[name]) for asked in check["items"] if asked[name] is not None}:
            more[name] = named
    if platform is not None:
        more["platform"] = _party(platform, parties)
    if check["via"]:
        more["via"] = check["via"]
        more["hops"] = {name: _party(conduit, parties) for name, conduit in check["conduits"].items()}
    if check["loan"] is not None:
        more["loan"] = check["loan"]
    question = {
        "way": (check["caller"]["kind"], check["caller"]["attested"], check["terminal"], check["service"]),
        "verified": check["subject"]["verified"],
        "action": check["action"],
        "purpose": check["purpose"],
        "product": check["product"],
        "items": [asked["item"] for asked in check["items"]],
        "offers": {},
        "more": more,
    }
    if institution is not None:
        question["institution"] = _party(institution, parties)
        question["offers"] = _offers(institution["products"], {check["product"], *(grant["product"] for grant in check["grants"])})
    return question


def _party(facts: dict[str, Any], parties: _Once) -> int:
    """The place of a party, by what its standing rests on."""
    return parties.place({member: facts[member] for member in _STANDING if member in facts})


def _offers(products: dict[str, Any], named: set[str | None]) -> dict[str, Any]:
    return {product: products[product] for product in sorted(product for product in named if product is not None) if product in products}


def _terms(grant: dict[str, Any], items: dict[str, Any]) -> dict[str, Any]:
    item = items.get(grant["item"])
    terms = {
        "head": (grant["status"], grant["item_status"], grant["action"], grant["purpose"], grant["product"]),
        "by": grant["by"],
        "item": grant["item"],
        "fields": None if item is not None and item["fields"].keys() == set(grant["fields"]) else sorted(grant["fields"]),
    }
    for name in ("data_from", "processor"):
        if grant[name] is not None:
            terms[name] = grant[name]
    if grant.get("retention_days") is not None:
        terms["retention_days"] = grant["retention_days"]
    if grant["via"]:
        terms["via"] = grant["via"]
    return terms
