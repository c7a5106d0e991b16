"""The application: what one process is made of, and in which order it starts and stops. Nothing else is decided here."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Any, TypeVar

from litestar import Litestar
from litestar.config.app import AppConfig
from litestar.di import NamedDependency, Provide
from litestar.openapi import OpenAPIConfig
from litestar.openapi.spec import License
from litestar.params import SkipValidation
from sqlalchemy.ext.asyncio import AsyncEngine

import consent.activation.routes
import consent.catalogue.routes
import consent.decisions.routes
import consent.grants.routes
import consent.ledger.routes
import consent.oauth.routes
import consent.receipts.routes
import consent.reports.routes
import consent.web.routes
from consent import db, operations
from consent.activation.model import Ruleset
from consent.activation.running import Running
from consent.decisions.bundle import Bundle
from consent.decisions.engine import OpaEngine, PolicyEngine, RegopyEngine
from consent.decisions.service import DecisionService
from consent.errors import ConsentError
from consent.ledger.setup import make_signer
from consent.ledger.signer import Signer
from consent.oauth import access, housekeeping
from consent.oauth.profile import Profile
from consent.oauth.service import OAuth
from consent.settings import Settings
from consent.web import problems
from consent.web.access import dependencies as web_dependencies
from consent.web.security import security_headers

log = logging.getLogger(__name__)

T = TypeVar("T")

BODY_LIMIT = 256 * 1024  # bytes; 64 checks of 32 items fit several times over
_SWEEP_SECONDS = 60


def policy_engine(settings: Settings, bundle: Bundle) -> PolicyEngine:
    """The engine that the settings name: an OPA server, or the policies in this process."""
    if settings.opa_url is None:
        return RegopyEngine(bundle)
    return OpaEngine(bundle, settings.opa_url, token=settings.opa_token)


def create_app(settings: Settings | None = None) -> Litestar:
    """The ASGI application. Without `settings` they are read from CONSENT_ variables.

    Raises:
        SettingsError: the environment is not a valid configuration.
        CatalogueError, BundleError: this installation's data does not load.
    """
    settings = settings or Settings.from_environment()
    if not logging.getLogger().handlers:
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)  # a line for each request to a witness says nothing
    engine = db.create_engine(settings.database_url)

    def taken(ruleset: Ruleset, policy: PolicyEngine) -> None:
        decisions.adopt(policy, ruleset.catalogue)
        oauth.adopt(ruleset.catalogue)

    running = Running(engine, settings, lambda bundle: policy_engine(settings, bundle), taken)
    decisions = DecisionService(engine, running.policy, running.ruleset.catalogue, running.renew)
    signer = make_signer(engine, settings)
    oauth = OAuth(engine, settings.issuer, running.ruleset.catalogue, decisions, Profile.of(settings))
    services: dict[str, Any] = {
        "engine": engine,
        "settings": settings,
        "running": running,
        "decisions": decisions,
        "signer": signer,
        "limits": oauth.limits,
    }
    return Litestar(
        route_handlers=[
            *operations.handlers,
            *consent.activation.routes.handlers,
            *consent.catalogue.routes.handlers,
            consent.decisions.routes.router(),
            consent.grants.routes.router(),
            consent.ledger.routes.router(),
            *consent.oauth.routes.handlers,
            *consent.receipts.routes.handlers,
            *consent.reports.routes.handlers,
            *consent.web.routes.handlers,
        ],
        lifespan=[_lifespan(engine, running, decisions, signer)],
        dependencies={
            **{name: Provide(_always(value), sync_to_thread=False) for name, value in services.items()},
            "catalogue": Provide(lambda: running.ruleset.catalogue, sync_to_thread=False),
            "oauth": Provide(_after_decisions(oauth), sync_to_thread=False),
            **web_dependencies(),
            **access.dependencies,
        },
        exception_handlers=problems.exception_handlers(),
        before_send=[security_headers(https=settings.issuer.startswith("https://"))],
        request_max_body_size=BODY_LIMIT,
        openapi_config=OpenAPIConfig(title="consent", version="0.1.0", license=License(name="Apache-2.0"), path="/schema"),
        on_app_init=[_quiet],
        debug=False,
    )


def _always(value: T) -> Callable[[], T]:
    """A dependency that is the same for every request."""
    return lambda: value


def _after_decisions(value: T) -> Callable[[NamedDependency[SkipValidation[DecisionService]]], T]:
    """The same, said to need `decisions`: for what could be resolved side by side Litestar opens a task group, which costs a check
    more than all its dependencies."""

    def provide(decisions: NamedDependency[SkipValidation[DecisionService]]) -> T:  # noqa: ARG001 - only the order matters
        return value

    return provide


def _quiet(config: AppConfig) -> AppConfig:
    """Litestar's own logging of exceptions would write tracebacks, which may hold what callers sent."""
    config.logging_config = None
    return config


def _lifespan(
    engine: AsyncEngine, running: Running, decisions: DecisionService, signer: Signer
) -> Callable[[Litestar], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(_: Litestar) -> AsyncIterator[None]:
        """Ledger and policies first, then the check path; the signer last. Stopped in the reverse order."""
        try:
            await signer.check()
            await running.start()
        except ConsentError as error:
            log.critical("the service does not start: %s: %s", error.code, error.en)
            raise
        await decisions.start()
        await signer.start()
        beside = [asyncio.create_task(_sweep(engine)), asyncio.create_task(running.watch())]
        try:
            yield
        finally:
            for task in beside:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task
            await decisions.stop()
            await signer.stop()
            await running.stop()
            await engine.dispose()

    return lifespan


async def _sweep(engine: AsyncEngine) -> None:
    """Delete what expired long ago, now and then. Nothing depends on it: expiry is computed when read."""
    while True:
        await asyncio.sleep(_SWEEP_SECONDS)
        try:
            await housekeeping.sweep(engine)
        except Exception as error:  # noqa: BLE001 - the next round may succeed
            log.warning("sweeping failed: %s", type(error).__name__)
