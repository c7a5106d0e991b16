"""Mutual TLS behind a real nginx with the configuration that we ship: the certificate of the handshake, and nothing else, counts."""

import contextlib
import os
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from certificates_world import certificate_files
from service_world import HOST, Service, cloned_database, run, running_service

from consent import db
from consent.ledger.writer import write
from consent.parties import service as parties

SHIPPED = Path(__file__).parents[2] / "deploy/nginx"
MODULE = Path("/usr/lib/nginx/modules/ngx_http_js_module.so")
NGINX = shutil.which("nginx") or "/usr/sbin/nginx"
FORM = {"client_id": "tls-client", "grant_type": "client_credentials", "scope": "grants"}

pytestmark = pytest.mark.xdist_group("nginx")


@pytest.fixture(scope="module")
def service(server_urls: tuple[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The application, which trusts the proxy on this machine."""
    if not (Path(NGINX).exists() and MODULE.exists()):
        assert os.environ.get("CI") != "true", "nginx and its module for JavaScript are not installed"
        pytest.skip("nginx and its module for JavaScript are not installed; run make tools")
    folder, extra = tmp_path_factory.mktemp("service"), {"CONSENT_TRUSTED_PROXIES": HOST}
    with cloned_database(*server_urls) as (owner_url, app_url), running_service(app_url, owner_url, folder, extra) as made:
        yield made


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Certificates: of the server, of the client, of somebody else."""
    made = tmp_path_factory.mktemp("nginx")
    for name in ("server", "client", "other"):
        certificate_files(made, name, HOST)
    return made


@pytest.fixture(scope="module")
def nginx(service: Service, folder: Path) -> Iterator[str]:
    """nginx with the shipped configuration, but for addresses. Its URL."""
    with socket.socket() as found:
        found.bind((HOST, 0))
        port = int(found.getsockname()[1])
    shipped = (SHIPPED / "consent.conf").read_text().replace("listen 443 ssl", f"listen {HOST}:{port} ssl")
    shipped = shipped.replace("server 127.0.0.1:8000", f"server {service.issuer.removeprefix('http://')}")
    (folder / "consent.js").write_text((SHIPPED / "consent.js").read_text())
    (folder / "nginx.conf").write_text(
        f"load_module {MODULE};\nuser root;\nworker_processes 1;\npid nginx.pid;\nerror_log error.log;\nevents {{}}\n"
        "http {\n  access_log off;\n  client_body_temp_path body;\n  proxy_temp_path proxy;\n  fastcgi_temp_path fastcgi;\n"
        f"  uwsgi_temp_path uwsgi;\n  scgi_temp_path scgi;\n{shipped}}}\n"
    )
    process = subprocess.Popen([NGINX, "-p", str(folder), "-c", "nginx.conf", "-e", "error.log", "-g", "daemon off;"])
    try:
        for _ in range(100):
            with contextlib.suppress(OSError), socket.create_connection((HOST, port), 1):
                break
            assert process.poll() is None, (folder / "error.log").read_text()
            time.sleep(0.1)
        yield f"https://{HOST}:{port}"
    finally:
        process.terminate()
        process.wait(10)


@pytest.fixture(scope="module", autouse=True)
def registered(service: Service, folder: Path) -> None:
    """A client of the sample bank by the certificate."""

    async def register() -> None:
        engine = db.create_engine(service.app_url)
        try:
            async with write(engine) as tx:
                pem = (folder / "client.crt").read_text()
                await parties.register_client(
                    tx, client_id="tls-client", institution_id=service.facts.bank.institution_id, name="前置机",
                    certificates=[pem], scopes=["grants"],
                )  # fmt: skip
        finally:
            await engine.dispose()

    run(register())


def connect(nginx: str, folder: Path, name: str | None) -> httpx.Client:
    """A client that shows this certificate."""
    context = ssl.create_default_context(cafile=str(folder / "server.crt"))
    if name is not None:
        context.load_cert_chain(folder / f"{name}.crt", folder / f"{name}.key")
    return httpx.Client(base_url=nginx, verify=context)


def test_token_and_call(nginx: str, folder: Path) -> None:
    """Authenticated and bound by the certificate of the handshake."""
    with connect(nginx, folder, "client") as client:
        body: dict[str, Any] = client.post("/oauth/token", data=FORM).json()
        assert body["token_type"] == "Bearer", body
        bearer = {"authorization": f"Bearer {body['access_token']}"}
        assert client.get("/grants", headers=bearer).status_code == 200
    for name in ("other", None):
        with connect(nginx, folder, name) as thief:
            assert thief.get("/grants", headers=bearer).status_code == 401
            assert thief.post("/oauth/token", data=FORM).status_code == 401


def test_a_written_header_counts_for_nothing(nginx: str, folder: Path) -> None:
    """Whoever writes Client-Cert before the proxy has only written it; and an address, too."""
    pem = (folder / "client.crt").read_text()
    written = ":" + "".join(pem.split("\n")[1:-2]) + ":"
    for name in ("other", None):
        with connect(nginx, folder, name) as thief:
            for header in ("client-cert", "Client-Cert", "CLIENT-CERT"):
                headers = {header: written, "x-forwarded-for": "203.0.113.9"}
                assert thief.post("/oauth/token", data=FORM, headers=headers).status_code == 401
