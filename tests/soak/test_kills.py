"""`consent serve` killed with signal 9 at random moments under load, again and again. What was acknowledged must stand."""

import os
import random
import secrets
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import httpx
import msgspec
import pytest

from consent_audit.hashing import leaf_hash
from consent_audit.record import Record, encode_record
from tests.bench.load import PATH, BoundToken
from tests.bench.world import Place, question, start_service, wait

KILLS = int(os.environ.get("SOAK_KILLS", "20"))
CALLERS = 8


@pytest.mark.soak
def test_no_acknowledged_decision_is_lost(place: Place, judged: Callable[[Place], Iterator[Record]]) -> None:
    """Each reply that left names a record that stands where it said, byte for byte; the same request_id still gives the same reply;
    what was not acknowledged is recorded once or not at all (design §5.1, §5.6)."""
    acknowledged: dict[str, tuple[bytes, dict[str, Any]]] = {}
    asked: dict[str, bytes] = {}
    for _ in range(KILLS):
        process = start_service(place, None)
        try:
            wait(f"{place.issuer}/readyz", process)
            tokens = [BoundToken(place, bank) for bank in place.banks]
            _repeat_some(place, tokens, acknowledged)
            _under_load(place, tokens, process, asked, acknowledged)
        finally:
            _kill(process)
    assert len(acknowledged) > 10 * KILLS
    assert len(asked) > len(acknowledged), "no kill interrupted a request"
    records = {record.index: record for record in judged(place)}
    decided = [record for record in records.values() if record.type == "access.decided"]
    assert len({record.data["id"] for record in decided}) == len(decided) <= len(asked)
    for _, reply in acknowledged.values():
        ledger = reply["context"]["ledger"]
        record = records[ledger["index"]]
        assert record.data["id"] == reply["context"]["id"]
        encoded = encode_record(record.index, record.prev, record.time, record.type, record.data)
        assert leaf_hash(encoded) == _unbase64(ledger["leaf"])


def _under_load(
    place: Place,
    tokens: list[BoundToken],
    process: subprocess.Popen[bytes],
    asked: dict[str, bytes],
    acknowledged: dict[str, tuple[bytes, dict[str, Any]]],
) -> None:
    stop = threading.Event()

    def call(number: int) -> None:
        chance = random.Random()
        token = tokens[number % len(tokens)]
        with httpx.Client(timeout=10, trust_env=False) as http:
            while not stop.is_set():
                request_id = secrets.token_urlsafe(16)
                body = asked[request_id] = question(token.bank, chance.choice(place.enterprises), request_id)
                try:
                    reply = _post(http, place, token, body)
                except httpx.HTTPError:
                    return
                if reply.status_code == 200:
                    acknowledged[request_id] = (body, reply.json())

    callers = [threading.Thread(target=call, args=(number,)) for number in range(CALLERS)]
    for caller in callers:
        caller.start()
    before = len(acknowledged)
    deadline = time.monotonic() + 30
    while len(acknowledged) < before + 20 and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(random.random())
    _kill(process)
    stop.set()
    for caller in callers:
        caller.join(30)
        assert not caller.is_alive()


def _repeat_some(place: Place, tokens: list[BoundToken], acknowledged: dict[str, tuple[bytes, dict[str, Any]]]) -> None:
    by_institution = {token.bank.institution: token for token in tokens}
    with httpx.Client(timeout=30, trust_env=False) as http:
        for body, reply in random.sample(sorted(acknowledged.values(), key=repr), min(10, len(acknowledged))):
            token = by_institution[msgspec.json.decode(body)["subject"]["id"]]
            again = _post(http, place, token, body)
            assert (again.status_code, again.json()) == (200, reply)


def _post(http: httpx.Client, place: Place, token: BoundToken, body: bytes) -> httpx.Response:
    url = f"{place.issuer}{PATH}"
    headers = {"Authorization": f"DPoP {token.token}", "DPoP": token.proof(url), "Content-Type": "application/json"}
    return http.post(url, content=body, headers=headers)


def _kill(process: subprocess.Popen[bytes]) -> None:
    """All of it at once, the worker too: as when the machine stops."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    if process.stdin is not None:
        process.stdin.close()


def _unbase64(text: str) -> bytes:
    import base64

    return base64.b64decode(text, validate=True)
