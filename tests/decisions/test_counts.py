"""What /metrics counts of checks."""

from decisions_world import BANK, OPEN, TAX, World, ask

from consent import metrics
from consent.decisions.engine import PolicyEngine
from consent.decisions.service import DecisionService


def counted() -> dict[str, float]:
    """Decisions so far, by outcome."""
    lines = metrics.exposition().decode().splitlines()
    found = (line.rpartition(" ") for line in lines if line.startswith("consent_decisions_total{"))
    return {name.split('"')[1]: float(value) for name, _, value in found}


async def test_decisions_are_counted_by_outcome(world: World, policy: PolicyEngine, service: DecisionService) -> None:
    """Each recorded decision once, permit or deny; a repeated request_id is not one."""
    await world.grant(TAX)
    before = counted()
    outcomes = [
        (await ask(service, BANK, world.enterprise, items, request_id=name))["context"]["outcome"]
        for items, name in (((TAX,), "r-1"), ((OPEN,), "r-2"), (("N24-11-01",), "r-3"), ((TAX,), "r-1"))
    ]
    assert "none" in outcomes
    after = counted()
    for outcome in ("full", "partial", "none"):
        assert after.get(outcome, 0) - before.get(outcome, 0) == outcomes[:3].count(outcome)
