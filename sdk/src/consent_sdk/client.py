"""The two clients: the same methods, one blocking, one asynchronous. All rules live in `protocol`; here is only the wire."""

import asyncio
import ssl
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack

import httpx
import msgspec

from consent_sdk import receipts
from consent_sdk.errors import Undecided
from consent_sdk.models import Check, Decision, Detail, Grant, PendingConsent, Receipt
from consent_sdk.options import CheckOptions
from consent_sdk.protocol import Call, Lost, Protocol, Reply, Steps

T = TypeVar("T")

_MAX_REPLY = 4 * 1024 * 1024  # bytes; 64 checks of 32 items are far below


def _request(call: Call) -> dict[str, Any]:
    """The request as httpx takes it. No compression: a small body must not become a large one."""
    headers = {**call.headers, "Accept": "application/json", "Accept-Encoding": "identity"}
    request: dict[str, Any] = {"method": call.method, "url": call.url, "headers": headers}
    if call.form is not None:
        request["data"] = call.form
    elif call.json is not None:
        request["content"] = msgspec.json.encode(call.json)
        headers["Content-Type"] = "application/json"
    return request


class _Body:
    """A body that arrives in pieces, within bounds of size and time."""

    def __init__(self, seconds: float) -> None:
        self._pieces = bytearray()
        self._until = time.monotonic() + seconds

    def add(self, piece: bytes) -> None:
        self._pieces += piece
        if len(self._pieces) > _MAX_REPLY:
            raise Undecided("the service's answer is too long")
        if time.monotonic() > self._until:
            raise Undecided("the service's answer took too long")

    def reply(self, response: httpx.Response) -> Reply:
        return Reply(status=response.status_code, headers=response.headers, body=bytes(self._pieces))


def _lost(error: Exception) -> Lost:
    return Lost(f"{type(error).__name__}: {error}"[:200])


class ConsentClient:
    """Asks before anything is fetched, and fails closed. Safe to share between threads.

    Args:
        issuer: URL of the service.
        client_id: as registered.
        private_jwk: the registered key with its private members.
        institution_id: who this client belongs to.
        redirect_uri: needed to request consent.
        timeout: seconds per HTTP request.
        tls: for a private certificate authority or a client certificate; absent: the usual authorities.
        log_vkey: the ledger's verifier key, got from somebody else than the service; needed for receipts.
        witness_policy: text of a C2SP tlog-policy in its place, to demand cosignatures of witnesses too.

    Raises:
        ValueError: the issuer is not an https URL, the key not a private key of a supported kind, or a key or policy not one.
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
        tls: ssl.SSLContext | None = None,
        log_vkey: str | None = None,
        witness_policy: str | None = None,
    ) -> None:
        self._trust = receipts.Trust(log_vkey, witness_policy)
        self._protocol = Protocol(issuer, client_id, private_jwk, institution_id=institution_id, redirect_uri=redirect_uri)
        self._timeout = timeout
        self._http = httpx.Client(timeout=timeout, follow_redirects=False, verify=tls or True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def _send(self, call: Call) -> Reply | Lost:
        time.sleep(call.wait_seconds)
        body = _Body(self._timeout)
        try:
            with self._http.stream(**_request(call)) as response:
                for piece in response.iter_raw():
                    body.add(piece)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            return _lost(error)
        return body.reply(response)

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
            Undecided: no answer, or one that names more than was asked; the code is spent, so ask her anew.
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
        """Several checks in one call, answered in their order. At most 64.

        Raises:
            Undecided: one of them, or all, were not decided. Give each check a `request_id` to ask again without a second record.
            CallFailed: the call, or one of the checks, was refused by itself.
        """
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

    def receipt(self, decision: Decision, *, wait_seconds: float = 10.0) -> Receipt:
        """Prove that a decision is on record as it was told: the proof is checked here, with the configured key or policy.

        Raises:
            ReceiptPending: not signed, or not witnessed enough, within `wait_seconds`.
            ReceiptRefused: what the service gave does not prove it.
            ValueError: neither log_vkey nor witness_policy was configured.
        """
        return self._run(receipts.of_decision(self._protocol, self._trust, decision, wait_seconds))

    def grant_receipts(self, grant_id: str, *, wait_seconds: float = 10.0) -> list[Receipt]:
        """The same for all that happened to a grant, oldest first: approved, narrowed, suspended, resumed, revoked."""
        return self._run(receipts.of_grant(self._protocol, self._trust, grant_id, wait_seconds))


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
        tls: ssl.SSLContext | None = None,
        log_vkey: str | None = None,
        witness_policy: str | None = None,
    ) -> None:
        self._trust = receipts.Trust(log_vkey, witness_policy)
        self._protocol = Protocol(issuer, client_id, private_jwk, institution_id=institution_id, redirect_uri=redirect_uri)
        self._timeout = timeout
        self._http = httpx.AsyncClient(timeout=timeout, follow_redirects=False, verify=tls or True)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def _send(self, call: Call) -> Reply | Lost:
        await asyncio.sleep(call.wait_seconds)
        body = _Body(self._timeout)
        try:
            async with self._http.stream(**_request(call)) as response:
                async for piece in response.aiter_raw():
                    body.add(piece)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            return _lost(error)
        return body.reply(response)

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

    async def receipt(self, decision: Decision, *, wait_seconds: float = 10.0) -> Receipt:
        """See `ConsentClient.receipt`."""
        return await self._run(receipts.of_decision(self._protocol, self._trust, decision, wait_seconds))

    async def grant_receipts(self, grant_id: str, *, wait_seconds: float = 10.0) -> list[Receipt]:
        """See `ConsentClient.grant_receipts`."""
        return await self._run(receipts.of_grant(self._protocol, self._trust, grant_id, wait_seconds))
