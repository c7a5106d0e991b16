"""Who at the bank asked, for which loan: salted digests in the ledger, opened from beside it."""

import msgspec
from decisions_world import BANK, TAX, World, request
from sqlalchemy import text

from consent.decisions import schema
from consent.decisions.service import DecisionService
from consent.ledger.evidence import digest_of, salt_of

REFERENCES = {"loan": "LOAN-2026-1", "operator": "teller-0042", "branch": "branch-7", "request": "request-1"}


async def test_references_of_a_check_can_be_opened(service: DecisionService, world: World) -> None:
    """Operator, branch, loan and request id: none stands in the record, and the evidence row opens each of them."""
    asked = request(world.enterprise, (TAX,), loan=REFERENCES["loan"], request_id=REFERENCES["request"])
    asked["subject"]["properties"] = {"operator": REFERENCES["operator"], "branch": REFERENCES["branch"]}
    await service.check(BANK, schema.decode_evaluation(msgspec.json.encode(asked)))
    [record] = await world.records("access.decided")
    async with world.engine.connect() as connection:
        statement = text("select owner, secret, members from evidence where idx = :idx")
        row = (await connection.execute(statement, {"idx": record.index})).one()
    assert (row.owner, row.members) == (None, REFERENCES)
    assert {name: record.data[name] for name in REFERENCES} == {
        name: digest_of(salt_of(row.secret, name), value) for name, value in REFERENCES.items()
    }
    assert not any(value in str(record.data) for value in REFERENCES.values())


async def test_a_check_without_them_says_so(service: DecisionService, world: World) -> None:
    """Nothing was said: null, and no evidence."""
    await service.check(BANK, schema.decode_evaluation(msgspec.json.encode(request(world.enterprise, (TAX,)))))
    [record] = await world.records("access.decided")
    assert [record.data[name] for name in REFERENCES] == [None] * 4
    async with world.engine.connect() as connection:
        assert await connection.scalar(text("select count(*) from evidence where idx = :idx"), {"idx": record.index}) == 0
