"""What is measured: the service as it is run, on a real PostgreSQL with fsync and a real OPA, with parties and grants of a bench's size.

Everything is a process of its own and ends with this one: each child watches its standard input or is stopped on the way out.
"""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import msgspec
from sqlalchemy.ext.asyncio import AsyncEngine

from consent import db
from consent.activation.running import bring_up
from consent.catalogue.load import load
from consent.decisions.bundle import Bundle, load_bundle
from consent.demo.sample import GRANTED_ITEMS, PRODUCT, PURPOSE, new_code, new_key, public_part
from consent.embedded import DatabaseUrls, EmbeddedPostgres
from consent.grants import service as grants
from consent.grants.details import parse_details
from consent.grants.model import Notice
from consent.ledger.writer import LedgerTransaction, write
from consent.migrations import migrate
from consent.parties import service as parties
from consent.parties.model import Institution, Product
from consent.serve import prepare_state
from consent.settings import Settings

HOST = "127.0.0.1"
ROOT = Path(__file__).parents[2]
CATALOGUE = load()
ITEMS = GRANTED_ITEMS
OPA = ROOT / ".tools/bin/opa"
START_SECONDS = 60
_NOTICE = "风险告知（测试）".encode()


class Bank(NamedTuple):
    """An institution with one client."""

    institution: str
    client: str
    key: dict[str, Any]


class Place(NamedTuple):
    """A migrated database with parties, and the settings of a service on it."""

    state: Path
    urls: DatabaseUrls
    issuer: str
    environment: dict[str, str]
    banks: list[Bank]
    enterprises: list[str]

    @property
    def port(self) -> int:
        """Where the service listens."""
        return int(self.issuer.rsplit(":", 1)[1])

    def engine(self) -> AsyncEngine:
        """The application's engine; the caller disposes of it."""
        return db.create_engine(self.urls.app_url)

    def postgres_pid(self) -> int:
        """The main process of the database."""
        return int((self.state / "postgresql/data/postmaster.pid").read_text().split()[0])


def free_port() -> int:
    """A port that is free now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


@contextmanager
def database() -> Iterator[tuple[Path, DatabaseUrls]]:
    """A state directory with a running PostgreSQL; both gone afterwards."""
    state = Path(tempfile.mkdtemp(prefix="consent-bench-"))
    state.chmod(0o711)
    try:
        with EmbeddedPostgres(state) as urls:
            yield state, urls
    finally:
        shutil.rmtree(state, ignore_errors=True)


async def furnish(state: Path, urls: DatabaseUrls, *, banks: int, enterprises: int) -> Place:
    """Migrate, begin the ledger, register the parties; every enterprise grants `ITEMS` to every bank, without a frequency."""
    await migrate(urls.owner_url)
    issuer = f"http://{HOST}:{free_port()}"
    unlimited = {"CONSENT_RATE_PER_ADDRESS": "0", "CONSENT_RATE_PER_CLIENT": "0", "CONSENT_TRUSTED_PROXIES": HOST}
    environment = prepare_state(state, issuer) | {"CONSENT_DATABASE_URL": urls.app_url} | unlimited
    place = Place(
        state=state,
        urls=urls,
        issuer=issuer,
        environment=environment,
        banks=[Bank(f"bench-bank-{n}", f"bench-bank-{n}-client", new_key()) for n in range(banks)],
        enterprises=[new_code() for _ in range(enterprises)],
    )
    settings = Settings(database_url=urls.app_url, issuer=issuer, ledger_key_file=Path(environment["CONSENT_LEDGER_KEY_FILE"])).checked()
    engine = place.engine()
    try:
        await bring_up(engine, settings)
        async with write(engine) as tx:
            await tx.put_blob("text/plain", _NOTICE)
            for bank in place.banks:
                await _register_bank(tx, bank)
        for enterprise in place.enterprises:
            async with write(engine) as tx:
                await grant(tx, enterprise, place.banks)
    finally:
        await engine.dispose()
    return place


async def _register_bank(tx: LedgerTransaction, bank: Bank) -> None:
    now = datetime.now(UTC)
    product = Product(code=PRODUCT, name_zh="税易贷（测试）", name_en="Tax loan (test)", purposes=(PURPOSE,))
    institution = Institution(
        id=bank.institution,
        kind="bank",
        uscc=new_code(),
        name_zh="测试银行",
        name_en=bank.institution,
        status="active",
        agreement="2026-01",
        assessed_from=now - timedelta(days=30),
        assessed_until=now + timedelta(days=700),
        purposes=(PURPOSE, "approval"),
        products=(product,),
    )
    await parties.register_institution(tx, institution, CATALOGUE)
    await parties.register_client(
        tx,
        client_id=bank.client,
        institution_id=bank.institution,
        name=bank.client,
        jwks=public_part(bank.key),
        redirect_uris=(f"http://{HOST}/callback",),
        scopes=("check", "grants"),
    )


async def grant(tx: LedgerTransaction, enterprise: str, banks: list[Bank]) -> None:
    """A new enterprise that grants `ITEMS` to these banks."""
    subject = await parties.register_subject(tx, kind="enterprise", uscc=enterprise, name="测试企业", level="real_name")
    until = (datetime.now(UTC) + timedelta(days=180)).strftime("%Y-%m-%dT00:00:00Z")
    wire = [
        {
            "type": "financing_data",
            "identifier": item,
            "actions": ["query"],
            "datatypes": [item],
            "fields": list(CATALOGUE.field_codes[item]),
            "purpose": PURPOSE,
            "product": PRODUCT,
            "necessity": "required",
            "valid_until": until,
        }
        for item in ITEMS
    ]
    details = parse_details(msgspec.json.encode(wire))
    for bank in banks:
        await grants.approve(
            tx,
            catalogue=CATALOGUE,
            request_id=None,
            institution_id=bank.institution,
            client_id=bank.client,
            subject_id=subject.id,
            enterprise_id=subject.id,
            by="enterprise",
            details=details,
            approved={detail.name for detail in details},
            notice=Notice(version="test-1", sha256=notice_sha256()),
        )


def question(bank: Bank, enterprise: str, request_id: str) -> bytes:
    """A check of three granted items, as the SDK would send it."""
    return msgspec.json.encode(
        {
            "subject": {"type": "institution", "id": bank.institution},
            "action": {"name": "query", "properties": {"purpose": PURPOSE, "product": PRODUCT}},
            "resource": {"type": "enterprise", "id": enterprise, "properties": {"items": list(ITEMS)}},
            "context": {"request_id": request_id},
        }
    )


def notice_sha256() -> bytes:
    """Digest of the risk notice that `furnish` published."""
    return sha256(_NOTICE).digest()


@contextmanager
def opa_server(state: Path, bundle: Bundle | None = None) -> Iterator[tuple[str, int]]:
    """URL and pid of an OPA server with `bundle`, or the tree's policies.

    Raises:
        FileNotFoundError: there is no OPA.
    """
    path = str(OPA) if OPA.exists() else shutil.which("opa")
    if path is None:
        raise FileNotFoundError("opa is not there; deploy/tools/build.sh .tools/bin")
    directory = Path(tempfile.mkdtemp(prefix="bundle-", dir=state))
    (bundle or load_bundle(CATALOGUE)).write(directory)
    port = free_port()
    command = [path, "run", "--server", "--addr", f"{HOST}:{port}", "--log-level", "error", "--skip-version-check"]
    command += ["--optimize-store-for-read-speed", "--bundle", str(directory)]
    # As deploy/opa/README.md says.
    process = subprocess.Popen(command, env={**os.environ, "GOGC": "400"}, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait(f"http://{HOST}:{port}/health?bundles", process)
        yield f"http://{HOST}:{port}", process.pid
    finally:
        stop(process)


@contextmanager
def service(place: Place, opa_url: str | None, module: str = "consent") -> Iterator[subprocess.Popen[bytes]]:
    """`consent serve`, ready; with the policies in-process where there is no OPA."""
    process = start_service(place, opa_url, module)
    try:
        wait(f"{place.issuer}/readyz", process)
        yield process
    finally:
        stop(process)


def start_service(place: Place, opa_url: str | None, module: str = "consent") -> subprocess.Popen[bytes]:
    """The same, perhaps not ready yet; in a process group of its own."""
    environment = {**os.environ, **place.environment, **({"CONSENT_OPA_URL": opa_url} if opa_url else {})}
    command = [sys.executable, "-m", module, "serve", "--host", HOST, "--port", str(place.port), "--until-stdin-closes"]
    with (place.state / "service.log").open("ab") as log:
        return subprocess.Popen(command, env=environment, cwd=ROOT, stdin=subprocess.PIPE, stdout=log, stderr=log, start_new_session=True)


@contextmanager
def echo_server() -> Iterator[tuple[int, int]]:
    """Port and pid of the baseline: a Litestar route that echoes JSON, on the same server with the same settings."""
    port = free_port()
    process = subprocess.Popen([sys.executable, "-m", "tests.bench.echo", str(port)], cwd=ROOT, stdin=subprocess.PIPE)
    try:
        wait(f"http://{HOST}:{port}/healthz", process)
        yield port, process.pid
    finally:
        stop(process)


def wait(url: str, process: subprocess.Popen[bytes]) -> None:
    """Until `url` answers 200.

    Raises:
        RuntimeError: the process ended, or it took too long.
    """
    deadline = time.monotonic() + START_SECONDS
    with httpx.Client(timeout=2, trust_env=False) as http:
        while process.poll() is None and time.monotonic() < deadline:
            try:
                if http.get(url).status_code == 200:
                    return
            except httpx.HTTPError:
                pass
            time.sleep(0.05)
    raise RuntimeError(f"{url} did not come up")


def stop(process: subprocess.Popen[bytes]) -> None:
    """Ask it to end, and make it end."""
    if process.stdin is not None:
        process.stdin.close()
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def cpu_seconds(roots: Mapping[str, int]) -> dict[str, float]:
    """CPU seconds that each process and its descendants have used until now."""
    parents: dict[int, int] = {}
    spent: dict[int, float] = {}
    tick = os.sysconf("SC_CLK_TCK")
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(") ")[2].split()
            except OSError:
                continue
            parents[int(entry.name)] = int(fields[1])
            spent[int(entry.name)] = sum(map(int, fields[11:15])) / tick
    totals = dict.fromkeys(roots, 0.0)
    for pid, seconds in spent.items():
        for name, root in roots.items():
            above = pid
            while above not in {0, 1, root}:
                above = parents.get(above, 0)
            if above == root:
                totals[name] += seconds
    return totals
