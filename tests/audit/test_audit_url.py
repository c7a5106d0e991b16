"""The command on a URL: what a server may answer, how it is asked, and what follows from an answer that is missing."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from audit_ledgers import SIGNER, publish, records, serve

from consent_audit import cli
from consent_audit.sources import UrlSource

FILES = publish(records(600))


@pytest.fixture(autouse=True)
def _own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.delenv("CONSENT_AUDIT_TOKEN", raising=False)
    monkeypatch.setattr(UrlSource, "pauses_seconds", (0.01,))


def run(source: object, *more: str) -> int:
    return cli.main(["verify", str(source), "--key", SIGNER.vkey, *more])


def test_url_with_and_without_the_prefix(tmp_path: Path) -> None:
    """The ledger's own prefix and the site's root both work, with or without a slash."""
    with serve(FILES) as url:
        for source in (url, url + "/", url + "/ledger", url + "/ledger/"):
            assert run(source) == 0


def test_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Entries and documents need the token: without it, or with a wrong one, there is no verdict and a hint."""
    with serve(FILES, token="s3cret") as url:
        assert run(url) == 3
        assert "an auditor's token is needed (--token)" in capsys.readouterr().out
        assert run(url, "--token", "wrong") == 3
        assert "the token is not accepted" in capsys.readouterr().out
        assert run(url, "--token", "s3cret") == 0
        monkeypatch.setenv("CONSENT_AUDIT_TOKEN", "s3cret")
        assert run(url, "--json") == 0
        assert "s3cret" not in capsys.readouterr().out


def test_missing_tile_and_document_over_http(capsys: pytest.CaptureFixture[str]) -> None:
    """A server that shows records and lacks others, or a tile or document of its checkpoint, is refuted, and the place is named."""
    for name in ("tile/0/001", "tile/entries/001", "tile/entries/002.p/88", "tile/1/000.p/2"):
        with serve({path: body for path, body in FILES.items() if path != name}) as url:
            assert run(url) == 1
        assert f"{name}: the server does not have it" in capsys.readouterr().out.splitlines()[0]
    with serve({name: body for name, body in FILES.items() if not name.startswith("blobs/")}) as url:
        assert run(url) == 1


def test_a_place_without_records(capsys: pytest.CaptureFixture[str]) -> None:
    """A published copy may keep the records elsewhere: that refutes nothing, unless the server says that it has lost them."""
    files = {name: body for name, body in FILES.items() if "/entries/" not in name}
    with serve(files) as url:
        assert run(url) == 3
    assert "tile/entries/000" in capsys.readouterr().out
    with serve(files, absent=410) as url:
        assert run(url) == 1
    assert "tile/entries/000: the server does not have it" in capsys.readouterr().out


def test_connections_are_kept() -> None:
    """A ledger is read over a few connections, not one for each of its files."""
    peers: list[object] = []
    with serve(FILES, peers=peers) as url:
        assert run(url) == 0
    assert len(peers) <= 1 + UrlSource.parallel < len(FILES)


def test_a_kept_connection_that_was_closed_is_opened_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that says keep-alive and closes after each answer is read all the same, without a pause."""
    monkeypatch.setattr(UrlSource, "pauses_seconds", ())
    with serve_closing(FILES) as url:
        assert run(url) == 0


@contextmanager
def serve_closing(files: dict[str, bytes]) -> Iterator[str]:
    """One answer to each connection, whatever the answer says of keeping it."""

    def answer(peer: socket.socket) -> None:
        with peer, peer.makefile("rb") as lines:
            path = lines.readline().split()[1].decode().removeprefix("/ledger/")
            while lines.readline().strip():
                pass
            body = files.get(path)
            status = b"200 OK" if body is not None else b"404 No"
            peer.sendall(b"HTTP/1.1 %b\r\nContent-Length: %d\r\n\r\n%b" % (status, len(body or b""), body or b""))

    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept() -> None:
            while True:
                try:
                    peer, _ = listener.accept()
                except OSError:
                    return
                answer(peer)

        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/ledger"
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def test_through_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment's proxy is used: it gets the whole URL, and an auditor behind it needs no other setting."""
    with serve(FILES, prefix="http://ledger.example.org:80/ledger/") as proxy:
        monkeypatch.setenv("http_proxy", proxy)
        assert run("http://ledger.example.org/ledger") == 0
        monkeypatch.setenv("no_proxy", "ledger.example.org")
        monkeypatch.setattr(UrlSource, "pauses_seconds", ())
        assert run("http://ledger.example.org/ledger") == 3


@pytest.mark.parametrize(
    "url",
    [
        "http://x:99999/",
        "http://x:0/",
        "http://x:y/",
        "http://[::1/",
        "http://é.example.org/",
        "http://x/é",
        "http://x/ y",
        "http://u:p@x/",
        "http://x/#a",
    ],
)
def test_what_is_no_address(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A URL that cannot be one is said to be none, before anybody is asked."""
    assert run(url) == 3
    assert "the URL has no host" in capsys.readouterr().out


def test_server_away() -> None:
    """Nobody listens: 3."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    assert run(f"http://127.0.0.1:{port}/ledger") == 3


@contextmanager
def answering(response: bytes, *, pause: float = 0.0) -> Iterator[str]:
    """A peer that answers every request with these bytes."""
    listener = socket.create_server(("127.0.0.1", 0))

    def work() -> None:
        while True:
            try:
                peer, _ = listener.accept()
            except OSError:
                return
            with peer:
                peer.recv(65_536)
                try:
                    for byte in response if pause else [response]:
                        peer.sendall(bytes([byte]) if isinstance(byte, int) else byte)
                        time.sleep(pause)
                except OSError:
                    pass

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/ledger"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


HEAD = b"HTTP/1.1 200 OK\r\nConnection: close\r\n"


@pytest.mark.parametrize(
    ("response", "code"),
    [
        (b"", 3),
        (b"junk\r\n\r\n", 3),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\nshort", 3),
        (b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/x\r\nContent-Length: 0\r\n\r\n", 3),
        (b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n", 3),
        (b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n", 3),
        (HEAD + b"Content-Encoding: gzip\r\n\r\n\x1f\x8b", 3),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\nZZ\r\n", 3),
        (HEAD + b"\r\n<html>not a checkpoint</html>", 1),
        (HEAD + b"\r\n" + b"x" * 70_000, 1),
    ],
)
def test_strange_peers(response: bytes, code: int) -> None:
    """A broken connection, a redirect or an error is no verdict; a checkpoint that is none is one."""
    with answering(response) as url:
        assert run(url) == code


def test_endless_checkpoint_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    """A checkpoint beyond its bound is malformed, whether it is met first or later."""
    with answering(HEAD + b"\r\n" + b"x" * 70_000) as url:
        assert run(url, "--json") == 1
    assert [found["code"] for found in json.loads(capsys.readouterr().out)["findings"]] == ["checkpoint.malformed"]


def test_redirect_is_not_followed() -> None:
    """Also where the other place would answer: a token must not travel, and the URL given is the one that is judged."""
    with serve(FILES) as elsewhere:
        head = f"HTTP/1.1 302 Found\r\nLocation: {elsewhere}/ledger/checkpoint\r\nContent-Length: 0\r\n\r\n"
        with answering(head.encode()) as url:
            assert run(url) == 3


def test_dripping_peer(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A peer that sends a byte now and then is given up."""
    monkeypatch.setattr(UrlSource, "file_seconds", 0.2)
    with answering(HEAD + b"\r\n" + b"x" * 200, pause=0.01) as url:
        assert run(url) == 3
    assert "too slow" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("begin", "drip"),
    [
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (b"HTTP/1.1 200 OK\r\nX-Long: ", b"x"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"0"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n", b"X: y\r\n"),
    ],
    ids=["continue", "header", "chunk size", "trailer"],
)
def test_peer_without_end(begin: bytes, drip: bytes, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Also what stands around a body has an end, however steadily it comes."""
    monkeypatch.setattr(UrlSource, "file_seconds", 0.3)
    with endless(begin, drip) as url:
        assert run(url) == 3
    assert "checkpoint: the server is too slow" in capsys.readouterr().out


@contextmanager
def endless(begin: bytes, drip: bytes) -> Iterator[str]:
    """A peer that begins an answer and never ends it; it gives up by itself after ten seconds, so that a test can fail."""
    listener = socket.create_server(("127.0.0.1", 0))

    def work() -> None:
        with suppress(OSError), listener.accept()[0] as peer:
            peer.recv(65_536)
            peer.sendall(begin)
            for _ in range(500):
                peer.sendall(drip)
                time.sleep(0.02)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/ledger"
    finally:
        listener.close()
        thread.join()
