"""The command line: production entry points, and the same use cases as the pages and the API.

Each command imports what it needs when it runs, so `consent --help` is quick and a missing extra is named plainly.
"""

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import click

from consent.cli_evidence import check_evidence, open_digests
from consent.cli_ledger import check_ledger, ledger
from consent.cli_policy import check_installation, policy
from consent.cli_replay import dry_run, replay
from consent.cli_subject import subject
from consent.command import read_settings as _settings
from consent.command import run as _run
from consent.command import with_database
from consent.errors import ConsentError


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Consent, authorization and audit for the data that small enterprises share to get loans."""


@main.command()
@click.option("--exit", "leave", is_flag=True, help="Stop after the tour, with 0 if every step held.")
@click.option("--state-dir", type=click.Path(path_type=Path, file_okay=False), help="Where everything is kept; a new one if absent.")
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="0 picks a free one.")
def demo(*, leave: bool, state_dir: Path | None, port: int) -> None:
    """The whole product at work, on sample parties."""
    try:
        from consent.demo.run import run_demo  # noqa: PLC0415 - an extra
    except ModuleNotFoundError as error:
        raise click.ClickException(f"the demo needs the extra: pip install 'consent-server[demo]' ({error.name} is missing)") from None
    sys.exit(_run(run_demo(leave=leave, state_dir=state_dir, port=port)))


@main.command()
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", type=click.IntRange(1, 65535), default=8000, show_default=True)
@click.option("--workers", type=click.IntRange(1, 256), default=1, show_default=True, help="Processes; they hold no state.")
@click.option("--embedded", is_flag=True, help="A PostgreSQL of its own below --state-dir, for trials.")
@click.option("--state-dir", type=click.Path(path_type=Path, file_okay=False), help="With --embedded: where everything is kept.")
@click.option("--until-stdin-closes", is_flag=True, help="Stop when standard input ends, as a child of another program should.")
def serve(*, host: str, port: int, workers: int, embedded: bool, state_dir: Path | None, until_stdin_closes: bool) -> None:
    """Serve HTTP. Settings come from CONSENT_ variables."""
    with _shared_counts(workers):
        _serve(host, port, workers, state_dir if embedded else None, embedded=embedded, until_stdin_closes=until_stdin_closes)


@contextmanager
def _shared_counts(workers: int) -> Iterator[None]:
    """Where several workers keep their counts for `/metrics`; prometheus-client reads the variable when it is imported."""
    if workers == 1 or os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        yield
        return
    with tempfile.TemporaryDirectory(prefix="consent-metrics-") as directory:
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = directory
        yield


def _serve(host: str, port: int, workers: int, state_dir: Path | None, *, embedded: bool, until_stdin_closes: bool) -> None:
    from consent.serve import serve_embedded, serve_http, stop_when_stdin_closes  # noqa: PLC0415

    if until_stdin_closes:
        stop_when_stdin_closes()
    if embedded:
        if state_dir is None:
            raise click.UsageError("--embedded needs --state-dir")
        try:
            serve_embedded(state_dir, host, port, workers)
        except ConsentError as error:
            raise click.ClickException(f"{error.en} {error.zh}") from None
    else:
        settings = _settings()
        check_ledger(settings)
        check_installation(settings)
        serve_http(host, port, workers)


@main.command()
def migrate() -> None:
    """Bring the database to this release's schema. Needs the owner's URL in CONSENT_DATABASE_OWNER_URL."""
    from consent.migrations import migrate as upgrade  # noqa: PLC0415

    url = os.environ.get("CONSENT_DATABASE_OWNER_URL")
    if not url:
        raise click.ClickException("set CONSENT_DATABASE_OWNER_URL to the database owner's URL (postgresql+asyncpg://…)")
    _run(upgrade(url))
    click.echo("the schema is current")


@main.command("check-config")
def check_config() -> None:
    """Say whether this configuration is fit for production: every line is ok, warning or error. Exit 1 on an error."""
    from consent.serve import check_configuration  # noqa: PLC0415

    findings = _run(check_configuration(_settings()))
    for level, message in findings:
        click.echo(f"{level:8}{message}")
    sys.exit(any(level == "error" for level, _ in findings))


@main.command()
@click.option("--json", "as_json", is_flag=True, required=True, help="The same body as GET /catalogue.")
def catalogue(*, as_json: bool) -> None:
    """The data items, fields and purposes, in both languages: the catalogue in force where CONSENT_DATABASE_URL names a service's
    database, else the one installed, with the regional lists in CONSENT_CATALOGUE_EXTENSIONS."""
    from consent.catalogue.extension import load_extensions  # noqa: PLC0415
    from consent.catalogue.load import load_from  # noqa: PLC0415
    from consent.catalogue.model import CatalogueError  # noqa: PLC0415

    if not as_json:
        return
    if "CONSENT_DATABASE_URL" in os.environ:
        from consent.activation.service import catalogue_in_force  # noqa: PLC0415

        body = with_database(_settings(), catalogue_in_force)
    else:
        regions = os.environ.get("CONSENT_CATALOGUE_EXTENSIONS")
        try:
            body = load_from(extensions=load_extensions(Path(regions) if regions else None)).to_json()
        except CatalogueError as error:
            raise click.ClickException(str(error)) from None
    sys.stdout.buffer.write(body + b"\n")


@main.command()
@click.argument(
    "kind",
    type=click.Choice(["institution", "institution-change", "client", "client-change", "subject", "subject-change", "link", "account"]),
)
@click.argument("file", type=click.File("rb"))
def register(kind: str, file: BinaryIO) -> None:
    """Register or change a party from a JSON document (FILE, or - for standard input) and print its id."""
    from consent.db import create_engine  # noqa: PLC0415
    from consent.registry import register as carry_out  # noqa: PLC0415

    async def work() -> str:
        engine = create_engine(_settings().database_url)
        try:
            return await carry_out(engine, kind, file.read())
        finally:
            await engine.dispose()

    click.echo(_run(work()))


main.add_command(ledger)
main.add_command(policy)
main.add_command(subject)
ledger.add_command(open_digests)
ledger.add_command(check_evidence)
ledger.add_command(replay)
policy.add_command(dry_run)
