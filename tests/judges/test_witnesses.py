"""litewitness, and our own witness like it, cosigns our growing ledger, asked by the code that the service asks with, and refuses every
other history."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from ledger_judges import Refused, ledgerjudge, litewitness
from ledger_judges import Witness as Litewitness
from sqlalchemy.ext.asyncio import AsyncEngine

from consent import db
from consent.ledger import store
from consent.ledger.events import StaffRegistered, encode
from consent.ledger.proofs import prove
from consent.ledger.signer import Signer
from consent.ledger.store import Head
from consent.ledger.witness import Cosignature, WitnessFailed, ask
from consent.ledger.writer import write
from consent_audit.cosigner import Cosigner
from consent_audit.hashing import consistency_path, consistency_ranges, leaf_hash, range_nodes, root
from consent_audit.note import Checkpoint, Verifier, open_signatures
from consent_audit.note import Signer as Key
from consent_audit.policy import Witness
from consent_audit.witness_http import serving

pytestmark = pytest.mark.golang

EVENT = StaffRegistered(staff="staff-1", role="auditor")


class Asker:
    """Asks one witness as the service does, and keeps every request that left."""

    def __init__(self, witness: Witness) -> None:
        self.witness = witness
        self.requests: list[bytes] = []
        self.client = httpx.AsyncClient(trust_env=False, event_hooks={"request": [self._keep]})

    async def _keep(self, request: httpx.Request) -> None:
        self.requests.append(request.content)

    async def ledger(self, engine: AsyncEngine, head: Head, old: int) -> Cosignature:
        """A head of the ledger in the database, with proofs from there."""

        async def proof(first: int, second: int) -> list[bytes]:
            nodes = [node for start, end in consistency_ranges(first, second) for node in range_nodes(start, end)]
            async with db.read(engine) as connection:
                return consistency_path(first, second, await store.fetcher(connection, nodes))

        return await ask(self.client, self.witness, head, old, proof)

    async def history(self, key: Key, leaves: list[bytes], old: int) -> Cosignature:
        """A head over these leaves, made by whoever holds the key, with the proof that these leaves have."""

        async def proof(first: int, second: int) -> list[bytes]:
            return consistency_path(first, second, lambda height, n: root(leaves[n << height : (n + 1) << height]))

        head = Head(len(leaves), root(leaves), key.sign(Checkpoint(key.name, len(leaves), root(leaves)).text()))
        return await ask(self.client, self.witness, head, old, proof)


@contextmanager
def our_witness(directory: Path, name: str, vkey: str) -> Iterator[Litewitness]:
    """`consent-audit witness`, which must do as litewitness does."""
    cosigner = Cosigner.generate(name)
    with serving(cosigner, [Verifier.parse(vkey)], directory, ("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield Litewitness(f"http://127.0.0.1:{server.server_address[1]}", cosigner.verifier.vkey)
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(params=[litewitness, our_witness], ids=["litewitness", "consent-audit"])
async def asker(request: pytest.FixtureRequest, key: Key, tmp_path: Path) -> AsyncIterator[Asker]:
    """A fresh witness that knows the log, and who asks it."""
    with request.param(tmp_path, "witness.example.org/w1", key.vkey) as running:
        asker = Asker(Witness("w1", Verifier.parse(running.vkey), running.url))
        yield asker
        await asker.client.aclose()


async def grow(engine: AsyncEngine, signer: Signer, count: int) -> Head:
    async with write(engine) as transaction:
        for _ in range(count):
            transaction.append_encoded(EVENT.TYPE, encode(EVENT))
    head = await signer.sign_now()
    assert head is not None
    return head


async def leaves_of(engine: AsyncEngine, size: int) -> list[bytes]:
    async with db.read(engine) as connection:
        return await store.hashes(connection, 0, 0, size)


def text_of(head: Head) -> str:
    return head.note.partition("\n\n")[0] + "\n"


async def test_growth_is_cosigned(engine, ledger: Signer, key: Key, asker: Asker, tmp_path: Path) -> None:
    """Every head from the first record across tile boundaries is cosigned; Go's own library accepts each proof that was sent."""
    old = None
    for count in (0, 1, 1, 252, 1, 1, 300, 4096, 1):
        head = await grow(engine, ledger, count)
        cosignature = await asker.ledger(engine, head, 0 if old is None else old.size)
        text = text_of(head)
        assert open_signatures(f"{text}\n{cosignature.line}", [asker.witness.verifier])[1][asker.witness.verifier]
        if old is not None:
            (tmp_path / "old").write_text(old.note)
            (tmp_path / "request").write_bytes(asker.requests[-1])
            ledgerjudge("growth", key.vkey, tmp_path / "old", tmp_path / "request")
        old = head
    assert len(asker.requests) == 9


async def test_a_proof_with_one_bit_changed_is_refused(engine, ledger: Signer, key: Key, asker: Asker, tmp_path: Path) -> None:
    """The judge is not content with everything: hash, root and order of a growth proof count."""
    old = await grow(engine, ledger, 299)
    await asker.ledger(engine, old, 0)
    await asker.ledger(engine, await grow(engine, ledger, 700), old.size)
    request = asker.requests[-1].decode()
    lines = request.split("\n")
    swapped = "\n".join([lines[0], lines[2], lines[1], *lines[3:]])
    other = lines[1].translate(str.maketrans("ABab", "BAba")) if set("ABab") & set(lines[1]) else "A" + lines[1][1:]
    (tmp_path / "old").write_text(old.note)
    for wrong in (
        request.replace(lines[1], other),
        swapped,
        request.replace("old 300", "old 299"),
        request.replace("\n1000\n", "\n1001\n"),
    ):
        (tmp_path / "request").write_text(wrong)
        with pytest.raises(Refused):
            ledgerjudge("growth", key.vkey, tmp_path / "old", tmp_path / "request")


async def test_a_fork_under_the_logs_own_key_is_refused(engine, ledger: Signer, key: Key, asker: Asker) -> None:
    """History rewritten and signed anew with the stolen key: the witness gives no cosignature, larger, smaller or of equal size,
    and goes on cosigning the true ledger."""
    await asker.ledger(engine, await grow(engine, ledger, 299), 0)
    true = await leaves_of(engine, 300)
    forged = [*true[:150], leaf_hash(b"rewritten"), *true[151:]]
    for leaves, trouble in ((forged, "fork"), ([*forged, leaf_hash(b"more")], "fork"), (forged[:299], "ahead"), (true[:299], "ahead")):
        with pytest.raises(WitnessFailed) as refused:
            await asker.history(key, leaves, min(300, len(leaves)))
        assert refused.value.trouble == trouble
    await asker.ledger(engine, await grow(engine, ledger, 5), 300)


async def test_two_heads_at_once_are_not_both_cosigned(engine, ledger: Signer, key: Key, asker: Asker) -> None:
    """Two sequencers with one key, each with its own next record: at most one of them is cosigned at each size."""
    await asker.ledger(engine, await grow(engine, ledger, 9), 0)
    true = await leaves_of(engine, 10)
    rivals = [[*true, leaf_hash(bytes([n]))] for n in range(8)]
    answers = await asyncio.gather(*(asker.history(key, leaves, 10) for leaves in rivals), return_exceptions=True)
    assert sum(isinstance(answer, Cosignature) for answer in answers) == 1
    assert all(isinstance(answer, Cosignature | WitnessFailed) for answer in answers)


async def test_a_stranger_is_refused(engine, ledger: Signer, key: Key, asker: Asker) -> None:
    """A log that the witness does not know, and our name under another key."""
    leaves = [leaf_hash(b"x")]
    for stranger in (Key.generate("other.example.org/ledger"), Key.generate(key.name)):
        with pytest.raises(WitnessFailed) as refused:
            await asker.history(stranger, leaves, 0)
        assert refused.value.trouble == "refused"


@pytest.fixture
def policy(asker: Asker, key: Key, tmp_path: Path) -> Iterator[Path]:
    """A tlog-policy that demands the witness."""
    (tmp_path / "policy").write_text(f"log {key.vkey}\nwitness w1 {asker.witness.verifier.vkey}\nquorum w1\n")
    return tmp_path / "policy"


async def test_a_proof_below_a_cosigned_checkpoint(engine, ledger: Signer, key: Key, asker: Asker, policy: Path, tmp_path: Path) -> None:
    """torchwood's reader of tlog-proof and tlog-policy files accepts our proof with the cosignature, and refuses it without."""
    head = await grow(engine, ledger, 300)
    cosignature = await asker.ledger(engine, head, 0)
    for index in (0, 255, 256, 300):
        async with db.read(engine) as connection:
            proven = await prove(connection, index)
        (tmp_path / "record").write_bytes(proven.record)
        (tmp_path / "proof").write_text(proven.proof)
        ledgerjudge("inclusion", key.vkey, tmp_path / "proof", tmp_path / "record")
        with pytest.raises(Refused, match="policy components"):
            ledgerjudge("quorum", policy, tmp_path / "proof", tmp_path / "record")
        (tmp_path / "proof").write_text(proven.proof + cosignature.line)
        ledgerjudge("quorum", policy, tmp_path / "proof", tmp_path / "record")
        (tmp_path / "record").write_bytes(proven.record.replace(b'"v":1', b'"v":2'))
        for command, trusted in (("quorum", policy), ("inclusion", key.vkey)):
            with pytest.raises(Refused):
                ledgerjudge(command, trusted, tmp_path / "proof", tmp_path / "record")
