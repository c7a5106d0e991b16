"""`consent policy …`: build and sign policies, put them in force by two people's approval, and see why a check came out as it did."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from consent.command import read_settings, with_database

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

    from consent.activation.model import Proposal, Ruleset
    from consent.parties.accounts import Account
    from consent.settings import Settings

T = TypeVar("T")
_FILE = click.Path(path_type=Path, dir_okay=False)


def _loading(load: Callable[[], T]) -> T:
    """Load policies or keys; what they lack is one line."""
    from consent.catalogue.model import CatalogueError  # noqa: PLC0415
    from consent.decisions.bundle import BundleError  # noqa: PLC0415
    from consent.decisions.signing import SignatureRefused  # noqa: PLC0415

    try:
        return load()
    except (BundleError, CatalogueError, SignatureRefused) as error:
        raise click.ClickException(str(error)) from None


def check_installation(settings: "Settings") -> None:
    """See that what the settings name loads, before any process is started with it."""
    from consent.activation.running import installed  # noqa: PLC0415

    _loading(lambda: installed(settings))


def _signed(settings: "Settings", bundle: Path) -> "Ruleset":
    from consent.activation.service import read_signed  # noqa: PLC0415
    from consent.errors import ConsentError  # noqa: PLC0415

    try:
        body = bundle.read_bytes()
        return _loading(lambda: read_signed(settings, body))
    except OSError as error:
        raise click.ClickException(f"{bundle}: cannot be read: {error.strerror}") from None
    except ConsentError as error:
        raise click.ClickException(f"{error.en} {error.zh}") from None


def _as_staff(use_case: Callable[["AsyncEngine", "Account"], Any], user: str, password_file: Path | None) -> Any:
    """Log in and carry out. The password is never an argument, which others on the machine would see."""
    from consent.parties.accounts import authenticate  # noqa: PLC0415

    settings = read_settings()
    if password_file is None:
        password = click.prompt(f"密码 password of {user}", hide_input=True, err=True)
    else:
        try:
            password = password_file.read_text(encoding="utf-8").rstrip("\n")
        except (OSError, UnicodeDecodeError) as error:
            raise click.ClickException(f"{password_file}: cannot be read ({type(error).__name__})") from None

    async def work(engine: "AsyncEngine") -> Any:
        return await use_case(engine, await authenticate(engine, user, password))

    return with_database(settings, work)


def _staff_options(command: Callable[..., Any]) -> Callable[..., Any]:
    user = click.option("--user", required=True, help="The operator's user name.")
    password = click.option("--password-file", type=_FILE, help="Where the password stands; otherwise it is asked for.")
    return user(password(command))


def _told(proposal: "Proposal") -> str:
    missing = 2 - len(proposal.approvals)
    left = "可以生效 ready to activate" if missing <= 0 else f"尚缺 {missing} 人审批 approvals missing: {missing}"
    return f"{proposal.revision}  record {proposal.idx}  sha256 {proposal.sha256.hex()}  replaces {proposal.replaces}  {left}"


@click.group()
def policy() -> None:
    """The policies: what is in force, and how others come into force."""


@policy.command()
@click.argument("file", type=_FILE)
def keygen(file: Path) -> None:
    """Make a key that signs policies in FILE (mode 0600), its public half in FILE.pub, and print its id."""
    from consent.decisions.signing import generate_key  # noqa: PLC0415

    try:
        click.echo(generate_key(file))
    except FileExistsError as error:
        raise click.ClickException(f"{error.filename} exists; a key is never overwritten") from None
    except OSError as error:
        raise click.ClickException(f"{file}: cannot be written: {error.strerror}") from None


@policy.command()
@click.argument("file", type=_FILE)
@click.option("--key", type=_FILE, help="The private key that signs; without it the bundle is for looking at only.")
@click.option("--policies", type=click.Path(path_type=Path, file_okay=False), help="Another directory of policies than the installed one.")
@click.option(
    "--extensions", type=click.Path(path_type=Path, file_okay=False), envvar="CONSENT_CATALOGUE_EXTENSIONS", help="Regional lists."
)
def build(file: Path, key: Path | None, policies: Path | None, extensions: Path | None) -> None:
    """Write the policies with the catalogue as one bundle (OPA's format) to FILE and print its revision."""
    from consent.catalogue.extension import load_extensions  # noqa: PLC0415
    from consent.catalogue.load import load_from  # noqa: PLC0415
    from consent.decisions.bundle import load_bundle  # noqa: PLC0415
    from consent.decisions.signing import load_signing_key  # noqa: PLC0415

    def work() -> str:
        regional = load_extensions(extensions)
        bundle = load_bundle(load_from(extensions=regional), policies, regional)
        body = bundle.blob(None if key is None else load_signing_key(key))
        try:
            with file.open("xb") as out:
                out.write(body)
        except OSError as error:
            raise click.ClickException(f"{file}: cannot be written: {error.strerror}") from None
        return bundle.revision

    click.echo(_loading(work))


@policy.command("bundle")
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False))
def write_directory(directory: Path) -> None:
    """Write the installed policies as a directory for `opa run --server --bundle DIRECTORY` and print their revision."""
    from consent.catalogue.load import load  # noqa: PLC0415
    from consent.decisions.bundle import write_bundle  # noqa: PLC0415

    click.echo(_loading(lambda: write_bundle(load(), directory)).revision)


@policy.command()
@click.argument("file", type=_FILE)
def fetch(file: Path) -> None:
    """Write the bundle in force, as the ledger has it, to FILE for OPA and print its revision."""
    from consent.activation.service import bundle_in_force  # noqa: PLC0415

    revision, body = with_database(read_settings(), bundle_in_force)
    try:
        file.write_bytes(body)
    except OSError as error:
        raise click.ClickException(f"{file}: cannot be written: {error.strerror}") from None
    click.echo(revision)


@policy.command("opa-config")
@click.option("--url", help="Where OPA reaches the service; the issuer unless given.")
@click.option("--key-id", help="Which of the keys in CONSENT_POLICY_KEYS_FILE signs, where there are several.")
def opa_config(url: str | None, key_id: str | None) -> None:
    """Print the configuration by which OPA polls this service for the bundle in force and checks its signature."""
    from consent.activation.opa import configuration  # noqa: PLC0415

    settings = read_settings()
    click.echo(_loading(lambda: configuration(settings, url or settings.issuer, key_id)))


@policy.command()
@click.argument("bundle", type=_FILE)
@_staff_options
def propose(bundle: Path, user: str, password_file: Path | None) -> None:
    """Propose the signed BUNDLE in place of what is in force."""
    from consent.activation import service  # noqa: PLC0415

    ruleset = _signed(read_settings(), bundle)
    click.echo(_told(_as_staff(lambda engine, account: service.propose(engine, ruleset, account), user, password_file)))


@policy.command()
@click.argument("bundle", type=_FILE)
@_staff_options
def approve(bundle: Path, user: str, password_file: Path | None) -> None:
    """Approve the BUNDLE that you read; it must be the proposed one, byte for byte. Two different operators have to."""
    from consent.activation import service  # noqa: PLC0415

    ruleset = _signed(read_settings(), bundle)
    click.echo(_told(_as_staff(lambda engine, account: service.approve(engine, ruleset, account), user, password_file)))


@policy.command()
@click.argument("revision")
def activate(revision: str) -> None:
    """Put the proposed REVISION in force, once two different operators approved it."""
    from consent.activation import service  # noqa: PLC0415

    settings = read_settings()
    ruleset = _loading(lambda: with_database(settings, lambda engine: service.activate(engine, settings, revision)))
    click.echo(f"{ruleset.revision}  生效 in force; 目录 catalogue {ruleset.catalogue.version}")


@policy.command("list")
def list_policies() -> None:
    """What is in force and was before, newest first, and what waits for approvals."""
    from consent.activation.service import listed  # noqa: PLC0415

    history, proposals = with_database(read_settings(), listed)
    for proposal in proposals:
        click.echo(f"待审批 proposed  {_told(proposal)}")
    for n, entry in enumerate(history):
        who = " ".join(entry.approvers) or "首次启动 first start"
        state = "生效 in force" if n == 0 else "曾生效 earlier"
        click.echo(f"{state}  {entry.revision}  record {entry.idx}  {entry.at:%Y-%m-%dT%H:%M:%SZ}  {who}  key {entry.signed_by or '-'}")


@policy.command()
@click.argument("decision_id")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def explain(decision_id: str, *, as_json: bool) -> None:
    """Say in plain words which rule decided each item of a decision and what would cure it."""
    from consent.activation.explain import explain as work  # noqa: PLC0415

    explanation = with_database(read_settings(), lambda engine: work(engine, decision_id))
    if as_json:
        sys.stdout.buffer.write(explanation.to_json() + b"\n")
    else:
        click.echo(explanation.to_text())
