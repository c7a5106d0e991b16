"""Periods: read strictly, in days of Asia/Shanghai; and the ones that have names."""

from datetime import UTC, datetime, timedelta

import pytest

from consent.errors import InvalidRequest
from consent.reports.model import _cell
from consent.reports.period import Period, read_period, shortcuts

NOW = datetime(2026, 11, 20, 16, 30, tzinfo=UTC)  # 21 November, half past midnight, in Shanghai


def period(**query: str) -> Period:
    """What a query asks for."""
    return read_period(query.items(), NOW)


def test_days_are_those_of_shanghai() -> None:
    """A day begins and ends at midnight in Shanghai; the last day counts."""
    one = period(**{"from": "2026-11-20", "to": "2026-11-20"})
    assert (one.start, one.end) == (datetime(2026, 11, 19, 16, tzinfo=UTC), datetime(2026, 11, 20, 16, tzinfo=UTC))
    assert (one.first_day, one.last_day) == ("2026-11-20", "2026-11-20")


def test_instants_are_exclusive_at_the_end() -> None:
    """With their offset, and cut to milliseconds."""
    one = period(**{"from": "2026-11-20T08:00:00+08:00", "to": "2026-11-20T08:00:00.123456Z"})
    assert (one.start.isoformat(), one.end.isoformat()) == ("2026-11-20T00:00:00+00:00", "2026-11-20T08:00:00.123000+00:00")


def test_absent_bounds() -> None:
    """Nothing asked: thirty days up to now. An empty box of the form counts as absent."""
    for query in ({}, {"from": "", "to": ""}):
        one = period(**query)
        assert NOW < one.end <= NOW + timedelta(seconds=1)
        assert one.end - one.start == timedelta(days=30)
    assert period(to="2026-03-31").start == datetime(2026, 3, 1, 16, tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    [
        "yesterday", "2026-11-31", "2026-13-01", "2026-1-1", "20261120", "2026-W47-5", "２０２６-11-20", "2026-11-20T08:00:00",
        "2026-11-20 08:00", "-1",
        "2026-11-20T08:00:00Z; drop table", "0001-01-01", "0001-01-01T00:00:00Z", "9999-12-31", "9999-12-31T23:59:59-12:00", "1998-12-31",
        "2026-11-20T25:00:00Z", "2026-11-20T08:00:00+99:00", "9" * 400, "\x00",
    ],
)  # fmt: skip
@pytest.mark.parametrize("name", ["from", "to"])
def test_what_is_no_time(text: str, name: str) -> None:
    """Garbage, instants without an offset and years beyond reason are refused, naming the parameter."""
    with pytest.raises(InvalidRequest) as refused:
        period(**{name: text})
    assert refused.value.member == name


@pytest.mark.parametrize(
    ("start", "end"),
    [
        ("2026-11-21", "2026-11-20"),
        ("2026-11-20T08:00:00Z", "2026-11-20T08:00:00Z"),
        ("2026-11-20T08:00:00.0001Z", "2026-11-20T08:00:00.0009Z"),
        ("2025-01-01", "2026-01-02"),
    ],
)
def test_empty_inverted_and_too_long(start: str, end: str) -> None:
    """No time in it, or more than 366 days."""
    with pytest.raises(InvalidRequest):
        period(**{"from": start, "to": end})


def test_the_longest_period() -> None:
    """366 days, so that a leap year fits."""
    one = period(**{"from": "2024-01-01", "to": "2024-12-31"})
    assert one.end - one.start == timedelta(days=366)


@pytest.mark.parametrize("pairs", [[("from", "2026-11-01"), ("from", "2026-11-02")], [("form", "2026-11-01")], [("From", "2026-11-01")]])
def test_unknown_and_repeated_parameters(pairs: list[tuple[str, str]]) -> None:
    """A misspelt bound must not be answered with another period than was meant."""
    with pytest.raises(InvalidRequest):
        read_period(pairs, NOW)


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        (
            NOW,
            ["2026-11-01/2026-11-21", "2026-10-01/2026-10-31", "2026-10-01/2026-11-21", "2026-07-01/2026-09-30", "2026-01-01/2026-11-21"],
        ),
        (
            datetime(2026, 12, 31, 16, tzinfo=UTC),
            ["2027-01-01/2027-01-01", "2026-12-01/2026-12-31", "2027-01-01/2027-01-01", "2026-10-01/2026-12-31", "2027-01-01/2027-01-01"],
        ),
        (
            datetime(2028, 3, 31, 15, 59, tzinfo=UTC),
            ["2028-03-01/2028-03-31", "2028-02-01/2028-02-29", "2028-01-01/2028-03-31", "2027-10-01/2027-12-31", "2028-01-01/2028-03-31"],
        ),
    ],
)
def test_shortcuts(now: datetime, expected: list[str]) -> None:
    """This and last month and quarter, and this year, by the calendar of Shanghai; each is a period that can be read."""
    found = shortcuts(now)
    assert [f"{link.first_day}/{link.last_day}" for link in found] == expected
    for link in found:
        read_period([("from", link.first_day), ("to", link.last_day)], now)


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", " =1", "＝1", "＠x"])
def test_cells_that_would_be_formulas(text: str) -> None:
    """A spreadsheet shows the text and computes nothing."""
    assert _cell(text) == f"'{text}"
    assert _cell("示例银行") == "示例银行"
    assert _cell(7) == 7
