"""What no tool checks about our Rego: names that rego-cpp confuses."""

import re

from consent.decisions.bundle import Bundle, default_directory

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


def test_the_policies_have_rego_tests() -> None:
    """`opa test` with no test passes; so they are counted here."""
    tests = [path for path in default_directory().rglob("*_test.rego") if "test_" in path.read_text(encoding="utf-8")]
    assert len(tests) >= 2
