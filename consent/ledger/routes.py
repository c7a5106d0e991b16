"""The ledger over HTTP (C2SP tlog-tiles): checkpoint and hash tiles for all; entries and blobs for auditors.

A path has one spelling (consent_audit.tiles.parse_path); anything else is 404. Tiles never change, so caches may keep them for ever; the
checkpoint may be a second old. A handler that takes an `auditor` is closed to everybody else. Proofs are
served by consent.receipts, which knows whose record is whose.
"""

import re
from typing import Any

from litestar import Request, Response, Router, get
from litestar.di import NamedDependency, Provide
from litestar.params import FromPath, SkipValidation
from sqlalchemy.ext.asyncio import AsyncEngine

from consent.errors import NotFound
from consent.ledger import service
from consent.ledger.service import NotAnAuditor
from consent_audit.errors import MalformedTile
from consent_audit.tiles import ENTRIES, Tile, parse_path

FOREVER = "max-age=31536000, immutable"
MAX_TOKEN = 200
SHA256 = re.compile(r"[0-9a-f]{64}")


class Auditor(str):
    """The name of an authenticated auditor: a handler that takes one is closed to everybody else."""

    __slots__ = ()


Engine = NamedDependency[SkipValidation[AsyncEngine]]
Reader = NamedDependency[SkipValidation[Auditor]]


async def provide_auditor(request: Request[Any, Any, Any], engine: Engine) -> Auditor:
    """The auditor whose bearer token the request carries (RFC 6750 §2.1).

    Raises:
        NotAnAuditor: none, more than one, or not a valid one.
    """
    given = request.headers.getall("authorization", [])
    scheme, _, token = given[0].partition(" ") if len(given) == 1 else ("", "", "")
    if scheme.lower() != "bearer" or not 0 < len(token) <= MAX_TOKEN or not token.isascii():
        raise NotAnAuditor
    return Auditor(await service.authenticate_auditor(engine, token))


def _tile(request: Request[Any, Any, Any]) -> Tile:
    """The tile that the path names, as the client wrote it: the framework's path has forgiven `//`, a last `/` and `%30`."""
    try:
        return parse_path(request.scope["raw_path"].decode("ascii").partition("/ledger/")[2])
    except (MalformedTile, UnicodeDecodeError):
        raise NotFound("账本没有这个文件。", "The ledger has no such file.") from None


def _reply(body: bytes, cache: str, media_type: str = "application/octet-stream") -> Response[bytes]:
    headers = {"Cache-Control": cache, "X-Content-Type-Options": "nosniff"}
    return Response(body, media_type=media_type, headers=headers)


@get("/checkpoint")
async def get_checkpoint(engine: Engine) -> Response[bytes]:
    """The newest signed checkpoint."""
    return _reply((await service.checkpoint(engine)).encode(), "public, max-age=1", "text/plain")


@get("/checkpoint.witnessed")
async def get_witnessed(engine: Engine) -> Response[bytes]:
    """The newest checkpoint that a quorum of witnesses cosigned; 404 before the first, or without a policy."""
    return _reply((await service.witnessed(engine)).encode(), "public, max-age=1", "text/plain")


@get("/tile/{path:path}")
async def get_tile(engine: Engine, request: Request[Any, Any, Any]) -> Response[bytes]:
    """A tile of hashes."""
    wanted = _tile(request)
    if wanted.level == ENTRIES:
        raise NotAnAuditor
    return _reply(await service.tile(engine, wanted), f"public, {FOREVER}")


@get("/tile/entries/{path:path}")
async def get_entries(engine: Engine, request: Request[Any, Any, Any], auditor: Reader) -> Response[bytes]:  # noqa: ARG001
    """A bundle of entries, for auditors."""
    return _reply(await service.tile(engine, _tile(request)), f"private, {FOREVER}")


@get("/blobs/{sha256:str}")
async def get_blob(engine: Engine, sha256: FromPath[str], auditor: Reader) -> Response[bytes]:  # noqa: ARG001
    """A document that records name by its SHA-256, for auditors."""
    if SHA256.fullmatch(sha256) is None:
        raise NotFound("账本没有这个文件。", "The ledger has no such file.")
    return _reply(await service.blob(engine, bytes.fromhex(sha256)), f"private, {FOREVER}")


def router() -> Router:
    """All routes of the ledger; needs the dependency `engine` from the application."""
    handlers = [get_checkpoint, get_witnessed, get_tile, get_entries, get_blob]
    return Router("/ledger", route_handlers=handlers, dependencies={"auditor": Provide(provide_auditor)})
