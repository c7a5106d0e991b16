"""A process of the service without HTTP, for the soak: answers checks for so long as it is told, and reports what came of them.

python -m tests.soak.soak_workers SECONDS < the world as JSON
"""

import asyncio
import random
import sys
import time
from collections import Counter

import msgspec

from consent import db
from consent.decisions.bundle import load_bundle
from consent.decisions.engine import OpaEngine, PolicyEngine, RegopyEngine
from consent.decisions.schema import decode_evaluation
from consent.decisions.service import DecisionService
from consent.errors import Unavailable
from consent.parties.access import Caller
from tests.bench.world import CATALOGUE, ITEMS, PRODUCT, PURPOSE

AT_ONCE = 24


class Task(msgspec.Struct):
    """What to hammer."""

    database_url: str
    opa_url: str | None
    institutions: list[str]
    enterprises: list[str]


class Outcome(msgspec.Struct):
    """How often what was answered."""

    outcomes: dict[str, int]
    indexes: int


async def hammer(task: Task, seconds: float) -> Outcome:
    """Random banks ask about random enterprises; a platform's checks count, a bank's do not."""
    bundle = load_bundle(CATALOGUE)
    policy: PolicyEngine = RegopyEngine(bundle, threads=1) if task.opa_url is None else OpaEngine(bundle, task.opa_url)
    engine = db.create_engine(task.database_url)
    service = DecisionService(engine, policy, CATALOGUE)
    await policy.start()
    await service.start()
    outcomes: Counter[str] = Counter()
    indexes: set[int] = set()
    until = time.monotonic() + seconds
    chance = random.Random()

    async def ask() -> None:
        while time.monotonic() < until:
            asking, wire = _question(task, chance)
            try:
                answer = msgspec.json.decode(await service.check(asking, decode_evaluation(wire)))
            except Unavailable as error:  # too many changes at once, or the engine was late: nothing was decided
                outcomes[error.code] += 1
                continue
            outcomes[answer["context"]["outcome"]] += 1
            index = answer["context"]["ledger"]["index"]
            assert index not in indexes, "two checks were given one record"
            indexes.add(index)

    try:
        await asyncio.gather(*(ask() for _ in range(AT_ONCE)))
    finally:
        await service.stop()
        await policy.close()
        await engine.dispose()
    return Outcome(dict(outcomes), len(indexes))


def _question(task: Task, chance: random.Random) -> tuple[Caller, bytes]:
    institution = chance.choice(task.institutions)
    counting = chance.random() < 0.25
    asking = Caller(
        client_id="bench-platform-client" if counting else f"{institution}-client",
        institution_id="bench-platform" if counting else institution,
        institution_kind="platform" if counting else "bank",
        scopes=frozenset({"check:any" if counting else "check"}),
        token_hash=bytes(32),
    )
    items = chance.sample(ITEMS, chance.randint(1, len(ITEMS)))
    wire = {
        "subject": {"type": "institution", "id": institution},
        "action": {"name": "query", "properties": {"purpose": PURPOSE, "product": PRODUCT}},
        "resource": {"type": "enterprise", "id": chance.choice(task.enterprises), "properties": {"items": items}},
    }
    return asking, msgspec.json.encode(wire)


if __name__ == "__main__":
    sys.stdout.buffer.write(
        msgspec.json.encode(asyncio.run(hammer(msgspec.json.decode(sys.stdin.buffer.read(), type=Task), float(sys.argv[1]))))
    )
