"""What the rules say of themselves is found, place included."""

from consent.decisions.annotations import read_rules
from consent.decisions.bundle import Bundle
from consent.decisions.codes import CODES

TEXT = """\
# METADATA
# title: A package
package consent.sample

# METADATA
# title: Two reasons
# description: |
#   More about it, code: none.
# custom: {code: item.unknown item.not_granted, clause: 某文 四(九), 附件; 另文 二, zh: 两个理由，合在一处}
reasons contains "item.unknown" if true

# METADATA
# title: Only a clause
# custom: {clause: 某文 三}
helper := 1
"""


def test_titles_codes_clauses_and_places() -> None:
    """A clause may hold commas and semicolons; a Chinese title is kept beside the English one."""
    package, both, helper = read_rules({"sample.rego": TEXT})
    assert (package.title, package.codes, package.clause, package.zh) == ("A package", (), None, None)
    assert (both.file, both.line, both.title) == ("sample.rego", 10, "Two reasons")
    assert both.codes == ("item.unknown", "item.not_granted")
    assert both.clause == "某文 四(九), 附件; 另文 二"
    assert both.zh == "两个理由，合在一处"
    assert (helper.clause, helper.codes) == ("某文 三", ())


def test_every_code_of_the_policies_has_its_rule(bundle: Bundle) -> None:
    """And each rule's place is the line of its head, below its annotation."""
    rules = read_rules(bundle.modules)
    assert {code for rule in rules for code in rule.codes} <= CODES.keys()
    text = "".join(bundle.modules.values())
    given = {code for code in CODES if f'"{code}"' in text}
    assert given - {code for rule in rules for code in rule.codes} <= {"policy.unavailable"}
    for rule in rules:
        head = bundle.modules[rule.file].splitlines()[rule.line - 1]
        assert head.strip(), rule
        assert not head.startswith("#"), rule
        assert rule.title, rule
