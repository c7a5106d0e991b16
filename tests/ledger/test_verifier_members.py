"""The verifier knows the same record types as the service: the same members, the same kinds of values."""

import json
import re
import time

import pytest
import verifier_members
from hypothesis import given, settings
from hypothesis import strategies as st
from test_events import SAMPLES

from consent.ledger import events
from consent.ledger.grammar import compile_grammar
from consent_audit.grammar import KINDS, MEMBERS, PATTERNS, member_patterns, tail_grammar


def test_members_are_those_that_the_service_writes():
    """A change of a record's members reaches the verifier: run tests/ledger/verifier_members.py if this fails."""
    assert verifier_members.text() == MEMBERS


def test_kinds_have_the_patterns_of_the_service():
    """The verifier's own patterns are the service's, but for repetitions that never give back."""
    bare = {name: re.sub(r"(?<=[}?])\+", "", pattern) for name, pattern in KINDS.items()}
    service = {
        name: pattern.removeprefix(r"\A").removesuffix(r"\Z").replace(r"\Z", '"') for pattern, name in verifier_members.KINDS.items()
    }
    assert bare == service


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.TYPE)
def test_what_the_service_writes_matches(sample: events.Event):
    """Each sample record is in the form that the verifier demands."""
    raw = events.encode(sample)
    assert re.fullmatch(PATTERNS[sample.TYPE].encode(), raw)
    tail = b'"time":"2026-11-20T08:00:00.000Z","type":"%b","data":%b}' % (sample.TYPE.encode(), raw)
    assert tail_grammar(sample.TYPE).fullmatch(tail)
    for other in (tail.replace(b".", b"x", 2), tail.replace(b"T08", b" 08", 1), tail + b" ", tail.replace(b'"data"', b'"date"')):
        assert not tail_grammar(sample.TYPE).fullmatch(other)


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.TYPE)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_both_grammars_agree_on_changed_bytes(sample: events.Event, data: st.DataObject):
    """Bytes inserted, left out or replaced anywhere: service and verifier have one opinion."""
    raw = events.encode(sample)
    start = data.draw(st.integers(0, len(raw)))
    end = data.draw(st.integers(start, min(len(raw), start + 12)))
    patch = data.draw(st.binary(max_size=3) | st.sampled_from([b",", b'"', b"null", b"[]", b"0", b"-1", b"1.0", b" ", raw[start:end] * 2]))
    changed = raw[:start] + patch + raw[end:]
    assert bool(re.fullmatch(PATTERNS[sample.TYPE].encode(), changed)) is bool(compile_grammar(type(sample)).fullmatch(changed))


def test_strings_longer_than_allowed_do_not_match():
    """Bounds of strings and arrays hold at their edge."""
    grammar = re.compile(member_patterns("a.b\n  x [word]2\n  y word?\n")["a.b"].encode())
    word = "a" * 48
    for good in (f'{{"x":[],"y":"{word}"}}', '{"x":["a","b"],"y":null}'):
        assert grammar.fullmatch(good.encode())
    for bad in (
        f'{{"x":[],"y":"{word}a"}}',
        '{"x":["a","b","c"],"y":null}',
        '{"x":["a",],"y":null}',
        '{"x":[]}',
        '{"x":[],"y":null,"y":null}',
    ):
        assert json.loads(bad.replace('",]', '"]')) is not None
        assert not grammar.fullmatch(bad.encode())


@pytest.mark.parametrize("text", ["a.b\n  x Part\n", "a.b\n  x nonsense\n", "a.b\n  x [nonsense]2\n", "a.b\n  x A|B\n"])
def test_a_members_file_with_unknown_words_is_refused(text: str):
    """A misspelt kind is no literal by accident."""
    with pytest.raises(ValueError, match="not known"):
        member_patterns(text)


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.TYPE)
def test_hostile_bytes_do_not_make_the_match_slow(sample: events.Event):
    """Whatever part of a record is repeated up to the largest size, and wrong only at its end, it is refused at once."""
    raw = events.encode(sample)
    grammar = re.compile(PATTERNS[sample.TYPE].encode())
    began = time.process_time()
    for mark in (b",", b'"', b"["):
        for found in list(re.finditer(re.escape(mark), raw))[:40]:
            at = found.start()
            for part in (raw[at : at + 8], raw[at : at + 40], raw[at:-2]):
                grown = raw[:at] + part * (65_535 // max(1, len(part)))
                assert not grammar.fullmatch(grown[:65_535])
    assert time.process_time() - began < 5
