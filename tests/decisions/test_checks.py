"""What a check answers, from the question to the committed record."""

import asyncio
import base64
import random
from datetime import timedelta
from typing import Any

import pytest
from decisions_world import BANK, CATALOGUE, OPEN, OTHER_BANK, PERSON, PLATFORM, STATUS, TAX, VERIFY, World, ask, caller, new_uscc

from consent.decisions.service import DecisionService
from consent.ledger.writer import write
from consent.parties import service as parties


async def test_granted_item_is_permitted(service: DecisionService, world: World) -> None:
    """A grant to this bank for this purpose permits the item in detail, and the reply names the committed record."""
    grant = await world.grant(TAX)
    reply = await ask(service, BANK, world.enterprise)
    context = reply["context"]
    assert reply["decision"] is True
    assert context["outcome"] == "full"
    assert context["items"][0]["basis"] == "grant"
    assert context["items"][0]["grant_id"] == grant.id
    assert set(context["items"][0]["fields"]) == set(CATALOGUE.field_codes[TAX])
    assert context["solution"] is None
    assert context["max_age_seconds"] == 0
    record = (await world.records("access.decided"))[-1]
    assert record.index == context["ledger"]["index"]
    assert record.data["id"] == context["id"]
    assert record.data["policy"] == context["policy"]


async def test_reply_has_the_members_of_the_contract_in_order(service: DecisionService, world: World) -> None:
    """Design §4 fixes the reply; programs of others read it."""
    reply = await ask(service, BANK, world.enterprise, [TAX, OPEN])
    context = reply["context"]
    assert list(reply) == ["decision", "context"]
    assert list(context) == ["id", "outcome", "codes", "items", "solution", "policy", "catalogue", "ledger", "max_age_seconds"]
    names = ["item", "outcome", "basis", "grant_id", "fields", "withheld", "codes", "obligations", "flags"]
    assert [list(item) for item in context["items"]] == [names, names]
    assert set(context["solution"]) == {"zh", "en"}
    assert len(base64.b64decode(context["ledger"]["leaf"])) == 32


async def test_open_item_needs_no_grant(service: DecisionService, world: World) -> None:
    """What the lists share openly is permitted to an institution in good standing, also about an enterprise that nobody registered."""
    for enterprise in (world.enterprise, new_uscc()):
        reply = await ask(service, BANK, enterprise, [OPEN])
        assert reply["context"]["items"][0]["basis"] == "open"
        assert reply["context"]["items"][0]["outcome"] in {"permit", "permit_masked"}


@pytest.mark.parametrize("change", [{"status": "suspended"}, {"level": "registered"}])
async def test_persons_grant_counts_while_she_is_verified(service: DecisionService, world: World, change: dict[str, Any]) -> None:
    """A person who is suspended or no longer registered by her real name gives nothing; back in standing, what she granted counts again."""
    assert world.person_id is not None
    await world.grant(PERSON, by="person", action="verify")
    for members, full in ((change, False), ({"status": "active", "level": "real_name"}, True)):
        async with write(world.engine) as tx:
            await parties.change_subject(tx, world.person_id, **members)
        assert (await ask(service, BANK, world.enterprise, [PERSON], action="verify"))["decision"] is full


async def test_person_grants_what_is_hers(service: DecisionService, world: World) -> None:
    """An item about a natural person is permitted on her own grant and on nobody else's."""
    before = await ask(service, BANK, world.enterprise, [PERSON], action="verify")
    assert before["context"]["codes"] == ["item.person_consent_required"]
    grant = await world.grant(PERSON, by="person", action="verify")
    after = await ask(service, BANK, world.enterprise, [PERSON], action="verify")
    assert after["context"]["items"][0]["basis"] == "person"
    assert after["context"]["items"][0]["grant_id"] == grant.id


async def test_verification_item_gives_matches_only(service: DecisionService, world: World) -> None:
    """An item that its provider only verifies answers a query with verify_only, which is not what a query asks in full."""
    await world.grant(VERIFY)
    reply = await ask(service, BANK, world.enterprise, [VERIFY])
    assert reply["context"]["items"][0]["outcome"] == "verify_only"
    assert reply["decision"] is False


async def test_partial_when_one_item_is_not_granted(service: DecisionService, world: World) -> None:
    """One granted and one other item: partial, false, the granted one served."""
    await world.grant(TAX)
    reply = await ask(service, BANK, world.enterprise, [TAX, STATUS])
    assert reply["decision"] is False
    assert reply["context"]["outcome"] == "partial"
    assert [item["outcome"] for item in reply["context"]["items"]] == ["permit", "deny"]
    assert reply["context"]["codes"] == ["item.not_granted"]


async def test_only_the_granted_fields_are_served(service: DecisionService, world: World) -> None:
    """Fields outside the grant are withheld with a code."""
    field = f"{TAX}.03"
    await world.grant(TAX, fields=[field])
    reply = await ask(service, BANK, world.enterprise)
    item = reply["context"]["items"][0]
    assert item["fields"] == [field]
    assert item["outcome"] == "permit_masked"
    assert "field.not_granted" in item["codes"]


async def test_unknown_enterprise_other_banks_grant_and_no_grant_answer_alike(service: DecisionService, world: World) -> None:
    """No bank learns from the answer whether an enterprise is here or whom else it deals with (design §3.10)."""
    await world.grant(TAX)
    registered = await ask(service, OTHER_BANK, world.enterprise, institution="bank-b")
    stranger = await ask(service, OTHER_BANK, new_uscc(), institution="bank-b")
    assert _told(registered) == _told(stranger)
    records = await world.records("access.decided")
    assert [_shape(record.data) for record in records[-2:-1]] == [_shape(record.data) for record in records[-1:]]


async def test_same_enterprise_has_another_pseudonym_for_each_institution(service: DecisionService, world: World) -> None:
    """Records of two banks about one enterprise cannot be joined; those of one bank can."""
    await ask(service, BANK, world.enterprise)
    await ask(service, OTHER_BANK, world.enterprise, institution="bank-b")
    await ask(service, BANK, world.enterprise)
    first, second, third = [record.data["subject"] for record in (await world.records("access.decided"))]
    assert first != second
    assert first == third
    assert world.enterprise not in str([record.data for record in await world.records()])


async def test_unknown_institution_is_a_recorded_denial(service: DecisionService, world: World) -> None:
    """A platform that asks for an institution which nobody registered is told so, and the ledger does not hold the name."""
    reply = await ask(service, PLATFORM, world.enterprise, institution="bank-nowhere")
    assert reply["context"]["codes"] == ["institution.unknown"]
    record = (await world.records("access.decided"))[-1]
    assert record.data["institution"] == "unknown"
    assert record.data["platform"] == "platform-a"
    assert "nowhere" not in str(record.data)


async def test_unknown_words_are_denied_and_stand_as_unknown(service: DecisionService, world: World) -> None:
    """An unknown item, field, action, purpose or product is a denial; the ledger repeats none of them."""
    asked: list[dict[str, Any]] = [
        {"items": ["SECRET-WORD"]},
        {"items": [TAX], "fields": {TAX: ["SECRET.01", "SECRET.02"]}},
        {"items": [TAX], "action": "secretaction"},
        {"items": [TAX], "purpose": "secretpurpose"},
        {"items": [TAX], "product": "secretproduct"},
    ]
    for options in asked:
        reply = await ask(service, BANK, world.enterprise, **options)
        assert reply["decision"] is False
        assert reply["context"]["outcome"] == "none"
        assert reply["context"]["codes"]
    records = await world.records("access.decided")
    assert len(records) == len(asked)
    assert "secret" not in str([record.data for record in records]).lower()
    assert records[1].data["items"][0]["fields_requested"] == ["unknown"]


async def test_marketing_is_not_financing(service: DecisionService, world: World) -> None:
    """A known word that is no financing purpose has a code and stands in the ledger by its name."""
    await world.grant(TAX)
    reply = await ask(service, BANK, world.enterprise, purpose="marketing")
    assert reply["context"]["codes"] == ["purpose.not_financing"]
    assert (await world.records("access.decided"))[-1].data["purpose"] == "marketing"


async def test_free_references_stand_as_salted_digests(service: DecisionService, world: World) -> None:
    """Loan number and request_id are the caller's own; equal ones look different in the ledger, and never like themselves."""
    for n in range(2):
        await ask(service, BANK, world.enterprise, loan="LOAN-2026-1", request_id=f"request-{n}")
    first, second = await world.records("access.decided")
    assert len(first.data["loan"]) == len(first.data["request"]) == 43
    assert first.data["loan"] != second.data["loan"]
    assert "LOAN" not in str(first.data)


async def test_expired_grant_permits_nothing(service: DecisionService, world: World) -> None:
    """Expiry is computed when asked, by the database's clock."""
    await world.grant(TAX, lasting=timedelta(seconds=0.6))
    assert (await ask(service, BANK, world.enterprise))["decision"] is True
    codes: list[str] = []
    while not codes:
        codes = (await ask(service, BANK, world.enterprise))["context"]["codes"]
    assert codes == ["grant.expired"]


async def test_narrowing_and_revoking_hold_for_the_next_check(service: DecisionService, world: World) -> None:
    """Effective at once, item by item and as a whole."""
    grant = await world.grant(TAX, STATUS)
    assert (await ask(service, BANK, world.enterprise, [TAX, STATUS]))["decision"] is True
    await world.narrow(grant, "item-0")
    reply = await ask(service, BANK, world.enterprise, [TAX, STATUS])
    assert [item["codes"] for item in reply["context"]["items"]] == [["grant.revoked"], []]
    await world.revoke(grant)
    assert (await ask(service, BANK, world.enterprise, [TAX, STATUS]))["context"]["outcome"] == "none"


async def test_suspended_enterprise_is_not_verified(service: DecisionService, world: World) -> None:
    """A grant of an enterprise whose registration is not in order serves nobody."""
    await world.grant(TAX)
    from consent.ledger.writer import write
    from consent.parties import service as parties

    async with write(world.engine) as tx:
        await parties.change_subject(tx, world.enterprise_id, status="suspended")  # type: ignore[arg-type]
    assert (await ask(service, BANK, world.enterprise))["context"]["codes"] == ["subject.not_verified"]


async def test_platform_may_also_ask_as_an_institution_when_registered_for_it(service: DecisionService, world: World) -> None:
    """Scope `check` alone never asks for others, whatever kind the caller is."""
    both = caller("platform-a", "check", "check:any", kind="platform")
    reply = await ask(service, both, world.enterprise, [OPEN], institution="platform-a")
    assert reply["context"]["id"]
    assert (await world.records("access.decided"))[-1].data["attested"] == "institution"


async def test_record_says_for_whom_else_and_for_which_data(service: DecisionService, world: World) -> None:
    """Whatever a replay needs of the question stands in the record; what names nothing of ours stands as `unknown`, whoever wrote it."""
    await world.grant(TAX, via=["platform-a", "platform-b"], processor="bank-b")
    asked = {"via": ["platform-b"], "processor": "bank-b", "data_from": "2025-01-01", "data_to": "2025-12-31"}
    foreign = {"via": ["Zhang.San", "platform-a", "13800138000"], "processor": "x", "model": "m"}
    expected: list[tuple[dict[str, Any], tuple[Any, ...]]] = [
        (asked, ("bank-b", ["platform-b"], None)),
        (foreign, ("unknown", ["unknown", "platform-a"], "unknown")),
        ({}, (None, [], None)),
    ]
    for options, named in expected:
        await ask(service, BANK, world.enterprise, **options)
        data = (await world.records("access.decided"))[-1].data
        assert (data["processor"], data["via"], data["model"]) == named
        assert (data["data_from"], data["data_to"]) == (options.get("data_from"), options.get("data_to"))


async def test_any_well_formed_words_are_decided(service: DecisionService, world: World) -> None:
    """Whatever a check names in the right shape, known or not, the outcome is a recorded decision."""
    await world.grant(TAX, OPEN, VERIFY)
    dice = random.Random(20261120)
    items = [*CATALOGUE.items, "X", "n21-03-04", "N21-03-04.01", "0", "unknown"]
    words = ["pre_loan", "approval", "marketing", "X", "a.b-c_d", "unknown", "NULL", "9" * 64, "tax-loan"]
    fields = [*CATALOGUE.field_codes[TAX], f"{TAX}.99", "x", "unknown"]
    actions = ["query", "verify", "model", "push", "report", "collect", "x"]
    checks = []
    for _ in range(80):
        asked = dice.sample(items, dice.randint(1, 4))
        options: dict[str, Any] = {
            "purpose": dice.choice(words),
            "action": dice.choice(actions),
        }
        for name in ("product", "model", "processor", "loan", "channel", "terminal_id"):
            if dice.random() < 0.2:
                options[name] = dice.choice(words)
        if dice.random() < 0.3:
            options["fields"] = {asked[0]: dice.sample(fields, dice.randint(1, 5))}
        if dice.random() < 0.2:
            options |= {"via": dice.sample(words, 2), "data_from": "1990-01-01", "data_to": "2030-01-01"}
        if dice.random() < 0.3:
            checks.append(ask(service, PLATFORM, world.enterprise, asked, institution=dice.choice(["bank-a", "bank-x"]), **options))
        else:
            checks.append(ask(service, BANK, world.enterprise, asked, **options))
    replies = await asyncio.gather(*checks)
    assert all(reply["decision"] or reply["context"]["codes"] for reply in replies)
    assert "policy.unavailable" not in {code for reply in replies for code in reply["context"]["codes"]}
    assert len(await world.records("access.decided")) == len(checks)


def _told(reply: dict[str, Any]) -> dict[str, Any]:
    context = {name: value for name, value in reply["context"].items() if name not in {"id", "ledger"}}
    return {**reply, "context": context}


def _shape(data: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in data.items() if name not in {"id", "subject"}}
