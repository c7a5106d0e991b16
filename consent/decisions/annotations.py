"""What the rules say of themselves: the METADATA that stands above each of them, read from the Rego text of a bundle.

The form is fixed (`tests/policies/test_rego_text.py`): a title, and where a rule gives codes, `custom: {code: …, clause: …}` with one or
more codes.
"""

import re
from collections.abc import Iterator, Mapping

import msgspec

_BLOCK = re.compile(r"^# METADATA\n((?:#.*\n)+)(.*)", re.MULTILINE)
_TITLE = re.compile(r"^# title: (.+)$", re.MULTILINE)
_CUSTOM = re.compile(r"^# custom: \{(.*)\}$", re.MULTILINE)
_MEMBER = re.compile(r"(?:^|, )(code|clause|zh): ((?:(?!, (?:code|clause|zh): ).)+)")


class Rule(msgspec.Struct, frozen=True):
    """One annotated rule. `zh` is its title in Chinese where it has one; `clause` where the sources ask for it."""

    file: str
    line: int
    title: str
    zh: str | None
    codes: tuple[str, ...]
    clause: str | None


def read_rules(modules: Mapping[str, str]) -> tuple[Rule, ...]:
    """All annotated rules, by file and place."""
    return tuple(rule for file, text in sorted(modules.items()) for rule in _read(file, text))


def _read(file: str, text: str) -> Iterator[Rule]:
    for block in _BLOCK.finditer(text):
        comment = block[1]
        title, custom = _TITLE.search(comment), _CUSTOM.search(comment)
        members = {} if custom is None else {found[1]: found[2].strip().strip('"') for found in _MEMBER.finditer(custom[1])}
        yield Rule(
            file=file,
            line=text.count("\n", 0, block.start(2)) + 1,
            title="" if title is None else title[1].strip(),
            zh=members.get("zh"),
            codes=tuple(members.get("code", "").split()),
            clause=members.get("clause"),
        )
