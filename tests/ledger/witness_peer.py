"""A witness as others run them (C2SP tlog-witness), in memory, with the vices that ours must survive."""

import asyncio
import time
from collections.abc import AsyncIterator

import httpx

from consent_audit.cosigner import Cosigner
from consent_audit.encoding import parse_base64
from consent_audit.errors import AuditError
from consent_audit.hashing import verify_consistency
from consent_audit.note import Checkpoint, Verifier, open_note
from consent_audit.policy import Policy

HONEST = "honest"


class Peer:
    """One witness. `vice` is what it does wrong, `held` is cleared while it is slow; `requests` are the old sizes it was asked with."""

    def __init__(self, name: str, log: Verifier) -> None:
        self.key = Cosigner.generate(f"{name}.example.org/w")
        self.name = name
        self.vice = HONEST
        self.held = asyncio.Event()
        self.held.set()
        self.requests: list[int] = []
        self.seen = Checkpoint(log.name, 0, b"")
        self._log = log

    @property
    def line(self) -> str:
        """Its line of a policy."""
        return f"witness {self.name} {self.key.verifier.vkey} https://{self.name}.test/\n"

    async def answer(self, request: httpx.Request) -> httpx.Response:
        """`POST /add-checkpoint`."""
        assert (request.method, request.url.path) == ("POST", "/add-checkpoint")
        head, _, note = request.content.decode().partition("\n\n")
        first, *proof = head.split("\n")
        old = int(first.removeprefix("old "))
        self.requests.append(old)
        await asyncio.sleep(0)
        await self.held.wait()
        if self.vice != HONEST:
            return self._vicious(note)
        try:
            checkpoint = Checkpoint.parse(open_note(note, [self._log]))
        except AuditError:
            return httpx.Response(403)
        if old != self.seen.size or (checkpoint.size == self.seen.size and checkpoint.root != self.seen.root):
            return httpx.Response(409, headers={"Content-Type": "text/x.tlog.size"}, text=f"{self.seen.size}\n")
        try:
            if 0 < self.seen.size < checkpoint.size:
                path = [parse_base64(line) for line in proof]
                verify_consistency(self.seen.size, checkpoint.size, self.seen.root, checkpoint.root, path)
            else:
                assert proof == []
        except AuditError:
            return httpx.Response(422)
        self.seen = checkpoint
        return httpx.Response(200, text=self.key.cosign(checkpoint.text(), int(time.time())))

    def _vicious(self, note: str) -> httpx.Response:
        """What the vice's name says."""
        text = note.partition("\n\n")[0] + "\n"
        other = Checkpoint(self._log.name, 7, bytes(32)).text()
        answers = {
            "absent": lambda: (_ for _ in ()).throw(httpx.ConnectError("nobody")),
            "error": lambda: httpx.Response(500, text="oops"),
            "unknown log": lambda: httpx.Response(404),
            "redirect": lambda: httpx.Response(307, headers={"Location": "https://evil.test/add-checkpoint"}),
            "another text": lambda: httpx.Response(200, text=self.key.cosign(other, 1)),
            "another key": lambda: httpx.Response(200, text=Cosigner.generate("x.example.org/w").cosign(text, 1)),
            "same name": lambda: httpx.Response(200, text=Cosigner.generate(self.key.name).cosign(text, 1)),
            "junk": lambda: httpx.Response(200, content=b"\xff\x00 junk"),
            "nothing": lambda: httpx.Response(200),
            "endless": lambda: httpx.Response(200, content=_endless()),
            "larger": lambda: httpx.Response(409, text="99999999\n"),
            "not a size": lambda: httpx.Response(409, text="٣\n"),
            "huge size": lambda: httpx.Response(409, text="9" * 40 + "\n"),
            "refutes": lambda: httpx.Response(422),
        }
        return answers[self.vice]()


async def _endless() -> AsyncIterator[bytes]:
    while True:
        yield b"x" * (1 << 14)
        await asyncio.sleep(0.01)


def network(*peers: Peer) -> httpx.AsyncClient:
    """HTTP to these witnesses and nobody else."""
    hosts = {f"{peer.name}.test": peer for peer in peers}

    async def handle(request: httpx.Request) -> httpx.Response:
        return await hosts[request.url.host].answer(request)

    return httpx.AsyncClient(transport=httpx.MockTransport(handle))


def policy(log: Verifier, quorum: str, *peers: Peer) -> Policy:
    """A policy of these witnesses; `quorum` is a line or two."""
    return Policy.parse(f"log {log.vkey}\n" + "".join(peer.line for peer in peers) + quorum)
