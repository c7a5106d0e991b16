"""One witness, asked for its cosignature of one head (C2SP tlog-witness, `POST <url>/add-checkpoint`).

A witness is somebody else's machine and is trusted with nothing here: its answer is bounded in time and size, no redirect is followed, and
a cosignature counts only if its key from the policy verifies it over exactly the text that we sent. Every other answer is a WitnessFailed
that says in one word what was the matter; it harms nothing but that witness's own count.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Literal, NamedTuple

import httpx

from consent.ledger.store import Head
from consent_audit.encoding import format_base64, parse_decimal
from consent_audit.errors import AuditError
from consent_audit.note import open_signatures, split_note
from consent_audit.policy import Witness

ANSWER_SECONDS = 10
"""Longest that one request may take, however slowly the answer trickles."""
MAX_ANSWER_BYTES = 1 << 16
MAX_TRIES = 5
_DASH = "\u2014 "

Trouble = Literal["absent", "slow", "refused", "fork", "ahead", "lied"]
Prove = Callable[[int, int], Awaitable[list[bytes]]]
"""The consistency proof (RFC 6962 §2.1.2) between two sizes of our tree."""


class WitnessFailed(Exception):
    """No cosignature.

    absent   cannot be reached, or answers with a server's error
    slow     no whole answer in time
    refused  does not know this log or its key, or calls the request malformed
    fork     has seen a tree of ours that this one does not extend
    ahead    has seen a larger tree of ours than the one that we show it
    lied     an answer that is none: a wrong signature, a size that is not one, too many bytes
    """

    def __init__(self, trouble: Trouble, detail: str = "", *, seen: int | None = None) -> None:
        super().__init__(f"{trouble} {detail}".rstrip())
        self.trouble = trouble
        self.seen = seen


class Cosignature(NamedTuple):
    """A verified signature line, with its newline, and the id of the key that made it."""

    witness: str
    key_id: bytes
    line: str


async def ask(client: httpx.AsyncClient, witness: Witness, head: Head, old: int, prove: Prove) -> Cosignature:
    """The witness's cosignature of `head`.

    Args:
        old: the size that the witness is believed to have seen last; it corrects us if it has seen another.
        prove: called for 0 < old < head.size.

    Raises:
        WitnessFailed: it gave none.
    """
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            status, body = await _agree(client, witness, head, min(old, head.size), prove)
    except (TimeoutError, httpx.TimeoutException):
        raise WitnessFailed("slow") from None
    except (httpx.HTTPError, httpx.InvalidURL):
        raise WitnessFailed("absent") from None
    if status == httpx.codes.OK:
        return _cosignature(witness, head, body)
    if status == httpx.codes.UNPROCESSABLE_ENTITY:
        raise WitnessFailed("fork", f"(HTTP {status})")
    raise WitnessFailed("refused" if 400 <= status < 500 else "absent", f"(HTTP {status})")


async def _agree(client: httpx.AsyncClient, witness: Witness, head: Head, old: int, prove: Prove) -> tuple[int, bytes]:
    """Ask until the witness agrees on the size that it has seen: others of our processes ask it too, and move it meanwhile."""
    for _ in range(MAX_TRIES):
        status, body = await _post(client, witness, head, old, prove)
        if status != httpx.codes.CONFLICT:
            return status, body
        seen = _seen(body, head)
        if seen == old:
            # It has seen this size, and yet there is a conflict: over the root.
            raise WitnessFailed("fork" if old == head.size else "lied", "(HTTP 409)")
        old = seen
    raise WitnessFailed("slow", "(it names another size each time)")


async def _post(client: httpx.AsyncClient, witness: Witness, head: Head, old: int, prove: Prove) -> tuple[int, bytes]:
    proof = await prove(old, head.size) if 0 < old < head.size else []
    lines = "".join(f"{format_base64(value)}\n" for value in proof)
    request = f"old {old}\n{lines}\n{head.note}".encode()
    url = f"{(witness.url or '').rstrip('/')}/add-checkpoint"
    async with client.stream("POST", url, content=request, follow_redirects=False) as response:
        body = b""
        async for part in response.aiter_bytes():
            body += part
            if len(body) > MAX_ANSWER_BYTES:
                raise WitnessFailed("lied", "(an answer without end)")
        return response.status_code, body


def _seen(body: bytes, head: Head) -> int:
    """The size that a 409 names."""
    try:
        seen = parse_decimal(body.decode("ascii").removesuffix("\n"))
    except ValueError:
        raise WitnessFailed("lied", "(409 without a size)") from None
    if seen > head.size:
        raise WitnessFailed("ahead", f"(it names {seen} records)", seen=seen)
    return seen


def _cosignature(witness: Witness, head: Head, body: bytes) -> Cosignature:
    verifier = witness.verifier
    text = split_note(head.note)[0]
    try:
        for line in body.decode("utf-8").splitlines(keepends=True):
            name, value = split_note(f"{text}\n{line}")[1][0]
            if (name, value[:4]) == (verifier.name, verifier.id):
                open_signatures(f"{text}\n{line}", [verifier])
                return Cosignature(name, verifier.id, line)
    except (AuditError, UnicodeDecodeError, IndexError):
        raise WitnessFailed("lied", "(a wrong signature)") from None
    raise WitnessFailed("lied", "(no signature of its key)")
