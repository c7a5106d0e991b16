"""The auditor's tool over ledgers whose key was rotated, and over one that went on under a new name."""

import re
from contextlib import closing
from itertools import pairwise
from pathlib import Path

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine
from test_heads import append, cut

from consent.ledger import rotation
from consent.ledger.continuing import continue_ledger
from consent.ledger.heads import HeadStore
from consent.ledger.rotation import rotate
from consent.ledger.service import export
from consent.ledger.signer import Signer
from consent_audit.errors import BadSignature
from consent_audit.note import Signer as Key
from consent_audit.note import Verifier, open_note
from consent_audit.report import Report
from consent_audit.sources import open_source
from consent_audit.verify import verify


async def judged(engine: AsyncEngine, folder: Path, trust: Verifier) -> Report:
    folder.mkdir(exist_ok=True)
    await export(engine, folder / "ledger.tar")
    with closing(open_source(str(folder / "ledger.tar"))) as source:
        return verify(source, trust)


async def rotated(engine: AsyncEngine, keys: list[Key]) -> None:
    """Two rotations; the keys before the last are thrown away at the end."""
    await append(engine, 3)
    await Signer(engine, keys[0]).sign_now()
    for old, new in pairwise(keys):
        await rotate(engine, [old, new])
        await append(engine, 3)
        await Signer(engine, [old, new]).sign_now()
    await append(engine)
    await Signer(engine, keys[-1]).sign_now()


async def test_every_key_of_the_chain_verifies_the_whole_history(engine: AsyncEngine, key: Key, tmp_path: Path):
    """Whoever was given the first, the middle or the newest key comes to the same end; a stranger's key does not."""
    keys = [key, Key.generate(key.name), Key.generate(key.name)]
    await rotated(engine, keys)
    for trusted in keys:
        report = await judged(engine, tmp_path, trusted.verifier)
        assert (report.findings, report.unchecked) == ([], [])
        assert report.current == keys[-1].verifier
        assert (report.checkpoint and report.checkpoint.size) == 13
    report = await judged(engine, tmp_path, Key.generate(key.name).verifier)
    assert [finding.code for finding in report.findings] == ["checkpoint.signature"]


async def test_a_rotation_that_the_old_key_did_not_sign_is_found(engine: AsyncEngine, key: Key, tmp_path: Path, monkeypatch):
    """Somebody with the database puts a key of his own in force: whoever trusts the old key refutes the record."""
    forged = Key.generate(key.name)
    await append(engine, 3)
    await Signer(engine, key).sign_now()
    real = rotation.signature_of
    monkeypatch.setattr(rotation, "signature_of", lambda note: real(forged.sign("something else\n")) if _by(note, key) else real(note))
    await rotate(engine, [key, forged])
    await Signer(engine, forged).sign_now()
    report = await judged(engine, tmp_path, key.verifier)
    assert report.findings
    report = await judged(engine, tmp_path, forged.verifier)
    assert ("key.rotation", 4) in {(finding.code, finding.index) for finding in report.findings}


def _by(note: str, key: Key) -> bool:
    try:
        open_note(note, [key.verifier])
    except BadSignature:
        return False
    return True


async def test_a_continued_ledger_says_what_is_missing(engine, owner_engine, key: Key, tmp_path: Path):
    """Nothing that is shown was changed; that records are missing, and how many, stands in the verdict of the new name's key."""
    (tmp_path / "heads").mkdir()
    (tmp_path / "heads-2").mkdir()
    heads = HeadStore(tmp_path / "heads", key.name)
    await append(engine, 9)
    await Signer(engine, key, heads=heads).sign_now()
    await cut(owner_engine, 4)
    new = Key.generate(f"{key.name}-2")
    await continue_ledger(engine, heads, new)
    await append(engine, 2)
    continued = Signer(engine, new, heads=HeadStore(tmp_path / "heads-2", new.name))
    await continued.sign_now()
    report = await judged(engine, tmp_path / "out", new.verifier)
    assert report.findings == []
    assert report.integrity == 0
    assert [set(re.findall(r"\d+", line)) >= {"4", "9"} and key.name in line for line in report.lost] == [True]
    assert report.completeness != "anchored"
    old = await judged(engine, tmp_path / "out", key.verifier)
    assert old.findings


@pytest.mark.parametrize("count", [1, 2])
async def test_the_next_key_after_a_continuation_rotates_again(engine, owner_engine, key: Key, tmp_path: Path, count: int):
    """The chain of keys of the new name begins anew."""
    (tmp_path / "heads").mkdir()
    heads = HeadStore(tmp_path / "heads", key.name)
    await append(engine, 9)
    await Signer(engine, key, heads=heads).sign_now()
    await cut(owner_engine, 4)
    chain = [Key.generate(f"{key.name}-2") for _ in range(count + 1)]
    await continue_ledger(engine, heads, chain[0])
    await rotated(engine, chain)
    for trusted in chain:
        report = await judged(engine, tmp_path / "out", trusted.verifier)
        assert (report.findings, report.unchecked) == ([], [])
