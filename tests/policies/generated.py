"""Generated cases: a check that would be permitted, then one or two twists that push it near some rule's boundary, to either side.

Deterministic: the same numbers give the same cases for ever. Every twist has its turn equally often, so that no rule is met by luck
alone. `python -m tests.policies.generated` prints how outcomes and codes are distributed.
"""

import collections
import random
from collections.abc import Callable, Iterator
from typing import Any

from tests.policies import corpus, oracle, oracle_requests, twists_items
from tests.policies.law import law
from tests.policies.twists import ABOUT_GRANTS, CHECK_TWISTS, loans_for
from tests.policies.twists_requests import REQUEST_TWISTS

assert twists_items  # its twists take part

Case = dict[str, Any]
Rng = random.Random

CHECKS, REQUESTS = 5400, 1600
SEED = 20261120


def checks(count: int = CHECKS) -> Iterator[Case]:
    """So many checks, numbered by their twist's turn."""
    return _turns(count, CHECK_TWISTS, _check)


def requests(count: int = REQUESTS) -> Iterator[Case]:
    """So many authorization requests."""
    return _turns(count, REQUEST_TWISTS, _request)


def any_check(rng: Rng) -> Case:
    """A check with up to three twists, for properties."""
    case = _check(rng)
    for name in rng.sample(sorted(CHECK_TWISTS), rng.choice((0, 1, 1, 2, 3))):
        CHECK_TWISTS[name](case, rng)
    return case


def _turns(count: int, twists: Any, make: Callable[[Rng], Case]) -> Iterator[Case]:
    names = sorted(twists)
    for n in range(count):
        rng = random.Random(f"{SEED} {n}")
        case = make(rng)
        while names[n % len(names)] in ABOUT_GRANTS and not case.get("grants", True):
            case = make(rng)
        twists[names[n % len(names)]](case, rng)
        if rng.random() < 0.3:  # a second one: rules meet
            twists[rng.choice(names)](case, rng)
        yield case


def _check(rng: Rng) -> Case:
    """A check of one to three items that are needed for its purpose, each granted where a grant is needed; mostly permitted."""
    case = corpus.changed(corpus.BASE["check"], {})
    purpose = case["purpose"] = rng.choice(list(law().purposes))
    action = rng.choice(("query", "query", "query", "push", "verify", "report"))
    case["action"] = "model" if purpose == "modelling" else action
    if law().purposes[purpose]["loan_required"] or rng.random() < 0.3:
        case["loan"] = rng.choice(loans_for(purpose))
    needed = sorted(item for (needing, item) in law().matrix if needing == purpose)
    codes = rng.sample(needed, min(len(needed), rng.choice((1, 1, 2, 3))))
    if case["action"] == "model":
        case["model"] = {"registered": True, "items": codes}
    case["items"] = [{"item": code, "fields": _fields(code, rng), "claimed": None} for code in codes]
    case["grants"] = [_grant(case, code, place, rng) for place, code in enumerate(codes, 1) if _wants_grant(code, rng)]
    return case


def _fields(code: str, rng: Rng) -> list[str] | None:
    if rng.random() < 0.6:
        return None
    known = law().items[code].fields
    return rng.sample(known, rng.randint(1, len(known)))


def _wants_grant(code: str, rng: Rng) -> bool:
    item = law().items[code]
    return not item.shared_openly or (bool(item.documents) and rng.random() < 0.5)


def _grant(case: Case, code: str, place: int, rng: Rng) -> Case:
    item = law().items[code]
    by = {"enterprise_or_person": rng.choice(("enterprise", "person"))}.get(item.consent_subject, item.consent_subject)
    action = case["action"]
    return {
        **corpus.BASE["grant"],
        "identifier": f"d{place}",
        "by": by,
        "item": code,
        "action": "query" if action == "verify" and rng.random() < 0.5 else action,
        "purpose": case["purpose"],
        "fields": list(item.fields),
    }


def _request(rng: Rng) -> Case:
    """A request for one to three details that would be kept."""
    base = corpus.BASE["check"]
    request = {
        "now": base["now"],
        "today": base["today"],
        "institution": base["institution"],
        "allowed_items": None,
        "allowed_purposes": None,
    }
    case = corpus.changed(request, {})
    case["details"] = []
    for place in range(1, rng.choice((1, 1, 1, 2, 3)) + 1):
        purpose, code = rng.choice(sorted(law().matrix))
        detailed = rng.choice(("query", "query", "push", "report"))
        action = "model" if purpose == "modelling" else "verify" if law().items[code].verified_only else detailed
        detail = {**corpus.BASE["detail"], "identifier": f"d{place}", "item": code, "purpose": purpose, "action": action}
        able = sorted(law().needed(purpose, code) - law().items[code].barred)
        if able and (rng.random() < 0.4 or not set(able) - law().items[code].documents):
            detail["fields"] = rng.sample(able, rng.randint(1, len(able)))
        case["details"].append(detail)
    return case


def distribution(answers: list[Case]) -> collections.Counter[str]:
    """How often each outcome or verdict and each code occurs, by item."""
    counts: collections.Counter[str] = collections.Counter()
    for answer in answers:
        for line in answer.get("items") or answer["details"]:
            counts[line.get("outcome") or line["verdict"]] += 1
            counts.update(line["codes"])
    return counts


def main() -> None:
    """Print the distribution."""
    for name, answers in (
        ("checks", [oracle.decide(case) for case in checks()]),
        ("requests", [oracle_requests.judge(case) for case in requests()]),
    ):
        print(f"{name}: {len(answers)}")
        for word, count in sorted(distribution(answers).items(), key=lambda pair: ("." in pair[0], -pair[1])):
            print(f"  {count:6}  {word}")


if __name__ == "__main__":
    main()
