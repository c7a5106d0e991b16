"""A ledger record: one canonical spelling of one event at one place of the ledger.

`{"v":1,"index":…,"prev":"<base64>","time":"<RFC 3339, ms, Z>","type":"…","data":{…}}` in UTF-8, no white space, at
most 65,535 bytes. Values of `data` are objects, arrays, strings, integers within ±(2^53-1), booleans and null, at most
16 levels deep; strings are escaped only where JSON demands it. Whatever re-encodes to other bytes is refused, so a
repeated key, a float, an escaped letter or a lone surrogate has no way in. The members of `data` belong to the service.
"""

import json
import re
import threading
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

_TAIL_PATTERN = (
    rb'"time":"([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z)",'
    rb'"type":"([a-z]{1,31}\.[a-z_]{1,31})","data":(?=\{)'
)
_TAIL = re.compile(_TAIL_PATTERN)
_HEAD = re.compile(rb'\{"v":1,"index":(0|[1-9][0-9]{0,15}),"prev":"([A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=)",(?=' + _TAIL_PATTERN + rb")")
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
    if len(text) > 17 or text == "-0" or not -MAX_INTEGER <= (value := int(text)) <= MAX_INTEGER:
        raise MalformedRecord("record: an integer that is not within 2^53-1 or not canonical")
    return value


class _Reader(threading.local):
    """A JSON decoder of each thread's own, that counts the members of the objects it meets."""

    def __init__(self) -> None:
        self.keys = keys = [0]

        def count(value: dict[str, Any]) -> dict[str, Any]:
            keys[0] += len(value)
            return value

        self.decode = json.JSONDecoder(object_hook=count, parse_float=_refuse, parse_int=_integer, parse_constant=_refuse).raw_decode


_reader = _Reader()
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False, check_circular=False).encode
_NOT_IN_OUTLINE = bytes(set(range(256)) - set(b'{}[]:" \\\t\n\r'))


@lru_cache(maxsize=4096)
def _outlined_keys(outline: bytes) -> int:
    """Number of members in an outline of brackets and colons; -1 if it holds anything else or nests too deeply."""
    depth = deepest = 0
    for character in outline:
        if character not in b"{}[]:":
            return -1
        depth += (character in b"{[") - (character in b"}]")
        deepest = max(deepest, depth)
    return outline.count(b":") if deepest <= MAX_DEPTH else -1


@lru_cache(maxsize=256)
def real_second(second: str) -> bool:
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
    keys = _reader.keys
    keys[0] = 0
    try:
        text = raw.decode("utf-8")
        data, end = _reader.decode(text)
    except (ValueError, RecursionError) as error:
        raise MalformedRecord("record: data is not JSON in UTF-8") from error
    if type(data) is not dict or end != len(text):
        raise MalformedRecord("record: data is not one object")
    # Quotes that stand side by side are a string without brackets, colons, blanks and escapes. If no quote is left, no
    # string holds any of those: then no blank stands between values, no string is escaped, the brackets show the depth
    # and the colons count the members as written, which a repeated key would make more than the members as read.
    # Numbers were checked while decoding, so nothing is left that could be spelled in two ways.
    if _outlined_keys(raw.translate(None, _NOT_IN_OUTLINE).replace(b'""', b"")) != keys[0]:
        _compare_encoded(raw, data)
    return data


def _compare_encoded(raw: bytes, data: dict[str, Any]) -> None:
    """The plain check, for records whose strings hold blanks, colons, brackets or escapes."""
    try:
        again = _encode(data).encode("utf-8")
    except (ValueError, RecursionError) as error:
        raise MalformedRecord("record: data holds text that UTF-8 cannot") from error
    if again != raw:
        raise MalformedRecord("record: data is not in canonical form")
    _check_depth(data)


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
    if matched is None or not real_second(matched[1]):
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
    matched = _HEAD.match(raw)
    if matched is None:
        raise MalformedRecord("record: not v, index, prev, time, type and data in canonical form")
    index, prev = matched[1].decode("ascii"), matched[2].decode("ascii")
    time, kind, data = decode_tail(raw, matched.end())
    return Record(_integer(index), parse_base64(prev), time, kind, data)


def decode_tail(raw: bytes, start: int) -> tuple[str, str, dict[str, Any]]:
    """Read a record from its member `time` on, where the caller has checked all bytes before `start`.

    Returns:
        time, type and data.

    Raises:
        MalformedRecord: the bytes are not the canonical form of a record.
    """
    matched = _TAIL.match(raw, start)
    if matched is None or raw[-1] != 0x7D:
        raise MalformedRecord("record: time, type or data is not in canonical form")
    time = matched[1].decode("ascii")
    if not real_second(time[:19]):
        raise MalformedRecord("record: time does not exist")
    return time, matched[2].decode("ascii"), decode_data(raw[matched.end() : -1])
