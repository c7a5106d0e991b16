"""Trust policies: what a policy file says, what it may not say, and which checkpoints are valid under it."""

import base64
from hashlib import sha256

import pytest
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey

from consent_audit.cosigner import Cosigner
from consent_audit.errors import BadKey, BadPolicy, BadSignature, MalformedNote, Unwitnessed
from consent_audit.note import MLDSA_COSIGNATURE, Signer, Verifier, cosigned_subtree
from consent_audit.policy import Policy

LOG = Signer("log.example.org/a", bytes(32))
OTHER_LOG = Signer("log.example.org/b", b"\x01" * 32)
W = [Cosigner(f"w{number}.example.org", bytes([16 + number]) * 32) for number in range(7)]
NOTE = LOG.sign(f"{LOG.name}\n300\nrrsCfVw90Ihx7lJXemH8gxItDRQ1J5GUNjm9TBLTaUM=\n")
TEXT = NOTE.split("\n\n", maxsplit=1)[0] + "\n"
KEYS = f"log {LOG.vkey}\n" + "".join(f"witness W{n} {w.verifier.vkey}\n" for n, w in enumerate(W))
TWO_LEVELS = f"{KEYS}group X 2 W1 W2 W3\ngroup Y any W4 W5 W6\ngroup XY all X Y\nquorum XY\n"


def cosigned(*witnesses: int, time: int = 1_767_225_600) -> str:
    return NOTE + "".join(W[number].cosign(TEXT, time + number) for number in witnesses)


@pytest.mark.parametrize(
    ("witnesses", "quorum"),
    [((), False), ((1, 2), False), ((4, 5, 6), False), ((1, 4), False), ((1, 3, 5), True), ((1, 2, 3, 4, 5, 6), True), ((0, 1, 4), False)],
)
def test_two_levels_of_groups(witnesses: tuple[int, ...], quorum: bool) -> None:
    """The specification's example: two of the X and any of the Y; whoever stands in no group counts for nothing."""
    found = Policy.parse(TWO_LEVELS).open(cosigned(*witnesses))
    assert found.quorum is quorum
    assert found.times == {f"W{number}": 1_767_225_600 + number for number in witnesses}
    assert found.checkpoint.size == 300


def test_demand_says_what_is_missing() -> None:
    """A checkpoint without its quorum is not valid, and the error says that witnesses are missing, not that it is forged."""
    policy = Policy.parse(TWO_LEVELS)
    assert policy.demand(cosigned(1, 2, 4)).witnessed_at == 1_767_225_604
    with pytest.raises(Unwitnessed, match="1 of the policy's witnesses"):
        policy.demand(cosigned(1))


def test_quorum_none_and_one_witness() -> None:
    """`quorum none` asks for nobody, a witness's name for that one."""
    assert Policy.parse(f"log {LOG.vkey}\nquorum none\n").demand(NOTE).times == {}
    alone = Policy.parse(f"{KEYS}quorum W2\n")
    assert alone.demand(cosigned(2)).quorum
    with pytest.raises(Unwitnessed):
        alone.demand(cosigned(1, 3))


def test_comments_blanks_urls_and_opaque_names() -> None:
    """Blanks and comments say nothing; names are octets, so two that look alike are two; URLs are kept."""
    raw = (
        f"# trust\n\n \t# more\n\tlog\t{LOG.vkey}  https://log.example.org/ \n"
        f"witness K {W[0].verifier.vkey} https://w.example.org/x\nwitness \u212a {W[1].verifier.vkey}\n"
    ).encode() + f"witness \udcff {W[2].verifier.vkey}\ngroup g 2 K \u212a \udcff\nquorum g\n".encode("utf-8", "surrogateescape")
    policy = Policy.parse(raw)
    assert (policy.logs[0].url, policy.witnesses[0].url, policy.witnesses[1].url) == (
        "https://log.example.org/",
        "https://w.example.org/x",
        None,
    )
    assert policy.open(cosigned(1, 2)).quorum
    assert not policy.open(cosigned(1)).quorum


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no quorum line"),
        (KEYS, "no quorum line"),
        (f"{KEYS}quorum W1", "last line is cut"),
        (f"{KEYS}quorum W1\r\n", "line 9: a control character"),
        (f"{KEYS}quorum W1\nquorum W1\n", "line 10: a second quorum"),
        (f"{KEYS}quorum W9\n", "not defined"),
        (f"quorum W0\n{KEYS}", "not defined"),
        (f"{KEYS}quorum\n", "want log"),
        (f"{KEYS}quorum W1 W2\n", "want log"),
        (f"{KEYS}group g 1\nquorum g\n", "want log"),
        (f"{KEYS}group g 0 W1\nquorum g\n", "threshold"),
        (f"{KEYS}group g 3 W1 W2\nquorum g\n", "too large"),
        (f"{KEYS}group g 02 W1 W2\nquorum g\n", "plain decimal"),
        (f"{KEYS}group g ² W1 W2\nquorum g\n", "plain decimal"),
        (f"{KEYS}group g +2 W1 W2\nquorum g\n", "plain decimal"),
        (f"{KEYS}group g ALL W1 W2\nquorum g\n", "plain decimal"),
        (f"{KEYS}group g 2 W1 W1\nquorum g\n", "one group only"),
        (f"{KEYS}group g any W1\ngroup h any W1\nquorum h\n", "one group only"),
        (f"{KEYS}group g any g\nquorum g\n", "not defined"),
        (f"{KEYS}group g any none\nquorum g\n", "not defined"),
        (f"{KEYS}group W1 any W2\nquorum W1\n", "taken"),
        (f"{KEYS}group none any W2\nquorum none\n", "taken"),
        (f"{KEYS}witness W1 {Cosigner('x', bytes(32)).verifier.vkey}\nquorum W1\n", "taken"),
        (f"{KEYS}witness W8 {Cosigner('renamed', W[1].seed).verifier.vkey}\nquorum W1\n", "stands in a witness line"),
        (f"{KEYS}log {Signer('renamed', LOG.seed).vkey}\nquorum W1\n", "stands in a log line"),
        (f"{KEYS}log {W[0].verifier.vkey}\nquorum W1\n", "witness's, not a log's"),
        (f"{KEYS}witness L {OTHER_LOG.vkey}\nquorum W1\n", "log's, not a witness's"),
        (f"log {LOG.vkey[:-1]}\nquorum none\n", "line 1: verifier key"),
        (f"log {LOG.vkey} https://a https://b\nquorum none\n", "want log"),
        ("Quorum none\n", "want log"),
        ("\u00a0\nquorum none\n", "want log"),
        ("x" * ((1 << 20) + 1), "1 MiB"),
    ],
)
def test_refused(text: str, words: str) -> None:
    """A line that the specification does not allow refuses the whole policy and is named."""
    with pytest.raises(BadPolicy, match=words):
        Policy.parse(text)


def test_other_logs_and_lies() -> None:
    """A log that is not listed, another log's origin, or a listed witness's wrong cosignature: refused, not ignored."""
    policy = Policy.parse(f"{KEYS}log {OTHER_LOG.vkey}\nquorum none\n")
    stranger = Signer("log.example.org/c", b"\x03" * 32)
    for note in (stranger.sign(TEXT.replace(LOG.name, stranger.name)), stranger.sign(TEXT), OTHER_LOG.sign(TEXT), W[0].cosign(TEXT, 1)):
        with pytest.raises((BadSignature, MalformedNote)):
            policy.open(note if note.startswith("log.") else f"{TEXT}\n{note}")
    elsewhere = W[1].cosign(TEXT.replace("300", "301"), 1)
    with pytest.raises(BadSignature, match=W[1].name):
        policy.open(NOTE + elsewhere)
    assert policy.open(NOTE + Cosigner("stranger", bytes(32)).cosign(TEXT, 1)).times == {}


def test_cosignature_line() -> None:
    """Its bytes are those of the published vector (docs/spec/ledger.md names them)."""
    key = Cosigner("witness.example.org/w1", bytes(range(32, 64)))
    text = "audit.example.org/consent\n300\nrrsCfVw90Ihx7lJXemH8gxItDRQ1J5GUNjm9TBLTaUM=\n"
    want = "88CAtgAAAABpVbkAPziGE8Iir6gGzy/zU3byyXPObbijlSKZWR5buPTjEzVTW1IFy3zS0mh3mVH6IdUSHSBN96lAmfPQADNVaTtnCw=="
    assert key.cosign(text, 1_767_225_600) == f"\u2014 witness.example.org/w1 {want}\n"
    assert Cosigner.parse(key.private_key) == key
    assert key.private_key not in repr(key)
    for text in (
        "",
        LOG.private_key,
        key.private_key[:-1],
        key.private_key.replace("w1", "w2"),
        key.private_key.replace("PRIVATE", "private"),
    ):
        with pytest.raises(BadKey):
            Cosigner.parse(text)


def test_post_quantum_cosignature() -> None:
    """ML-DSA-44: verified over the structure of the specification, which names the witness; not over another time or tree."""
    key = MLDSA44PrivateKey.from_seed_bytes(b"\x07" * 32)
    verifier = Verifier("pq.example.org", MLDSA_COSIGNATURE, key.public_key().public_bytes_raw())
    assert Verifier.parse(verifier.vkey) == verifier
    head = sha256(b"pq.example.org\n\x06" + verifier.public_key).digest()[:4]
    time = 1_767_225_600
    message = (
        b"subtree/v1\n\x00\x0epq.example.org" + time.to_bytes(8, "big") + b"\x11log.example.org/a" + bytes(8) + (300).to_bytes(8, "big")
    ) + base64.b64decode("rrsCfVw90Ihx7lJXemH8gxItDRQ1J5GUNjm9TBLTaUM=")
    assert cosigned_subtree("pq.example.org", TEXT, time) == message
    signature = key.sign(message)

    def line(value: bytes) -> str:
        return f"\u2014 pq.example.org {base64.b64encode(head + value).decode()}\n"

    policy = Policy.parse(f"log {LOG.vkey}\nwitness Q {verifier.vkey}\nquorum Q\n")
    assert policy.demand(NOTE + line(time.to_bytes(8, "big") + signature)).times == {"Q": time}
    for forged in (
        (time + 1).to_bytes(8, "big") + signature,
        time.to_bytes(8, "big") + signature[:-1],
        (2**63).to_bytes(8, "big") + key.sign(cosigned_subtree("pq.example.org", TEXT, 2**63)),
        time.to_bytes(8, "big") + key.sign(message.replace(b"log.example.org/a", b"log.example.org/b")),
        b"\x01",
    ):
        with pytest.raises(BadSignature):
            policy.open(NOTE + line(forged))
