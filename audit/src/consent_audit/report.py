"""What a verification found, as values: the verdict, the findings with their places, and one sentence that says it."""

from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

from consent_audit.encoding import format_base64
from consent_audit.note import Checkpoint

MAX_FINDINGS = 50
"""Findings kept in full; the rest is counted, so that a hostile log cannot fill the memory."""


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

    `unchecked` holds the reasons for which something was not checked; with a finding the ledger is refuted all the
    same, since a contradiction stays one whatever else could not be read.
    """

    source: str
    key: str
    checkpoint: Checkpoint | None = None
    note: str | None = None
    seen: Checkpoint | None = None
    findings: list[Finding] = field(default_factory=list)
    omitted: int = 0
    unchecked: list[str] = field(default_factory=list)
    records: int = 0
    tiles: int = 0
    blobs: int = 0

    def add(self, code: str, place: str, message: str, index: int | None = None) -> None:
        """Record a contradiction."""
        if len(self.findings) < MAX_FINDINGS:
            self.findings.append(Finding(code, place, message, index))
        else:
            self.omitted += 1

    def sort(self) -> None:
        """Put first what explains the rest: a broken promise, then the first record at fault, then tiles and documents.

        Records that do not give the signed root are no promise: that they differ from those seen before only follows from it.
        """
        unsigned = any(found.code == "tree.root" for found in self.findings)
        rank = {"checkpoint.rollback": 0, "checkpoint.inconsistent": 3 if unsigned else 0, "tree.root": 3}
        self.findings.sort(
            key=lambda found: (rank.get(found.code, 1 if found.place.startswith("record") else 2), found.index is None, found.index or 0)
        )

    @property
    def verdict(self) -> Verdict:
        """Refuted before unchecked before verified."""
        if self.findings:
            return Verdict.REFUTED
        return Verdict.UNCHECKED if self.unchecked else Verdict.VERIFIED

    @property
    def first_sight(self) -> bool:
        """Whether no earlier checkpoint of this key was known."""
        return self.seen is None

    def sentence(self) -> str:
        """What is proven and what is not, in one sentence."""
        if self.verdict is Verdict.REFUTED:
            first, more = self.findings[0], len(self.findings) + self.omitted - 1
            others = f" ({more} more below)" if more else ""
            return f"REFUTED: {first.place}: {first.message}{others}; this ledger is not what its key promised."
        if self.verdict is Verdict.UNCHECKED or self.checkpoint is None:
            return f"COULD NOT CHECK: {self.unchecked[0]}; nothing is proven for or against the ledger."
        before = (
            "this is the first checkpoint seen here, so records cut off before today are not excluded"
            if self.seen is None
            else f"the {self.seen.size} records seen here before are unchanged"
        )
        return (
            f"VERIFIED: the {self.checkpoint.size} records of {self.checkpoint.origin} are intact, in order and exactly those under its "
            f"signed checkpoint; {before}; unanchored: no witness vouches that others are shown the same ledger."
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
            "origin": checkpoint.origin if checkpoint else None,
            "size": checkpoint.size if checkpoint else None,
            "root": format_base64(checkpoint.root) if checkpoint else None,
            "checkpoint": self.note,
            "integrity": self.verdict.name.lower(),
            "completeness": {"anchored_size": None, "seen_before": self.seen.size if self.seen else None},
            "checked": {"records": self.records, "tiles": self.tiles, "blobs": self.blobs},
            "findings": [
                {"code": found.code, "place": found.place, "index": found.index, "message": found.message} for found in self.findings
            ],
            "findings_omitted": self.omitted,
            "unchecked": self.unchecked,
        }
