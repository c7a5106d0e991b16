"""Hostile authorization_details (RFC 9396): refused with 400 invalid_authorization_details, never 500, never stored."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from oauth_world import ITEM, SECOND_ITEM, VALID_UNTIL, Caller, detail, records, scalar
from sqlalchemy.ext.asyncio import AsyncEngine

DEEP = "[" * 1000 + "]" * 1000


async def assert_malformed(bank: Caller, text: str) -> None:
    reply = await bank.push(authorization_details=text)
    assert (reply.status_code, reply.json()["error"]) == (400, "invalid_authorization_details"), text[:200]
    assert "verdicts" not in reply.json()


def with_member(name: str, value: Any) -> str:
    return json.dumps([detail(**{name: value})])


async def test_shapes_that_are_no_list_of_details(engine: AsyncEngine, bank: Caller) -> None:
    """An object, text, numbers, nesting, repeated members, what is not JSON; nothing of it reaches the database or the ledger."""
    good = json.dumps(detail())
    shapes = [
        good, '"x"', "1", "null", "[]", "[[]]", "[1]", '["x"]', "[null]", "{", "[", DEEP, f"[{DEEP}]", f'[{{"type":{DEEP}}}]', "NaN",
        "[NaN]", f"[{good},]", f"[{good}]x", f'[{good[:-1]},"purpose":"marketing"}}]', f'[{good[:-1]},"x":{DEEP}}}]',
        "['x']", "\ufeff[]", "[{}]",
        "[" + ",".join(["1"] * 10_000) + "]", "[" + ",".join(["{}"] * 5000) + "]",
        "[" + ",".join([json.dumps(detail(identifier=f"i{n}")) for n in range(81)]) + "]",
        json.dumps([detail("\ud800")]), json.dumps([detail("a\0b")]), json.dumps([detail("\u202e" + ITEM)]),
    ]  # fmt: skip
    for shape in shapes:
        await assert_malformed(bank, shape)
    assert await scalar(engine, "select count(*) from pushed_request") == 0
    assert await records(engine, "grant.request_refused") == []


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("type", ["payment", "", 1, None, ["financing_data"], "financing_data "]),
        ("identifier", ["", "x" * 65, "a b", "a\nb", '"', "日", 1, ["x"], {"x": 1}]),
        ("actions", [[], ["query", "push"], ["query", "query"], "query", ["QUERY"], ["delete"], [1], None, {}]),
        ("datatypes", [[], [ITEM, SECOND_ITEM], ITEM, [1], [""], ["x" * 65], None]),
        ("fields", [[], "x", [1], [f"{ITEM}.03", f"{ITEM}.03"], {}, [["x"]]]),
        ("purpose", ["", 1, ["pre_loan"], "x" * 65, "pre loan", None]),
        ("product", ["", 1, [], "x" * 65]),
        ("necessity", ["", "maybe", True, 1]),
        ("data_from", ["", "2025-13-01", "2025-02-30", "20250101", "0001-01-01", 20250101, "2025-01-01T00:00:00Z", "9999-12-31"]),
        ("valid_until", ["", "2020-01-01T00:00:00Z", VALID_UNTIL[:10], VALID_UNTIL[:-1], 1893456000, "9999-12-31T23:59:59Z",
                         "2099-01-01T00:00:00Z", "0000-00-00T00:00:00Z", ["x"], "2027-02-30T00:00:00Z", "now"]),
        ("frequency", [{}, {"max": 1}, {"per": "day"}, {"max": 0, "per": "day"}, {"max": -1, "per": "day"}, {"max": "1", "per": "day"},
                       {"max": 1.5, "per": "day"}, {"max": True, "per": "day"}, {"max": 10**30, "per": "day"}, {"max": 1, "per": "week"},
                       {"max": 1, "per": "day", "x": 1}, [], 1, "daily"]),
        ("retention_days", [0, -1, "365", 1.5, True, 10**9, [], 1e400]),
        ("via", ["x", ["X Y"], ["nobody-registered"], [1], ["a-b"] * 9, ["platform-a", "platform-a"], {}]),
        ("processor", ["", "X Y", 1, [], "nobody-registered", "11000019900101001x"]),
        ("unknown", [1, None, "x"]),
        ("__proto__", [{}]),
        ("constructor", [1]),
        ("locations", [["https://x"]]),
    ],
)  # fmt: skip
async def test_hostile_members(bank: Caller, name: str, values: list[Any]) -> None:
    """Wrong types, numbers as strings, bounds, dates that do not exist, members that are not ours."""
    for value in values:
        if value is None and name != "unknown":
            await assert_malformed(bank, json.dumps([{n: v for n, v in detail().items() if n != name}]))
            await assert_malformed(bank, json.dumps([detail() | {name: None}]))
        else:
            await assert_malformed(bank, json.dumps([detail() | {name: value}]))


async def test_duplicates(bank: Caller) -> None:
    """The same item, purpose and action twice, and the same identifier twice, however else they differ."""
    await assert_malformed(bank, json.dumps([detail(identifier="a"), detail(identifier="b", necessity="optional")]))
    await assert_malformed(bank, json.dumps([detail(identifier="a"), detail(SECOND_ITEM, identifier="a")]))
    unnamed = {n: v for n, v in detail(SECOND_ITEM).items() if n != "identifier"}
    await assert_malformed(bank, json.dumps([detail(identifier="d2"), unnamed]))


@pytest.mark.parametrize(
    ("members", "code"),
    [
        ({"item": "N99-99-99"}, "item.unknown"),
        ({"item": "anything"}, "item.unknown"),
        ({"fields": [f"{ITEM}.99"]}, "field.not_listed"),
        ({"fields": ["N21-03-03.01"]}, "field.not_listed"),
        ({"purpose": "marketing"}, "purpose.not_financing"),
        ({"purpose": "world_domination"}, "purpose.unknown"),
        ({"purpose": "贷前"}, "purpose.unknown"),
        ({"product": "no-such-product"}, "institution.product_not_declared"),
    ],
)
async def test_excess_is_refused_as_a_whole(engine: AsyncEngine, bank: Caller, members: dict[str, Any], code: str) -> None:
    """One detail too much refuses all, with a verdict, code and solution for each; the record says unknown for unknown words."""
    members = dict(members)
    bad = detail(members.pop("item", ITEM), identifier="bad", **members)
    reply = await bank.push(detail(SECOND_ITEM, identifier="good"), bad)
    assert reply.status_code == 400
    body = reply.json()
    assert body["error"] == "invalid_authorization_details"
    verdicts = {verdict["identifier"]: verdict for verdict in body["verdicts"]}
    assert list(verdicts) == ["good", "bad"]
    assert verdicts["bad"]["verdict"] != "keep"
    assert code in verdicts["bad"]["codes"]
    assert verdicts["bad"]["solution"]["zh"]
    assert verdicts["bad"]["solution"]["en"]
    assert await scalar(engine, "select count(*) from pushed_request") == 0
    (record,) = await records(engine, "grant.request_refused")
    assert (record["institution"], record["client"]) == ("bank-a", bank.client_id)
    text = json.dumps(record)
    for word in ("N99-99-99", "anything", "world_domination", "no-such-product", "贷前", '"bad"', '"good"'):
        assert word not in text
    assert record["verdicts"][1]["verdict"] == verdicts["bad"]["verdict"]
    assert record["verdicts"][0]["identifier_digest"] != record["verdicts"][1]["identifier_digest"]


async def test_as_judged_is_as_stored(engine: AsyncEngine, bank: Caller) -> None:
    """The stored request spells out every field and differs from what was pushed in nothing else; the record holds our names only."""
    unnamed = {n: v for n, v in detail(fields=[f"{ITEM}.02", f"{ITEM}.01"]).items() if n != "identifier"}
    assert (await bank.push(unnamed)).status_code == 201
    (stored,) = json.loads(await scalar(engine, "select details::text from pushed_request"))
    assert stored == unnamed | {"identifier": "d1", "fields": [f"{ITEM}.01", f"{ITEM}.02"]}
    (record,) = await records(engine, "grant.requested")
    assert record["details"][0]["identifier"] == "d1"
    assert record["details"][0]["fields"] == [f"{ITEM}.01", f"{ITEM}.02"]


@pytest.mark.parametrize(
    ("second", "place"),
    [
        ({"frequency": {"max": 0, "per": "day"}}, "authorization_details[1].frequency.max"),
        ({"fields": [f"{SECOND_ITEM}.01"] * 2}, "authorization_details[1].fields"),
        ({"valid_until": "tomorrow"}, "authorization_details[1].valid_until"),
        ({"<script>": 1}, "authorization_details[1]"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_the_place_of_a_mistake_is_named(bank: Caller, second: dict[str, Any], place: str) -> None:
    """Which detail and which member, in our words only: a program with 80 details cannot guess."""
    reply = await bank.push(detail(identifier="a"), detail(SECOND_ITEM, identifier="b", **second))
    assert reply.status_code == 400
    assert reply.json()["error_description"].endswith(f" At {place}.")


FAR = f"{datetime.now(UTC) + timedelta(days=900):%Y-%m-%dT00:00:00Z}"


@pytest.mark.parametrize(
    ("members", "code", "advised"),
    [
        ({"valid_until": FAR}, "grant.validity_exceeded", {"valid_until"}),
        ({"frequency": {"max": 99, "per": "day"}}, "grant.frequency_exceeded", {"frequency"}),
        ({"retention_days": 5000}, "grant.retention_exceeded", {"retention_days"}),
        ({"data_from": "2010-01-01"}, "grant.range_exceeded", {"data_from"}),
        ({"item": "N21-05-01"}, "mode.verification_only", {"actions"}),
        ({"fields": [f"{ITEM}.01", "N21-03-03.01"]}, "field.not_listed", {"fields"}),
    ],
)
async def test_what_is_advised_is_kept(bank: Caller, members: dict[str, Any], code: str, advised: set[str]) -> None:
    """The advice of a verdict is members of the detail: put in place, the same request is taken. What is wrong beyond mending has none."""
    members = dict(members)
    asked = detail(members.pop("item", ITEM), **members)
    refused = await bank.push(asked)
    assert refused.status_code == 400
    (verdict,) = refused.json()["verdicts"]
    assert verdict["codes"] == [code]
    assert verdict["verdict"] == ("downgrade" if code == "mode.verification_only" else "refuse")
    assert verdict["advice"].keys() == advised
    assert 0 <= refused.json()["excess"] <= 100
    again = await bank.push({**asked, **verdict["advice"]})
    assert again.status_code == 201, again.json()
    hopeless = await bank.push(detail("N99-99-99"))
    assert hopeless.json()["verdicts"][0]["advice"] is None
