"""The shipped lists against the official tables: how many rows of which kind, which are open, and rows read again word by word."""

from collections import Counter

import msgspec
import pytest

from consent.catalogue.load import load
from consent.catalogue.model import Item

ROWS_PER_CATEGORY = {
    "N21": {1: 11, 2: 4, 3: 4, 4: 1, 5: 2, 6: 1, 7: 2, 8: 3, 9: 2, 10: 3, 11: 3, 12: 1, 13: 1},
    "N24": {1: 1, 2: 1, 3: 3, 4: 1, 5: 2, 6: 2, 7: 4, 8: 1, 9: 3, 10: 2, 11: 5, 12: 1, 13: 1, 14: 4, 15: 3, 16: 3, 17: 1},
}

OPEN = {
    *("N21-01-01", "N21-01-09", "N21-01-10", "N21-01-11"),
    *("N21-02-01", "N21-02-02", "N21-02-03", "N21-02-04"),
    *("N21-03-01A", "N21-05-02", "N21-06-01", "N21-07-01", "N21-07-02", "N21-08-01", "N21-08-02", "N21-08-03"),
    *("N24-04-01", "N24-08-01", "N24-13-01", "N24-14-01", "N24-14-02", "N24-14-03", "N24-15-02", "N24-15-03"),
    *("NB-02", "NB-04"),
}

OPEN_EXCEPT_FIELDS = {"N21-10-01", "N21-10-02", "N21-10-03"}

COLLECTED_BUT_NOT_PUBLIC = {
    *("N24-07-02", "N24-07-03", "N24-07-04", "N24-11-04", "N24-11-05", "N24-12-01"),
    *("N24-16-01", "N24-16-02", "N24-16-03"),
}

VERIFY = {
    *("N21-05-01", "N21-09-01", "N21-09-02"),
    *("N24-09-01", "N24-09-02", "N24-09-03", "N24-10-01", "N24-11-01", "N24-11-02", "N24-11-03", "N24-15-01", "N24-17-01"),
}

NOT_SELECTABLE = {"NB-01", "NB-05", "N24-10-02"}

FIELDS_PER_ROW = {
    "N21-01": [7, 5, 6, 3, 8, 8, 11, 12, 5, 8, 3],
    "N21-02": [12, 6, 10, 7],
    "N21-03": [4, 3, 3, 5, 8],
    "N21-04": [6],
    "N21-05": [5, 3],
    "N21-06": [4],
    "N21-07": [5, 5],
    "N21-08": [9, 12, 10],
    "N21-09": [10, 7],
    "N21-10": [18, 20, 14],
    "N21-11": [7, 13, 7],
    "N21-12": [4],
    "N21-13": [7],
    "N24-01": [3],
    "N24-02": [5],
    "N24-03": [4, 7, 4],
    "N24-04": [10],
    "N24-05": [5, 4],
    "N24-06": [3, 6],
    "N24-07": [4, 8, 4, 4],
    "N24-08": [5],
    "N24-09": [10, 7, 10],
    "N24-10": [7, 0],
    "N24-11": [3, 3, 4, 9, 5],
    "N24-12": [1],
    "N24-13": [8],
    "N24-14": [8, 5, 11, 6],
    "N24-15": [3, 3, 3],
    "N24-16": [7, 9, 7],
    "N24-17": [3],
    "NB": [3, 4, 6, 3, 1],
}

VERBATIM = {
    "N21-01-07": "企业名称、统一社会信用代码、登记编号、出质人、出质人证照/证件号码、出质股权数额、"
    "质权人、质权人证照/证件号码、股权出质设立登记日期、公示日期、状态",
    "N21-02-01": "企业名称、统一社会信用代码、案由、案号、原告姓名/名称、原告身份证号码(如有)/统一社会信用代码(如有)、被告姓名/名称、"
    "被告身份证号码(如有)/统一社会信用代码(如有)、判决结果、执行法院、所在地、发布日期",
    "N21-03-04": "企业名称、统一社会信用代码、近一年增值税应纳税金额、近一年增值税实际缴税金额、近一年企业所得税应纳税金额、"
    "近一年企业所得税实际缴税金额、连续正常缴税周期(月)、最近一次正常缴税日期",
    "N21-08-01": "企业名称、统一社会信用代码、商标名称、注册号/注册号、申请人中文姓名/名称、"
    "申请日期、国际分类、专用期开始日期、专用期结束日期",
    "N21-12-01": "企业名称、统一社会信用代码、是否属于国家级高新技术企业、"
    "获得科研支持信息（实验室建设、政府资金支持、参与标准制定、人才认证等）",
    "N24-02-01": "企业名称、统一社会信用代码、股东姓名/名称、身份证号码/统一社会信用代码、出资日期",
    "N24-07-02": "企业名称、统一社会信用代码、近两年每月参保人数、近两年每月单位缴费金额、近两年每次缴费日期、"
    "缴费基数所属期（与每笔缴费对应）、"
    "最近一次正常缴费月份、近两年每月缓缴金额及日期",
    "N24-10-01": "企业名称、统一社会信用代码、专精特新“小巨人”企业、专精特新中小企业、创新型企业、高新技术企业、科技型中小企业",
    "N24-11-03": "土地经营权流转受让方、土地经营权流转费用、土地面积、地块代码",
    "N24-17-01": "企业法定代表人姓名、身份证号码、婚姻状况",
    "NB-02": "企业名称、社会统一信用代码证、成立日期、是否正常经营",
}


def of(prefix: str) -> list[Item]:
    items = [item for item in load().items.values() if item.code.startswith(prefix)]
    assert items
    return items


def codes(**wanted: object) -> set[str]:
    return {item.code for item in load().items.values() if all(getattr(item, name) == value for name, value in wanted.items())}


def test_every_row_of_both_tables_and_five_sources_is_there():
    """38 rows of 2021, the A-grade list beside them, 38 rows of 2024, five sources."""
    assert [len(of(prefix)) for prefix in ("N21", "N24", "NB")] == [39, 38, 5]


@pytest.mark.parametrize("prefix", ROWS_PER_CATEGORY)
def test_rows_per_category(prefix):
    """Each category holds as many rows as its table; the A-grade list is no row."""
    counted = Counter(int(item.category.number) for item in of(prefix) if item.code != "N21-03-01A")
    assert dict(counted) == ROWS_PER_CATEGORY[prefix]


@pytest.mark.parametrize(
    ("prefix", "member", "expected"),
    [
        ("N21", "mode", {"collected": 11, "interface": 25, "verification": 3}),
        ("N24", "mode", {"collected": 17, "interface": 11, "verification": 9, None: 1}),
        ("NB", "mode", {"interface": 1, None: 4}),
        ("N21", "level", {"national": 24, "local": 10, "either": 5}),
        ("N24", "level", {"national": 18, "local": 10, None: 10}),
        ("NB", "level", {"local": 1, None: 4}),
        ("N21", "authorization_required", {True: 20, False: 19}),
        ("N24", "authorization_required", {True: 20, False: 18}),
        ("NB", "authorization_required", {True: 1, False: 4}),
        ("N21", "provision", {"open": 16, "open_except_fields": 3, "grant": 17, "verify": 3}),
        ("N24", "provision", {"open": 8, "grant": 20, "verify": 9, "none": 1}),
        ("NB", "provision", {"open": 2, "grant": 1, "none": 2}),
        ("N21", "consent_subject", {"enterprise": 38, "enterprise_or_person": 1}),
        ("N24", "consent_subject", {"enterprise": 30, "person": 3, "enterprise_or_person": 5}),
        ("NB", "consent_subject", {"enterprise": 4, "enterprise_or_person": 1}),
    ],
)
def test_items_per_flag(prefix, member, expected):
    """The flags, counted against the tables' own words."""
    assert dict(Counter(getattr(item, member) for item in of(prefix))) == expected


def test_open_items_are_exactly_these():
    """What needs no grant is a closed set: one more is a leak, one fewer a needless request."""
    assert codes(provision="open") == OPEN
    assert codes(provision="open_except_fields") == OPEN_EXCEPT_FIELDS


def test_collected_rows_that_are_not_public_need_a_grant():
    """Collection without authorization does not make a row public (国办发〔2021〕52号 四(九))."""
    collected = codes(mode="collected", authorization_required=False, provision="grant")
    assert collected == COLLECTED_BUT_NOT_PUBLIC


def test_verification_rows_are_verified_only():
    """A row shared by 数据核验 never becomes detail."""
    assert codes(provision="verify") == codes(mode="verification") == VERIFY


def test_what_cannot_be_selected():
    """The bank's own sources and the fragment cannot be requested."""
    assert codes(selectable=False) == codes(provision="none") == NOT_SELECTABLE


def test_persons_items_are_granted_by_the_person():
    """An enterprise cannot consent to a marriage, a farmer's house or a family farm owner's identity."""
    assert codes(consent_subject="person") == {"N24-09-03", "N24-11-01", "N24-17-01"}
    assert codes(consent_subject="enterprise_or_person", selectable=True) == {
        *("N21-13-01", "N24-11-02", "N24-11-03", "N24-11-04", "N24-11-05", "N24-12-01")
    }


def test_field_count_of_every_row():
    """As many fields as the row lists, or as the row that it borrows them from."""
    counted: dict[str, list[int]] = {}
    for item in load().items.values():
        counted.setdefault(item.code.rpartition("-")[0], []).append(len(item.fields))
    assert counted == FIELDS_PER_ROW


@pytest.mark.parametrize("code", VERBATIM)
def test_field_names_are_the_official_words(code):
    """`zh` is the row's own text, with its faults."""
    item = load().items[code]
    assert "、".join(field.zh for field in item.fields) == VERBATIM[code]


@pytest.mark.parametrize(
    ("code", "source"),
    [
        ("N24-04-01", "N21-02-03"),
        ("N24-05-01", "N21-07-01"),
        ("N24-09-01", "N21-09-01"),
        ("N24-09-02", "N21-09-02"),
        ("N24-09-03", "N21-09-01"),
        ("N21-03-01A", "N21-03-01"),
    ],
)
def test_borrowed_fields_say_where_they_come_from(code, source):
    """A row without fields takes those of the same data elsewhere, in its order, and its note names the source."""
    item = load().items[code]
    names = [field.zh for field in item.fields]
    assert names == [field.zh for field in load().items[source].fields][: len(names)]
    assert item.note is not None
    assert source in item.note.zh
    assert source in item.note.en


def test_doubled_words_are_corrected_in_the_label_only():
    """注册号/注册号 stays in the official text; people read what was presumably meant."""
    field = load().fields["N21-08-01.04"]
    assert (field.zh, field.label.zh) == ("注册号/注册号", "申请号/注册号")
    assert load().fields["NB-02.02"].label.zh == "统一社会信用代码"


def test_a_grade_list_has_no_grade():
    """The open list must not carry a field in which another grade could stand."""
    assert not any("等级" in field.zh for field in load().items["N21-03-01A"].fields)


@pytest.mark.parametrize("code", sorted(OPEN_EXCEPT_FIELDS))
def test_representatives_document_is_what_an_open_row_withholds(code):
    """Exactly type and number need authorization when provided outward; the name is open."""
    item = load().items[code]
    withheld = [field.zh for field in item.fields if field.class_ == "identity_document"]
    assert withheld == ["法定代表人证件类型", "法定代表人证件号码"]
    assert all(field.about == "representative" for field in item.fields if field.zh.startswith("法定代表人"))


def test_third_parties_are_named_as_such():
    """Litigants, pledgees, mortgagees, shareholders, inventors and transferees are nobody's to give but their own."""
    third = {field.code for field in load().fields.values() if field.about == "third_party"}
    assert third == {
        "N21-01-05.03",
        *("N21-01-07.04", "N21-01-07.05", "N21-01-07.07", "N21-01-07.08"),
        *("N21-02-01.05", "N21-02-01.06", "N21-02-01.07", "N21-02-01.08"),
        "N21-02-04.06",
        "N21-08-02.09",
        *("N21-09-02.01", "N21-09-02.02"),
        *("N24-02-01.03", "N24-02-01.04"),
        "N24-08-01.04",
        *("N24-09-02.01", "N24-09-02.02"),
        "N24-11-03.01",
        "N24-13-01.06",
    }


def test_purposes_are_the_nine_and_disjoint_from_what_is_no_financing():
    """The list of purposes is closed; a word is a purpose or known not to be one, never both."""
    catalogue = load()
    assert list(catalogue.purposes) == [
        *("screening", "pre_loan", "approval", "post_loan", "guarantee", "credit_insurance", "modelling", "dispute_resolution"),
        "policy_benefit",
    ]
    assert {"marketing", "resale", "employment", "insurance_sales", "debt_collection_third_party"} <= set(catalogue.not_financing)
    assert not set(catalogue.purposes) & set(catalogue.not_financing)


def test_body_has_the_shape_of_the_contract():
    """Members, their names and their order are public."""
    body = msgspec.json.decode(load().to_json())
    assert list(body) == ["version", "items", "lists", "purposes", "not_financing", "vocabulary"]
    assert body["version"] == load().version
    assert [item["code"] for item in body["items"]] == list(load().items)
    item = next(item for item in body["items"] if item["code"] == "N24-17-01")
    assert list(item) == [
        *("code", "list", "category", "name", "fields", "level", "mode", "authorization_required"),
        *("provision", "consent_subject", "provider", "deadline", "selectable", "note"),
    ]
    assert item["category"] == {"number": "17", "zh": "婚姻状况信息", "en": "Marital status"}
    assert item["fields"][1] == {
        "code": "N24-17-01.02",
        "zh": "身份证号码",
        "label": {"zh": "身份证号码", "en": "Identity number"},
        "class": "identity_document",
        "about": "representative",
    }


def test_lookups_agree_with_the_items():
    """The three indexes are views of one list, and nobody can write into them."""
    catalogue = load()
    assert catalogue.item("N21-03-04") is catalogue.items["N21-03-04"]
    assert catalogue.item("N21-03-05") is None
    assert catalogue.field_codes["N24-17-01"] == ("N24-17-01.01", "N24-17-01.02", "N24-17-01.03")
    assert sum(len(fields) for fields in catalogue.field_codes.values()) == len(catalogue.fields)
    with pytest.raises(TypeError):
        catalogue.items["N21-03-05"] = catalogue.items["N21-03-04"]
