"""Token endpoint and introspection per second, against the echo route under the same load, in alternating rounds."""

import statistics
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any
from urllib.parse import urlencode

from tests.bench.checks import BenchFailed
from tests.bench.load import BoundToken, Round, build, client_form, run
from tests.bench.world import HOST, Place, cpu_seconds, echo_server, opa_server, service

CONNECTIONS = 64


def measure(place: Place, *, pairs: int, seconds: float) -> dict[str, dict[str, Any]]:
    """One row per endpoint. Each request carries an assertion of its own, a token request a proof of its own too.

    Raises:
        BenchFailed: a reply was not 200.
    """
    with ExitStack() as stack:
        opa_url, _ = stack.enter_context(opa_server(place.state))
        echo_port, _ = stack.enter_context(echo_server())
        process = stack.enter_context(service(place, opa_url))
        tokens = [BoundToken(place, bank) for bank in place.banks]
        echo_requests = build(place, tokens, 4000)
        return {
            name: _row(place, make, tokens, process.pid, (echo_port, echo_requests), pairs, seconds)
            for name, make in (("token endpoint", _token_request), ("introspection", _introspection))
        }


def _row(
    place: Place,
    make: Callable[[Place, BoundToken], bytes],
    tokens: list[BoundToken],
    pid: int,
    echo: tuple[int, list[bytes]],
    pairs: int,
    seconds: float,
) -> dict[str, Any]:
    def some(count: int) -> list[bytes]:
        return [make(place, tokens[n % len(tokens)]) for n in range(count)]

    rate = _checked(run(place.port, some(8 * CONNECTIONS), CONNECTIONS)).rate
    rounds, ratios, echoes, spent = [], [], [], 0.0
    for _ in range(pairs):
        requests = some(int(seconds * rate) + CONNECTIONS)
        start = cpu_seconds({"service": pid})["service"]
        rounds.append(_checked(run(place.port, requests, CONNECTIONS)))
        spent += cpu_seconds({"service": pid})["service"] - start
        rate = rounds[-1].rate
        echoes.append(run(echo[0], echo[1] * max(1, int(seconds)), CONNECTIONS).rate)
        ratios.append(rate / echoes[-1])
    return {
        "per_second": round(statistics.median(one.rate for one in rounds)),
        "echoes_per_second": round(statistics.median(echoes)),
        "ratio": round(statistics.median(ratios), 3),
        "p50_ms": round(statistics.median(one.percentile(0.5) for one in rounds), 2),
        "p99_ms": round(statistics.median(one.percentile(0.99) for one in rounds), 2),
        "service_cpu_us": round(1e6 * spent / sum(len(one.latencies) for one in rounds)),
    }


def _checked(done: Round) -> Round:
    if done.errors:
        raise BenchFailed(f"{len(done.errors)} replies were not 200, as {done.errors[0][:200]!r}")
    return done


def _token_request(place: Place, token: BoundToken) -> bytes:
    form = client_form(place, token.bank, grant_type="client_credentials", scope="check")
    proof = token.proof(f"{place.issuer}/oauth/token")
    return _post(place, "/oauth/token", form, f"DPoP: {proof}\r\n")


def _introspection(place: Place, token: BoundToken) -> bytes:
    return _post(place, "/oauth/introspect", client_form(place, token.bank, token=token.token), "")


def _post(place: Place, path: str, form: dict[str, str], fields: str) -> bytes:
    body = urlencode(form).encode()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: {HOST}:{place.port}\r\n{fields}"
        f"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body
