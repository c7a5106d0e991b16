"""An oracle that shares no code with the service: it reads the records in order and refuses a permit that those before it do not allow."""

from collections import Counter
from datetime import datetime, timedelta
from typing import Any

from consent_audit.record import Record

GUESSES_PER_DAY = 5
_SHANGHAI = timedelta(hours=8)


class Refuted(AssertionError):
    """A record contradicts those before it."""


def replay(records: list[Record]) -> None:
    """Hold every decision against the grants, counters and tickets recorded before it.

    Raises:
        Refuted: a permit on a grant that was not in force, over the frequency, on a spent ticket, for fields that were not
            granted, or a field compared more often than a day allows.
    """
    live: dict[tuple[str, str], dict[str, Any]] = {}
    owners: dict[str, tuple[str, str]] = {}
    used: Counter[tuple[str, str, str]] = Counter()
    guesses: Counter[tuple[str, str, str, str]] = Counter()
    permits: dict[str, dict[str, Any]] = {}
    redeemed: set[str] = set()
    ids: set[str] = set()
    for record in records:
        data = record.data
        if record.type in {"grant.approved", "grant.replaced", "grant.merged"}:
            _grant(data, live)
            owners[data["grant"]] = (data["institution"], data["subject"])
        elif record.type == "grant.narrowed":
            for identifier in data["removed"]:
                live.pop((data["grant"], identifier))
        elif record.type == "grant.revoked":
            _end(data["grant"], live)
        elif record.type == "access.decided":
            if data["id"] in ids:
                raise Refuted("two decisions have one id")
            ids.add(data["id"])
            _hold(record, live, owners)
            _count(record, live, used)
            _guess(record, guesses)
            if data["redeems"] is not None:
                _redeem(record, permits, redeemed)
            if data["attested"] == "institution":
                permits[data["id"]] = {**data, "time": record.time}


def _grant(data: dict[str, Any], live: dict[tuple[str, str], dict[str, Any]]) -> None:
    _end(data["grant"], live)
    for detail in data["details"]:
        live[data["grant"], detail["identifier"]] = detail


def _end(grant: str, live: dict[tuple[str, str], dict[str, Any]]) -> None:
    for key in [key for key in live if key[0] == grant]:
        live.pop(key)


def _hold(record: Record, live: dict[tuple[str, str], dict[str, Any]], owners: dict[str, tuple[str, str]]) -> None:
    for item in record.data["items"]:
        if item["outcome"] == "deny" or item["grant"] is None:
            continue
        detail = live.get((item["grant"], item["identifier"]))
        if detail is None or owners[item["grant"]][0] != record.data["institution"]:
            raise Refuted(f"record {record.index} permits on a grant that is not in force")
        if detail["valid_until"] <= record.time or not set(item["fields"]) <= set(detail["fields"]) or detail["item"] != item["item"]:
            raise Refuted(f"record {record.index} permits beyond its grant")


def _count(record: Record, live: dict[tuple[str, str], dict[str, Any]], used: "Counter[tuple[str, str, str]]") -> None:
    uses = {(use["grant"], use["identifier"]): use for use in record.data["uses"]}
    wanted = {
        (item["grant"], item["identifier"])
        for item in record.data["items"]
        if item["outcome"] != "deny" and item["grant"] is not None and live[item["grant"], item["identifier"]]["frequency"] is not None
    }
    if set(uses) != (wanted if record.data["platform"] is not None else set()):
        raise Refuted(f"record {record.index} counts other uses than it permits")
    for (grant, identifier), use in uses.items():
        used[grant, identifier, use["period"]] += 1
        if used[grant, identifier, use["period"]] != use["used"] or use["used"] > live[grant, identifier]["frequency"]["max"]:
            raise Refuted(f"record {record.index} counts wrongly")


def _guess(record: Record, guesses: "Counter[tuple[str, str, str, str]]") -> None:
    data, day = record.data, (datetime.fromisoformat(record.time) + _SHANGHAI).date().isoformat()
    for item in data["items"] if data["attested"] != "institution" else ():
        for field in item["fields"] if item["outcome"] == "verify_only" else ():
            guesses[day, data["institution"], data["subject"], field] += 1
            if guesses[day, data["institution"], data["subject"], field] > GUESSES_PER_DAY:
                raise Refuted(f"record {record.index} compares a field once too often")


def _redeem(record: Record, permits: dict[str, dict[str, Any]], redeemed: set[str]) -> None:
    data, permit = record.data, permits.get(record.data["redeems"])
    if permit is None or data["redeems"] in redeemed:
        raise Refuted(f"record {record.index} redeems an unknown or spent ticket")
    redeemed.add(data["redeems"])
    if any(data[name] != permit[name] for name in ("institution", "subject", "action", "purpose")):
        raise Refuted(f"record {record.index} redeems a ticket of somebody or something else")
    if (datetime.fromisoformat(record.time) - datetime.fromisoformat(permit["time"])).total_seconds() >= 300:
        raise Refuted(f"record {record.index} redeems a ticket too late")
    allowed = {item["item"]: set(item["fields"]) for item in permit["items"] if item["outcome"] != "deny"}
    for item in data["items"]:
        if item["outcome"] != "deny" and not set(item["fields"]) <= allowed.get(item["item"], set()):
            raise Refuted(f"record {record.index} redeems more than the ticket holds")
