"""Engines that fail, and answers that must not be believed: nothing decided, never a permit."""

import asyncio
import copy
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from consent.decisions.answers import accept_decisions, accept_verdicts
from consent.decisions.bundle import Bundle
from consent.decisions.engine import OpaEngine, RegopyEngine
from consent.errors import PolicyUnavailable
from tests.policies import corpus

CASES = {name: (check, answer) for name, check, answer in corpus.decisions()}
REVISION = "r"


def sound(name: str = "grant: one granted, one not") -> tuple[corpus.Json, corpus.Json]:
    """A check and its right answer, ours to spoil."""
    check, answer = copy.deepcopy(CASES[name])
    return {**check, "key": "k"}, {"key": "k", "revision": REVISION, **answer}


def test_a_right_answer_is_accepted() -> None:
    """Otherwise the refusals below would prove nothing."""
    check, answer = sound()
    assert accept_decisions([answer], [check], REVISION) == [answer]


SPOILT: dict[str, Callable[[Any], Any]] = {
    "no list": lambda a: a,
    "undefined": lambda a: None,
    "empty": lambda a: [],
    "twice": lambda a: [a, a],
    "another key": lambda a: [{**a, "key": "other"}],
    "another revision": lambda a: [{**a, "revision": "stale"}],
    "a member more": lambda a: [{**a, "extra": 1}],
    "a member less": lambda a: [{k: v for k, v in a.items() if k != "codes"}],
    "truthy instead of true": lambda a: [{**a, "decision": 1}],
    "decision against its items": lambda a: [{**a, "decision": True, "outcome": "full"}],
    "codes that no item has": lambda a: [{**a, "codes": []}],
    "an item less": lambda a: [{**a, "items": a["items"][:1]}],
    "items in another order": lambda a: [{**a, "items": a["items"][::-1]}],
    "another item": lambda a: [change(a, item="N21-04-01")],
    "an outcome nobody knows": lambda a: [change(a, outcome="allow")],
    "a permit without basis": lambda a: [change(a, basis=None)],
    "a permit without fields": lambda a: [change(a, fields=[])],
    "a field of another item": lambda a: [change(a, fields=["N21-04-01.01"])],
    "a field twice": lambda a: [change(a, fields=["N21-03-04.01", "N21-03-04.01"])],
    "given and withheld": lambda a: [change(a, withheld=["N21-03-04.01"])],
    "a grant that was not asked about": lambda a: [change(a, grant_id="g9")],
    "an open item with a grant": lambda a: [change(a, basis="open")],
    "a code nobody knows": lambda a: [{**change(a, codes=["made.up"]), "codes": ["item.not_granted", "made.up"]}],
    "a denial with fields": lambda a: [change(a, 1, fields=["N21-03-03.01"])],
    "a denial without reason": lambda a: [{**change(a, 1, codes=[]), "codes": []}],
}


def change(answer: corpus.Json, n: int = 0, **members: Any) -> corpus.Json:
    """`answer` with members of its item `n` replaced."""
    items = [{**item, **members} if k == n else item for k, item in enumerate(answer["items"])]
    return {**answer, "items": items}


@pytest.mark.parametrize("spoil", SPOILT.values(), ids=SPOILT.keys())
def test_an_answer_that_does_not_fit_is_no_answer(spoil: Callable[[Any], Any]) -> None:
    """Missing, doubled, swapped, widened or stale: refused."""
    check, answer = sound()
    with pytest.raises(PolicyUnavailable):
        accept_decisions(spoil(answer), [check], REVISION)


def test_a_field_that_was_not_asked_for_is_refused() -> None:
    """Fields are held against the request when it names some."""
    check, answer = sound("field: some of the fields")
    answer["items"][0]["fields"].append("N21-03-04.05")
    with pytest.raises(PolicyUnavailable):
        accept_decisions([answer], [check], REVISION)


def test_verdicts_that_do_not_fit_are_refused() -> None:
    """A kept detail keeps exactly what was asked, and a refusal has a code."""
    name, request, verdict = corpus.requests()[2]
    assert name == "request: some fields by name"
    request, answer = {**request, "key": "k"}, {"key": "k", "revision": REVISION, **verdict}
    assert accept_verdicts([answer], [request], REVISION) == [answer]
    detail = answer["details"][0]
    for other in (
        {**answer, "verdict": "refuse"},
        {**answer, "details": []},
        {**answer, "details": [{**detail, "fields": detail["fields"][:1]}]},
        {**answer, "details": [{**detail, "verdict": "refuse", "fields": []}], "verdict": "refuse"},
        {**answer, "details": [{**detail, "identifier": "d9"}]},
    ):
        with pytest.raises(PolicyUnavailable):
            accept_verdicts([other], [request], REVISION)


async def test_a_batch_comes_back_in_its_order(regopy: RegopyEngine) -> None:
    """Many checks at once: each gets its own answer."""
    names = sorted(CASES)[:20]
    answers = await regopy.decide([{**CASES[name][0], "key": name} for name in names])
    assert [answer["key"] for answer in answers] == names
    assert [answer["outcome"] for answer in answers] == [CASES[name][1]["outcome"] for name in names]


async def test_threads_do_not_mix_their_answers(bundle: Bundle) -> None:
    """One interpreter per thread: 60 checks on 3 threads answer as they do alone."""
    engine = RegopyEngine(bundle, threads=3)
    await engine.start()
    names = [*sorted(CASES)[:30], *sorted(CASES)[:30]]
    answers = await asyncio.gather(*(engine.decide([{**CASES[name][0], "key": "k"}]) for name in names))
    await engine.close()
    for name, (answer,) in zip(names, answers, strict=True):
        assert answer == {"key": "k", "revision": bundle.revision, **CASES[name][1]}, name


async def test_a_bundle_that_does_not_compile_fails_at_the_start(bundle: Bundle) -> None:
    """Not at the first check."""
    engine = RegopyEngine(Bundle(bundle.revision, {**bundle.modules, "bad.rego": "package bad\n\np := {\n"}, bundle.data))
    with pytest.raises(PolicyUnavailable):
        await engine.start()
    await engine.close()


@asynccontextmanager
async def answering(body: bytes, status: int = 200, delay: float = 0.0) -> AsyncIterator[str]:
    """A server that answers everything with `body`, as an OPA that went wrong would."""

    stopped = asyncio.Event()
    served: list[asyncio.Future[None]] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        done = asyncio.get_running_loop().create_future()
        served.append(done)
        await reader.readuntil(b"\r\n\r\n")
        with suppress(TimeoutError):
            await asyncio.wait_for(stopped.wait(), delay)
        head = f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        writer.write(head.encode() + body)
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
        done.set_result(None)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        stopped.set()
        server.close()
        await asyncio.gather(*served)


async def ask(bundle: Bundle, url: str) -> list[corpus.Json]:
    """One check through an OPA engine at `url`."""
    engine = OpaEngine(bundle, url)
    await engine.start()
    try:
        return await engine.decide([sound()[0]])
    finally:
        await engine.close()


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{}", 200),
        (b'{"result":null}', 200),
        (b'{"result":[]}', 200),
        (b'{"result":{}}', 200),
        (b"[]", 200),
        (b"not json", 200),
        (b'{"code":"internal_error"}', 500),
        (b'{"code":"unauthorized"}', 401),
    ],
)
async def test_an_opa_that_goes_wrong_decides_nothing(bundle: Bundle, body: bytes, status: int) -> None:
    """Undefined, another shape, an error: unavailable."""
    async with answering(body, status) as url:
        with pytest.raises(PolicyUnavailable):
            await ask(bundle, url)


async def test_an_opa_that_is_away_or_slow_decides_nothing(bundle: Bundle) -> None:
    """Within its deadline, without retries."""
    async with answering(b"{}", delay=5) as url:
        with pytest.raises(PolicyUnavailable):
            await asyncio.wait_for(ask(bundle, url), timeout=2)
    with pytest.raises(PolicyUnavailable):
        await ask(bundle, url)


async def test_an_engine_that_was_not_started_decides_nothing(bundle: Bundle) -> None:
    """Nor after it was closed."""
    engine = OpaEngine(bundle, "http://127.0.0.1:9")
    with pytest.raises(PolicyUnavailable):
        await engine.decide([sound()[0]])
    await engine.start()
    await engine.close()
    with pytest.raises(PolicyUnavailable):
        await engine.decide([sound()[0]])


@pytest.mark.parametrize("url", ["opa:8181", "ftp://opa", "http://", "http://opa:8181/v1", "http://opa?x=1"])
def test_a_url_that_is_none_is_refused(bundle: Bundle, url: str) -> None:
    """At the start, not at the first check."""
    with pytest.raises(ValueError, match="URL of OPA"):
        OpaEngine(bundle, url)


@pytest.mark.opa
async def test_an_opa_with_a_stale_bundle_is_refused(bundle: Bundle, opa_server: str) -> None:
    """The server answers well, but by another revision than ours."""
    newer = Bundle("0" * 16, bundle.modules, bundle.data)
    assert json.loads(newer.document())["consent"]["revision"] == "0" * 16
    with pytest.raises(PolicyUnavailable):
        await ask(newer, opa_server)
