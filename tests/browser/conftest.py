"""A real browser before the real service: the application on its server, Chromium at phone width, a bank's page on another origin."""

import asyncio
import os
import shutil
import socket
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from browser_world import PHONE, Service
from playwright.async_api import Browser, BrowserContext, Page, async_playwright
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from web_world import make_world

from consent.ledger.keys import generate_key

CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture
def chromium() -> str:
    """The browser's path; without it nothing is tested here, which CI does not accept."""
    path = shutil.which("chromium") or CHROMIUM
    if not Path(path).exists():
        if os.environ.get("CI") == "true":
            pytest.fail("Chromium is missing: the pages were not tried in a browser")
        pytest.skip("Chromium is missing: the pages were not tried in a browser")
    return path


@pytest.fixture
def port() -> int:
    """Where the service listens."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@pytest.fixture
def origin(port: int) -> str:
    """The ledger's origin belongs to the service's address."""
    return f"127.0.0.1:{port}/ledger"


class _BankPage(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = b"<!doctype html><title>bank</title><p>bank"
        self.send_response(200)
        self.send_header("content-type", "text/html")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class names it so
        """Say nothing."""


@pytest.fixture
def bank_url() -> Iterator[str]:
    """The bank's redirect address, on an origin of its own."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _BankPage)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/cb"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
async def service(engine: AsyncEngine, database: Any, port: int, bank_url: str, tmp_path: Path, origin: str) -> AsyncIterator[Service]:
    """The application in a process of its own, with parties whose bank answers at `bank_url`."""
    world = await make_world(engine)
    world.redirect = bank_url
    async with engine.begin() as connection:
        await connection.execute(text("update client set redirect_uris = array[:url] where id = 'bank-a-client'"), {"url": bank_url})
    for username in ("zhou.min", "shi.li"):
        await world.account(username)
    vkey = generate_key(tmp_path / "ledger.key", origin)
    url = f"http://127.0.0.1:{port}"
    environment = os.environ | {
        "CONSENT_DATABASE_URL": database.app_url,
        "CONSENT_ISSUER": url,
        "CONSENT_LEDGER_KEY_FILE": str(tmp_path / "ledger.key"),
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-W", "ignore", "-c", f"from consent.serve import serve_http; serve_http('127.0.0.1', {port}, 1)", env=environment
    )
    try:
        await _ready(url, process)
        yield Service(url, world, vkey)
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def _ready(url: str, process: asyncio.subprocess.Process) -> None:
    async with httpx.AsyncClient() as client:
        for _ in range(300):
            assert process.returncode is None, "the service ended"
            try:
                if (await client.get(f"{url}/healthz")).status_code == 200:
                    return
            except httpx.TransportError:
                pass
            await asyncio.sleep(0.1)
    raise AssertionError("the service did not answer within thirty seconds")


@pytest.fixture
async def browser(chromium: str) -> AsyncIterator[Browser]:
    """Chromium."""
    async with async_playwright() as playwright:
        launched = await playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        yield launched
        await launched.close()


@pytest.fixture
async def phone(browser: Browser, service: Service) -> AsyncIterator[Page]:
    """A page at the width of a phone, without JavaScript: nothing here may need it. What the browser complains of fails the test."""
    context: BrowserContext = await browser.new_context(viewport=PHONE, base_url=service.url, java_script_enabled=False, locale="zh-CN")
    page = await context.new_page()
    complaints: list[str] = []
    page.on(
        "console",
        lambda message: complaints.append(message.text) if message.type == "error" and "status of 4" not in message.text else None,
    )
    yield page
    await context.close()
    assert complaints == []
