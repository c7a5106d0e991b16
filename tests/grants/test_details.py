"""Reading authorization details: strict in form, silent about meaning."""

import json
from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consent.errors import InvalidRequest
from consent.grants.details import MAX_DETAILS, parse_details
from consent.grants.model import Detail

PLAIN = {
    "type": "financing_data",
    "actions": ["query"],
    "datatypes": ["N21-03-04"],
    "purpose": "pre_loan",
    "necessity": "required",
    "valid_until": "2027-11-20T00:00:00Z",
}
FULL = PLAIN | {
    "identifier": "tax-1",
    "fields": ["N21-03-04.03"],
    "product": "tax-loan-01",
    "data_from": "2025-01-01",
    "frequency": {"max": 4, "per": "day"},
    "retention_days": 365,
    "via": ["conduit-a"],
    "processor": "processor-a",
}


def refused(body: str | bytes) -> InvalidRequest:
    """The error with which `body` is refused."""
    with pytest.raises(InvalidRequest) as caught:
        parse_details(body)
    assert caught.value.code == "invalid_authorization_details"
    return caught.value


def test_detail_goes_out_as_it_came_in() -> None:
    """Every member of the contract's example survives parse, completion, storage and output."""
    [detail] = parse_details(json.dumps([FULL]))
    completed = detail.completed(identifier="d1", fields=detail.granted_fields)
    stored = msgspec.json.decode(msgspec.json.encode(completed), type=Detail)
    assert json.loads(msgspec.json.encode(stored)) == FULL


def test_absent_members_stay_absent_and_completion_names_all_fields() -> None:
    """Nothing that the client left out appears by itself, but its name and what "all fields" means."""
    [detail] = parse_details(json.dumps([PLAIN]))
    with pytest.raises(ValueError, match="completed"):
        _ = detail.granted_fields
    completed = detail.completed(identifier="d1", fields=["N21-03-04.01"])
    assert json.loads(msgspec.json.encode(completed)) == PLAIN | {"identifier": "d1", "fields": ["N21-03-04.01"]}


def test_policy_sees_absent_members_as_null() -> None:
    """The policy's input has every member of the contract with the policies."""
    [detail] = parse_details(json.dumps([PLAIN]))
    assert detail.to_policy() == {
        "identifier": None,
        "item": "N21-03-04",
        "fields": None,
        "action": "query",
        "purpose": "pre_loan",
        "product": None,
        "data_from": None,
        "valid_until": 1826668800000,
        "frequency": None,
        "retention_days": None,
        "via": [],
        "processor": None,
    }


@pytest.mark.parametrize("word", ["N99-99-99", "marketing", "营销", "no_such_field", "<script>"])
def test_unknown_words_are_not_a_matter_of_form(word: str) -> None:
    """An unknown item, purpose or field gets its verdict and code from the policy, so it must be readable here."""
    parse_details(json.dumps([PLAIN | {"datatypes": [word], "purpose": word, "fields": [word], "product": word}]))


@pytest.mark.parametrize(
    "change",
    [
        {"type": "payment"},
        {"type": None},
        {"actions": []},
        {"actions": ["query", "verify"]},
        {"actions": ["delete"]},
        {"actions": "query"},
        {"datatypes": []},
        {"datatypes": ["N21-03-04", "N21-03-01"]},
        {"datatypes": [5]},
        {"datatypes": [""]},
        {"datatypes": ["x" * 65]},
        {"fields": []},
        {"fields": None},
        {"fields": ["a", "a"]},
        {"fields": [f"f{n}" for n in range(129)]},
        {"purpose": "a b"},
        {"purpose": "a\u0000"},
        {"purpose": "\ud800"},
        {"purpose": None},
        {"product": None},
        {"product": ["tax-loan-01"]},
        {"necessity": "nice"},
        {"identifier": ""},
        {"identifier": "a b"},
        {"identifier": "税"},
        {"identifier": "x" * 65},
        {"data_from": "2025-13-01"},
        {"data_from": "20250101"},
        {"data_from": "0001-01-01"},
        {"data_from": 5},
        {"valid_until": "2027-11-20"},
        {"valid_until": "2027-11-20T00:00:00"},
        {"valid_until": 1826668800},
        {"valid_until": "9999-12-31T23:59:59-12:00"},
        {"valid_until": "0001-01-01T00:00:00+12:00"},
        {"valid_until": "2200-01-01T00:00:00Z"},
        {"frequency": {"max": 0, "per": "day"}},
        {"frequency": {"max": 4.0, "per": "day"}},
        {"frequency": {"max": True, "per": "day"}},
        {"frequency": {"max": "4", "per": "day"}},
        {"frequency": {"max": 10**30, "per": "day"}},
        {"frequency": {"max": 4, "per": "hour"}},
        {"frequency": {"max": 4}},
        {"frequency": {"max": 4, "per": "day", "burst": 2}},
        {"retention_days": 0},
        {"retention_days": -1},
        {"retention_days": 40000},
        {"via": ["Conduit A"]},
        {"via": ["conduit-a", "conduit-a"]},
        {"via": [f"conduit-{n}" for n in range(9)]},
        {"processor": "91310000MA1FL0000X"},
        {"institution": "bank-b"},
        {"locations": ["https://bank.example"]},
        {"__proto__": {}},
    ],
)
def test_malformed_member_is_refused_without_being_repeated(change) -> None:
    """Wrong types, widths, bounds, unknown members: refused; the message names ours and repeats nothing of the caller's."""
    error = refused(json.dumps([PLAIN | change]))
    assert error.member.startswith("authorization_details")
    for value in change.values():
        assert not isinstance(value, str) or len(value) < 6 or value not in f"{error} {error.member}"


@pytest.mark.parametrize("member", sorted(PLAIN))
def test_member_that_is_needed_is_needed(member: str) -> None:
    """Type, action, item, purpose, necessity and end are never implied."""
    refused(json.dumps([{name: value for name, value in PLAIN.items() if name != member}]))


@pytest.mark.parametrize(
    "body",
    [
        "",
        "null",
        "{}",
        "[]",
        "5",
        '"a"',
        "[null]",
        "[[]]",
        json.dumps(PLAIN),
        json.dumps([PLAIN]) + "x",
        "[" * 30_000 + "]" * 30_000,
        '{"a":' * 10_000 + "1" + "}" * 10_000,
        "[NaN]",
        "[1e400]",
        "[" + "9" * 10_000 + "]",
        json.dumps([PLAIN])[:-2] + ',"purpose":"pre_loan"}]',
        b"\xff\xfe",
        b"[\xc0\xaf]",
        json.dumps([PLAIN]).replace("pre_loan", "p" * 65_536),
        json.dumps([PLAIN | {"datatypes": [f"i{n}"]} for n in range(MAX_DETAILS + 1)]),
    ],
)
def test_what_is_not_a_short_array_of_details_is_refused(body: str | bytes) -> None:
    """Other JSON, no JSON, a member twice, deep nesting, huge numbers, bad UTF-8, too long: one error, never another."""
    refused(body)


@pytest.mark.parametrize(
    "second",
    [
        {},
        {"identifier": "other", "fields": ["N21-03-04.01"]},
        {"identifier": "tax-1", "datatypes": ["N21-03-01"]},
        {"identifier": "d2", "datatypes": ["N21-03-01"], "_third": True},
    ],
)
def test_two_details_for_one_thing_or_of_one_name_are_refused(second) -> None:
    """Two details for one item, purpose and action, or with one identifier, also where one was given by position."""
    second = dict(second)
    bodies = [PLAIN | {"identifier": "tax-1"}, PLAIN | second]
    if second.pop("_third", False):
        bodies = [PLAIN | second, PLAIN]
    refused(json.dumps(bodies))


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))
def test_any_json_answers_with_the_one_error(value) -> None:
    """No value makes anything but the error."""
    refused(json.dumps([value]))


@given(st.sampled_from(sorted(FULL)), st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.text()))
def test_any_value_of_any_member_is_read_or_refused(member: str, value) -> None:
    """A detail with one member replaced by anything is refused with the one error, or can be completed and given to a policy."""
    try:
        [detail] = parse_details(json.dumps([FULL | {member: value}]))
    except InvalidRequest:
        return
    completed = detail.completed(identifier="d1", fields=["x"])
    assert completed.valid_until < datetime(2200, 1, 1, tzinfo=UTC)
    assert completed.to_policy()["identifier"] == completed.name


@pytest.mark.parametrize(
    ("members", "place"),
    [
        ({"张三` - at `$.Zhang San": 1}, "authorization_details[0]"),
        ({"frequency": {"x` - at `$.zhang": 1}}, "authorization_details[0].frequency"),
        ({"necessity": "x` - at `$[0].zhang"}, "authorization_details[0].necessity"),
    ],
    ids=["unknown", "nested", "value"],
)
def test_what_looks_like_a_place_is_not_repeated(members: dict[str, object], place: str):
    """The decoder quotes the caller's words before it names the place; only the place is ours to repeat."""
    assert refused(json.dumps([PLAIN | members], ensure_ascii=False)).member == place
