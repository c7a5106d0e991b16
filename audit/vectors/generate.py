"""Writes the test vectors of docs/spec/ledger.md beside itself: `python audit/vectors/generate.py`. The same bytes each time.

`vectors.json` lists them: for each file what a verifier must say of it. Every key is made from a fixed seed and signs nothing else.
"""

import io
import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from consent_audit.archive import TarWriter
from consent_audit.cosigner import Cosigner
from consent_audit.encoding import format_base64
from consent_audit.hashing import TILE_WIDTH, TreeBuilder, inclusion_path, leaf_hash, root
from consent_audit.note import Checkpoint, Signer, split_note
from consent_audit.proof import Proof
from consent_audit.record import encode_record
from consent_audit.statements import rotation_text
from consent_audit.tiles import ENTRIES, bundle_encode, tile_files

HERE = Path(__file__).parent
NAME = "audit.example.org/consent"
LOG, NEXT, THIEF = (Signer(NAME, bytes(range(first, first + 32))) for first in (0, 64, 96))
WITNESS = Cosigner("witness.example.org/w1", bytes(range(32, 64)))
WITNESSED_AT = 1_767_225_600
NOTICE = "充分告知企业相关风险\n".encode()
PARTIES = {"institution": "bank-1", "subject": "p_AAAAAAAAAAAAAAAAAAAAAA"}
Data = dict[str, Any]
Files = dict[str, bytes]


def event(index: int) -> tuple[str, Data]:
    """The event that the honest ledger has at `index`."""
    if index == 0:
        return "ledger.genesis", {"origin": NAME}
    if index == 1:
        return "grant.refused", {"request": "r1", **PARTIES, "notice": {"version": "2026-1", "sha256": sha256(NOTICE).hexdigest()}}
    return "grant.revoked", {"grant": f"g{index}", "version": 2, **PARTIES, "actor": "subject"}


def time_of(index: int) -> str:
    """Two records share each millisecond."""
    return f"2026-11-20T08:00:00.{index // 2:03}Z"


def chain(size: int, said: Mapping[int, tuple[str, Data]] | None = None, times: Mapping[int, str] | None = None) -> list[bytes]:
    """Records as they follow one another, some of them replaced by other events or times."""
    made: list[bytes] = []
    for index in range(size):
        prev = leaf_hash(made[-1]) if made else bytes(32)
        made.append(encode_record(index, prev, (times or {}).get(index, time_of(index)), *(said or {}).get(index, event(index))))
    return made


def ledger(entries: list[bytes], *signers: Signer, text: str | None = None) -> Files:
    """The files of a ledger in the order of an archive, honestly hashed and signed, whatever the entries are."""
    tree, tiles, full = TreeBuilder(), {}, {}
    for tile in tile_files(len(entries)):
        if tile.level == ENTRIES:
            part = entries[tile.first_leaf : tile.first_leaf + tile.width]
            full = {(level, n): hashes for level, n, hashes in tree.extend([leaf_hash(entry) for entry in part])}
            tiles[tile.path] = bundle_encode(part)
        else:
            tiles[tile.path] = b"".join(full[tile.level, tile.n] if tile.width == TILE_WIDTH else tree.rows[tile.level])
    text = text or Checkpoint(NAME, len(entries), tree.root()).text()
    lines = "".join(split_lines(signer.sign(text)) for signer in signers or (LOG,))
    return {"checkpoint": f"{text}\n{lines}".encode(), **tiles, f"blobs/{sha256(NOTICE).hexdigest()}": NOTICE}


def split_lines(note: str) -> str:
    """A note's signature lines."""
    return note.split("\n\n")[1]


def pack(files: Mapping[str, bytes]) -> bytes:
    """The archive of these files."""
    out = io.BytesIO()
    writer = TarWriter(out)
    for path, body in files.items():
        writer.add(path, body)
    writer.finish()
    return out.getvalue()


def rotation() -> tuple[str, Data]:
    """The log's key gives way to the next."""
    text = rotation_text(NAME, LOG.vkey, NEXT.vkey)
    old, new = (format_base64(split_note(key.sign(text))[1][0][1][4:]) for key in (LOG, NEXT))
    return "key.rotated", {"old": LOG.vkey, "new": NEXT.vkey, "old_signature": old, "new_signature": new}


@dataclass
class Vectors:
    """The vectors made so far."""

    folder: Path
    listed: list[Data] = field(default_factory=list)

    def add(self, name: str, body: bytes, expect: str, says: str, **more: object) -> None:
        """Write one and list it. `reader` says whether the second reader, which leaves some checks out, must agree."""
        (self.folder / name).parent.mkdir(exist_ok=True)
        (self.folder / name).write_bytes(body)
        self.listed.append({"file": name, "expect": expect, "says": says, **more})


def valid(vectors: Vectors) -> None:
    """Ledgers that verify."""
    for size in (1, 2, 5, 256, 257):
        files = ledger(chain(size))
        if size == 1:
            files = {path: body for path, body in files.items() if not path.startswith("blobs/")}
        vectors.add(f"valid/ledger-{size}.tar", pack(files), "verified", f"{size} records")
    vectors.add("valid/checkpoint-5", ledger(chain(5))["checkpoint"], "verified", "a checkpoint, to be seen before others", seen=True)
    files = ledger(chain(7))
    older = ledger(chain(5))["checkpoint"].decode()
    cosigned = older + WITNESS.cosign(older.split("\n\n")[0] + "\n", WITNESSED_AT)
    files = {"checkpoint": files.pop("checkpoint"), "checkpoint.witnessed": cosigned.encode(), **files}
    vectors.add("valid/witnessed.tar", pack(files), "verified", "7 records, a witness vouches for 5", policy=True, anchored_size=5)
    vectors.add("valid/rotated.tar", pack(ledger(chain(7, {5: rotation()}), NEXT)), "verified", "the key changed at record 5", reader=False)
    unknown = chain(4, {3: ("new.kind", {"text": '漢字 "\\\n', "n": -1, "list": [[], {}, None, True]})})
    vectors.add("valid/unknown-type.tar", pack(ledger(unknown)), "verified", "a type of a later version: form, chain and tree hold")


def tampered(vectors: Vectors) -> None:
    """Files that are not what the signed root says."""
    files = ledger(chain(5))
    bundle = "tile/entries/000.p/5"

    def refuted(name: str, changed: Files, code: str, place: str, says: str) -> None:
        vectors.add(f"hostile/{name}.tar", pack({**files, **changed}), "refuted", says, code=code, place=place)

    def flip(path: str, at: int) -> Files:
        body = bytearray(files[path])
        body[at] ^= 1
        return {path: bytes(body)}

    at = files[bundle].index(b'"grant":"g3"') + 10
    refuted("bit-in-record", flip(bundle, at), "tile.mismatch", "record 3", "one bit of record 3")
    refuted("bit-in-length", flip(bundle, 1), "record.malformed", "record 0", "one bit of a length in a bundle")
    refuted("bit-in-tile", flip("tile/0/000.p/5", 2 * 32), "tile.mismatch", "record 2", "one bit of hash 2 of a tile")
    note = files["checkpoint"].decode()
    refuted("bit-in-root", flip("checkpoint", note.index("\n5\n") + 10), "checkpoint.signature", "checkpoint", "one bit of the root")
    signature = note.rindex(" ") + 20
    refuted("bit-in-signature", flip("checkpoint", signature), "checkpoint.signature", "checkpoint", "one bit of the signature")
    refuted(
        "wrong-document",
        {f"blobs/{sha256(NOTICE).hexdigest()}": b"other\n"},
        "blob.mismatch",
        f"blobs/{sha256(NOTICE).hexdigest()}",
        "a document",
    )
    refuted("tile-too-long", {"tile/0/000.p/5": files["tile/0/000.p/5"] + bytes(32)}, "tile.malformed", "tile/0/000.p/5", "a sixth hash")
    refuted("bundle-too-long", {bundle: files[bundle] + b"\x00\x02{}"}, "tile.malformed", bundle, "a sixth record")
    refuted("bundle-cut", {bundle: files[bundle][:-1]}, "tile.malformed", bundle, "the last byte of the last record is missing")
    refuted("junk-line", {"checkpoint": note.replace("\n\n", "\n\njunk\n").encode()}, "checkpoint.malformed", "checkpoint", "a junk line")
    refuted(
        "carriage-return",
        {"checkpoint": note.replace("\n5\n", "\n5\r\n").encode()},
        "checkpoint.malformed",
        "checkpoint",
        "a control character",
    )
    missing = {path: body for path, body in files.items() if not path.startswith("blobs/")}
    place = f"blobs/{sha256(NOTICE).hexdigest()}"
    vectors.add("hostile/no-document.tar", pack(missing), "refuted", "a document is missing", code="blob.missing", place=place)
    missing = {path: body for path, body in files.items() if path != "tile/0/000.p/5"}
    vectors.add("hostile/no-tile.tar", pack(missing), "unchecked", "a tile is missing: a torn copy proves nothing", code="tile/0/000.p/5")


def signed_anew(vectors: Vectors) -> None:
    """Whatever an operator does who holds the log's key: hashed and signed anew, and found in the records themselves."""
    five = chain(5)
    alien = chain(9, {3: ("grant.revoked", {"grant": "other", "version": 2, **PARTIES, "actor": "operator"})})
    cases: dict[str, tuple[list[bytes], str, str, str]] = {
        "changed": ([*five[:3], alien[3], five[4]], "record.prev", "record 4", "record 3 is another"),
        "dropped": ([*five[:3], five[4]], "record.index", "record 3", "record 3 is missing"),
        "added": ([*five[:3], alien[3], *five[3:]], "record.index", "record 4", "a record stands before record 3"),
        "doubled": ([*five[:4], *five[3:]], "record.index", "record 4", "record 3 stands twice"),
        "swapped": ([*five[:2], five[3], five[2], five[4]], "record.index", "record 2", "records 2 and 3 are swapped"),
        "first-dropped": (five[1:], "record.index", "record 0", "record 0 is missing"),
        "time-backwards": (chain(5, times={3: "2026-11-20T07:59:59.999Z"}), "record.time", "record 3", "an earlier time"),
        "no-such-time": (
            [*five[:4], five[4].replace(b"2026-11-20", b"2026-11-31")],
            "record.malformed",
            "record 4",
            "a day that never was",
        ),
        "hour-24": ([*five[:4], five[4].replace(b"T08:", b"T24:")], "record.malformed", "record 4", "an hour that never was"),
        "second-genesis": (chain(5, {3: event(0)}), "genesis.repeated", "record 3", "a second genesis record"),
        "no-genesis": (chain(5, {0: event(3)}), "genesis.missing", "record 0", "record 0 is of another type"),
        "other-genesis": (
            chain(5, {0: ("ledger.genesis", {"origin": "other.example.org"})}),
            "genesis.origin",
            "record 0",
            "another origin",
        ),
    }
    for name, (entries, code, place, says) in cases.items():
        vectors.add(f"hostile/{name}.tar", pack(ledger(entries)), "refuted", says, code=code, place=place)
    for name, text in {
        "size-leading-zero": "05",
        "size-plus": "+5",
        "size-underscore": "0_5",
        "size-full-width": "５",
        "size-blank": "5 ",
        "size-negative": "-5",
    }.items():
        note = Checkpoint(NAME, 5, root([leaf_hash(entry) for entry in five])).text().replace("\n5\n", f"\n{text}\n")
        body = pack(ledger(five, text=note))
        vectors.add(
            f"hostile/{name}.tar", body, "refuted", f"the size is written {text!r}", code="checkpoint.malformed", place="checkpoint"
        )
    vectors.add("hostile/size-zero.tar", pack(ledger([])), "refuted", "no record at all", code="genesis.missing", place="checkpoint")
    other = Checkpoint("other.example.org", 5, root([leaf_hash(entry) for entry in five])).text()
    files = pack(ledger(five, text=other))
    vectors.add("hostile/other-origin.tar", files, "refuted", "another log's checkpoint", code="checkpoint.signature", place="checkpoint")
    stolen = pack(ledger(five, THIEF))
    vectors.add("hostile/other-key.tar", stolen, "refuted", "a key of the same name", code="checkpoint.signature", place="checkpoint")


def spellings(vectors: Vectors) -> None:
    """Records that parse to the right value and are not spelled in the one right way."""
    three = chain(3)
    good = encode_record(3, leaf_hash(three[-1]), time_of(3), "new.kind", {"a": 1, "b": "x", "c": [1, 2]})
    edits: dict[str, Callable[[bytes], bytes]] = {
        "blank": lambda raw: raw.replace(b'"a":1', b'"a": 1'),
        "escape": lambda raw: raw.replace(b'"x"', b'"\\u0078"'),
        "repeated-key": lambda raw: raw.replace(b'"a":1', b'"a":1,"a":1'),
        "fraction": lambda raw: raw.replace(b'"a":1', b'"a":1.0'),
        "exponent": lambda raw: raw.replace(b'"a":1', b'"a":1e0'),
        "minus-zero": lambda raw: raw.replace(b'"a":1', b'"a":-0'),
        "nan": lambda raw: raw.replace(b'"a":1', b'"a":NaN'),
        "not-utf8": lambda raw: raw.replace(b'"x"', b'"\xff"'),
        "surrogate": lambda raw: raw.replace(b'"x"', b'"\\ud800"'),
        "trailing-newline": lambda raw: raw + b"\n",
        "index-leading-zero": lambda raw: raw.replace(b'"index":3', b'"index":03'),
        "version-2": lambda raw: raw.replace(b'"v":1', b'"v":2'),
        "members-swapped": lambda raw: raw.replace(b'"v":1,"index":3', b'"index":3,"v":1'),
        "member-after-data": lambda raw: raw[:-1] + b',"x":1}',
        "no-such-day": lambda raw: raw.replace(b"2026-11-20", b"2026-11-31"),
        "time-zone": lambda raw: raw.replace(b'Z","type"', b'+00:00","type"'),
        "empty": lambda _: b"",
    }
    for name, edit in edits.items():
        body = pack(ledger([*three, edit(good)]))
        vectors.add(f"hostile/spelled-{name}.tar", body, "refuted", f"record 3: {name}", code="record.malformed", place="record 3")
    members: dict[str, Data] = {
        "member-too-many": {"staff": "s-1", "role": "auditor", "name": "x"},
        "member-missing": {"staff": "s-1"},
        "member-order": {"role": "auditor", "staff": "s-1"},
        "member-word": {"staff": "s-1", "role": "owner"},
        "member-identity-number": {"staff": "330203199001011234", "role": "auditor"},
    }
    for name, data in members.items():
        body = pack(ledger(chain(4, {3: ("staff.registered", data)})))
        says = "a known type in another form"
        vectors.add(f"hostile/{name}.tar", body, "refuted", says, code="record.malformed", place="record 3", reader=False)


def promises(vectors: Vectors) -> None:
    """Broken promises, which only somebody finds who saw the ledger before, or asks witnesses."""
    rewritten = {3: ("grant.revoked", {"grant": "other", "version": 2, **PARTIES, "actor": "operator"})}
    fork = ledger(chain(7, rewritten))
    more = {"code": "checkpoint.inconsistent", "reader": False}
    vectors.add(
        "hostile/rewritten.tar", pack(fork), "refuted", "another history", seen_before="valid/checkpoint-5", place="checkpoint", **more
    )
    cut = pack(ledger(chain(3)))
    vectors.add("hostile/tail-cut.tar", cut, "unchecked", "fewer records than seen before", seen_before="valid/checkpoint-5", reader=False)
    older = ledger(chain(5))["checkpoint"].decode()
    cosigned = older + WITNESS.cosign(older.split("\n\n")[0] + "\n", WITNESSED_AT)
    fork = {"checkpoint": fork.pop("checkpoint"), "checkpoint.witnessed": cosigned.encode(), **fork}
    vectors.add(
        "hostile/rewritten-after-witness.tar",
        pack(fork),
        "refuted",
        "not what witnesses saw",
        policy=True,
        place="checkpoint.witnessed",
        **more,
    )
    files = ledger(chain(5))
    lie = files["checkpoint"].decode() + WITNESS.cosign("other.example.org\n5\n" + format_base64(bytes(32)) + "\n", WITNESSED_AT)
    files["checkpoint"] = lie.encode()
    vectors.add(
        "hostile/lying-witness.tar",
        pack(files),
        "refuted",
        "a wrong cosignature",
        policy=True,
        code="checkpoint.signature",
        place="checkpoint",
        reader=False,
    )
    body = pack(ledger(chain(7, {5: rotation()}), LOG))
    vectors.add(
        "hostile/old-key.tar", body, "refuted", "signed by the key before", code="checkpoint.signature", place="checkpoint", reader=False
    )


def proofs(vectors: Vectors) -> None:
    """Proofs of single records."""
    entries = chain(257)
    leaves = [leaf_hash(entry) for entry in entries]
    note = ledger(entries)["checkpoint"].decode()

    def path(index: int) -> tuple[bytes, ...]:
        return tuple(inclusion_path(index, 257, lambda height, n: root(leaves[n << height : (n + 1) << height])))

    for index in (0, 255, 256):
        body = Proof(index, path(index), note, entries[index]).format().encode()
        vectors.add(f"valid/record-{index}.tlog-proof", body, "verified", f"record {index} of 257")
    good = Proof(200, path(200), note, entries[200]).format()
    zero = LOG.sign(Checkpoint(NAME, 0, sha256(b"").digest()).text())
    for name, text in {
        "other-index": good.replace("index 200", "index 201"),
        "other-record": Proof(200, path(200), note, entries[201]).format(),
        "other-log": good.replace(
            note, ledger(chain(257, {3: ("staff.changed", {"staff": "s", "role": "auditor", "status": "closed"})}))["checkpoint"].decode()
        ),
        "too-long": Proof(200, (*path(200), bytes(32)), note, entries[200]).format(),
        "too-short": Proof(200, path(200)[:-1], note, entries[200]).format(),
        "size-zero": Proof(0, (), zero, entries[0]).format(),
        "index-leading-zero": good.replace("index 200", "index 0200"),
        "index-full-width": good.replace("index 200", "index ２00"),
        "index-plus": good.replace("index 200", "index +200"),
        "no-checkpoint": good.split("\n\n")[0] + "\n\n",
    }.items():
        vectors.add(f"hostile/{name}.tlog-proof", text.encode(), "refuted", name.replace("-", " "))


def main(folder: Path = HERE) -> None:
    """Write all of them."""
    vectors = Vectors(folder)
    for section in (valid, tampered, signed_anew, spellings, promises, proofs):
        section(vectors)
    policy = f"log {LOG.vkey}\nwitness w1 {WITNESS.verifier.vkey}\nquorum w1\n"
    (folder / "policy").write_text(policy, encoding="utf-8")
    index = {"vkey": LOG.vkey, "policy": "policy", "vectors": vectors.listed}
    (folder / "vectors.json").write_text(json.dumps(index, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
