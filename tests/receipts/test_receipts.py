"""`GET /ledger/proof/{index}`: each party gets its own records with their proof, and nothing of anybody else's."""

from typing import Any

import httpx
import pytest
from oauth_world import caller
from receipts_world import open_proof
from sample_parties import PERSON_ITEM
from sqlalchemy import text
from web_world import HTML, Browser, World, detail

from consent.ledger.events import AccessDelivered, GrantRequestRefused, encode
from consent.ledger.parts import DeliveredItem
from consent.ledger.signer import Signer
from consent.ledger.writer import write
from consent.parties.accounts import create_account
from consent.parties.pseudonyms import pseudonym_for


async def granted(world: World, ledger: Signer) -> tuple[Browser, int]:
    """The enterprise's browser after it granted to bank-a, and the record of it, signed."""
    browser = await world.signed_in()
    assert (await browser.answer(await world.push(), "approve", "d1")).status_code == 303
    await ledger.sign_now()
    [row] = await world.rows("select max(idx) as idx from ledger_record")
    return browser, row.idx


async def ask(http: httpx.AsyncClient, name: str, index: int, scope: str = "check") -> httpx.Response:
    """A program of `name` asks for a proof."""
    program = caller(http, name)
    return await program.call(f"/ledger/proof/{index}", await program.token(scope))


async def test_each_party_gets_its_record(world: World, http, auditor, ledger: Signer, key):
    """The bank by its token, the enterprise by her session, an auditor: the same bytes, proven below the newest checkpoint."""
    browser, index = await granted(world, ledger)
    replies = [
        await ask(http, "bank-a", index),
        await browser.client.get(f"/ledger/proof/{index}"),
        await http.get(f"/ledger/proof/{index}", headers=auditor),
    ]
    records = [open_proof(reply, key.verifier, index) for reply in replies]
    assert records[0]["type"] == "grant.approved"
    assert records[0] == records[1] == records[2]
    assert replies[0].headers["cache-control"] == "private, no-store"
    assert replies[0].headers["content-disposition"] == f'attachment; filename="ledger-{index}.tlog-proof"'


async def test_a_foreign_record_and_a_missing_one_answer_alike(world: World, http, ledger: Signer):
    """Another bank, a platform, another enterprise, a person: word for word the answer for a record that is not there."""
    _, index = await granted(world, ledger)
    for name, scope in (("bank-b", "check"), ("platform-a", "check:any")):
        foreign, missing = [await ask(http, name, n, scope) for n in (index, 999)]
        assert (foreign.status_code, foreign.content) == (404, missing.content)
    for username in ("wu.qi", "shi.li"):
        browser = await world.signed_in(username)
        foreign, missing = [await browser.client.get(f"/ledger/proof/{n}") for n in (index, 999)]
        assert (foreign.status_code, foreign.content) == (404, missing.content)


async def test_nobody_gets_nothing(world: World, http, engine, ledger: Signer):
    """Without a token or session 401 with the ways in; a browser is led to sign in; wrong tokens and staff get nothing."""
    _, index = await granted(world, ledger)
    path = f"/ledger/proof/{index}"
    reply = await http.get(path)
    assert (reply.status_code, reply.headers["www-authenticate"]) == (401, 'Bearer realm="ledger", DPoP realm="ledger"')
    reply = await http.get(path, headers=HTML)
    assert (reply.status_code, reply.headers["location"]) == (303, f"/login?next=%2Fledger%2Fproof%2F{index}")
    program = caller(http, "bank-a")
    token = await program.token()
    for value in (f"Bearer {token}", "Bearer x", "DPoP x", "Basic eDp4"):
        assert (await http.get(path, headers={"authorization": value})).status_code == 401
    regulator = await world.signed_in("lin.lan")
    assert (await regulator.client.get(path)).status_code == 403
    browser = await world.signed_in()
    assert (await browser.client.get(path, headers={"authorization": "Bearer x"})).status_code == 401


async def test_an_auditor_with_a_session_reads(world: World, engine, ledger: Signer, key):
    """A member of staff with that role gets the proof of any record."""
    await create_account(engine, username="jin.hai", password="lotus-under-the-stone-bridge", display_name="金海", role="auditor")
    _, index = await granted(world, ledger)
    browser = world.browser()
    assert (await browser.sign_in("jin.hai")).status_code == 303
    open_proof(await browser.client.get(f"/ledger/proof/{index}"), key.verifier, index)


async def test_a_token_of_one_grant_is_not_enough(world: World, http, engine, ledger: Signer):
    """The token of the code flow is for the platform's own API: it carries no scope of ours."""
    _, index = await granted(world, ledger)
    program = caller(http, "bank-a")
    token = await program.token()
    async with engine.begin() as connection:
        await connection.execute(text("update access_token set scopes = '{}'"))
    reply = await program.call(f"/ledger/proof/{index}", token)
    assert (reply.status_code, reply.json()["code"]) == (403, "insufficient_scope")


async def delivered(world: World, **members: Any) -> int:
    """A decision of bank-b about the enterprise, and platform-a's report on it. Returns the index of the report."""
    async with write(world.engine) as tx:
        await tx.connection.execute(
            text("""
            insert into decision (id, idx, client_id, institution_id, identifier, request_hash, response, created_at)
            values ('dec-1', :idx, 'platform-a-client', 'bank-b', :identifier, :hash, :hash, :at)
            """),
            {"idx": tx.size, "identifier": world.parties.enterprise.uscc, "hash": bytes(32), "at": tx.time},
        )
        item = DeliveredItem(item="N21-03-04", fields=("N21-03-04.03",))
        return tx.append(AccessDelivered(decision="dec-1", index=tx.size, platform="platform-a", items=(item,)))


async def test_a_report_of_deliveries_belongs_to_its_decisions_parties(world: World, http, ledger: Signer, key):
    """The record names the platform alone; bank and enterprise are found through the decision."""
    index = await delivered(world)
    await ledger.sign_now()
    for name, scope in (("bank-b", "check"), ("platform-a", "check:any")):
        open_proof(await ask(http, name, index, scope), key.verifier, index)
    browser = await world.signed_in()
    open_proof(await browser.client.get(f"/ledger/proof/{index}"), key.verifier, index)
    assert (await ask(http, "bank-a", index)).status_code == 404
    assert (await (await world.signed_in("wu.qi")).client.get(f"/ledger/proof/{index}")).status_code == 404


async def test_unknown_is_nobodys_name(world: World, http, engine, ledger: Signer):
    """A record of a caller that nobody registered stands under `unknown`; an institution of that id would not get it."""
    async with write(engine) as tx:
        pseudonym = await pseudonym_for(tx.connection, "unknown", world.parties.enterprise.uscc or "")
        values = {"request": "r-1", "institution": "unknown", "client": pseudonym, "verdicts": (), "policy": "p", "catalogue": "c"}
        members = {name: values.get(name, 0) for name in GrantRequestRefused.__struct_fields__}
        index = tx.append_encoded(GrantRequestRefused.TYPE, encode(GrantRequestRefused(**members)))
    await ledger.sign_now()
    async with engine.begin() as connection:
        await connection.execute(
            text("insert into institution (id, kind, uscc, name_zh, name_en, status) values ('unknown', 'bank', 'x', 'x', 'x', 'active')")
        )
        await connection.execute(text("update client set institution_id = 'unknown' where id = 'bank-b-client'"))
    assert (await ask(http, "bank-b", index)).status_code == 404


@pytest.mark.parametrize("spelling", ["-1", "+1", "01", "1e2", "1.0", " 1", "%D9%A0", "9" * 20, "9223372036854775808"])
async def test_an_index_has_one_spelling(http, auditor, ledger: Signer, spelling: str):
    """404, never a 500."""
    await ledger.sign_now()
    assert (await http.get(f"/ledger/proof/{spelling}", headers=auditor)).status_code == 404


async def test_before_the_first_checkpoint_there_is_no_proof(http, auditor, ledger: Signer):
    """What is not signed is not proven."""
    assert (await http.get("/ledger/proof/0", headers=auditor)).status_code == 404


async def test_a_proof_carries_the_witnessed_checkpoint(world: World, http, engine, auditor, ledger: Signer, key):
    """Where one covers the record; on a busy ledger the newest has no cosignature yet. What is younger is proven below the newest."""
    _, index = await granted(world, ledger)
    async with engine.begin() as connection:
        await connection.execute(text("insert into ledger_head_stage (stage, size) values ('witnessed', :size)"), {"size": index + 1})
    newer = await delivered(world)
    await ledger.sign_now()
    for n, size in ((index, index + 1), (newer, newer + 1)):
        reply = await http.get(f"/ledger/proof/{n}", headers=auditor)
        open_proof(reply, key.verifier, n)
        assert int(reply.text.partition("\n\n")[2].split("\n")[1]) == size


async def test_a_commitment_is_its_subjects_record(world: World, http, auditor, ledger: Signer, key):
    """Registration and links name nobody; what is kept beside them says whose they are. Another enterprise does not get them."""
    await ledger.sign_now()
    rows = await world.rows("select idx, owner from evidence order by idx, place")
    hers = [row.idx for row in rows if row.owner == world.parties.enterprise.id]
    assert len(hers) == 2  # registered, and linked to a person
    browser, other, person = [await world.signed_in(name) for name in ("zhou.min", "wu.qi", "shi.li")]
    for index in hers:
        open_proof(await browser.client.get(f"/ledger/proof/{index}"), key.verifier, index)
        assert (await other.client.get(f"/ledger/proof/{index}")).status_code == 404
    open_proof(await person.client.get(f"/ledger/proof/{hers[1]}"), key.verifier, hers[1])
    assert (await person.client.get(f"/ledger/proof/{hers[0]}")).status_code == 404


async def test_a_person_gets_the_proof_of_what_she_granted(world: World, http, ledger: Signer, key):
    """The record's subject is the enterprise that it was for; she gave it all the same, and another person did not."""
    person = await world.signed_in("shi.li")
    assert (await person.answer(await world.push(detail(PERSON_ITEM, "family")), "approve", "d1")).status_code == 303
    await ledger.sign_now()
    [row] = await world.rows("select max(idx) as idx from ledger_record")
    record = open_proof(await person.client.get(f"/ledger/proof/{row.idx}"), key.verifier, row.idx)
    assert (record["type"], record["data"]["by"]) == ("grant.approved", "person")
    other = await world.signed_in("wu.qi")
    assert (await other.client.get(f"/ledger/proof/{row.idx}")).status_code == 404
