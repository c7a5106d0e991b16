"""What an operator's machines are told about the ledger: ready or not, and what is the matter beside it."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import httpx
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from consent.app import create_app
from consent.ledger.events import StaffRegistered
from consent.ledger.keys import generate_key
from consent.ledger.writer import write
from consent.settings import Settings, SettingsError
from consent_audit.cosigner import Cosigner

ISSUER = "http://127.0.0.1:8000"
ORIGIN = "127.0.0.1:8000/ledger"


@pytest.fixture
def settings(database, tmp_path: Path) -> Settings:
    """A whole configuration, its policies run in-process."""
    generate_key(tmp_path / "key", ORIGIN)
    (tmp_path / "heads").mkdir()
    return Settings(database_url=database.app_url, issuer=ISSUER, ledger_key_file=tmp_path / "key", head_store=tmp_path / "heads").checked()


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    app = create_app(settings)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(app.lifespan())
        yield await stack.enter_async_context(httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=ISSUER))


async def settled(client: httpx.AsyncClient, wanted: Callable[[httpx.Response], bool]) -> httpx.Response:
    async with asyncio.timeout(20):
        while not wanted(answer := await client.get("/readyz")):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    return answer


async def shown(client: httpx.AsyncClient) -> None:
    async with asyncio.timeout(20):
        while (await client.get("/ledger/checkpoint")).status_code != 200:  # noqa: ASYNC110
            await asyncio.sleep(0.05)


async def test_a_whole_service_is_ready_and_counts(settings: Settings):
    """Ready without a warning, and /metrics speaks Prometheus' format of the signed size."""
    async with running(settings) as client:
        await settled(client, lambda answer: answer.text == "ready\n")
        await shown(client)
        answer = await client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert "consent_ledger_signed_size" in answer.text
    assert "# TYPE consent_ledger_durable_seconds histogram" in answer.text


async def test_a_store_that_is_gone_is_told_and_harms_no_check(settings: Settings, tmp_path: Path):
    """Signing stops, the service stays ready and says by a code what is the matter, never by a path; it signs again by itself."""
    async with running(settings) as client:
        await settled(client, lambda answer: answer.text == "ready\n")
        (tmp_path / "heads").rename(tmp_path / "unmounted")
        answer = await settled(client, lambda answer: "warning" in answer.text)
        assert (answer.status_code, answer.text.splitlines()[0]) == (200, "ready")
        assert "ledger.head_store" in answer.text
        assert str(tmp_path) not in answer.text
        (tmp_path / "unmounted").rename(tmp_path / "heads")
        await settled(client, lambda answer: answer.text == "ready\n")


async def test_a_rolled_back_database_is_not_ready_and_records_nothing(settings: Settings, owner_engine: AsyncEngine, caplog):
    """Neither a running process nor one that is started anew: 503 with the reason and what to do, in both languages."""
    async with running(settings) as client:
        async with write(owner_engine) as transaction:
            last = transaction.append(StaffRegistered(staff="staff-1", role="auditor"))
        async with asyncio.timeout(20):
            while f"\n{last + 1}\n" not in (await client.get("/ledger/checkpoint")).text:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        async with owner_engine.begin() as owner:
            for table, column in (("ledger_record", "idx"), ("ledger_head", "size - 1"), ("ledger_head_stage", "size - 1")):
                await owner.execute(text(f"alter table {table} disable trigger user"))
                await owner.execute(text(f"delete from {table} where {column} >= {last}"))
        answer = await settled(client, lambda answer: answer.status_code == 503)
    assert answer.json()["code"] == "ledger.rolled_back"
    assert "point-in-time recovery" in answer.text
    assert "时间点恢复" in answer.text
    with caplog.at_level(logging.CRITICAL):
        async with running(settings) as client:
            assert (await client.get("/readyz")).json()["code"] == "ledger.rolled_back"
    assert any("no checkpoint was signed: RolledBack" in line for line in caplog.messages)


async def test_an_absent_witness_is_told(settings: Settings, tmp_path: Path):
    """The service is ready, its checkpoints are shown, and readiness and metrics name the witness by its name in the policy."""
    witness = Cosigner.generate("witness.example.org/w").verifier
    (tmp_path / "policy").write_text(f"witness w1 {witness.vkey} http://127.0.0.1:1/\nquorum w1\n")
    async with running(_with(settings, tmp_path / "policy")) as client:
        answer = await settled(client, lambda answer: "witness" in answer.text)
        assert answer.text == "ready\nwarning: witness w1 does not cosign: absent\n"
        await shown(client)
        assert (await client.get("/ledger/checkpoint.witnessed")).status_code == 404
        assert 'consent_ledger_witness_failures_total{trouble="absent",witness="w1"}' in (await client.get("/metrics")).text


@pytest.mark.parametrize(
    ("policy", "why"),
    [
        ("quorum none", "cut"), ("quorum w\n", "not defined"), ("log {other}\nquorum none\n", "names no log"),
        ("witness w {w} ftp://a\nquorum w\n", "not http"),
    ],
)  # fmt: skip
def test_a_policy_that_cannot_be_one_stops_the_start(settings: Settings, tmp_path: Path, policy: str, why: str):
    """Named with its line, before anything runs."""
    from consent_audit.note import Signer

    witness = Cosigner.generate("witness.example.org/w").verifier
    (tmp_path / "policy").write_text(policy.format(other=Signer.generate("other.example.org").vkey, w=witness.vkey))
    with pytest.raises(SettingsError, match=why):
        create_app(_with(settings, tmp_path / "policy"))


def _with(settings: Settings, policy: Path) -> Settings:
    import msgspec

    return msgspec.structs.replace(settings, witness_policy=policy)
