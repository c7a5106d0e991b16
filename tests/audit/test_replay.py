"""Replay: a story in which everything happens once is covered; each change of it is refused, and the record is named."""

import json
from hashlib import sha256
from pathlib import Path

import pytest
from audit_ledgers import SIGNER, unpack_into
from replay_mutations import MUTATIONS
from replay_world import BANK, CATALOGUE, TAX, Event, at, decided, denied, files, story

from consent_audit import cli
from consent_audit.replay import memory
from consent_audit.replay.run import Replayed, replay
from consent_audit.report import Verdict
from consent_audit.sources import DirectorySource, open_source


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


def test_the_command_says_what_is_covered_and_what_is_not(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 0 and one sentence; exit 1 and each record with its reason; `--json` has the same for programs, and `--at` the state."""
    told = story()
    good = unpack_into(tmp_path / "good", files(told))
    base = ["--key", SIGNER.vkey, "--state", str(tmp_path / "seen")]
    assert cli.main(["replay", str(good), *base]) == 0
    assert capsys.readouterr().out.startswith("COVERED: each of the 10 permits among 12 decisions in 32 records")
    assert cli.main(["replay", str(good), *base, "--json", "--at", str(at(told, "redeemed"))]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["verdict"], report["records"], report["decisions"], report["permits"]) == ("verified", 32, 12, 10)
    granted = {entry["grant"]: entry for entry in report["state"]["grants"]}
    assert [(entry["status"], entry["used"]) for entry in granted["g-1"]["details"]] == [
        ("active", {"period": "2026-11-20", "used": 1}),
        ("active", {"period": None, "used": 0}),
    ]
    assert report["state"]["tickets"] == [{"ticket": "t-1", "institution": BANK, "record": 14, "redeemed": 15}]
    MUTATIONS["a field beyond the grant"][0](told)
    bad = unpack_into(tmp_path / "bad", files(told))
    assert cli.main(["replay", str(bad), "--key", SIGNER.vkey, "--state", str(tmp_path / "other")]) == 1
    assert "[permit.grant] record 14: N21-03-04: grant g-1: N21-03-04.03 was not granted" in capsys.readouterr().out


@pytest.mark.parametrize("index", ["-1", "1.5", "１", "", "9" * 16])
def test_an_index_is_a_whole_number(index: str) -> None:
    """What only Python's `int` accepts is wrong usage."""
    with pytest.raises(SystemExit) as left:
        cli.main(["replay", "x", "--key", SIGNER.vkey, "--at", index])
    assert left.value.code == 2


def test_a_ledger_that_does_not_verify_is_not_covered(tmp_path: Path) -> None:
    """One flipped bit: the replay may find nothing, and is refuted all the same."""
    made = files(story())
    bundle = bytearray(made["tile/entries/000.p/32"])
    bundle[bundle.index(b'"notice":{"version":"1"') + 21] ^= 1
    with open_source(str(unpack_into(tmp_path / "tree", made | {"tile/entries/000.p/32": bytes(bundle)}))) as source:
        replayed = replay(source, SIGNER.verifier)
    assert replayed.verdict is Verdict.REFUTED
    assert replayed.sentence().startswith("REFUTED: record ")


def test_a_missing_catalogue_is_not_taken_for_covered(tmp_path: Path) -> None:
    """Without the catalogue's document nothing can be said of a permit: the verifier refutes, and the replay does not praise."""
    made = {path: body for path, body in files(story()).items() if path != f"blobs/{sha256(CATALOGUE).hexdigest()}"}
    with open_source(str(unpack_into(tmp_path / "tree", made))) as source:
        replayed = replay(source, SIGNER.verifier)
    assert replayed.verdict is Verdict.REFUTED
    assert replayed.machine.unchecked[0].startswith("record 1: blobs/")


class _Forgetful(DirectorySource):
    """Shows another bundle the second time."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.shown = 0

    def read(self, path: str, limit: int) -> bytes:
        body = super().read(path, limit)
        if path == "tile/entries/000":
            self.shown += 1
            return body if self.shown == 1 else body.replace(b'"decision":true', b'"decision":tree')
        return body


@pytest.mark.parametrize("honest", [True, False])
def test_a_late_delivery_is_held_against_the_record_that_was_verified(
    tmp_path: Path, honest: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Long after its decision a delivery is checked by reading that record again; a source that shows another one then proves nothing."""
    monkeypatch.setattr(memory, "KEPT_BUNDLES", 1)
    told = story()
    late = told.pop(at(told, "delivered"))
    told += [Event("filler", "access.decided", decided(f"f-{n}", denied(TAX), policy="p-1")) for n in range(600)]
    told.append(late)
    root = unpack_into(tmp_path / "tree", files(told))
    with DirectorySource(root) if honest else _Forgetful(root) as source:
        replayed = replay(source, SIGNER.verifier)
    assert replayed.report.verdict is Verdict.VERIFIED
    assert replayed.findings == []
    assert replayed.verdict is (Verdict.VERIFIED if honest else Verdict.UNCHECKED)


def test_memory_is_that_of_what_is_live(tmp_path: Path) -> None:
    """What ended leaves nothing behind but, of an expired grant, its version."""
    with open_source(str(unpack_into(tmp_path / "tree", files(story())))) as source:
        state = replay(source, SIGNER.verifier).machine.state
    assert (state.grants, state.expired, state.tickets, state.requests, state.proposals) == ({}, {}, {}, {}, {})
