"""SQL of activations, proposals and approvals. Nothing here commits."""

from typing import Any

import msgspec
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from consent.activation.model import Activation, Approval, Named, Proposal
from consent_audit.record import decode_record

_IN_FORCE = text("""
    select a.idx, a.version, a.sha256, r.bytes
      from activation a left join ledger_record r on r.idx = a.idx where a.kind = 'policy' order by a.idx desc limit 1
""")
_BLOB = text("select body from ledger_blob where sha256 = :sha256")
_ACTIVATE = text("insert into activation (kind, idx, version, sha256) values (:kind, :idx, :version, :sha256)")
_PROPOSE = text("""
    insert into policy_proposal (idx, revision, sha256, replaces, account_id) values (:idx, :revision, :sha256, :replaces, :account_id)
""")
_APPROVE = text("insert into policy_approval (proposal, account_id, idx) values (:proposal, :account_id, :idx)")
# A proposal is for the moment: whatever comes into force ends all others.
_OPEN = text("""
    select distinct on (p.revision) p.idx, p.revision, p.sha256, p.replaces, p.account_id
      from policy_proposal p
     where p.idx > (select max(idx) from activation where kind = 'policy')
     order by p.revision, p.idx desc
""")
_APPROVALS = text("""
    select a.proposal, a.account_id, a.idx from policy_approval a join account c on c.id = a.account_id
     where a.proposal = any(:proposals) and c.kind = 'staff' and c.role = 'operator' and c.status = 'active' order by a.idx
""")
_OPERATOR = text("select 1 from account where id = :id and kind = 'staff' and role = 'operator' and status = 'active'")
_HISTORY = text("""
    select a.idx, a.version, r.time, r.bytes from activation a join ledger_record r on r.idx = a.idx
     where a.kind = 'policy' order by a.idx desc limit 100
""")


async def in_force(connection: AsyncConnection) -> Named | None:
    """The newest activation of policies with its record; None before the first, or where no such record stands."""
    row = (await connection.execute(_IN_FORCE)).first()
    if row is None:
        return None
    record = decode_record(row.bytes) if row.bytes is not None else None
    data: dict[str, Any] = {} if record is None or record.type != "policy.activated" else record.data
    return Named(
        idx=row.idx,
        revision=row.version,
        sha256=row.sha256,
        signed_by=data.get("signed_by"),
        genesis=data.get("approvers") == [],
        record=data,
    )


async def blob(connection: AsyncConnection, sha256: bytes) -> bytes | None:
    """A document of the ledger."""
    body: bytes | None = await connection.scalar(_BLOB, {"sha256": sha256})
    return body


async def insert_activation(connection: AsyncConnection, kind: str, idx: int, version: str, sha256: bytes) -> None:
    """Keep what a record put in force."""
    await connection.execute(_ACTIVATE, {"kind": kind, "idx": idx, "version": version, "sha256": sha256})


async def insert_proposal(connection: AsyncConnection, proposal: Proposal) -> None:
    """Keep a proposal."""
    values = {
        "idx": proposal.idx,
        "revision": proposal.revision,
        "sha256": proposal.sha256,
        "replaces": proposal.replaces,
        "account_id": proposal.proposed_by,
    }
    await connection.execute(_PROPOSE, values)


async def insert_approval(connection: AsyncConnection, proposal: Proposal, approval: Approval) -> None:
    """Keep an approval."""
    await connection.execute(
        _APPROVE, {"proposal": proposal.idx} | msgspec.to_builtins(approval, builtin_types=(type(approval.account_id),))
    )


async def open_proposals(connection: AsyncConnection) -> list[Proposal]:
    """What was proposed since the last activation, the newest of each revision, with the approvals that still count."""
    rows = list(await connection.execute(_OPEN))
    approvals: dict[int, list[Approval]] = {row.idx: [] for row in rows}
    for row in await connection.execute(_APPROVALS, {"proposals": list(approvals)}):
        approvals[row.proposal].append(Approval(account_id=row.account_id, idx=row.idx))
    return [
        Proposal(
            idx=row.idx,
            revision=row.revision,
            sha256=row.sha256,
            replaces=row.replaces,
            proposed_by=row.account_id,
            approvals=tuple(approvals[row.idx]),
        )
        for row in rows
    ]


async def is_operator(connection: AsyncConnection, account_id: object) -> bool:
    """Whether the account is an active operator's."""
    return await connection.scalar(_OPERATOR, {"id": account_id}) is not None


async def history(connection: AsyncConnection) -> list[Activation]:
    """The last hundred activations of policies, the newest first."""
    found = []
    for row in await connection.execute(_HISTORY):
        data = decode_record(row.bytes).data
        found.append(
            Activation(
                idx=row.idx, revision=row.version, at=row.time, signed_by=data.get("signed_by"), approvers=tuple(data.get("approvers", ()))
            )
        )
    return found
