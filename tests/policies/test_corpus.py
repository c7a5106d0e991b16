"""Every case of the corpus, in both engines, whole answers compared."""

import pytest

from consent.decisions.bundle import Bundle
from consent.decisions.engine import OpaEngine, RegopyEngine
from tests.policies import corpus

DECISIONS = corpus.decisions()
REQUESTS = corpus.requests()


def test_the_corpus_is_as_large_as_promised() -> None:
    """A loader that finds nothing would let everything pass."""
    assert len(DECISIONS) >= 180
    assert len(REQUESTS) >= 40
    assert len({name for name, _, _ in DECISIONS + REQUESTS}) == len(DECISIONS) + len(REQUESTS)


@pytest.mark.parametrize(("check", "expected"), [case[1:] for case in DECISIONS], ids=[case[0] for case in DECISIONS])
async def test_decision(regopy: RegopyEngine, check: corpus.Json, expected: corpus.Json) -> None:
    """The in-process engine gives exactly this answer."""
    answers = await regopy.decide([{**check, "key": "k"}])
    assert answers == [{"key": "k", "revision": regopy.revision, **expected}]


@pytest.mark.parametrize(("request_", "expected"), [case[1:] for case in REQUESTS], ids=[case[0] for case in REQUESTS])
async def test_verdict(regopy: RegopyEngine, request_: corpus.Json, expected: corpus.Json) -> None:
    """The in-process engine judges the request exactly so."""
    answers = await regopy.judge([{**request_, "key": "k"}])
    assert answers == [{"key": "k", "revision": regopy.revision, **expected}]


@pytest.mark.opa
async def test_opa_gives_the_same_answers(opa_server: str, bundle: Bundle) -> None:
    """One batch of all cases through an OPA server equals the corpus, case by case and in order."""
    engine = OpaEngine(bundle, opa_server, timeout_seconds=10)
    await engine.start()
    try:
        decided = await engine.decide([{**check, "key": str(n)} for n, (_, check, _) in enumerate(DECISIONS)])
        judged = await engine.judge([{**request, "key": str(n)} for n, (_, request, _) in enumerate(REQUESTS)])
    finally:
        await engine.close()
    for cases, answers in ((DECISIONS, decided), (REQUESTS, judged)):
        for n, ((name, _, expected), answer) in enumerate(zip(cases, answers, strict=True)):
            assert answer == {"key": str(n), "revision": bundle.revision, **expected}, name
