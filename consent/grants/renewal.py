"""A consent that changes a grant instead of making one (FAPI Grant Management §4): it takes the grant's place, or adds to it.

The grant keeps its id, so whoever holds it goes on; its version rises and its access tokens end, as with every other change. The
subject sees the whole request and the notice as for a new grant, and ticks afresh: nothing is taken over that she was not shown, except
what she granted before and the request leaves alone.
"""

from collections.abc import Collection, Sequence
from typing import Literal
from uuid import UUID

import msgspec

from consent.catalogue.model import Catalogue
from consent.errors import Conflict, InvalidRequest
from consent.grants import store
from consent.grants.model import Actor, Detail, Grant, Notice
from consent.grants.records import approved_event
from consent.grants.service import check_institution, check_notice, check_subject, grant_of, record, sort_out
from consent.ledger import events
from consent.ledger.writer import LedgerTransaction
from consent.parties.pseudonyms import pseudonym_for

Renewal = Literal["replace", "merge"]

MAX_ITEMS = 128
"""As many details as a record holds (docs/spec/ledger.md)."""
MAX_PLACES = 9999

_EVENTS: dict[Renewal, type[events.GrantApproved]] = {"replace": events.GrantReplaced, "merge": events.GrantMerged}


async def renew(
    tx: LedgerTransaction,
    how: Renewal,
    grant_id: str,
    *,
    catalogue: Catalogue,
    request_id: str,
    client_id: str,
    subject_id: UUID,
    details: Sequence[Detail],
    approved: Collection[str],
    notice: Notice,
) -> Grant:
    """Change the subject's own grant by what she chose from a request.

    Args:
        how: `replace` ends all that was granted before; `merge` ends only what the request asks anew, item by item, purpose and action.
        client_id: the client that asks, which must be the one that the grant was given to.
        details, approved, notice: as for `consent.grants.service.approve`.

    Raises:
        NotFound: no such grant of this subject and client.
        Conflict: the grant was revoked or is held, or would grow beyond 128 details.
        InvalidRequest, Forbidden: as `approve`; `grant.identifier_taken`: another detail of the grant has that identifier.
    """
    grant = await grant_of(tx.connection, grant_id, Actor.subject(subject_id))
    if grant.client_id != client_id or grant.status != "active":
        raise Conflict(
            "原授权已撤销或被暂停，不能变更。", "The grant was revoked or is held; it cannot be changed.", code="grant.not_active"
        )
    await check_subject(tx.connection, subject_id, grant.enterprise_id, grant.granted_by)
    await check_institution(tx.connection, grant.institution_id, client_id)
    await check_notice(tx.connection, notice)
    # Refused details have places too, though no rows.
    first = max(item.seq for item in grant.items) + len(grant.refused) + 1
    items, refused = sort_out(catalogue, details, by=grant.granted_by, approved=approved, now=tx.time, first=first)
    asked = {item.detail.key for item in items}
    ending = {item.seq for item in grant.items if item.status == "active" and (how == "replace" or item.detail.key in asked)}
    staying = [item for item in grant.items if item.status == "active" and item.seq not in ending]
    if not {item.detail.name for item in items}.isdisjoint(item.detail.name for item in staying):
        raise InvalidRequest(
            "授权项标识与原授权中的另一项重复。",
            "An identifier is that of another detail of the grant.",
            code="grant.identifier_taken",
            member="authorization_details",
        )
    if len(staying) + len(items) > MAX_ITEMS or first + len(details) > MAX_PLACES:
        raise Conflict("该授权的项目过多，请另行发起授权。", "The grant would grow too large; ask for another one.", code="grant.too_large")
    ended = tuple(msgspec.structs.replace(i, status="revoked", ended_at=tx.time) if i.seq in ending else i for i in grant.items)
    grant = msgspec.structs.replace(
        grant,
        version=grant.version + 1,
        request_id=request_id,
        notice_version=notice.version,
        notice_sha256=notice.sha256,
        refused=tuple(entry for _, entry in refused),
        items=(*ended, *items),
    )
    await store.end_items(tx.connection, grant.id, sorted(ending), tx.time)
    await store.insert_items(tx.connection, grant.id, items)
    await store.update_consent(tx.connection, grant)
    pseudonym = await pseudonym_for(tx.connection, grant.institution_id, grant.identifier)
    event = approved_event(grant, refused, pseudonym, _EVENTS[how])
    await record(tx, grant, event, Actor.subject(subject_id), [item.detail.name for item in items])
    return grant
