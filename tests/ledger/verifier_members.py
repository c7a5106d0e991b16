"""Writes what the verifier knows of records, audit/src/consent_audit/members.txt, from the structs that the service writes.

`python tests/ledger/verifier_members.py` after a change of consent/ledger/events.py; `test_verifier_members.py` says when it is stale.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
from msgspec import inspect

from consent.ledger import events, values, words
from consent.ledger.grammar import MAX_ARRAY

FILE = Path(__file__).parents[2] / "audit/src/consent_audit/members.txt"
HEAD = """\
# The members of every record type, in their order: what stands between "data": and the last brace of a record.
# A word in lower case is a kind of grammar.py, one with a capital a part described here; a|b lists the only values,
# [x]9 is an array of at most 9, ? allows null. The rules are those of docs/spec/ledger.md, section 4.
"""
KINDS = {
    meta.pattern: name.lower()
    for module in (values, words)
    for name, value in vars(module).items()
    for meta in getattr(value, "__metadata__", ())
    if meta.pattern
}
"""The names of the patterns that strings have."""


def text() -> str:
    """The whole file."""
    parts: dict[str, list[str]] = {}
    types: dict[tuple[str, ...], list[str]] = {}
    for name, event in events.EVENTS.items():
        types.setdefault(tuple(_members(event, parts)), []).append(name)
    sections = [[name, *members] for name, members in parts.items()] + [[" ".join(names), *members] for members, names in types.items()]
    return HEAD + "".join("\n" + "\n".join(section) + "\n" for section in sections)


def _members(kind: type[msgspec.Struct], parts: dict[str, list[str]]) -> Iterator[str]:
    found: Any = inspect.type_info(kind)
    for field in found.fields:
        yield f"  {field.encode_name} {_kind(field.type, parts)}"


def _kind(info: Any, parts: dict[str, list[str]]) -> str:
    match info:
        case inspect.StructType():
            name = info.cls.__name__
            if name not in parts:
                members = list(_members(info.cls, parts))
                parts[name] = members
            return str(name)
        case inspect.VarTupleType():
            return f"[{_kind(info.item_type, parts)}]{info.max_length or MAX_ARRAY}"
        case inspect.StrType():
            return KINDS[info.pattern]
        case inspect.IntType():
            return "number" if info.ge else "count"
        case inspect.BoolType():
            return "truth"
        case inspect.LiteralType():
            return "|".join(info.values)
        case inspect.UnionType():
            inner = [part for part in info.types if not isinstance(part, inspect.NoneType)]
            if len(inner) != 1 or len(info.types) != 2:
                raise TypeError(f"no word for {info}")
            return _kind(inner[0], parts) + "?"
    raise TypeError(f"no word for {info}")


if __name__ == "__main__":
    FILE.write_text(text(), encoding="utf-8")
