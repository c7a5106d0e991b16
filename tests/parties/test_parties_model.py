"""Rules of the parties that need no database."""

from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sample_parties import bank, uscc
from stdnum.cn.uscc import calc_check_digit

from consent.catalogue.load import load
from consent.errors import InvalidRequest
from consent.parties.model import InstitutionChange, Model, Product, check_subject, parse_institution_id, parse_name, parse_uscc, uscc_kind

ALPHABET = "0123456789ABCDEFGHJKLMNPQRTUWXY"
CODES = st.builds(uscc, st.integers(0, 999_999_999), st.sampled_from(["91", "92", "93", "51", "N2"]))


@given(CODES)
def test_valid_code_is_returned_unchanged(code: str) -> None:
    """A code with its check character is accepted as it stands."""
    assert parse_uscc(code) == code


@given(CODES, st.integers(0, 17), st.sampled_from(ALPHABET))
def test_one_wrong_character_is_always_found(code: str, place: int, character: str) -> None:
    """Any single character replaced by any other of the alphabet is refused."""
    wrong = code[:place] + character + code[place + 1 :]
    if wrong == code:
        return
    with pytest.raises(InvalidRequest) as caught:
        parse_uscc(wrong)
    assert caught.value.code == "uscc.invalid"


@given(CODES, st.integers(0, 16))
def test_neighbours_exchanged_are_found(code: str, place: int) -> None:
    """Two different neighbours exchanged are refused, since no two neighbouring weights are equal modulo 31."""
    wrong = code[:place] + code[place + 1] + code[place] + code[place + 2 :]
    if wrong == code:
        return
    with pytest.raises(InvalidRequest):
        parse_uscc(wrong)


@pytest.mark.parametrize(
    "change",
    [
        str.lower,
        lambda code: f" {code}",
        lambda code: f"{code}\n",
        lambda code: f"{code[:4]}-{code[4:]}",
        lambda code: code.translate({ord("0"): "０"}),
        lambda code: code.translate({ord("0"): "٠"}),
        lambda code: code.replace("9", "𝟗", 1),
        lambda code: code[:17],
        lambda code: code + "0",
        lambda code: code.replace("0", "O", 1),
        lambda code: "",
        lambda code: code + "\0",
    ],
)
def test_other_spellings_of_a_valid_code_are_refused(change) -> None:
    """Lower case, spaces, hyphens, other scripts' digits: refused and never repaired, so that a party has one spelling."""
    code = next(code for code in (uscc(n, "92") for n in range(100)) if code[-1].isalpha())
    wrong = change(code)
    with pytest.raises(InvalidRequest) as caught:
        parse_uscc(wrong)
    assert not wrong.strip() or wrong.strip() not in str(caught.value)


@given(st.text(max_size=40))
def test_no_text_makes_the_check_fail_otherwise(text: str) -> None:
    """Whatever is given, the answer is the text itself or InvalidRequest."""
    accepted = False
    with suppress(InvalidRequest):
        accepted = parse_uscc(text) == text
    assert accepted == (
        len(text) == 18 and set(text) <= set(ALPHABET) and text[2:8].isdecimal() and calc_check_digit(text[:17]) == text[17]
    )


@pytest.mark.parametrize(
    ("prefix", "kind"), [("91", "enterprise"), ("92", "sole_trader"), ("93", "cooperative"), ("N2", "cooperative"), ("51", "enterprise")]
)
def test_kind_follows_from_the_code(prefix: str, kind) -> None:
    """A self-employed person cannot be registered as a company, nor the reverse."""
    code = uscc(7, prefix)
    assert uscc_kind(code) == kind
    check_subject(kind, code)
    for other in {"enterprise", "sole_trader", "cooperative", "person"} - {kind}:
        with pytest.raises(InvalidRequest):
            check_subject(other, code)


def test_person_has_no_code() -> None:
    """A person is registered without a code, everybody else with one."""
    check_subject("person", None)
    with pytest.raises(InvalidRequest):
        check_subject("enterprise", None)


@pytest.mark.parametrize(
    "text", ["", "ab", "Bank-a", "1bank", "bank_a", "bank.a", "b" * 65, "bank\n", "ｂank", "91000000000000010X", "unknown"]
)
def test_institution_id_is_never_a_document_number(text: str) -> None:
    """Ids stand in the ledger, so nothing that could be a code or a number is one, nor the word for what nobody registered."""
    with pytest.raises(InvalidRequest):
        parse_institution_id(text)


@pytest.mark.parametrize("text", ["", " a", "a ", "a\nb", "a\u200bb", "a\u202eb", "a\0", "\ud800", "字" * 201])
def test_name_has_only_visible_characters(text: str) -> None:
    """Invisible and direction-changing characters would let one name look like another."""
    with pytest.raises(InvalidRequest):
        parse_name(text)


def test_name_is_composed() -> None:
    """Two ways to type a letter give one name."""
    assert parse_name("Cafe\u0301") == "Café"


@pytest.mark.parametrize(
    "members",
    [
        {"purposes": ("marketing",)},
        {"purposes": ("pre_loan", "pre_loan")},
        {"own_items": ("N21-03-04",)},
        {"agreement": "a b"},
        {"assessed_until": None},
        {"assessed_from": datetime(2040, 1, 1, tzinfo=UTC)},
        {"assessed_from": datetime(2020, 1, 1)},  # noqa: DTZ001 - a time without a zone is what must be refused
        {"uscc": "910000000000000011"},
        {"name_zh": ""},
        {"products": (Product(code="a1", name_zh="甲", name_en="A", purposes=("screening",)),)},
        {"products": (Product(code="a1", name_zh="甲", name_en="A", purposes=(), items=("N99-01-01",)),)},
        {"products": (Product(code="a1", name_zh="甲", name_en="A", purposes=(), items=("NB-01",)),)},
        {"products": (Product(code="A1", name_zh="甲", name_en="A", purposes=()),)},
        {"products": (Product(code="a1", name_zh="甲", name_en="A", purposes=()),) * 2},
        {"products": (Product(code="unknown", name_zh="甲", name_en="A", purposes=()),)},
        {"models": (Model(id="m-1", name_zh="甲", name_en="A", items=()),)},
        {"models": (Model(id="m-1", name_zh="甲", name_en="A", items=("NB-01",)),)},
        {"models": (Model(id="unknown", name_zh="甲", name_en="A", items=("N21-03-04",)),)},
        {"models": (Model(id="m-1", name_zh="甲", name_en="A", items=("N21-03-04",)),) * 2},
    ],
)
def test_institution_with_a_wrong_member_is_refused(members) -> None:
    """Words outside the catalogue, items that cannot be selected, half an assessment, a product beyond its institution."""
    with pytest.raises(InvalidRequest):
        bank(**members).checked(load())


def test_words_are_kept_in_one_order() -> None:
    """The same declaration in another order is the same record."""
    one, other = (bank(purposes=p).checked(load()) for p in (("pre_loan", "approval"), ("approval", "pre_loan")))
    assert one == other
    assert one.purposes == ("approval", "pre_loan")


@given(st.lists(st.sampled_from(["applied", "active", "rectifying", "suspended", "cancelled"]), max_size=8))
def test_cancelled_is_final_and_nobody_applies_again(path) -> None:
    """Along any path of accepted changes, nothing follows cancelled and nothing returns to applied."""
    institution = bank(status="applied")
    for status in path:
        try:
            changed = institution.changed(InstitutionChange(status=status))
        except InvalidRequest:
            continue
        assert institution.status != "cancelled" or status == "cancelled"
        assert status != "applied" or institution.status == "applied"
        assert changed.version == institution.version + 1
        institution = changed


def test_change_can_take_back_the_agreement_and_leaves_the_rest() -> None:
    """None is a value of its own in a change; what is absent stays."""
    institution = bank()
    changed = institution.changed(InstitutionChange(agreement=None))
    assert changed.agreement is None
    assert changed.products == institution.products


def test_facts_hold_times_in_milliseconds_and_no_name() -> None:
    """What a policy is told of an institution is what the contract with the policies says, no more."""
    start = datetime(2026, 1, 1, tzinfo=UTC)
    assert bank(assessed_from=start, assessed_until=start + timedelta(days=1)).facts() == {
        "id": "bank-a",
        "kind": "bank",
        "status": "active",
        "agreement": True,
        "assessed_from": 1767225600000,
        "assessed_until": 1767312000000,
        "purposes": ["approval", "post_loan", "pre_loan"],
        "products": {"tax-loan-01": {"purposes": ["pre_loan"], "items": None}},
    }
