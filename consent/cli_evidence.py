"""`consent ledger open` and `consent ledger check-evidence`: what is kept beside the ledger to open its digests."""

import click
import msgspec

from consent.command import read_settings, with_database


@click.command("open")
@click.argument("index", type=click.IntRange(0))
def open_digests(index: int) -> None:
    """Print what stands behind the digests of record INDEX as JSON, for a dispute: each with the salt that convinces."""
    from consent.ledger.disclosure import open_record  # noqa: PLC0415

    click.echo(_json(with_database(read_settings(), lambda engine: open_record(engine, index))))


@click.command("check-evidence")
def check_evidence() -> None:
    """Hold what is kept beside the ledger against its records. Exit 0 if every digest opens or was redacted, else 1."""
    from consent.ledger.disclosure import check  # noqa: PLC0415

    found = with_database(read_settings(), check)
    click.echo(_json(found))
    if found.faults:
        raise SystemExit(1)


def _json(value: object) -> str:
    return msgspec.json.format(msgspec.json.encode(value), indent=1).decode()
