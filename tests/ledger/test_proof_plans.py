"""What a proof reads does not grow with the ledger."""

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from consent.ledger import store


async def test_each_range_is_read_by_its_index(engine: AsyncEngine, owner_engine: AsyncEngine) -> None:
    """Sixteen ranges of a tree of half a million records were read by going through all of its nodes, once the planner knew them."""
    async with owner_engine.begin() as owner:
        fill = "insert into ledger_node select 1, n, sha256(int4send(n)) from generate_series(0, 2343) as n"
        await owner.execute(text(fill))
        await owner.execute(text("analyze ledger_node"))
    ranges = {"levels": [1] * 8, "firsts": [780, 782, 776, 768, 784, 800, 832, 896], "counts": [1, 2, 4, 8, 16, 32, 64, 128]}
    async with engine.connect() as connection:
        plan = "\n".join((await connection.execute(text(f"explain {store._NODE_RANGES}"), ranges)).scalars())
        found = (await connection.execute(store._NODE_RANGES, ranges)).all()
    assert "Index Scan using ledger_node_pkey" in plan
    assert "Seq Scan" not in plan
    assert [row.place for row in found] == [place for place, count in enumerate(ranges["counts"], 1) for _ in range(count)]
