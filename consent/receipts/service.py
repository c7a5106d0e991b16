"""Use case: the proof of one record for one of its parties. A foreign record and one that is not there answer alike."""

from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from consent import db
from consent.ledger.proofs import Proven, no_such_record, prove, record_of
from consent.receipts import store
from consent.receipts.model import Institution, Named, Reader, Subject, named_in

_DELIVERED = "access.delivered"


async def receipt(engine: AsyncEngine, reader: Reader, index: int) -> Proven:
    """The record's bytes and its proof below the newest checkpoint.

    Raises:
        NotFound: no such record, not signed yet, or the reader is no party of it.
    """
    async with db.read(engine) as connection:
        if not await _may_read(connection, reader, index):
            raise no_such_record()
        return await prove(connection, index)


async def _may_read(connection: AsyncConnection, reader: Reader, index: int) -> bool:
    kind, named = named_in(await record_of(connection, index))
    # Only a report of deliveries names the decision that it belongs to; elsewhere `decision` is the answer itself.
    decision = named.decision if kind == _DELIVERED and isinstance(named.decision, str) else None
    match reader:
        case Institution(own):
            if own in named.institutions:
                return True
            return decision is not None and await store.institution_of_decision(connection, decision) == own
        case Subject(own_id):
            return await store.commits_to(connection, index, own_id) or await _concerns(connection, named, decision, own_id)
        case _:
            return True


async def _concerns(connection: AsyncConnection, named: Named, decision: str | None, subject: UUID) -> bool:
    if named.subject is not None and await store.is_pseudonym_of(connection, named.subject, subject):
        return True
    # The subject of a person's grant is the enterprise that it was for; she is a party of it all the same.
    if named.grant is not None and await store.was_granted_by(connection, named.grant, subject):
        return True
    return decision is not None and await store.is_about(connection, decision, subject)
