"""Grants as the ledger writes them: our names of details and a pseudonym in place of whatever a client or a person wrote."""

from collections.abc import Sequence
from typing import TypedDict

from msgspec import UNSET
from sqlalchemy.ext.asyncio import AsyncConnection

from consent.clock import format_instant
from consent.grants.model import Actor, ActorKind, Detail, Grant, Refused, ledger_identifier
from consent.ledger import events, parts
from consent.parties.pseudonyms import pseudonym_for


class ChangeMembers(TypedDict):
    """What every record of a change to a grant has."""

    grant: str
    version: int
    institution: str
    subject: str
    actor: ActorKind


def ledger_detail(seq: int, detail: Detail) -> parts.Detail:
    """One entry of `details`; `seq` is the detail's place in its request, from 1."""
    return parts.Detail(
        identifier=ledger_identifier(seq),
        item=detail.item,
        action=detail.action,
        purpose=detail.purpose,
        product=detail.product or None,
        fields=detail.granted_fields,
        necessity=detail.necessity,
        data_from=None if detail.data_from is UNSET else detail.data_from.isoformat(),
        valid_until=format_instant(detail.valid_until),
        frequency=None if detail.frequency is UNSET else parts.Frequency(max=detail.frequency.max, per=detail.frequency.per),
        retention_days=detail.retention_days or None,
        via=detail.via,
        processor=detail.processor or None,
    )


def approved_event(
    grant: Grant, refused: Sequence[tuple[int, Refused]], pseudonym: str, kind: type[events.GrantApproved] = events.GrantApproved
) -> events.GrantApproved:
    """`grant.approved`, or a consent that changed the grant, with the places of the refused details."""
    return kind(
        grant=grant.id,
        version=grant.version,
        request=grant.request_id,
        institution=grant.institution_id,
        subject=pseudonym,
        by=grant.granted_by,
        channel=grant.channel,
        notice=parts.Notice(version=grant.notice_version, sha256=grant.notice_sha256.hex()),
        details=tuple(ledger_detail(item.seq, item.detail) for item in grant.items if item.status == "active"),
        refused=tuple(
            parts.RefusedDetail(identifier=ledger_identifier(seq), item=entry.detail.item, code=entry.code) for seq, entry in refused
        ),
    )


async def change_members(connection: AsyncConnection, grant: Grant, actor: Actor) -> ChangeMembers:
    """The members that narrowing, suspension, resumption and revocation have in common."""
    return {
        "grant": grant.id,
        "version": grant.version,
        "institution": grant.institution_id,
        "subject": await pseudonym_for(connection, grant.institution_id, grant.identifier),
        "actor": actor.kind,
    }
