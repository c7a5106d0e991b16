"""The policies in both engines: rego-cpp in this process, OPA as a server on a free port."""

import os
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from consent.catalogue.load import load
from consent.decisions.bundle import Bundle, load_bundle
from consent.decisions.engine import RegopyEngine

ROOT = Path(__file__).parents[2]


def tool(name: str) -> str:
    """The path of a program from deploy/tools; where there is none the test is skipped, and under CI=true it fails."""
    built = ROOT / ".tools" / "bin" / name
    path = str(built) if built.exists() else shutil.which(name)
    if path is not None:
        return path
    reason = f"{name} is not there (deploy/tools/build.sh .tools/bin); not tested: policies in {name}"
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def bundle() -> Bundle:
    """The policies of the tree with the catalogue of the tree."""
    return load_bundle(load())


@pytest.fixture(scope="session")
def compiled(bundle: Bundle) -> Iterator[RegopyEngine]:
    """One in-process engine for all tests: compiling takes longer than a decision."""
    engine = RegopyEngine(bundle, threads=1)
    yield engine
    engine.shutdown()


@pytest.fixture
def regopy(compiled: RegopyEngine) -> RegopyEngine:
    """The in-process engine."""
    return compiled


@pytest.fixture(scope="session")
def opa() -> str:
    """The path of OPA."""
    return tool("opa")


@pytest.fixture(scope="session")
def opa_server(opa: str, bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The base URL of an OPA server that serves `bundle`; stopped at the end."""
    directory = tmp_path_factory.mktemp("bundle")
    bundle.write(directory)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [
        opa,
        "run",
        "--server",
        "--addr",
        f"127.0.0.1:{port}",
        "--log-level",
        "error",
        "--skip-version-check",
        "--bundle",
        str(directory),
    ]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    try:
        _wait(url, process)
        yield url
    finally:
        process.terminate()
        process.wait(timeout=10)


def _wait(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(f"{url}/health?bundles", timeout=1):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.05)
    pytest.fail("OPA did not come up with the bundle")
