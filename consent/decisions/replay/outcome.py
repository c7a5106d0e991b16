"""What a run over past decisions found, as values."""

from collections import Counter

import msgspec
from msgspec import Struct

from consent.decisions.replay.compare import Difference
from consent.decisions.replay.past import PastDecision

MAX_DIFFERENCES = 10_000
EXAMPLES = 5


class Span(Struct, frozen=True):
    """Which decisions are wanted: by index and by time, both ends included; None is open."""

    first: int | None = None
    last: int | None = None
    begin: str | None = None
    end: str | None = None

    def __contains__(self, place: tuple[int, str]) -> bool:
        index, time = place
        return (
            (self.first is None or self.first <= index)
            and (self.last is None or index <= self.last)
            and (self.begin is None or self.begin <= time)
            and (self.end is None or time < self.end)
        )


class Row(Struct, kw_only=True):
    """What changed for one institution and item: answers, permits among those recorded, and what became of them.

    codes     why permits were lost, by code
    examples  indexes of the first decisions that differ
    """

    asked: int = 0
    permitted: int = 0
    lost: int = 0
    gained: int = 0
    changed: int = 0
    codes: Counter[str] = msgspec.field(default_factory=Counter)
    examples: list[int] = []


class Outcome(Struct, kw_only=True):
    """What a run found.

    records      read
    judged       decisions asked again, and answered
    differences  items answered otherwise, the first MAX_DIFFERENCES of them; all are counted in `changes` and `rows`
    rows         by institution and item
    undecided    recorded as policy.unavailable: there is no answer to compare
    unanswered   the engine gave no answer now
    unreadable   by revision: decisions whose policies this release cannot run, with the reason
    told         decisions by what only the database knew of them: see `report`
    findings     what the replay of the records alone refuses, with the record
    """

    records: int = 0
    judged: int = 0
    undecided: int = 0
    unanswered: list[int] = []
    differences: list[Difference] = []
    changes: Counter[str] = msgspec.field(default_factory=Counter)
    rows: dict[tuple[str, str], Row] = {}
    revisions: Counter[str] = msgspec.field(default_factory=Counter)
    unreadable: dict[str, str] = {}
    told: Counter[str] = msgspec.field(default_factory=Counter)
    findings: list[tuple[int, str, str]] = []
    unchecked: list[str] = []

    def note(self, past: PastDecision, found: list[Difference]) -> None:
        """Count a decision that was judged, and keep its differences if there is room."""
        self.judged += 1
        for line in past.data["items"]:
            row = self._row(past.data["institution"], line["item"])
            row.asked += 1
            row.permitted += line["outcome"] != "deny"
        for difference in found:
            self.changes[difference.change] += 1
            if len(self.differences) < MAX_DIFFERENCES:
                self.differences.append(difference)
            if difference.change != "explained":
                self._note_change(self._row(difference.institution, difference.item), difference)

    def _row(self, institution: str, item: str) -> Row:
        return self.rows.setdefault((institution, item), Row())

    @staticmethod
    def _note_change(row: Row, difference: Difference) -> None:
        setattr(row, difference.change, getattr(row, difference.change) + 1)
        if difference.change == "lost":
            row.codes.update(difference.answered["codes"])
        if len(row.examples) < EXAMPLES:
            row.examples.append(difference.index)
