"""What the tests of grants share: registered parties, and a way to ask and approve."""

import secrets
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from sample_parties import NOTICE, Parties, make_detail, register
from sqlalchemy.ext.asyncio import AsyncEngine

from consent.catalogue.load import load
from consent.grants import service
from consent.grants.model import Detail, Grant
from consent.ledger.writer import write

Approve = Callable[..., Awaitable[Grant]]


@pytest.fixture
async def parties(engine: AsyncEngine) -> Parties:
    """Registered sample parties."""
    return await register(engine)


@pytest.fixture
def details() -> list[Detail]:
    """Three enterprise items; the second is called required."""
    return [
        make_detail("N21-03-04", "tax", retention_days=365),
        make_detail("N21-03-01", "grade", necessity="required"),
        make_detail("N21-03-03", "arrears", via=("conduit-a",), processor="processor-a"),
    ]


@pytest.fixture
def approve(engine: AsyncEngine, parties: Parties, details: list[Detail]) -> Approve:
    """Approve a new request in a transaction of its own; keyword arguments change what is approved."""

    async def run(**members: Any) -> Grant:
        values: dict[str, Any] = {
            "catalogue": load(),
            "request_id": secrets.token_urlsafe(16),
            "institution_id": parties.institution_id,
            "client_id": parties.client_id,
            "subject_id": parties.enterprise_id,
            "enterprise_id": parties.enterprise_id,
            "by": "enterprise",
            "details": details,
            "approved": {detail.identifier for detail in members.get("details", details)},
            "notice": NOTICE,
        }
        async with write(engine) as tx:
            return await service.approve(tx, **(values | members))

    return run
