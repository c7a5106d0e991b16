"""Digests are opened from what is kept, and what is missing, false or stray is found by its record."""

import base64
import hashlib

import pytest
from sqlalchemy import text
from test_evidence import registered

from consent.errors import NotFound
from consent.ledger import disclosure, events, parts, statements
from consent.ledger.disclosure import DIGESTS, check, open_record
from consent.ledger.evidence import Evidence
from consent.ledger.writer import write
from consent_audit.encoding import parse_base64
from consent_audit.grammar import MEMBERS

CODE = "91330200000000001X"


@pytest.fixture
async def kept(engine, ledger) -> list[int]:
    """Three records with evidence: a registration, a link of two parties, a refused request with two verdicts."""
    async with write(engine) as tx:
        first = Evidence()
        indexes = [tx.append(registered(first, CODE), first)]
        her, its = Evidence(), Evidence()
        link = events.SubjectLinked(person=her.commit("person", "p"), enterprise=its.commit("enterprise", CODE), role="shareholder")
        indexes.append(tx.append(link, her, its))
        asked = Evidence()
        verdicts = tuple(
            parts.Verdict(
                identifier_digest=asked.commit(f"verdicts.{n}.identifier_digest", name),
                item="unknown",
                action="unknown",
                purpose="unknown",
                product=None,
                verdict="refuse",
                codes=("item.unknown",),
            )
            for n, name in enumerate(("one", "two"))
        )
        refused = events.GrantRequestRefused(
            request="r", institution="bank-a", client="c", verdicts=verdicts, excess=0, policy="p", catalogue="c"
        )
        indexes.append(tx.append(refused, asked))
    return indexes


async def do(engine, statement: str, **parameters: object) -> None:
    async with engine.begin() as connection:
        await connection.execute(text(statement), parameters)


async def test_all_that_is_kept_opens(engine, kept):
    """Five digests in three records; nothing is amiss."""
    found = await check(engine)
    assert (found.opened, found.redacted, found.faults, found.findings) == (5, 0, 0, [])
    assert found.records == max(kept) + 1


async def test_an_opening_convinces_by_itself(engine, kept):
    """Salt and value give the digest, by SHA-256 alone."""
    [opening] = await open_record(engine, kept[0])
    assert (opening.member, opening.value) == ("commitment", CODE)
    digest = hashlib.sha256(parse_base64(opening.salt) + CODE.encode()).digest()
    assert opening.digest == base64.urlsafe_b64encode(digest).decode().rstrip("=")
    assert [o.member for o in await open_record(engine, kept[2])] == ["verdicts.0.identifier_digest", "verdicts.1.identifier_digest"]
    assert await open_record(engine, 0) == []
    with pytest.raises(NotFound):
        await open_record(engine, 999)


@pytest.mark.parametrize(
    ("statement", "what"),
    [
        ("delete from evidence where idx = :idx", ["missing"]),
        ("update evidence set secret = decode(repeat('00', 32), 'hex') where idx = :idx", ["false"]),
        ('update evidence set members = \'{"commitment": "other"}\' where idx = :idx', ["false"]),
        ('update evidence set members = \'{"commitment": "91330200000000001X", "loan": "x"}\' where idx = :idx', ["stray"]),
        ("update evidence set idx = 0 where idx = :idx", ["stray", "missing"]),
        ("update evidence set idx = 999 where idx = :idx", ["stray", "missing"]),
    ],
)
async def test_what_is_amiss_is_named(engine, owner_engine, kept, statement: str, what: list[str]):
    """Deleted, changed, added or moved behind the service's back: found, with the record."""
    await do(owner_engine, statement, idx=kept[0])
    found = await check(engine)
    assert [finding.what for finding in found.findings] == what
    assert found.faults == len(what)
    assert await open_record(engine, kept[0]) == [] or what == ["stray"]


async def test_a_redaction_excuses_its_records_alone(engine, owner_engine, kept):
    """What the ledger says was deleted may be missing; another record's evidence may not, and what is said to be gone must be."""
    async with write(engine) as tx:
        tx.append(statements.RecordRedacted(records=(kept[0], kept[1]), reason="erasure"))
    found = await check(engine)
    assert [(finding.index, finding.what) for finding in found.findings] == [(kept[0], "kept"), (kept[1], "kept")]
    await do(owner_engine, "delete from evidence where idx = :idx", idx=kept[0])
    await do(owner_engine, "delete from evidence where idx = :idx and place = 0", idx=kept[1])
    found = await check(engine)
    assert (found.faults, found.redacted, found.opened) == (0, 2, 3)
    await do(owner_engine, "delete from evidence where idx = :idx", idx=kept[2])
    found = await check(engine)
    assert [(finding.index, finding.what) for finding in found.findings] == [(kept[2], "missing")] * 2


async def test_a_redaction_cannot_reach_forward(engine, owner_engine):
    """Named before it was written, a record is not redacted. (The verifier refuses such a ledger outright.)"""
    async with write(engine) as tx:
        tx.append(statements.RecordRedacted(records=(tx.size + 1,), reason="erasure"))
        evidence = Evidence()
        index = tx.append(registered(evidence), evidence)
    await do(owner_engine, "delete from evidence")
    found = await check(engine)
    assert [(finding.index, finding.what) for finding in found.findings] == [(index, "missing")]


async def test_many_faults_are_counted_and_some_named(engine, ledger, monkeypatch):
    """The list ends, the count does not; chunks join."""
    monkeypatch.setattr(disclosure, "CHUNK", 7)
    monkeypatch.setattr(disclosure, "MAX_FINDINGS", 5)
    async with write(engine) as tx:
        for _ in range(20):
            tx.append(registered(Evidence()))
    found = await check(engine)
    assert (found.faults, len(found.findings)) == (20, 5)


def test_every_digest_of_every_type_is_looked_at():
    """A new salted digest in a record type must be named in DIGESTS; thumbprints of public keys are no secret."""
    blocks = [block.split("\n") for block in MEMBERS.strip().split("\n\n")]
    bodies = {tuple(names.split()): members for names, *members in blocks if not names.startswith("#")}
    holders = {kind for names, members in bodies.items() for kind in names if any(" digest" in m or "[digest]" in m for m in members)}
    thumbprints = {"client.registered", "client.changed"}
    parts_with_digests = {"Verdict"}
    assert {kind for kind in holders if "." in kind} - thumbprints | {"grant.request_refused"} == set(DIGESTS)
    assert {kind for kind in holders if "." not in kind} == parts_with_digests
