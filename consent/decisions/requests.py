"""Judging a consent request before any enterprise sees it: the same policies, asked about details instead of checks.

A verdict here is advice that the policies stand by: what is kept could be granted and later checked; nothing is granted by it.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from consent import db
from consent.clock import to_ms
from consent.decisions.answers import DetailAnswer, RequestAnswer
from consent.decisions.codes import solutions
from consent.decisions.engine import PolicyEngine
from consent.decisions.facts import request_input
from consent.errors import PolicyUnavailable
from consent.grants.model import Detail
from consent.parties import store as parties

log = logging.getLogger(__name__)

JUDGE_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the policies say of one detail. `solution` is {zh, en}, empty for one that is kept.

    fields  all that is granted if the enterprise says yes; only for one that is kept
    advice  members of the detail as they would be kept, in the wire's form (RFC 9396); None where nothing mends it
    """

    identifier: str
    verdict: Literal["keep", "downgrade", "refuse"]
    codes: tuple[str, ...]
    solution: Mapping[str, str]
    fields: tuple[str, ...] = ()
    advice: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the policies say of a request: one verdict per detail in its order, and the revision that spoke.

    excess    0 to 100: how far the request goes beyond what its purposes need
    products  the institution's products, by code
    """

    policy: str
    verdicts: tuple[Verdict, ...]
    excess: int
    products: frozenset[str]


@dataclass(frozen=True, slots=True)
class Allowed:
    """What a client may ask for within what its institution may; None: all of it."""

    items: Sequence[str] | None = None
    purposes: Sequence[str] | None = None


async def judge(engine: AsyncEngine, policy: PolicyEngine, institution_id: str, details: Sequence[Detail], allowed: Allowed) -> Judgement:
    """A verdict for each detail; all have an identifier.

    Raises:
        PolicyUnavailable: nothing was decided, or the answer does not fit the request.
        DatabaseUnavailable: the institution's standing cannot be read.
    """
    async with db.read(engine) as connection:
        now = await connection.scalar(text("select clock_timestamp()"))
        institution = await parties.institution(connection, institution_id)
    request = request_input("0", to_ms(now), None if institution is None else institution.facts(), details, allowed.items, allowed.purposes)
    try:
        async with asyncio.timeout(JUDGE_SECONDS):
            raw = await policy.judge([request])
        answer = msgspec.convert(raw, tuple[RequestAnswer])[0]
    except Exception as error:  # noqa: BLE001 - whatever an engine does, nothing was decided
        log.warning("the policy engine gave no answer to a request: %s", type(error).__name__)
        raise PolicyUnavailable from None
    if [line.identifier for line in answer.details] != [detail.name for detail in details] or answer.revision != policy.revision:
        log.error("the policy engine's answer to a request was not believed")
        raise PolicyUnavailable
    products = frozenset(() if institution is None else (product.code for product in institution.products))
    return Judgement(answer.revision, tuple(_verdict(line) for line in answer.details), answer.excess, products)


def _verdict(line: DetailAnswer) -> Verdict:
    return Verdict(line.identifier, line.verdict, tuple(line.codes), solutions(line.codes), tuple(line.fields), _advice(line.advice))


def _advice(advice: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The policies' advice as a caller would write it into his detail."""
    if not advice:
        return None
    written = dict(advice)
    if "action" in written:
        written["actions"] = [written.pop("action")]
    if "valid_until" in written:
        # Downwards, so that what is advised is kept.
        written["valid_until"] = f"{datetime.fromtimestamp(written['valid_until'] // 1000, UTC):%Y-%m-%dT%H:%M:%SZ}"
    return written
