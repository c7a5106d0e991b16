"""What a platform really served, reported by decision and held against it. The ledger holds checks, not fetches: this is how they meet.

One report for a decision, by the platform that decided it or that redeemed the institution's ticket; naming the ticket or the redeeming
decision means the same. A report of more than was decided is refused and recorded nowhere.
"""

import base64
from typing import Any

import msgspec
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from consent import db
from consent.decisions.schema import Delivery
from consent.errors import Conflict, InvalidRequest, NotFound
from consent.ledger.events import AccessDelivered
from consent.ledger.parts import DeliveredItem
from consent.ledger.writer import write
from consent.parties.access import AnyChecker

# The platform's own decision: the one named, or the one that redeemed it.
_DECISION = text("""
    select e.id, e.idx, cast(e.ticket as text) as terms, exists (select from delivery where decision_id = e.id) as reported
      from decision d join decision e on e.id = coalesce(d.redeemed_by, d.id) join client c on c.id = e.client_id
     where d.id = :id and c.institution_id = :platform and e.institution_id <> :platform
""")
_INSERT = text("insert into delivery (decision_id, client_id, idx, at) values (:decision, :client, :idx, :at)")


async def deliver(engine: AsyncEngine, caller: AnyChecker, delivery: Delivery) -> bytes:
    """Record a report; returns the reply as JSON.

    Raises:
        NotFound: no such decision, or not this platform's.
        InvalidRequest: an item or field that was not decided.
        Conflict: it was reported already.
        DatabaseUnavailable: as in `write`.
    """
    # Refused before the ledger's lock is asked for; looked at again under it, where only `reported` can have changed.
    async with db.read(engine) as connection:
        await _checked(connection, caller, delivery)
    async with write(engine) as transaction:
        row = await _checked(transaction.connection, caller, delivery)
        event = AccessDelivered(
            decision=row.id,
            index=row.idx,
            platform=caller.institution_id,
            items=tuple(DeliveredItem(item=part.item, fields=tuple(part.fields)) for part in delivery.items),
        )
        index = transaction.append(event)
        values = {"decision": row.id, "client": caller.client_id, "idx": index, "at": transaction.time}
        await transaction.connection.execute(_INSERT, values)
    leaf = base64.b64encode(transaction.receipts[0].leaf).decode()
    return msgspec.json.encode({"decision": row.id, "ledger": {"index": index, "leaf": leaf}})


async def _checked(connection: AsyncConnection, caller: AnyChecker, delivery: Delivery) -> Any:
    values = {"id": delivery.decision, "platform": caller.institution_id}
    row = (await connection.execute(_DECISION, values)).one_or_none()
    if row is None:
        raise NotFound("没有这个决定，或它不属于本平台。", "No such decision of this platform.", member="decision")
    if row.reported:
        raise Conflict("该决定的提供情况已经上报。", "What was served under this decision has been reported already.")
    decided = {} if row.terms is None else msgspec.json.decode(row.terms)["items"]
    for n, part in enumerate(delivery.items):
        if part.item not in decided or not set(part.fields) <= set(decided[part.item]):
            raise InvalidRequest("上报内容超出了决定的范围。", "More was reported than was decided.", member=f"items[{n}]")
    return row
