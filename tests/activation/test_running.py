"""Processes run what the ledger says: releases side by side agree, and take over what comes into force while they run."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from consent import db
from consent.activation.model import Ruleset, RulesetRefused
from consent.activation.running import Running, bring_up, installed
from consent.catalogue.load import load
from consent.decisions.bundle import Bundle, BundleError, load_bundle
from consent.decisions.engine import PolicyEngine, RegopyEngine
from consent.decisions.judge import probe
from consent.ledger.in_force import Superseded
from consent.ledger.writer import write
from consent.settings import Settings
from tests.activation.activation_world import Signing, put_in_force, records, release, settings_for
from tests.activation.conftest import Installation


@asynccontextmanager
async def process(engine: AsyncEngine, settings: Settings, taken: Callable[[Ruleset], None] = lambda _: None) -> AsyncIterator[Running]:
    """What a process of the service runs, with the in-process engine."""
    running = Running(engine, settings, lambda bundle: RegopyEngine(bundle, threads=1), lambda ruleset, _: taken(ruleset))
    await running.start()
    try:
        yield running
    finally:
        await running.stop()


def carrying(installation: Installation, folder: Path, bundle: Bundle) -> Settings:
    """Settings of a process whose installation carries `bundle`."""
    file = folder / f"{bundle.revision}.tar.gz"
    file.write_bytes(installation.key.sign(bundle))
    settings = installation.settings
    return settings_for(settings.database_url, settings.ledger_origin, policy_keys_file=settings.policy_keys_file, policy_bundle=file)


async def ready(engine: AsyncEngine, running: Running) -> None:
    """As /readyz looks."""
    async with db.read(engine) as connection:
        await running.check(connection)
    await probe(running.policy)


async def test_two_releases_at_once_run_the_same(engine: AsyncEngine, installation: Installation, tmp_path: Path) -> None:
    """A rolling upgrade: however often processes of both releases start, nothing is activated and both decide by what was in force."""
    newer = carrying(installation, tmp_path, release(tmp_path, "newer"))
    assert installed(newer).revision != installation.first.revision
    for _ in range(3):
        for settings in (newer, installation.settings):
            async with process(engine, settings) as running:
                assert running.ruleset.versions == installation.first.versions
                await ready(engine, running)
    assert [record["revision"] for record in await records(engine, "policy.activated")] == [installation.first.revision]


async def test_all_take_over_what_comes_into_force(engine: AsyncEngine, installation: Installation, tmp_path: Path) -> None:
    """Also the older release, which does not carry it; a process that starts later begins with it."""
    settings, first, key, ann, bob = installation
    newer = release(tmp_path, "newer")
    seen: list[str] = []
    async with (
        process(engine, settings, lambda r: seen.append(r.revision)) as old,
        process(engine, carrying(installation, tmp_path, newer)) as new,
    ):
        await put_in_force(engine, settings, key.sign(newer), ann, bob)
        for running in (old, new):
            with pytest.raises(Superseded):
                await ready(engine, running)
            assert await running.renew()
            await ready(engine, running)
            assert running.ruleset.revision == running.policy.revision == newer.revision
            assert running.ruleset.signed_by == key.key_id
        assert seen == [first.revision, newer.revision]
        async with process(engine, settings) as late:
            assert late.ruleset.revision == newer.revision


async def test_a_process_that_nobody_asks_takes_over_too(
    engine: AsyncEngine, installation: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By looking now and then; a database that is away for a moment does not end that."""
    monkeypatch.setattr("consent.activation.running.WATCH_SECONDS", 0.05)
    settings, _, key, ann, bob = installation
    newer = release(tmp_path, "newer")
    done = asyncio.Event()
    async with process(engine, settings, lambda ruleset: done.set() if ruleset.revision == newer.revision else None) as running:
        watch = asyncio.create_task(running.watch())
        try:
            await put_in_force(engine, settings, key.sign(newer), ann, bob)
            await asyncio.wait_for(done.wait(), 20)
            assert running.policy.revision == newer.revision
        finally:
            watch.cancel()
            await asyncio.gather(watch, return_exceptions=True)


async def test_what_was_replaced_still_answers_for_a_while(engine: AsyncEngine, installation: Installation, tmp_path: Path) -> None:
    """A question under way is not cut off by the change; its answer is of the old revision, which the record's check then refuses."""
    settings, first, key, ann, bob = installation
    async with process(engine, settings) as running:
        before: PolicyEngine = running.policy
        await put_in_force(engine, settings, key.sign(release(tmp_path, "newer")), ann, bob)
        assert await running.renew()
        assert running.policy is not before
        await probe(before)
        assert before.revision == first.revision


async def test_a_process_without_the_key_says_so(engine: AsyncEngine, installation: Installation, tmp_path: Path) -> None:
    """A signed bundle that cannot be checked is not run: neither taken over, nor started with; and the sentence says what to set."""
    settings, _, key, ann, bob = installation
    plain = settings_for(settings.database_url, settings.ledger_origin)
    newer = release(tmp_path, "newer")
    async with process(engine, plain) as running:
        await put_in_force(engine, settings, key.sign(newer), ann, bob)
        assert not await running.renew()
        with pytest.raises(Superseded, match="CONSENT_POLICY_KEYS_FILE"):
            await ready(engine, running)
        assert running.ruleset.revision == installation.first.revision
    with pytest.raises(RulesetRefused, match="CONSENT_POLICY_KEYS_FILE"):
        await bring_up(engine, plain)
    (tmp_path / "other").mkdir()
    strange = settings_for(settings.database_url, settings.ledger_origin, policy_keys_file=Signing(tmp_path / "other").public)
    with pytest.raises(RulesetRefused, match="not signed by one of the keys"):
        await bring_up(engine, strange)


async def test_an_unsigned_beginning_needs_no_key_later(
    engine: AsyncEngine, ledger: Any, database: Any, origin: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A trial that began with the package's own policies goes on by them when the package is upgraded."""
    settings = settings_for(database.app_url, origin)
    first = await bring_up(engine, settings)
    newer = release(tmp_path, "newer")
    monkeypatch.setattr("consent.activation.running.load_bundle", lambda *_, **__: newer)
    assert installed(settings).revision == newer.revision
    upgraded = await bring_up(engine, settings)
    assert upgraded.bundle == first.bundle
    assert upgraded.body == first.body


async def test_a_row_without_its_record_puts_nothing_in_force(engine: AsyncEngine, installation: Installation) -> None:
    """Whoever writes into the table but not into the ledger is found: the record of that index says something else."""
    async with write(engine) as tx:
        digest = await tx.put_blob("application/json", b"{}")
        statement = text("insert into activation (kind, idx, version, sha256) values ('policy', :idx, 'f', decode(:digest, 'hex'))")
        await tx.connection.execute(statement, {"idx": tx.size - 1, "digest": digest})
    with pytest.raises(RulesetRefused, match="does not carry its record"):
        await bring_up(engine, installation.settings)


async def test_a_blob_that_is_not_what_the_record_names_is_refused(engine: AsyncEngine, database: Any, installation: Installation) -> None:
    """Also with a good signature: the ledger names the very bytes."""
    settings, first, key, _, _ = installation
    swap = text("update ledger_blob set body = :body where body = :old")
    owner = db.create_engine(database.owner_url)
    other = key.sign(first.bundle)
    try:
        async with owner.begin() as connection:
            await connection.execute(text("alter table ledger_blob disable trigger append_only"))
            await connection.execute(swap, {"body": other, "old": first.body})
        with pytest.raises(RulesetRefused, match="its document"):
            await bring_up(engine, settings)
        async with owner.begin() as connection:
            await connection.execute(swap, {"body": first.body, "old": other})
    finally:
        await owner.dispose()


async def test_an_installation_that_does_not_load_does_not_start(database: Any, origin: str, tmp_path: Path) -> None:
    """With the file and the place named."""
    own = load_bundle(load())
    (tmp_path / "plain.tar.gz").write_bytes(own.blob())
    cases = {
        "nowhere.tar.gz: cannot be read": {"policy_bundle": tmp_path / "nowhere.tar.gz"},
        "the bundle is not signed": {"policy_bundle": tmp_path / "plain.tar.gz"},
        "none.pub: cannot be read": {"policy_keys_file": tmp_path / "none.pub", "policy_bundle": tmp_path / "plain.tar.gz"},
    }
    for message, settings in cases.items():
        with pytest.raises(BundleError, match=message):
            installed(settings_for(database.app_url, origin, **settings))
