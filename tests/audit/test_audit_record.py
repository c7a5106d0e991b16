"""Records: one spelling each, and nothing that a second program could read differently."""

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consent_audit.errors import MalformedRecord
from consent_audit.record import (
    FIRST_PREV,
    MAX_DEPTH,
    MAX_INTEGER,
    Record,
    decode_data,
    decode_record,
    encode_data,
    encode_record,
    format_time,
)

TIME = "2026-11-20T08:00:00.000Z"
RAW = encode_record(7, FIRST_PREV, TIME, "grant.revoked", {"grant": "g", "n": 1, "text": "同意: [a] {b}", "none": None, "list": [True, {}]})

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20) | st.text(':,"[]{} \\\n\tab', max_size=8)
scalars = st.none() | st.booleans() | st.integers(-MAX_INTEGER, MAX_INTEGER) | text
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4), max_leaves=20)
objects = st.dictionaries(text, values, max_size=5)


def data_of(body: bytes) -> dict[str, Any]:
    return decode_record(RAW[: RAW.index(b'"data":') + 7] + body + b"}").data


def test_exact_bytes() -> None:
    """The canonical form, byte for byte."""
    raw = encode_record(0, FIRST_PREV, TIME, "ledger.genesis", {"origin": "a/b", "zh": "充分告知", "q": '"\\/\n\x1f\x7f'})
    assert (
        raw
        == (
            '{"v":1,"index":0,"prev":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=","time":"2026-11-20T08:00:00.000Z",'
            '"type":"ledger.genesis","data":{"origin":"a/b","zh":"充分告知","q":"\\"\\\\/\\n\\u001f\x7f"}}'
        ).encode()
    )


@given(st.integers(0, MAX_INTEGER), st.binary(min_size=32, max_size=32), objects)
def test_round_trip(index: int, prev: bytes, data: dict[str, Any]) -> None:
    """What is written is read back equal, and is plain JSON to any other reader."""
    raw = encode_record(index, prev, TIME, "access.decided", data)
    assert decode_record(raw) == Record(index, prev, TIME, "access.decided", data)
    assert list(json.loads(raw)) == ["v", "index", "prev", "time", "type", "data"]


@given(objects, st.data())
def test_a_changed_byte_reads_as_itself_or_is_refused(value: dict[str, Any], data: st.DataObject) -> None:
    """Whatever bytes are accepted are exactly the canonical bytes of what was read: the quick check equals the plain one."""
    raw = bytearray(encode_data(value))
    at = data.draw(st.integers(0, len(raw) - 1))
    way = data.draw(st.sampled_from(["replace", "insert", "drop", "repeat"]))
    new = data.draw(st.sampled_from(b'{}[]:,"\\ \n\t01-.eantu/\x00\x7f\xc3\xa9') | st.integers(0, 255))
    if way == "replace":
        raw[at] = new
    elif way == "insert":
        raw.insert(at, new)
    elif way == "drop":
        del raw[at]
    else:
        end = data.draw(st.integers(at, len(raw)))
        raw[end:end] = raw[at:end]
    try:
        read = decode_data(bytes(raw))
    except MalformedRecord:
        return
    assert json.dumps(read, ensure_ascii=False, separators=(",", ":")).encode() == bytes(raw)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"null",
        b"{",
        b"{}}",
        b"{}{}",
        b"{},{}",
        b"{}\n",
        b' {"a":1}',
        b'{"a": 1}',
        b'{"a":1,}',
        b'{"a":1,"a":1}',
        b'{"a":1,"a":2}',
        b'{"x":{"a":{},"a":{}}}',
        b'{"a":1.0}',
        b'{"a":1e2}',
        b'{"a":-0}',
        b'{"a":01}',
        b'{"a":+1}',
        b'{"a":NaN}',
        b'{"a":Infinity}',
        b'{"a":-Infinity}',
        b'{"a":9007199254740992}',
        b'{"a":-9007199254740992}',
        b'{"a":' + b"9" * 5000 + b"}",
        b'{"a":"\\u0041"}',
        b'{"a":"\\/"}',
        b'{"a":"\\ud800"}',
        b'{"a":"\\u001F"}',
        b'{"a":"\\u000a"}',
        b'{"a":"\n"}',
        b'{"a":"\x00"}',
        b'{"a":"\xff"}',
        b'{"a":"\xed\xa0\x80"}',
        b'{"a":"\xc0\xaf"}',
        b"\xef\xbb\xbf{}",
        b'{"a":' + b"[" * MAX_DEPTH + b"]" * MAX_DEPTH + b"}",
        b'{"a":" ",' + b'"b":' + b"[" * MAX_DEPTH + b"]" * MAX_DEPTH + b"}",
        b'{"a":' + b"[" * 30_000 + b"]" * 30_000 + b"}",
        b"{'a':1}",
        b'{"a":1}/**/',
    ],
)
def test_data_that_is_not_canonical(body: bytes) -> None:
    """Repeated keys, floats, blanks, escapes that are not needed, bad UTF-8, depth and large numbers are refused."""
    with pytest.raises(MalformedRecord):
        data_of(body)


def test_greatest_depth_and_numbers() -> None:
    """The bounds themselves are inside."""
    deepest = b'{"a":' + b"[" * (MAX_DEPTH - 1) + b"]" * (MAX_DEPTH - 1) + b"}"
    assert encode_data(data_of(deepest)) == deepest
    assert data_of(b'{"a":9007199254740991,"b":-9007199254740991}') == {"a": MAX_INTEGER, "b": -MAX_INTEGER}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"v":1', b'"v":2'),
        (b'"v":1', b'"v":true'),
        (b'"v":1', b'"v":1.0'),
        (b'"v":1,', b""),
        (b'"v":1,"index":7', b'"index":7,"v":1'),
        (b'"v":1', b'"v":1,"w":1'),
        (b'"index":7', b'"index":07'),
        (b'"index":7', b'"index":-7'),
        (b'"index":7', b'"index":7.0'),
        (b'"index":7', b'"index":"7"'),
        (b'"index":7', b'"index":9007199254740992'),
        (b'"index":7', '"index":７'.encode()),
        (b"AAA=", b"AAB="),
        (b"AAA=", b"AAAA"),
        (b"AAA=", b"AA=="),
        (b"AAA=", b"A-A="),
        (b'.000Z"', b'Z"'),
        (b'.000Z"', b'.000+00:00"'),
        (b'.000Z"', b'.000000Z"'),
        (b'.000Z"', b'.000z"'),
        (b"2026-11-20", b"2026-11-31"),
        (b"2026-11-20", b"2026-02-29"),
        (b"2026-11-20", b"0000-01-01"),
        (b"T08:00:00", b"T24:00:00"),
        (b"T08:00:00", b"T08:00:60"),
        (b"T08", b" 08"),
        (b"grant.revoked", b"grant"),
        (b"grant.revoked", b"Grant.revoked"),
        (b"grant.revoked", b"grant.revoked.twice"),
        (b"grant.revoked", b"grant.r\\u0065voked"),
        (b'"data":{', b'"data": {'),
        (b'"data":', b'"date":'),
        (b"}}", b"}"),
        (b"}}", b"}]"),
        (b"}}", b'},"more":1}'),
        (b"}}", b"}}\n"),
    ],
)
def test_header_that_is_not_canonical(old: bytes, new: bytes) -> None:
    """The six members stand in order, once, each in its one spelling."""
    at = RAW.rindex(old) if old == b"}}" else RAW.index(old)
    changed = RAW[:at] + new + RAW[at + len(old) :]
    with pytest.raises(MalformedRecord):
        decode_record(changed)


@pytest.mark.parametrize("value", [1.5, float("nan"), 2**53, b"bytes", {1, 2}, "\ud800", object()])
def test_values_without_canonical_form(value: object) -> None:
    """They are refused when written, before a hash is made of them."""
    with pytest.raises(MalformedRecord):
        encode_data({"a": value})


def test_keys_that_would_collide_when_written() -> None:
    """Python keys that become the same JSON key are refused."""
    with pytest.raises(MalformedRecord):
        encode_data({"1": 1, 1: 2})  # type: ignore[dict-item]


def test_length_bound() -> None:
    """65,535 bytes are a record, one more is not, neither written nor read."""
    room = 65_535 - len(encode_record(7, FIRST_PREV, TIME, "a.b", {"a": ""}))
    longest = encode_record(7, FIRST_PREV, TIME, "a.b", {"a": "x" * room})
    assert decode_record(longest).data == {"a": "x" * room}
    with pytest.raises(MalformedRecord):
        encode_record(7, FIRST_PREV, TIME, "a.b", {"a": "x" * (room + 1)})
    with pytest.raises(MalformedRecord):
        decode_record(longest[:-3] + b'x"}}')


@pytest.mark.parametrize(
    ("index", "prev", "time", "kind"),
    [
        (-1, FIRST_PREV, TIME, "a.b"),
        (2**53, FIRST_PREV, TIME, "a.b"),
        (0, b"", TIME, "a.b"),
        (0, FIRST_PREV, "2026-11-20", "a.b"),
        (0, FIRST_PREV, "2026-13-20T08:00:00.000Z", "a.b"),
        (0, FIRST_PREV, TIME, 'a.b","x":"'),
    ],
)
def test_headers_that_are_not_written(index: int, prev: bytes, time: str, kind: str) -> None:
    """The writer refuses what the reader refuses."""
    with pytest.raises(MalformedRecord):
        encode_record(index, prev, time, kind, {})


def test_time_is_cut_to_milliseconds_in_utc() -> None:
    """A time is never rounded into the future, and a naive one is refused."""
    shanghai = timezone(timedelta(hours=8))
    assert format_time(datetime(2026, 11, 20, 16, 0, 0, 999_999, shanghai)) == "2026-11-20T08:00:00.999Z"
    assert format_time(datetime(2026, 11, 20, tzinfo=UTC)) == "2026-11-20T00:00:00.000Z"
    with pytest.raises(ValueError, match="time zone"):
        format_time(datetime(2026, 11, 20))  # noqa: DTZ001
