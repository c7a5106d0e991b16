"""Reading checks: strict, bounded, and never anything but a refusal for what is malformed."""

import json
from typing import Any

import pytest
from decisions_world import STATUS, TAX, new_uscc, request
from hypothesis import given, settings
from hypothesis import strategies as st

from consent.decisions import schema
from consent.errors import InvalidRequest

CODE = new_uscc()


def body(**options: Any) -> bytes:
    """A well-formed check."""
    return json.dumps(request(CODE, **options)).encode()


def changed(*path: Any, value: Any) -> bytes:
    """A well-formed check with one member replaced, or removed if `value` is ...."""
    document: Any = request(CODE, [TAX, STATUS], fields={TAX: [f"{TAX}.01"]}, request_id="r-1")
    place = document
    for step in path[:-1]:
        place = place[step]
    if value is ...:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return json.dumps(document).encode()


def test_well_formed_check_is_read() -> None:
    """Every member of the contract is accepted."""
    options = {
        "fields": {TAX: [f"{TAX}.01"]},
        "product": "tax-loan",
        "loan": "L-1",
        "model": "m-1",
        "processor": "p-1",
        "via": ["c-1"],
        "ticket": "t",
        "terminal_id": "t-1",
        "channel": "line",
        "data_from": "2025-01-01",
        "data_to": "2025-12-31",
        "claimed_fields": [f"{TAX}.01"],
    }
    document = request(CODE, **options)
    document["subject"]["properties"] = {"operator": "op-1", "branch": "branch-1"}
    read = schema.decode_evaluation(json.dumps(document).encode())
    assert read.resource.id == CODE
    assert json.loads(schema._canonical.encode(read)) == document


@pytest.mark.parametrize(
    ("path", "value", "member"),
    [
        (("subject",), ..., "subject"),
        (("subject", "type"), "user", "subject.type"),
        (("subject", "id"), "", "subject.id"),
        (("subject", "id"), 7, "subject.id"),
        (("subject", "id"), "x" * 65, "subject.id"),
        (("subject", "name"), "x", "subject"),
        (("subject", "properties"), {"operator": "姓名"}, "subject.properties.operator"),
        (("action", "name"), "query\n", "action.name"),
        (("action", "properties"), {}, "action.properties.purpose"),
        (("action", "properties", "purpose"), None, "action.properties.purpose"),
        (("action", "properties", "puropse"), "x", "action.properties"),
        (("action", "properties", "via"), ["a"] * 9, "action.properties.via"),
        (("action", "properties", "via"), ["a", "a"], "action.properties.via"),
        (("action", "properties", "loan"), "L 1", "action.properties.loan"),
        (("resource", "type"), "person", "resource.type"),
        (("resource", "id"), CODE[:-1], "resource.id"),
        (("resource", "id"), CODE.lower() + "x", "resource.id"),
        (("resource", "properties", "items"), [], "resource.properties.items"),
        (("resource", "properties", "items"), [TAX] * 2, "resource.properties.items"),
        (("resource", "properties", "items"), [f"X-{n}" for n in range(33)], "resource.properties.items"),
        (("resource", "properties", "items", 0), "税", "resource.properties.items[0]"),
        (("resource", "properties", "fields"), {"N21-01-01": ["a"]}, "resource.properties.fields"),
        (("resource", "properties", "fields"), {TAX: []}, "resource.properties.fields[...]"),
        (("resource", "properties", "fields"), {TAX: ["a", "a"]}, "resource.properties.fields"),
        (("resource", "properties", "fields"), {TAX: ["a"] * 65}, "resource.properties.fields[...]"),
        (("context", "request_id"), "x" * 129, "context.request_id"),
        (("context", "request_id"), "x\n", "context.request_id"),
        (("context", "request_id"), "", "context.request_id"),
        (("context", "data_from"), "2025-02-30", "context.data_from"),
        (("context", "data_from"), "2025-01-01T00:00:00Z", "context.data_from"),
        (("context", "claimed_fields"), ["N21-01-01.01"], "context.claimed_fields"),
        (("context", "claimed_fields"), [f"{TAX}.01"] * 2, "context.claimed_fields"),
        (("context", "tikcet"), "x", "context"),
        (("contxt",), {}, None),
    ],
)
def test_malformed_member_is_refused_by_name(path: tuple[Any, ...], value: Any, member: str | None) -> None:
    """Each refusal names the member at fault in our own words."""
    with pytest.raises(InvalidRequest) as refusal:
        schema.decode_evaluation(changed(*path, value=value))
    assert refusal.value.member == member
    assert refusal.value.zh
    assert refusal.value.en


@pytest.mark.parametrize("raw", [b"", b"null", b"[]", b"{", b"\xff\xfe", b'"x"', b"[" * 50_000, b'{"subject":' * 5_000])
def test_what_is_not_a_check_is_refused(raw: bytes) -> None:
    """Not JSON, not UTF-8, not an object, too deep."""
    with pytest.raises(InvalidRequest):
        schema.decode_evaluation(raw)


def test_wrong_check_character_is_refused() -> None:
    """A typing error in the code is malformed, so that it never becomes a question about somebody else."""
    wrong = CODE[:-1] + ("0" if CODE[-1] != "0" else "1")
    with pytest.raises(InvalidRequest) as refusal:
        schema.decode_evaluation(json.dumps(request(wrong)).encode())
    assert refusal.value.member == "resource.id"
    assert wrong not in refusal.value.en


@pytest.mark.parametrize("escape", [False, True])
def test_repeated_member_is_refused(escape: bool) -> None:
    """Two parsers could understand it in two ways, also when one of the two is written with an escape."""
    second = '"purp\\u006fse": "marketing"' if escape else '"purpose": "marketing"'
    raw = body().replace(b'"purpose": "pre_loan"', b'"purpose": "pre_loan", ' + second.encode())
    with pytest.raises(InvalidRequest):
        schema.decode_evaluation(raw)


def test_null_and_escapes_are_no_repetition() -> None:
    """What is unusual but plain is read."""
    raw = body(request_id="r-1").replace(b'"r-1"', b'"\\u0072-1", "ticket": null')
    assert schema.decode_evaluation(raw).context.request_id == "r-1"


def test_defaults_are_replaced_whole_and_not_merged() -> None:
    """AuthZEN 1.0, default values: a member of an evaluation overrides the default of that name."""
    call = request(CODE, request_id="r-1", data_from="2025-01-01")
    call["evaluations"] = [
        {},
        {"context": {"data_to": "2025-12-31"}},
        {"action": {"name": "verify", "properties": {"purpose": "approval"}}},
    ]
    call["evaluations"][2]["context"] = {}
    read, semantic, listed = schema.decode_evaluations(json.dumps(call).encode())
    assert [one.context.request_id for one in read] == ["r-1", None, None]
    assert read[1].context.data_from is None
    assert [one.action.name for one in read] == ["query", "query", "verify"]
    assert (semantic, listed) == ("execute_all", True)


def test_call_without_evaluations_is_one_check() -> None:
    """AuthZEN 1.0, access evaluations request: it behaves like the evaluation endpoint."""
    read, _, listed = schema.decode_evaluations(body())
    assert (len(read), listed) == (1, False)


@pytest.mark.parametrize(
    ("call", "member"),
    [
        ({"evaluations": [{}]}, "evaluations[0].subject"),
        ({"evaluations": [request(CODE)] * 65}, "evaluations"),
        ({"evaluations": [request(CODE)], "options": {"evaluations_semantic": "any"}}, "options.evaluations_semantic"),
        ({"evaluations": [request(CODE)], "options": {"more": 1}}, "options"),
        ({"evaluations": [request(CODE, request_id="r"), request(CODE, request_id="r")]}, "evaluations[1].context.request_id"),
        ({"evaluations": [request(CODE), request(CODE, [TAX, TAX])]}, "evaluations[1].resource.properties.items"),
        ({}, "subject"),
    ],
)
def test_malformed_call_is_refused_as_a_whole(call: dict[str, Any], member: str) -> None:
    """Nothing of a call is decided if a part of it is malformed."""
    with pytest.raises(InvalidRequest) as refusal:
        schema.decode_evaluations(json.dumps(call).encode())
    assert refusal.value.member == member


_WORDS = st.sampled_from([CODE, TAX, "pre_loan"])
_LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20) | _WORDS


def _nested(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3)


_JSON = st.recursive(_LEAVES, _nested, max_leaves=8)
_PLACES = """subject subject.id action action.name action.properties action.properties.via resource resource.id resource.properties.items
    resource.properties.fields context context.data_from context.claimed_fields context.request_id evaluations options"""
_PATHS = [tuple(place.split(".")) for place in _PLACES.split()]


@pytest.mark.parametrize("name", ["a` - at `$Zhang San", "a` - at `$.zhang.san", "missing required field `zhang` - at `$x"])
def test_name_of_an_unknown_member_is_not_repeated(name: str) -> None:
    """It is the caller's text, even where it looks like the decoder's own word for a place."""
    for raw in ({name: 1}, {"subject": {name: 1}}):
        with pytest.raises(InvalidRequest) as refusal:
            schema.decode_evaluation(json.dumps(raw).encode())
        assert refusal.value.member in {None, "subject"}


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(_PATHS), _JSON, st.sampled_from([schema.decode_evaluation, schema.decode_evaluations, schema.decode_delivery]))
def test_any_json_is_read_or_refused(path: tuple[str, ...], value: Any, decode: Any) -> None:
    """Whatever stands at a place, the outcome is a check or InvalidRequest."""
    document: Any = request(CODE)
    place = document
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    try:
        decode(json.dumps(document).encode())
    except InvalidRequest:
        return


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200), st.integers(0, 400))
def test_any_bytes_are_read_or_refused(noise: bytes, position: int) -> None:
    """Also when noise stands in the middle of a well-formed check."""
    raw = body()
    try:
        schema.decode_evaluation(raw[:position] + noise + raw[position:])
    except InvalidRequest:
        return
