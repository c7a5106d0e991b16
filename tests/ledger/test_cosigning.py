"""Witnesses: their cosignatures stand with the checkpoint, early or late, and a bad one harms nothing but its own count."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from datetime import timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from witness_peer import HONEST, Peer, network, policy

from consent import db
from consent.db import create_engine
from consent.ledger import cosigning as cosigning_module
from consent.ledger import store, witness
from consent.ledger.cosigning import Cosigning
from consent.ledger.events import StaffRegistered
from consent.ledger.signer import Signer
from consent.ledger.writer import write
from consent_audit.note import Signer as Key

ALL = "group g all {}\nquorum g\n"
PATIENCE = timedelta(seconds=2)


@pytest.fixture
def peers(key: Key) -> list[Peer]:
    """Three witnesses that know the log."""
    return [Peer(name, key.verifier) for name in ("ada", "bo", "cy")]


@pytest.fixture
async def cosigning(engine: AsyncEngine, key: Key, peers: list[Peer]) -> AsyncIterator[Cosigning]:
    """Two of three must cosign."""
    rule = policy(key.verifier, "group g 2 ada bo cy\nquorum g\n", *peers)
    made = Cosigning(engine, rule, patience=PATIENCE, client=network(*peers))
    yield made
    await made.stop()


@pytest.fixture
def signer(engine: AsyncEngine, key: Key, cosigning: Cosigning) -> Signer:
    """The oracle of tests/conftest.py signs with this one, so every ledger here is verified with its cosignatures."""
    return Signer(engine, key, cosigning=cosigning)


async def append(engine: AsyncEngine, count: int = 1) -> None:
    async with write(engine) as transaction:
        for _ in range(count):
            transaction.append(StaffRegistered(staff="staff-1", role="auditor"))


async def grown(engine: AsyncEngine, signer: Signer, count: int = 1) -> store.Head:
    await append(engine, count)
    head = await signer.sign_now()
    assert head is not None
    return head


async def settled(condition: Callable[[], bool]) -> None:
    """Wait for what a witness's task does in its own time."""
    async with asyncio.timeout(15):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def witnessed(engine: AsyncEngine) -> store.Head | None:
    async with db.read(engine) as connection:
        return await store.witnessed_head(connection)


async def test_cosignatures_stand_with_the_checkpoint(engine, ledger: Signer, key, peers):
    """Through growth across tile boundaries every witness follows by consistency proofs, and the quorum holds for what is shown."""
    rule = policy(key.verifier, ALL.format("ada bo cy"), *peers)
    signer = Signer(engine, key, cosigning=Cosigning(engine, rule, client=network(*peers)))
    for count in (1, 1, 253, 1, 300, 7):
        head = await grown(engine, signer, count)
        assert rule.demand(head.note).checkpoint.size == head.size
        assert await witnessed(engine) == head
    assert peers[0].requests == [0, 2, 3, 256, 257, 557]
    await signer.cosigning.stop()


async def test_a_witness_that_knows_more_of_us_corrects_the_proof(engine, key, ledger: Signer, peers, database):
    """A process that starts anew asks with old size 0, is told the size by a 409, and proves from there."""
    await grown(engine, ledger, 5)
    other = create_engine(database.app_url)
    rule = policy(key.verifier, ALL.format("ada bo cy"), *peers)
    fresh = Signer(other, key, cosigning=Cosigning(other, rule, client=network(*peers)))
    await settled(lambda: peers[0].seen.size == 6)
    await append(engine, 4)
    head = await fresh.sign_now()
    await fresh.cosigning.stop()
    await other.dispose()
    assert peers[0].requests == [0, 0, 6]
    assert head is not None
    assert peers[0].seen.root == head.root


VICES = {
    "absent": "absent", "error": "absent", "unknown log": "refused", "redirect": "absent", "another text": "lied", "another key": "lied",
    "same name": "lied", "junk": "lied", "nothing": "lied", "endless": "lied", "larger": "ahead", "not a size": "lied", "huge size": "lied",
    "refutes": "fork",
}  # fmt: skip


@pytest.mark.parametrize("vice", VICES)
async def test_one_bad_witness_harms_nothing(engine, ledger: Signer, cosigning, key, peers, vice: str, caplog):
    """The other two make the quorum, nothing of the bad one is published, and what it did is named and logged once."""
    peers[1].vice = vice
    begun = time.monotonic()
    with caplog.at_level(logging.INFO):
        heads = [await grown(engine, ledger) for _ in range(3)]
    assert time.monotonic() - begun < 3 * PATIENCE.total_seconds()
    await settled(lambda: cosigning.trouble == {"bo": VICES[vice]})
    cosigned = policy(key.verifier, ALL.format("ada cy"), *peers).demand(heads[-1].note)
    assert sorted(cosigned.times) == ["ada", "cy"]
    assert "bo.example.org" not in heads[-1].note
    assert await witnessed(engine) == heads[-1]
    assert sum("witness bo does not cosign" in line for line in caplog.messages) == 1


async def test_without_a_quorum_heads_are_shown_all_the_same(engine, ledger: Signer, cosigning, peers):
    """Two of three are away: each head is shown, the first after some patience and the next at once, and none counts as witnessed."""
    peers[0].vice = peers[2].vice = "absent"
    first = await grown(engine, ledger)
    begun = time.monotonic()
    second = await grown(engine, ledger)
    assert time.monotonic() - begun < PATIENCE.total_seconds()
    assert (first.size, second.size) == (2, 3)
    assert await witnessed(engine) is None
    assert cosigning.trouble == {"ada": "absent", "cy": "absent"}


async def test_a_late_cosignature_is_added(engine, ledger: Signer, key, peers):
    """A witness slower than our patience: the head is shown without it, and with it once it comes; nobody waits for it again."""
    rule = policy(key.verifier, ALL.format("ada bo cy"), *peers)
    peers[2].vice = "absent"
    peers[1].held.clear()
    head = await grown(engine, ledger)
    assert sorted(rule.open(head.note).times) == ["ada"]
    assert await witnessed(engine) is None
    peers[1].held.set()
    async with asyncio.timeout(15):
        while await witnessed(engine) is None:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    late = await witnessed(engine)
    assert late is not None
    assert sorted(rule.open(late.note).times) == ["ada", "bo"]
    assert late == await ledger.sign_now()
    peers[1].held.clear()
    begun = time.monotonic()
    await grown(engine, ledger)
    assert time.monotonic() - begun < PATIENCE.total_seconds()


async def test_a_witness_that_comes_back_is_asked_again(engine, ledger: Signer, key, cosigning, peers, monkeypatch):
    """The loop brings the newest head to whoever missed it, without a new record, and what was the matter is over."""
    monkeypatch.setattr(cosigning_module, "BACKOFF_SECONDS", (0.1,))
    monkeypatch.setattr("consent.ledger.signer.TAKEOVER", timedelta(seconds=0.1))
    peers[0].vice = "error"
    loop = Signer(engine, key, timedelta(milliseconds=50), cosigning=cosigning)
    await grown(engine, ledger)
    await settled(lambda: cosigning.trouble == {"ada": "absent"})
    peers[0].vice = HONEST
    await loop.start()
    await settled(lambda: not cosigning.trouble and peers[0].seen.size == 2)
    loop._cosigning = None  # the fixture stops it
    await loop.stop()


async def test_a_head_whose_signer_died_is_shown_by_another(engine, ledger: Signer, key, peers, monkeypatch):
    """Signed and stored, but its process was killed before it was shown: the next round of any process brings it to its end."""
    monkeypatch.setattr("consent.ledger.signer.TAKEOVER", timedelta(seconds=0.1))
    dying = Signer(engine, key)

    async def killed(*_: object) -> None:
        raise asyncio.CancelledError

    monkeypatch.setattr(dying, "_show", killed)
    await append(engine)
    with pytest.raises(asyncio.CancelledError):
        await dying.sign_now()
    async with db.read(engine) as connection:
        assert await store.newest_head(connection) is None
    other = Signer(engine, key, timedelta(milliseconds=50))
    await other.start()
    async with asyncio.timeout(15):
        while True:
            async with db.read(engine) as connection:
                if (head := await store.newest_head(connection)) is not None:
                    break
            await asyncio.sleep(0.02)
    await other.stop()
    assert head.size == 2


async def test_processes_that_ask_at_once_agree(database, engine, ledger: Signer, key, peers):
    """Three processes sign and ask side by side: one row for each witness and head, no false alarm, and the quorum holds at the end."""
    engines = [create_engine(database.app_url) for _ in range(3)]
    rule = policy(key.verifier, ALL.format("ada bo cy"), *peers)
    cosignings = [Cosigning(each, rule, client=network(*peers)) for each in engines]
    racing = [Signer(each, key, cosigning=cosigning) for each, cosigning in zip(engines, cosignings, strict=True)]

    async def work(signer: Signer, each: AsyncEngine) -> None:
        for _ in range(8):
            await append(each)
            await signer.sign_now()

    await asyncio.gather(*(work(signer, each) for signer, each in zip(racing, engines, strict=True)))
    assert [cosigning.trouble for cosigning in cosignings] == [{}, {}, {}]
    await append(engine)
    head = await racing[0].sign_now()
    assert head is not None
    rule.demand(head.note)
    for cosigning, each in zip(cosignings, engines, strict=True):
        await cosigning.stop()
        await each.dispose()


async def test_a_head_that_was_overtaken_is_no_alarm(engine, ledger: Signer, key, cosigning, peers):
    """Another process showed the witness a larger head of ours: nothing is the matter with it; a size that we never had is."""
    await append(engine)
    old = await Signer(engine, key).sign_now()
    assert old is not None
    await grown(engine, ledger)
    late = Cosigning(engine, policy(key.verifier, "quorum none\n", *peers), client=network(*peers))
    late.offer(old)
    await settled(lambda: [peer.requests for peer in peers] == [[0, 0], [0, 0], [0, 0]])
    await late.wait(old)
    await asyncio.sleep(0.2)
    assert late.trouble == {}
    peers[0].vice = "larger"
    await grown(engine, ledger)
    await settled(lambda: cosigning.trouble == {"ada": "ahead"})
    await late.stop()


async def test_an_append_waits_for_no_witness(engine, ledger: Signer, peers):
    """While all witnesses hang, records are appended and committed."""
    for peer in peers:
        peer.held.clear()
    waiting = asyncio.ensure_future(grown(engine, ledger))
    await settled(lambda: all(peer.requests for peer in peers))
    await append(engine, 10)
    assert not waiting.done()
    await waiting


async def test_an_answer_that_trickles_is_cut_off(engine, ledger: Signer, cosigning, peers, monkeypatch):
    """A witness that never finishes is slow, not a request for ever."""
    monkeypatch.setattr(witness, "ANSWER_SECONDS", 0.2)
    peers[0].held.clear()
    await grown(engine, ledger)
    await settled(lambda: cosigning.trouble == {"ada": "slow"})


async def test_what_is_shown_never_goes_back(engine, ledger: Signer, key, peers):
    """Heads shown while cosignatures come early, late and never: each reader sees sizes that only grow."""
    seen: list[int] = []

    async def read() -> None:
        while True:
            async with db.read(engine) as connection:
                head = await store.newest_head(connection)
            if head is not None:
                seen.append(head.size)
            await asyncio.sleep(0.005)

    reader = asyncio.ensure_future(read())
    for slow in ((), (0, 1), (), (2,), (0, 2)):
        for place, peer in enumerate(peers):
            (peer.held.clear if place in slow else peer.held.set)()
        await grown(engine, ledger)
    await settled(lambda: seen[-1] == 6)
    reader.cancel()
    assert seen == sorted(seen)
    async with engine.connect() as connection:
        assert list((await connection.execute(text("select size from ledger_head_stage where stage = 'shown'"))).scalars()) == [
            2,
            3,
            4,
            5,
            6,
        ]
