"""Times of records. `2026-11-20T08:00:00.000Z` has one spelling, so instants are compared as text; days are those of Asia/Shanghai."""

from datetime import UTC, datetime, timedelta
from functools import lru_cache

_SHANGHAI = timedelta(hours=8)  # no daylight saving since 1991
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@lru_cache(maxsize=64)
def _day(hour: str) -> str:
    return (datetime.strptime(hour + "+0000", "%Y-%m-%dT%H%z") + _SHANGHAI).strftime("%Y-%m-%d")


@lru_cache(maxsize=64)
def _minute(minute: str) -> int:
    return int((datetime.strptime(minute + "+0000", "%Y-%m-%dT%H:%M%z") - _EPOCH).total_seconds()) * 1000


def day(time: str) -> str:
    """The calendar day of an instant in Asia/Shanghai."""
    return _day(time[:13])


def to_ms(time: str) -> int:
    """Milliseconds since the epoch."""
    return _minute(time[:16]) + int(time[17:19]) * 1000 + int(time[20:23])


def period(per: str, time: str) -> str:
    """The key under which a use at this instant is counted: `total`, `YYYY-MM` or `YYYY-MM-DD`."""
    if per == "total":
        return "total"
    return day(time) if per == "day" else day(time)[:7]
