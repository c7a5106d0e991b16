"""Decisions: from an authenticated caller's question to a reply whose record is committed.

Every check takes the one path `_attempt`: facts, policies, record, in batches. Nothing leaves before its record is durable, nothing is
decided under the ledger's lock, and what changed between facts and lock is decided anew (design §3.6, §3.7, §5.1, §5.2).

A crash before the commit leaves nothing, or a pseudonym that nothing uses yet. A connection lost during the commit leaves all or nothing
of the batch and answers 503; the caller who sent a request_id gets the same record when he asks again.
"""

import asyncio
import hashlib
import logging
import secrets
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence

from sqlalchemy.ext.asyncio import AsyncEngine

from consent import db, metrics
from consent.catalogue.model import Catalogue
from consent.decisions import requests, store
from consent.decisions.answers import CheckAnswer
from consent.decisions.batch import Gatherer, Pending
from consent.decisions.engine import PolicyEngine
from consent.decisions.facts import FactSource
from consent.decisions.judge import Judge
from consent.decisions.model import Asked, Check, Decided, Facts, Recorded, guesses, redeems, unavailable, uses
from consent.decisions.reply import decided_event, error_body, reply_body, reply_head
from consent.decisions.requests import Allowed
from consent.decisions.schema import Evaluation, Semantic, canonical_hash
from consent.errors import (
    CallerError,
    Conflict,
    ConsentError,
    DatabaseUnavailable,
    Forbidden,
    InvalidRequest,
    NotAuthenticated,
    PolicyUnavailable,
    ServiceError,
)
from consent.grants.model import Detail
from consent.ledger.events import AccessDecided, encode
from consent.ledger.evidence import Evidence
from consent.ledger.in_force import Superseded
from consent.ledger.writer import write
from consent.parties.access import AnyChecker, Caller, Checker
from consent.parties.terminals import standing

log = logging.getLogger(__name__)

_ALL = Allowed()


class DecisionService:
    """Answers checks. One per process."""

    def __init__(
        self, engine: AsyncEngine, policy: PolicyEngine, catalogue: Catalogue, renew: Callable[[], Awaitable[bool]] | None = None
    ) -> None:
        """`renew` has this service `adopt` what is in force now, and says whether the process runs that; without it nothing changes."""
        self._engine = engine
        self._renew = renew
        self._facts = FactSource(engine)
        self.adopt(policy, catalogue)
        self._gatherer = Gatherer(self._process, self._capacity)

    def adopt(self, policy: PolicyEngine, catalogue: Catalogue) -> None:
        """Decide by these from now on. What is under way is recorded only if the ones that it was decided by are still in force."""
        self._policy = policy
        self._judge = Judge(policy, catalogue)

    async def start(self) -> None:
        """Take checks from now on."""
        self._gatherer.start()

    async def stop(self) -> None:
        """Finish the checks in flight."""
        await self._gatherer.stop()

    async def check(self, caller: Caller, evaluation: Evaluation) -> bytes:
        """The reply to one check, as JSON; its record is committed.

        Raises:
            Forbidden: the caller's scopes do not allow this question.
            InvalidRequest: a ticket where none belongs.
            Conflict: the request_id was used for another request.
            Unavailable: nothing was decided, or it could not be recorded.
        """
        return await self._gatherer.submit(read_check(caller, evaluation))

    async def check_many(self, caller: Caller, evaluations: Sequence[Evaluation], semantic: Semantic = "execute_all") -> list[bytes]:
        """The replies to several checks in their order, up to where `semantic` ends them (AuthZEN 1.0, evaluations semantics).

        A check that could not be decided stands as a denial with `context.error`. Each check is a decision and a record of its own.

        Raises:
            Forbidden, InvalidRequest: one of the questions may not be asked; none was.
            Unavailable: not one could be decided.
        """
        checks = [read_check(caller, evaluation) for evaluation in evaluations]
        if semantic == "execute_all":
            outcomes = await asyncio.gather(*(self._gatherer.submit(check) for check in checks), return_exceptions=True)
            errors = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
            if len(errors) == len(outcomes) and isinstance(errors[0], ServiceError):
                raise errors[0]
            return [_reply_or_error(outcome) for outcome in outcomes]
        replies: list[bytes] = []
        ends = b'{"decision":true' if semantic == "permit_on_first_permit" else b'{"decision":false'
        for check in checks:
            outcome: bytes | BaseException
            try:
                outcome = await self._gatherer.submit(check)
            except ConsentError as error:
                if not replies and isinstance(error, ServiceError):
                    raise
                outcome = error
            replies.append(_reply_or_error(outcome))
            if replies[-1].startswith(ends):
                break
        return replies

    async def judge(self, institution_id: str, details: Sequence[Detail], allowed: Allowed = _ALL) -> requests.Judgement:
        """What the policies say of a consent request: a verdict for each detail; all have an identifier.

        Args:
            allowed: the allow-list of the client that asks.

        Raises:
            PolicyUnavailable: nothing was decided.
            DatabaseUnavailable: the institution's standing cannot be read.
        """
        return await requests.judge(self._engine, self._policy, institution_id, details, allowed)

    def _capacity(self) -> int:
        return self._judge.capacity()

    async def _process(self, batch: list[Pending]) -> list[Pending]:
        """Settle a batch; returns those to be tried again. What fails although the database is there is looked for check by check."""
        try:
            return await self._attempt(batch)
        except ServiceError as error:
            log.warning("a batch of %d checks was not recorded: %s", len(batch), error.code)
            metrics.UNDECIDED.labels(error.code).inc(len(batch))
            for pending in batch:
                pending.fail(error)
            return []
        except Exception as error:  # noqa: BLE001 - one check must not take its neighbours down, nor end in a 500
            log.error("a batch of %d checks failed: %s", len(batch), type(error).__name__)  # noqa: TRY400 - a traceback could hold values
            if len(batch) == 1:
                batch[0].fail(DatabaseUnavailable())
                return []
        again: list[Pending] = []
        for pending in batch:
            if not pending.reply.done():
                again += await self._process([pending])
        return again

    async def _attempt(self, batch: Sequence[Pending]) -> list[Pending]:
        with db.guard():
            facts = await self._facts.gather([pending.check for pending in batch])
        asking: list[Pending] = []
        known: list[Facts] = []
        for pending, facts_ in zip(batch, facts, strict=True):
            if facts_.recorded is None:
                asking.append(pending)
                known.append(facts_)
            else:
                _repeat(pending, facts_.recorded)
        if not asking:
            return []
        judge = self._judge
        answers = await judge.answers([pending.check for pending in asking], known)
        decided = [_decide(judge, pending.check, facts_, answer) for pending, facts_, answer in zip(asking, known, answers, strict=True)]
        try:
            return await self._record(judge, asking, decided)
        except Superseded:
            if self._renew is not None and await self._renew():
                return asking  # to be decided by what is in force now
            raise

    async def _record(self, judge: Judge, pendings: Sequence[Pending], decided: Sequence[Decided]) -> list[Pending]:
        """Commit what still holds, then answer it; returns the rest."""
        evidence = [Evidence() for _ in decided]
        events = [encode(decided_event(one, judge.catalogue, kept)) for one, kept in zip(decided, evidence, strict=True)]
        async with write(self._engine, ahead=True) as transaction:
            changes = await store.changes(transaction, decided)
            ours = {"policy": judge.revision, "catalogue": judge.catalogue.version}
            if any(ours[kind] != version for kind, version in changes.in_force.items()):
                raise Superseded
            standing = [n for n in range(len(decided)) if n not in changes.checks | changes.refused]
            indexes = [transaction.append_encoded(AccessDecided.TYPE, events[n], evidence[n]) for n in standing]
            if standing:
                await store.insert(transaction, [decided[n] for n in standing], indexes)
        self._facts.forget(changes.institutions)
        for outcome, count in Counter(decided[n].answer.outcome for n in standing).items():
            metrics.DECISIONS.labels(outcome).inc(count)
        for n, receipt in zip(standing, transaction.receipts, strict=True):
            if decided[n].binds:
                pendings[n].settle(reply_body(decided[n].reply, receipt.index, receipt.leaf))
            else:
                pendings[n].fail(PolicyUnavailable())
        for n in changes.refused:
            pendings[n].fail(_no_longer())
        return [pendings[n] for n in sorted(changes.checks - changes.refused)]


def _decide(judge: Judge, check: Check, facts: Facts, answer: CheckAnswer | None) -> Decided:
    binds = answer is not None
    answer = answer or unavailable(check, judge.revision)
    decision_id = secrets.token_urlsafe(16)
    return Decided(
        id=decision_id,
        check=check,
        facts=facts,
        answer=answer,
        uses=uses(check, facts, answer),
        guesses=guesses(check, answer),
        redeems=redeems(check, answer),
        reply=reply_head(decision_id, answer, judge.catalogue.version),
        binds=binds,
    )


def read_check(caller: Caller, evaluation: Evaluation) -> Check:
    """The question as this caller may ask it: an institution for itself, a platform for any.

    Raises:
        Forbidden: neither scope allows it.
        InvalidRequest: a ticket in an institution's own check; only a platform redeems one.
    """
    institution = evaluation.subject.id
    if institution == caller.institution_id and Checker.SCOPE in caller.scopes:
        platform = None
        if evaluation.context.ticket is not None:
            raise InvalidRequest("只有数据平台可以使用 ticket。", "Only a data platform redeems a ticket.", member="context.ticket")
    elif AnyChecker.SCOPE in caller.scopes:
        platform = (caller if caller.is_platform else AnyChecker.of(caller)).institution_id
    else:
        Checker.of(caller)  # refuses the missing scope
        raise Forbidden("只能为本机构查询。", "This client may only ask for its own institution.")
    why, asked, context = evaluation.action.properties, evaluation.resource.properties, evaluation.context
    who = evaluation.subject.properties
    fields = asked.fields or {}
    return Check(
        client=caller.client_id,
        platform=platform,
        institution=institution,
        identifier=evaluation.resource.id,
        action=evaluation.action.name,
        purpose=why.purpose,
        product=why.product,
        loan=why.loan,
        model=why.model,
        processor=why.processor,
        via=tuple(why.via),
        items=tuple([_asked(item, fields.get(item), context.claimed_fields) for item in asked.items]),
        data_from=None if context.data_from is None else context.data_from.isoformat(),
        data_to=None if context.data_to is None else context.data_to.isoformat(),
        request_id=context.request_id,
        ticket=context.ticket,
        request_key=None if context.request_id is None else hashlib.sha256(f"{caller.client_id}\0{context.request_id}".encode()).digest(),
        request_hash=canonical_hash(evaluation),
        operator=None if who is None else who.operator,
        branch=None if who is None else who.branch,
        channel=context.channel,
        terminal=standing(caller.terminals, context.terminal_id, caller.address),
    )


def _asked(item: str, fields: list[str] | None, claimed: list[str] | None) -> Asked:
    own = None if claimed is None else tuple(field for field in claimed if field.rpartition(".")[0] == item)
    return Asked(item, None if fields is None else tuple(fields), own)


def _repeat(pending: Pending, recorded: Recorded) -> None:
    """The same request_id: the same reply if it is the same request."""
    if recorded.request_hash == pending.check.request_hash:
        pending.settle(reply_body(recorded.reply, recorded.index, recorded.leaf))
    else:
        pending.fail(Conflict("该 request_id 已用于另一个请求。", "This request_id was used for another request."))


def _no_longer() -> NotAuthenticated:
    """The client was suspended, or lost the scope, after its token was looked at."""
    return NotAuthenticated("该客户端已停用或权限已变更。", "The client was suspended or lost this scope.", code="invalid_token")


def _reply_or_error(outcome: bytes | BaseException) -> bytes:
    if isinstance(outcome, bytes):
        return outcome
    if isinstance(outcome, CallerError | ServiceError):
        return error_body(outcome.status, outcome.code, outcome.zh, outcome.en)
    raise outcome
