"""A ledger record: one canonical spelling of one event at one place of the ledger.

`{"v":1,"index":…,"prev":"<base64>","time":"<RFC 3339, ms, Z>","type":"…","data":{…}}` in UTF-8, no white space, at
most 65,535 bytes. Values of `data` are objects, arrays, strings, integers within ±(2^53-1), booleans and null, at most
16 levels deep; strings are escaped only where JSON demands it. Whatever re-encodes to other bytes is refused, so a
repeated key, a float, an escaped letter or a lone surrogate has no way in. The members of `data` belong to the service.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, NoReturn

from consent_audit.encoding import format_base64, parse_base64
from consent_audit.errors import MalformedRecord
from consent_audit.hashing import HASH_BYTES

MAX_RECORD_BYTES = 65_535
MAX_INTEGER = 2**53 - 1
MAX_DEPTH = 16
"""Containers nested in `data`, `data` itself counted."""
FIRST_PREV = bytes(HASH_BYTES)
"""`prev` of record 0."""

_HEADER = re.compile(
    rb'\{"v":1,"index":(0|[1-9][0-9]{0,15}),"prev":"([A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=)",'
    rb'"time":"([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z)",'
    rb'"type":"([a-z]{1,31}\.[a-z_]{1,31})","data":(?=\{)'
)
_TIME = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2})\.[0-9]{3}Z", re.ASCII)
_TYPE = re.compile(r"[a-z]{1,31}\.[a-z_]{1,31}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Record:
    """A record as read from its bytes. `prev` is the leaf hash of the record before it, `time` is text."""

    index: int
    prev: bytes
    time: str
    type: str
    data: dict[str, Any]


def format_time(time: datetime) -> str:
    """An aware time as `2026-11-20T08:00:00.000Z`, cut (never rounded up) to milliseconds.

    Raises:
        ValueError: a naive time.
    """
    if time.tzinfo is None:
        raise ValueError("a record's time needs a time zone")
    return time.astimezone(UTC).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


def _refuse(_: str) -> NoReturn:
    raise MalformedRecord("record: a number that is not an integer")


def _integer(text: str) -> int:
    if len(text) > 17 or not -MAX_INTEGER <= (value := int(text)) <= MAX_INTEGER:
        raise MalformedRecord("record: an integer beyond 2^53-1")
    return value


_decode = json.JSONDecoder(parse_float=_refuse, parse_int=_integer, parse_constant=_refuse).decode
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False, check_circular=False).encode


@lru_cache(maxsize=256)
def _real_second(second: str) -> bool:
    try:
        datetime.strptime(second + "+0000", "%Y-%m-%dT%H:%M:%S%z")
    except ValueError:
        return False
    return True


def _check_depth(value: dict[str, Any]) -> None:
    row: list[Any] = [value]
    for _ in range(MAX_DEPTH):
        row = [
            child
            for container in row
            for child in (container.values() if type(container) is dict else container)
            if type(child) is dict or type(child) is list
        ]
        if not row:
            return
    raise MalformedRecord("record: nested too deeply")


def decode_data(raw: bytes) -> dict[str, Any]:
    """Read the canonical bytes of a `data` object.

    Raises:
        MalformedRecord: not canonical.
    """
    try:
        data = _decode(raw.decode("utf-8"))
        again = _encode(data).encode("utf-8")
    except (ValueError, RecursionError) as error:
        raise MalformedRecord("record: data is not JSON in UTF-8") from error
    if again != raw:
        raise MalformedRecord("record: data is not in canonical form")
    if type(data) is not dict:
        raise MalformedRecord("record: data is not an object")
    _check_depth(data)
    return data


def encode_data(data: Mapping[str, Any]) -> bytes:
    """The canonical bytes of a `data` object, its keys in the order given.

    Raises:
        MalformedRecord: a value that has no canonical form (float, large integer, lone surrogate, other type).
    """
    try:
        raw = _encode(data).encode("utf-8")
    except (TypeError, ValueError, RecursionError) as error:
        raise MalformedRecord("record: a value of data has no canonical form") from error
    decode_data(raw)
    return raw


def assemble_record(index: int, prev: bytes, time: str, type: str, data: bytes) -> bytes:  # noqa: A002 (the member's name)
    """The record around `data` bytes that came from `encode_data`: cheap enough for the time under the append lock.

    Raises:
        MalformedRecord: a header value that is not allowed, or more than 65,535 bytes.
    """
    matched = _TIME.fullmatch(time)
    if not 0 <= index <= MAX_INTEGER or len(prev) != HASH_BYTES or _TYPE.fullmatch(type) is None:
        raise MalformedRecord("record: index, prev or type is not allowed")
    if matched is None or not _real_second(matched[1]):
        raise MalformedRecord("record: time is not RFC 3339 UTC with milliseconds")
    header = f'{{"v":1,"index":{index},"prev":"{format_base64(prev)}","time":"{time}","type":"{type}","data":'
    raw = header.encode("ascii") + data + b"}"
    if len(raw) > MAX_RECORD_BYTES:
        raise MalformedRecord("record: larger than 65,535 bytes")
    return raw


def encode_record(index: int, prev: bytes, time: str, type: str, data: Mapping[str, Any]) -> bytes:  # noqa: A002 (the member's name)
    """The canonical bytes of a record.

    Args:
        prev: leaf hash of the record before it; 32 zero bytes for record 0.
        time: as `format_time` writes it.

    Raises:
        MalformedRecord: it has no canonical form.
    """
    return assemble_record(index, prev, time, type, encode_data(data))


def decode_record(raw: bytes) -> Record:
    """Read a record strictly.

    Raises:
        MalformedRecord: the bytes are not the canonical form of a record.
    """
    if len(raw) > MAX_RECORD_BYTES:
        raise MalformedRecord("record: larger than 65,535 bytes")
    matched = _HEADER.match(raw)
    if matched is None or raw[-1] != 0x7D:
        raise MalformedRecord("record: not v, index, prev, time, type and data in canonical form")
    index, prev, time, kind = (group.decode("ascii") for group in matched.groups())
    if not _real_second(time[:19]):
        raise MalformedRecord("record: time does not exist")
    return Record(_integer(index), parse_base64(prev), time, kind, decode_data(raw[matched.end() : -1]))
