"""docs/rules.md is what the rules say today, and no requirement is without a rule and a test, or a reason."""

import ast
import re

import pytest

from consent.decisions.codes import CODES
from tests.policies import rulebook

ROWS = rulebook.requirements()


def test_the_page_is_not_stale() -> None:
    """After a change of rules, codes or requirements: python -m tests.policies.rulebook."""
    assert rulebook.PAGE.read_text(encoding="utf-8") == rulebook.page()


def test_every_row_of_the_requirements_is_there() -> None:
    """None is left out, doubled or invented."""
    expected = [f"{section}-{n:02}" for section, count in rulebook.SECTIONS.items() for n in range(1, count + 1)]
    assert [row["id"] for row in ROWS] == expected


@pytest.mark.parametrize("row", ROWS, ids=[row["id"] for row in ROWS])
def test_a_row_has_a_rule_or_a_reason_and_a_test_that_exists(row: rulebook.Any) -> None:
    """What it names is there: a word that the policies give, a case of the corpus, a test of the tree."""
    assert set(row) - {"why"} == {"id", "source", "says", "rules", "tests"}
    assert set(row["rules"]) <= rulebook.words()
    assert bool(row["rules"]) != ("why" in row)
    for text in (row["says"], row.get("why", row["says"])):
        assert re.search(r"[\u4e00-\u9fff]", text["zh"])
        assert text["en"].isascii()
    assert row["tests"]
    assert [test for test in row["tests"] if not _exists(test)] == []


def test_every_code_answers_some_requirement() -> None:
    """A denial that no clause asks for would be an invention of ours; the four of form and engine are named here."""
    named = {word for row in ROWS for word in row["rules"]}
    assert CODES.keys() - named == {"purpose.not_granted", *FORM}


FORM = {"grant.revoked", "grant.suspended", "grant.validity_exceeded", "grant.retention_exceeded", "policy.unavailable"}
"""The sources know no revocation and no end (requirements §13.1); the product promises them."""


def _exists(test: str) -> bool:
    path, _, name = test.partition("::")
    if not name:
        return test in rulebook.case_names()
    module = ast.parse((rulebook.ROOT / path).read_text(encoding="utf-8"))
    return any(isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == name for node in module.body)


def test_a_test_that_is_not_there_is_noticed() -> None:
    """The check above can fail."""
    assert not _exists("grant: something else")
    assert not _exists("tests/policies/test_rulebook.py::test_gone")
    assert _exists("tests/policies/test_rulebook.py::test_the_page_is_not_stale")
