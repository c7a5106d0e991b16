"""An operator registers parties from JSON documents."""

import json

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from consent.demo.sample import new_code, new_key, public_part
from consent.errors import Conflict, InvalidRequest, NotFound
from consent.registry import KINDS, register

BANK = {"id": "test-bank", "kind": "bank", "name_zh": "测试银行", "name_en": "Test Bank", "status": "active", "purposes": ["pre_loan"]}

NUL = rb'{"institution_id": "test\u0000bank", "change": {"status": "active"}}'


async def registered(engine: AsyncEngine) -> None:
    """The bank, in a ledger that has begun."""
    assert await register(engine, "institution", json.dumps(BANK | {"uscc": new_code()}).encode()) == "test-bank"


async def test_every_kind_of_document_is_carried_out(engine: AsyncEngine) -> None:
    """What the library can register, a document can, and each id comes back."""
    await registered(engine)
    client = {
        "client_id": "test-client",
        "institution_id": "test-bank",
        "name": "test",
        "jwks": public_part(new_key()),
        "scopes": ["check"],
    }
    assert await register(engine, "client", json.dumps(client).encode()) == "test-client"
    enterprise = await register(engine, "subject", json.dumps({"kind": "enterprise", "name": "测试企业", "uscc": new_code()}).encode())
    person = await register(engine, "subject", json.dumps({"kind": "person", "name": "测试人员"}).encode())
    link = {"person_id": person, "enterprise_id": enterprise, "role": "legal_representative"}
    assert await register(engine, "link", json.dumps(link).encode()) == person
    account = {"username": "test-clerk", "password": "a long enough secret", "display_name": "测试", "subject_id": enterprise}
    assert await register(engine, "account", json.dumps(account).encode())
    raised = {"subject_id": enterprise, "level": "real_name"}
    assert await register(engine, "subject-change", json.dumps(raised).encode()) == enterprise
    stopped = {"client_id": "test-client", "status": "suspended"}
    assert await register(engine, "client-change", json.dumps(stopped).encode()) == "test-client"
    change = {"institution_id": "test-bank", "change": {"status": "suspended"}}
    assert await register(engine, "institution-change", json.dumps(change).encode()) == "test-bank"


async def test_a_malformed_document_changes_nothing(engine: AsyncEngine) -> None:
    """A clear refusal in both languages for every kind, never a stack trace."""
    for kind in KINDS:
        for body in (b"", b"[]", b"{", b'{"unknown": 1}', b"\xff", b'{"id": 1}', b" " * 300_000, NUL):
            with pytest.raises(InvalidRequest) as refused:
                await register(engine, kind, body)
            assert refused.value.zh
            assert refused.value.en


async def test_duplicates_and_unknown_references_are_named(engine: AsyncEngine) -> None:
    """A second institution of the same id conflicts; a client of nobody is not found."""
    await registered(engine)
    with pytest.raises(Conflict):
        await register(engine, "institution", json.dumps(BANK | {"uscc": new_code()}).encode())
    orphan = {"client_id": "orphan", "institution_id": "nobody", "name": "x", "jwks": public_part(new_key())}
    with pytest.raises(NotFound):
        await register(engine, "client", json.dumps(orphan).encode())


async def test_a_profile_only_narrows(engine: AsyncEngine) -> None:
    """A product that lists an item which none of its purposes needs is refused with the item named; one that narrows is taken."""
    product = {"code": "tax-loan-01", "name_zh": "税易贷", "name_en": "Tax loan", "purposes": ["pre_loan"]}

    def bank(items: list[str]) -> bytes:
        return json.dumps(BANK | {"uscc": new_code(), "products": [product | {"items": items}]}).encode()

    with pytest.raises(InvalidRequest, match="none of its purposes needs N24-07-02") as refused:
        await register(engine, "institution", bank(["N21-03-04", "N24-07-02"]))
    assert refused.value.code == "product.not_necessary"
    assert "N24-07-02" in refused.value.zh
    assert await register(engine, "institution", bank(["N21-03-04"])) == "test-bank"
    wider = {"institution_id": "test-bank", "change": {"products": [product | {"items": ["N24-07-02"]}]}}
    with pytest.raises(InvalidRequest, match="N24-07-02"):
        await register(engine, "institution-change", json.dumps(wider).encode())
    other = {"institution_id": "test-bank", "change": {"status": "suspended"}}
    assert await register(engine, "institution-change", json.dumps(other).encode()) == "test-bank"
