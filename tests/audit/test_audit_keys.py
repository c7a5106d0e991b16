"""A log that changes its key, and one that goes on under a new name after a loss: what the records must say, and who is believed."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from audit_ledgers import event, pack, publish, time_of

from consent_audit import cli, state
from consent_audit.cosigner import Cosigner
from consent_audit.encoding import format_base64
from consent_audit.hashing import leaf_hash
from consent_audit.note import Signer, Verifier, split_note
from consent_audit.policy import Policy
from consent_audit.record import encode_record
from consent_audit.report import Report, Verdict
from consent_audit.sources import open_source
from consent_audit.statements import rotation_text
from consent_audit.verify import Options, verify

NAME = "audit.example.org/consent"
KEYS = [Signer(NAME, bytes([number]) * 32) for number in range(4)]
Data = dict[str, Any]


def sign(key: Signer, text: str) -> str:
    """The bare signature of a text, as base64."""
    return format_base64(split_note(key.sign(text))[1][0][1][4:])


def rotation(old: Signer, new: Signer, /, **changed: object) -> tuple[str, Data]:
    text = rotation_text(NAME, old.vkey, new.vkey)
    signatures = {"old_signature": sign(old, text), "new_signature": sign(new, text)}
    return "key.rotated", {"old": old.vkey, "new": new.vkey, **signatures, **changed}


def ledger(said: dict[int, tuple[str, Data]], *signers: Signer, size: int = 300) -> dict[str, bytes]:
    """A ledger with these events at these places, its checkpoint signed by all of the signers."""
    prev, entries = bytes(32), []
    for index in range(size):
        entries.append(encode_record(index, prev, time_of(index), *said.get(index, event(index))))
        prev = leaf_hash(entries[-1])
    files = publish(entries, signers[0])
    text = files["checkpoint"].decode().split("\n\n", maxsplit=1)[0] + "\n"
    lines = "".join(signer.sign(text).split("\n\n")[1] for signer in signers)
    return {**files, "checkpoint": f"{text}\n{lines}".encode()}


def audit(root: Path, files: dict[str, bytes], trust: Verifier | Policy, options: Options | None = None) -> Report:
    (root / "ledger.tar").write_bytes(pack(files))
    with open_source(str(root / "ledger.tar")) as source:
        return verify(source, trust, options)


TWICE = {100: rotation(KEYS[0], KEYS[1]), 270: rotation(KEYS[1], KEYS[2])}


@pytest.mark.parametrize("trusted", [0, 1, 2])
@pytest.mark.parametrize("signers", [(2,), (0, 1, 2), (2, 1)])
def test_any_key_of_the_chain_leads_to_the_one_in_force(tmp_path: Path, trusted: int, signers: tuple[int, ...]) -> None:
    """An auditor who holds the first key, or any later one, verifies a ledger that has changed its key since."""
    report = audit(tmp_path, ledger(TWICE, *(KEYS[number] for number in signers)), KEYS[trusted].verifier)
    assert report.verdict is Verdict.VERIFIED, report.findings
    assert report.current == KEYS[2].verifier
    assert report.as_json()["key"] == KEYS[trusted].vkey
    assert report.as_json()["current_key"] == KEYS[2].vkey


@pytest.mark.parametrize("signers", [(0,), (1,), (0, 1)])
@pytest.mark.parametrize("trusted", [0, 1])
def test_an_old_key_signs_nothing_beyond_the_rotation(tmp_path: Path, trusted: int, signers: tuple[int, ...]) -> None:
    """A thief of a key that is no longer in force cannot sign on: the one in force must have signed."""
    report = audit(tmp_path, ledger(TWICE, *(KEYS[number] for number in signers)), KEYS[trusted].verifier)
    assert [(found.code, found.place) for found in report.findings] == [("checkpoint.signature", "checkpoint")]


def test_a_strangers_key_leads_nowhere(tmp_path: Path) -> None:
    """A key that is not of the chain is not led to it, whoever signed."""
    for signers in ((2,), (2, 3)):
        report = audit(tmp_path, ledger(TWICE, *(KEYS[number] for number in signers)), KEYS[3].verifier)
        assert [(found.code, found.place) for found in report.findings] == [("checkpoint.signature", "checkpoint")]
        assert "none of this ledger's keys" in report.findings[0].message


@pytest.mark.parametrize(
    "said",
    [
        {100: rotation(KEYS[0], KEYS[1], new_signature=sign(KEYS[0], rotation_text(NAME, KEYS[0].vkey, KEYS[1].vkey)))},
        {100: rotation(KEYS[0], KEYS[1], old_signature=sign(KEYS[1], rotation_text(NAME, KEYS[0].vkey, KEYS[1].vkey)))},
        {100: rotation(KEYS[0], KEYS[1], old_signature=sign(KEYS[0], rotation_text("other", KEYS[0].vkey, KEYS[1].vkey)))},
        {100: rotation(KEYS[0], KEYS[1], new=KEYS[2].vkey)},
        {100: rotation(KEYS[0], Signer("other.example.org", b"\x01" * 32))},
        {100: rotation(KEYS[0], KEYS[1]), 101: rotation(KEYS[0], KEYS[1])},
        {100: rotation(KEYS[0], KEYS[1]), 101: rotation(KEYS[0], KEYS[2])},
        {100: rotation(KEYS[0], KEYS[1]), 101: rotation(KEYS[1], KEYS[0])},
        {100: rotation(KEYS[0], KEYS[0])},
    ],
)
def test_a_rotation_that_is_none(tmp_path: Path, said: dict[int, tuple[str, Data]]) -> None:
    """Each rotation bears both signatures over both keys, goes on from the key in force, and never goes back."""
    report = audit(tmp_path, ledger(said, KEYS[0], KEYS[1]), KEYS[0].verifier)
    assert report.verdict is Verdict.REFUTED
    assert ("key.rotation", f"record {max(said)}") in [(found.code, found.place) for found in report.findings]


def test_findings_under_an_unknown_signature_accuse_nobody(tmp_path: Path) -> None:
    """A checkpoint that nobody trusted signed cannot show that the key broke its promise."""
    honest = publish_seen(KEYS[0])
    forged = ledger({5: ("staff.registered", {"staff": "s-1", "role": "auditor"})}, KEYS[3])
    report = audit(tmp_path, forged, KEYS[0].verifier, Options(remember=lambda _: honest))
    assert [found.code for found in report.findings] == ["checkpoint.signature"]


def publish_seen(key: Signer) -> Any:
    from consent_audit.note import open_checkpoint

    return open_checkpoint(ledger({}, key, size=200)["checkpoint"], key.verifier)


def test_witnesses_of_a_log_that_changed_its_key(tmp_path: Path) -> None:
    """A policy that names the first key finds the cosignatures on checkpoints under the newest one."""
    witness = Cosigner("w.example.org", b"\x09" * 32)
    policy = Policy.parse(f"log {KEYS[0].vkey}\nwitness W {witness.verifier.vkey}\nquorum W\n")
    files = ledger(TWICE, KEYS[2])
    text = files["checkpoint"].decode().split("\n\n", maxsplit=1)[0] + "\n"
    files["checkpoint"] += witness.cosign(text, 1_800_000_000).encode()
    assert audit(tmp_path, files, policy).completeness == "anchored"


def test_memory_follows_the_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """What was seen under the first key binds the log after it changed its key, under either key's name."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    path = tmp_path / "ledger.tar"

    def run(files: dict[str, bytes], trusted: int) -> int:
        path.write_bytes(pack(files))
        return cli.main(["verify", str(path), "--key", KEYS[trusted].vkey])

    assert run(ledger({}, KEYS[0], size=90), 0) == 0
    assert run(ledger(TWICE, KEYS[2]), 0) == 0
    assert "the 90 records seen here before are unchanged" in capsys.readouterr().out
    seen = state.load(state.default_path(), KEYS[0].verifier)
    assert seen is not None
    assert seen == state.load(state.default_path(), KEYS[2].verifier)
    assert seen.size == 300
    rewritten = {**TWICE, 50: ("staff.registered", {"staff": "s-1", "role": "auditor"})}
    for trusted in (0, 2):
        assert run(ledger(rewritten, KEYS[2], size=310), trusted) == 1
        assert run(ledger(TWICE, KEYS[2], size=310), trusted) == 0
    assert run(ledger({}, KEYS[0], size=90), 0) == 3


AFTER = Signer("audit.example.org/consent-2", b"\x07" * 32)


def continued(**changed: object) -> tuple[str, Data]:
    data = {"origin": AFTER.name, "before": NAME, "size": 260, "root": format_base64(b"\x05" * 32), **changed}
    return "ledger.continued", data


def test_a_ledger_that_lost_its_tail_goes_on_under_a_new_origin(tmp_path: Path) -> None:
    """It verifies under the new key, and the sentence says what was lost."""
    report = audit(tmp_path, ledger({200: continued(), 210: rotation_under(AFTER)}, *NEXT), NEXT[0].verifier)
    assert report.verdict is Verdict.VERIFIED, report.findings
    assert f"but record 200 says that the records 200 to 259 of {NAME} were lost" in report.sentence()
    assert report.as_json()["completeness"]["lost"] == [f"record 200 says that the records 200 to 259 of {NAME} were lost"]


NEXT = [Signer(AFTER.name, b"\x08" * 32), AFTER]


def rotation_under(old: Signer) -> tuple[str, Data]:
    text = rotation_text(old.name, old.vkey, NEXT[0].vkey)
    return "key.rotated", {"old": old.vkey, "new": NEXT[0].vkey, "old_signature": sign(old, text), "new_signature": sign(NEXT[0], text)}


@pytest.mark.parametrize(
    ("make", "code"),
    [
        (dict, "genesis.origin"),
        (lambda: {200: continued(origin="other.example.org")}, "genesis.origin"),
        (lambda: {200: continued(before="other.example.org")}, "genesis.origin"),
        (lambda: {200: continued(size=200)}, "ledger.continued"),
    ],
)
def test_a_continuation_that_is_none(tmp_path: Path, make: Callable[[], dict[int, tuple[str, Data]]], code: str) -> None:
    """The origin before, the new one and the lost tail must fit."""
    report = audit(tmp_path, ledger(make(), AFTER), AFTER.verifier)
    assert [found.code for found in report.findings] == [code]


def test_witnesses_of_the_name_before(tmp_path: Path) -> None:
    """A witnessed checkpoint of the name that was given up anchors nothing and accuses nobody; another log's does."""
    witness = Cosigner("w.example.org", b"\x09" * 32)
    policy = Policy.parse(f"log {AFTER.vkey}\nwitness W {witness.verifier.vkey}\nquorum W\n")
    files = ledger({200: continued()}, AFTER)
    for signer, codes in ((KEYS[0], []), (Signer("other.example.org", bytes(32)), ["checkpoint.signature"])):
        text = f"{signer.name}\n150\n{format_base64(b'r' * 32)}\n"
        note = signer.sign(text) + witness.cosign(text, 1_800_000_000)
        report = audit(tmp_path, {**files, "checkpoint.witnessed": note.encode()}, policy)
        assert [found.code for found in report.findings] == codes
        assert report.completeness != "anchored"
