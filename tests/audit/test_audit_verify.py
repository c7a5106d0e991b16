"""Attacks on a published ledger: each is refuted, and the finding names the place."""

from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest
from audit_ledgers import NOTICE, SIGNER, event, pack, publish, records, time_of, unpack_into
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from consent_audit.hashing import leaf_hash
from consent_audit.note import Checkpoint, Signer, Verifier, open_checkpoint
from consent_audit.record import encode_record
from consent_audit.report import Report, Verdict
from consent_audit.sources import open_source
from consent_audit.tiles import bundle_encode
from consent_audit.verify import Options, verify

SIZE = 600
RECORDS = records(SIZE)
FILES = publish(RECORDS)
NOTICE_PATH = f"blobs/{sha256(NOTICE).hexdigest()}"


def audit(
    root: Path, files: dict[str, bytes], *, seen: Checkpoint | None = None, kind: str = "directory", key: Verifier = SIGNER.verifier
) -> Report:
    """Verify the files from a fresh directory or archive below `root`."""
    if kind == "directory":
        place = unpack_into(root / "tree", files)
    else:
        place = root / "ledger.tar"
        place.write_bytes(pack(files))
    with open_source(str(place)) as source:
        return verify(source, key, Options(remember=lambda _: seen))


def places(report: Report) -> list[tuple[str, str]]:
    return [(found.code, found.place) for found in report.findings]


def checkpoint_of(files: dict[str, bytes]) -> Checkpoint:
    return open_checkpoint(files["checkpoint"], SIGNER.verifier)


@pytest.mark.parametrize("size", [1, 2, 255, 256, 257, 511, 512, 600])
@pytest.mark.parametrize("kind", ["directory", "archive"])
def test_honest_ledger(tmp_path: Path, size: int, kind: str) -> None:
    """A ledger of any size verifies, and everything in it was checked."""
    files = publish(RECORDS[:size])
    report = audit(tmp_path, files, kind=kind)
    assert report.verdict is Verdict.VERIFIED, report
    assert (report.records, report.blobs) == (size, int(size > 1))
    assert report.tiles == sum(path.startswith("tile/") and not path.startswith("tile/entries") for path in files)


def test_three_levels(tmp_path: Path) -> None:
    """Tiles of level 2 are made and compared."""
    made = records(65_536 + 3)
    files = publish(made)
    assert audit(tmp_path, files, kind="archive").verdict is Verdict.VERIFIED
    files["tile/2/000.p/1"] = bytes(32)
    report = audit(tmp_path, files, kind="archive")
    assert places(report) == [("tile.mismatch", "tile/2/000.p/1")]


@given(path=st.sampled_from(sorted(FILES)), data=st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
def test_one_bit_anywhere(tmp_path: Path, path: str, data: st.DataObject) -> None:
    """One bit flipped in any file refutes the ledger; in a bundle or leaf tile the nearest record is named."""
    raw = bytearray(FILES[path])
    bit = data.draw(st.integers(0, len(raw) * 8 - 1))
    raw[bit // 8] ^= 1 << bit % 8
    report = audit(tmp_path, {**FILES, path: bytes(raw)}, kind="archive")
    assert report.verdict is Verdict.REFUTED
    if path.startswith("tile/0/"):
        index = int(path.split("/")[2][:3]) * 256 + bit // 256
        assert places(report) == [("tile.mismatch", f"record {index}")]
    elif path.startswith("tile/entries/"):
        start = int(path.split("/")[2][:3]) * 256
        named = [found.index for found in report.findings if found.index is not None]
        assert min(named) >= start
        assert min(named) <= start + bundle_position(path, bit // 8) + 1
    else:
        assert report.findings[0].place == path


def bundle_position(path: str, byte: int) -> int:
    """Which entry of a bundle the byte belongs to."""
    start = int(path.split("/")[2][:3]) * 256
    end = 0
    for position, record in enumerate(RECORDS[start:]):
        end += 2 + len(record)
        if byte < end:
            return position
    raise AssertionError


def flip_id(record: bytes) -> bytes:
    return record.replace(b'"grant":"g', b'"grant":"h')


TAMPERINGS: dict[str, tuple[Callable[[list[bytes]], list[bytes]], list[tuple[str, str]]]] = {
    "changed": (lambda r: [*r[:300], flip_id(r[300]), *r[301:]], [("record.prev", "record 301")]),
    "dropped": (lambda r: r[:300] + r[301:], [("record.index", "record 300"), ("record.prev", "record 300")]),
    "added": (lambda r: [*r[:300], *records(1, first=300, prev=leaf_hash(r[299]), salt="x"), *r[300:]], [("record.index", "record 301")]),
    "duplicated": (lambda r: [*r[:301], *r[300:]], [("record.index", "record 301")]),
    "swapped": (lambda r: [*r[:300], r[301], r[300], *r[302:]], [("record.index", "record 300")]),
    "first dropped": (lambda r: r[1:], [("record.index", "record 0")]),
    "tail doubled": (lambda r: r + r[-1:], [("record.index", f"record {SIZE}")]),
}


@pytest.mark.parametrize("name", TAMPERINGS)
def test_record_tampering_signed_anew(tmp_path: Path, name: str) -> None:
    """Records changed, dropped, added, doubled or swapped are found, even where all tiles and the signature were made anew."""
    tamper, expected = TAMPERINGS[name]
    report = audit(tmp_path, publish(tamper(RECORDS)))
    assert report.verdict is Verdict.REFUTED
    assert places(report)[: len(expected)] == expected


@pytest.mark.parametrize("name", TAMPERINGS)
def test_record_tampering_under_the_old_tiles(tmp_path: Path, name: str) -> None:
    """The same beside untouched tiles and checkpoint: the first finding is the first record that is not what it was."""
    tampered = TAMPERINGS[name][0](RECORDS)
    bundles = [tampered[:256], tampered[256:512], tampered[512:]]
    paths = ["tile/entries/000", "tile/entries/001", "tile/entries/002.p/88"]
    report = audit(tmp_path, {**FILES, **dict(zip(paths, map(bundle_encode, bundles), strict=True))})
    assert report.verdict is Verdict.REFUTED
    first = {"first dropped": "record 0", "added": "record 300", "tail doubled": paths[2]}.get(name)
    first = first or next(f"record {i}" for i in range(SIZE) if tampered[i] != RECORDS[i])
    assert report.findings[0].place == first


@pytest.mark.parametrize("kept", [1, 50, 87])
def test_tail_cut_in_the_last_bundle(tmp_path: Path, kept: int) -> None:
    """Fewer records than the checkpoint says are found in the bundle that holds too few."""
    path = "tile/entries/002.p/88"
    report = audit(tmp_path, {**FILES, path: bundle_encode(RECORDS[512 : 512 + kept])})
    assert report.verdict is Verdict.REFUTED
    assert ("tile.malformed", path) in places(report)
    assert f"holds {kept} records instead of 88" in report.findings[-1].message


def test_record_dropped_within_a_bundle(tmp_path: Path) -> None:
    """The finding names the record at which the gap begins, not only the bundle."""
    report = audit(tmp_path, {**FILES, "tile/entries/001": bundle_encode(RECORDS[256:400] + RECORDS[401:512])})
    assert places(report)[0] == ("record.index", "record 400")


def test_tail_cut_and_signed_again(tmp_path: Path) -> None:
    """A shorter ledger under a good signature is found only by who saw the longer one: from a file it is perhaps just old."""
    report = audit(tmp_path, publish(RECORDS[:400]), seen=checkpoint_of(FILES))
    assert report.verdict is Verdict.UNCHECKED
    assert "600 before" in report.incomplete[0]
    assert (report.integrity, report.completeness) == (Verdict.VERIFIED, "unchecked")
    assert audit(tmp_path, publish(RECORDS[:400]), seen=None).verdict is Verdict.VERIFIED


@pytest.mark.parametrize("size", [1, 255, 256, 257, 300, 512, 599, 600])
def test_growth_from_what_was_seen(tmp_path: Path, size: int) -> None:
    """A ledger that extends the checkpoint seen before verifies, wherever in a tile that ended."""
    report = audit(tmp_path, FILES, seen=checkpoint_of(publish(RECORDS[:size])))
    assert report.verdict is Verdict.VERIFIED
    assert f"the {size} records seen here before are unchanged" in report.sentence()


@pytest.mark.parametrize("size", [3, 256, 300, 600])
def test_rewritten_history(tmp_path: Path, size: int) -> None:
    """A ledger re-chained and signed anew with the true key is not the one seen before."""
    report = audit(tmp_path, publish(records(SIZE, salt="x")), seen=checkpoint_of(publish(RECORDS[:size])))
    assert places(report) == [("checkpoint.inconsistent", "checkpoint")]
    assert report.findings[0].index == size - 1


@pytest.mark.parametrize("size", [300, 600])
def test_a_changed_record_is_named_first_also_to_who_saw_the_ledger_before(tmp_path: Path, size: int) -> None:
    """That the records differ from those seen follows from the record at fault; the signed checkpoint itself is the old one."""
    path = "tile/entries/000"
    body = bytearray(FILES[path])
    body[body.index(b'"index":100,') + 200] ^= 1
    report = audit(tmp_path, {**FILES, path: bytes(body)}, seen=checkpoint_of(publish(RECORDS[:size])))
    assert report.findings[0].place.startswith("record 10")
    assert ("checkpoint.inconsistent", "checkpoint") in places(report)


def test_every_tile_is_compared(tmp_path: Path) -> None:
    """A wrong tile of hashes refutes, also where records and root agree."""
    for path in [path for path in FILES if path.startswith(("tile/0", "tile/1"))]:
        report = audit(tmp_path, {**FILES, path: bytes(len(FILES[path]))})
        assert [code for code, _ in places(report)] == ["tile.mismatch"], path
        report = audit(tmp_path, {**FILES, path: FILES[path][:-1]})
        assert places(report) == [("tile.malformed", path)]
        report = audit(tmp_path, {**FILES, path: FILES[path] + bytes(8192)})
        assert report.verdict is Verdict.REFUTED
        assert report.findings[0].place == path


@pytest.mark.parametrize("kind", ["directory", "archive"])
@pytest.mark.parametrize("path", [path for path in FILES if path != NOTICE_PATH])
def test_missing_file_proves_nothing(tmp_path: Path, path: str, kind: str) -> None:
    """Without a file there is no verdict, and the file is named."""
    report = audit(tmp_path, {name: body for name, body in FILES.items() if name != path}, kind=kind)
    assert report.verdict is Verdict.UNCHECKED
    assert path in report.unchecked[0]


@pytest.mark.parametrize("level", ["entries", "0", "1"])
def test_partial_tile_replaced_by_the_full_one(tmp_path: Path, level: str) -> None:
    """A log that grew may have deleted a partial tile; its beginning is read from the full one."""
    grown = publish(records(65_536)) if level == "1" else publish(records(768))
    files = {**grown, **{path: body for path, body in FILES.items() if f"tile/{level}/" not in path or ".p/" not in path}}
    assert audit(tmp_path, files, kind="archive").verdict is Verdict.VERIFIED


def test_wrong_key(tmp_path: Path) -> None:
    """Another key, also of the same name, opens nothing."""
    report = audit(tmp_path, FILES, key=Signer(SIGNER.name, b"\x01" * 32).verifier)
    assert places(report) == [("checkpoint.signature", "checkpoint")]
    assert report.completeness == "unchecked"


def test_another_logs_checkpoint(tmp_path: Path) -> None:
    """A checkpoint of another origin is refused even under the right key."""
    note = SIGNER.sign(Checkpoint("other.example.org", SIZE, checkpoint_of(FILES).root).text())
    assert places(audit(tmp_path, {**FILES, "checkpoint": note.encode()})) == [("checkpoint.signature", "checkpoint")]


@pytest.mark.parametrize("size", ["0600", "+600", "６００", "6_00", "600 ", "-600"])
def test_size_that_only_int_accepts(tmp_path: Path, size: str) -> None:
    """A checkpoint signed over an odd spelling of its size is refused."""
    lines = FILES["checkpoint"].decode().split("\n")
    note = SIGNER.sign(f"{lines[0]}\n{size}\n{lines[2]}\n")
    assert places(audit(tmp_path, {**FILES, "checkpoint": note.encode()})) == [("checkpoint.malformed", "checkpoint")]


def test_huge_size_reads_nothing_that_is_not_there(tmp_path: Path) -> None:
    """A signed size of 2^62 ends at the first missing file, at once."""
    note = SIGNER.sign(Checkpoint(SIGNER.name, 2**62, bytes(32)).text())
    report = audit(tmp_path, {**FILES, "checkpoint": note.encode()})
    assert report.verdict is Verdict.UNCHECKED
    assert "tile/entries/002:" in report.unchecked[0]


def test_empty_ledger(tmp_path: Path) -> None:
    """A ledger without its genesis record is not a ledger of ours."""
    assert places(audit(tmp_path, publish([]))) == [("genesis.missing", "checkpoint")]


@pytest.mark.parametrize(
    ("index", "kind", "data", "code"),
    [
        (0, "ledger.genesis", {"origin": "other.example.org"}, "genesis.origin"),
        (0, "staff.registered", {"staff": "s-1", "role": "auditor"}, "genesis.missing"),
        (1, "ledger.genesis", {"origin": SIGNER.name}, "genesis.repeated"),
        (1, "catalogue.activated", {"version": "1"}, "record.malformed"),
        (1, "policy.activated", {"revision": "1", "sha256": "A" * 64}, "record.malformed"),
        (2, "record.redacted", {"records": [1, 1], "reason": "erasure"}, "record.redaction"),
        (2, "record.redacted", {"records": [1, 0], "reason": "erasure"}, "record.redaction"),
        (2, "record.redacted", {"records": [0, 2], "reason": "erasure"}, "record.redaction"),
        (1, "staff.registered", {"role": "auditor", "staff": "s-1"}, "record.malformed"),
        (1, "staff.registered", {"staff": "s-1", "role": "auditor", "name": "x"}, "record.malformed"),
        (1, "staff.registered", {"staff": "330203199001011234", "role": "auditor"}, "record.malformed"),
    ],
)
def test_records_that_break_the_format(tmp_path: Path, index: int, kind: str, data: dict[str, object], code: str) -> None:
    """Genesis stands first and once and names the origin; what names a document names it by its digest."""
    made = records(index)
    made.append(encode_record(index, leaf_hash(made[-1]) if made else bytes(32), time_of(index), kind, data))
    assert places(audit(tmp_path, publish(made))) == [(code, f"record {index}")]


def test_time_runs_backwards(tmp_path: Path) -> None:
    """A record older than the one before it is named."""
    made = records(3)
    made.append(encode_record(3, leaf_hash(made[-1]), "2026-11-20T07:59:59.999Z", *event(3)))
    assert places(audit(tmp_path, publish(made))) == [("record.time", "record 3")]


def test_record_that_is_not_canonical(tmp_path: Path) -> None:
    """A signed and chained record in another spelling is refused by its index."""
    made = records(3)
    good = encode_record(3, leaf_hash(made[-1]), time_of(3), "no.known_type", {"a": 1})
    for raw in (good.replace(b"1}}", b"1.0}}"), good.replace(b'"a":1', b'"a":1,"a":1'), good.replace(b'"v":1', b'"v": 1'), b"", b"junk"):
        assert places(audit(tmp_path, publish([*made, raw]))) == [("record.malformed", "record 3")]


def test_documents(tmp_path: Path) -> None:
    """A named document that is missing or other bytes refutes."""
    without = {path: body for path, body in FILES.items() if path != NOTICE_PATH}
    (tmp_path / "a").mkdir()
    report = audit(tmp_path / "a", without)
    assert places(report) == [("blob.missing", NOTICE_PATH)]
    assert "record 1" in report.findings[0].message
    assert places(audit(tmp_path, {**FILES, NOTICE_PATH: b"other"})) == [("blob.mismatch", NOTICE_PATH)]


def test_findings_are_bounded(tmp_path: Path) -> None:
    """A ledger that is wrong everywhere fills neither memory nor screen."""
    report = audit(tmp_path, publish([b"junk"] * 300))
    assert len(report.findings) == 50
    assert report.omitted == 251
    assert "300 more below" in report.sentence()


def test_finding_outweighs_a_missing_file(tmp_path: Path) -> None:
    """A contradiction found before the source failed still refutes."""
    files = {path: body for path, body in FILES.items() if path != "tile/1/000.p/2"}
    report = audit(tmp_path, {**files, "tile/0/000": bytes(8192)})
    assert report.verdict is Verdict.REFUTED
    assert report.unchecked


def test_hashes_alone(tmp_path: Path) -> None:
    """Without reading records the chain is still followed."""
    files = publish([*RECORDS[:300], flip_id(RECORDS[300]), *RECORDS[301:]])
    with open_source(str(unpack_into(tmp_path, files))) as source:
        assert places(verify(source, SIGNER.verifier, Options(parse=False))) == [("record.prev", "record 301")]
