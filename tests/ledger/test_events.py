"""Record types: their bytes are canonical, and nothing that is not an id, a word, a digest, an instant or a count fits in."""

import json

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consent.ledger import events, parts, statements
from consent.ledger.grammar import compile_grammar
from consent_audit.record import encode_data

PSEUDONYM = "p_" + "a" * 22
DIGEST = "b" * 43
SHA = "c" * 64
AT = "2026-11-20T08:00:00.000Z"
DETAIL = parts.Detail(
    identifier="d1", item="N21-03-04", action="query", purpose="pre_loan", product=None, fields=("N21-03-04.03",), necessity="required",
    data_from="2025-01-01", valid_until=AT, frequency=parts.Frequency(max=4, per="day"), retention_days=365, via=("credit-link",),
    processor=None,
)  # fmt: skip
INSTITUTION = {
    "institution": "bank-1", "kind": "bank", "status": "active", "agreement": "2026-1", "assessed_from": AT, "assessed_until": None,
    "purposes": ("pre_loan",), "own_items": (), "products": (parts.Product(code="tax-loan-01", purposes=("pre_loan",), items=None),),
    "models": (parts.Model(model="model-1", items=("N21-03-04",)),), "evidence_months": 36,
}  # fmt: skip
GRANT = {"grant": "_" * 22, "version": 2, "institution": "bank-1", "subject": PSEUDONYM, "actor": "subject"}
NOTICE = parts.Notice(version="2026-1", sha256=SHA)
ITEM = parts.DecidedItem(
    item="NB-03", fields_requested=None, claimed=("NB-03.01",), outcome="deny", basis=None, grant=None, identifier=None, fields=(),
    withheld=("NB-03.01",), codes=("item.not_granted",),
)  # fmt: skip
SAMPLES: list[events.Event] = [
    statements.LedgerGenesis(origin="ledger.example.org/test"),
    statements.KeyRotated(
        old="a/b+01234567+" + "A" * 44, new="a/b+89abcdef+" + "+" * 44, old_signature="/" * 86 + "==", new_signature="A" * 86 + "==",
    ),
    statements.LedgerContinued(origin="a/c", before="a/b", size=7, root="A" * 43 + "="),
    events.CatalogueActivated(version="2026-11-20+0123456789ab", sha256=SHA, approvers=("s-1", "s-2")),
    events.PolicyProposed(revision="0123456789ab", sha256=SHA, signed_by=DIGEST, catalogue="c", replaces="p", staff="s-1"),
    events.PolicyApproved(proposal=0, revision="0123456789ab", sha256=SHA, staff="s-1"),
    events.PolicyActivated(revision="0123456789ab", sha256=SHA, signed_by=DIGEST, approvers=("s-1", "s-2")),
    events.InstitutionRegistered(**INSTITUTION), events.InstitutionChanged(**INSTITUTION),
    events.PlatformRegistered(**INSTITUTION), events.PlatformChanged(**INSTITUTION),
    events.ClientRegistered(client="c-1", institution="bank-1", status="active", scopes=("grants", "check:any"), keys=(DIGEST,)),
    events.ClientChanged(client="c-1", institution="bank-1", status="suspended", scopes=(), keys=()),
    events.StaffRegistered(staff="00000000-0000-4000-8000-000000000000", role="regulator"),
    events.StaffChanged(staff="s-1", role="auditor", status="closed"),
    events.SubjectRegistered(commitment=DIGEST, kind="enterprise", level="real_name"),
    events.SubjectChanged(commitment=DIGEST, kind="person", level="registered", status="suspended"),
    events.SubjectLinked(person=DIGEST, enterprise=DIGEST, role="farm_owner"),
    events.SubjectUnlinked(person=DIGEST, enterprise=DIGEST, role="shareholder"),
    events.GrantRequested(request="r", institution="bank-1", client="c-1", details=(DETAIL, DETAIL), excess=0, policy="p", catalogue="c"),
    events.GrantRequestRefused(
        request="r", institution="bank-1", client="c-1", excess=100, policy="p", catalogue="c",
        verdicts=(parts.Verdict(
            identifier_digest=DIGEST, item="unknown", action="unknown", purpose="x", product="tax-loan-01", verdict="refuse", codes=()
        ),),
    ),
    *(
        kind(
            grant="g", version=1, request=None, institution="bank-1", subject=PSEUDONYM, by="enterprise", channel="online", notice=NOTICE,
            details=(DETAIL,), refused=(parts.RefusedDetail(identifier="d2", item="N21-03-01A", code="item.not_granted"),),
        )
        for kind in (events.GrantApproved, events.GrantReplaced, events.GrantMerged)
    ),
    events.GrantRefused(request="r", institution="bank-1", subject=PSEUDONYM, notice=NOTICE),
    events.GrantNarrowed(**GRANT, removed=("d1",), remaining=("d2", "d10")),
    events.GrantRevoked(**GRANT), events.GrantSuspended(**GRANT), events.GrantResumed(**GRANT),
    events.AccessDecided(
        id="a", institution="unknown", platform=None, client="c-1", subject="unknown", action="query", purpose="marketing", product=None,
        loan=DIGEST, operator=DIGEST, branch=None, model="unknown", processor="agent-1", via=("credit-link",), service="single",
        channel="department_direct", data_from="2025-01-01", data_to=None, request=None,
        ticket="unknown", told=parts.Told(
            verified=True, terminal="unregistered", loan=parts.LoanTold(phase="applied", product=None), uncounted=("g",)
        ),
        items=(ITEM,), decision=False, outcome="none", codes=("item.not_granted",), redeems=None,
        attested="platform", uses=(parts.Use(grant="g", identifier="d1", period="2026-11", used=1),), policy="p", catalogue="c",
    ),
    events.AccessDelivered(decision="a", index=0, platform="platform-1", items=(parts.DeliveredItem(item="NB-03", fields=("NB-03.01",)),)),
    statements.RecordRedacted(records=(0, 41), reason="erasure"),
    events.ReportRead(report="r", reader="s-1", from_=AT, to=AT, format="csv", first=0, last=None, sha256=SHA),
]  # fmt: skip


def test_there_is_a_sample_of_every_type():
    """So that every type is tested below."""
    assert {type(sample).TYPE for sample in SAMPLES} == set(events.EVENTS)


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.TYPE)
def test_bytes_are_canonical_and_read_back(sample: events.Event):
    """The verifier's own encoder writes the same bytes, and they decode to an equal value."""
    data = events.encode(sample)
    assert encode_data(json.loads(data)) == data
    assert msgspec.json.decode(data, type=type(sample)) == sample


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.TYPE)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_no_member_takes_another_value(sample: events.Event, data: st.DataObject):
    """Whatever string stands in place of any string of a record: it is refused, or it is no free text."""
    tree = json.loads(events.encode(sample))
    places = list(_strings(tree))
    container, key = data.draw(st.sampled_from(places))
    container[key] = value = data.draw(st.text(max_size=60))
    raw = json.dumps(tree, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")
    if compile_grammar(type(sample)).fullmatch(raw):
        assert value.isascii()
        assert not set(value) & set(" \t\n\r\"\\<>&'")


def _strings(node):
    members = node.items() if isinstance(node, dict) else enumerate(node)
    for key, value in list(members):
        if isinstance(value, str):
            yield node, key
        elif isinstance(value, dict | list):
            yield from _strings(value)


@pytest.mark.parametrize(
    "value", ["91330201MA2CHXXXXX", "330203199001011234", "33020319900101123x", "330203900101123", "33020319900101123X", "张三", "", "a\n"]
)
def test_an_id_is_never_an_official_number(value: str):
    """Neither a 统一社会信用代码 nor an identity number fits an id, and no pseudonym is anything but ours."""
    for sample in (
        events.StaffRegistered(staff=value, role="auditor"),
        events.AccessDelivered(decision=value, index=0, platform="p", items=()),
        events.GrantRevoked(**GRANT | {"subject": value}),
    ):
        with pytest.raises(msgspec.ValidationError):
            events.encode(sample)


@pytest.mark.parametrize(
    "raw", [b'{"staff":"s-1", "role":"auditor"}', b'{"role":"auditor","staff":"s-1"}', b'{"staff":"s\\u002d1","role":"auditor"}']
)
def test_other_spellings_are_refused(raw: bytes):
    """White space, another order of members and an escape decode as JSON, but not as a record."""
    assert json.loads(raw) == {"staff": "s-1", "role": "auditor"}
    assert compile_grammar(events.StaffRegistered).fullmatch(raw) is None


@pytest.mark.parametrize(
    ("member", "value"), [("used", 0), ("used", -1), ("used", 1.0), ("used", True), ("used", 10**15), ("period", "2026"), ("grant", None)]
)
def test_counts_are_counts(member: str, value: object):
    """No sign, fraction, truth value or number beyond fifteen digits."""
    decided = next(sample for sample in SAMPLES if isinstance(sample, events.AccessDecided))
    use = msgspec.structs.replace(decided.uses[0], **{member: value})
    with pytest.raises(msgspec.ValidationError):
        events.encode(msgspec.structs.replace(decided, uses=(use,)))


def test_a_type_without_one_spelling_has_no_grammar():
    """A float, a free string, an open object or an unbounded number cannot become part of a record."""
    for member in (float, str, dict[str, str], int, list[str]):
        with pytest.raises(TypeError):
            compile_grammar(msgspec.defstruct("Bad", [("member", member)]))
