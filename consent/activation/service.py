"""Use cases of putting policies in force: propose, approve twice, activate. Each is one transaction with its record.

An approval counts for exactly the bytes that were proposed; the approver hands over the bundle that he has read, and it must be the same.
Only accounts that have just logged in reach this module (`consent.parties.accounts.authenticate`), and only operators may.
"""

from hashlib import sha256
from importlib.util import find_spec

from sqlalchemy.ext.asyncio import AsyncEngine

from consent import db
from consent.activation import store
from consent.activation.model import APPROVERS_NEEDED, Activation, Approval, Proposal, Ruleset
from consent.activation.running import enact, trusted_keys
from consent.decisions.bundle import MEDIA_TYPE, Bundle, BundleError, open_bundle, read_bundle
from consent.decisions.codes import CODES
from consent.decisions.engine import RegopyEngine
from consent.decisions.judge import probe
from consent.errors import Conflict, Forbidden, InvalidRequest, NotFound, PolicyUnavailable
from consent.ledger.events import PolicyApproved, PolicyProposed
from consent.ledger.in_force import versions_in_force
from consent.ledger.writer import LedgerTransaction, write
from consent.parties.accounts import Account
from consent.settings import Settings


def read_signed(settings: Settings, body: bytes) -> Ruleset:
    """A signed bundle that this release can run.

    Raises:
        InvalidRequest: it is not signed by a trusted key, malformed, or made for another release.
    """
    keys = trusted_keys(settings)
    if not keys:
        raise InvalidRequest(
            "请先设置 CONSENT_POLICY_KEYS_FILE。", "Set CONSENT_POLICY_KEYS_FILE to the keys that may sign policies first."
        )
    try:
        bundle, signed_by = open_bundle(body, keys)
        ruleset = Ruleset(bundle, bundle.catalogue(), body, signed_by)
        unknown = bundle.codes() - CODES.keys()
    except BundleError as error:
        raise InvalidRequest("规则包不能使用，详见英文说明。", f"The bundle cannot be used: {error}.", code="policy.refused") from None
    if unknown:
        raise InvalidRequest(
            "规则包含有本版本不认识的拒绝代码。",
            f"The bundle has codes that this release does not know ({min(unknown)}).",
            code="policy.refused",
        )
    return ruleset


async def propose(engine: AsyncEngine, ruleset: Ruleset, account: Account) -> Proposal:
    """Propose a bundle in place of what is in force.

    Raises:
        InvalidRequest: its policies do not answer (tried where the in-process engine is installed).
        Forbidden: no operator's account.
        Conflict: it is in force already, or proposed already; or other bytes of the same revision have been approved.
    """
    await _try(ruleset.bundle)
    digest = sha256(ruleset.body).digest()
    async with write(engine) as tx:
        await _operator(tx, account)
        versions = await versions_in_force(tx.connection)
        if versions.get("policy") == ruleset.revision:
            raise Conflict("该规则版本已经生效。", "This revision is in force already.", code="policy.in_force")
        for known in await store.open_proposals(tx.connection):
            if known.revision == ruleset.revision and (known.sha256 == digest or known.approvals):
                raise Conflict(
                    "该规则版本已提议；已有审批的规则包不能更换。",
                    "This revision is proposed already; a bundle that somebody approved is not exchanged for other bytes.",
                    code="policy.proposed",
                )
        await tx.put_blob(MEDIA_TYPE, ruleset.body)
        event = PolicyProposed(
            revision=ruleset.revision,
            sha256=digest.hex(),
            signed_by=str(ruleset.signed_by),
            catalogue=ruleset.catalogue.version,
            replaces=versions["policy"],
            staff=str(account.id),
        )
        proposal = Proposal(
            idx=tx.append(event), revision=ruleset.revision, sha256=digest, replaces=versions["policy"], proposed_by=account.id
        )
        await store.insert_proposal(tx.connection, proposal)
    return proposal


async def approve(engine: AsyncEngine, ruleset: Ruleset, account: Account) -> Proposal:
    """Approve the bundle that stands proposed; `ruleset` is what the approver read.

    Raises:
        Forbidden: no operator's account.
        NotFound: nobody proposed this revision, or another came into force since.
        Conflict: the proposed bundle has other bytes; or this account approved it before.
    """
    async with write(engine) as tx:
        await _operator(tx, account)
        proposal = await _proposal(tx, ruleset.revision)
        if proposal.sha256 != sha256(ruleset.body).digest():
            raise Conflict(
                "此规则包与提议的不是同一文件，未记录审批。",
                "This is not the bundle that was proposed: same revision, other bytes. Nothing was approved.",
                code="policy.changed",
            )
        if account.id in {approval.account_id for approval in proposal.approvals}:
            raise Conflict(
                "同一人只能审批一次，须由另一人审批。", "One person approves once; another one has to.", code="policy.same_approver"
            )
        event = PolicyApproved(proposal=proposal.idx, revision=proposal.revision, sha256=proposal.sha256.hex(), staff=str(account.id))
        await store.insert_approval(tx.connection, proposal, Approval(account_id=account.id, idx=tx.append(event)))
        return await _proposal(tx, ruleset.revision)


async def activate(engine: AsyncEngine, settings: Settings, revision: str) -> Ruleset:
    """Put a proposed revision in force that two different operators approved.

    Raises:
        NotFound: it is not proposed.
        Conflict: fewer than two active operators approved it.
        InvalidRequest: its bundle is no longer signed by a trusted key.
    """
    async with db.read(engine) as connection:
        found = _find(await store.open_proposals(connection), revision)
        body = await store.blob(connection, found.sha256) or b""
    ruleset = read_signed(settings, body)  # before the lock: a signature takes its time
    async with write(engine) as tx:
        proposal = await _proposal(tx, revision)
        if proposal.sha256 != sha256(body).digest():
            raise Conflict("提议的规则包已更换，请重试。", "Another bundle is proposed meanwhile; try again.", code="policy.changed")
        approvers = tuple(str(approval.account_id) for approval in proposal.approvals)[:APPROVERS_NEEDED]
        if len(set(approvers)) < APPROVERS_NEEDED:
            raise Conflict(
                f"尚缺审批：已有 {len(approvers)} 人，需两名不同的运营人员。",
                f"Two different operators must approve it; {len(approvers)} did.",
                code="policy.not_approved",
            )
        await enact(tx, ruleset, await versions_in_force(tx.connection), approvers=approvers)
    return ruleset


async def listed(engine: AsyncEngine) -> tuple[list[Activation], list[Proposal]]:
    """What is and was in force, the newest first, and what waits for approvals."""
    async with db.read(engine) as connection:
        return await store.history(connection), await store.open_proposals(connection)


async def bundle_in_force(engine: AsyncEngine) -> tuple[str, bytes]:
    """Revision and archive of the policies in force, for OPA.

    Raises:
        NotFound: nothing is in force yet.
    """
    async with db.read(engine) as connection:
        named = await store.in_force(connection)
        body = None if named is None else await store.blob(connection, named.sha256)
    if named is None or body is None:
        raise NotFound("尚无生效的规则。", "No policies are in force yet.")
    return named.revision, body


async def catalogue_in_force(engine: AsyncEngine) -> bytes:
    """The catalogue in force, as GET /catalogue answers it.

    Raises:
        NotFound: nothing is in force yet.
    """
    return (await policies_in_force(engine)).catalogue().to_json()


async def policies_in_force(engine: AsyncEngine) -> Bundle:
    """The policies in force as the ledger keeps them, for looking words up in; nothing is decided by them here.

    Raises:
        NotFound: nothing is in force yet.
    """
    return read_bundle((await bundle_in_force(engine))[1])


def matrix_items(bundle: Bundle) -> dict[str, frozenset[str]]:
    """Which items each purpose needs at most, by the matrix of these policies."""
    return {purpose: frozenset(entries) for purpose, entries in bundle.data["consent"]["matrix"].items()}


async def _try(bundle: Bundle) -> None:
    """Compile and ask once, so that what cannot answer is found before anybody approves it."""
    if find_spec("regopy") is None:
        return
    policy = RegopyEngine(bundle, threads=1)
    try:
        await policy.start()
        await probe(policy)
    except PolicyUnavailable:
        raise InvalidRequest(
            "规则包无法编译或不作答。", "The bundle's policies do not compile, or do not answer.", code="policy.refused"
        ) from None
    finally:
        await policy.close()


async def _operator(tx: LedgerTransaction, account: Account) -> None:
    if not await store.is_operator(tx.connection, account.id):
        raise Forbidden("只有运营人员可以提议和审批规则。", "Only operators propose and approve policies.")


async def _proposal(tx: LedgerTransaction, revision: str) -> Proposal:
    return _find(await store.open_proposals(tx.connection), revision)


def _find(proposals: list[Proposal], revision: str) -> Proposal:
    for proposal in proposals:
        if proposal.revision == revision:
            return proposal
    raise NotFound(
        "没有待审批的这一规则版本；如已有其他版本生效，请重新提议。",
        "No such revision is proposed; if another one came into force, propose it anew.",
        code="policy.not_proposed",
    )
