"""An enterprise takes the proof of a record home, in a real browser at phone width."""

import asyncio
import re
from pathlib import Path

import httpx
import pytest
from browser_world import Service
from playwright.async_api import Page, expect
from test_consent_journey import no_sideways_scrolling, sign_in

from consent_audit.note import Verifier
from consent_audit.policy import Policy
from consent_audit.proof import Proof
from consent_audit.record import decode_record

pytestmark = pytest.mark.browser


async def signed(service: Service) -> None:
    """Wait until the newest checkpoint covers all records."""
    [row] = await service.world.rows("select max(idx) + 1 as size from ledger_record")
    async with httpx.AsyncClient(base_url=service.url) as client:
        for _ in range(100):
            if (await client.get("/ledger/checkpoint")).text.split("\n")[1] == str(row.size):
                return
            await asyncio.sleep(0.1)
    raise AssertionError("no checkpoint within ten seconds")


async def test_the_proof_of_a_grant_is_downloaded(phone: Page, service: Service, bank_url: str) -> None:
    """Grant → her grant's page → download: a file that anybody checks with the ledger's key alone."""
    await phone.goto(await service.world.push())
    await sign_in(phone)
    await phone.get_by_label(re.compile("纳税信息")).check()
    await phone.get_by_label(re.compile("我已读完并理解")).check()
    await phone.get_by_role("button", name=re.compile("同意所选")).click()
    await phone.wait_for_url(f"{bank_url}*")
    [grant] = await service.world.rows("select id from consent_grant")
    await phone.goto(f"/my/grants/{grant.id}")
    await no_sideways_scrolling(phone)
    await expect(phone.get_by_role("link", name=re.compile("下载凭证"))).to_have_count(1)
    await signed(service)
    async with phone.expect_download() as waiting:
        await phone.get_by_role("link", name=re.compile("下载凭证")).click()
    download = await waiting.value
    assert re.fullmatch(r"ledger-\d+\.tlog-proof", download.suggested_filename)
    proof = Proof.parse(Path(await download.path()).read_bytes())
    assert proof.extra is not None
    proof.verify(proof.extra, Policy.trusting(Verifier.parse(service.vkey)))
    record = decode_record(proof.extra)
    assert (record.type, record.data["grant"]) == ("grant.approved", grant.id)
