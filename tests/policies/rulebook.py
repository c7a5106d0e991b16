"""docs/rules.md, written from what the rules say of themselves: `python -m tests.policies.rulebook` renews it, a test finds it stale.

Three sources: the METADATA above each rule, the texts of the codes, and `policies/requirements.json`, which takes each row of the
requirements drawn from the official documents (consent, purpose, minimum, modes, admission, loan phases) to its rules and tests.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

from consent.catalogue.load import load
from consent.decisions.annotations import Rule, read_rules
from consent.decisions.answers import ItemAnswer, Obligation
from consent.decisions.bundle import load_bundle
from consent.decisions.codes import CODES
from tests.policies import corpus

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "rules.md"
REQUIREMENTS = ROOT / "policies" / "requirements.json"
SECTIONS = {"CON": 25, "PUR": 12, "MIN": 12, "MOD": 15, "ONB": 14, "LIF": 9}
"""How many rows each section of the requirements has: none may be left out."""

HEAD = """# 规则 · Rules

<!-- Written by `python -m tests.policies.rulebook` from policies/; a test compares it. Do not edit. -->

规则是 `policies/` 下的 Rego。先看谁在问、为何问，再看问什么，最后看授权；每一次拒绝都给出代码、原因和补救办法。
The rules are the Rego below `policies/`: first who asks and what for, then what is asked, then what was granted. Each denial has a code, a
reason and what cures it.
"""


def page() -> str:
    """The whole document."""
    rules = read_rules(load_bundle(load()).modules)
    parts = [HEAD, *_denials(rules), *_others(rules), *_requirements()]
    return "\n".join(parts).rstrip("\n") + "\n"


def requirements() -> list[Any]:
    """The rows of policies/requirements.json: id, source, says, rules, tests, and why where there is no rule."""
    rows: list[Any] = json.loads(REQUIREMENTS.read_text(encoding="utf-8"))
    return rows


def words() -> set[str]:
    """What a row may name as its rule: a code of denial, an obligation, an outcome or a basis."""
    fields = {"code": Obligation, "outcome": ItemAnswer}
    found = {word for name, struct in fields.items() for word in get_args(struct.__annotations__[name])}
    return found | {"open", "disputed"} | CODES.keys()


def case_names() -> set[str]:
    """The corpus by name, as a row may name its tests."""
    return {name for name, _, _ in corpus.decisions() + corpus.requests()}


def _denials(rules: tuple[Rule, ...]) -> Iterator[str]:
    yield "## 拒绝与退回 · Denials and refusals\n"
    yield "| 代码 code | 含义 · meaning | 补救 · what cures it | 规则 · rules: clause (file) |"
    yield "| --- | --- | --- | --- |"
    for code, texts in CODES.items():
        lines = [f"{_title(rule)}: {rule.clause} (`{rule.file}`)" for rule in rules if code in rule.codes]
        shown = "<br>".join(lines) or f"{texts.clause} (given where nothing was decided, not by a rule)"
        yield _row(f"`{code}`", _both(texts.title), _both(texts.solution), shown)
    yield ""


def _others(rules: tuple[Rule, ...]) -> Iterator[str]:
    yield "## 提供与义务 · What is given, and what it obliges to\n"
    yield "| 规则 · rule | 依据 · clause | file |"
    yield "| --- | --- | --- |"
    for rule in rules:
        if rule.clause and not rule.codes:
            yield _row(_title(rule), rule.clause, f"`{rule.file}`")
    yield ""


def _requirements() -> Iterator[str]:
    yield "## 逐条对照 · Row by row\n"
    yield "官方文件中有关同意、用途、最小必要、共享方式、接入和贷款阶段的每一条要求，各自的规则和检验；不成为规则的，说明原因。"
    yield "Each requirement of the official documents on consent, purpose, minimum, modes, admission and loan phases, with its rules and"
    yield "tests, or why it is no rule. A test `area: name` is a case of `policies/corpus/`.\n"
    yield "| 编号 | 要求 · requirement | 来源 · source | 规则 · rules | 检验 · tests |"
    yield "| --- | --- | --- | --- | --- |"
    for row in requirements():
        rules = ", ".join(f"`{word}`" for word in row["rules"]) or _both(row["why"])
        yield _row(row["id"], _both(row["says"]), row["source"], rules, "<br>".join(f"`{test}`" for test in row["tests"]))


def _title(rule: Rule) -> str:
    return f"{rule.zh} · {rule.title}" if rule.zh else rule.title


def _both(text: Any) -> str:
    zh, en = (text["zh"], text["en"]) if isinstance(text, dict) else (text.zh, text.en)
    return f"{zh}<br>{en}"


def _row(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
