"""Replays a published ledger: verifies it as `verify` does, and hands each record on the way to the machine."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from consent_audit.errors import CannotCheck
from consent_audit.note import Verifier
from consent_audit.policy import Policy
from consent_audit.record import Record
from consent_audit.replay.machine import Machine
from consent_audit.replay.memory import RememberingSource
from consent_audit.replay.snapshot import snapshot
from consent_audit.report import Finding, Report, Verdict
from consent_audit.sources import Source
from consent_audit.verify import MAX_BLOB_BYTES, Options, verify


@dataclass(slots=True)
class Replayed:
    """What a replay found.

    Attributes:
        report: the verification of the ledger itself.
        machine: the state after the last record, and the findings of the replay.
        at: the state after the record that was asked for, if one was.
    """

    report: Report
    machine: Machine
    at: dict[str, Any] | None = None

    @property
    def verdict(self) -> Verdict:
        """Refuted if the ledger is, or if a record was not allowed; verified only if everything was checked."""
        if self.report.verdict is Verdict.REFUTED or self.machine.findings:
            return Verdict.REFUTED
        return Verdict.UNCHECKED if self.report.verdict is Verdict.UNCHECKED or self.machine.unchecked else Verdict.VERIFIED

    @property
    def findings(self) -> list[Finding]:
        """The replay's, by record."""
        return self.machine.findings

    def sentence(self) -> str:
        """What is shown and what is not, in one sentence."""
        counts, machine = self.machine.state.counts, self.machine
        if self.report.verdict is Verdict.REFUTED:
            return self.report.sentence()
        if machine.findings:
            records = len({found.index for found in machine.findings})
            first = machine.findings[0]
            others = f"; {records} records in all, below" if records > 1 else ""
            return f"NOT COVERED: {first.place}: {first.message}{others}."
        if self.report.verdict is Verdict.UNCHECKED:
            return self.report.sentence()
        if machine.unchecked:
            return f"COULD NOT CHECK: {machine.unchecked[0]}; no permit is proven covered or uncovered beyond that."
        return (
            f"COVERED: each of the {counts['permits']} permits among {counts['decisions']} decisions in {machine.size} records was allowed"
            " at its position by the records before it; on the operator's word alone: who is registered by real name, which person is"
            " linked to which enterprise, terminals and loans; whether denials were right is for the policies to say."
        )

    def as_json(self) -> dict[str, Any]:
        """The stable form for programs; members may be added, none changes its meaning."""
        counts = self.machine.state.counts
        return {
            "v": 1,
            "verdict": self.verdict.name.lower(),
            "exit_code": int(self.verdict),
            "sentence": self.sentence(),
            "records": self.machine.size,
            "decisions": counts["decisions"],
            "permits": counts["permits"],
            "findings": [{"code": f.code, "place": f.place, "index": f.index, "message": f.message} for f in self.findings],
            "findings_omitted": self.machine.omitted,
            "unchecked": self.machine.unchecked,
            "state": self.at,
            "ledger": self.report.as_json(),
        }


def replay(source: Source, trust: Verifier | Policy, options: Options | None = None, *, at: int | None = None) -> Replayed:
    """Verify a published ledger and hold each record against those before it.

    Args:
        trust, options: as for `verify`; `visit` is the replay's own.
        at: index of a record after which the state is wanted.

    Returns:
        What was found. This function raises nothing that the source or its content can cause.
    """
    remembering = RememberingSource(source)
    machine = Machine(blob_of(source), remembering.recall)
    found: list[dict[str, Any]] = []

    def visit(record: Record) -> None:
        machine.apply(record)
        if record.index == at:
            found.append(snapshot(machine))

    report = verify(remembering, trust, dataclasses.replace(options or Options(), parse=True, visit=visit))
    return Replayed(report, machine, found[0] if found else None)


def blob_of(source: Source) -> Callable[[str], bytes]:
    """Reads documents by their SHA-256 and believes no other bytes."""

    def blob(digest: str) -> bytes:
        body = source.read(f"blobs/{digest}", MAX_BLOB_BYTES)
        if sha256(body).hexdigest() != digest:
            raise CannotCheck(f"blobs/{digest} is another document")
        return body

    return blob
