"""Proofs over HTTP: programs with tokens, people with sessions, one database."""

from typing import Any

import httpx
import msgspec
import oauth_world
import web_world
from litestar import Litestar, Router
from litestar.di import Provide
from sqlalchemy.ext.asyncio import AsyncEngine

from consent.catalogue.load import load
from consent.decisions.service import DecisionService
from consent.ledger import routes as ledger_routes
from consent.oauth import access
from consent.oauth.routes import handlers as oauth_handlers
from consent.oauth.service import OAuth
from consent.receipts.routes import handlers
from consent.settings import Settings
from consent.web import problems
from consent_audit.encoding import parse_base64
from consent_audit.hashing import leaf_hash, verify_inclusion
from consent_audit.note import Verifier, open_checkpoint


def make_app(engine: AsyncEngine, issuer: str) -> Litestar:
    """Pages, authorization server and ledger, wired as consent.app wires them."""
    catalogue = load()
    oauth = OAuth(engine, issuer, catalogue, DecisionService(engine, oauth_world.policies(), catalogue))
    settings = Settings(database_url="postgresql+asyncpg://unused", issuer=issuer, ledger_key_file="unused")  # type: ignore[arg-type]
    services: dict[str, Any] = {"engine": engine, "settings": settings, "catalogue": catalogue, "oauth": oauth, "limits": oauth.limits}
    return Litestar(
        [Router("/", route_handlers=[*handlers, *oauth_handlers, *web_world.routes.handlers]), ledger_routes.router()],
        dependencies={name: Provide(_always(value), sync_to_thread=False) for name, value in services.items()}
        | web_world.dependencies()
        | access.dependencies,
        exception_handlers=problems.exception_handlers(),
        logging_config=None,
        openapi_config=None,
    )


def _always(value: Any) -> Any:
    return lambda: value


def open_proof(reply: httpx.Response, verifier: Verifier, index: int) -> dict[str, Any]:
    """The record that a reply proves, after every step that a stranger would take."""
    assert reply.status_code == 200, reply.text
    head, _, note = reply.text.partition("\n\n")
    first, extra, second, *path = head.split("\n")
    assert (first, second) == ("c2sp.org/tlog-proof@v1", f"index {index}")
    record = parse_base64(extra.removeprefix("extra "))
    checkpoint = open_checkpoint(note, verifier)
    verify_inclusion(leaf_hash(record), index, checkpoint.size, [parse_base64(line) for line in path], checkpoint.root)
    found: dict[str, Any] = msgspec.json.decode(record)
    assert found["index"] == index
    return found
