"""docs/spec/ledger.md says what the code writes."""

import re
from pathlib import Path

import msgspec
import pytest

from consent.ledger import events, parts, values, words

SPEC = (Path(__file__).parents[2] / "docs/spec/ledger.md").read_text(encoding="utf-8")
LINE = re.compile(r"^ *- ((?:`[a-z_.]+`,? ?)+)\{([^}]*)\}|· ((?:`[a-z_.]+`,? ?)+)\{([^}]*)\}", re.MULTILINE)


def specified() -> dict[str, list[str]]:
    members = SPEC.partition("<!-- members -->")[2].partition("<!-- /members -->")[0]
    found = {}
    for match in LINE.finditer(members):
        names, listed = match[1] or match[3], match[2] or match[4]
        for name in re.findall(r"`([a-z_.]+)`", names):
            found[name] = re.split(r",\s+", listed)
    return found


PARTS = {
    "product": parts.Product, "model": parts.Model, "told": parts.Told, "loan": parts.LoanTold, "detail": parts.Detail,
    "frequency": parts.Frequency, "verdict": parts.Verdict, "notice": parts.Notice,
    "refused": parts.RefusedDetail, "decided": parts.DecidedItem, "use": parts.Use, "delivered": parts.DeliveredItem,
}  # fmt: skip


def test_every_type_is_specified_and_no_other():
    """The specification lists exactly the types and parts that can be written."""
    assert set(specified()) == set(events.EVENTS) | set(PARTS)


@pytest.mark.parametrize("name", sorted(set(events.EVENTS) | set(PARTS)))
def test_members_stand_in_the_order_of_the_specification(name: str):
    """Names and order of members are those of the structs."""
    kind = PARTS.get(name) or events.EVENTS[name]
    assert specified()[name] == [field.encode_name for field in msgspec.structs.fields(kind)]


@pytest.mark.parametrize("kind", [values.Id, words.Word, words.Code, words.Item, values.Version, values.Identifier, values.Origin])
def test_patterns_are_those_of_the_specification(kind):
    """Each form is printed as the code has it (alternatives and the exception of ids are in words)."""
    (meta,) = kind.__metadata__
    pattern = meta.pattern.removeprefix(r"\A").removesuffix(r"\Z")
    pattern = re.sub(r"^\(\?!.*?\)", "", pattern)
    if pattern.endswith("|unknown)"):
        pattern = pattern.removeprefix("(?:").removesuffix("|unknown)")
    assert f"`{pattern.replace('(?:', '(')}`" in SPEC
