"""A client's own allow-list of items and purposes: what goes beyond is refused at PAR by the policies, with a code per detail."""

from typing import Any

import pytest
from oauth_world import ITEM, SECOND_ITEM, Caller, detail
from sample_parties import public_jwks
from sqlalchemy.ext.asyncio import AsyncEngine

from consent import registry
from consent.errors import InvalidRequest
from consent.ledger.writer import write
from consent.parties import service


async def allow(engine: AsyncEngine, **lists: Any) -> None:
    async with write(engine) as tx:
        await service.change_client(tx, "bank-a-client", **lists)


async def test_items_and_purposes(engine: AsyncEngine, bank: Caller) -> None:
    """One detail beyond refuses the request, and its verdict says which; what the list names is taken."""
    await allow(engine, allowed_items=[ITEM], allowed_purposes=["pre_loan"])
    assert (await bank.push()).status_code == 201
    reply = await bank.push(detail(), detail(SECOND_ITEM))
    assert (reply.status_code, reply.json()["error"]) == (400, "invalid_authorization_details")
    verdicts = {one["identifier"]: (one["verdict"], bool(one["codes"])) for one in reply.json()["verdicts"]}
    assert verdicts == {f"x-{ITEM}": ("keep", False), f"x-{SECOND_ITEM}": ("refuse", True)}
    await allow(engine, allowed_purposes=["approval"])
    reply = await bank.push()
    assert [one["codes"] for one in reply.json()["verdicts"]] == [["purpose.not_declared"]]


async def test_an_empty_list_allows_nothing(engine: AsyncEngine, bank: Caller, other_bank: Caller) -> None:
    """Empty is not absent; another client's list is nobody else's."""
    await allow(engine, allowed_items=[])
    assert (await bank.push()).status_code == 400
    assert (await other_bank.push()).status_code == 201


@pytest.mark.parametrize("lists", [{"allowed_items": ["N99-01-01"]}, {"allowed_purposes": ["marketing"]}], ids=["item", "purpose"])
async def test_words_that_the_catalogue_does_not_know(engine: AsyncEngine, lists: dict[str, Any]) -> None:
    """A misspelt entry would forbid more than was meant, so registration refuses it."""
    document = registry.ClientDocument(client_id="new-client", institution_id="bank-a", name="x", jwks=public_jwks("new"), **lists)
    with pytest.raises(InvalidRequest, match="no such item or purpose"):
        registry._check_allowed(document)
