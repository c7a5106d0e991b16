"""Mutants of our Rego: each rule, and each condition in it, removed or turned round in turn; the corpus must notice every one.

The places come from OPA's own parser, so a mutant is made where the policy says something and nowhere else. Kinds:

rule    a rule, or one of its else branches, is gone
drop    a condition always holds
turn    a condition holds where it did not
edge    < for <=, > for >=, and the other way round
member  one word is gone from a set or list that is written out

A mutant that OPA does not compile (nothing binds a variable any more) is no mutant; `mutation.py` finds that out and runs the rest.
"""

import base64
import json
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

Node = Any
EDGES = {"lt": "<=", "lte": "<", "gt": ">=", "gte": ">"}
BINDING = {"assign", "eq"}


@dataclass(frozen=True)
class Mutant:
    """One change of one module. `name` says the same wherever the line stands, so that a list of known ones stays true."""

    module: str
    kind: str
    rule: str
    was: str
    text: str
    number: int = 0

    @property
    def name(self) -> str:
        """module, rule, kind and what stood there; a number where the same stands there more than once."""
        more = f" #{self.number}" if self.number else ""
        return f"{self.module} {self.rule}: {self.kind} {self.was}{more}"


@dataclass(frozen=True)
class Source:
    """The text of a module, and what parts of its syntax tree stand where."""

    text: str

    def span(self, node: Node) -> tuple[int, int]:
        """First and last offset of a node."""
        place = node["location"]
        start = sum(len(line) + 1 for line in self.text.split("\n")[: place["row"] - 1]) + place["col"] - 1
        return start, start + len(base64.b64decode(place["text"]).decode())

    def at(self, node: Node) -> str:
        """What stands at a node."""
        start, end = self.span(node)
        return self.text[start:end]

    def with_(self, node: Node, words: str) -> str:
        """The text with `words` instead of the node."""
        start, end = self.span(node)
        return self.text[:start] + words + self.text[end:]


def mutants(opa: str, modules: dict[str, str]) -> list[Mutant]:
    """All mutants of `modules` in the order of their text."""
    found, seen = [], {}
    for module, text in sorted(modules.items()):
        for mutant in _of_module(opa, module, text):
            number = seen[mutant.name] = seen.get(mutant.name, 0) + 1
            found.append(replace(mutant, number=number) if number > 1 else mutant)
    return found


def _of_module(opa: str, module: str, text: str) -> Iterator[Mutant]:
    command = [opa, "parse", "--format", "json", "--json-include", "locations", "/dev/stdin"]
    parsed = json.loads(subprocess.run(command, input=text.encode(), capture_output=True, check=True, timeout=60).stdout)
    source, rules = Source(text), parsed["rules"]
    for n, rule in enumerate(rules):
        name = "/".join(str(part["value"]) for part in rule["head"]["ref"])
        following = rules[n + 1]["location"]["row"] if n + 1 < len(rules) else text.count("\n") + 2
        yield Mutant(module, "rule", name, _short(source.at(rule)), _without(text, rule["location"]["row"], following))
        for kind, was, changed in _changes(source, rule):
            yield Mutant(module, kind, name, _short(was), changed)


def _without(text: str, row: int, following: int) -> str:
    """The text without the rule that begins in line `row`; what explains the next rule, in line `following`, stays."""
    lines = text.split("\n")
    last = following - 1
    while last > row and (not lines[last - 1].strip() or lines[last - 1].startswith("#")):
        last -= 1
    return "\n".join(lines[: row - 1] + lines[last:])


def _changes(source: Source, rule: Node) -> Iterator[tuple[str, str, str]]:
    """(kind, what stood there, the text with the change) within a rule, its else branches and everything nested in them."""
    for node in _walk(rule):
        if "else" in node:
            yield "rule", source.at(node["else"]), _branch_off(source, node["else"])
        if "terms" in node and not node.get("generated"):
            yield from _of_condition(source, node)
        if node.get("type") in {"set", "array"}:
            yield from _of_members(source, node)


def _walk(node: Node) -> Iterator[Node]:
    """All objects of a syntax tree, but for those that only say where the others stand."""
    if isinstance(node, dict):
        yield node
        for name, value in node.items():
            if name not in {"location", "annotations"}:
                yield from _walk(value)
    elif isinstance(node, list):
        for value in node:
            yield from _walk(value)


def _branch_off(source: Source, branch: Node) -> str:
    """The text with an else branch that never applies."""
    condition = branch["body"][0]
    if condition.get("generated"):
        return source.with_(branch, f"{source.at(branch)} if false")
    return source.with_(condition, "false")


def _of_condition(source: Source, node: Node) -> Iterator[tuple[str, str, str]]:
    operator = _operator(node)
    if operator in BINDING or (isinstance(node["terms"], dict) and "symbols" in node["terms"]):
        return  # it binds; without it the rule says nothing that compiles
    words = source.at(node)
    yield "drop", words, source.with_(node, "true")
    yield "turn", words, source.with_(node, words.removeprefix("not ") if node.get("negated") else f"not {words}")
    if operator in EDGES:
        yield "edge", words, source.with_(node["terms"][0], EDGES[operator])


def _operator(node: Node) -> str | None:
    terms = node["terms"]
    if not isinstance(terms, list) or terms[0].get("type") != "ref":
        return None
    return str(terms[0]["value"][0]["value"])


def _of_members(source: Source, node: Node) -> Iterator[tuple[str, str, str]]:
    members = node["value"]
    if len(members) < 2 or any(member.get("type") != "string" for member in members):
        return
    words = source.at(node)
    for member in members:
        rest = [source.at(other) for other in members if other is not member]
        opening, closing = words[0], words[-1]
        yield "member", f"{source.at(member)} of {words}", source.with_(node, opening + ", ".join(rest) + closing)


def _short(words: str) -> str:
    return re.sub(r"\s+", " ", words).strip()[:110]
