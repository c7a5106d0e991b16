"""Signed notes and checkpoints: what is not exactly one is refused."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consent_audit.errors import BadKey, BadSignature, MalformedNote
from consent_audit.hashing import EMPTY_ROOT
from consent_audit.note import Checkpoint, Signer, Verifier, open_checkpoint, open_note

SIGNER = Signer("log.example.org/a", bytes(32))
OTHER = Signer("log.example.org/b", bytes(31) + b"\x01")
ROOT = "rrsCfVw90Ihx7lJXemH8gxItDRQ1J5GUNjm9TBLTaUM="
TEXT = f"{SIGNER.name}\n300\n{ROOT}\n"
NOTE = SIGNER.sign(TEXT)


def test_round_trip() -> None:
    """A signed checkpoint opens to itself, from text and from bytes."""
    assert open_checkpoint(NOTE, SIGNER.verifier) == open_checkpoint(NOTE.encode(), SIGNER.verifier)
    assert open_checkpoint(NOTE, SIGNER.verifier).text() == TEXT


@given(st.integers(0, len(NOTE.encode()) * 8 - 1))
def test_any_bit_flipped_is_refused(bit: int) -> None:
    """One bit anywhere in the note, and it does not open."""
    raw = bytearray(NOTE.encode())
    raw[bit // 8] ^= 1 << bit % 8
    with pytest.raises((MalformedNote, BadSignature)):
        open_checkpoint(bytes(raw), SIGNER.verifier)


@pytest.mark.parametrize(
    "note",
    [
        "",
        "\n",
        TEXT,
        TEXT + "\n",
        NOTE + "\n",
        NOTE + "junk\n",
        NOTE[:-1],
        NOTE.replace("—", "--"),
        NOTE.replace("\u2014 ", "\u2014"),
        NOTE.replace("\n\n", "\n\njunk\n"),
        NOTE.replace("\n300\n", "\r\n300\r\n"),
        NOTE.replace("\n300\n", "\n300\x00\n"),
        NOTE.rstrip("\n") + " \n",
        NOTE.rstrip("\n") + " x\n",
        NOTE + "— log.example.org/c AAAAAA==\n",
        NOTE + "— log+c AAAAAAAAAA==\n",
        NOTE + "— AAAAAAAAAA==\n",
        NOTE + NOTE.split("\n\n")[1] * 64,
        NOTE + " " * 70_000,
        b"\xff" + NOTE.encode(),
        NOTE + "\ud800",
    ],
)
def test_junk_is_not_a_note(note: str | bytes) -> None:
    """Lines, blanks, control characters and lengths that the grammar has no place for refuse the whole note."""
    with pytest.raises(MalformedNote):
        open_note(note, [SIGNER.verifier])


def test_size_of_a_note_is_bounded() -> None:
    """A well-signed note beyond 64 KiB is not read."""
    with pytest.raises(MalformedNote, match="larger than 64 KiB"):
        open_note(SIGNER.sign("x" * 70_000 + "\n"), [SIGNER.verifier])


def test_base64_with_stray_bits_is_refused() -> None:
    """A signature spelled in a second way is refused, so that two notes never differ only in spelling."""
    line = NOTE.rstrip("\n")
    assert line.endswith("=")
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    padding = len(line) - len(line.rstrip("="))
    at = len(line) - padding - 1
    respelled = line[:at] + letters[letters.index(line[at]) + 1] + "=" * padding + "\n"
    assert base64.b64decode(respelled.rsplit(" ", 1)[1]) == base64.b64decode(line.rsplit(" ", 1)[1])
    with pytest.raises(MalformedNote, match="canonical"):
        open_note(respelled, [SIGNER.verifier])


def test_unknown_signatures_are_ignored() -> None:
    """A cosigner that we do not know neither helps nor harms."""
    both = NOTE + OTHER.sign(TEXT).split("\n\n")[1]
    assert open_note(both, [SIGNER.verifier]) == TEXT
    with pytest.raises(BadSignature):
        open_note(both, [Signer("log.example.org/c", bytes(32)).verifier])


def test_known_but_wrong_signature_refuses_the_note() -> None:
    """One good signature does not excuse a wrong one by a key that we know."""
    wrong = OTHER.sign(TEXT + "x\n").split("\n\n")[1]
    with pytest.raises(BadSignature, match="wrong signature"):
        open_note(NOTE + wrong, [SIGNER.verifier, OTHER.verifier])


def test_same_name_other_key() -> None:
    """A key of the same name with other bytes does not open the note."""
    with pytest.raises(BadSignature):
        open_note(NOTE, [Signer(SIGNER.name, b"\x07" * 32).verifier])


def test_origin_must_be_the_key_name() -> None:
    """A key cannot sign another log's checkpoint."""
    with pytest.raises(BadSignature, match="origin"):
        open_checkpoint(SIGNER.sign(f"{OTHER.name}\n300\n{ROOT}\n"), SIGNER.verifier)


@pytest.mark.parametrize("size", ["+300", "-0", "0300", " 300", "300 ", "3_00", "３００", "٣٠٠", "3e2", "0x12c", "", "9" * 19, "1" * 5000])
def test_sizes_that_only_int_accepts(size: str) -> None:
    """A size has one spelling: plain ASCII digits below 2^63."""
    with pytest.raises(MalformedNote):
        Checkpoint.parse(f"{SIGNER.name}\n{size}\n{ROOT}\n")


@pytest.mark.parametrize(
    "text",
    [
        f"{SIGNER.name}\n300\n{ROOT}",
        f"{SIGNER.name}\n300\n",
        f"\n300\n{ROOT}\n",
        f"{SIGNER.name}\n300\n{ROOT[:-1]}\n",
        f"{SIGNER.name}\n300\n{ROOT[:-2]}N=\n",
        f"{SIGNER.name}\n300\n{ROOT[:24]}\n",
        f"{SIGNER.name}\n300\n{ROOT}\n\n",
        f"{SIGNER.name}\n0\n{ROOT}\n",
    ],
)
def test_not_a_checkpoint(text: str) -> None:
    """Anything but origin, size and a 32-byte root is refused; size 0 has the empty tree's root only."""
    with pytest.raises(MalformedNote):
        Checkpoint.parse(text)


def test_extension_lines_are_kept() -> None:
    """Lines after the root are signed like the others and change nothing that we read."""
    assert Checkpoint.parse(TEXT + "more\n") == Checkpoint(SIGNER.name, 300, Checkpoint.parse(TEXT).root, ("more",))


def test_empty_tree() -> None:
    """The checkpoint of size 0 is written and read."""
    assert Checkpoint.parse(Checkpoint("a", 0, EMPTY_ROOT).text()).size == 0


@pytest.mark.parametrize(
    "vkey",
    [
        "",
        "a",
        "a+b",
        SIGNER.vkey + "x",
        SIGNER.vkey.replace("+", " +", 1),
        SIGNER.vkey[:-1],
        SIGNER.vkey.upper(),
        SIGNER.vkey.replace(SIGNER.verifier.id.hex(), "00000000"),
        SIGNER.private_key,
        f"{SIGNER.name}+{SIGNER.verifier.id.hex()}+AgAA",
    ],
)
def test_not_a_verifier_key(vkey: str) -> None:
    """Text that is not exactly a supported key with its own id is refused."""
    with pytest.raises(BadKey):
        Verifier.parse(vkey)


def test_private_key_round_trip() -> None:
    """The Go form of a private key is read back, and a wrong one is refused."""
    assert Signer.parse(SIGNER.private_key) == SIGNER
    for wrong in (SIGNER.vkey, SIGNER.private_key[:-4], SIGNER.private_key.replace("PRIVATE", "PUBLIC")):
        with pytest.raises(BadKey):
            Signer.parse(wrong)


def test_secret_is_not_shown() -> None:
    """Neither repr nor an error holds the seed."""
    signer = Signer.generate("log.example.org/a")
    assert signer.seed.hex() not in repr(signer)
    assert repr(signer.seed) not in repr(signer)


@pytest.mark.parametrize("name", ["", "a b", "a+b", "a\u3000b", "a\nb", "a\x01b", "x" * 300])
def test_key_names_that_break_a_note(name: str) -> None:
    """A name that could end or split a signature line is refused."""
    with pytest.raises(BadKey):
        Signer(name, bytes(32))
