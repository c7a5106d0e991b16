"""The embedded PostgreSQL: private, changes no permission, and never outlives its owner for long."""

import os
import signal
import stat
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import asyncpg
import pytest

from consent import embedded
from consent.embedded import EmbeddedError, EmbeddedPostgres

OWNER = """
import sys, time
from pathlib import Path
from consent.embedded import EmbeddedPostgres
print(EmbeddedPostgres(Path(sys.argv[1])).start().owner_url, flush=True)
time.sleep(600)
"""


def modes(path: Path) -> dict[Path, tuple[int, int]]:
    return {p: (p.stat().st_mode, p.stat().st_uid) for p in (path, *path.parents)}


async def connect(url: str) -> asyncpg.Connection:
    return await asyncpg.connect(url.replace("+asyncpg", ""))


def socket_directory(url: str) -> Path:
    return Path(url.split("host=")[1].split("&", maxsplit=1)[0])


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def wait_until(condition, seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture
def private(tmp_path: Path) -> Path:
    """A directory that nobody else can reach, as a home directory is."""
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    return closed / "state"


async def test_starts_again_with_its_data_and_leaves_nothing_running(private: Path):
    """Data and passwords survive a stop; socket and process do not."""
    with EmbeddedPostgres(private) as urls:
        connection = await connect(urls.owner_url)
        await connection.execute("create table kept as select 7 as seven")
        assert await connection.fetchval("show fsync") == "on"
        await connection.close()
        pid = int((private / "postgresql/data/postmaster.pid").read_text().split()[0])
        sockets = socket_directory(urls.owner_url)
    assert not alive(pid)
    assert not sockets.exists()
    with EmbeddedPostgres(private) as urls:
        connection = await connect(urls.owner_url)
        assert await connection.fetchval("select seven from kept") == 7
        await connection.close()


async def test_changes_no_permission_and_is_closed_to_others(private: Path):
    """No mode or owner of any existing directory changes; socket, data and passwords are private; superuser and wrong password fail."""
    private.mkdir(mode=0o700)
    before = modes(private)
    with EmbeddedPostgres(private) as urls:
        assert modes(private) == before
        sockets = socket_directory(urls.owner_url)
        for path in (sockets, private / "postgresql/data"):
            assert stat.S_IMODE(path.stat().st_mode) == 0o700
        assert stat.S_IMODE((private / "postgresql/passwords.json").stat().st_mode) == 0o600
        assert urls.app_url != urls.owner_url
        for user, password in (("postgres", ""), ("consent_owner", "wrong"), ("consent_owner", "")):
            with pytest.raises(asyncpg.InvalidPasswordError):
                await asyncpg.connect(user=user, password=password, database="consent", host=str(sockets))
        server = int((private / "postgresql/data/postmaster.pid").read_text().split()[0])
        assert urls.owner_url.split(":")[2].split("@")[0] not in Path(f"/proc/{server}/cmdline").read_text()
        assert Path(f"/proc/{server}").stat().st_uid != 0
    assert modes(private) == before


def test_one_owner_at_a_time(private: Path):
    """A second owner is refused while the first lives, and leaves the first unharmed."""
    with EmbeddedPostgres(private) as urls:
        with pytest.raises(EmbeddedError, match="in use"):
            EmbeddedPostgres(private).start()
        assert (socket_directory(urls.owner_url) / ".s.PGSQL.5432").exists()


async def test_ends_with_a_killed_owner(private: Path):
    """kill -9 of the owner stops the server and removes its socket without anybody's help."""
    owner = subprocess.Popen([sys.executable, "-c", OWNER, private], stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    sockets = socket_directory(owner.stdout.readline())
    server = int((private / "postgresql/data/postmaster.pid").read_text().split()[0])
    owner.kill()
    owner.wait()
    owner.stdout.close()
    await wait_until(lambda: not alive(server) and not sockets.exists())


async def test_an_orphan_is_found_and_stopped(private: Path):
    """A server that outlived owner and guard is stopped by the next start; its data is kept."""
    first = EmbeddedPostgres(private)
    first.start()
    first.stop()
    user = embedded._server_user()
    data = private / "postgresql/data"
    sockets = embedded._socket_directory(user)
    command = [
        embedded._binaries(user) / "postgres",
        "-D",
        embedded._data_argument(data, user),
        "-clisten_addresses=",
        f"-cunix_socket_directories={sockets}",
    ]
    identity = {"user": user.uid, "group": user.gid, "extra_groups": []} if user.switch else {}
    process = subprocess.Popen(command, cwd=data, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **identity)
    await wait_until(lambda: embedded._pid_file(data)[-1].strip() == "ready")
    with EmbeddedPostgres(private) as urls:
        assert process.wait(timeout=5) == 0
        assert not sockets.exists()
        await (await connect(urls.app_url)).close()


async def test_a_pid_that_belongs_to_another_process_is_left_alone(private: Path):
    """A stale pid file that names a living process of somebody else is not taken for an orphan."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as innocent:
        innocent_pid = innocent.pid
        embedded._stop_orphan(_stale(private, innocent_pid), embedded._server_user())
        assert innocent.poll() is None
        os.kill(innocent_pid, signal.SIGTERM)


def _stale(private: Path, pid: int) -> Path:
    elsewhere = private / "elsewhere"
    elsewhere.mkdir(parents=True)
    (elsewhere / "postmaster.pid").write_text(f"{pid}\n/x\n0\n5432\n/tmp/consent-absent\n\n\nready\n")
    return elsewhere


def test_an_interrupted_first_start_is_thrown_away(private: Path):
    """What an interrupted initdb left is replaced, not used."""
    leftover = private / "postgresql/data.new"
    leftover.mkdir(parents=True)
    (leftover / "PG_VERSION").write_text("18\n")
    with EmbeddedPostgres(private):
        assert not leftover.exists()


def test_root_without_a_server_user_is_refused(private: Path, monkeypatch: pytest.MonkeyPatch):
    """As root without an unprivileged user nothing is created but a clear message."""
    monkeypatch.setattr(embedded, "SERVER_USERS", ("no-such-user",))
    monkeypatch.setattr(os, "getuid", lambda: 0)
    with pytest.raises(EmbeddedError, match="no-such-user"):
        EmbeddedPostgres(private).start()
    assert not private.exists()


@pytest.mark.skipif(os.getuid() != 0, reason="only root runs the server as another user")
def test_binaries_out_of_the_users_reach_are_copied(private: Path, monkeypatch: pytest.MonkeyPatch):
    """An installation below a closed directory works all the same: the server runs from a copy that root owns and others may only read."""
    with tempfile.TemporaryDirectory() as cache:
        Path(cache).chmod(0o755)
        runs = embedded._runs
        monkeypatch.setattr(embedded, "BINARY_CACHE", Path(cache) / "consent")
        monkeypatch.setattr(embedded, "_runs", lambda path, user: str(path).startswith(cache) and runs(path, user))
        for _ in range(2):
            with EmbeddedPostgres(private):
                server = int((private / "postgresql/data/postmaster.pid").read_text().split()[0])
                assert str(Path(f"/proc/{server}/exe").readlink()).startswith(cache)
        (copy,) = (Path(cache) / "consent").iterdir()
        for path in (copy, *copy.rglob("*")):
            assert path.stat().st_uid == 0
            assert path.is_symlink() or path.stat().st_mode & 0o022 == 0
