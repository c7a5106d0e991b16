"""Reading `authorization_details` (RFC 9396 §2) as strictly as JSON allows: what two parsers could understand in two ways is refused.

Only the form is judged here. Whether an item, field or purpose exists and is necessary is the policy's to say, per detail and with a
code; a malformed parameter is refused as a whole, without one.
"""

import json
import re
from datetime import UTC, datetime
from typing import Any

import msgspec
from msgspec import UNSET

from consent.errors import InvalidRequest
from consent.grants.model import Detail

MAX_BYTES = 65_536
MAX_DETAILS = 80

_PLACE = re.compile(r"\$(?:\[[0-9]+\]|\.[a-z_]+)*")
_EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
_LATEST = datetime(2200, 1, 1, tzinfo=UTC)


def parse_details(body: str | bytes) -> tuple[Detail, ...]:
    """The details of a request, as received: `identifier` and `fields` may still be absent.

    Raises:
        InvalidRequest: `invalid_authorization_details`: not an array of 1 to 80 details, an unknown, repeated or malformed member, a
            list with a repeated word, two details with one identifier or for one item, purpose and action, an instant before 2000 or
            after 2199. The message names the member, never its value.
    """
    if len(body) > MAX_BYTES:
        raise _invalid("at most 64 kB")
    try:
        value = json.loads(body, object_pairs_hook=_object, parse_constant=_refuse_constant)
        details = msgspec.convert(value, tuple[Detail, ...], strict=True)
    except msgspec.ValidationError as error:
        # The path at the end is made of our member names and positions. What stands before it may be a word of the caller, written so
        # as to look like a path.
        place = str(error).rpartition(" - at `")[2].rstrip("`")
        raise _invalid("known members of the right shape", place if _PLACE.fullmatch(place) else None) from None
    except (ValueError, RecursionError):
        raise _invalid("JSON, each member once") from None
    if not 1 <= len(details) <= MAX_DETAILS:
        raise _invalid("1 to 80 details")
    for position, detail in enumerate(details):
        _check(detail, f"[{position}]")
    _check_distinct(details)
    return details


def _check(detail: Detail, place: str) -> None:
    try:
        in_range = _EARLIEST <= detail.valid_until < _LATEST
    except OverflowError:
        in_range = False
    if not in_range:
        raise _invalid("an instant from 2000 to 2199", f"{place}.valid_until")
    if detail.data_from is not UNSET and not _EARLIEST.date().replace(year=1900) <= detail.data_from < _LATEST.date():
        raise _invalid("a day from 1900 to 2199", f"{place}.data_from")
    if detail.fields is not UNSET and len(set(detail.fields)) != len(detail.fields):
        raise _invalid("each field once", f"{place}.fields")
    if len(set(detail.via)) != len(detail.via):
        raise _invalid("each conduit once", f"{place}.via")


def _check_distinct(details: tuple[Detail, ...]) -> None:
    # A detail without an identifier is given one from its position, which must not be another's either.
    names = [detail.identifier or f"d{position}" for position, detail in enumerate(details, 1)]
    if len(set(names)) != len(names):
        raise _invalid("identifiers that differ")
    if len({detail.key for detail in details}) != len(details):
        raise _invalid("one detail for each item, purpose and action")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("a member twice")
    return value


def _refuse_constant(name: str) -> None:
    raise ValueError(name)


def _invalid(rule: str, member: str | None = None) -> InvalidRequest:
    return InvalidRequest(
        "授权明细（authorization_details）格式不正确。",
        f"The authorization details are malformed. Needed: {rule}.",
        code="invalid_authorization_details",
        member="authorization_details" if not member else f"authorization_details{member.removeprefix('$')}",
    )
