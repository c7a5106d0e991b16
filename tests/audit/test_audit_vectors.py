"""The published vectors: entries `entry-0` … `entry-299`, log seed 00..1f, witness seed 20..3f, time 1767225600."""

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from consent_audit.errors import BadSignature
from consent_audit.hashing import EMPTY_ROOT, TreeBuilder, leaf_hash, root
from consent_audit.note import COSIGNATURE, Checkpoint, Signer, Verifier, open_checkpoint, open_note

LEAVES = [leaf_hash(f"entry-{index}".encode()) for index in range(300)]
LOG_VKEY = "audit.example.org/consent+6fbe46f6+AQOhB7/zzhC+HXDdGOdLwJln5NYwm6UNXx3chmQSVTG4"
WITNESS_VKEY = "witness.example.org/w1+f3c080b6+BCmsuuFBvMrwsi4alNNNC8c2HlJtC/4SyJeUvJMilm3X"
TEXT = "audit.example.org/consent\n300\nrrsCfVw90Ihx7lJXemH8gxItDRQ1J5GUNjm9TBLTaUM=\n"
LOG_LINE = "— audit.example.org/consent b75G9grua2I4TwkjrXzl/5y7HZG0lLhZYa3odfyk43WHs87yK4SKF1gQMZl3ehaZqECPB22dyTB+y29NOoON20kuUA8=\n"
WITNESS_LINE = (
    "— witness.example.org/w1 88CAtgAAAABpVbkAPziGE8Iir6gGzy/zU3byyXPObbijlSKZWR5buPTjEzVTW1IFy3zS0mh3mVH6IdUSHSBN96lAmfPQADNVaTtnCw==\n"
)
NOTE = f"{TEXT}\n{LOG_LINE}{WITNESS_LINE}"


def test_hashes() -> None:
    """Leaf, full tile and empty tree have the published hashes."""
    assert leaf_hash(b"entry-0").hex() == "40766b2033429026f53d54502679a839706b4741f8dcaf3a8bba5f41b5ffe075"
    assert root(LEAVES[:256]).hex() == "f85f4ead34080710b4d1e808301543aaab81aa04deb88599350dc26a4f2f58de"
    assert EMPTY_ROOT.hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_full_tile_carries_up() -> None:
    """The only hash of tile/1/000.p/1 is the root of the first 256 leaves."""
    tree = TreeBuilder()
    assert [(level, n) for level, n, _ in tree.extend(LEAVES)] == [(0, 0)]
    assert tree.rows[1] == [root(LEAVES[:256])]


def test_signed_checkpoint() -> None:
    """The log key gives the published verifier key, root and signature."""
    signer = Signer(LOG_VKEY.split("+", maxsplit=1)[0], bytes(range(32)))
    assert signer.vkey == LOG_VKEY
    assert signer.sign(Checkpoint(signer.name, 300, root(LEAVES)).text()) == f"{TEXT}\n{LOG_LINE}"


def test_checkpoint_opens_under_both_keys() -> None:
    """Log and witness each vouch for the published note."""
    assert open_checkpoint(NOTE, Verifier.parse(LOG_VKEY)).size == 300
    assert open_note(NOTE.encode(), [Verifier.parse(WITNESS_VKEY)]) == TEXT


def test_witness_key_is_that_of_its_seed() -> None:
    """The witness's verifier key follows from its seed."""
    public = Ed25519PrivateKey.from_private_bytes(bytes(range(32, 64))).public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    assert Verifier("witness.example.org/w1", COSIGNATURE, public).vkey == WITNESS_VKEY


def test_cosignature_binds_its_time() -> None:
    """A cosignature with another time-stamp is refused."""
    line = WITNESS_LINE.rstrip("\n")
    name, _, encoded = line.rpartition(" ")
    value = bytearray(base64.b64decode(encoded))
    value[11] ^= 1
    forged = f"{TEXT}\n{name} {base64.b64encode(bytes(value)).decode()}\n"
    with pytest.raises(BadSignature):
        open_note(forged, [Verifier.parse(WITNESS_VKEY)])


SPEC_VKEY = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
SPEC_NOTE = (
    "This is an example message.\n\n"
    "— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n"
)


def test_specification_note_opens() -> None:
    """The example of C2SP signed-note opens under its key, and the key is written back as it was."""
    verifier = Verifier.parse(SPEC_VKEY)
    assert verifier.vkey == SPEC_VKEY
    assert open_note(SPEC_NOTE, [verifier]) == "This is an example message.\n"
