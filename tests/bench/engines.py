"""Microseconds per decision of three items, as the service asks: OPA in batches, rego-cpp check by check."""

import os
import time
from typing import Any

import msgspec

from consent.decisions.bundle import load_bundle
from consent.decisions.engine import OpaEngine, PolicyEngine, RegopyEngine
from consent.decisions.schema import decode_evaluation
from consent.decisions.service import DecisionService
from consent.parties.access import Caller
from tests.bench.checks import BenchFailed
from tests.bench.world import CATALOGUE, Place, cpu_seconds, opa_server, question

BATCHES = (16, 256)


class Recorder:
    """The policies, keeping what they were asked."""

    def __init__(self, inner: PolicyEngine) -> None:
        self.revision = inner.revision
        self.asked: list[dict[str, Any]] = []
        self._inner = inner

    async def decide(self, checks: list[dict[str, Any]]) -> list[dict[str, Any]]:
        self.asked += checks
        return await self._inner.decide(checks)

    async def judge(self, requests: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return await self._inner.judge(requests)

    async def start(self) -> None:
        await self._inner.start()

    async def close(self) -> None:
        await self._inner.close()


async def measure(place: Place, *, seconds: float) -> dict[str, dict[str, float]]:
    """Each engine for about `seconds`: by the clock, and CPU time of the process that evaluates."""
    bundle = load_bundle(CATALOGUE)
    regopy = RegopyEngine(bundle, threads=1)
    await regopy.start()
    checks = await _sample(place, regopy, max(BATCHES))
    found: dict[str, dict[str, float]] = {}
    with opa_server(place.state) as (url, pid):
        opa = OpaEngine(bundle, url, timeout_seconds=5)
        await opa.start()
        try:
            for size in BATCHES:
                found[f"OPA in batches of {size}"] = await _micros(opa, checks[:size], seconds, pid)
        finally:
            await opa.close()
    found["in-process, one by one"] = await _micros(regopy, checks[:1], seconds, os.getpid())
    await regopy.close()
    return found


async def _sample(place: Place, policy: PolicyEngine, count: int) -> list[dict[str, Any]]:
    """Inputs as the service makes them from the database."""
    recorder = Recorder(policy)
    engine = place.engine()
    service = DecisionService(engine, recorder, CATALOGUE)
    await service.start()
    try:
        for n in range(count):
            bank = place.banks[n % len(place.banks)]
            caller = Caller(
                client_id=bank.client,
                institution_id=bank.institution,
                institution_kind="bank",
                scopes=frozenset({"check"}),
                token_hash=bytes(32),
            )
            enterprise = place.enterprises[n % len(place.enterprises)]
            reply = await service.check(caller, decode_evaluation(question(bank, enterprise, f"engine-{time.time_ns()}")))
            if msgspec.json.decode(reply)["decision"] is not True:
                raise BenchFailed("a check was denied")
    finally:
        await service.stop()
        await engine.dispose()
    return [{**check, "key": str(n)} for n, check in enumerate(recorder.asked)]


async def _micros(engine: PolicyEngine, checks: list[dict[str, Any]], seconds: float, pid: int) -> dict[str, float]:
    await engine.decide(checks)
    decisions, began, spent = 0, time.perf_counter(), cpu_seconds({"it": pid})["it"]
    while time.perf_counter() - began < seconds:
        answers = await engine.decide(checks)
        if not all(answer["decision"] for answer in answers):
            raise BenchFailed("a check was denied")
        decisions += len(checks)
    elapsed, spent = time.perf_counter() - began, cpu_seconds({"it": pid})["it"] - spent
    return {"micros": round(1e6 * elapsed / decisions, 1), "cpu_micros": round(1e6 * spent / decisions, 1)}
