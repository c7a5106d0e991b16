"""Time in the forms that the service uses. The database clock is the authority; this module only formats and parses.

Instants are timezone-aware UTC with millisecond precision. Calendar days are those of Asia/Shanghai (design §4), which has had no
daylight saving since 1991, so a fixed offset is exact for every date this service sees.
"""

from datetime import UTC, datetime, timedelta, timezone

SHANGHAI = timezone(timedelta(hours=8), "Asia/Shanghai")


def utc_now() -> datetime:
    """The process's clock, for expiry of short-lived secrets only; records take the database's clock."""
    return truncate(datetime.now(UTC))


def truncate(at: datetime) -> datetime:
    """`at` in UTC, cut to milliseconds."""
    at = at.astimezone(UTC)
    return at.replace(microsecond=at.microsecond // 1000 * 1000)


def format_instant(at: datetime) -> str:
    """RFC 3339 with milliseconds and Z, e.g. 2026-11-20T08:00:00.000Z."""
    at = at.astimezone(UTC)
    return f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03d}Z"


def to_ms(at: datetime) -> int:
    """Milliseconds since the epoch, the form in which times enter policies."""
    return int(at.timestamp() * 1000)


def shanghai_day(at: datetime) -> str:
    """The calendar day of `at` in Asia/Shanghai, YYYY-MM-DD."""
    return at.astimezone(SHANGHAI).strftime("%Y-%m-%d")
