"""Our witness over HTTP: each status of tlog-witness, its memory across restarts and errors, and many requests at once."""

import http.client
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

import pytest

from consent_audit import cli, witness, witness_http
from consent_audit.cosigner import Cosigner
from consent_audit.encoding import format_base64
from consent_audit.errors import BadKey, CannotCheck
from consent_audit.hashing import EMPTY_ROOT, consistency_path, leaf_hash, root
from consent_audit.note import Checkpoint, Signer, Verifier, open_checkpoint
from consent_audit.policy import Policy
from consent_audit.witness_http import load_key, new_key, serving

LOG = Signer("log.example.org/a", bytes(32))
OTHER = Signer("log.example.org/b", b"\x01" * 32)
KEY = Cosigner("w.example.org", b"\x02" * 32)
POLICY = Policy.parse(f"log {LOG.vkey}\nwitness W {KEY.verifier.vkey}\nquorum W\n")
LEAVES = [leaf_hash(f"entry-{index}".encode()) for index in range(600)]
FORK = [*LEAVES[:3], leaf_hash(b"other"), *LEAVES[4:]]


def note(size: int, *, log: Signer = LOG, leaves: list[bytes] = LEAVES) -> str:
    return log.sign(Checkpoint(log.name, size, root(leaves[:size])).text())


def proof(old: int, new: int, leaves: list[bytes] = LEAVES) -> list[bytes]:
    return consistency_path(old, new, lambda height, n: root(leaves[n << height : (n + 1) << height]))


def body(old: int, new: int, *, log: Signer = LOG, leaves: list[bytes] = LEAVES) -> str:
    return "".join(f"{line}\n" for line in [f"old {old}", *map(format_base64, proof(old, new, leaves)), ""]) + note(
        new, log=log, leaves=leaves
    )


class Peer:
    """A log that talks to the witness."""

    def __init__(self, port: int) -> None:
        self.port = port

    def send(self, text: str | bytes, method: str = "POST", path: str = "/add-checkpoint") -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request(method, path, text.encode() if isinstance(text, str) else text)
            response = connection.getresponse()
            self.kind = response.headers["Content-Type"]
            return response.status, response.read().decode()
        finally:
            connection.close()

    def shown(self, name: str = LOG.name) -> str | None:
        status, text = self.send("", "GET", f"/{sha256(name.encode()).hexdigest()}/checkpoint")
        assert status in {200, 404}
        return text if status == 200 else None


@contextmanager
def running(folder: Path, logs: list[Verifier] | None = None, **options: float) -> Iterator[Peer]:
    with serving(KEY, [LOG.verifier, OTHER.verifier] if logs is None else logs, folder, ("127.0.0.1", 0)) as server:
        for name, value in options.items():
            setattr(server, name, value)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield Peer(server.server_address[1])
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def peer(tmp_path: Path) -> Iterator[Peer]:
    with running(tmp_path / "state") as peer:
        yield peer


def test_growth(peer: Peer) -> None:
    """First sight, growth, and the same tree once more are cosigned; the cosignature and the shown checkpoint are valid."""
    for old, new in ((0, 1), (1, 3), (3, 3), (3, 256), (256, 600)):
        status, line = peer.send(body(old, new))
        assert status == 200
        found = POLICY.demand(note(new) + line)
        assert (found.checkpoint.size, abs(found.times["W"] - time.time()) < 60) == (new, True)
        shown = peer.shown()
        assert shown is not None
        assert POLICY.demand(shown).checkpoint.size == new
    assert peer.shown(OTHER.name) is None


def test_logs_have_their_own_memory(peer: Peer) -> None:
    """One log's growth says nothing about another's."""
    assert peer.send(body(0, 600))[0] == 200
    assert peer.send(body(0, 5, log=OTHER))[0] == 200
    assert open_checkpoint(peer.shown(OTHER.name) or "", OTHER.verifier).size == 5


def test_conflict_says_the_size(peer: Peer) -> None:
    """409 with the size in its own media type; the log goes on from there."""
    assert peer.send(body(7, 9)) == (409, "0\n")
    assert peer.kind == "text/x.tlog.size"
    assert peer.send(body(0, 300))[0] == 200
    for old in (0, 299):
        assert peer.send(body(old, 600)) == (409, "300\n")
    assert peer.send(body(300, 600))[0] == 200
    assert peer.send(body(300, 600)) == (409, "600\n")


@pytest.mark.parametrize(
    ("text", "status"),
    [
        (body(5, 9, leaves=FORK), 422),
        (body(5, 5, leaves=FORK), 422),
        (body(5, 9).replace("old 5\n", f"old 5\n{format_base64(bytes(32))}\n"), 422),
        ("old 5\n\n" + note(9), 422),
        (f"old 5\n{format_base64(bytes(32))}\n\n{note(5)}", 422),
        ("old 5\nAAAA\n\n" + note(9), 422),
        (body(9, 9).replace("old 9", "old 10"), 400),
        ("", 400),
        ("old 5\n", 400),
        (note(9), 400),
        (body(5, 9)[:-1], 400),
        (body(5, 9).replace("old 5", "old 05"), 400),
        (body(5, 9).replace("old 5", "old +5"), 400),
        (body(5, 9).replace("old 5", "old ５"), 400),
        (body(5, 9).replace("old 5", "old -1"), 400),
        (body(5, 9).replace("old 5", "Old 5"), 400),
        (body(5, 9).replace("\n", "\r\n", 1), 400),
        ("old 5\n" + f"{format_base64(bytes(32))}\n" * 64 + "\n" + note(9), 400),
        ("old 5\nnot base64\n\n" + note(9), 400),
        (body(5, 9).replace("\n9\n", "\n09\n"), 400),
        (body(5, 9, log=Signer("log.example.org/c", bytes(32))), 404),
        (body(5, 9, log=Signer(LOG.name, b"\x09" * 32)), 403),
        (body(5, 9).replace("\n9\n", "\n8\n"), 403),
        ("old 0\n\n" + LOG.sign(Checkpoint(LOG.name, 0, bytes(32)).text()), 409),
    ],
)
def test_refusals(peer: Peer, text: str, status: int) -> None:
    """After size 5 was cosigned, each wrong request has its status and changes nothing."""
    assert peer.send(body(0, 5))[0] == 200
    before = peer.shown()
    answered, said = peer.send(text)
    assert answered == status
    assert "\u2014" not in said
    assert peer.shown() == before
    assert peer.send(body(5, 9))[0] == 200


def test_empty_trees(peer: Peer) -> None:
    """Size 0 has the empty tree's root and no proof; with another root it is no tree."""
    assert peer.send("old 0\n\n" + LOG.sign(Checkpoint(LOG.name, 0, bytes(32)).text()))[0] == 422
    assert peer.send(f"old 0\n{format_base64(bytes(32))}\n\n{note(9)}")[0] == 422
    assert peer.shown() is None
    assert peer.send("old 0\n\n" + LOG.sign(Checkpoint(LOG.name, 0, EMPTY_ROOT).text()))[0] == 200
    assert peer.send(body(0, 9))[0] == 200


def test_other_paths_and_sizes(peer: Peer) -> None:
    """Other paths are 404, a body larger than any request is refused unread."""
    assert peer.send("", path="/other")[0] == 404
    assert peer.send("", "GET", "/add-checkpoint")[0] == 404
    assert peer.send("", "GET", f"/{'0' * 64}/checkpoint")[0] == 404
    assert peer.send("", "GET", "/../secret")[0] == 404
    assert peer.send(b"x" * (witness.MAX_REQUEST_BYTES + 1))[0] == 400


def test_foreign_signatures_are_not_kept(peer: Peer, tmp_path: Path) -> None:
    """Lines of unknown keys are ignored and not stored; what is shown holds the log's signature and the witness's."""
    foreign = "\u2014 x.example.org " + format_base64(b"\x01" * 68) + "\n"
    assert peer.send(body(0, 5) + foreign * 20)[0] == 200
    shown = peer.shown() or ""
    assert shown.count("\u2014") == 2
    assert "x.example.org" not in shown


def test_memory_outlives_the_process(tmp_path: Path) -> None:
    """A restarted witness knows what it cosigned and refuses the fork."""
    with running(tmp_path / "s") as peer:
        assert peer.send(body(0, 300))[0] == 200
    with running(tmp_path / "s") as peer:
        assert peer.send(body(0, 300, leaves=FORK)) == (409, "300\n")
        assert peer.send(body(300, 600, leaves=FORK))[0] == 422
        assert peer.send(body(300, 600))[0] == 200


def test_one_process_per_folder(tmp_path: Path) -> None:
    """Two witnesses on one memory could cosign two histories: the second does not start."""
    with running(tmp_path / "s"), pytest.raises(CannotCheck, match="another witness"), running(tmp_path / "s"):
        pass


@pytest.mark.parametrize(
    "damage",
    [
        lambda stored: "",
        lambda stored: stored[:-20],
        lambda stored: stored.replace("\n300\n", "\n299\n"),
        lambda stored: note(300),
        lambda stored: "\udcff",
    ],
)
def test_damaged_memory_is_never_a_first_sight(tmp_path: Path, damage) -> None:
    """A stored checkpoint that this witness did not cosign stops it, at the start and while it runs."""
    file = tmp_path / "s" / sha256(LOG.name.encode()).hexdigest()
    with running(tmp_path / "s") as peer:
        assert peer.send(body(0, 300))[0] == 200
        stored = file.read_text(encoding="utf-8")
        file.write_text(damage(stored), encoding="utf-8", errors="surrogateescape")
        assert peer.send(body(0, 600))[0] == 503
        assert peer.send("", "GET", f"/{file.name}/checkpoint")[0] == 503
    with pytest.raises(CannotCheck, match="damaged"), running(tmp_path / "s"):
        pass
    file.write_text(stored, encoding="utf-8")
    with running(tmp_path / "s") as peer:
        assert peer.send(body(300, 600))[0] == 200


@pytest.mark.parametrize("step", ["fsync", "replace", "sync_directory"])
@pytest.mark.parametrize("persisted", [False, True])
def test_nothing_is_cosigned_that_is_not_stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, *, persisted: bool) -> None:
    """An error at each write step, lost or done after all: no cosignature leaves, and the log goes on from what is stored."""
    done = {"fsync": os.fsync, "replace": Path.replace, "sync_directory": witness.sync_directory}[step]

    def broken(*arguments: object) -> None:
        if persisted:
            done(*arguments)
        raise OSError(28, "No space left on device")

    with running(tmp_path / "s") as peer:
        assert peer.send(body(0, 300))[0] == 200
        with monkeypatch.context() as patch:
            if step == "fsync":
                patch.setattr(witness.os, "fsync", broken)
            elif step == "replace":
                patch.setattr(Path, "replace", broken)
            else:
                patch.setattr(witness, "sync_directory", broken)
            assert peer.send(body(300, 400)) == (503, "the witness cannot use its memory; it cosigns nothing\n")
        status, said = peer.send(body(300, 600))
        assert (status, said) == (409, "400\n") if status == 409 else status == 200
        if status == 409:
            assert peer.send(body(400, 600))[0] == 200
    assert sorted(file.name for file in (tmp_path / "s").iterdir()) == sorted(["lock", sha256(LOG.name.encode()).hexdigest()])


def test_many_at_once(tmp_path: Path) -> None:
    """Of many growths from one size exactly one wins, and the others hear of it."""
    with running(tmp_path / "s") as peer:
        assert peer.send(body(0, 10))[0] == 200
        requests = [body(10, 60 + step) for step in range(24)]
        with ThreadPoolExecutor(24) as pool:
            answers = list(pool.map(lambda text: Peer(peer.port).send(text), requests))
        (won,) = [step for step, (status, _) in enumerate(answers) if status == 200]
        assert {answer for answer in answers if answer[0] != 200} == {(409, f"{60 + won}\n")}
        assert open_checkpoint(peer.shown() or "", LOG.verifier).size == 60 + won


def test_a_connection_is_kept_and_a_slow_one_is_cut(tmp_path: Path) -> None:
    """Requests share a connection; one who drips is closed after its time, and others are answered meanwhile."""
    with running(tmp_path / "s", connection_seconds=1.0) as peer:
        connection = http.client.HTTPConnection("127.0.0.1", peer.port, timeout=10)
        for old, new in ((0, 5), (5, 9)):
            connection.request("POST", "/add-checkpoint", body(old, new).encode())
            response = connection.getresponse()
            assert (response.status, bool(response.read())) == (200, True)
        connection.close()
        with socket.create_connection(("127.0.0.1", peer.port), timeout=10) as slow:
            slow.sendall(b"POST /add-checkpoint HTTP/1.1\r\nContent-Length: 100\r\n\r\nold ")
            assert peer.send(body(9, 20))[0] == 200
            assert slow.recv(100) == b""


def test_keys(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A new key is readable by its owner only and never overwritten; one that others may read is refused."""
    path = tmp_path / "key"
    vkey = new_key(path, "w.example.org")
    assert path.stat().st_mode & 0o777 == 0o600
    assert load_key(path).verifier.vkey == vkey
    with pytest.raises(CannotCheck):
        new_key(path, "w.example.org")
    path.chmod(0o640)
    with pytest.raises(BadKey, match="others may read"):
        load_key(path)
    assert cli.main(["witness", "--key-file", str(path), "--log", LOG.vkey, "--state", str(tmp_path / "s")]) == 2
    assert cli.main(["witness", "--key-file", str(path), "--new", "w"]) == 3
    path.chmod(0o600)
    assert cli.main(["witness", "--key-file", str(path), "--state", str(tmp_path / "s")]) == 2
    assert cli.main(["witness", "--key-file", str(path), "--log", KEY.verifier.vkey, "--state", str(tmp_path / "s")]) == 2
    assert cli.main(["witness", "--key-file", str(path), "--log", LOG.vkey, "--state", str(tmp_path / "s"), "--listen", "x"]) == 2
    assert "PRIVATE" not in "".join(capsys.readouterr())


def test_killed_and_started_again(tmp_path: Path) -> None:
    """The command itself, killed with -9 right after its answer: what it cosigned is remembered."""
    policy = tmp_path / "policy"
    policy.write_text(f"log {LOG.vkey}\nquorum none\n")
    vkey = new_key(tmp_path / "key", "w.example.org")
    command = [sys.executable, "-I", "-m", "consent_audit", "witness", "--key-file", str(tmp_path / "key"), "--policy", str(policy)]
    old = 0
    for new in (5, 300, 600):
        process = subprocess.Popen([*command, "--state", str(tmp_path / "s"), "--listen", "127.0.0.1:0"], stdout=subprocess.PIPE, text=True)
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == f"witness {vkey}\n"
            peer = Peer(int(process.stdout.readline().rstrip("/\n").rpartition(":")[2]))
            assert peer.send(body(old, new))[0] == 200
        finally:
            process.send_signal(signal.SIGKILL if new < 600 else signal.SIGTERM)
            assert process.wait(10) == (-9 if new < 600 else 0)
            process.stdout.close()
        old = new


def test_server_module_says_nothing_of_requests(capfd: pytest.CaptureFixture[str], peer: Peer) -> None:
    """No request line, address or body reaches the screen."""
    assert witness_http.MAX_CONNECTIONS >= 32
    peer.send(body(0, 5))
    peer.send("junk")
    assert capfd.readouterr() == ("", "")
