"""What this process runs: the policies and the catalogue that the ledger says are in force, taken over while it runs.

At the start on an empty ledger the installation's own come into force, recorded as the first activation. Never again does a start put
anything in force; so of two releases that run at once neither displaces what the other runs.
"""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from hashlib import sha256

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from consent import db
from consent.activation import store
from consent.activation.model import Named, Ruleset, RulesetRefused
from consent.catalogue.extension import load_extensions
from consent.catalogue.load import load_from
from consent.decisions.bundle import MEDIA_TYPE, Bundle, BundleError, load_bundle, open_bundle, read_bundle
from consent.decisions.codes import CODES
from consent.decisions.engine import PolicyEngine
from consent.decisions.signing import PublicKeys, SignatureRefused, load_public_keys
from consent.errors import ConsentError
from consent.ledger.events import CatalogueActivated, PolicyActivated
from consent.ledger.in_force import Superseded, versions_in_force
from consent.ledger.writer import LedgerTransaction, ensure_genesis, write
from consent.settings import Settings
from consent.web import notice

log = logging.getLogger(__name__)

WATCH_SECONDS = 2.0
"""A check that meets another revision takes it over at once; this is for processes that nobody asks."""
_LINGER_SECONDS = 10.0
"""What was running is closed this long after it was replaced: a question under way still gets its answer."""


def installed(settings: Settings) -> Ruleset:
    """The policies and catalogue that this installation carries: a signed bundle, or the package's own with the regional lists.

    Raises:
        BundleError, CatalogueError: they do not load, or the signature does not hold.
    """
    if settings.policy_bundle is not None:
        try:
            body = settings.policy_bundle.read_bytes()
        except OSError as error:
            raise BundleError(f"{settings.policy_bundle}: cannot be read: {error.strerror}") from None
        bundle, signed_by = open_bundle(body, trusted_keys(settings))
        return Ruleset(bundle, bundle.catalogue(), body, signed_by)
    extensions = load_extensions(settings.catalogue_extensions)
    catalogue = load_from(extensions=extensions)
    bundle = load_bundle(catalogue, extensions=extensions)
    return Ruleset(bundle, catalogue, bundle.blob(), None)


def trusted_keys(settings: Settings) -> PublicKeys:
    """The keys whose signature on a bundle counts; none where no file is named.

    Raises:
        BundleError: the file cannot be used.
    """
    if settings.policy_keys_file is None:
        return {}
    try:
        return load_public_keys(settings.policy_keys_file)
    except SignatureRefused as error:
        raise BundleError(str(error)) from None


async def bring_up(engine: AsyncEngine, settings: Settings) -> Ruleset:
    """Begin the ledger if it has not begun, put the installation's own in force if nothing ever was, and return what is in force.

    Raises:
        OtherLedger: the database holds another origin's ledger.
        RulesetRefused: what is in force cannot be run here.
        BundleError, CatalogueError: see `installed`.
        DatabaseUnavailable: nothing was changed.
    """
    await ensure_genesis(engine, settings.ledger_origin)
    own = installed(settings)
    async with db.read(engine) as connection:
        begun = await store.in_force(connection) is not None
        noticed = await store.blob(connection, notice.current().sha256) is not None
    if not (begun and noticed):
        async with write(engine) as transaction:
            if await store.in_force(transaction.connection) is None:
                await enact(transaction, own, {}, approvers=())
            # Grants name the risk notice by digest; every export must carry its text.
            await transaction.put_blob(notice.MEDIA_TYPE, notice.current().body)
    return await ruleset_in_force(engine, settings, own)


async def enact(transaction: LedgerTransaction, ruleset: Ruleset, replaced: dict[str, str], approvers: tuple[str, ...]) -> None:
    """Record that the ruleset is in force from here on, in place of the versions `replaced`; a catalogue that stays is not recorded."""
    catalogue, bundle = ruleset.catalogue, ruleset.bundle
    if replaced.get("catalogue") != catalogue.version:
        digest = await transaction.put_blob("application/json", catalogue.to_json())
        index = transaction.append(CatalogueActivated(version=catalogue.version, sha256=digest, approvers=approvers))
        await store.insert_activation(transaction.connection, "catalogue", index, catalogue.version, bytes.fromhex(digest))
    digest = await transaction.put_blob(MEDIA_TYPE, ruleset.body)
    event = PolicyActivated(revision=bundle.revision, sha256=digest, signed_by=ruleset.signed_by, approvers=approvers)
    await store.insert_activation(transaction.connection, "policy", transaction.append(event), bundle.revision, bytes.fromhex(digest))


async def ruleset_in_force(engine: AsyncEngine, settings: Settings, own: Ruleset) -> Ruleset:
    """What the ledger says is in force: `own` if it is that, else read from the ledger's blob and checked.

    Raises:
        RulesetRefused: its record or its document is missing, it is not signed by a trusted key, or it is made for another release.
        DatabaseUnavailable: it cannot be read.
    """
    async with db.read(engine) as connection:
        named = await store.in_force(connection)
        versions = await versions_in_force(connection)
        body = None if named is None else await _document(connection, named)
    if named is None or body is None:
        raise RulesetRefused("?" if named is None else named.revision, "the ledger does not carry its record and its document")
    ruleset = own if own.revision == named.revision else _opened(named, body, trusted_keys(settings))
    if ruleset.versions != versions:
        raise RulesetRefused(named.revision, "its catalogue is not the one in force")
    return Ruleset(ruleset.bundle, ruleset.catalogue, body, named.signed_by)


async def _document(connection: AsyncConnection, named: Named) -> bytes | None:
    """The bundle, if the record says what the table says and the document is the one that the record names."""
    if (named.record.get("revision"), named.record.get("sha256")) != (named.revision, named.sha256.hex()):
        return None
    body = await store.blob(connection, named.sha256)
    return body if body is not None and sha256(body).digest() == named.sha256 else None


def _opened(named: Named, body: bytes, keys: PublicKeys) -> Ruleset:
    try:
        if keys:
            bundle, signed_by = open_bundle(body, keys)
            ruleset = Ruleset(bundle, bundle.catalogue(), body, signed_by)
        elif named.genesis and named.signed_by is None:
            # The ledger vouches for the bytes that an installation began with; whatever came later is signed.
            bundle = read_bundle(body)
            ruleset = Ruleset(bundle, bundle.catalogue(), body, None)
        else:
            raise RulesetRefused(named.revision, "it is signed and CONSENT_POLICY_KEYS_FILE names no key to check that with")
    except BundleError as error:
        raise RulesetRefused(named.revision, f"its bundle is refused: {error}") from None
    if ruleset.revision != named.revision:
        raise RulesetRefused(named.revision, f"the document that its record names is revision {ruleset.revision}")
    if unknown := bundle.codes() - CODES.keys():
        raise RulesetRefused(named.revision, f"it answers with codes that this release does not know ({min(unknown)}); replace the process")
    return ruleset


class Running:
    """The ruleset of one process, and the engine that decides by it.

    Args:
        make: an engine for a bundle; not yet started.
        taken: told of each ruleset with its started engine, the first one included, before anything is decided by it.
    """

    def __init__(
        self,
        engine: AsyncEngine,
        settings: Settings,
        make: Callable[[Bundle], PolicyEngine],
        taken: Callable[[Ruleset, PolicyEngine], None],
    ) -> None:
        self.ruleset = installed(settings)
        self.policy = make(self.ruleset.bundle)
        self._own = self.ruleset
        self._engine, self._settings, self._make, self._taken = engine, settings, make, taken
        self._fault: ConsentError | None = None
        self._turn = asyncio.Lock()
        self._closing: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Find out what is in force and start its engine.

        Raises:
            ConsentError: as `bring_up`; PolicyUnavailable: the engine does not take the policies.
        """
        ruleset = await bring_up(self._engine, self._settings)
        await self._take(ruleset)

    async def stop(self) -> None:
        """Close the engines."""
        for task in tuple(self._closing):
            task.cancel()
        await asyncio.gather(*self._closing, return_exceptions=True)
        await self.policy.close()

    async def renew(self) -> bool:
        """Take over what is in force now; False if the process cannot run it, which `check` then explains.

        Raises:
            DatabaseUnavailable: it cannot be read.
        """
        async with self._turn:
            async with db.read(self._engine) as connection:
                wanted = await versions_in_force(connection)
            if wanted == self.ruleset.versions:
                return True
            try:
                await self._take(await ruleset_in_force(self._engine, self._settings, self._own))
            except ConsentError as error:
                log.error("the policies in force cannot be run: %s: %s", error.code, error.en)  # noqa: TRY400 - one line for the operator
                self._fault = error
                return False
            log.info("policies %s with catalogue %s are in force", self.ruleset.revision, self.ruleset.catalogue.version)
            return True

    async def check(self, connection: AsyncConnection) -> None:
        """See that the process runs what is in force.

        Raises:
            Superseded: it does not, and why.
        """
        if await versions_in_force(connection) != self.ruleset.versions:
            raise Superseded() if self._fault is None else Superseded(self._fault.zh, self._fault.en)

    async def watch(self) -> None:
        """Take over what comes into force, for as long as the process runs."""
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            with suppress(ConsentError):  # the database is away: the next round may find it
                await self.renew()

    async def _take(self, ruleset: Ruleset) -> None:
        policy = self._make(ruleset.bundle)
        try:
            await policy.start()
        except BaseException:
            await policy.close()
            raise
        replaced, self.ruleset, self.policy, self._fault = self.policy, ruleset, policy, None
        self._taken(ruleset, policy)
        task = asyncio.create_task(_close_later(replaced))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)


async def _close_later(policy: PolicyEngine) -> None:
    try:
        await asyncio.sleep(_LINGER_SECONDS)
    finally:
        await policy.close()
