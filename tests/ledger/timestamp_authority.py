"""A time-stamp authority that somebody else wrote: `openssl ts` behind a small HTTP server. It also judges what we keep."""

import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

CONFIG = """
[ tsa ]
default_tsa = tsa_config
[ tsa_config ]
dir = {dir}
serial = $dir/serial
crypto_device = builtin
signer_cert = $dir/tsa.pem
signer_key = $dir/tsa.key
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256
accuracy = secs:1
ordering = no
tsa_name = no
ess_cert_id_chain = no
ess_cert_id_alg = sha256
[ usage ]
basicConstraints = critical, CA:false
keyUsage = critical, digitalSignature
extendedKeyUsage = critical, timeStamping
"""


class OpenSsl:
    """An authority with a root of its own, in a directory."""

    def __init__(self, directory: Path, name: str = "Test Root") -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        (directory / "tsa.cnf").write_text(CONFIG.format(dir=directory))
        (directory / "serial").write_text("01\n")
        new = ["req", "-newkey", "rsa:2048", "-nodes", "-keyout"]
        self.run(*new, "root.key", "-x509", "-days", "30", "-subj", f"/CN={name}", "-out", "root.pem")
        self.run(*new, "tsa.key", "-subj", "/CN=Test Authority", "-out", "tsa.csr")
        signed = ["-CA", "root.pem", "-CAkey", "root.key", "-CAcreateserial", "-days", "30", "-extfile", "tsa.cnf", "-extensions", "usage"]
        self.run("x509", "-req", "-in", "tsa.csr", *signed, "-out", "tsa.pem")

    @property
    def root(self) -> bytes:
        return (self.directory / "root.pem").read_bytes()

    def run(self, *arguments: str, check: bool = True, **options: Any) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(["openssl", *arguments], cwd=self.directory, capture_output=True, check=check, **options)

    def answer(self, query: bytes) -> bytes:
        (self.directory / "query.tsq").write_bytes(query)
        self.run("ts", "-reply", "-config", "tsa.cnf", "-section", "tsa_config", "-queryfile", "query.tsq", "-out", "reply.tsr")
        return (self.directory / "reply.tsr").read_bytes()

    def accepts(self, data: Path, stamp: Path) -> bool:
        """The judge's verdict on a file and its time-stamp."""
        done = self.run("ts", "-verify", "-data", str(data), "-in", str(stamp), "-CAfile", "root.pem", check=False)
        return done.returncode == 0 and b"Verification: OK" in done.stdout + done.stderr


Answer = Callable[[bytes], tuple[int, str, bytes]]


@contextmanager
def serve(answer: Answer) -> Iterator[str]:
    """The URL of a server that answers queries like this: status, content type, body."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            query = self.rfile.read(int(self.headers["content-length"]))
            assert self.headers["content-type"] == "application/timestamp-query"
            status, kind, body = answer(query)
            self.send_response(status)
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/tsa"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
