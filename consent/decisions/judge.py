"""Asking the policies, and believing only answers that fit the question. Whatever goes wrong here means that nothing was decided."""

import asyncio
import logging
import time
from collections.abc import Sequence

import msgspec

from consent.catalogue.model import Catalogue
from consent.decisions.answers import CheckAnswer
from consent.decisions.engine import PolicyEngine
from consent.decisions.facts import policy_input
from consent.decisions.model import UNKNOWN, Asked, Check, Facts, refute

log = logging.getLogger(__name__)

BATCH_SECONDS = 5.0
"""For one call of the engine; OPA's own deadline is shorter (design §3.2)."""
AIM_SECONDS = 0.06
"""A call is kept to about this, well below OPA's deadline, by asking for fewer checks at once."""
LEAST_BATCH, FIRST_BATCH, MAX_BATCH = 8, 32, 256
SINGLY_SECONDS = 1.0
"""For all second attempts of a batch together: a dead engine must not be asked hundreds of times in a row."""
SINGLY_AT_ONCE = 8

# A question that has an answer whatever the policies say: an institution that nobody registered asks for an item that does not exist.
_NOBODYS_CHECK = Check(
    client=UNKNOWN,
    platform=None,
    institution=UNKNOWN,
    identifier=UNKNOWN,
    action="query",
    purpose=UNKNOWN,
    product=None,
    loan=None,
    model=None,
    processor=None,
    via=(),
    items=(Asked(UNKNOWN, None, None),),
    data_from=None,
    data_to=None,
    request_id=None,
    ticket=None,
    request_key=None,
    request_hash=b"",
)
_NOTHING_KNOWN = Facts(
    now=0,
    today="1970-01-01",
    institution=None,
    platform=None,
    subject_version=None,
    verified=True,
    pseudonym=UNKNOWN,
    grants=[],
    grants_version=0,
    loan=None,
    model_items=None,
    ticket=None,
    recorded=None,
    valid_before=1,
)


async def probe(policy: PolicyEngine) -> None:
    """Find out whether the engine answers by our revision. An empty question would not: there is nothing to send for it.

    Raises:
        PolicyUnavailable: it does not.
    """
    await policy.decide([policy_input("probe", _NOBODYS_CHECK, _NOTHING_KNOWN)])


class Judge:
    """The policies' answers to checks."""

    def __init__(self, policy: PolicyEngine, catalogue: Catalogue) -> None:
        self._policy = policy
        self.catalogue = catalogue
        self._seconds_per_check = AIM_SECONDS / FIRST_BATCH

    @property
    def revision(self) -> str:
        """The policies that answer."""
        return self._policy.revision

    def capacity(self) -> int:
        """How many checks the engine takes at once, going by what it took lately."""
        return max(LEAST_BATCH, min(MAX_BATCH, int(AIM_SECONDS / self._seconds_per_check)))

    async def answers(self, checks: Sequence[Check], facts: Sequence[Facts]) -> list[CheckAnswer | None]:
        """An answer for each check, None where nothing was decided.

        A check whose answer is missing or does not fit is asked again by itself, so that one check cannot spoil its batch.
        """
        answers = await self._ask(checks, facts)
        doubtful = [n for n, answer in enumerate(answers) if answer is None]
        if not doubtful or len(checks) == 1:
            return answers
        gate = asyncio.Semaphore(SINGLY_AT_ONCE)

        async def singly(n: int) -> None:
            async with gate:
                answers[n] = (await self._ask([checks[n]], [facts[n]]))[0]

        tasks = [asyncio.create_task(singly(n)) for n in doubtful]
        _, late = await asyncio.wait(tasks, timeout=SINGLY_SECONDS)
        for task in late:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return answers

    async def _ask(self, checks: Sequence[Check], facts: Sequence[Facts]) -> list[CheckAnswer | None]:
        inputs = [policy_input(str(n), check, known) for n, (check, known) in enumerate(zip(checks, facts, strict=True))]
        began = time.monotonic()
        try:
            async with asyncio.timeout(BATCH_SECONDS):
                raw = await self._policy.decide(inputs)
        except Exception as error:  # noqa: BLE001 - whatever an engine does, nothing was decided
            log.warning("the policy engine gave no answer: %s", type(error).__name__)
            return [None] * len(checks)
        finally:
            spent = (time.monotonic() - began) / len(checks)
            self._seconds_per_check = (self._seconds_per_check + spent) / 2
        if not isinstance(raw, list) or len(raw) != len(checks):
            log.warning("the policy engine answered another number of checks than it was asked")
            return [None] * len(checks)
        return [self._believe(n, check, known, answer) for n, (check, known, answer) in enumerate(zip(checks, facts, raw, strict=True))]

    def _believe(self, n: int, check: Check, facts: Facts, raw: object) -> CheckAnswer | None:
        try:
            answer = msgspec.convert(raw, CheckAnswer)
        except msgspec.ValidationError:
            log.error("an answer of the policy engine has another shape")  # noqa: TRY400 - the traceback could hold words of the caller
            return None
        reason = refute(check, facts, answer, self.catalogue)
        if answer.key != str(n) or answer.revision != self.revision:
            reason = "it is for another check, or of another revision"
        if reason is not None:
            log.error("an answer of the policy engine was not believed: %s", reason)
            return None
        return answer
