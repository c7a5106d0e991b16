"""The two policy engines. Rego decides, this module carries questions and answers and trusts no answer that it did not check.

`RegopyEngine` runs the policies in this process, for trials and tests. `OpaEngine` asks an OPA server. Both evaluate the same bundle and
give the same answers. Every failure, of whatever kind, is `PolicyUnavailable`: nothing was decided, so nothing is permitted.
"""

import asyncio
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from typing import Any, Protocol
from urllib.parse import urlsplit

import aiohttp
import msgspec
from opa_client.opa_async import AsyncOpaClient

from consent.decisions.answers import accept_decisions, accept_verdicts
from consent.decisions.bundle import Bundle
from consent.decisions.pack import Packed, pack, pack_requests, unpack
from consent.errors import PolicyUnavailable

DECIDE = "consent/decision/answers"
JUDGE = "consent/request/answers"

CALL_CHECKS = 256
"""Checks in one call of OPA at most; the service asks for fewer while they take long (judge.py), so that a call keeps its deadline."""
_ODD = (KeyError, IndexError, TypeError, ValueError, AttributeError)
"""What packing incomplete facts raises, or unpacking an answer to another question."""


class PolicyEngine(Protocol):
    """Decides checks and judges authorization requests by one revision of the policies."""

    revision: str

    async def decide(self, checks: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """One answer per check, in order.

        Raises:
            PolicyUnavailable: nothing was decided.
        """
        ...

    async def judge(self, requests: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """One answer per authorization request, in order.

        Raises:
            PolicyUnavailable: nothing was judged.
        """
        ...

    async def start(self) -> None:
        """Open what the engine needs; called once before the first question, in the loop that asks."""
        ...

    async def close(self) -> None:
        """Release it."""
        ...


class _Wrapping:
    """Packs questions for a bundle and spreads its answers out again."""

    def __init__(self, bundle: Bundle) -> None:
        self.revision = bundle.revision
        self._items: dict[str, Any] = bundle.data["consent"]["catalogue"]["items"]
        self._table: dict[str, Any] = bundle.data["consent"]["table"]

    def pack(self, checks: Sequence[dict[str, Any]], most: int) -> Iterator[tuple[list[int], Packed]]:
        """Batches of at most `most` checks that have their moment in common, with the checks' places.

        Raises:
            PolicyUnavailable: a fact is missing, so nothing can be decided.
        """
        moments: dict[tuple[Any, Any], list[int]] = {}
        try:
            for place, check in enumerate(checks):
                moments.setdefault((check["now"], check["today"]), []).append(place)
            for places in moments.values():
                for n in range(0, len(places), most):
                    part = places[n : n + most]
                    yield part, pack([checks[place] for place in part], self._items)
        except _ODD:
            raise PolicyUnavailable from None

    def unpack(self, checks: Sequence[dict[str, Any]], batches: Sequence[tuple[list[int], Packed]], replies: Sequence[object]) -> list[Any]:
        """Whole answers in the order of `checks`.

        Raises:
            PolicyUnavailable: a reply does not fit what was asked.
        """
        answers: dict[int, dict[str, Any]] = {}
        try:
            for (places, packed), reply in zip(batches, replies, strict=True):
                answers.update(zip(places, unpack(packed, [checks[n] for n in places], reply, self._table), strict=True))
            whole = [answers[n] for n in range(len(checks))]
        except _ODD:
            raise PolicyUnavailable from None
        return accept_decisions(whole, list(checks), self.revision)

    def requests(self, requests: list[dict[str, Any]]) -> bytes:
        """The document of authorization requests.

        Raises:
            PolicyUnavailable: a member is missing.
        """
        try:
            return pack_requests(requests)
        except _ODD:
            raise PolicyUnavailable from None


class RegopyEngine:
    """The policies in this process, by rego-cpp. For trials and tests; production wants OPA.

    One interpreter per thread, since a shared one gives wrong decisions; each compiles the bundle once, on its first question. Checks
    are evaluated one by one, which is what rego-cpp does best; it releases the GIL meanwhile.
    """

    def __init__(self, bundle: Bundle, threads: int = 2) -> None:
        self.revision = bundle.revision
        self._bundle = bundle
        self._wrapping = _Wrapping(bundle)
        self._local = threading.local()
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="regopy")

    async def start(self) -> None:
        """Compile in every thread, so that a bundle that does not compile fails at the start and not at the first check.

        Raises:
            PolicyUnavailable: it does not compile.
        """
        loop = asyncio.get_running_loop()
        barrier = threading.Barrier(self._pool._max_workers)
        await asyncio.gather(*(loop.run_in_executor(self._pool, self._warm, barrier) for _ in range(barrier.parties)))

    async def close(self) -> None:
        """Let the threads go; a question under way still gets its answer."""
        self.shutdown()

    def shutdown(self) -> None:
        """`close` for callers without a loop."""
        self._pool.shutdown(wait=False)

    async def decide(self, checks: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """See `PolicyEngine.decide`."""
        batches = list(self._wrapping.pack(checks, 1))
        replies = await asyncio.gather(*(self._ask(DECIDE, packed.document) for _, packed in batches))
        return self._wrapping.unpack(checks, batches, replies)

    async def judge(self, requests: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """See `PolicyEngine.judge`."""
        raw = await asyncio.gather(*(self._ask(JUDGE, self._wrapping.requests([request])) for request in requests))
        answers = [answer for reply in raw if isinstance(reply, list) for answer in reply]
        return accept_verdicts(answers, requests, self.revision)

    async def _ask(self, entrypoint: str, document: bytes) -> object:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._pool, self._evaluate, entrypoint, document.decode())

    def _warm(self, barrier: threading.Barrier) -> None:
        barrier.wait(timeout=60)
        self._evaluate(DECIDE, "{}")

    def _evaluate(self, entrypoint: str, document: str) -> Any:
        from regopy import RegoError  # noqa: PLC0415 - an extra; absent in production, which asks OPA

        try:
            interpreter, compiled = self._compiled()
            interpreter.set_input_term(document)
            output = interpreter.query_bundle_entrypoint(compiled, entrypoint)
            return output.results[0].expressions[0]
        except (RegoError, ValueError, IndexError, KeyError, AttributeError, TypeError):
            raise PolicyUnavailable from None

    def _compiled(self) -> tuple[Any, Any]:
        from regopy import Interpreter  # noqa: PLC0415 - as above

        if not hasattr(self._local, "compiled"):
            interpreter = Interpreter()
            interpreter.add_data_json(self._bundle.document().decode())
            for name, text in self._bundle.modules.items():
                interpreter.add_module(name, text)
            self._local.compiled = interpreter, interpreter.build(None, [DECIDE, JUDGE])
        compiled: tuple[Any, Any] = self._local.compiled
        return compiled


class _OpaClient(AsyncOpaClient):  # type: ignore[misc]
    """The client, asking and reading in bytes: its own way through dictionaries costs several times as much."""

    async def ask(self, path: str, document: bytes) -> object:
        """What the document at `path` is for `document`. Not compressed: both ends are on one host, and work for the processor there."""
        headers = {"Content-Type": "application/json", "Accept-Encoding": "identity"}
        url = f"{self.root_url}/data/{path}"
        async with self._request("POST", url, data=b'{"input":%b}' % document, headers=headers) as response:
            response.raise_for_status()
            return msgspec.json.decode(await response.read())


class OpaEngine:
    """The policies in an OPA server that serves our bundle. A stale or unknown revision is refused with its answers."""

    def __init__(self, bundle: Bundle, url: str, token: str | None = None, timeout_seconds: float = 0.2) -> None:
        """`url` is the server's base URL, without a path; `timeout_seconds` bounds one call with its whole batch."""
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.path.strip("/") or parts.query:
            raise ValueError("the URL of OPA is http(s)://host:port")
        self.revision = bundle.revision
        self._wrapping = _Wrapping(bundle)
        secure = parts.scheme == "https"
        self._client = _OpaClient(
            host=parts.hostname,
            port=parts.port or (443 if secure else 8181),
            ssl=secure,
            token=token,
            retries=0,
            timeout=timeout_seconds,
        )
        self._open = AsyncExitStack()
        self._started = False

    async def start(self) -> None:
        """Open the connection pool; OPA itself may still be away."""
        await self._open.enter_async_context(self._client)
        self._started = True

    async def close(self) -> None:
        """Close the connection pool."""
        self._started = False
        await self._open.aclose()

    async def decide(self, checks: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """See `PolicyEngine.decide`."""
        batches = list(self._wrapping.pack(checks, CALL_CHECKS))
        replies = await asyncio.gather(*(self._ask(DECIDE, packed.document) for _, packed in batches))
        return self._wrapping.unpack(checks, batches, replies)

    async def judge(self, requests: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """See `PolicyEngine.judge`."""
        return accept_verdicts(await self._ask(JUDGE, self._wrapping.requests(requests)), requests, self.revision)

    async def _ask(self, path: str, document: bytes) -> object:
        if not self._started:
            raise PolicyUnavailable
        try:
            reply = await self._client.ask(path, document)
        except (aiohttp.ClientError, msgspec.MsgspecError, TimeoutError, OSError, ValueError):
            raise PolicyUnavailable from None
        # OPA answers {} without an error when the rule is undefined.
        if not isinstance(reply, dict):
            raise PolicyUnavailable
        return reply.get("result")
