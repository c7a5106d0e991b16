"""Judging consent requests: the same policies, asked about details."""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from decisions_world import CATALOGUE, TAX, World

from consent.decisions.bundle import load_bundle
from consent.decisions.engine import OpaEngine
from consent.decisions.service import DecisionService
from consent.errors import PolicyUnavailable
from consent.grants.details import parse_details
from consent.grants.model import Detail


def details(**changes: Any) -> tuple[Detail, ...]:
    """A necessary detail, and a second one with changes."""
    wire = [
        {
            "type": "financing_data",
            "identifier": name,
            "actions": ["query"],
            "datatypes": [TAX],
            "purpose": purpose,
            "necessity": "required",
            "valid_until": (datetime.now(UTC) + timedelta(days=30)).isoformat(),
        }
        for name, purpose in (("first", "pre_loan"), ("second", "approval"))
    ]
    wire[1].update(changes)
    return parse_details(msgspec.json.encode(wire))


async def test_necessary_details_are_kept(service: DecisionService) -> None:
    """Verdicts come in the order asked, with all fields that a yes would grant."""
    judgement = await service.judge("bank-a", details())
    assert [(verdict.identifier, verdict.verdict) for verdict in judgement.verdicts] == [("first", "keep"), ("second", "keep")]
    assert set(judgement.verdicts[0].fields) == set(CATALOGUE.field_codes[TAX])
    assert judgement.policy == service._judge.revision


@pytest.mark.parametrize("change", [{"purpose": "marketing"}, {"datatypes": ["N99-99-99"]}, {"actions": ["collect"]}], ids=str)
async def test_what_cannot_be_kept_has_a_code_and_a_solution(service: DecisionService, change: dict[str, Any]) -> None:
    """The other detail keeps its own verdict; refusing the whole is the caller's part."""
    first, second = (await service.judge("bank-a", details(**change))).verdicts
    assert first.verdict == "keep"
    assert second.verdict != "keep"
    assert second.codes
    assert second.solution["zh"]
    assert second.solution["en"]


async def test_unknown_institution_gets_nothing(service: DecisionService) -> None:
    """No detail of an institution that nobody registered is kept."""
    judgement = await service.judge("bank-nowhere", details())
    assert {code for verdict in judgement.verdicts for code in verdict.codes} == {"institution.unknown"}


async def test_engine_that_is_down_judges_nothing(world: World) -> None:
    """No verdict, 503."""
    service = DecisionService(world.engine, OpaEngine(load_bundle(CATALOGUE), "http://127.0.0.1:9"), CATALOGUE)
    with pytest.raises(PolicyUnavailable):
        await service.judge("bank-a", details())
