"""`consent ledger …`: copies, keys, readers, and what an operator does when a key changes or a database was lost."""

from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import click

from consent.command import read_settings, with_database

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

    from consent.settings import Settings

_FILE = click.Path(path_type=Path, dir_okay=False)
_DIRECTORY = click.Path(path_type=Path, file_okay=False)


def check_ledger(settings: "Settings") -> None:
    """See that the ledger's keys and its witness policy load, before any process is started with them."""
    from consent.errors import ConsentError  # noqa: PLC0415
    from consent.ledger.setup import log_keys, witness_policy  # noqa: PLC0415
    from consent.settings import SettingsError  # noqa: PLC0415

    try:
        log_keys(settings)
        witness_policy(settings)
    except SettingsError as error:
        raise click.ClickException(str(error)) from None
    except ConsentError as error:
        raise click.ClickException(f"{error.en} {error.zh}") from None


@click.group()
def ledger() -> None:
    """The ledger: export, publish, keys, readers."""


@ledger.command("export")
@click.argument("file", type=_FILE)
def ledger_export(file: Path) -> None:
    """Write the tile tree (checkpoint, tile/, tile/entries/, blobs/) to FILE as tar."""
    from consent.ledger.copies import export  # noqa: PLC0415

    click.echo(f"{with_database(read_settings(), lambda engine: export(engine, file))} records")


@ledger.command("publish")
@click.argument("place")
@click.option("--for", "readers", type=click.Choice(["public", "auditors"]), help="Whether entries and blobs go there; needed for a store.")
@click.option("--every", type=click.FloatRange(1, 86400), metavar="SECONDS", help="Go on publishing whatever is new.")
def ledger_publish(place: str, readers: str | None, every: float | None) -> None:
    """Write the tile tree into PLACE, a directory or s3://bucket/prefix, safe against a crash at any moment.

    In a directory entries and blobs are closed to others by their modes. A store has no such modes: give two, one for the public without
    entries and blobs, one for auditors with everything, and close the latter.
    """
    from consent.ledger.copies import follow, publish  # noqa: PLC0415
    from consent.ledger.objects import open_place  # noqa: PLC0415

    if "://" in place and readers is None:
        raise click.UsageError("say --for public or --for auditors: a store does not close entries and blobs by itself")

    async def work(engine: "AsyncEngine") -> int:
        target, open_only = open_place(place), readers == "public"
        if every is not None:
            await follow(engine, target, every, open_only=open_only)
        return await publish(engine, target, open_only=open_only)

    click.echo(f"{with_database(read_settings(), work)} records")


@ledger.command("timestamp")
@click.argument("place")
@click.option("--authority", required=True, metavar="URL", help="Of the RFC 3161 time-stamp authority.")
@click.option("--certificates", required=True, type=click.File("rb"), help="PEM: its root, and intermediates that it does not send.")
@click.option("--every", type=click.FloatRange(60, 86400), metavar="SECONDS", help="Go on stamping the newest checkpoint.")
def ledger_timestamp(place: str, authority: str, certificates: BinaryIO, every: float | None) -> None:
    """Have the newest checkpoint stamped (RFC 3161) into PLACE, a directory or s3://bucket/prefix, as timestamps/SIZE.checkpoint and .tsr.

    Check with: openssl ts -verify -data SIZE.checkpoint -in SIZE.tsr -CAfile ROOT.pem
    """
    from consent.ledger.objects import open_place  # noqa: PLC0415
    from consent.ledger.timestamps import Authority, follow, timestamp  # noqa: PLC0415

    async def work(engine: "AsyncEngine") -> str:
        target, asked = open_place(place), Authority(authority, certificates.read())
        if every is not None:
            await follow(engine, target, asked, every)
        done = await timestamp(engine, target, asked)
        return f"{done.size} records: {done.time or 'stamped before'}"

    click.echo(with_database(read_settings(), work))


@ledger.command("keygen")
@click.argument("file", type=_FILE)
@click.option("--origin", required=True, help="The ledger's name: the schema-less URL prefix of /ledger.")
def ledger_keygen(file: Path, origin: str) -> None:
    """Make the ledger's Ed25519 key in FILE (mode 0600) and print the verifier key that auditors need."""
    from consent.ledger.keys import generate_key  # noqa: PLC0415

    try:
        click.echo(generate_key(file, origin))
    except FileExistsError:
        raise click.ClickException(f"{file} exists; a key is never overwritten") from None


@ledger.command("auditor-token")
@click.argument("name")
@click.option("--days", type=click.IntRange(1, 3650), default=365, show_default=True)
def ledger_auditor_token(name: str, days: int) -> None:
    """Make a reader's token for entries and blobs; it is shown once."""
    from consent.ledger.service import create_auditor_token  # noqa: PLC0415

    click.echo(with_database(read_settings(), lambda engine: create_auditor_token(engine, name, days)))


@ledger.command("rotate-key")
def ledger_rotate_key() -> None:
    """Sign from now on with the next key (CONSENT_LEDGER_NEXT_…), which every server must hold already; print its verifier key."""
    from consent.ledger.rotation import rotate  # noqa: PLC0415
    from consent.ledger.setup import log_keys  # noqa: PLC0415

    async def work(engine: "AsyncEngine") -> tuple[int, str]:
        return await rotate(engine, log_keys(settings))

    settings = read_settings()
    index, vkey = with_database(settings, work)
    click.echo(f"record {index}\n{vkey}")


@ledger.command("adopt-heads")
def ledger_adopt_heads() -> None:
    """Begin an empty CONSENT_HEAD_STORE with the newest head of the database; only where the store is new, never after a restore."""
    from consent.ledger.continuing import adopt  # noqa: PLC0415
    from consent.ledger.setup import head_store  # noqa: PLC0415

    settings = read_settings()
    heads = head_store(settings)
    if heads is None:
        raise click.ClickException("set CONSENT_HEAD_STORE to the new directory")
    click.echo(f"{with_database(settings, lambda engine: adopt(engine, heads))} records")


@ledger.command("continue")
@click.argument("lost", type=_DIRECTORY)
def ledger_continue(lost: Path) -> None:
    """Go on under a new name after signed records were lost for good. LOST is the head store of the old name.

    CONSENT_LEDGER_ORIGIN, the key and CONSENT_HEAD_STORE are those of the new name. Read deploy/README.md first.
    """
    from consent.ledger.continuing import continue_ledger  # noqa: PLC0415
    from consent.ledger.heads import HeadStore  # noqa: PLC0415
    from consent.ledger.setup import log_keys  # noqa: PLC0415
    from consent.ledger.writer import origin_in_force  # noqa: PLC0415

    async def work(engine: "AsyncEngine") -> int:
        async with engine.connect() as connection:
            before = await origin_in_force(connection)
        return await continue_ledger(engine, HeadStore(lost, before), log_keys(settings)[0])

    settings = read_settings()
    click.echo(f"record {with_database(settings, work)}")


@ledger.command("second-head")
def ledger_second_head() -> None:
    """Print the head of the signed records under SM3, unsigned, for a device that signs with SM2. Reads every record."""
    from consent.ledger.second_tree import second_head  # noqa: PLC0415

    click.echo(with_database(read_settings(), second_head).text(), nl=False)
