"""The command `witness`: the witness over HTTP, for an auditor's machine (`http.server`; a few logs, one request a second each).

Bounded: so many connections at once, so many bytes and so many seconds each. Open it to the world behind a reverse proxy.
"""

import argparse
import contextlib
import os
import re
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from consent_audit.arguments import Usage
from consent_audit.cosigner import Cosigner
from consent_audit.encoding import parse_decimal
from consent_audit.errors import BadKey, CannotCheck
from consent_audit.note import ED25519, Verifier
from consent_audit.policy import MAX_POLICY_BYTES, Policy
from consent_audit.witness import MAX_REQUEST_BYTES, Answer, Witness, witnessing

MAX_CONNECTIONS = 64
CONNECTION_SECONDS = 60.0
"""A connection is closed after this time whatever it does, so that nobody holds one for good."""
_CHECKPOINT = re.compile(r"/([0-9a-f]{64})/checkpoint", re.ASCII)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "consent-audit-witness"
    sys_version = ""
    timeout = 15
    server: "WitnessServer"

    def setup(self) -> None:
        self._timer = threading.Timer(self.server.connection_seconds, self._cut)
        self._timer.daemon = True
        self._timer.start()
        super().setup()

    def finish(self) -> None:
        self._timer.cancel()
        with contextlib.suppress(OSError):
            super().finish()

    def _cut(self) -> None:
        with contextlib.suppress(OSError):
            self.request.shutdown(socket.SHUT_RDWR)

    def do_POST(self) -> None:
        if self.path != "/add-checkpoint":
            self._answer(Answer(404, "there is only POST /add-checkpoint\n"), close=True)
            return
        try:
            length = parse_decimal(self.headers.get("Content-Length", ""), maximum=MAX_REQUEST_BYTES)
        except ValueError:
            self._answer(Answer(400, "no Content-Length, or larger than any request can be\n"), close=True)
            return
        body = self.rfile.read(length)
        if len(body) == length:
            self._answer(self._try(lambda: self.server.witness.add_checkpoint(body)))

    def do_GET(self) -> None:
        self._answer(self._try(self._checkpoint))

    def _checkpoint(self) -> Answer:
        matched = _CHECKPOINT.fullmatch(self.path)
        note = self.server.witness.checkpoint(matched[1]) if matched else None
        return Answer(200, note) if note is not None else Answer(404, "no such checkpoint\n")

    def _try(self, work: Callable[[], Answer]) -> Answer:
        try:
            return work()
        except CannotCheck as error:
            print(f"consent-audit: {error}", file=sys.stderr, flush=True)
            return Answer(503, "the witness cannot use its memory; it cosigns nothing\n")

    def _answer(self, answer: Answer, *, close: bool = False) -> None:
        body = answer.body.encode()
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.content_type)
        self.send_header("Content-Length", str(len(body)))
        if close:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the base class's name)
        """Says nothing: who asks is nobody's business, and refusals are the log's to see."""


class WitnessServer(ThreadingHTTPServer):
    """The HTTP server around one witness."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, address: tuple[str, int], witness: Witness, *, connection_seconds: float = CONNECTION_SECONDS) -> None:
        self.witness = witness
        self.connection_seconds = connection_seconds
        self._slots = threading.BoundedSemaphore(MAX_CONNECTIONS)
        super().__init__(address, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        if self._slots.acquire(timeout=1):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._slots.release()

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 (the base class's names)
        """A broken connection is the client's affair; anything else is said in one line, without what was sent."""
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            print(f"consent-audit: a request failed ({type(error).__name__})", file=sys.stderr, flush=True)


def add_witness(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """The subcommand `witness`."""
    command = commands.add_parser("witness", help="run a witness: cosign checkpoints of logs that only grow (tlog-witness over HTTP)")
    command.add_argument(
        "--key-file", type=Path, required=True, metavar="FILE", help="the witness's private key; readable by its owner only"
    )
    command.add_argument("--new", metavar="NAME", help="make a new key of this name in the key file, print its verifier key, and end")
    command.add_argument("--log", action="append", default=[], metavar="VKEY", help="a log's verifier key; may be repeated")
    command.add_argument("--policy", type=Path, metavar="FILE", help="a tlog-policy whose log lines are the logs")
    command.add_argument("--state", type=Path, metavar="DIR", help="where the cosigned checkpoints are kept")
    command.add_argument("--listen", default="127.0.0.1:8765", metavar="HOST:PORT", help="default: 127.0.0.1:8765; port 0 takes a free one")
    command.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    if arguments.new is not None:
        print(new_key(arguments.key_file, arguments.new), flush=True)
        return 0
    logs, address = _logs(arguments), _address(arguments.listen)
    if arguments.state is None:
        raise Usage("witness: --state DIR says where the cosigned checkpoints are kept")
    with serving(load_key(arguments.key_file), logs, arguments.state, address) as server:
        host, port = server.server_address[:2]
        print(f"witness {server.witness.vkey}\nlistening on http://{host!s}:{port}/", flush=True)
        _serve(server)
    return 0


def new_key(path: Path, name: str) -> str:
    """Make a key in a new file that only its owner may read; returns the verifier key.

    Raises:
        BadKey: the name is none.
        CannotCheck: the file is there already or cannot be written.
    """
    key = Cosigner.generate(name)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(key.private_key + "\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise CannotCheck(f"witness key {path}: cannot be made ({error.strerror})") from error
    return key.verifier.vkey


def load_key(path: Path) -> Cosigner:
    """The key in a file.

    Raises:
        BadKey: it is not one, or others may read it.
        CannotCheck: it cannot be read.
    """
    try:
        if os.name == "posix" and path.stat().st_mode & 0o077:
            raise BadKey(f"witness key {path}: others may read it; chmod 600 first")
        return Cosigner.parse(path.read_text(encoding="utf-8").strip())
    except (OSError, UnicodeDecodeError) as error:
        raise CannotCheck(f"witness key {path}: cannot be read") from error


def _logs(arguments: argparse.Namespace) -> list[Verifier]:
    logs = [Verifier.parse(vkey) for vkey in arguments.log]
    if arguments.policy is not None:
        try:
            with arguments.policy.open("rb") as file:
                logs += [log.verifier for log in Policy.parse(file.read(MAX_POLICY_BYTES + 1)).logs]
        except OSError as error:
            raise Usage(f"the policy file cannot be read ({error.strerror})") from error
    if not logs or any(log.key_type != ED25519 for log in logs):
        raise Usage("witness: name the logs by --log or --policy, with Ed25519 log keys")
    return logs


def _address(listen: str) -> tuple[str, int]:
    host, _, port = listen.rpartition(":")
    try:
        return host.strip("[]"), parse_decimal(port, maximum=65_535)
    except ValueError as error:
        raise Usage("witness: --listen wants HOST:PORT") from error


@contextlib.contextmanager
def serving(cosigner: Cosigner, logs: list[Verifier], folder: Path, address: tuple[str, int]) -> Iterator[WitnessServer]:
    """A server that listens; `serve_forever` answers.

    Raises:
        CannotCheck: the folder or the address cannot be used.
    """
    with witnessing(cosigner, logs, folder, time.time) as witness:
        try:
            server = WitnessServer(address, witness)
        except OSError as error:
            raise CannotCheck(f"witness: cannot listen there ({error.strerror})") from error
        try:
            yield server
        finally:
            server.server_close()


def _serve(server: WitnessServer) -> None:
    """Until a signal ends it. A request under way has stored its checkpoint or not; either is good."""

    def stop(*_: object) -> None:
        threading.Thread(target=server.shutdown).start()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    server.serve_forever(0.2)
