"""`consent ledger replay` and `consent policy dry-run`: past decisions, judged again by the policies of their time or by new ones."""

import json
import re
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from consent.command import read_settings, with_database

if TYPE_CHECKING:
    from consent.decisions.bundle import Bundle
    from consent.decisions.replay.outcome import Span

_OPA = click.option(
    "--opa", type=click.Path(path_type=Path), help="The OPA program; otherwise the one on the path, or rego-cpp where there is none."
)
_JSON = click.option("--json", "as_json", is_flag=True, help="For programs.")
_BOUND = re.compile(r"(?P<index>[0-9]{1,15})|(?P<day>[0-9]{4}-[0-9]{2}-[0-9]{2})", re.ASCII)


def _span(first: str | None, last: str | None) -> "Span":
    """The decisions between two bounds, each the index of a record or a day in Asia/Shanghai; both ends are included."""
    from datetime import datetime, timedelta  # noqa: PLC0415

    from consent.clock import SHANGHAI, format_instant  # noqa: PLC0415
    from consent.decisions.replay.outcome import Span  # noqa: PLC0415

    def read(name: str, text: str | None, days: int) -> tuple[int | None, str | None]:
        if text is None:
            return None, None
        found = _BOUND.fullmatch(text)
        if found is None:
            raise click.UsageError(f"{name}: a record's index or a day, YYYY-MM-DD")
        if found["index"] is not None:
            return int(text), None
        try:
            day = datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=SHANGHAI)
            return None, format_instant(day + timedelta(days=days))
        except (ValueError, OverflowError):
            raise click.UsageError(f"{name}: there is no such day") from None

    (index, begin), (until, end) = read("--from", first, 0), read("--to", last, 1)
    return Span(first=index, last=until, begin=begin, end=end)


def _range_options(command: Callable[..., Any]) -> Callable[..., Any]:
    first = click.option("--from", "first", help="The first decision: a record's index, or a day in Asia/Shanghai.")
    last = click.option("--to", "last", help="The last decision, or its day.")
    return first(last(command))


@click.command("replay")
@click.option("--policies", is_flag=True, help="Also judge each decision again by the policy revision that was in force at its place.")
@_range_options
@_OPA
@_JSON
def replay(*, policies: bool, first: str | None, last: str | None, opa: Path | None, as_json: bool) -> None:
    """Rebuild the state from the records and hold each against those before it. Exit 0 consistent, 1 not, 3 not everything checked."""
    from consent.decisions.replay.engines import engine_for, find_opa  # noqa: PLC0415
    from consent.decisions.replay.report import rerun_json, rerun_text, verdict  # noqa: PLC0415
    from consent.decisions.replay.service import rerun  # noqa: PLC0415

    span = _span(first, last)
    engines = partial(engine_for, opa=find_opa(opa)) if policies else None
    outcome = with_database(read_settings(), lambda database: rerun(database, engines, span))
    click.echo(
        json.dumps(rerun_json(outcome, policies=policies), ensure_ascii=False, indent=2)
        if as_json
        else rerun_text(outcome, policies=policies)
    )
    sys.exit({"verified": 0, "refuted": 1, "unchecked": 3}[verdict(outcome, policies=policies)])


@click.command("dry-run")
@click.option("--bundle", required=True, type=click.Path(path_type=Path, exists=True), help="A bundle file, or a directory of policies.")
@click.option(
    "--extensions",
    type=click.Path(path_type=Path, file_okay=False),
    envvar="CONSENT_CATALOGUE_EXTENSIONS",
    help="Regional lists, with a directory.",
)
@_range_options
@_OPA
@_JSON
def dry_run(*, bundle: Path, extensions: Path | None, first: str | None, last: str | None, opa: Path | None, as_json: bool) -> None:
    """Judge past decisions by the policies of BUNDLE: which permits would be denials and which denials permits, by bank and item.

    Nothing is changed; what a decision would have led to further on (uses counted, tickets redeemed) is left as it was.
    """
    from consent.decisions.replay.engines import engine_for, find_opa  # noqa: PLC0415
    from consent.decisions.replay.report import dryrun_json, dryrun_text  # noqa: PLC0415
    from consent.decisions.replay.service import dryrun  # noqa: PLC0415

    span = _span(first, last)
    new = _read(bundle, extensions)
    engines = partial(engine_for, opa=find_opa(opa))
    outcome = with_database(read_settings(), lambda database: dryrun(database, new, engines, span))
    if as_json:
        click.echo(json.dumps(dryrun_json(outcome, new.revision), ensure_ascii=False, indent=2))
    else:
        click.echo(dryrun_text(outcome, new.revision, new.catalogue()))


def _read(place: Path, extensions: Path | None) -> "Bundle":
    from consent.catalogue.extension import load_extensions  # noqa: PLC0415
    from consent.catalogue.load import load_from  # noqa: PLC0415
    from consent.catalogue.model import CatalogueError  # noqa: PLC0415
    from consent.decisions.bundle import BundleError, load_bundle, read_bundle  # noqa: PLC0415

    try:
        if place.is_dir():
            regional = load_extensions(extensions)
            return load_bundle(load_from(extensions=regional), place, regional)
        return read_bundle(place.read_bytes())
    except (BundleError, CatalogueError) as error:
        raise click.ClickException(str(error)) from None
    except OSError as error:
        raise click.ClickException(f"{place}: cannot be read: {error.strerror}") from None
