"""`consent demo`: brings up everything below one state directory, walks the tour, and keeps serving for a person.

The service itself runs as `consent serve` in a process of its own, as in production; the sample bank and platform run here. Whatever
was started is stopped on every way out.
"""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import msgspec
from granian.constants import Interfaces
from granian.server.embed import Server

from consent import db
from consent.activation.running import bring_up
from consent.catalogue.load import load
from consent.catalogue.model import Catalogue
from consent.demo.bank import Bank, bank_app
from consent.demo.platform import platform_app
from consent.demo.sample import PRODUCT, PURPOSE, AuditorAccess, DemoFile, create_parties, request_details
from consent.demo.tour import Tour
from consent.embedded import DatabaseUrls, EmbeddedPostgres
from consent.errors import ServiceError
from consent.ledger.service import create_auditor_token
from consent.ledger.setup import log_keys
from consent.migrations import migrate
from consent.serve import prepare_state
from consent.settings import Settings
from consent_sdk import AsyncConsentClient

HOST = "127.0.0.1"
_START_SECONDS = 60


class DemoError(ServiceError):
    """The demo cannot run here; the message says what to change."""

    code = "demo.failed"


def say(line: str) -> None:
    """One line for the person who runs the demo, at once."""
    print(line, flush=True)


async def run_demo(*, leave: bool, state_dir: Path | None, port: int) -> int:
    """Run it. Returns the exit code: 0 if every step of the tour held."""
    state = _state_directory(state_dir)
    async with AsyncExitStack() as stack:
        say("启动 PostgreSQL…  starting PostgreSQL")
        urls = stack.enter_context(EmbeddedPostgres(state))
        await migrate(urls.owner_url)
        catalogue = load()
        facts, environment = await _facts(state, urls, catalogue, port)
        service = stack.enter_context(_service(state, environment, facts.issuer))
        await _until_ready(facts.issuer, service)
        await stack.enter_async_context(_samples(facts, catalogue))
        say(f"服务已就绪  serving {facts.issuer}\n")
        held = await asyncio.to_thread(_walk, facts, environment)
        say("" if held else "\n有一步未成立。  A step did not hold.")
        if leave or not held:
            return 0 if held else 1
        _invite(facts, state)
        await _until_stopped()
    return 0


def _state_directory(wanted: Path | None) -> Path:
    """The state directory, made if absent.

    Raises:
        DemoError: it cannot be made or used.
    """
    try:
        state = wanted or Path(tempfile.mkdtemp(prefix="consent-demo-"))
        state.mkdir(parents=True, exist_ok=True, mode=0o711)
        if wanted is None:
            state.chmod(0o711)
    except OSError as error:
        raise DemoError(
            "无法建立状态目录，请用 --state-dir 另选一个。",
            f"The state directory cannot be made ({error.strerror}); choose another with --state-dir.",
        ) from None
    if not os.access(state, os.R_OK | os.W_OK | os.X_OK):
        raise DemoError(
            "状态目录不可写，请用 --state-dir 另选一个。", "The state directory cannot be written; choose another with --state-dir."
        )
    return state


async def _facts(state: Path, urls: DatabaseUrls, catalogue: Catalogue, port: int) -> tuple[DemoFile, dict[str, str]]:
    """demo.json: read again where it stands (with this start's database address), made with new parties where not."""
    file = state / "demo.json"
    if file.exists():
        facts = msgspec.structs.replace(msgspec.json.decode(file.read_bytes(), type=DemoFile), database_owner_url=urls.owner_url)
        for url in (facts.issuer, facts.bank.redirect_uri, facts.platform_url):
            _port(urlsplit(url).port or 0)
        environment = prepare_state(state, facts.issuer) | {"CONSENT_DATABASE_URL": urls.app_url}
    else:
        if (state / "ledger.key").exists():
            raise DemoError(
                "上次首次启动未完成，请删除此状态目录，或用 --state-dir 另选一个。",
                "The first start in this state directory was interrupted; delete the directory, or choose another with --state-dir.",
            )
        issuer = f"http://{HOST}:{_port(port)}"
        environment = prepare_state(state, issuer) | {"CONSENT_DATABASE_URL": urls.app_url}
        facts = await _new_facts(environment, urls, catalogue, issuer)
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as out:
        out.write(msgspec.json.format(msgspec.json.encode(facts), indent=2))
    return facts, environment


async def _new_facts(environment: dict[str, str], urls: DatabaseUrls, catalogue: Catalogue, issuer: str) -> DemoFile:
    settings = Settings(
        database_url=urls.app_url,
        issuer=issuer,
        ledger_key_file=Path(environment["CONSENT_LEDGER_KEY_FILE"]),
        policy_keys_file=Path(environment["CONSENT_POLICY_KEYS_FILE"]),
        policy_bundle=Path(environment["CONSENT_POLICY_BUNDLE"]),
    ).checked()
    engine = db.create_engine(urls.app_url)
    try:
        await bring_up(engine, settings)
        auditor = AuditorAccess(
            ledger_url=f"{issuer}/ledger",
            vkey=log_keys(settings)[0].vkey,
            token=await create_auditor_token(engine, "demo auditor", 365),
        )
        return await create_parties(
            engine,
            catalogue,
            issuer=issuer,
            bank_url=f"http://{HOST}:{_port(0)}",
            platform_url=f"http://{HOST}:{_port(0)}",
            auditor=auditor,
            owner_url=urls.owner_url,
        )
    finally:
        await engine.dispose()


def _port(wanted: int) -> int:
    """A port that is free now.

    Raises:
        DemoError: the wanted one is taken.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, wanted))
        except OSError:
            raise DemoError(
                f"端口 {wanted} 已被占用。新的状态目录可用 --port 指定其他端口；已用过的状态目录沿用原来的端口。",
                f"Port {wanted} is taken; choose another with --port (0 picks a free one). A state directory keeps its first ports.",
            ) from None
        return int(probe.getsockname()[1])


@contextmanager
def _service(state: Path, environment: dict[str, str], issuer: str) -> Iterator[subprocess.Popen[bytes]]:
    """`consent serve` in a process of its own; its log lies in the state directory."""
    port = issuer.rsplit(":", 1)[1]
    command = [sys.executable, "-m", "consent", "serve", "--host", HOST, "--port", port]
    with (state / "service.log").open("ab") as log:
        # Its input is a pipe of ours that closes when we end, however we end: the service stops then too. In a session of its own it hears
        # of Ctrl-C from us alone; Granian, interrupted while it starts, leaves workers behind that keep the port.
        process = subprocess.Popen(
            [*command, "--until-stdin-closes"],
            env={**os.environ, **environment},
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            yield process
        finally:
            _end(process)


def _end(process: subprocess.Popen[bytes], seconds: float = 15) -> None:
    """Ask a leader of a session to end, and end whatever is left of its group then."""
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(seconds)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    if process.stdin is not None:
        process.stdin.close()


async def _until_ready(issuer: str, service: subprocess.Popen[bytes]) -> None:
    async with httpx.AsyncClient(timeout=2) as http:
        for _ in range(_START_SECONDS * 5):
            if service.poll() is not None:
                break
            try:
                if (await http.get(f"{issuer}/readyz")).status_code == 200:
                    return
            except httpx.HTTPError:
                pass
            await asyncio.sleep(0.2)
    raise DemoError(
        "服务未能就绪，详见状态目录中的 service.log。", "The service did not become ready; see service.log in the state directory."
    )


@asynccontextmanager
async def _samples(facts: DemoFile, catalogue: Catalogue) -> AsyncIterator[None]:
    """The sample bank and the sample platform, in this process."""
    bank, platform = facts.bank, facts.platform
    labels = {code: item.name.zh for code, item in catalogue.items.items()} | {
        code: field.label.zh for code, field in catalogue.fields.items()
    }
    bank_page = Bank(
        client=AsyncConsentClient(
            facts.issuer, bank.client_id, bank.private_jwk, institution_id=bank.institution_id, redirect_uri=bank.redirect_uri
        ),
        name="示例市远山银行",
        institution_id=bank.institution_id,
        enterprise=facts.enterprise.id,
        purpose=PURPOSE,
        product=PRODUCT,
        details=request_details(),
        platform_url=facts.platform_url,
        labels=labels,
    )
    platform_client = AsyncConsentClient(facts.issuer, platform.client_id, platform.private_jwk, institution_id=platform.institution_id)
    apps: list[tuple[Any, str]] = [
        (bank_app(bank_page), bank.redirect_uri.rsplit("/", 1)[0]),
        (platform_app(platform_client), facts.platform_url),
    ]
    servers = [
        Server(app, address=HOST, port=int(url.rsplit(":", 1)[1]), interface=Interfaces.ASGI, websockets=False, log_enabled=False)
        for app, url in apps
    ]
    tasks = [asyncio.create_task(server.serve()) for server in servers]
    try:
        yield
    finally:
        for server in servers:
            server.stop()  # type: ignore[no-untyped-call]
        await asyncio.gather(*tasks, return_exceptions=True)


def _walk(facts: DemoFile, environment: dict[str, str]) -> bool:
    def export(file: Path) -> None:
        command = [sys.executable, "-m", "consent", "ledger", "export", str(file)]
        subprocess.run(command, env={**os.environ, **environment}, check=True, capture_output=True, timeout=60)

    tour = Tour(facts, facts.platform_url, say, export)
    try:
        return tour.walk()
    finally:
        tour.close()


def _invite(facts: DemoFile, state: Path) -> None:
    bank_url = facts.bank.redirect_uri.rsplit("/", 1)[0]
    say("接下来请在浏览器里试一试  Now try it in a browser")
    say(f"  示例银行 sample bank     {bank_url}")
    say(f"  企业登录 enterprise      {facts.issuer}/login   {facts.enterprise.username} / {facts.enterprise.password}")
    say(f"  监管报表 regulator       {facts.issuer}/reports/accesses   {facts.regulator.username} / {facts.regulator.password}")
    auditor = facts.auditor
    say(f"  审计核验 auditor         consent-audit verify {auditor.ledger_url} --key {auditor.vkey} --token {auditor.token}")
    say(f"  全部凭证 credentials     {state / 'demo.json'}")
    say("按 Ctrl-C 结束  Ctrl-C ends it")


async def _until_stopped() -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    await stopped.wait()
