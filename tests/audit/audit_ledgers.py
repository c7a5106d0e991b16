"""Small ledgers for the verifier's tests, as files by path, with every knob an attacker has."""

import http.server
import io
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

from consent_audit.archive import TarWriter
from consent_audit.hashing import TILE_WIDTH, TreeBuilder, leaf_hash
from consent_audit.note import Checkpoint, Signer
from consent_audit.record import encode_record, format_time
from consent_audit.tiles import ENTRIES, bundle_encode, tile_files

SIGNER = Signer("audit.example.org/consent", bytes(range(32)))
PARTIES = {"institution": "bank-1", "subject": "p_" + "a" * 22}
NOTICE = "充分告知企业相关风险\n".encode()


def time_of(index: int) -> str:
    """A millisecond later with each record."""
    return format_time(datetime(2026, 11, 20, 8, tzinfo=UTC) + timedelta(milliseconds=index))


def event(index: int) -> tuple[str, dict[str, Any]]:
    """The event that a test ledger has at `index`."""
    if index == 0:
        return "ledger.genesis", {"origin": SIGNER.name}
    if index == 1:
        return "grant.refused", {"request": "r1", **PARTIES, "notice": {"version": "1", "sha256": sha256(NOTICE).hexdigest()}}
    return "grant.revoked", {"grant": f"g{index}", "version": 2, **PARTIES, "actor": "subject"}


def records(size: int, *, first: int = 0, prev: bytes = bytes(32), salt: str = "") -> list[bytes]:
    """Chained records `first` to `first + size - 1`; another `salt` gives another history."""
    made = []
    for index in range(first, first + size):
        kind, data = event(index)
        if salt and index:
            data["institution"] = salt
        raw = encode_record(index, prev, time_of(index), kind, data)
        prev = leaf_hash(raw)
        made.append(raw)
    return made


def publish(entries: list[bytes], signer: Signer = SIGNER) -> dict[str, bytes]:
    """All files of the ledger of these entries, honestly hashed and signed, whatever the entries are."""
    files: dict[str, bytes] = {}
    tree = TreeBuilder()
    full: dict[tuple[int, int], list[bytes]] = {}
    for tile in tile_files(len(entries)):
        if tile.level == ENTRIES:
            part = entries[tile.first_leaf : tile.first_leaf + tile.width]
            full = {(level, n): hashes for level, n, hashes in tree.extend([leaf_hash(entry) for entry in part])}
            files[tile.path] = bundle_encode(part)
        else:
            files[tile.path] = b"".join(full[tile.level, tile.n] if tile.width == TILE_WIDTH else tree.rows[tile.level])
    files["checkpoint"] = signer.sign(Checkpoint(signer.name, len(entries), tree.root()).text()).encode()
    files[f"blobs/{sha256(NOTICE).hexdigest()}"] = NOTICE
    return files


def pack(files: Mapping[str, bytes]) -> bytes:
    """The files as an export."""
    out = io.BytesIO()
    writer = TarWriter(out)
    for path, body in files.items():
        writer.add(path, body)
    writer.finish()
    return out.getvalue()


def unpack_into(root: Path, files: Mapping[str, bytes]) -> Path:
    """The files as a published directory."""
    for path, body in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(body)
    return root


@contextmanager
def serve(
    files: Mapping[str, bytes], *, prefix: str = "/ledger/", token: str | None = None, absent: int = 404, peers: list[object] | None = None
) -> Iterator[str]:
    """The files over HTTP, entries and blobs behind a token; yields the site's root URL.

    Args:
        absent: the status for a file that is not there.
        peers: is filled with the address of each connection.
    """

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 2

        def setup(self) -> None:
            if peers is not None:
                peers.append(self.client_address)
            super().setup()

        def do_GET(self) -> None:
            body = files.get(self.path.removeprefix(prefix)) if self.path.startswith(prefix) else None
            guarded = "/entries/" in self.path or "/blobs/" in self.path
            if guarded and token and self.headers.get("Authorization") != f"Bearer {token}":
                self.send_error(401)
            elif not guarded and self.headers.get("Authorization"):
                self.send_error(400, "token sent where none is needed")
            elif body is None:
                self.send_error(absent)
            else:
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
