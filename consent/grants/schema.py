"""Grants on the wire (design §4, FAPI Grant Management). Details go out exactly as granted; only `status` or `code` is put beside them."""

import base64
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal

import msgspec

from consent.clock import format_instant
from consent.grants.model import Grant, GrantedBy, Status, effective_item_status, effective_status


class GrantBody(msgspec.Struct, frozen=True, kw_only=True):
    """One grant as its institution sees it.

    enterprise             统一社会信用代码 of the enterprise whose financing it is for
    status                 computed at the time of the answer
    authorization_details  as granted, each with its own `status`
    refused_details        as requested, each with the `code` of the reason
    unmet_required         identifiers of the refused details that were called required
    """

    grant_id: str
    enterprise: str
    granted_by: GrantedBy
    status: Status
    version: int
    created_at: str
    ended_at: str | None
    notice: dict[Literal["version", "sha256"], str]
    authorization_details: list[dict[str, Any]]
    refused_details: list[dict[str, Any]]
    unmet_required: list[str]


class LedgerEntry(msgspec.Struct, frozen=True, kw_only=True):
    """Where what made a version of the grant stands in the ledger; `leaf` is the record's hash in base64."""

    version: int
    event: str
    index: int
    leaf: str


class GrantState(GrantBody, frozen=True, kw_only=True):
    """One grant, asked for by its id: with the records of its versions, oldest first."""

    ledger: list[LedgerEntry]


class GrantPage(msgspec.Struct, frozen=True, kw_only=True):
    """A page of grants; `next` is the cursor of the following page, null on the last."""

    grants: list[GrantBody]
    next: str | None


def grant_body(grant: Grant, now: datetime) -> GrantBody:
    """The grant as it stands at `now`."""
    return GrantBody(
        grant_id=grant.id,
        enterprise=grant.enterprise,
        granted_by=grant.granted_by,
        status=effective_status(grant, now),
        version=grant.version,
        created_at=format_instant(grant.created_at),
        ended_at=None if grant.ended_at is None else format_instant(grant.ended_at),
        notice={"version": grant.notice_version, "sha256": grant.notice_sha256.hex()},
        authorization_details=[
            msgspec.to_builtins(item.detail) | {"status": effective_item_status(grant, item, now)} for item in grant.items
        ],
        refused_details=refused_details(grant),
        unmet_required=list(grant.unmet_required),
    )


def grant_state(grant: Grant, now: datetime, entries: Sequence[tuple[int, str, int, bytes]]) -> GrantState:
    """The same with where (version, event, index, leaf hash) its history stands."""
    ledger = [
        LedgerEntry(version=version, event=event, index=index, leaf=base64.b64encode(leaf).decode())
        for version, event, index, leaf in entries
    ]
    body = grant_body(grant, now)
    return GrantState(**msgspec.structs.asdict(body), ledger=ledger)


def authorization_details(grant: Grant, now: datetime) -> list[dict[str, Any]]:
    """What a token of this grant carries: the details that are active at `now`, exactly as granted."""
    return [msgspec.to_builtins(item.detail) for item in grant.items if effective_item_status(grant, item, now) == "active"]


def refused_details(grant: Grant) -> list[dict[str, Any]]:
    """What was asked for and not granted, each with its code."""
    return [msgspec.to_builtins(refused.detail) | {"code": refused.code} for refused in grant.refused]
