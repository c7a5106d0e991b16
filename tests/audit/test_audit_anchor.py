"""Completeness: which records witnesses vouched for, apart from whether what is shown is intact."""

import json
from pathlib import Path

import pytest
from audit_ledgers import SIGNER, pack, publish, records, serve

from consent_audit import cli
from consent_audit.cosigner import Cosigner
from consent_audit.note import Checkpoint
from consent_audit.policy import Policy
from consent_audit.report import Report, Verdict
from consent_audit.sources import open_source
from consent_audit.verify import Options, verify

W = [Cosigner(f"w{number}.example.org", bytes([16 + number]) * 32) for number in range(3)]
TEXT = f"log {SIGNER.vkey}\n" + "".join(f"witness W{n} {w.verifier.vkey}\n" for n, w in enumerate(W)) + "group g 2 W0 W1 W2\nquorum g\n"
POLICY = Policy.parse(TEXT)
RECORDS = records(600)
FILES = publish(RECORDS)
FORKED = publish(records(600, salt="x"))
TIME = 1_800_000_000


def cosign(files: dict[str, bytes], *witnesses: int) -> bytes:
    note = files["checkpoint"].decode()
    text = note.split("\n\n", maxsplit=1)[0] + "\n"
    return (note + "".join(W[number].cosign(text, TIME + number) for number in witnesses)).encode()


def witnessed(files: dict[str, bytes], size: int, *witnesses: int) -> dict[str, bytes]:
    """The ledger with a smaller checkpoint that these witnesses cosigned."""
    return {**files, "checkpoint.witnessed": cosign(publish(RECORDS[:size]), *witnesses)}


def audit(root: Path, files: dict[str, bytes], trust: Policy = POLICY, options: Options | None = None) -> Report:
    (root / "ledger.tar").write_bytes(pack(files))
    with open_source(str(root / "ledger.tar")) as source:
        return verify(source, trust, options)


def test_all_records_anchored(tmp_path: Path) -> None:
    """A quorum cosigned the newest checkpoint itself."""
    report = audit(tmp_path, {**FILES, "checkpoint": cosign(FILES, 0, 2)})
    assert (report.verdict, report.integrity, report.completeness) == (Verdict.VERIFIED, Verdict.VERIFIED, "anchored")
    assert "anchored: the witnesses W0, W2 vouched for all of them, last at 2027-01-15T08:00:02Z" in report.sentence()


@pytest.mark.parametrize("size", [1, 255, 256, 300, 599])
def test_anchored_up_to_a_record(tmp_path: Path, size: int) -> None:
    """The witnesses are behind the log: what they vouched for and what not is told apart."""
    report = audit(tmp_path, witnessed(FILES, size, 0, 1))
    assert (report.verdict, report.completeness) == (Verdict.VERIFIED, "partly_anchored")
    assert f"anchored up to record {size - 1} by the witnesses W0, W1" in report.sentence()
    assert f"the {600 - size} records after it are not vouched for yet" in report.sentence()
    assert report.as_json()["completeness"]["anchored_size"] == size


@pytest.mark.parametrize("files", [FILES, {**FILES, "checkpoint": cosign(FILES, 1)}, witnessed(FILES, 300, 2)])
def test_no_quorum(tmp_path: Path, files: dict[str, bytes]) -> None:
    """Without the cosignatures that the policy demands the records are intact, and nothing is said of what may be missing."""
    report = audit(tmp_path, files)
    assert (report.verdict, report.integrity, report.completeness) == (Verdict.UNCHECKED, Verdict.VERIFIED, "unchecked")
    assert report.sentence().startswith("COULD NOT CHECK whether anything is missing: no checkpoint")
    assert "the 600 records of audit.example.org/consent are intact" in report.sentence()


def test_without_witnesses_in_the_policy_nothing_is_anchored(tmp_path: Path) -> None:
    """`quorum none` asks for no witness, and the sentence says that none vouches."""
    report = audit(tmp_path, witnessed(FILES, 300, 0, 1), Policy.parse(f"log {SIGNER.vkey}\nquorum none\n"))
    assert (report.verdict, report.completeness) == (Verdict.VERIFIED, "unanchored")
    assert "unanchored: no witness vouches" in report.sentence()


def test_history_rewritten_with_the_log_key(tmp_path: Path) -> None:
    """Whoever steals the log's key can sign another history, but not the witnesses' cosignature: refuted, by name."""
    report = audit(tmp_path, {**FORKED, "checkpoint.witnessed": cosign(publish(RECORDS[:300]), 0, 1)})
    assert [(found.code, found.place) for found in report.findings] == [("checkpoint.inconsistent", "checkpoint.witnessed")]
    assert (report.integrity, report.completeness) == (Verdict.REFUTED, "refuted")
    assert "its witnesses cosigned before; history was rewritten" in report.sentence()


@pytest.mark.parametrize(("kind", "verdict"), [("file", Verdict.UNCHECKED), ("url", Verdict.REFUTED)])
def test_less_than_the_witnesses_saw(tmp_path: Path, kind: str, verdict: Verdict) -> None:
    """A ledger shorter than what witnesses cosigned was cut: from a file it may be a torn copy, from a server it is refuted."""
    files = {**publish(RECORDS[:300]), "checkpoint.witnessed": cosign(FILES, 0, 1)}
    if kind == "file":
        report = audit(tmp_path, files)
        assert "its witnesses cosigned 600 before" in report.incomplete[0]
    else:
        with serve(files) as url, open_source(url) as source:
            report = verify(source, POLICY)
        assert [(found.code, found.place) for found in report.findings] == [("checkpoint.rollback", "checkpoint.witnessed")]
        assert (report.integrity, report.completeness) == (Verdict.VERIFIED, "refuted")
    assert report.verdict is verdict


def test_a_lying_witness_or_log(tmp_path: Path) -> None:
    """A listed witness's wrong cosignature, or a witnessed checkpoint of another log or key, is a contradiction and named."""
    lie = cosign(FILES, 0) + W[1].cosign(FILES["checkpoint"].decode().replace("600", "601"), TIME).encode()
    for files, place in (
        ({**FILES, "checkpoint.witnessed": lie}, "checkpoint.witnessed"),
        ({**FILES, "checkpoint.witnessed": b"junk"}, "checkpoint.witnessed"),
        ({**FILES, "checkpoint.witnessed": b"x" * 70_000}, "checkpoint.witnessed"),
    ):
        report = audit(tmp_path, files)
        assert report.verdict is Verdict.REFUTED
        assert [found.place for found in report.findings] == [place]


def test_exit_code_and_json(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The command reads the policy from its file, and programs find who vouched for what."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    (tmp_path / "policy").write_text(TEXT)
    (tmp_path / "a.tar").write_bytes(pack(witnessed(FILES, 300, 0, 1)))
    assert cli.main(["verify", str(tmp_path / "a.tar"), "--policy", str(tmp_path / "policy"), "--json"]) == 0
    completeness = json.loads(capsys.readouterr().out)["completeness"]
    assert completeness == {
        "verdict": "partly_anchored",
        "anchored_size": 300,
        "anchored_at": "2027-01-15T08:00:01Z",
        "witnesses": [
            {"name": "W0", "vkey": W[0].verifier.vkey, "time": "2027-01-15T08:00:00Z"},
            {"name": "W1", "vkey": W[1].verifier.vkey, "time": "2027-01-15T08:00:01Z"},
        ],
        "seen_before": None,
        "lost": [],
    }
    (tmp_path / "a.tar").write_bytes(pack(FILES))
    assert cli.main(["verify", str(tmp_path / "a.tar"), "--policy", str(tmp_path / "policy")]) == 3
    (tmp_path / "policy").write_text("quorum none\n")
    assert cli.main(["verify", str(tmp_path / "a.tar"), "--policy", str(tmp_path / "policy")]) == 2
    assert cli.main(["verify", str(tmp_path / "a.tar"), "--policy", str(tmp_path / "none")]) == 2
    (tmp_path / "policy").write_text("junk\n")
    assert cli.main(["verify", str(tmp_path / "a.tar"), "--policy", str(tmp_path / "policy")]) == 2
    assert "line 1" in capsys.readouterr().err


def test_two_promises_at_one_place(tmp_path: Path) -> None:
    """What was seen here and what witnesses cosigned are both held against the tree, also inside one bundle."""
    seen = Checkpoint.parse(publish(RECORDS[:310])["checkpoint"].decode().split("\n\n", maxsplit=1)[0] + "\n")
    for size in (305, 310, 315):
        report = audit(tmp_path, witnessed(FILES, size, 0, 1), options=Options(remember=lambda _: seen))
        assert report.verdict is Verdict.VERIFIED
        forked = {**FORKED, "checkpoint.witnessed": cosign(publish(RECORDS[:size]), 0, 1)}
        report = audit(tmp_path, forked, options=Options(remember=lambda _: seen))
        assert sorted(found.place for found in report.findings) == ["checkpoint", "checkpoint.witnessed"]
