"""Proof files: one spelling, and nothing but the record that they were made for passes."""

from collections.abc import Callable

import pytest
from audit_ledgers import SIGNER, publish, records
from hypothesis import given
from hypothesis import strategies as st

from consent_audit.cosigner import Cosigner
from consent_audit.encoding import format_base64
from consent_audit.errors import AuditError, BadProof, BadSignature, Malformed, MalformedProof, Refuted, Unwitnessed
from consent_audit.hashing import inclusion_path, leaf_hash, root
from consent_audit.note import Signer
from consent_audit.policy import Policy
from consent_audit.proof import HEADER, MAX_PROOF_BYTES, Proof

ENTRIES = records(300)
LEAVES = [leaf_hash(entry) for entry in ENTRIES]
NOTE = publish(ENTRIES)["checkpoint"].decode()
TRUST = Policy.trusting(SIGNER.verifier)
INDEX = 261


def path(index: int) -> tuple[bytes, ...]:
    return tuple(inclusion_path(index, 300, lambda height, n: root(LEAVES[n << height : (n + 1) << height])))


PROOF = Proof(INDEX, path(INDEX), NOTE, ENTRIES[INDEX])
FILE = PROOF.format()


@pytest.mark.parametrize("index", [0, 1, 255, 256, 299])
def test_every_record_proves_itself(index: int) -> None:
    """A proof of a record holds, also after it was written and read, with and without the record inside."""
    for extra in (None, b"", ENTRIES[index]):
        proof = Proof.parse(Proof(index, path(index), NOTE, extra).format().encode())
        assert proof == Proof(index, path(index), NOTE, extra)
        assert proof.verify(ENTRIES[index], TRUST).checkpoint.size == 300


def test_format() -> None:
    """The lines stand as in the specification."""
    lines = FILE.split("\n")
    assert lines[:3] == [HEADER, f"extra {format_base64(ENTRIES[INDEX])}", "index 261"]
    assert FILE.endswith("\n\n" + NOTE)
    assert lines.index("") == 3 + len(PROOF.path)


def test_another_record_place_or_log() -> None:
    """Another record, another index, another log's key, or a rewritten head: refused."""
    with pytest.raises(BadProof):
        PROOF.verify(ENTRIES[INDEX - 1], TRUST)
    for index in (INDEX - 1, INDEX + 1, 299, 300, 2**62):
        with pytest.raises(BadProof):
            Proof(index, PROOF.path, NOTE).verify(ENTRIES[INDEX], TRUST)
    for longer in ((*PROOF.path, bytes(32)), PROOF.path[:-1], (), PROOF.path[::-1]):
        with pytest.raises(BadProof):
            Proof(INDEX, longer, NOTE).verify(ENTRIES[INDEX], TRUST)
    other = publish(records(300, salt="x"))["checkpoint"].decode()
    with pytest.raises(BadProof):
        Proof(INDEX, PROOF.path, other).verify(ENTRIES[INDEX], TRUST)
    stranger = Policy.trusting(Signer(SIGNER.name, b"\x09" * 32).verifier)
    with pytest.raises(BadSignature):
        PROOF.verify(ENTRIES[INDEX], stranger)


def test_size_zero_proves_nothing() -> None:
    """In an empty log there is no record 0."""
    empty = SIGNER.sign(f"{SIGNER.name}\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n")
    with pytest.raises(BadProof):
        Proof.parse(f"{HEADER}\nindex 0\n\n{empty}").verify(b"", TRUST)


def test_quorum_is_demanded() -> None:
    """Where the policy demands a witness, the log's own signature is not enough, unless the caller looks at the quorum himself."""
    witness = Cosigner("w.example.org", b"\x08" * 32)
    policy = Policy.parse(f"log {SIGNER.vkey}\nwitness W {witness.verifier.vkey}\nquorum W\n")
    with pytest.raises(Unwitnessed):
        PROOF.verify(ENTRIES[INDEX], policy)
    assert not PROOF.verify(ENTRIES[INDEX], policy, demand_quorum=False).quorum
    text = NOTE.split("\n\n", maxsplit=1)[0] + "\n"
    witnessed = Proof(INDEX, PROOF.path, NOTE + witness.cosign(text, 1_800_000_000))
    assert witnessed.verify(ENTRIES[INDEX], policy).times == {"W": 1_800_000_000}


def swap(old: str, new: str) -> Callable[[], str]:
    assert old in FILE
    return lambda: FILE.replace(old, new, 1)


@pytest.mark.parametrize(
    "make",
    [
        lambda: "",
        lambda: HEADER,
        lambda: f"{HEADER}\n\n{NOTE}",
        lambda: FILE[:-1],
        lambda: FILE + "\n",
        lambda: "\n" + FILE,
        lambda: FILE + "x" * MAX_PROOF_BYTES,
        swap(HEADER, "c2sp.org/tlog-proof@v2"),
        swap("index 261", "index 0261"),
        swap("index 261", "index +261"),
        swap("index 261", "index 2_61"),
        swap("index 261", "index ２61"),
        swap("index 261", "index 261 "),
        swap("index 261", "index  261"),
        swap("index 261", "index 261\r"),
        swap("index 261", "index -1"),
        swap("index 261", "index 9223372036854775808"),
        swap("index 261\n", ""),
        swap("index 261\n", "index 261\nindex 261\n"),
        swap("index 261\n", "index 261\nextra AA==\n"),
        swap("index 261\n", "index 261\nAAAA\n"),
        swap("index 261\n", "index 261\n \n"),
        swap("index 261\n", "index 261\n" + f"{format_base64(bytes(32))}\n" * 64),
        swap("extra ", "extra  "),
        swap("extra ", "extra A"),
        swap("extra ", "Extra "),
        swap("extra ", "extra AA==\nextra "),
        swap("\n300\n", "\n0300\n"),
        swap("\n300\n", "\n"),
    ],
)
def test_junk(make: Callable[[], str]) -> None:
    """Whatever is not exactly the format is refused before anything is computed."""
    with pytest.raises(Malformed):
        Proof.parse(make())


def test_not_utf8() -> None:
    """Bytes that are no text are no proof."""
    with pytest.raises(MalformedProof):
        Proof.parse(b"\xff" + FILE.encode())


@given(st.integers(0, len(FILE.encode()) * 8 - 1))
def test_any_bit_flipped_is_refused(bit: int) -> None:
    """One bit anywhere: refused, but for the extra line, which then gives other bytes than the record's."""
    raw = bytearray(FILE.encode())
    raw[bit // 8] ^= 1 << bit % 8
    try:
        proof = Proof.parse(bytes(raw))
        assert proof.extra is not None
        proof.verify(proof.extra, TRUST)
    except Refuted:
        return
    raise AssertionError("accepted")


@given(st.binary(max_size=300))
def test_noise_never_crashes(noise: bytes) -> None:
    """Any bytes give a proof or an error of ours."""
    for raw in (noise, FILE.encode()[:200] + noise, HEADER.encode() + b"\nindex 1\n" + noise):
        with pytest.raises(AuditError):
            Proof.parse(raw).verify(b"", TRUST)
