"""Replay: a story in which everything happens once is covered; each change of it is refused, and the record is named."""

from pathlib import Path

import pytest
from audit_ledgers import SIGNER, unpack_into
from replay_mutations import MUTATIONS
from replay_world import at, files, story

from consent_audit.replay.run import Replayed, replay
from consent_audit.report import Verdict
from consent_audit.sources import open_source


def run(root: Path, told: list, **options: object) -> Replayed:
    """Publish a story below `root` and replay it."""
    with open_source(str(unpack_into(root / "tree", files(told)))) as source:
        return replay(source, SIGNER.verifier, **options)


def test_a_good_ledger_is_covered(tmp_path: Path) -> None:
    """Each permit rests on something; the counts are those of the story; nothing is left unchecked."""
    told = story()
    replayed = run(tmp_path, told)
    assert replayed.report.verdict is Verdict.VERIFIED, replayed.report.findings
    assert [(found.code, told[found.index].name, found.message) for found in replayed.findings] == []
    assert replayed.machine.unchecked == []
    assert replayed.verdict is Verdict.VERIFIED
    counts = replayed.machine.state.counts
    assert (counts["records"], counts["decisions"], counts["permits"]) == (len(told), 12, 10)
    assert replayed.sentence().startswith("COVERED: each of the 10 permits among 12 decisions in")


@pytest.mark.parametrize("name", MUTATIONS, ids=lambda name: name.replace(" ", "-"))
def test_a_changed_ledger_is_refused_and_the_record_named(tmp_path: Path, name: str) -> None:
    """Chained and signed anew with the log's own key, it verifies; the replay names the first record that was not allowed, and why."""
    mutate, code = MUTATIONS[name]
    told = story()
    blamed = mutate(told)
    replayed = run(tmp_path, told)
    assert replayed.report.verdict is Verdict.VERIFIED, replayed.report.findings
    assert replayed.verdict is Verdict.REFUTED
    found = [(item.code, told[item.index].name) for item in replayed.findings]
    assert (code, blamed) in found
    assert found[0][1] == blamed
    assert replayed.sentence().startswith(f"NOT COVERED: record {at(told, blamed)}: ")
