"""The demo as a new user runs it, and what an outsider sees when its database is tampered with."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
from ledger_judges import Refused, fsck, ledgerjudge

from consent_audit.tiles import bundle_decode

CONSENT = [sys.executable, "-c", "from consent.cli import main; main()"]
STEPS = 13

pytestmark = pytest.mark.xdist_group("demo")


def test_exit_zero_when_every_step_held(demo_root: Path) -> None:
    """`consent demo --exit` walks the tour, prints each step and ends with 0, leaving no process behind."""
    state = demo_root / "one"
    done = subprocess.run(
        [*CONSENT, "demo", "--exit", "--port", "0", "--state-dir", str(state)], capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(re.findall(r"^✓ ", done.stdout, re.MULTILINE)) == STEPS
    assert "✗" not in done.stdout
    left = subprocess.run(["pgrep", "-f", str(state)], capture_output=True, text=True, check=False).stdout.split()
    assert left == []


@pytest.fixture
def demo_root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder whose parents the embedded server's user may walk, as the system's temporary directory is."""
    import shutil
    import tempfile

    folder = Path(tempfile.mkdtemp(prefix="consent-test-"))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def running_demo(demo_root: Path) -> Iterator[dict[str, Any]]:
    """A demo that walked its tour and keeps serving; the contents of its demo.json."""
    state = demo_root / "two"
    log = (demo_root / "log").open("w")
    process = subprocess.Popen([*CONSENT, "demo", "--port", "0", "--state-dir", str(state)], stdout=log, stderr=log, text=True)
    try:
        deadline = time.monotonic() + 240
        while "Ctrl-C" not in (demo_root / "log").read_text():
            assert process.poll() is None, (demo_root / "log").read_text()
            assert time.monotonic() < deadline, (demo_root / "log").read_text()
            time.sleep(0.3)
        yield json.loads((state / "demo.json").read_text())
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(60)
        log.close()


async def test_one_changed_byte_is_found_and_named(running_demo: dict[str, Any], tmp_path: Path) -> None:
    """One byte of one record changed by the database's owner: the running demo verifies before, and is refuted after, naming the record."""
    auditor = running_demo["auditor"]
    command = [
        sys.executable,
        "-m",
        "consent_audit",
        "verify",
        auditor["ledger_url"],
        "--key",
        auditor["vkey"],
        "--token",
        auditor["token"],
    ]
    environment = {**os.environ, "XDG_STATE_HOME": str(tmp_path)}
    before = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert before.returncode == 0, before.stdout + before.stderr
    owner = await asyncpg.connect(running_demo["database_owner_url"].replace("postgresql+asyncpg://", "postgresql://"))
    try:
        with pytest.raises(asyncpg.PostgresError):
            await owner.execute("update ledger_record set bytes = set_byte(bytes, 60, 120) where idx = 7")
        await owner.execute("alter table ledger_record disable trigger all")
        await owner.execute("update ledger_record set bytes = set_byte(bytes, 60, get_byte(bytes, 60) # 1) where idx = 7")
    finally:
        await owner.close()
    after = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert after.returncode == 1, after.stdout + after.stderr
    assert re.search(r"\b7\b", after.stdout + after.stderr)


@pytest.mark.golang
def test_programs_of_others_accept_the_demos_ledger(running_demo: dict[str, Any], tmp_path: Path) -> None:
    """Tessera's fsck reads the whole ledger over HTTP; Go's own library accepts the proof of every record, and of no other."""
    auditor = running_demo["auditor"]
    url = auditor["ledger_url"].rstrip("/")
    tree = fsck(f"{url}/", auditor["vkey"], tmp_path, token=auditor["token"])
    with pytest.raises(Refused, match="401"):
        fsck(f"{url}/", auditor["vkey"], tmp_path, token="cat_wrong")
    with httpx.Client(headers={"Authorization": f"Bearer {auditor['token']}"}, trust_env=False) as http:
        assert tree.size == int(http.get(f"{url}/checkpoint").text.split("\n")[1]) > 20
        bundle = http.get(f"{url}/tile/entries/000.p/{tree.size}").content
        for index, record in enumerate(bundle_decode(bundle, tree.size)):
            (tmp_path / "record").write_bytes(record)
            (tmp_path / "proof").write_text(http.get(f"{url}/proof/{index}").text)
            ledgerjudge("inclusion", auditor["vkey"], tmp_path / "proof", tmp_path / "record")
    (tmp_path / "record").write_bytes(record[:-1])
    with pytest.raises(Refused, match="inclusion"):
        ledgerjudge("inclusion", auditor["vkey"], tmp_path / "proof", tmp_path / "record")


def test_an_interrupted_start_leaves_no_process(demo_root: Path) -> None:
    """Ctrl-C reaches everybody in the terminal. While the service was starting, that left a worker of it behind, which kept the port."""
    state = demo_root / "three"
    command = [*CONSENT, "demo", "--port", "0", "--state-dir", str(state)]
    process = subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        # As in a terminal: a shell starts what it puts into the background with this signal ignored, and children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 - nothing else runs in this process yet
    )
    deadline = time.monotonic() + 120
    while not pids("until-stdin-closes", port := port_of(state)):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    time.sleep(0.5)
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(60) != 0
    assert pids("until-stdin-closes", port) == []


def port_of(state: Path) -> str:
    file = state / "demo.json"
    return str(json.loads(file.read_text())["issuer"]).rsplit(":", 1)[1] if file.exists() and file.stat().st_size else "none yet"


def pids(*words: str) -> list[str]:
    shown = subprocess.run(["ps", "-wweo", "pid,args"], capture_output=True, text=True, check=True).stdout.splitlines()
    return [line.split()[0] for line in shown if all(word in line for word in words)]


@pytest.mark.parametrize(
    ("prepare", "said"),
    [
        (lambda root: (root / "state").write_text(""), "is a file"),
        (lambda root: (root / "ledger.key").touch(), "was interrupted"),
    ],
    ids=["file", "half made"],
)
def test_a_state_directory_that_cannot_be_used_is_named_plainly(demo_root: Path, prepare: Any, said: str) -> None:
    prepare(demo_root)
    state = demo_root / "state" if (demo_root / "state").exists() else demo_root
    done = subprocess.run(
        [*CONSENT, "demo", "--exit", "--port", "0", "--state-dir", str(state)], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode != 0
    assert said in done.stderr
    assert "Traceback" not in done.stderr
