"""What no tool checks about our Rego: names that rego-cpp confuses, and that every code has its rule, its clause and its texts."""

import re
from collections.abc import Iterator

from consent.decisions.bundle import Bundle, default_directory
from consent.decisions.codes import CODES

# Given by Python alone: counted guesses are a fact of a later release, and an engine that is away cannot say so.
WITHOUT_RULE = {"mode.too_many_guesses"}
LOCAL = re.compile(r"(?<![.\w])([a-z_]\w*)\s*:=|\bsome ([\w, \[\]]+?) in\b|^[a-z_]\w*\(([^)]*)\)", re.MULTILINE)


def local_names(text: str) -> set[str]:
    """Names bound inside rules: assigned, iterated, or arguments."""
    found = set()
    for match in LOCAL.finditer(text):
        line = text[text.rfind("\n", 0, match.start()) + 1 :]
        if match.group(1) and not line.startswith(("\t", " ")) and " if " not in line.split("\n")[0]:
            continue  # a rule, not a variable
        found |= set(re.findall(r"[a-z_]\w*", next(group for group in match.groups() if group)))
    return found


def test_no_variable_is_named_like_a_package_or_document(bundle: Bundle) -> None:
    """rego-cpp takes such a variable for the package: it once gave a field that OPA withheld."""
    roots = set(bundle.data["consent"]) | {"revision", "consent"}
    for text in bundle.modules.values():
        package = re.search(r"^package ([\w.]+)$", text, re.MULTILINE)
        assert package is not None
        roots |= set(package.group(1).split("."))
    clashes = {name: local_names(text) & roots for name, text in bundle.modules.items()}
    assert not any(clashes.values()), clashes
    assert {"decision", "request", "item_bars", "matrix"} <= roots


def test_the_search_for_variables_finds_them() -> None:
    """The check above can fail."""
    text = "package a\n\np contains x if {\n\tsome matrix, v in input.list\n\tfield := v.f\n}\n\nf(grant, _) := 1 if grant == 2\n"
    assert {"matrix", "field", "grant", "v"} <= local_names(text)


def rules_with_codes(text: str) -> Iterator[tuple[str, str]]:
    """(annotation, rule) of every block that starts with METADATA."""
    for block in text.split("# METADATA\n")[1:]:
        lines = block.split("\n")
        cut = next(n for n, line in enumerate(lines) if not line.startswith("#"))
        yield "\n".join(lines[:cut]), "\n".join(lines[cut:])


def test_every_code_has_a_rule_that_names_it_and_its_clause(bundle: Bundle) -> None:
    """Code, clause and texts cannot drift apart: each rule that gives a code is annotated with it, each code has texts."""
    annotated: set[str] = set()
    given: set[str] = set()
    for name, text in bundle.modules.items():
        for annotation, rule in rules_with_codes(text):
            custom = re.search(r"custom: \{code: ([a-z_. ]+), clause: (.+)\}", annotation)
            codes = set(re.findall(r'"((?:[a-z]+)\.[a-z_]+)"', re.sub(r"(?m)^#.*$", "", rule))) & CODES.keys()
            if custom is not None:
                annotated |= set(custom.group(1).split())
                assert custom.group(2).strip()
            head = re.match(r'\w+(?:\[\w+\])+ contains (?:\[\d+, )?"([a-z_.]+)"', rule)
            if head is not None:
                assert custom is not None, f"{name}: {head.group(1)} has no annotation"
                assert head.group(1) in custom.group(1).split(), f"{name}: {head.group(1)}"
            given |= codes
    assert len(annotated) > 30
    assert annotated <= CODES.keys()
    assert CODES.keys() - annotated - given == WITHOUT_RULE


def test_every_code_speaks_both_languages() -> None:
    """A denied party reads what happened and what cures it, in Chinese and English."""
    assert len(CODES) == 41
    for code, entry in CODES.items():
        assert re.fullmatch(r"[a-z]+\.[a-z_]+", code)
        for words in (entry.title, entry.solution):
            assert re.search(r"[\u4e00-\u9fff]", words.zh), code
            assert words.en, code
            assert words.en.isascii(), code


def test_the_policies_have_rego_tests() -> None:
    """`opa test` with no test passes; so they are counted here."""
    tests = [path for path in default_directory().rglob("*_test.rego") if "test_" in path.read_text(encoding="utf-8")]
    assert len(tests) >= 2
