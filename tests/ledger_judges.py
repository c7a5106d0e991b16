"""Programs that others wrote, over our ledgers (deploy/tools/judges/README.md). Each returns if it is content, else raises Refused."""

import os
import re
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from consent_audit.encoding import parse_base64

ROOT = Path(__file__).parents[1]
HOST = "127.0.0.1"
_ACCEPTED = re.compile(r"Successfully fsck'd log with size (\d+) and root (\S+) \(")


class Refused(Exception):
    """What the judge said against it."""


class Tree(NamedTuple):
    """What fsck found a ledger to be."""

    size: int
    root: bytes


class Witness(NamedTuple):
    """A running litewitness."""

    url: str
    vkey: str


def program(name: str) -> str:
    """The path of a program from deploy/tools, and of no other: a system's `fsck` checks disks. Where there is none the test is skipped,
    and under CI=true it fails."""
    built = ROOT / ".tools/bin" / name
    if built.exists():
        return str(built)
    reason = f"{name} is not there (deploy/tools/build.sh .tools/bin); not tested: the ledger by {name}"
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


def fsck(source: Path | str, vkey: str, directory: Path, *, token: str = "", seconds: float = 60) -> Tree:
    """Tessera's fsck over a published directory or a URL ending in a slash; `directory` is for its key file.

    This version of fsck exits 0 whatever it found, so only its own words count. It may also hang once all its workers have met an error.

    Raises:
        Refused: it did not say that it checked everything.
    """
    key_file = directory / "fsck.vkey"
    key_file.write_text(vkey)
    url = source if isinstance(source, str) else f"file://{source}"
    command = [program("fsck"), "--ui=false", "-N=4", f"--storage_url={url}", f"--public_key={key_file}", f"--bearer_token={token}"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False)
    except subprocess.TimeoutExpired as late:
        raise Refused(f"no verdict in {seconds} s: {late.stderr!r}") from None
    found = _ACCEPTED.search(done.stderr)
    if done.returncode != 0 or found is None or "fsck failed" in done.stderr:
        raise Refused(done.stderr)
    return Tree(int(found[1]), parse_base64(found[2]))


def ledgerjudge(*arguments: str | Path) -> None:
    """Our page of Go on golang.org/x/mod/sumdb; its commands are `inclusion`, `quorum`, `growth` and `trust`.

    Raises:
        Refused: with its one line.
    """
    done = subprocess.run([program("ledgerjudge"), *map(str, arguments)], capture_output=True, text=True, timeout=60, check=False)
    if done.returncode == 2:
        raise AssertionError(done.stderr)
    if done.returncode != 0:
        raise Refused(done.stderr.strip())


@contextmanager
def litewitness(directory: Path, name: str, *logs: str) -> Iterator[Witness]:
    """A litewitness with a key of its own and its state below `directory`, which cosigns the logs of these vkeys."""
    agent = subprocess.Popen(
        [program("ledgerjudge"), "agent", "agent.sock"], cwd=directory, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert agent.stdin is not None
    assert agent.stdout is not None
    witness = None
    try:
        fingerprint = agent.stdout.readline().strip()
        with socket.socket() as probe:
            probe.bind((HOST, 0))
            address = f"{HOST}:{probe.getsockname()[1]}"
        command = [program("litewitness"), "-name", name, "-db", "witness.db", "-ssh-agent", "agent.sock", "-listen", address]
        with (directory / "litewitness.log").open("w") as log:
            witness = subprocess.Popen([*command, "-key", fingerprint], cwd=directory, stdout=log, stderr=log)
        vkey = _started(directory / "litewitness.log", witness, address)
        for log_vkey in logs:
            ledgerjudge("trust", directory / "witness.db", log_vkey)
        yield Witness(f"http://{address}", vkey)
    finally:
        if witness is not None:
            witness.kill()
            witness.wait()
        agent.stdin.close()
        agent.stdout.close()
        agent.wait(10)


def _started(log: Path, process: subprocess.Popen[bytes], address: str) -> str:
    """Its vkey, once it listens."""
    host, port = address.split(":")
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and process.poll() is None:
        found = re.search(r"vkey=(\S+)", log.read_text())
        if found:
            with socket.socket() as probe:
                if probe.connect_ex((host, int(port))) == 0:
                    return found[1].strip('"')
        time.sleep(0.02)
    raise AssertionError(f"litewitness did not start: {log.read_text()}")
