"""Every hand-written case of the corpus: the oracle and both engines give exactly the expected answer, whole answers compared."""

import pytest

from consent.decisions.bundle import Bundle
from consent.decisions.engine import OpaEngine, RegopyEngine
from tests.policies import corpus, oracle, oracle_requests
from tests.policies.wire import check_input, request_input

DECISIONS = corpus.decisions()
REQUESTS = corpus.requests()
DECISION_NAMES, REQUEST_NAMES = ([name for name, _, _ in cases] for cases in (DECISIONS, REQUESTS))


def test_the_corpus_is_as_large_as_promised() -> None:
    """A loader that finds nothing would let everything pass."""
    assert len(DECISIONS) >= 300
    assert len(REQUESTS) >= 80
    assert len({*DECISION_NAMES, *REQUEST_NAMES}) == len(DECISIONS) + len(REQUESTS)


@pytest.mark.parametrize(("case", "expected"), [case[1:] for case in DECISIONS], ids=DECISION_NAMES)
async def test_decision(regopy: RegopyEngine, case: corpus.Json, expected: corpus.Json) -> None:
    """The oracle and the in-process engine give exactly this answer."""
    assert oracle.decide(case) == expected
    assert await regopy.decide([check_input(case)]) == [{"key": "k", "revision": regopy.revision, **expected}]


@pytest.mark.parametrize(("case", "expected"), [case[1:] for case in REQUESTS], ids=REQUEST_NAMES)
async def test_verdict(regopy: RegopyEngine, case: corpus.Json, expected: corpus.Json) -> None:
    """The oracle and the in-process engine judge the request exactly so."""
    assert oracle_requests.judge(case) == expected
    assert await regopy.judge([request_input(case)]) == [{"key": "k", "revision": regopy.revision, **expected}]


@pytest.mark.opa
async def test_opa_gives_the_same_answers(opa_server: str, bundle: Bundle) -> None:
    """One batch of all cases through an OPA server equals the corpus, case by case and in order."""
    engine = OpaEngine(bundle, opa_server, timeout_seconds=10)
    judged: dict[int, corpus.Json] = {}
    await engine.start()
    try:
        decided = await engine.decide([check_input(case, str(n)) for n, (_, case, _) in enumerate(DECISIONS)])
        for now in {case["now"] for _, case, _ in REQUESTS}:
            same = [(n, case) for n, (_, case, _) in enumerate(REQUESTS) if case["now"] == now]
            verdicts = await engine.judge([request_input(case, str(n)) for n, case in same])
            judged.update(zip([n for n, _ in same], verdicts, strict=True))
    finally:
        await engine.close()
    for cases, answers in ((DECISIONS, decided), (REQUESTS, [judged[n] for n in sorted(judged)])):
        for n, ((name, _, expected), answer) in enumerate(zip(cases, answers, strict=True)):
            assert answer == {"key": str(n), "revision": bundle.revision, **expected}, name
