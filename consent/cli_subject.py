"""`consent subject …`: what must be kept about a subject, and forgetting her."""

import os
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Literal, TypeVar, cast

import click

from consent.command import run

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

    from consent.erasure.model import Hold
    from consent.erasure.service import Erased

T = TypeVar("T")


async def _owned(use_case: "Callable[[AsyncEngine], Awaitable[T]]") -> T:
    """Run a use case as the owner of the tables: the service's own role cannot delete evidence."""
    from consent.db import create_engine  # noqa: PLC0415 - not for --help

    url = os.environ.get("CONSENT_DATABASE_OWNER_URL")
    if not url:
        raise click.ClickException("set CONSENT_DATABASE_OWNER_URL to the database owner's URL (postgresql+asyncpg://…)")
    engine = create_engine(url)
    try:
        return await use_case(engine)
    finally:
        await engine.dispose()


@click.group()
def subject() -> None:
    """Subjects: enterprises and persons, by 统一社会信用代码 or subject id. Needs CONSENT_DATABASE_OWNER_URL."""


@subject.command("holds")
@click.argument("name")
def subject_holds(name: str) -> None:
    """Say why evidence about a subject must be kept still, and until when. Exit 0 if nothing demands it, else 1."""
    from consent.erasure.service import find, holds  # noqa: PLC0415

    async def work(engine: "AsyncEngine") -> "list[Hold]":
        return await holds(engine, await find(engine, name))

    found = run(_owned(work))
    for hold in found:
        click.echo(f"{hold.why:7} {hold.institution or '-':24} {'open' if hold.until is None else f'until {hold.until:%Y-%m-%d}'}")
    if found:
        raise SystemExit(1)
    click.echo("nothing must be kept")


@subject.command("erase")
@click.argument("names", nargs=-1, required=True)
@click.option("--reason", type=click.Choice(["erasure", "retention"]), default="erasure", show_default=True)
def subject_erase(names: tuple[str, ...], reason: str) -> None:
    """Delete who these subjects were: mapping, salts, names, accounts. The ledger's records stand and say that they were redacted.

    Refused while retention runs, with the date from which it may be done. Erase several at once where you can: then the ledger does not
    say which of the redacted records belonged together.
    """
    from consent.erasure.service import erase, find  # noqa: PLC0415

    async def work(engine: "AsyncEngine") -> "Erased":
        return await erase(engine, [await find(engine, name) for name in names], cast("Literal['erasure', 'retention']", reason))

    done = run(_owned(work))
    click.echo(f"{done.subjects} subjects erased, {done.records} records redacted: ledger {', '.join(map(str, done.indexes)) or '-'}")
