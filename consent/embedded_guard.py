"""Runs one PostgreSQL server and stops it when its owner goes away.

Started by consent.embedded as a program of its own (`python -I -S`), so it uses the standard library alone. Standard input is
the life line: its other end is held by the owner and nobody else, so the kernel closes it however the owner ends, kill -9 included.

arguments: uid gid socket_directory postgres arguments…      working directory: the data directory

A crash of the guard itself takes the server down at once (PR_SET_PDEATHSIG, Linux); what it leaves is a data directory that PostgreSQL
recovers by itself, and a socket directory that the next start removes.
"""

import contextlib
import ctypes
import os
import shutil
import signal
import subprocess
import sys
import threading

PR_SET_PDEATHSIG = 1
STOP_SECONDS = 20


def main(arguments: list[str]) -> int:
    """Run until the life line closes or the server ends; the server's exit status."""
    uid, gid, socket_directory, *command = arguments
    if os.getuid() == 0:
        os.setgroups([])
        os.setgid(int(gid))
        os.setuid(int(uid))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    server = subprocess.Popen(command, stdin=subprocess.DEVNULL, preexec_fn=_die_with_parent)  # noqa: PLW1509 - before any thread exists
    ended = threading.Event()
    threading.Thread(target=_leave_with, args=(server, socket_directory, ended), daemon=True).start()
    signal.signal(signal.SIGTERM, lambda *_: server.send_signal(signal.SIGINT))
    while os.read(0, 4096):
        pass
    server.send_signal(signal.SIGINT)  # fast shutdown: open transactions are rolled back
    if not ended.wait(STOP_SECONDS):
        server.send_signal(signal.SIGQUIT)
        ended.wait()
    return 0


def _leave_with(server: "subprocess.Popen[bytes]", socket_directory: str, ended: threading.Event) -> None:
    status = server.wait()
    shutil.rmtree(socket_directory, ignore_errors=True)
    ended.set()
    os._exit(abs(status))


def _die_with_parent() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    with contextlib.suppress(OSError, AttributeError):  # not on macOS, where the next start finds the orphan
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGQUIT)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
