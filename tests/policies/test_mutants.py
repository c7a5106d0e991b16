"""Every rule of the policies is seen to fail the corpus when it is taken away, and every condition when it is dropped or turned round.

`make test` removes whole rules and branches; `make soak` makes all mutants. `survivors.txt` lists those that no case can tell from the
policies as they are; a mutant that is not in it and survives, and one in it that does not, fail.
"""

import dataclasses
from pathlib import Path

import pytest

from consent.decisions.bundle import Bundle
from tests.policies.mutants import mutants
from tests.policies.mutation import run

SURVIVORS = Path(__file__).with_name("survivors.txt")


def survivors() -> set[str]:
    """The names in survivors.txt; a line that begins with # says why those below it survive."""
    lines = SURVIVORS.read_text(encoding="utf-8").splitlines()
    return {line for line in lines if line and not line.startswith("#")}


@pytest.mark.opa
def test_every_rule_that_is_removed_is_missed(opa: str, bundle: Bundle) -> None:
    """Without any one of the rules, some answer of the corpus is another."""
    removed = [mutant for mutant in mutants(opa, bundle.modules) if mutant.kind == "rule" and mutant.name not in survivors()]
    assert len(removed) > 200
    fates = run(opa, bundle, removed)
    assert [mutant.name for mutant in fates["survived"]] == []
    assert len(fates["killed"]) > 150


@pytest.mark.opa
@pytest.mark.soak
def test_every_condition_counts(opa: str, bundle: Bundle) -> None:
    """Dropped, turned round, with another bound, or with a word less: all are noticed but those listed, and these are not."""
    fates = run(opa, bundle, mutants(opa, bundle.modules))
    assert {mutant.name for mutant in fates["survived"]} == survivors()
    assert len(fates["killed"]) > 800


@pytest.mark.opa
def test_a_mutant_that_says_the_same_survives(opa: str, bundle: Bundle) -> None:
    """The run can tell: a comment changes nothing, and a rule that permits everything does."""
    some = next(mutant for mutant in mutants(opa, bundle.modules) if mutant.kind == "rule" and "purpose.unknown" in mutant.was)
    same = dataclasses.replace(some, text=bundle.modules[some.module] + "\n# nothing\n")
    fates = run(opa, bundle, [some, same])
    assert (fates["killed"], fates["survived"]) == ([some], [same])
