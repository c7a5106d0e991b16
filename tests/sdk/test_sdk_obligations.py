"""Rows leave only as the decision demands, and no character that should be hidden leaves with them."""

import math
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from consent_sdk import ItemResult, Obligation, Permit, ServingRefused, serve, serve_decision
from consent_sdk.obligations import HIDDEN, METHODS, band, mask

ITEM = "N21-09-01"
FIELD, OTHER = f"{ITEM}.01", f"{ITEM}.02"


def answer(*obligations: tuple[str, Any], outcome: str = "permit_masked", fields: tuple[str, ...] = (FIELD,)) -> ItemResult:
    """An item of which `fields` are given, each obligation about all of them."""
    made = tuple(Obligation(code=code, fields=fields, value=value) for code, value in obligations)
    return ItemResult(
        item=ITEM, outcome=outcome, basis="grant", grant_id="g", fields=fields, withheld=(), codes=(), obligations=made, flags=()  # type: ignore[arg-type]
    )  # fmt: skip


def served(value: Any, *obligations: tuple[str, Any]) -> Any:
    """What leaves of one value."""
    (row,) = serve(answer(*obligations), [{FIELD: value}]).rows
    return row[FIELD]


CASES = [
    ("name", "张三", "张**"),
    ("name", "欧阳修文", "欧**"),
    ("name", "示例市晨曦五金制品有限公司", "示**"),
    ("name", "李", HIDDEN),
    ("phone", "13812345678", "138****78"),
    ("phone", 13812345678, "138****78"),
    ("phone", "8765432", HIDDEN),
    ("account", "6222020012345678", "****5678"),
    ("account", "00123", HIDDEN),
    ("identity", "99010019900101123X", "9****X"),
    ("identity", "990100900101123", "9****3"),
    ("identity", "A123456", HIDDEN),
    ("amount", 12345.67, "10000~99999"),
    ("amount", Decimal(-7), "-0~9"),
    ("amount", "1,234", "1000~9999"),
    ("amount", 0, "0~9"),
    ("date", "2025-11-20", "2025-**-**"),
    ("date", date(2025, 11, 20), "2025-**-**"),
    ("date", datetime(2025, 11, 20, 8, tzinfo=UTC), "2025-**-**"),
    ("date", "202511", "2025-**-**"),
    ("date", "2025年11月", "2025-**-**"),
    ("address", "示例省某市某路1号", f"示例省{HIDDEN}"),
    ("address", "某路1号", HIDDEN),
    ("text", "任何内容", HIDDEN),
    ("text", {"任何": "内容"}, HIDDEN),
    ("text", True, HIDDEN),
]


@pytest.mark.parametrize(("method", "value", "shown"), CASES)
def test_each_method_shows_what_it_says(method: str, value: Any, shown: str) -> None:
    """As policies/data/masks.json tells people."""
    assert served(value, ("mask", method)) == shown


@pytest.mark.parametrize("method", sorted(METHODS))
def test_nothing_stays_nothing_and_lists_are_masked_one_by_one(method: str) -> None:
    """A row that has no value has none afterwards."""
    assert served(None, ("mask", method)) is None
    whole = served(["20250101", None], ("mask", method))
    assert whole == HIDDEN if method == "text" else whole[1] is None


UNMASKABLE: list[tuple[str, Any]] = [
    ("name", 7), ("name", ""), ("name", "  "), ("name", True), ("name", b"abc"), ("name", {"a": 1}), ("name", [["张三"]]),
    ("phone", 138.5), ("phone", True), ("account", ["1", ["2"]]), ("identity", {"n": 1}),
    ("amount", "many"), ("amount", True), ("amount", math.nan), ("amount", math.inf), ("amount", "１２"), ("amount", Decimal(10) ** 40),
    ("date", "yesterday"), ("date", 3.5), ("date", "20-11-2025"), ("address", 7),
]  # fmt: skip


@pytest.mark.parametrize(("method", "value"), UNMASKABLE, ids=range(len(UNMASKABLE)))
def test_what_cannot_be_masked_is_not_served(method: str, value: Any) -> None:
    """The whole item is refused, and the error does not hold the value."""
    with pytest.raises(ServingRefused) as refused:
        serve(answer(("mask", method), fields=(OTHER, FIELD)), [{OTHER: None, FIELD: value}])
    assert refused.value.item == ITEM
    if isinstance(value, str) and value.strip():
        assert value not in str(refused.value)


ANYTHING = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=40), st.binary(max_size=10), st.dates(), st.decimals(),
    st.lists(st.text(max_size=8), max_size=3), st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)  # fmt: skip
KEPT = {"name": 1, "phone": 5, "account": 4, "identity": 2, "date": 4, "text": 0}
"""How many characters of the value a method may show."""


@given(value=ANYTHING, method=st.sampled_from(sorted(METHODS)))
def test_whatever_the_value_nothing_else_comes_out(value: Any, method: str) -> None:
    """Masked, hidden, absent, or refused: never as it was, never another error."""
    try:
        shown = mask(ITEM, FIELD, value, method)
    except ServingRefused:
        return
    if value is None:
        assert shown is None
    elif isinstance(shown, list):
        assert all(one is None or "*" in one or "~" in one for one in shown)
    else:
        assert isinstance(shown, str)
        assert "*" in shown or "~" in shown
        assert shown != str(value)


@given(one=st.text(min_size=1, max_size=40), two=st.text(min_size=1, max_size=40), method=st.sampled_from(sorted(KEPT)))
def test_the_hidden_characters_do_not_show(one: str, two: str, method: str) -> None:
    """Two values that agree in what a method keeps look alike, whatever else they hold and however long it is."""
    try:
        first, second = mask(ITEM, FIELD, one, method), mask(ITEM, FIELD, two, method)
    except ServingRefused:
        return
    for shown in (first, second):
        assert len(shown.replace("*", "").replace("-", "")) <= KEPT[method]
    assume(first != second)
    kept = [text.replace("*", "") for text in (first, second)]
    assert kept[0] != kept[1]  # they differ in what is kept, or one of them is hidden wholly


@given(
    head=st.sampled_from("123456789"),
    tail=st.sampled_from("0123456789X"),
    bodies=st.tuples(*[st.text("0123456789", min_size=13, max_size=40)] * 2),
)
def test_numbers_of_documents_that_share_both_ends_look_alike(head: str, tail: str, bodies: tuple[str, str]) -> None:
    """The middle of an identity number, its length included, is not in what leaves."""
    first, second = (served(f"{head}{body}{tail}", ("mask", "identity")) for body in bodies)
    assert first == second == f"{head}****{tail}"


@given(number=st.decimals(min_value=0, max_value=10**15, places=2), digits=st.text("0123456789", min_size=0, max_size=15))
def test_an_amount_shows_its_magnitude_alone(number: Decimal, digits: str) -> None:
    """Any other amount with as many digits looks the same."""
    whole = str(int(number))
    other = (("1" + digits + "0" * 15)[: len(whole)]) if int(number) >= 10 else "5"
    assert served(number, ("mask", "amount")) == served(int(other), ("mask", "amount"))


@given(number=st.integers(0, 10**7), edges=st.lists(st.integers(1, 10**7), min_size=1, max_size=8, unique=True))
def test_a_band_holds_the_number_and_says_nothing_else(number: int, edges: list[int]) -> None:
    """All numbers between two edges give the same text, which names the edges alone."""
    rising = [0, *sorted(edges)]
    shown = band(ITEM, FIELD, number, rising)
    low = max(edge for edge in rising if edge <= number)
    assert shown == band(ITEM, FIELD, low, rising)
    above = [edge for edge in rising if edge > number]
    assert shown == (f"{low}~{above[0] - 1}" if above else f"{low}+")


@pytest.mark.parametrize("value", [-1, "some", True, math.nan, {"a": 1}, [[1]]])
def test_what_is_in_no_band_is_not_served(value: Any) -> None:
    """Never the raw number."""
    with pytest.raises(ServingRefused):
        served(value, ("band", (0, 10)))


def test_only_the_given_fields_leave() -> None:
    """Whatever else a row holds stays where it is; and what is obliged to nothing leaves as it is."""
    result = answer(("retain_days", 30), outcome="permit")
    out = serve(result, [{FIELD: "值", OTHER: "不给", "N21-09-01.03": "不给"}, {OTHER: "不给"}])
    assert out.rows == ({FIELD: "值"},)
    assert out.fields == (FIELD,)
    assert out.retain_days == 30
    assert out.delete_by(date(2026, 1, 1)) == date(2026, 1, 31)


def test_a_verification_answers_match_or_no_match() -> None:
    """For the fields that the asker holds a value of; of several rows one must match; the value itself never leaves."""
    result = answer(("match_only", None), outcome="verify_only", fields=(FIELD, OTHER))
    rows = [{FIELD: "张三", OTHER: Decimal("10.50")}, {FIELD: "李四", OTHER: 7}]
    out = serve(result, rows, claimed={FIELD: " 李四 ", OTHER: 10.5})
    assert out.rows == ({FIELD: True, OTHER: True},)
    assert serve(result, rows, claimed={FIELD: "王五"}).rows == ({FIELD: False},)
    assert serve(result, [], claimed={FIELD: "王五"}).rows == ({FIELD: False},)
    for claimed in (None, {FIELD: ["张三"]}, {FIELD: True}, {FIELD: ""}):
        with pytest.raises(ServingRefused):
            serve(result, rows, claimed=claimed)


def test_banded_figures_are_compared_in_bands() -> None:
    """Otherwise a guess would confirm the exact figure; the asker may name a figure or the band."""
    result = answer(("match_only", None), ("band", (0, 10, 100)), outcome="verify_only")
    for claim, matches in ((57, True), ("99", True), ("10~99", True), (9, False), ("100+", False)):
        (row,) = serve(result, [{FIELD: 42}], claimed={FIELD: claim}).rows
        assert row[FIELD] is matches
    assert serve(result, [{FIELD: "10~99"}], claimed={FIELD: 57}).rows == ({FIELD: True},)
    for claim in ("many", None, -1):
        with pytest.raises(ServingRefused):
            serve(result, [{FIELD: 42}], claimed={FIELD: claim})


@given(value=st.text(min_size=1, max_size=20), claim=st.text(min_size=1, max_size=20))
def test_a_comparison_never_shows_the_value(value: str, claim: str) -> None:
    """True or false, nothing else."""
    assume(value.strip() and claim.strip())
    (row,) = serve(answer(("match_only", None), outcome="verify_only"), [{FIELD: value}], claimed={FIELD: claim}).rows
    assert row[FIELD] in {True, False}
    assert set(row) == {FIELD}


def test_a_models_input_leaves_summed_up() -> None:
    """Count, sum and mean; never of fewer values than three, which would show them; and the receiver keeps nothing."""
    result = answer(("aggregate", None), ("do_not_store", None), outcome="model_only")
    out = serve(result, [{FIELD: 1}, {FIELD: "2"}, {FIELD: 4.5}, {FIELD: None}])
    assert out.rows == ({FIELD: {"count": 3, "sum": "7.5", "mean": "2.5"}},)
    assert out.do_not_store == (FIELD,)
    assert out.delete_by(date(2026, 1, 1)) == date(2026, 1, 1)
    assert serve(result, [{FIELD: "甲"}, {FIELD: "乙"}, {FIELD: "丙"}]).rows == ({FIELD: {"count": 3}},)
    with pytest.raises(ServingRefused, match="too few"):
        serve(result, [{FIELD: 1}, {FIELD: 2}])


def test_of_two_duties_the_stricter_one_holds() -> None:
    """A banded figure for a processor is masked; two bounds of keeping are the shorter."""
    assert served(120, ("band", (0, 10, 100)), ("mask", "amount")) == "100~999"
    assert served("甲乙", ("mask", "text"), ("band", (0, 10))) == HIDDEN
    assert serve(answer(("retain_days", 30), ("retain_days", 7), outcome="permit"), [{FIELD: 1}]).retain_days == 7


BAD: dict[str, tuple[str, Any]] = {
    "an unknown duty": ("encrypt", None),
    "an unknown method": ("mask", "hash"),
    "no method": ("mask", None),
    "a method that is a number": ("mask", 3),
    "no edges": ("band", None),
    "one edge": ("band", (0,)),
    "edges that fall": ("band", (0, 10, 5)),
    "edges that are none": ("band", ("a", "b")),
    "no days": ("retain_days", None),
    "days below one": ("retain_days", 0),
    "days that are true": ("retain_days", True),
}


@pytest.mark.parametrize("obligation", BAD.values(), ids=BAD.keys())
def test_a_duty_that_is_not_understood_refuses_the_item(obligation: tuple[str, Any]) -> None:
    """A newer service may demand what this version cannot do: then nothing leaves."""
    with pytest.raises(ServingRefused):
        serve(answer(obligation), [{FIELD: "值"}])


def test_contradictions_refuse_the_item() -> None:
    """Two methods for one field; a verification or a model with a field in detail; masked without a mask; a duty about a foreign field."""
    two = answer(("mask", "name"), ("mask", "text"))
    half = ItemResult(
        item=ITEM, outcome="verify_only", basis="grant", grant_id="g", fields=(FIELD, OTHER), withheld=(), codes=(), flags=(),
        obligations=(Obligation(code="match_only", fields=(FIELD,)),),
    )  # fmt: skip
    foreign = ItemResult(
        item=ITEM, outcome="permit_masked", basis="grant", grant_id="g", fields=(FIELD,), withheld=(), codes=(), flags=(),
        obligations=(Obligation(code="mask", fields=(OTHER,), value="text"),),
    )  # fmt: skip
    for result in (
        two,
        half,
        foreign,
        answer(outcome="verify_only"),
        answer(outcome="model_only"),
        answer(outcome="permit_masked"),
        answer(("retain_days", 30), outcome="permit_masked"),
        answer(outcome="deny"),
        answer(fields=()),
    ):
        with pytest.raises(ServingRefused):
            serve(result, [{FIELD: "值", OTHER: "值"}], claimed={FIELD: "值"})


def test_a_decision_is_served_as_a_whole_or_not_at_all() -> None:
    """What was denied is left out; what cannot be served right takes the others with it."""
    good, denied = answer(outcome="permit"), answer(outcome="deny", fields=())
    bad = ItemResult(
        item="N21-09-02", outcome="permit_masked", basis="grant", grant_id="g", fields=("N21-09-02.01",), withheld=(), codes=(), flags=(),
        obligations=(Obligation(code="mask", fields=("N21-09-02.01",), value="amount"),),
    )  # fmt: skip

    def decision(*items: ItemResult) -> Permit:
        return Permit(
            id="d", action="query", items=items, codes=(), solution_zh="", solution_en="", policy="p", catalogue="c", ledger_index=1,
            ledger_leaf="l",
        )  # fmt: skip

    assert serve_decision(decision(good, denied), {ITEM: [{FIELD: 1}]})[ITEM].rows == ({FIELD: 1},)
    assert serve_decision(decision(good), {}) == {}
    with pytest.raises(ServingRefused):
        serve_decision(decision(good, bad), {ITEM: [{FIELD: 1}], "N21-09-02": [{"N21-09-02.01": "张三"}]})
