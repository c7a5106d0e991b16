"""Running the service: HTTP on Granian, the embedded trial set-up, and the check of a configuration."""

import asyncio
import os
import signal
import threading
import time
from pathlib import Path
from typing import Literal

from granian.constants import HTTPModes, Interfaces, Loops
from granian.log import LogLevels
from granian.server import Server
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from consent import db
from consent.activation.model import RulesetRefused
from consent.activation.running import installed, ruleset_in_force
from consent.catalogue.extension import load_extensions
from consent.catalogue.load import load_from
from consent.catalogue.model import CatalogueError
from consent.decisions import signing
from consent.decisions.bundle import BundleError, load_bundle
from consent.decisions.judge import probe
from consent.errors import ConsentError, OtherRevision, Unavailable
from consent.ledger.heads import HeadStoreFailed
from consent.ledger.in_force import versions_in_force
from consent.ledger.keys import KeyRefused, generate_key
from consent.ledger.setup import head_store, log_keys, witness_policy
from consent.migrations import migrate
from consent.settings import Settings, SettingsError

_STOP_SECONDS = 20

Finding = tuple[Literal["ok", "warning", "error"], str]


def serve_http(host: str, port: int, workers: int) -> None:
    """Serve until stopped. Every worker reads CONSENT_ variables for itself; workers share the database, and the files of their counts."""
    Server(
        "consent.app:create_app",
        address=host,
        port=port,
        interface=Interfaces.ASGI,
        workers=workers,
        factory=True,
        loop=Loops.uvloop,
        http=HTTPModes.http1,
        websockets=False,
        backlog=2048,
        backpressure=1024,
        log_level=LogLevels.warning,
        respawn_failed_workers=True,
    ).serve()


def stop_when_stdin_closes() -> None:
    """End this process as by SIGTERM once standard input ends, so that it never outlives the program that started it."""

    def watch() -> None:
        # Not sys.stdin: its lock, held here, would be inherited by Granian's forked workers, which close it.
        while os.read(descriptor, 4096):
            pass
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(_STOP_SECONDS)  # Granian that is still starting may wait for its workers for ever
        if os.getpgrp() == os.getpid():
            os.killpg(0, signal.SIGKILL)

    descriptor = os.dup(0)
    threading.Thread(target=watch, daemon=True).start()


def prepare_state(state_dir: Path, issuer: str) -> dict[str, str]:
    """Make what a trial needs below `state_dir` and return the environment without the database.

    The directory itself may be walked by others (the embedded server runs as another user); every secret in it is 0600.
    """
    state_dir.mkdir(parents=True, exist_ok=True, mode=0o711)
    key = state_dir / "ledger.key"
    heads = state_dir / "heads"
    heads.mkdir(exist_ok=True, mode=0o700)
    environment = {"CONSENT_ISSUER": issuer, "CONSENT_LEDGER_KEY_FILE": str(key), "CONSENT_HEAD_STORE": str(heads)}
    if not key.exists():
        generate_key(key, f"{issuer.partition('://')[2]}/ledger")
    return environment | _sign_policies(state_dir)


def _sign_policies(state_dir: Path) -> dict[str, str]:
    """A key of this trial's own, and the installed policies signed by it: with which an empty ledger begins, and which OPA can check.

    Raises:
        Unavailable: the policies, the catalogue or a regional list do not load.
    """
    key, bundle = state_dir / "policy.key", state_dir / "policy.tar.gz"
    regions = os.environ.get("CONSENT_CATALOGUE_EXTENSIONS")
    try:
        if not key.exists():
            signing.generate_key(key)
        if not bundle.exists():
            extensions = load_extensions(Path(regions) if regions else None)
            body = load_bundle(load_from(extensions=extensions), extensions=extensions).blob(signing.load_signing_key(key))
            half = bundle.with_suffix(".new")
            half.write_bytes(body)
            half.replace(bundle)
    except (CatalogueError, BundleError, signing.SignatureRefused) as error:
        raise Unavailable("规则或目录不能使用，详见英文说明。", f"The policies or the catalogue cannot be used: {error}.") from None
    return {"CONSENT_POLICY_KEYS_FILE": f"{key}.pub", "CONSENT_POLICY_BUNDLE": str(bundle)}


def serve_embedded(state_dir: Path, host: str, port: int, workers: int) -> None:
    """Serve on a PostgreSQL of its own below `state_dir`, for trials.

    Raises:
        ConsentError: PostgreSQL could not be started, or the schema not be brought up.
    """
    from consent.embedded import EmbeddedPostgres  # noqa: PLC0415 - its wheel is an extra

    environment = prepare_state(state_dir, os.environ.get("CONSENT_ISSUER", f"http://{host}:{port}"))
    with EmbeddedPostgres(state_dir) as urls:
        asyncio.run(migrate(urls.owner_url))
        os.environ.update(environment, CONSENT_DATABASE_URL=urls.app_url)
        serve_http(host, port, workers)


_LEDGER = "('ledger_record', 'ledger_node', 'ledger_head', 'ledger_head_stage', 'ledger_cosignature', 'ledger_key', 'ledger_blob')"
_RIGHTS = text(
    "select bool_or(has_table_privilege(oid, 'UPDATE') or has_table_privilege(oid, 'DELETE') or has_table_privilege(oid, 'TRUNCATE'))"
    f" from pg_class where relname in {_LEDGER} and relnamespace = 'public'::regnamespace"
)
_UNGUARDED = text(
    "select string_agg(relname, ', ' order by relname) from pg_class where relnamespace = 'public'::regnamespace"
    f" and relname in {_LEDGER} and not exists"
    " (select from pg_trigger where tgrelid = pg_class.oid and tgname = 'append_only' and tgenabled = 'A')"
)


async def check_configuration(settings: Settings) -> list[Finding]:
    """Look at everything that a start depends on; nothing is changed."""
    findings: list[Finding] = [_key_finding(settings), _head_store_finding(settings), _witness_finding(settings)]
    if settings.issuer.startswith("https://"):
        findings.append(("ok", f"issuer {settings.issuer}"))
    else:
        findings.append(("warning", "the issuer is plain http: for trials on loopback only"))
    if settings.policy_keys_file is None:
        findings.append(("warning", "CONSENT_POLICY_KEYS_FILE is not set: no other policies than the installed ones can come into force"))
    engine = db.create_engine(settings.database_url)
    try:
        async with db.read(engine) as connection:
            writable = (await connection.execute(_RIGHTS)).scalar_one()
            unguarded = await connection.scalar(_UNGUARDED)
        findings.append(("error", "the database role may change the ledger; use the application role") if writable else ("ok", "database"))
        if unguarded is not None:
            findings.append(("error", f"the trigger that keeps {unguarded} append-only is switched off: find out by whom, and why"))
        findings += await _policy_findings(settings, engine)
    except ConsentError as error:
        findings.append(("error", error.en))
    finally:
        await engine.dispose()
    return findings


def _key_finding(settings: Settings) -> Finding:
    try:
        keys = log_keys(settings)
        # Never the form of a checkpoint: its second line is no number. A file is as good as read; a command is tried.
        for key in keys:
            key.sign(f"{settings.ledger_origin}\ncheck-config\n")
    except KeyRefused as error:
        return "error", error.en
    return "ok", f"ledger key {', '.join(key.vkey for key in keys)}"


def _head_store_finding(settings: Settings) -> Finding:
    store = head_store(settings)
    if store is None:
        return "warning", "CONSENT_HEAD_STORE is not set: a database put back to an old backup would not be noticed"
    try:
        kept = store.newest()
    except HeadStoreFailed as error:
        return "error", error.en
    return "ok", f"head store: {'no head yet' if kept is None else f'{kept.size} records'}"


def _witness_finding(settings: Settings) -> Finding:
    try:
        policy = witness_policy(settings)
    except SettingsError as error:
        return "error", str(error)
    if policy is None:
        return "warning", "CONSENT_WITNESS_POLICY is not set: nobody outside vouches for this ledger's history"
    asked = [witness.name for witness in policy.witnesses if witness.url is not None]
    if policy.quorum is not None and not policy.reached(asked):
        return "error", "CONSENT_WITNESS_POLICY: the witnesses that have a URL cannot make the quorum"
    return "ok", f"witnesses {', '.join(asked)}"


async def _policy_findings(settings: Settings, engine: AsyncEngine) -> list[Finding]:
    from consent.app import policy_engine  # noqa: PLC0415 - builds the bundle

    try:
        ruleset = installed(settings)
        async with db.read(engine) as connection:
            begun = bool(await versions_in_force(connection))
        if begun:
            ruleset = await ruleset_in_force(engine, settings, ruleset)
    except (BundleError, CatalogueError) as error:
        return [("error", f"policies: {error}")]
    except RulesetRefused as error:
        return [("error", error.en)]
    signer = f"signed by {ruleset.signed_by}" if ruleset.signed_by else "not signed: the installation's own"
    findings: list[Finding] = [("ok", f"policies {ruleset.revision}, {'in force' if begun else 'for the first start'}, {signer}")]
    if settings.opa_url is None:
        why = "CONSENT_OPA_URL is not set: policies run in-process, for trials; production wants an OPA server"
        return [*findings, ("warning", why)]
    policy = policy_engine(settings, ruleset.bundle)
    try:
        await policy.start()
        await probe(policy)
    except ConsentError as error:
        why = (
            error.en
            if isinstance(error, OtherRevision)
            else "OPA does not answer; give it the bundle in force (`consent policy fetch FILE`)"
        )
        return [*findings, ("error", why)]
    finally:
        await policy.close()
    return [*findings, ("ok", f"OPA answers with revision {policy.revision}")]
