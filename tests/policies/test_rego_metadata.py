"""Each rule that denies says of itself what a denied party and a regulator must know: code, title in both languages, clause, solution."""

import json
import re
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from consent.decisions.annotations import read_rules
from consent.decisions.bundle import Bundle
from consent.decisions.codes import CODES
from tests.policies.conftest import tool

GIVEN_BY_PYTHON = {"policy.unavailable"}
"""An engine that is away cannot say so."""


def denying(opa: str, module: str, text: str) -> Iterator[tuple[str, int, set[str]]]:
    """(module, line, codes) of every rule of a module whose head gives a code, by OPA's own parser; constants give none by themselves."""
    command = [opa, "parse", "--format", "json", "--json-include", "locations", "/dev/stdin"]
    parsed = json.loads(subprocess.run(command, input=text.encode(), capture_output=True, check=True, timeout=60).stdout)
    for rule in parsed["rules"]:
        head = {name: rule["head"][name] for name in ("key", "value") if name in rule["head"]}
        codes = {word for part in head.values() for word in _strings(part) if word in CODES}
        constant = all(_true(line["terms"]) for line in rule["body"]) and "key" not in head and "args" not in rule["head"]
        if codes and not constant and "else" not in rule:
            yield module, rule["location"]["row"], codes


def _true(terms: Any) -> bool:
    return isinstance(terms, dict) and terms.get("type") == "boolean" and terms.get("value") is True


def _strings(node: Any) -> Iterator[str]:
    """Words that stand in a head as they are, alone or in a list; what a comprehension collects is somebody else's."""
    if node.get("type") == "string":
        yield node["value"]
    elif node.get("type") in {"array", "set"}:
        for member in node["value"]:
            yield from _strings(member)


@pytest.mark.opa
def test_every_rule_that_denies_has_its_metadata(bundle: Bundle) -> None:
    """Code, title, Chinese title and clause stand above the rule, and the code has a solution in both languages."""
    said = {(rule.file, rule.line): rule for rule in read_rules(bundle.modules)}
    found = [place for module, text in bundle.modules.items() for place in denying(tool("opa"), module, text)]
    assert len(found) > 50  # a parser that finds nothing would let everything pass
    for module, line, codes in found:
        rule = said.get((module, line))
        assert rule is not None, f"{module}:{line}: {codes} without METADATA"
        assert codes <= set(rule.codes), f"{module}:{line}: {codes} and {rule.codes}"
    for rule in said.values():
        assert rule.title, f"{rule.file}:{rule.line}"
        if rule.codes:
            assert set(rule.codes) <= CODES.keys(), f"{rule.file}:{rule.line}"
            assert rule.clause, f"{rule.file}:{rule.line}"
            assert rule.zh, f"{rule.file}:{rule.line}"
            assert re.search(r"[\u4e00-\u9fff]", rule.zh), f"{rule.file}:{rule.line}"
    assert CODES.keys() - {code for rule in said.values() for code in rule.codes} == GIVEN_BY_PYTHON


@pytest.mark.opa
def test_a_rule_without_metadata_is_noticed() -> None:
    """The search above finds what it must refuse."""
    heads = ['p contains "item.unknown" if input.x', 'q[i] := "item.not_granted" if input.y[i]', 'r := {"grant.expired"}']
    text = "\n\n".join(["package a", *heads, 'f(x) := [1, "grant.expired"] if x'])
    assert [codes for _, _, codes in denying(tool("opa"), "a.rego", text)] == [{"item.unknown"}, {"item.not_granted"}, {"grant.expired"}]
    assert read_rules({"a.rego": text}) == ()


def test_every_code_speaks_both_languages() -> None:
    """A denied party reads what happened and what cures it, in Chinese and English."""
    assert len(CODES) == 41
    for code, entry in CODES.items():
        assert re.fullmatch(r"[a-z]+\.[a-z_]+", code)
        for words in (entry.title, entry.solution):
            assert re.search(r"[\u4e00-\u9fff]", words.zh), code
            assert words.en, code
            assert words.en.isascii(), code
