"""What a verification found, as values: two verdicts, the findings with their places, and one sentence that says it.

*Integrity* says that nothing which is shown was changed. *Completeness* says that nothing is missing: up to which record
witnesses vouched that everybody is shown the same ledger (anchored), and what was seen here before.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import IntEnum
from typing import Any

from consent_audit.encoding import format_base64
from consent_audit.note import Checkpoint, Verifier
from consent_audit.policy import Cosigned, Policy

MAX_FINDINGS = 50
"""Findings kept in full; the rest is counted, so that a hostile log cannot fill the memory."""
_ROLLBACK = "checkpoint.rollback"
_MISSING = frozenset({_ROLLBACK, "checkpoint.inconsistent", "ledger.continued", "tile.missing"})
"""Findings that say that something promised before is not there."""


class Verdict(IntEnum):
    """The value is the command's exit code."""

    VERIFIED = 0
    REFUTED = 1
    UNCHECKED = 3


@dataclass(frozen=True, slots=True)
class Finding:
    """One contradiction. `code` is stable, `place` is a path or `record <index>`."""

    code: str
    place: str
    message: str
    index: int | None = None


@dataclass(slots=True)
class Report:
    """The result of one run.

    `unchecked` holds the reasons for which something that is shown was not checked, `incomplete` those for which nothing
    can be said about what may be missing. With a finding the ledger is refuted all the same, since a contradiction stays
    one whatever else could not be read. `key` is the key that was trusted, `current` the one in force at the checkpoint's
    size; they differ after a rotation.
    """

    source: str
    key: str | None
    policy: Policy | None = None
    checkpoint: Checkpoint | None = None
    note: str | None = None
    current: Verifier | None = None
    seen: Checkpoint | None = None
    anchor: Cosigned | None = None
    lost: list[str] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    omitted: int = 0
    unchecked: list[str] = field(default_factory=list)
    incomplete: list[str] = field(default_factory=list)
    records: int = 0
    tiles: int = 0
    blobs: int = 0
    unknown_types: int = 0

    def add(self, code: str, place: str, message: str, index: int | None = None) -> None:
        """Record a contradiction."""
        if len(self.findings) < MAX_FINDINGS:
            self.findings.append(Finding(code, place, message, index))
        else:
            self.omitted += 1

    def sort(self) -> None:
        """Put first what explains the rest: a checkpoint that is not the log's, a broken promise, the first record at fault.

        Tiles and documents come last. Records that do not give the signed root are no promise: that they differ from those
        seen before only follows from it.
        """
        unsigned = any(found.code == "tree.root" for found in self.findings)
        rank = {"checkpoint.signature": -1, _ROLLBACK: 0, "checkpoint.inconsistent": 3 if unsigned else 0, "tree.root": 3}
        self.findings.sort(
            key=lambda found: (rank.get(found.code, 1 if found.place.startswith("record") else 2), found.index is None, found.index or 0)
        )

    @property
    def verdict(self) -> Verdict:
        """Refuted before unchecked before verified."""
        if self.findings:
            return Verdict.REFUTED
        return Verdict.UNCHECKED if self.unchecked or self.incomplete else Verdict.VERIFIED

    @property
    def integrity(self) -> Verdict:
        """Whether what is shown is what was recorded."""
        if any(found.code not in {_ROLLBACK, "tile.missing"} for found in self.findings):
            return Verdict.REFUTED
        return Verdict.UNCHECKED if self.unchecked or self.checkpoint is None else Verdict.VERIFIED

    @property
    def completeness(self) -> str:
        """`refuted`, `unchecked`, `anchored`, `partly_anchored` or `unanchored`."""
        if any(found.code in _MISSING for found in self.findings):
            return "refuted"
        if self.integrity is not Verdict.VERIFIED or self.checkpoint is None or self.incomplete:
            return "unchecked"
        if self.anchor is None:
            return "unanchored"
        return "anchored" if self.anchor.checkpoint.size == self.checkpoint.size else "partly_anchored"

    def sentence(self) -> str:
        """What is proven and what is not, in one sentence."""
        if self.verdict is Verdict.REFUTED:
            first, more = self.findings[0], len(self.findings) + self.omitted - 1
            others = f" ({more} more below)" if more else ""
            return f"REFUTED: {first.place}: {first.message}{others}; this ledger is not what its key promised."
        if self.unchecked or self.checkpoint is None:
            return f"COULD NOT CHECK: {self.unchecked[0]}; nothing is proven for or against the ledger."
        count, origin = self.checkpoint.size, self.checkpoint.origin
        intact = f"the {count} records of {origin} are intact, in order and exactly those under its signed checkpoint"
        if self.incomplete:
            return f"COULD NOT CHECK whether anything is missing: {self.incomplete[0]}; what is shown holds: {intact}."
        before = (
            "this is the first checkpoint seen here, so records cut off before today are not excluded"
            if self.seen is None
            else f"the {self.seen.size} records seen here before are unchanged"
        )
        lost = f"; but {self.lost[-1]}" if self.lost else ""
        return f"VERIFIED: {intact}; {before}; {self._anchoring(self.checkpoint)}{lost}."

    def _anchoring(self, checkpoint: Checkpoint) -> str:
        if self.anchor is None:
            return "unanchored: no witness vouches that others are shown the same ledger"
        names = ", ".join(sorted(self.anchor.times))
        size, at = self.anchor.checkpoint.size, when(self.anchor.witnessed_at or 0)
        rest = checkpoint.size - size
        if rest == 0:
            return f"anchored: the witnesses {names} vouched for all of them, last at {at}"
        return (
            f"anchored up to record {size - 1} by the witnesses {names}, last at {at}; the {rest} records after it are not vouched for yet"
        )

    def as_json(self) -> dict[str, Any]:
        """The stable form for programs; members may be added, none changes its meaning."""
        checkpoint = self.checkpoint
        return {
            "v": 1,
            "verdict": self.verdict.name.lower(),
            "exit_code": int(self.verdict),
            "sentence": self.sentence(),
            "source": self.source,
            "key": self.key,
            "current_key": self.current.vkey if self.current else None,
            "origin": checkpoint.origin if checkpoint else None,
            "size": checkpoint.size if checkpoint else None,
            "root": format_base64(checkpoint.root) if checkpoint else None,
            "checkpoint": self.note,
            "integrity": self.integrity.name.lower(),
            "completeness": self._completeness_json(),
            "checked": {"records": self.records, "tiles": self.tiles, "blobs": self.blobs, "records_of_unknown_type": self.unknown_types},
            "findings": [
                {"code": found.code, "place": found.place, "index": found.index, "message": found.message} for found in self.findings
            ],
            "findings_omitted": self.omitted,
            "unchecked": self.unchecked + self.incomplete,
        }

    def _completeness_json(self) -> dict[str, Any]:
        witnesses = {witness.name: witness.verifier.vkey for witness in self.policy.witnesses} if self.policy else {}
        times = self.anchor.times if self.anchor else {}
        return {
            "verdict": self.completeness,
            "anchored_size": self.anchor.checkpoint.size if self.anchor else None,
            "anchored_at": when(self.anchor.witnessed_at) if self.anchor and self.anchor.witnessed_at is not None else None,
            "witnesses": [{"name": name, "vkey": witnesses[name], "time": when(times[name])} for name in sorted(times)],
            "seen_before": self.seen.size if self.seen else None,
            "lost": self.lost,
        }


def when(seconds: int) -> str:
    """A witness's time as text."""
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (OverflowError, ValueError, OSError):
        return f"second {seconds} since 1970"
