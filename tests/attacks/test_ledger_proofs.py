"""A proof that was touched, borrowed or made up proves nothing, and the refusal says where it is wrong."""

from dataclasses import replace

import pytest
from audit_ledgers import SIGNER, records

from consent_audit.cosigner import Cosigner
from consent_audit.encoding import format_base64
from consent_audit.errors import CannotCheck, Refuted
from consent_audit.hashing import EMPTY_ROOT, inclusion_path, leaf_hash, root
from consent_audit.note import Checkpoint, Signer
from consent_audit.policy import Policy
from consent_audit.proof import Proof

SIZE = 300
INDEX = 200
RECORDS = records(SIZE)
STRANGER = Signer("other.example.org/ledger", bytes(31) + b"\x01")
IMPOSTOR = Signer(SIGNER.name, bytes(31) + b"\x01")
WITNESS = Cosigner("witness.example.org/w1", bytes(32))
POLICY = Policy.parse(f"log {SIGNER.vkey}\nwitness w1 {WITNESS.verifier.vkey}\nquorum w1\n")


def prove(entries: list[bytes], index: int, signer: Signer = SIGNER, *, witnessed: bool = True) -> Proof:
    """The proof that whoever holds the keys can make."""
    leaves = [leaf_hash(entry) for entry in entries]
    path = inclusion_path(index, len(leaves), lambda height, n: root(leaves[n << height : (n + 1) << height]))
    text = Checkpoint(signer.name, len(leaves), root(leaves)).text()
    return Proof(index, tuple(path), signer.sign(text) + (WITNESS.cosign(text, 1767225600) if witnessed else ""))


TRUE = prove(RECORDS, INDEX)
FILE = TRUE.format()
NOTE = TRUE.note


def check(file: str | bytes, record: bytes = RECORDS[INDEX]) -> None:
    Proof.parse(file).verify(record, POLICY)


def test_the_true_proof_is_accepted() -> None:
    """What is attacked below holds untouched."""
    check(FILE)


def test_one_bit_flipped_anywhere() -> None:
    """Every single bit of the proof file: header, index, path, checkpoint, signature, cosignature."""
    raw = FILE.encode()
    for bit in range(len(raw) * 8):
        changed = bytearray(raw)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises((Refuted, CannotCheck)):
            check(bytes(changed))


def test_one_bit_flipped_in_the_record() -> None:
    """Every single bit of the record."""
    for bit in range(len(RECORDS[INDEX]) * 8):
        changed = bytearray(RECORDS[INDEX])
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(Refuted, match="another root"):
            check(FILE, bytes(changed))


def swapped(proof: Proof, one: int, other: int) -> Proof:
    path = list(proof.path)
    path[one], path[other] = path[other], path[one]
    return replace(proof, path=tuple(path))


EMPTY = SIGNER.sign(Checkpoint(SIGNER.name, 0, EMPTY_ROOT).text())
EMPTY += WITNESS.cosign(EMPTY.partition("\n\n")[0] + "\n", 1767225600)

FORGED = [
    ("another log's proof", prove(RECORDS, INDEX, STRANGER), "not signed|no log"),
    ("a proof by another key of the same name", prove(RECORDS, INDEX, IMPOSTOR), "not signed|no log"),
    ("another record's proof", prove(RECORDS, INDEX + 1), "another root"),
    ("the proof of a tree with another record there", prove([*RECORDS[:INDEX], b"x", *RECORDS[INDEX + 1 :]], INDEX), "another root"),
    ("the right path under another index", replace(TRUE, index=INDEX + 1), "another root"),
    ("an index outside the tree", replace(TRUE, index=SIZE), "index outside the tree"),
    ("an index far outside the tree", replace(TRUE, index=2**62), "index outside the tree"),
    ("two hashes of the path swapped", swapped(TRUE, 2, 3), "another root"),
    ("a path without its first hash", replace(TRUE, path=TRUE.path[1:]), "too short|another root"),
    ("a path without its last hash", replace(TRUE, path=TRUE.path[:-1]), "too short"),
    ("a path without hashes", replace(TRUE, path=()), "too short"),
    ("a path with one hash more", replace(TRUE, path=(*TRUE.path, bytes(32))), "too long"),
    ("a path with its last hash twice", replace(TRUE, path=(*TRUE.path, TRUE.path[-1])), "too long"),
    ("a path longer than any tree is deep", replace(TRUE, path=TRUE.path * 8), "more than any tree"),
    ("size 0", replace(TRUE, index=0, path=(), note=EMPTY), "index outside the tree"),
    ("size 0 with the true path", replace(TRUE, note=EMPTY), "index outside the tree"),
    ("a checkpoint that no witness cosigned", prove(RECORDS, INDEX, witnessed=False), "w1|witness|quorum"),
]


@pytest.mark.parametrize(("forged", "says"), [pytest.param(*rest, id=name) for name, *rest in FORGED])
def test_forged_proof(forged: Proof, says: str) -> None:
    """Refused, and the message says which part is wrong."""
    with pytest.raises((Refuted, CannotCheck), match=says):
        check(forged.format())


def line(number: int, new: str) -> str:
    lines = FILE.split("\n")
    lines[number] = new
    return "\n".join(lines)


HASH = format_base64(TRUE.path[0])
INDEXES = ("+200", "0200", " 200", "2_00", "２００", "200 ", "", "-0", "1e2")
SIZES = ("+300", "0300", " 300", "3_00", "٣٠٠", "300 ", "")


def sized(size: str) -> str:
    return replace(TRUE, note=SIGNER.sign(f"{SIGNER.name}\n{size}\n{HASH}\n")).format()


MISSPELT = [
    *((f"an index that only int() accepts: {index!r}", line(1, f"index {index}"), "proof: ") for index in INDEXES),
    *((f"a size that only int() accepts: {size!r}", sized(size), "checkpoint: ") for size in SIZES),
    ("another header", line(0, "c2sp.org/tlog-proof@v2"), "proof: "),
    ("no header", FILE.partition("\n")[2], "proof: "),
    ("a junk line before the index", line(0, "c2sp.org/tlog-proof@v1\njunk"), "proof: "),
    ("a second extra line", line(0, "c2sp.org/tlog-proof@v1\nextra AA==\nextra AA=="), "proof: "),
    ("an extra line behind the index", line(1, f"index {INDEX}\nextra AA=="), "proof: "),
    ("a second index line", line(1, f"index {INDEX}\nindex {INDEX}"), "proof: "),
    ("a junk line among the hashes", line(2, f"{HASH}\njunk"), "proof: "),
    ("a hash of 31 bytes", line(2, format_base64(TRUE.path[0][:31])), "proof: "),
    ("a hash without padding", line(2, HASH.rstrip("=")), "proof: "),
    ("a hash with stray bits", line(2, HASH[:-2] + chr(ord(HASH[-2]) + 1) + "="), "proof: "),
    ("a blank before a hash", line(2, f" {HASH}"), "proof: "),
    ("carriage returns", FILE.replace("\n", "\r\n"), "proof: "),
    ("no checkpoint", FILE.partition("\n\n")[0] + "\n\n", "note: "),
    ("a junk line behind the signatures", FILE + "junk\n", "note: "),
    ("an empty line behind the signatures", FILE + "\n", "note: |checkpoint: "),
    ("a signature line without its end", FILE[:-1], "note: "),
    ("a control character", FILE.replace("\n300\n", "\n300\x00\n"), "note: "),
    ("a megabyte of hashes", line(2, "\n".join([HASH] * 25_000)), "proof: "),
    ("bytes that are not UTF-8", FILE.replace("audit", "\udcff"), "proof: |note: "),
]


@pytest.mark.parametrize(("file", "says"), [pytest.param(*rest, id=name) for name, *rest in MISSPELT])
def test_misspelt_proof(file: str, says: str) -> None:
    """A proof has one spelling; the message begins with the part that has another."""
    with pytest.raises(Refuted, match=f"^({says})"):
        check(file.encode("utf-8", "surrogateescape"))
