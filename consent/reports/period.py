"""The period of a report: read from a query, and the ones that people ask for most. Days are those of Asia/Shanghai. No I/O."""

import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import msgspec

from consent.clock import SHANGHAI, truncate
from consent.errors import InvalidRequest

LONGEST = timedelta(days=366)
_USUAL = timedelta(days=30)
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_TEXT_LIMIT = 40
_PARAMETERS = frozenset({"from", "to"})


class Period(msgspec.Struct, frozen=True, kw_only=True):
    """start ≤ time < end, both in UTC with milliseconds."""

    start: datetime
    end: datetime

    @property
    def first_day(self) -> str:
        """YYYY-MM-DD of the first instant."""
        return f"{self.start.astimezone(SHANGHAI):%Y-%m-%d}"

    @property
    def last_day(self) -> str:
        """YYYY-MM-DD of the last instant."""
        return f"{(self.end - timedelta(milliseconds=1)).astimezone(SHANGHAI):%Y-%m-%d}"


class Shortcut(msgspec.Struct, frozen=True, kw_only=True):
    """A period that has a name."""

    zh: str
    en: str
    first_day: str
    last_day: str


def read_period(query: Iterable[tuple[str, str]], now: datetime) -> Period:
    """The period that a query asks for; absent bounds are now, and thirty days before the end.

    Raises:
        InvalidRequest: an unknown or repeated parameter, something that is neither a day nor an instant with its offset, a period
            that is empty or longer than 366 days.
    """
    pairs = list(query)
    values = dict(pairs)
    if len(values) != len(pairs) or not _PARAMETERS.issuperset(values):
        raise InvalidRequest("只能使用 from 和 to 两个参数，各一次。", "The parameters are from and to, each once.")
    end = _instant(values.get("to"), "to", end=True) or now + timedelta(seconds=1)
    start = _instant(values.get("from"), "from") or end - _USUAL
    start, end = truncate(start), truncate(end)
    if not start < end:
        raise InvalidRequest("起始时间须早于结束时间。", "The period must begin before it ends.", member="from")
    if end - start > LONGEST:
        raise InvalidRequest("统计期间最长为 366 天，请缩短后重试。", "The period is at most 366 days; shorten it.", member="to")
    return Period(start=start, end=end)


def _instant(value: str | None, member: str, *, end: bool = False) -> datetime | None:
    if not value:
        return None
    at: datetime | None = None
    try:
        if _DAY.fullmatch(value):
            at = datetime.fromisoformat(value).replace(tzinfo=SHANGHAI) + timedelta(days=end)
        elif len(value) <= _TEXT_LIMIT and "T" in value:
            at = datetime.fromisoformat(value)
    except (ValueError, OverflowError):
        at = None
    if at is None or at.tzinfo is None or not 2000 <= at.year <= 9000:
        raise InvalidRequest(
            "时间应写作 2026-11-20 或带时区的 2026-11-20T08:00:00Z。",
            "Write a day as 2026-11-20 or an instant with its offset as 2026-11-20T08:00:00Z.",
            member=member,
        )
    return at.astimezone(UTC)


def shortcuts(now: datetime) -> tuple[Shortcut, ...]:
    """This month, last month, this quarter, last quarter and this year, as they stand at `now` in Asia/Shanghai."""
    today = now.astimezone(SHANGHAI)
    month = _month(today.year, today.month)
    quarter = _month(today.year, (today.month - 1) // 3 * 3 + 1)
    last_month, last_quarter = _before(month, 1), _before(quarter, 3)
    return tuple(
        Shortcut(zh=zh, en=en, first_day=f"{first:%Y-%m-%d}", last_day=f"{last:%Y-%m-%d}")
        for zh, en, first, last in (
            ("本月", "This month", month, today),
            ("上月", "Last month", last_month, month - timedelta(days=1)),
            ("本季度", "This quarter", quarter, today),
            ("上季度", "Last quarter", last_quarter, quarter - timedelta(days=1)),
            ("今年", "This year", _month(today.year, 1), today),
        )
    )


def _month(year: int, month: int) -> datetime:
    return datetime(year, month, 1, tzinfo=SHANGHAI)


def _before(at: datetime, months: int) -> datetime:
    years, month = divmod(at.year * 12 + at.month - 1 - months, 12)
    return _month(years, month + 1)
