"""Real PostgreSQL for every test: one embedded server per run, migrated once, a database of its own for each test.

With xdist the controller starts the server and hands its addresses to the workers; without, it starts when first needed. It ends with the
process that started it, however that ends.
"""

import asyncio
import secrets
import shutil
import tempfile
from collections.abc import AsyncIterator, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from clones import create_clone, drop_clone
from sqlalchemy.ext.asyncio import AsyncEngine

from consent.db import create_engine
from consent.embedded import DATABASE, EmbeddedPostgres
from consent.ledger.service import export
from consent.ledger.signer import Signer
from consent.ledger.writer import ensure_genesis
from consent.migrations import migrate
from consent_audit.note import Signer as Key
from consent_audit.sources import open_source
from consent_audit.verify import verify

ORIGIN = "ledger.example.org/test"


class Database(NamedTuple):
    """URLs of one test's own database: as the application's role and as the owner of the tables."""

    app_url: str
    owner_url: str


class Server:
    """The run's PostgreSQL; its database `consent` is the migrated template."""

    def __init__(self) -> None:
        self.state = Path(tempfile.mkdtemp(prefix="consent-tests-"))
        self.postgres = EmbeddedPostgres(self.state)
        self.urls = self.postgres.start()
        run(migrate(self.urls.owner_url))

    def stop(self) -> None:
        self.postgres.stop()
        shutil.rmtree(self.state)


_server: Server | None = None


def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run `coroutine` in a thread and loop of its own, apart from the test's."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, coroutine).result()


def _start() -> Server:
    global _server  # noqa: PLW0603
    if _server is None:
        _server = Server()
    return _server


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Long texts may hold keys and codes made at import, and every worker must collect the same names."""
    return argname if isinstance(val, str) and len(val) > 15 else None


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """In the xdist controller, before a worker starts."""
    node.workerinput["database_urls"] = tuple(_start().urls)


def pytest_unconfigure() -> None:
    """In the process that started the server."""
    global _server  # noqa: PLW0603
    if _server is not None:
        _server.stop()
        _server = None


@pytest.fixture(scope="session")
def server_urls(request: pytest.FixtureRequest) -> tuple[str, str]:
    """Owner and application URL of the template database."""
    given = getattr(request.config, "workerinput", {}).get("database_urls")
    return tuple(given) if given else tuple(_start().urls)


@pytest.fixture
def database(server_urls: tuple[str, str]) -> Iterator[Database]:
    """A fresh migrated database, dropped afterwards."""
    owner_url, app_url = server_urls
    name = f"t_{secrets.token_hex(8)}"
    run(create_clone(owner_url, name))
    yield Database(*(url.replace(f"/{DATABASE}?", f"/{name}?") for url in (app_url, owner_url)))
    run(drop_clone(owner_url, name))


@pytest.fixture
def origin() -> str:
    """Origin of the ledger that `engine` begins."""
    return ORIGIN


@pytest.fixture
async def engine(database: Database, origin: str) -> AsyncIterator[AsyncEngine]:
    """The application's engine on the test's database, its ledger begun."""
    engine = create_engine(database.app_url)
    await ensure_genesis(engine, origin)
    yield engine
    await engine.dispose()


@pytest.fixture
async def owner_engine(database: Database) -> AsyncIterator[AsyncEngine]:
    """The owner's engine on the test's database."""
    engine = create_engine(database.owner_url)
    yield engine
    await engine.dispose()


@pytest.fixture
def key(origin: str) -> Key:
    """The log's signing key."""
    return Key.generate(origin)


@pytest.fixture
async def signer(engine: AsyncEngine, key: Key) -> Signer:
    """A signer that is not running; tests call sign_now()."""
    return Signer(engine, key)


@pytest.fixture
async def ledger(engine: AsyncEngine, signer: Signer, key: Key, tmp_path: Path) -> AsyncIterator[Signer]:
    """The oracle: signs what the test left, exports it, and lets the offline verifier judge every byte."""
    yield signer
    head = await signer.sign_now()
    assert head is not None
    assert await export(engine, tmp_path / "oracle.tar") == head.size
    with closing(open_source(str(tmp_path / "oracle.tar"))) as source:
        report = verify(source, key.verifier)
    assert (report.findings, report.unchecked) == ([], [])
    assert report.checkpoint is not None
    assert report.checkpoint.size == head.size
