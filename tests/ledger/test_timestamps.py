"""RFC 3161 time-stamps over checkpoints, with `openssl ts` as the authority and as the judge."""

import asyncio
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner
from sqlalchemy import text
from test_copies import grow
from timestamp_authority import Answer, OpenSsl, serve

from consent.cli import main
from consent.errors import Unavailable
from consent.ledger.copies import publish
from consent.ledger.timestamps import Authority, AuthorityAway, TimestampRefused, follow, timestamp

REPLY = "application/timestamp-reply"


@pytest.fixture(scope="module")
def openssl(tmp_path_factory) -> OpenSsl:
    return OpenSsl(tmp_path_factory.mktemp("tsa"))


@pytest.fixture
def answering(openssl: OpenSsl) -> Iterator[Callable[..., Authority]]:
    """Authorities that answer as told, by default as openssl does, and are believed by openssl's root."""
    servers = []

    def make(answer: Answer | None = None, root: bytes = openssl.root) -> Authority:
        server = serve(answer or (lambda query: (200, REPLY, openssl.answer(query))))
        servers.append(server)
        return Authority(server.__enter__(), root)

    yield make
    for server in servers:
        server.__exit__(None, None, None)


async def test_a_checkpoint_is_stamped_once(engine, ledger, openssl: OpenSsl, answering, tmp_path: Path):
    """openssl accepts what is kept, and nothing else; a checkpoint that was stamped is not stamped again."""
    await grow(engine, ledger, 5)
    await publish(engine, tmp_path / "public")
    authority = answering()
    done = await timestamp(engine, tmp_path / "public", authority)
    assert done.size == 6
    assert done.time is not None
    assert abs(datetime.fromisoformat(done.time) - datetime.now(UTC)) < timedelta(minutes=1)
    folder = tmp_path / "public/timestamps"
    assert (folder / "6.checkpoint").read_bytes() == (tmp_path / "public/checkpoint").read_bytes()
    assert openssl.accepts(folder / "6.checkpoint", folder / "6.tsr")
    (tmp_path / "changed").write_bytes((folder / "6.checkpoint").read_bytes().replace(b"\n6\n", b"\n7\n"))
    assert not openssl.accepts(tmp_path / "changed", folder / "6.tsr")
    assert (await timestamp(engine, tmp_path / "public", authority)).time is None
    await grow(engine, ledger, 1)
    assert (await timestamp(engine, tmp_path / "public", authority)).size == 7


async def test_the_witnessed_checkpoint_is_stamped(engine, ledger, answering, tmp_path: Path):
    """What outsiders already hold is worth more than what is newest."""
    await grow(engine, ledger, 5)
    async with engine.begin() as connection:
        await connection.execute(text("insert into ledger_head_stage (stage, size) values ('witnessed', 6)"))
    await grow(engine, ledger, 3)
    assert (await timestamp(engine, tmp_path, answering())).size == 6


async def test_a_crash_before_the_stamp_is_made_good(engine, ledger, openssl: OpenSsl, answering, tmp_path: Path):
    """The file that stands there is what gets stamped; one that is not of this ledger is left alone."""
    await grow(engine, ledger, 5)
    with pytest.raises(AuthorityAway):
        await timestamp(engine, tmp_path, answering(lambda _: (503, "text/plain", b"")))
    kept = tmp_path / "timestamps/6.checkpoint"
    kept.write_bytes(kept.read_bytes() + "\u2014 other AAAAAAA=\n".encode())  # as published with another cosignature
    await timestamp(engine, tmp_path, answering())
    assert openssl.accepts(kept, tmp_path / "timestamps/6.tsr")
    (tmp_path / "timestamps/6.tsr").unlink()
    kept.write_bytes(kept.read_bytes().replace(b"ledger.example", b"another.example", 1))
    with pytest.raises(TimestampRefused, match="not of this ledger"):
        await timestamp(engine, tmp_path, answering())


async def test_answers_that_do_not_count(engine, ledger, openssl: OpenSsl, answering, tmp_path: Path):
    """Of another root, of another message, an older answer, a refusal, junk, too much: refused, and nothing is kept."""
    await grow(engine, ledger, 5)
    stranger = OpenSsl(tmp_path / "stranger", "Another Root")
    recorded: list[bytes] = []
    await timestamp(
        engine, tmp_path / "first", answering(lambda query: (200, REPLY, recorded.append(openssl.answer(query)) or recorded[0]))
    )
    refusal = bytes.fromhex("3030300502010230280c26") + b"x" * 38
    liars: list[Answer] = [
        lambda query: (200, REPLY, stranger.answer(query)),
        lambda query: (200, REPLY, openssl.answer(_other(openssl, query))),
        lambda _: (200, REPLY, recorded[0]),
        lambda _: (200, REPLY, refusal[:5]),
        lambda _: (200, REPLY, bytes.fromhex("30053003020102")),
        lambda _: (200, REPLY, b"junk"),
        lambda _: (200, REPLY, b""),
    ]
    for answer in liars:
        with pytest.raises(TimestampRefused):
            await timestamp(engine, tmp_path / "public", answering(answer))
        assert not (tmp_path / "public/timestamps/6.tsr").exists()
    with pytest.raises(TimestampRefused, match="longer than 64 KiB"):
        await timestamp(engine, tmp_path / "public", answering(lambda _: (200, REPLY, bytes(1 << 17))))


def _other(openssl: OpenSsl, query: bytes) -> bytes:
    """The same query over another message."""
    (openssl.directory / "other").write_bytes(b"something else")
    openssl.run("ts", "-query", "-data", "other", "-sha256", "-cert", "-out", "other.tsq")
    return (openssl.directory / "other.tsq").read_bytes()


async def test_an_authority_that_is_away_is_asked_again(engine, ledger, openssl: OpenSsl, answering, tmp_path: Path):
    """A closed port, an error page, another content type; then it answers, and following goes on by itself."""
    with pytest.raises(Unavailable):
        await timestamp(engine, tmp_path, answering())  # nothing is signed yet
    await grow(engine, ledger, 5)
    for answer in ((500, REPLY, b""), (200, "text/html", b"<html>"), (302, REPLY, b"")):
        with pytest.raises(AuthorityAway):
            await timestamp(engine, tmp_path, answering(lambda _, answer=answer: answer))
    with pytest.raises(AuthorityAway):
        await timestamp(engine, tmp_path, Authority("http://127.0.0.1:9/", openssl.root))
    answers = iter([(503, REPLY, b"")])
    authority = answering(lambda query: next(answers, None) or (200, REPLY, openssl.answer(query)))
    task = asyncio.create_task(follow(engine, tmp_path, authority, 0.05))
    for _ in range(200):
        if (tmp_path / "timestamps/6.tsr").exists():
            break
        await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert openssl.accepts(tmp_path / "timestamps/6.checkpoint", tmp_path / "timestamps/6.tsr")


@pytest.mark.parametrize("case", ["no root", "no PEM", "no address"])
def test_an_authority_without_a_root_or_address_is_refused(openssl: OpenSsl, case: str):
    """Before anything is sent."""
    leaf = (openssl.directory / "tsa.pem").read_bytes()
    url, certificates = {"no root": ("http://x", leaf), "no PEM": ("http://x", b"x"), "no address": ("ftp://x", openssl.root)}[case]
    with pytest.raises(TimestampRefused):
        Authority(url, certificates)


def test_the_command_says_what_is_wrong(openssl: OpenSsl, tmp_path: Path, monkeypatch):
    """Certificates without a root: one line, in both languages, and exit 1."""
    for name, value in (("DATABASE_URL", "postgresql+asyncpg://x"), ("ISSUER", "http://127.0.0.1:1"), ("LEDGER_KEY_FILE", "none")):
        monkeypatch.setenv(f"CONSENT_{name}", value)
    leaf = str(openssl.directory / "tsa.pem")
    done = CliRunner().invoke(main, ["ledger", "timestamp", str(tmp_path), "--authority", "http://127.0.0.1:9", "--certificates", leaf])
    assert done.exit_code == 1
    assert "no root among the authority's certificates" in done.output
    assert "未能取得时间戳" in done.output
