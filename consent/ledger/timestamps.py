"""RFC 3161 time-stamps over checkpoints: a third party's word on when a tree of this size stood signed. An option beside witnesses.

What is stamped is a whole checkpoint file, signatures included. It and the answer stand beside each other in a published place,
`timestamps/<size>.checkpoint` and `timestamps/<size>.tsr`, and any RFC 3161 tool checks the one against the other. An answer is verified up
to a configured root before it is kept. Needs the extra `timestamps`.
"""

import asyncio
import logging
from pathlib import Path
from typing import Any

import httpx
import msgspec
from cryptography import x509
from sqlalchemy.ext.asyncio import AsyncEngine

from consent import db
from consent.clock import format_instant
from consent.errors import ServiceError, Unavailable
from consent.ledger import store
from consent.ledger.directory import Directory
from consent.ledger.store import Head
from consent.ledger.targets import Target
from consent_audit.errors import MalformedNote
from consent_audit.note import Checkpoint, split_note

log = logging.getLogger(__name__)

FOLDER = "timestamps"
SECONDS = 20
MAX_ANSWER = 1 << 16
_QUERY, _REPLY = "application/timestamp-query", "application/timestamp-reply"


class TimestampRefused(ServiceError):
    """The authority's answer does not count, or it cannot be asked like this; nothing was kept."""

    code = "ledger.timestamp"

    def __init__(self, en: str) -> None:
        super().__init__("未能取得时间戳，详见英文说明。", en)


class AuthorityAway(Unavailable):
    """The authority did not answer; it may be asked again."""

    code = "ledger.timestamp_away"

    def __init__(self, why: str) -> None:
        super().__init__("时间戳服务暂不可用。", f"The time-stamp authority gave no answer ({why}).")


class Stamped(msgspec.Struct, frozen=True):
    """A checkpoint of `size` records is stamped; `time` is the authority's, None where it was stamped before."""

    size: int
    time: str | None


class Authority:
    """One time-stamp authority and the certificates that it is believed by: roots, and intermediates if it sends none."""

    def __init__(self, url: str, certificates: bytes) -> None:
        """Read the PEM certificates.

        Raises:
            TimestampRefused: the extra is not installed, no root among the certificates, or not an http(s) address.
        """
        try:
            import rfc3161_client  # noqa: PLC0415 - an extra
        except ModuleNotFoundError:
            raise TimestampRefused("time-stamps need the extra: pip install 'consent-server[timestamps]'") from None
        self._rfc3161: Any = rfc3161_client
        try:
            found = x509.load_pem_x509_certificates(certificates)
        except ValueError:
            raise TimestampRefused("the authority's certificates are not PEM") from None
        self._roots = [one for one in found if one.issuer == one.subject]
        self._others = [one for one in found if one.issuer != one.subject]
        if not self._roots:
            raise TimestampRefused("there is no root among the authority's certificates")
        if not url.startswith(("https://", "http://")):
            raise TimestampRefused("the authority's address begins with https:// or http:// (what it answers is signed)")
        self._url = url

    async def stamp(self, message: bytes) -> tuple[bytes, str]:
        """A time-stamp over the message, verified, and its time.

        Raises:
            AuthorityAway: no answer.
            TimestampRefused: an answer that does not count: refused, of something else, or not signed under the roots.
        """
        request = (
            self._rfc3161.TimestampRequestBuilder()
            .data(message)
            .hash_algorithm(self._rfc3161.HashAlgorithm.SHA256)
            .nonce(nonce=True)
            .cert_request(cert_request=True)
            .build()
        )
        answer = await self._ask(request.as_bytes())
        try:
            response = self._rfc3161.decode_timestamp_response(answer)
            verifier = self._rfc3161.VerifierBuilder(
                policy_id=request.policy, nonce=request.nonce, roots=list(self._roots), intermediates=list(self._others)
            ).build()
            verifier.verify_message(response, message)
            return answer, format_instant(response.tst_info.gen_time)
        except (self._rfc3161.VerificationError, ValueError) as error:
            raise TimestampRefused(f"the authority's answer does not count: {str(error).splitlines()[0][:200]}") from None

    async def _ask(self, query: bytes) -> bytes:
        headers = {"Content-Type": _QUERY, "Accept": _REPLY}
        body = bytearray()
        try:
            async with (
                asyncio.timeout(SECONDS),
                httpx.AsyncClient(timeout=SECONDS, follow_redirects=False) as client,
                client.stream("POST", self._url, content=query, headers=headers) as reply,
            ):
                if reply.status_code != 200 or reply.headers.get("content-type", "").partition(";")[0].strip() != _REPLY:
                    raise AuthorityAway(f"status {reply.status_code} or another content type")
                async for piece in reply.aiter_raw():
                    body += piece
                    if len(body) > MAX_ANSWER:
                        raise TimestampRefused("the authority's answer is longer than 64 KiB")
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
            raise AuthorityAway(type(error).__name__) from None
        return bytes(body)


async def timestamp(engine: AsyncEngine, place: Path | Target, authority: Authority) -> Stamped:
    """Have the newest checkpoint stamped, the witnessed one if there is one, unless it is already.

    A crash leaves a checkpoint file without its stamp; the next call stamps just that file, whatever cosignatures came since.

    Raises:
        Unavailable: nothing has been signed yet, or the authority does not answer.
        TimestampRefused: as `Authority.stamp`; or the place holds another ledger's checkpoint of this size.
        CopyRefused: the place cannot be written.
    """
    target: Target = Directory(place) if isinstance(place, Path) else place
    head = await _head(engine)
    name = f"{FOLDER}/{head.size}"
    async with target.writing():
        if await target.read(f"{name}.tsr") is not None:
            return Stamped(head.size, None)
        note = await target.read(f"{name}.checkpoint")
        if note is None:
            note = head.note.encode()
            await target.add(f"{name}.checkpoint", note)
            await target.sync()
        elif not _same(note, head):
            raise TimestampRefused(f"{target}/{name}.checkpoint is not of this ledger; keep it as evidence")
        answer, time = await authority.stamp(note)
        await target.add(f"{name}.tsr", answer)
        await target.sync()
    return Stamped(head.size, time)


async def follow(engine: AsyncEngine, place: Path | Target, authority: Authority, every_seconds: float) -> None:
    """Stamp for ever; who is away for a while is asked again.

    Raises:
        TimestampRefused, CopyRefused: as `timestamp`.
    """
    while True:
        try:
            done = await timestamp(engine, place, authority)
            log.info("checkpoint of %d records: %s", done.size, done.time or "stamped before")
        except Unavailable as error:
            log.warning("not stamped this time: %s", error.code)
        await asyncio.sleep(every_seconds)


async def _head(engine: AsyncEngine) -> Head:
    async with db.read(engine) as connection:
        head = await store.witnessed_head(connection) or await store.newest_head(connection)
    if head is None:
        raise Unavailable("账本尚未签出第一个检查点，请稍后重试。", "The ledger has no signed checkpoint yet; try again in a moment.")
    return head


def _same(note: bytes, head: Head) -> bool:
    try:
        found = Checkpoint.parse(split_note(note)[0])
    except MalformedNote:
        return False
    return found == Checkpoint.parse(split_note(head.note)[0])
