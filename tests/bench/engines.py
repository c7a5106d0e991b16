"""Microseconds per decision: OPA in batches, rego-cpp check by check.

Equal questions of a batch are judged once, so each row says what the checks have in common: `repeated` is four banks with one product for
the same three items of many enterprises, as this bench's service asks; `mixed`, `all different` and `by field` are made by `varied`. The
rows of growth are all different, too. CPU time is the figure: the clock also counts whoever else uses the machine.
"""

import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from consent.decisions.bundle import Bundle, load_bundle
from consent.decisions.engine import OpaEngine, PolicyEngine, RegopyEngine
from consent.decisions.schema import decode_evaluation
from consent.decisions.service import DecisionService
from consent.parties.access import Caller
from tests.bench.checks import BenchFailed
from tests.bench.varied import Varied, resized
from tests.bench.world import CATALOGUE, Place, cpu_seconds, opa_server, question

BATCHES = (256, 16)
ITEMS = (1, 3, 10, 20)
GRANTS = (1, 10, 50)
Found = dict[str, dict[str, float]]


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


async def measure(place: Place, *, seconds: float) -> Found:
    """Each row for about `seconds` of CPU time of the process that evaluates, or thrice that by the clock."""
    bundle = load_bundle(CATALOGUE)
    regopy = RegopyEngine(bundle, threads=1)
    await regopy.start()
    repeated = await _sample(place, regopy, max(BATCHES))
    varied, found = Varied(bundle, repeated[0]), Found()
    kinds = {
        "repeated": repeated,
        "mixed": varied.mixed(max(BATCHES)),
        "all different": varied.different(max(BATCHES)),
        "all different, by field": varied.by_field(max(BATCHES)),
    }
    async with _opa(place, bundle) as (opa, pid):
        for size in BATCHES:
            for kind, checks in kinds.items():
                found[f"OPA by {size}, {kind}"] = await _micros(opa, checks[:size], seconds, pid)
        grown = {f"{n} items": varied.different(max(BATCHES), items=n) for n in ITEMS}
        grown |= {f"{n} grants of 1 item": varied.many_grants(max(BATCHES), n) for n in GRANTS}
        for what, checks in grown.items():
            found[f"OPA by {max(BATCHES)}, {what}"] = await _micros(opa, checks, seconds, pid)
    asked = {asked["item"] for check in kinds["all different"] for asked in check["items"]}
    for kind in ("half", "double"):
        async with _opa(place, resized(bundle, kind, asked)) as (opa, pid):
            found[f"OPA by {max(BATCHES)}, {kind} the catalogue"] = await _micros(opa, kinds["all different"], seconds, pid)
    for kind in ("all different", "all different, by field"):
        found[f"in-process, one by one, {kind}"] = await _micros(regopy, kinds[kind][1:2], seconds, os.getpid())
    await regopy.close()
    return found


@asynccontextmanager
async def _opa(place: Place, bundle: Bundle) -> AsyncIterator[tuple[OpaEngine, int]]:
    """An OPA of its own with these policies, and its pid."""
    with opa_server(place.state, bundle) as (url, pid):
        opa = OpaEngine(bundle, url, timeout_seconds=10)
        await opa.start()
        try:
            yield opa, pid
        finally:
            await opa.close()


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
    # As one batch of the service, which has one moment.
    moment = {name: recorder.asked[-1][name] for name in ("now", "today")}
    return [{**check, **moment, "key": str(n)} for n, check in enumerate(recorder.asked)]


async def _micros(engine: PolicyEngine, checks: list[dict[str, Any]], seconds: float, pid: int) -> dict[str, float]:
    await engine.decide(checks)
    decisions, began, spent = 0, time.perf_counter(), cpu_seconds({"it": pid})["it"]
    elapsed = used = 0.0
    while used < seconds and elapsed < 3 * seconds:
        answers = await engine.decide(checks)
        if not all(answer["decision"] for answer in answers):
            raise BenchFailed("a check was denied")
        decisions += len(checks)
        elapsed, used = time.perf_counter() - began, cpu_seconds({"it": pid})["it"] - spent
    return {"micros": round(1e6 * elapsed / decisions, 1), "cpu_micros": round(1e6 * used / decisions, 1)}
