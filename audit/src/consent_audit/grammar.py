"""The form of each record type's `data`, as one regular expression over its bytes.

A match of the whole proves the members, their order, their values' kinds and the one spelling of JSON all at once, in a
third of the time that parsing takes. `members.txt` lists the members; the kinds of values stand here. Every repetition is
possessive: what follows it can never begin with what it repeats, so nothing is to be gained by giving back, and hostile
bytes cannot make the match slow.
"""

import re
from functools import cache
from importlib.resources import files

_ITEM = r"[A-Z][A-Z0-9]{1,7}+(?:-[0-9]{2}){1,2}+[A-Z]?+"
_DAY = r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
KINDS = {
    # The end of the string is its closing quote.
    "id": r'(?![0-9A-Z]{15}"|[0-9A-Z]{18}"|[0-9]{17}x")[A-Za-z0-9_-][A-Za-z0-9._:~-]{0,127}+',
    "pseudonym": r"(?:p_[A-Za-z0-9_-]{22}|unknown)",
    "identifier": r"d[1-9][0-9]{0,3}+",
    "version": r"[A-Za-z0-9][A-Za-z0-9.+:_-]{0,95}+",
    "sha256": r"[0-9a-f]{64}",
    "digest": r"[A-Za-z0-9_-]{43}",
    "instant": _DAY + r"T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z",
    "day": _DAY,
    "period": r"(?:total|[0-9]{4}-[0-9]{2}(?:-[0-9]{2})?+)",
    "origin": r"[A-Za-z0-9._:/~\[\]-]{1,255}+",
    "vkey": r"[A-Za-z0-9._:/~\[\]-]{1,255}+\+[0-9a-f]{8}\+[A-Za-z0-9+/]{44}",
    "signature": r"[A-Za-z0-9+/]{86}==",
    "root": r"[A-Za-z0-9+/]{43}=",
    "word": r"[a-z][a-z0-9_]{0,47}+",
    "code": r"[a-z]{1,24}+\.[a-z_]{1,39}+",
    "item": rf"(?:{_ITEM}|unknown)",
    "field": rf"(?:{_ITEM}\.[0-9]{{2}}|unknown)",
}
"""The kinds of strings (docs/spec/ledger.md §4)."""
_PLAIN = {"number": "[1-9][0-9]{0,14}+", "count": "(?:0|[1-9][0-9]{0,14}+)", "truth": "(?:true|false)"}
_ARRAY = re.compile(r"\[(.+)\]([0-9]+)", re.ASCII)
_WORDS = re.compile(r"[a-z0-9_:]+(?:\|[a-z0-9_:]+)+|[a-z0-9_:]+", re.ASCII)


def member_patterns(text: str) -> dict[str, str]:
    """The pattern of each record type's `data` that a members file describes.

    Raises:
        ValueError: a kind that is not known, or a part that is used before it is described.
    """
    known = {name: f'"{pattern}"' for name, pattern in KINDS.items()} | _PLAIN
    types = {}
    for section in text.split("\n\n"):
        names, *members = [line for line in section.splitlines() if line and not line.startswith("#")] or [""]
        body = ",".join(f'"{name}":{_pattern(kind, known)}' for name, kind in (member.split() for member in members))
        for name in names.split():
            known[name] = rf"\{{{body}\}}"
            if "." in name:
                types[name] = known[name]
    return types


def _pattern(kind: str, known: dict[str, str]) -> str:
    if kind.endswith("?"):
        return f"(?:null|{_pattern(kind[:-1], known)})"
    array = _ARRAY.fullmatch(kind)
    if array is not None:
        item = _pattern(array[1], known)
        return rf"\[(?:{item}(?:,{item}){{0,{int(array[2]) - 1}}}+)?+\]"
    if kind in known:
        return known[kind]
    if "|" not in kind or _WORDS.fullmatch(kind) is None:
        raise ValueError(f"members: {kind} is not known")
    return f'"(?:{kind})"'


MEMBERS = files("consent_audit").joinpath("members.txt").read_text("utf-8")
"""What the verifier knows of the record types, as it is distributed."""
PATTERNS = member_patterns(MEMBERS)
"""The pattern of each known type's `data`. A type that is not here is judged by the general form of records alone."""


@cache
def tail_grammar(kind: str) -> re.Pattern[bytes]:
    """What a record of a known type must be from its member `time` to its end. The time itself may still be one that never was."""
    return re.compile(rf'"time":"{KINDS["instant"]}","type":"{re.escape(kind)}","data":{PATTERNS[kind]}\}}'.encode("ascii"))
