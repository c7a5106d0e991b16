"""Thousands of generated cases: OPA, rego-cpp and the oracle give the same whole answers."""

import functools
import itertools

import pytest

from consent.decisions.bundle import Bundle
from consent.decisions.codes import CODES
from consent.decisions.engine import OpaEngine, RegopyEngine
from tests.policies import generated, oracle, oracle_requests
from tests.policies.wire import check_input, request_input

Case = generated.Case
PARTS = 8
"""The in-process engine takes them in so many tests, which run beside each other."""

checks = functools.cache(lambda: [*generated.checks()])
requests = functools.cache(lambda: [*generated.requests()])

OUTCOMES = {"permit": 1000, "permit_masked": 400, "verify_only": 500, "model_only": 500, "deny": 2000}
VERDICTS = {"keep": 1000, "refuse": 700, "downgrade": 80}
REQUEST_CODES = {
    *("institution.unknown", "institution.not_assessed", "institution.rectifying", "institution.suspended", "institution.cancelled"),
    *("institution.no_agreement", "institution.product_not_declared", "purpose.unknown", "purpose.not_financing", "purpose.not_declared"),
    *("action.not_granted", "item.unknown", "item.not_necessary", "field.not_listed", "field.third_party", "field.not_necessary"),
    *("mode.verification_only", "mode.model_only", "grant.expired", "grant.validity_exceeded", "grant.range_exceeded"),
    *("grant.frequency_exceeded", "grant.retention_exceeded"),
}
ONLY_REQUESTS = {"grant.validity_exceeded", "grant.retention_exceeded"}
WITHOUT_CASE = {"policy.unavailable"}
"""It says that nothing was decided."""


def test_the_cases_reach_every_outcome_and_every_code() -> None:
    """Five thousand trivial denials would prove nothing: no outcome and no code is rare, and no code of the list is missing."""
    counts = generated.distribution([oracle.decide(case) for case in checks()])
    assert len(checks()) >= 5000
    assert {word for word, least in OUTCOMES.items() if counts[word] < least} == set()
    assert {code for code in CODES.keys() - ONLY_REQUESTS - WITHOUT_CASE if counts[code] < 20} == set()
    asked = generated.distribution([oracle_requests.judge(case) for case in requests()])
    assert {word for word, least in VERDICTS.items() if asked[word] < least} == set()
    assert {code for code in REQUEST_CODES if asked[code] < 4} == set()
    assert not WITHOUT_CASE & {*counts, *asked}


def test_the_same_seed_gives_the_same_cases() -> None:
    """A case that failed yesterday is the same case today, and no case changes another."""
    assert [*generated.checks(60)] == checks()[:60]
    assert [*generated.requests(60)] == requests()[:60]


@pytest.mark.parametrize("part", range(PARTS))
async def test_rego_cpp_agrees_with_the_oracle(regopy: RegopyEngine, part: int) -> None:
    """Whole answers, one by one."""
    for case in checks()[part::PARTS]:
        assert await regopy.decide([check_input(case)]) == [expected("k", regopy.revision, oracle.decide(case))], case
    for case in requests()[part::PARTS]:
        assert await regopy.judge([request_input(case)]) == [expected("k", regopy.revision, oracle_requests.judge(case))], case


@pytest.mark.opa
async def test_opa_agrees_with_the_oracle(opa_server: str, bundle: Bundle) -> None:
    """Whole answers, in batches."""
    engine = OpaEngine(bundle, opa_server, timeout_seconds=20)
    await engine.start()
    try:
        for start in range(0, len(checks()), 512):
            batch = checks()[start : start + 512]
            answers = await engine.decide([check_input(case, str(n)) for n, case in enumerate(batch)])
            for n, (case, answer) in enumerate(zip(batch, answers, strict=True)):
                assert answer == expected(str(n), bundle.revision, oracle.decide(case)), case
        by_day = sorted(requests(), key=lambda case: case["now"])  # requests that are judged at once have their moment in common
        parts = [[*same] for _, same in itertools.groupby(by_day, lambda case: case["now"])]
        for batch in (part[start : start + 100] for part in parts for start in range(0, len(part), 100)):
            verdicts = await engine.judge([request_input(case, str(n)) for n, case in enumerate(batch)])
            for n, (case, verdict) in enumerate(zip(batch, verdicts, strict=True)):
                assert verdict == expected(str(n), bundle.revision, oracle_requests.judge(case)), case
    finally:
        await engine.close()


def expected(key: str, revision: str, answer: Case) -> Case:
    """What an engine answers when the oracle answers so."""
    return {"key": key, "revision": revision, **answer}
