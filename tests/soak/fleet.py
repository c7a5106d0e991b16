"""Four `consent serve` on one database, under load all the time, of which one after another is killed and started again."""

import os
import random
import secrets
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import httpx
import msgspec

from tests.bench.load import PATH, BoundToken
from tests.bench.world import HOST, Place, free_port, question, start_service, wait

SERVERS = 4
CALLERS = 8
Acknowledged = dict[str, tuple[bytes, dict[str, Any]]]


class Fleet:
    """The servers, the callers, and what was asked and acknowledged: by request_id, the body and the whole reply."""

    def __init__(self, place: Place) -> None:
        self.place = place
        # One issuer, four ports: the proof of each request names the issuer, wherever the request goes.
        self.ports = [place.port, *(free_port() for _ in range(SERVERS - 1))]
        self.servers = [self._start(number) for number in range(SERVERS)]
        self.asked: dict[str, bytes] = {}
        self.acknowledged: Acknowledged = {}
        self.interrupted = 0
        self.refused: dict[int, int] = {}
        self._tokens: dict[str, BoundToken] = {}
        self._stop = threading.Event()
        self._lock = threading.Lock()

    def _start(self, number: int) -> subprocess.Popen[bytes]:
        return start_service(self.place._replace(issuer=f"http://{HOST}:{self.ports[number]}"), None)

    def wait_ready(self) -> None:
        """Until all answer that they are ready, each by itself."""
        for port, server in zip(self.ports, self.servers, strict=True):
            wait(f"http://{HOST}:{port}/readyz", server)

    def kill_one(self) -> None:
        """Signal 9 for one of them and its worker, whatever it does just now; its successor starts at once."""
        number = random.randrange(SERVERS)
        kill(self.servers[number])
        self.servers[number] = self._start(number)

    @contextmanager
    def load(self) -> Iterator[None]:
        """Callers that never stop asking; the block runs meanwhile."""
        callers = [threading.Thread(target=self._call, args=(number,)) for number in range(CALLERS)]
        for caller in callers:
            caller.start()
        try:
            yield
        finally:
            self._stop.set()
            for caller in callers:
                caller.join(60)
        assert not any(caller.is_alive() for caller in callers)

    def wait_for_more(self, count: int, seconds: float = 60) -> None:
        """Until so many more requests were acknowledged, so that every kill meets load."""
        wanted = len(self.acknowledged) + count
        deadline = time.monotonic() + seconds
        while len(self.acknowledged) < wanted:
            assert time.monotonic() < deadline, f"no progress: {self.refused}"
            time.sleep(0.005)

    def ask_again(self, count: int) -> None:
        """The same requests give the same replies, from whichever process."""
        with self._lock:
            sample = random.sample(sorted(self.acknowledged), min(count, len(self.acknowledged)))
        with httpx.Client(timeout=30, trust_env=False) as http:
            for request_id in sample:
                body, reply = self.acknowledged[request_id]
                bank = msgspec.json.decode(body)["subject"]["id"]
                again = self._post(http, random.randrange(SERVERS), bank, body)
                assert (again.status_code, again.json()) == (200, reply)

    def stop(self) -> None:
        """All of them at once, without a chance to tidy up."""
        for server in self.servers:
            kill(server)

    def _call(self, number: int) -> None:
        chance = random.Random()
        bank = self.place.banks[number % len(self.place.banks)].institution
        with httpx.Client(timeout=15, trust_env=False) as http:
            while not self._stop.is_set():
                request_id = secrets.token_urlsafe(16)
                body = question(self._bank(bank), chance.choice(self.place.enterprises), request_id)
                with self._lock:
                    self.asked[request_id] = body
                try:
                    reply = self._post(http, number % SERVERS, bank, body)
                except httpx.ConnectError:
                    with self._lock:
                        del self.asked[request_id]  # it left nobody's hands: the server is starting
                    self._stop.wait(0.05)
                    continue
                except httpx.HTTPError:
                    self.interrupted += 1
                    continue
                if reply.status_code == 200:
                    with self._lock:
                        self.acknowledged[request_id] = (body, reply.json())
                else:
                    self.refused[reply.status_code] = self.refused.get(reply.status_code, 0) + 1
                    self._stop.wait(0.05)

    def _post(self, http: httpx.Client, server: int, bank: str, body: bytes) -> httpx.Response:
        token = self._token(bank)
        headers = {
            "Authorization": f"DPoP {token.token}",
            "DPoP": token.proof(f"{self.place.issuer}{PATH}"),
            "Content-Type": "application/json",
        }
        reply = http.post(f"http://{HOST}:{self.ports[server]}{PATH}", content=body, headers=headers)
        if reply.status_code == 401:
            self._tokens.pop(bank, None)  # it ran out
        return reply

    def _token(self, bank: str) -> BoundToken:
        token = self._tokens.get(bank)
        if token is None:
            token = self._tokens[bank] = BoundToken(self.place, self._bank(bank))
        return token

    def _bank(self, institution: str) -> Any:
        return next(bank for bank in self.place.banks if bank.institution == institution)


def kill(process: subprocess.Popen[bytes]) -> None:
    """The whole process group at once, the worker too: as when the machine stops."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    if process.stdin is not None:
        process.stdin.close()
