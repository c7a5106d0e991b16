"""The whole application on its server, as `consent serve` runs it, behind a front door of plain TCP that can cut an answer off."""

import asyncio
import json
import os
import secrets
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Coroutine, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx
from clones import create_clone, drop_clone
from sqlalchemy import text

from consent import db
from consent.activation.running import bring_up
from consent.catalogue.load import load
from consent.demo import sample
from consent.demo.browser import Browser
from consent.embedded import DATABASE
from consent.ledger.keys import generate_key
from consent.ledger.writer import write
from consent.parties import accounts
from consent.parties import service as parties
from consent.settings import Settings

T = TypeVar("T")
HOST = "127.0.0.1"


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run `coroutine` in a loop and thread of its own."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, coroutine).result()


class FrontDoor:
    """A TCP proxy: the address that clients know. `cut(b"POST /x")` lets the next such request through and loses its answer."""

    def __init__(self, target: tuple[str, int]) -> None:
        self._target = target
        self._listener = socket.create_server((HOST, 0))
        self.port = self._listener.getsockname()[1]
        self._cut: bytes | None = None
        self.lost = 0
        self._sockets: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def cut(self, request: bytes) -> None:
        """Lose the answer to the next request that begins like this."""
        self._cut = request

    def close(self) -> None:
        """Close every connection and wait for the threads."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for one in self._sockets:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(5)
        for one in self._sockets:
            one.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            try:
                far = socket.create_connection(self._target)
            except OSError:
                near.close()
                continue
            self._sockets += [near, far]
            doomed = threading.Event()
            for args in ((near, far, doomed, True), (far, near, doomed, False)):
                thread = threading.Thread(target=self._pump, args=args, daemon=True)
                self._threads.append(thread)
                thread.start()

    def _pump(self, source: socket.socket, sink: socket.socket, doomed: threading.Event, inward: bool) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                if inward and self._cut is not None and data.startswith(self._cut):
                    self._cut = None
                    doomed.set()
                if not inward and doomed.is_set():
                    self.lost += 1
                    break
                sink.sendall(data)
        for one in (source, sink):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)


@dataclass
class Service:
    """A running service with the sample parties, and its database for what only a look inside can tell."""

    facts: sample.DemoFile
    front: FrontDoor
    app_url: str
    log: Path
    _people: int = field(default=0)

    @property
    def issuer(self) -> str:
        """Where clients find it."""
        return self.facts.issuer

    def enterprise(self) -> sample.Enterprise:
        """Another enterprise with a clerk of its own, so that tests do not see each other's grants."""
        self._people += 1
        name = f"clerk-{self._people}"

        async def register() -> sample.Enterprise:
            code = sample.new_code()
            engine = db.create_engine(self.app_url)
            try:
                async with write(engine) as tx:
                    subject = await parties.register_subject(tx, kind="enterprise", uscc=code, name="示例市测试有限公司", level="real_name")
                password = secrets.token_urlsafe(15)
                await accounts.create_account(engine, username=name, password=password, display_name="示例", subject_id=subject.id)
            finally:
                await engine.dispose()
            return sample.Enterprise(id=code, name="示例市测试有限公司", username=name, password=password)

        return run(register())

    def client_with(self, jwk: dict[str, Any]) -> str:
        """Another client of the sample bank, with this key. Returns its client_id."""
        self._people += 1
        client_id = f"extra-client-{self._people}"

        async def register() -> None:
            engine = db.create_engine(self.app_url)
            private = {"d", "p", "q", "dp", "dq", "qi"}
            try:
                async with write(engine) as tx:
                    await parties.register_client(
                        tx,
                        client_id=client_id,
                        institution_id=self.facts.bank.institution_id,
                        name="示例系统",
                        jwks={"keys": [{name: value for name, value in jwk.items() if name not in private}]},
                        redirect_uris=(),
                        scopes=("check",),
                    )
            finally:
                await engine.dispose()

        run(register())
        return client_id

    def records(self, kind: str) -> list[dict[str, Any]]:
        """The data of all ledger records of a type, each with its index, oldest first."""

        async def query() -> list[dict[str, Any]]:
            engine = db.create_engine(self.app_url)
            try:
                async with db.read(engine) as connection:
                    rows = list(await connection.execute(text("select idx, bytes from ledger_record order by idx")))
            finally:
                await engine.dispose()
            found = [(row.idx, json.loads(row.bytes)) for row in rows]
            return [{"index": index, **record["data"]} for index, record in found if record["type"] == kind]

        return run(query())

    def execute(self, statement: str, **parameters: Any) -> None:
        """A change behind the service's back, for what only time would do."""

        async def change() -> None:
            engine = db.create_engine(self.app_url)
            try:
                async with engine.begin() as connection:
                    await connection.execute(text(statement), parameters)
            finally:
                await engine.dispose()

        run(change())


@contextmanager
def cloned_database(owner_url: str, app_url: str) -> Iterator[tuple[str, str]]:
    """A fresh migrated database that lives longer than one test: its URLs as owner and as application."""
    name = f"t_{secrets.token_hex(8)}"

    run(create_clone(owner_url, name))
    try:
        yield owner_url.replace(f"/{DATABASE}?", f"/{name}?"), app_url.replace(f"/{DATABASE}?", f"/{name}?")
    finally:
        run(drop_clone(owner_url, name))


@contextmanager
def running_service(app_url: str, owner_url: str, folder: Path, extra: Mapping[str, str] | None = None) -> Iterator[Service]:
    """Bring up the sample parties and `consent serve` on an empty database; ends with the caller, however that ends."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        target = (HOST, int(probe.getsockname()[1]))
    front = FrontDoor(target)
    issuer = f"http://{HOST}:{front.port}"
    key, log = folder / "ledger.key", folder / "service.log"
    vkey = generate_key(key, f"{HOST}:{front.port}/ledger")
    facts = run(_parties(Settings(database_url=app_url, issuer=issuer, ledger_key_file=key).checked(), owner_url, vkey))
    environment = {"CONSENT_DATABASE_URL": app_url, "CONSENT_ISSUER": issuer, "CONSENT_LEDGER_KEY_FILE": str(key)} | dict(extra or {})
    command = [sys.executable, "-m", "consent", "serve", "--host", HOST, "--port", str(target[1]), "--until-stdin-closes"]
    with log.open("ab") as out:
        process = subprocess.Popen(command, env={**os.environ, **environment}, stdin=subprocess.PIPE, stdout=out, stderr=out)
    assert process.stdin is not None
    try:
        _wait_until_ready(f"http://{HOST}:{target[1]}", process, log)
        yield Service(facts, front, app_url, log)
    finally:
        process.stdin.close()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        front.close()


async def _parties(settings: Settings, owner_url: str, vkey: str) -> sample.DemoFile:
    engine = db.create_engine(settings.database_url)
    try:
        await bring_up(engine, settings)
        return await sample.create_parties(
            engine,
            load(),
            issuer=settings.issuer,
            bank_url="http://127.0.0.1:9",
            platform_url="http://127.0.0.1:9",
            auditor=sample.AuditorAccess(ledger_url="", vkey=vkey, token=""),
            owner_url=owner_url,
        )
    finally:
        await engine.dispose()


def _wait_until_ready(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(httpx.HTTPError):
            if httpx.get(f"{url}/readyz", timeout=2).status_code == 200:
                return
        time.sleep(0.1)
    raise AssertionError(f"the service did not become ready: {log.read_text()[-2000:]}")


def answer_page(service: Service, url: str, enterprise: sample.Enterprise, *leave_out: int, decision: str = "approve") -> str:
    """The enterprise logs in, ticks all items but those left out by their place, and decides. Returns where she is sent."""
    with Browser(service.issuer) as browser:
        browser.open(url).submit(action="/login", fill={"username": enterprise.username, "password": enterprise.password})
        assert browser.status == 200, browser.text
        boxes = browser.boxes()
        items = [box for box in boxes if box[0] == "item"]
        ticks = [box for box in boxes if box[0] == "acknowledged"] + [box for n, box in enumerate(items) if n not in leave_out]
        browser.submit(("decision", decision), tick=ticks if decision == "approve" else ())
        assert browser.left_to is not None, browser.text
        return browser.left_to
