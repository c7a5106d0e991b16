"""The two clients: the same methods, one blocking, one asynchronous. All rules live in `protocol`; here is only the wire."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack

import httpx
import msgspec

from consent_sdk.errors import Undecided
from consent_sdk.models import Check, Decision, Detail, Grant, PendingConsent
from consent_sdk.options import CheckOptions
from consent_sdk.protocol import Call, Protocol, Reply, Steps

T = TypeVar("T")

_MAX_REPLY = 4 * 1024 * 1024
_PAUSE_SECONDS = 0.2


def _request(call: Call) -> dict[str, Any]:
    request: dict[str, Any] = {"method": call.method, "url": call.url, "headers": {**call.headers, "Accept": "application/json"}}
    if call.form is not None:
        request["data"] = call.form
    elif call.json is not None:
        request["content"] = msgspec.json.encode(call.json)
        request["headers"]["Content-Type"] = "application/json"
    return request


def _reply(response: httpx.Response) -> Reply:
    if len(response.content) > _MAX_REPLY:
        raise Undecided("the service's answer is too long")
    return Reply(status=response.status_code, headers=response.headers, body=response.content)


def _again(call: Call, attempt: int, reply: Reply | None) -> bool:
    """One more try for calls that may be repeated (their request_id makes them the same record), when nothing was decided."""
    return call.repeatable and attempt == 0 and (reply is None or reply.status == 503)


class ConsentClient:
    """Asks before anything is fetched, and fails closed. Safe to share between threads.

    Args:
        issuer: URL of the service.
        client_id: as registered.
        private_jwk: the registered key with its private members.
        institution_id: who this client belongs to.
        redirect_uri: needed to request consent.
        timeout: seconds per HTTP request.

    Raises:
        ValueError: the key is not a private key of a supported kind.
    """

    def __init__(
        self,
        issuer: str,
        client_id: str,
        private_jwk: Mapping[str, Any],
        *,
        institution_id: str,
        redirect_uri: str | None = None,
        timeout: float = 5.0,
    ) -> None:
        self._protocol = Protocol(issuer, client_id, private_jwk, institution_id=institution_id, redirect_uri=redirect_uri)
        self._http = httpx.Client(timeout=timeout, follow_redirects=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def _send(self, call: Call) -> Reply:
        for attempt in range(2):
            reply = None
            try:
                reply = _reply(self._http.request(**_request(call)))
            except httpx.HTTPError as error:
                if not _again(call, attempt, None):
                    raise Undecided(f"no answer from the service ({type(error).__name__})") from None
            if reply is not None and not _again(call, attempt, reply):
                return reply
            time.sleep(_PAUSE_SECONDS)
        raise Undecided("no answer from the service")

    def _run(self, steps: Steps[T]) -> T:
        try:
            call = next(steps)
            while True:
                call = steps.send(self._send(call))
        except StopIteration as done:
            result: T = done.value
            return result

    def request_consent(self, details: Sequence[Detail], *, login_hint: str | None = None) -> PendingConsent:
        """Ask an enterprise for items.

        Returns:
            Where to send her, and what to keep until she comes back.

        Raises:
            RequestRefused: too much was asked; verdict, code and solution per item.
            Undecided, CallFailed: no or another answer.
        """
        return self._run(self._protocol.request_consent(details, login_hint))

    def finish(self, pending: PendingConsent, returned_url: str) -> Grant:
        """Finish with the URL she came back to.

        Raises:
            ConsentRefused: she granted nothing, or the URL is not the answer to this request.
        """
        return self._run(self._protocol.finish(pending, returned_url))

    def check(self, enterprise: str, items: Sequence[str], purpose: str, **options: Unpack[CheckOptions]) -> Decision:
        """May these items be had now?

        Returns:
            Permit (truthy), PartialPermit or Denial (both falsy).

        Raises:
            Undecided: nothing was decided; do not fetch.
            CallFailed: the call itself was refused.
        """
        return self.check_many([Check(enterprise=enterprise, items=items, purpose=purpose, **options)])[0]

    def check_many(self, checks: Sequence[Check]) -> list[Decision]:
        """Several checks in one call, answered in their order. At most 64."""
        return self._run(self._protocol.check_many(checks))

    def deliver(self, decision: Decision, items: Mapping[str, Sequence[str]]) -> None:
        """Platforms: report what was really served under a decision."""
        self._run(self._protocol.deliver(decision.id, items))

    def grant(self, grant_id: str) -> dict[str, Any]:
        """The grant as it stands now."""
        return self._run(self._protocol.grant(grant_id))

    def revoke(self, grant_id: str) -> None:
        """Give a grant back; effective for every later check."""
        self._run(self._protocol.revoke(grant_id))


class AsyncConsentClient:
    """`ConsentClient` for asyncio: the same arguments, methods, results and errors."""

    def __init__(
        self,
        issuer: str,
        client_id: str,
        private_jwk: Mapping[str, Any],
        *,
        institution_id: str,
        redirect_uri: str | None = None,
        timeout: float = 5.0,
    ) -> None:
        self._protocol = Protocol(issuer, client_id, private_jwk, institution_id=institution_id, redirect_uri=redirect_uri)
        self._http = httpx.AsyncClient(timeout=timeout, follow_redirects=False)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def _send(self, call: Call) -> Reply:
        for attempt in range(2):
            reply = None
            try:
                reply = _reply(await self._http.request(**_request(call)))
            except httpx.HTTPError as error:
                if not _again(call, attempt, None):
                    raise Undecided(f"no answer from the service ({type(error).__name__})") from None
            if reply is not None and not _again(call, attempt, reply):
                return reply
            await asyncio.sleep(_PAUSE_SECONDS)
        raise Undecided("no answer from the service")

    async def _run(self, steps: Steps[T]) -> T:
        try:
            call = next(steps)
            while True:
                call = steps.send(await self._send(call))
        except StopIteration as done:
            result: T = done.value
            return result

    async def request_consent(self, details: Sequence[Detail], *, login_hint: str | None = None) -> PendingConsent:
        """See `ConsentClient.request_consent`."""
        return await self._run(self._protocol.request_consent(details, login_hint))

    async def finish(self, pending: PendingConsent, returned_url: str) -> Grant:
        """See `ConsentClient.finish`."""
        return await self._run(self._protocol.finish(pending, returned_url))

    async def check(self, enterprise: str, items: Sequence[str], purpose: str, **options: Unpack[CheckOptions]) -> Decision:
        """See `ConsentClient.check`."""
        return (await self.check_many([Check(enterprise=enterprise, items=items, purpose=purpose, **options)]))[0]

    async def check_many(self, checks: Sequence[Check]) -> list[Decision]:
        """See `ConsentClient.check_many`."""
        return await self._run(self._protocol.check_many(checks))

    async def deliver(self, decision: Decision, items: Mapping[str, Sequence[str]]) -> None:
        """See `ConsentClient.deliver`."""
        await self._run(self._protocol.deliver(decision.id, items))

    async def grant(self, grant_id: str) -> dict[str, Any]:
        """See `ConsentClient.grant`."""
        return await self._run(self._protocol.grant(grant_id))

    async def revoke(self, grant_id: str) -> None:
        """See `ConsentClient.revoke`."""
        await self._run(self._protocol.revoke(grant_id))
