"""The load: HTTP/1.1 over kept-alive sockets, requests built and signed beforehand, so that little of it is in what is measured.

Closed loop: each connection sends its next request when it has the reply to the one before. One thread with epoll, since the generator
shares the machine with what it measures.
"""

import base64
import gc
import hashlib
import re
import secrets
import select
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx
import msgspec
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from consent_sdk.keys import ClientKey
from tests.bench.world import HOST, Bank, Place, question
from tests.certificates_world import certificate

PATH = "/access/v1/evaluation"
ROUND_LIMIT_SECONDS = 50
"""A proof may be 60 seconds old, so a round with its preparation must stay below."""
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)
_ECDSA = ec.ECDSA(SHA256())


@dataclass
class Round:
    """What one round showed. Latencies in seconds, from the first byte sent to the last received."""

    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    errors: list[bytes] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Replies per second."""
        return len(self.latencies) / self.seconds

    def percentile(self, share: float) -> float:
        """Milliseconds."""
        ordered = sorted(self.latencies)
        return 1000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))]


class BoundToken:
    """An access token of a bank and the key that it is bound to."""

    def __init__(self, place: Place, bank: Bank) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        numbers = self._key.public_key().public_numbers()
        jwk = {"kty": "EC", "crv": "P-256", "x": _b64(numbers.x.to_bytes(32)), "y": _b64(numbers.y.to_bytes(32))}
        self._header = _json({"typ": "dpop+jwt", "alg": "ES256", "jwk": jwk})
        self._ath: str | None = None
        self.bank = bank
        self.token = ask_token(place, bank, {"DPoP": self.proof(f"{place.issuer}/oauth/token")})
        self._ath = _b64(hashlib.sha256(self.token.encode()).digest())

    def fields(self, url: str) -> str:
        """The header fields of one POST."""
        return f"Authorization: DPoP {self.token}\r\nDPoP: {self.proof(url)}\r\n"

    def proof(self, url: str) -> str:
        """A fresh proof for one POST."""
        claims = {"jti": secrets.token_urlsafe(16), "htm": "POST", "htu": url, "iat": int(time.time())}
        signed = f"{self._header}.{_json(claims if self._ath is None else claims | {'ath': self._ath})}"
        r, s = decode_dss_signature(self._key.sign(signed.encode(), _ECDSA))
        return f"{signed}.{_b64(r.to_bytes(32) + s.to_bytes(32))}"


class CertificateToken:
    """An access token of a bank that is bound to a TLS certificate, as a listed proxy would name it (RFC 8705, RFC 9440)."""

    def __init__(self, place: Place, bank: Bank) -> None:
        der = certificate().public_bytes(Encoding.DER)
        self._certificate = f"Client-Cert: :{base64.b64encode(der).decode()}:\r\n"
        self.bank = bank
        self.token = ask_token(place, bank, {"Client-Cert": self._certificate.partition(": ")[2].strip()})

    def fields(self, url: str) -> str:
        """The header fields of one POST."""
        return f"Authorization: Bearer {self.token}\r\n{self._certificate}"


AnyToken = BoundToken | CertificateToken


def client_form(place: Place, bank: Bank, **members: str) -> dict[str, str]:
    """Parameters that authenticate a bank's client, once, and more."""
    return members | {
        "client_id": bank.client,
        "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        "client_assertion": ClientKey(bank.key).assertion(bank.client, place.issuer),
    }


def ask_token(place: Place, bank: Bank, headers: dict[str, str]) -> str:
    """A token for checks, bound to what the headers prove."""
    form = client_form(place, bank, grant_type="client_credentials", scope="check")
    reply = httpx.post(f"{place.issuer}/oauth/token", data=form, headers=headers, timeout=30, trust_env=False)
    reply.raise_for_status()
    return str(reply.json()["access_token"])


def build(place: Place, tokens: Sequence[AnyToken], count: int) -> list[bytes]:
    """That many requests, each a check of its own, with a proof of its own where its token needs one."""
    url = f"{place.issuer}{PATH}"
    built = []
    for n in range(count):
        token = tokens[n % len(tokens)]
        body = question(token.bank, place.enterprises[n * 7 % len(place.enterprises)], secrets.token_urlsafe(16))
        head = (
            f"POST {PATH} HTTP/1.1\r\nHost: {HOST}:{place.port}\r\n{token.fields(url)}"
            f"Content-Type: application/json\r\nAccept: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        built.append(head.encode() + body)
    return built


def run(port: int, requests: Sequence[bytes], connections: int) -> Round:
    """Send all of them over that many connections.

    Raises:
        TimeoutError: it took longer than a round may.
        ConnectionError: the server closed a connection.
    """
    done = Round()
    queue = iter(requests)
    poller = select.epoll()
    open_sockets = {}
    try:
        for _ in range(connections):
            made = socket.create_connection((HOST, port))
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            open_sockets[made.fileno()] = made
            poller.register(made.fileno(), select.EPOLLIN)
        gc.collect()
        gc.disable()
        _drive(done, queue, poller, open_sockets)
    finally:
        gc.enable()
        poller.close()
        for made in open_sockets.values():
            made.close()
    return done


def _drive(done: Round, queue: Any, poller: select.epoll, open_sockets: dict[int, socket.socket]) -> None:
    clock = time.perf_counter
    sent: dict[int, float] = {}
    partial: dict[int, bytes] = {}
    began = clock()
    for number, connection in open_sockets.items():
        request = next(queue, None)
        if request is not None:
            sent[number] = clock()
            connection.sendall(request)
    while sent:
        events = poller.poll(5)
        if not events or clock() - began > ROUND_LIMIT_SECONDS:
            raise TimeoutError("no replies, or the round is too long")
        for number, _ in events:
            connection = open_sockets[number]
            received = connection.recv(1 << 18)
            if not received:
                raise ConnectionError("the server closed a connection")
            if number in partial:
                received = partial.pop(number) + received
            head = received.find(b"\r\n\r\n")
            length = _LENGTH.search(received, 0, head + 2) if head >= 0 else None
            if length is None or len(received) < head + 4 + int(length[1]):
                partial[number] = received
                continue
            now = clock()
            done.latencies.append(now - sent[number])
            (done.bodies if received.startswith(b"HTTP/1.1 200") else done.errors).append(received[head + 4 :])
            request = next(queue, None)
            if request is None:
                del sent[number]
            else:
                sent[number] = now
                connection.sendall(request)
    done.seconds = clock() - began


def _b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _json(value: object) -> str:
    return _b64(msgspec.json.encode(value))
