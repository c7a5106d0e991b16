"""Checks per second through the whole path, against the echo route under the same load, in alternating rounds."""

import asyncio
import statistics
from contextlib import ExitStack
from typing import Any

import msgspec
from sqlalchemy import text

from tests.bench.load import AnyToken, BoundToken, CertificateToken, Round, build, run
from tests.bench.world import Place, cpu_seconds, echo_server, opa_server, service

_COUNTERS = text("select xact_commit, xact_rollback from pg_stat_database where datname = current_database()")
_WAL = text("select wal_records, wal_bytes from pg_stat_wal")


class BenchFailed(Exception):
    """What was measured did not do its work, so its speed means nothing."""


def measure(place: Place, *, opa: bool, plan: list[tuple[int, int]], seconds: float, mtls: bool = False) -> list[dict[str, Any]]:
    """One row per (connections, pairs of rounds) in `plan`; with a proof in each request, or with tokens bound by mutual TLS.

    Raises:
        BenchFailed: a reply was not 200, not a permit, or without a ledger index of its own.
    """
    with ExitStack() as stack:
        opa_url, opa_pid = stack.enter_context(opa_server(place.state)) if opa else (None, None)
        echo_port, echo_pid = stack.enter_context(echo_server())
        process = stack.enter_context(service(place, opa_url))
        kind = CertificateToken if mtls else BoundToken
        tokens: list[AnyToken] = [kind(place, bank) for bank in place.banks]
        roots = {"service": process.pid, "postgresql": place.postgres_pid(), "echo": echo_pid} | ({"opa": opa_pid} if opa_pid else {})
        return [_row(place, tokens, roots, echo_port, connections, pairs, seconds) for connections, pairs in plan]


def _row(
    place: Place, tokens: list[AnyToken], roots: dict[str, int], echo_port: int, connections: int, pairs: int, seconds: float
) -> dict[str, Any]:
    warm = _checked(run(place.port, build(place, tokens, 4 * connections), connections))
    warm = _checked(run(place.port, build(place, tokens, int(seconds * warm.rate) + connections), connections))
    amount = int(seconds * warm.rate) + connections
    echo_amount = max(2000, int(seconds * run(echo_port, build(place, tokens, 4000), connections).rate))
    checks: list[Round] = []
    echoes: list[Round] = []
    spent = dict.fromkeys(roots, 0.0)
    echo_spent = 0.0
    before = asyncio.run(_counters(place))
    for _ in range(pairs):
        requests = build(place, tokens, amount)
        start = cpu_seconds(roots)
        checks.append(_checked(run(place.port, requests, connections)))
        end = cpu_seconds(roots)
        for name in roots:
            spent[name] += end[name] - start[name]
        repeated = (requests * (echo_amount // amount + 1))[:echo_amount]
        echoes.append(run(echo_port, repeated, connections))
        echo_spent += cpu_seconds(roots)["echo"] - end["echo"]
        if echoes[-1].errors:
            raise BenchFailed(f"echo: {echoes[-1].errors[0][:200]!r}")
        amount = int(seconds * checks[-1].rate) + connections
    after = asyncio.run(_counters(place))
    count = sum(len(one.latencies) for one in checks)
    ratios = [check.rate / echo.rate for check, echo in zip(checks, echoes, strict=True)]
    return {
        "connections": connections,
        "ratio": round(statistics.median(ratios), 3),
        "ratios": [round(ratio, 3) for ratio in ratios],
        "checks_per_second": round(statistics.median(one.rate for one in checks)),
        "echoes_per_second": round(statistics.median(one.rate for one in echoes)),
        "check_p50_ms": round(statistics.median(one.percentile(0.5) for one in checks), 2),
        "check_p99_ms": round(statistics.median(one.percentile(0.99) for one in checks), 2),
        "echo_p50_ms": round(statistics.median(one.percentile(0.5) for one in echoes), 2),
        "echo_p99_ms": round(statistics.median(one.percentile(0.99) for one in echoes), 2),
        "cpu_us_per_check": {name: round(1e6 * spent[name] / count) for name in roots if name != "echo"},
        "cpu_us_per_echo": round(1e6 * echo_spent / sum(len(one.latencies) for one in echoes)),
        "commits_per_check": round((after["xact_commit"] - before["xact_commit"]) / count, 4),
        "rollbacks_per_check": round((after["xact_rollback"] - before["xact_rollback"]) / count, 4),
        "wal_bytes_per_check": round(float(after["wal_bytes"] - before["wal_bytes"]) / count),
        "checks": count,
    }


def _checked(done: Round) -> Round:
    """Every reply a permit whose record is one of its own."""
    if done.errors:
        raise BenchFailed(f"{len(done.errors)} replies were not 200, as {done.errors[0][:200]!r}")
    indexes = set()
    for body in done.bodies:
        answer = msgspec.json.decode(body)
        if answer["decision"] is not True:
            raise BenchFailed(f"a check was denied: {answer['context']['codes']}")
        indexes.add(answer["context"]["ledger"]["index"])
    if len(indexes) != len(done.latencies):
        raise BenchFailed("replies without a record of their own")
    return done


async def _counters(place: Place) -> dict[str, Any]:
    """Sessions report their counts with up to a second's delay."""
    await asyncio.sleep(1.2)
    engine = place.engine()
    try:
        async with engine.connect() as connection:
            row = (await connection.execute(_COUNTERS)).one()._asdict()
            return row | (await connection.execute(_WAL)).one()._asdict()
    finally:
        await engine.dispose()
