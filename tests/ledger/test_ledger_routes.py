"""The ledger over HTTP: who reads what, and that a path has one spelling."""

import hashlib
from collections.abc import AsyncIterator
from urllib.parse import unquote

import httpx
import pytest
from litestar import Litestar
from litestar.di import Provide
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from consent.ledger.events import StaffRegistered, encode
from consent.ledger.routes import router
from consent.ledger.service import create_auditor_token
from consent.ledger.signer import Signer
from consent.ledger.writer import write
from consent.web.problems import exception_handlers
from consent_audit.hashing import leaf_hash
from consent_audit.note import open_checkpoint
from consent_audit.tiles import bundle_decode, tile_decode, tile_files

PUBLIC = ("/ledger/checkpoint", "/ledger/tile/0/000", "/ledger/tile/0/001.p/44", "/ledger/tile/1/000.p/1")
CLOSED = ("/ledger/tile/entries/000", "/ledger/tile/entries/001.p/44")


@pytest.fixture
def app(engine: AsyncEngine) -> Litestar:
    """The routes alone."""
    dependencies = {"engine": Provide(lambda: engine, sync_to_thread=False)}
    return Litestar([router()], dependencies=dependencies, exception_handlers=exception_handlers(), openapi_config=None)


@pytest.fixture
async def client(app: Litestar) -> AsyncIterator[httpx.AsyncClient]:
    """Over ASGI."""
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://ledger.test") as client:
        yield client


@pytest.fixture
async def auditor(engine: AsyncEngine) -> dict[str, str]:
    """Headers of a reader."""
    return {"authorization": f"Bearer {await create_auditor_token(engine, 'an auditor', 30)}"}


@pytest.fixture
async def three_hundred(engine: AsyncEngine, ledger: Signer) -> Signer:
    """300 signed records, first signed at 280, and a few that are not signed yet."""
    for count in (279, 20, 5):
        async with write(engine) as transaction:
            for _ in range(count):
                transaction.append_encoded("staff.registered", encode(StaffRegistered(staff="staff-1", role="auditor")))
        if count > 5:
            await ledger.sign_now()
    return ledger


async def test_every_file_of_the_tree_is_served(client, auditor, three_hundred: Signer, key):
    """Checkpoint, tiles and bundles of the newest size are there, agree with each other, and say how long they keep."""
    reply = await client.get("/ledger/checkpoint")
    assert reply.headers["content-type"] == "text/plain; charset=utf-8"
    assert reply.headers["cache-control"] == "public, max-age=1"
    checkpoint = open_checkpoint(reply.content, key.verifier)
    assert checkpoint.size == 300
    leaves = []
    for tile in tile_files(300):
        reply = await client.get(f"/ledger/{tile.path}", headers=auditor if tile.level < 0 else {})
        assert reply.status_code == 200
        assert reply.headers["content-type"] == "application/octet-stream"
        assert reply.headers["cache-control"] == ("private" if tile.level < 0 else "public") + ", max-age=31536000, immutable"
        if tile.level < 0:
            leaves = [leaf_hash(entry) for entry in bundle_decode(reply.content, tile.width)]
        elif tile.level == 0:
            assert tile_decode(reply.content, tile.width) == leaves


async def test_partial_tiles_of_every_published_size_and_no_other(client, auditor, three_hundred: Signer):
    """280 was published: its edge stays; a width that was never an edge, and what is not signed, is not there."""
    for path in ("tile/0/001.p/24", "tile/entries/001.p/24", "tile/0/001.p/44"):
        assert (await client.get(f"/ledger/{path}", headers=auditor)).status_code == 200
    for path in (
        "tile/0/001.p/25",
        "tile/0/001.p/45",
        "tile/0/001",
        "tile/entries/001.p/49",
        "tile/1/000",
        "tile/1/000.p/2",
        "tile/2/000.p/1",
    ):
        assert (await client.get(f"/ledger/{path}", headers=auditor)).status_code == 404


OTHER_SPELLINGS = (
    "tile/00/000", "tile/0/0", "tile/0/0000", "tile/0/x000/001", "tile/0/000.p/0", "tile/0/000.p/256", "tile/0/000.p/01", "tile/0/+00",
    "tile/0/000/", "tile/0//000", "tile//0/000", "tile/./0/000", "tile/64/000", "tile/-1/000", "tile/entries/0", "tile/data/000",
    "tile/0/%D9%A0%D9%A0%D9%A0", "tile/0/%3000", "tile/0/\xd9\xa0", "tile/0/000.p/1_0", "tile/entries/../0/000", "tile", "tile/", "tile/0",
    "blobs/00",
    "blobs/" + "0" * 64, "blobs/" + "A" * 64,
)  # fmt: skip


@pytest.mark.parametrize("path", OTHER_SPELLINGS)
async def test_other_spellings_are_not_found(app: Litestar, auditor, three_hundred: Signer, path: str):
    """404, never a 500, never the same bytes under a second name. Sent as raw bytes, since clients tidy paths."""
    raw = f"/ledger/{path}".encode("latin-1")
    headers = [(name.encode(), value.encode()) for name, value in auditor.items()]
    scope = {"type": "http", "method": "GET", "raw_path": raw, "path": unquote(raw.decode("latin-1")), "root_path": "", "headers": headers}
    scope |= {"query_string": b"", "scheme": "http", "server": ("ledger.test", 80), "client": ("127.0.0.1", 1), "http_version": "1.1"}
    status: list[int] = []

    async def receive() -> dict:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict) -> None:
        status.append(message.get("status", 0))

    await app(scope, receive, send)
    assert status[0] == 404


@pytest.mark.parametrize("path", CLOSED)
async def test_records_need_an_auditors_token(client, engine, owner_engine, auditor, three_hundred: Signer, path: str):
    """Anonymous, wrong, expired and revoked tokens get 401 with a challenge; a valid one reads."""
    old = await create_auditor_token(engine, "expired", 1)
    gone = await create_auditor_token(engine, "revoked", 1)
    async with engine.begin() as connection:
        await connection.execute(text("update auditor_token set expires_at = now() where name = 'expired'"))
        await connection.execute(text("update auditor_token set revoked_at = now() where name = 'revoked'"))
    wrong = [
        {},
        *(
            {"authorization": value}
            for value in (f"Bearer {old}", f"Bearer {gone}", "Bearer x", "Bearer ", "Basic eDp4", old, "Bearer " + "x" * 9999)
        ),
    ]
    for headers in wrong:
        reply = await client.get(path, headers=headers)
        assert reply.status_code == 401
        assert reply.headers["www-authenticate"] == 'Bearer realm="ledger"'
        assert reply.headers["content-type"] == "application/problem+json"
    assert (await client.get(path, headers=auditor)).status_code == 200


async def test_two_authorization_headers_are_none(client, auditor, three_hundred: Signer):
    """Which of them counts must not depend on the reader."""
    reply = await client.get(CLOSED[0], headers=[("authorization", auditor["authorization"]), ("authorization", "Bearer x")])
    assert reply.status_code == 401


@pytest.mark.parametrize("path", PUBLIC)
async def test_hashes_are_open(client, three_hundred: Signer, path: str):
    """Checkpoint and hash tiles need no token."""
    assert (await client.get(path)).status_code == 200


async def test_a_blob_is_read_by_its_digest(client, engine: AsyncEngine, auditor, ledger: Signer):
    """Auditors get the bytes; others do not."""
    async with write(engine) as transaction:
        name = await transaction.put_blob("text/plain", "告知书".encode())
    reply = await client.get(f"/ledger/blobs/{name}", headers=auditor)
    assert hashlib.sha256(reply.content).hexdigest() == name
    assert (await client.get(f"/ledger/blobs/{name}")).status_code == 401


async def test_before_the_first_checkpoint_nothing_is_shown(client, auditor, ledger: Signer):
    """503 for the checkpoint, 404 for tiles: unsigned records are not public."""
    assert (await client.get("/ledger/checkpoint")).status_code == 503
    for path in ("tile/0/000.p/1", "tile/entries/000.p/1"):
        assert (await client.get(f"/ledger/{path}", headers=auditor)).status_code == 404


async def test_what_was_signed_and_is_gone_is_410(engine, owner_engine, signer: Signer, client: httpx.AsyncClient, auditor):
    """Rows that somebody deleted below a signed head: not 404, which may mean that it is kept elsewhere; what is whole stays served."""
    async with write(engine) as transaction:
        for _ in range(300):
            transaction.append(StaffRegistered(staff="staff-1", role="auditor"))
    await signer.sign_now()
    async with owner_engine.begin() as owner:
        await owner.execute(text("alter table ledger_record disable trigger user"))
        await owner.execute(text("delete from ledger_record where idx = 270"))
    for path in ("tile/0/001.p/45", "tile/entries/001.p/45"):
        answer = await client.get(f"/ledger/{path}", headers=auditor)
        assert (answer.status_code, answer.json()["code"]) == (410, "ledger.gone")
    assert (await client.get("/ledger/tile/0/000")).status_code == 200
    assert (await client.get("/ledger/tile/0/002")).status_code == 404
