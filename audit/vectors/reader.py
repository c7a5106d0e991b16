"""A second reader of docs/spec/ledger.md: `reader.py ARCHIVE VKEY`, 0 if it verifies. Leaves out members, witnesses and rotations."""

import json
import re
import sys
import tarfile
from base64 import b64decode, b64encode
from datetime import datetime
from hashlib import sha256

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

TIME = rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}"
RECORD = rb'\{"v":1,"index":%d,"prev":"%b","time":"(' + TIME + rb')Z","type":"([a-z]{1,31}\.[a-z_]{1,31})","data":(\{.*\})\}'
NOTE = "((?:[^\x00-\x1f]+\n){3})\n((?:\u2014 [^ +\x00-\x1f]+ [^ \x00-\x1f]+\n)+)"


def demand(holds: object, what: str) -> None:
    if not holds:
        sys.exit(f"refuted: {what}")


def root(row: list[bytes]) -> bytes:
    half = 1 << max(len(row) - 1, 1).bit_length() - 1
    return sha256(b"\x01" + root(row[:half]) + root(row[half:])).digest() if len(row) > 1 else row[0]


def path(kind: object, n: int, width: int) -> str:
    *groups, last = [group.zfill(3) for group in f"{n:,}".split(",")]
    return f"tile/{kind}/" + "".join(f"x{group}/" for group in groups) + last + (f".p/{width}" if width < 256 else "")


name, identifier, key = sys.argv[2].split("+", 2)
with tarfile.open(sys.argv[1]) as tar:
    files = {member.name: tar.extractfile(member).read() for member in tar}
text, lines = re.fullmatch(NOTE, files["checkpoint"].decode()).groups()
signatures = [b64decode(line.split(" ")[2], validate=True) for line in lines.splitlines() if line.split(" ")[1] == name]
mine = [value[4:] for value in signatures if value[:4].hex() == identifier]
for signature in mine:
    Ed25519PublicKey.from_public_bytes(b64decode(key)[1:]).verify(signature, text.encode())
demand(mine and re.fullmatch(re.escape(name) + r"\n[1-9][0-9]*\n.{44}\n", text), "the checkpoint is not this log's")
size, row, prev, before, bundle = int(text.split("\n")[1]), [], bytes(32), b"", b""
for index in range(size):
    bundle = bundle if index % 256 else files[path("entries", index // 256, min(256, size - index))]
    end = 2 + int.from_bytes(bundle[:2], "big")
    raw, bundle, found = bundle[2:end], bundle[end:], re.fullmatch(RECORD % (index, re.escape(b64encode(prev))), bundle[2:end], re.DOTALL)
    demand(found and found[1] >= before and datetime.fromisoformat(found[1].decode()), f"record {index}: form, index, prev or time")
    demand(bool(bundle) == (index % 256 < 255 and index + 1 < size), f"record {index}: its bundle holds another number of records")
    data = json.loads(found[3].decode(), parse_float=str, parse_constant=str)
    demand(json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode() == found[3], f"record {index}: another spelling")
    demand((found[2] == b"ledger.genesis" and data["origin"] == name) == (index == 0), f"record {index}: genesis")
    for blob in re.findall('"sha256":"([0-9a-f]{64})"', found[3].decode()) if found[2] != b"report.read" else []:
        demand(sha256(files[f"blobs/{blob}"]).hexdigest() == blob, f"record {index}: its document")
    prev, before = sha256(b"\x00" + raw).digest(), found[1]
    row.append(prev)
demand(root(row) == b64decode(text.split("\n")[2], validate=True), "the records do not give the signed root")
for level in range(8):
    for at in range(0, len(row), 256):
        demand(files[path(level, at // 256, len(row[at : at + 256]))] == b"".join(row[at : at + 256]), f"a tile of level {level}")
    row = [root(row[at : at + 256]) for at in range(0, len(row) - 255, 256)]
