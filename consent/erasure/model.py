"""Until when evidence about a subject is kept: while a grant or loan of hers lives and the institution's months more. No I/O."""

from collections.abc import Iterable
from datetime import datetime
from typing import Literal

import msgspec

from consent.errors import Conflict
from consent.parties.model import MIN_EVIDENCE_MONTHS

FLOOR_MONTHS = MIN_EVIDENCE_MONTHS
"""No evidence is younger when it goes, whatever an institution agreed (网络安全法: logs are kept for six months at least)."""

Why = Literal["grant", "loan", "record"]


class Hold(msgspec.Struct, frozen=True, kw_only=True):
    """One reason to keep evidence.

    why          grant, loan, or record: something was recorded about her lately
    institution  towards whom; None for what concerns no institution
    until        when it ends; None while a loan is open, which has no date
    """

    why: Why
    institution: str | None
    until: datetime | None


class RetentionRuns(Conflict):
    """Something must be kept still. `holds` are the reasons, `until` the first day on which all have ended, if that is known."""

    def __init__(self, holds: Iterable[Hold]) -> None:
        self.holds = tuple(holds)
        dates = [hold.until for hold in self.holds]
        known = [date for date in dates if date is not None]
        self.until = max(known) if known and len(known) == len(dates) else None
        reasons = ", ".join(sorted({_reason(hold) for hold in self.holds}))
        zh_when = f"最早可在 {self.until:%Y-%m-%d} 之后删除" if self.until else "有融资尚未结清，结清后方能计算日期"
        en_when = f"it may be done after {self.until:%Y-%m-%d}" if self.until else "a loan is open, so there is no date yet"
        super().__init__(
            f"保存期限未满，未删除任何内容：{zh_when}。",
            f"Retention runs ({reasons}); nothing was deleted: {en_when}.",
            code="subject.retained",
        )


def _reason(hold: Hold) -> str:
    return hold.why if hold.institution is None else f"{hold.why} with {hold.institution}"


def standing(holds: Iterable[Hold], now: datetime) -> list[Hold]:
    """The holds that have not ended."""
    return [hold for hold in holds if hold.until is None or hold.until > now]
