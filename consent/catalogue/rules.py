"""What the catalogue's data must satisfy before anything is decided from it.

Types, enumerations and unknown members are checked while decoding (`schema`); here stand the rules between members. Each raises
`CatalogueError` with the file and the place.
"""

import re
from typing import NoReturn, get_args

from consent.catalogue.model import CatalogueError, Field, Vocabulary, Words
from consent.catalogue.schema import ItemEntry, ListFile, PurposesFile

ITEM_CODE = re.compile(
    r"(?:N2[0-9]|R[0-9]{2}(?:[0-9]{2}){0,2})-(?P<category>[0-9]{2})-(?P<row>[0-9]{2})(?P<part>[A-Z]?)|NB-(?P<source>[0-9]{2})"
)
"""`N21-03-04` third category, fourth row; a letter marks a part of a row that is an item of its own; `NB-03` third source; `R33-01-02` of
the list of region 33."""

PURPOSE_CODE = re.compile(r"[a-z]+(?:_[a-z]+)*")

IDENTITY_DOCUMENT = re.compile("身份证|证件号|证件类型")
"""Official field names that speak of an identity document."""

CHINESE = re.compile(r"[\u4e00-\u9fff]")


def check_list(name: str, file: ListFile) -> None:
    """Check one list.

    Raises:
        CatalogueError: with `name`, the item or category, and the rule.
    """
    check_words(name, "title", file.title)
    numbers = [category.number for category in file.categories]
    _check_unique(name, "categories", numbers)
    _check_unique(name, "items", [item.code for item in file.items])
    rows = dict.fromkeys(numbers, 0)
    for item in file.items:
        if item.category not in rows:
            _refuse(name, item.code, f"category {item.category} is not among the file's categories")
        rows[item.category] += _check_code(name, file.prefix, item, rows[item.category])
        _check_texts(name, item)
        _check_fields(name, item)
        _check_provision(name, item)
    for category in file.categories:
        check_words(name, f"category {category.number}", Words(category.zh, category.en))
        if rows[category.number] != category.rows:
            _refuse(name, f"category {category.number}", f"has {rows[category.number]} rows, the official table has {category.rows}")


def check_purposes(name: str, file: PurposesFile) -> None:
    """Check the purposes and the known words that are none.

    Raises:
        CatalogueError: a malformed or repeated code, also across both, or an empty or misplaced text.
    """
    words = [(word.code, word.name) for word in file.purposes] + [(word.code, word.name) for word in file.not_financing]
    _check_unique(name, "codes", [code for code, _ in words])
    for code, title in words:
        if not PURPOSE_CODE.fullmatch(code):
            _refuse(name, code, "a code is lower-case words joined by underscores")
        check_words(name, f"{code}.name", title)
    for purpose in file.purposes:
        check_words(name, f"{purpose.code}.description", purpose.description)


def check_vocabulary(name: str, vocabulary: Vocabulary) -> None:
    """Check that every code of every enumeration is named.

    Raises:
        CatalogueError: a code without a name, or an empty or misplaced text.
    """
    for member, kind in type(vocabulary).__annotations__.items():
        named: dict[str, Words] = getattr(vocabulary, member)
        for code in get_args(get_args(kind)[0]):
            if code not in named:
                _refuse(name, member, f"{code} has no name")
            check_words(name, f"{member}.{code}", named[code])


def check_words(name: str, place: str, words: Words) -> None:
    """Check a text for people: both languages present, neither in the other's place.

    Raises:
        CatalogueError: empty, padded, or in the wrong language.
    """
    _check_text(name, f"{place}.zh", words.zh)
    _check_text(name, f"{place}.en", words.en)
    if not CHINESE.search(words.zh):
        _refuse(name, f"{place}.zh", "is not Chinese")
    if 2 * len(CHINESE.findall(words.en)) > len(words.en):  # a note in English may quote the source
        _refuse(name, f"{place}.en", "is not English")


def _check_code(name: str, prefix: str, item: ItemEntry, rows_before: int) -> int:
    """Check that the code is in its list, category and order; 1 if the item is a row of the table, 0 if a part of one."""
    match = ITEM_CODE.fullmatch(item.code)
    if match is None or item.code.partition("-")[0] != prefix:
        _refuse(name, item.code, f"is no item code of {prefix}")
    if match["source"] is not None:
        if int(match["source"]) != int(item.category.rpartition(".")[2]):
            _refuse(name, item.code, f"does not belong to category {item.category}")
        return 1
    if not item.category.isdecimal() or int(match["category"]) != int(item.category):
        _refuse(name, item.code, f"does not belong to category {item.category}")
    expected = rows_before + (0 if match["part"] else 1)
    if int(match["row"]) != expected:
        _refuse(name, item.code, f"stands where row {expected} of its category is expected")
    return 0 if match["part"] else 1


def _check_texts(name: str, item: ItemEntry) -> None:
    check_words(name, f"{item.code}.name", item.name)
    if item.note is not None:
        check_words(name, f"{item.code}.note", item.note)
    for member, text in (("provider", item.provider), ("deadline", item.deadline)):
        if text is not None:
            _check_text(name, f"{item.code}.{member}", text)


def _check_fields(name: str, item: ItemEntry) -> None:
    _check_unique(name, f"{item.code}.fields", [field.zh for field in item.fields])
    for place, field in enumerate(item.fields, 1):
        if field.code != f"{item.code}.{place:02}":
            _refuse(name, field.code, f"stands where {item.code}.{place:02} is expected")
        _check_text(name, f"{field.code}.zh", field.zh)
        check_words(name, f"{field.code}.label", field.label)
        if IDENTITY_DOCUMENT.search(field.zh) and field.class_ != "identity_document":
            _refuse(name, field.code, f"names an identity document but its class is {field.class_}")


def _check_provision(name: str, item: ItemEntry) -> None:
    """Check what is provided outward against the row's own flag, its mode and the classes of its fields."""
    openly = item.provision in {"open", "open_except_fields"}
    if item.selectable != (item.provision != "none"):
        _refuse(name, item.code, "is selectable exactly where its provision is not none")
    if item.selectable and not item.fields:
        _refuse(name, item.code, "can be selected but has no fields")
    if item.authorization_required and openly:
        _refuse(name, item.code, f"requires authorization but its provision is {item.provision}")
    if item.selectable and (item.mode == "verification") != (item.provision == "verify"):
        _refuse(name, item.code, f"has the mode {item.mode} but the provision {item.provision}")
    if openly and item.consent_subject != "enterprise":
        _refuse(name, item.code, f"is a person's to grant but its provision is {item.provision}")
    if openly:
        for field in item.fields:
            if not _may_stand_in_open(field):
                _refuse(name, field.code, f"is {field.class_} in an item whose provision is {item.provision}")
    if (item.provision == "open_except_fields") != (openly and any(_is_representatives_document(field) for field in item.fields)):
        _refuse(name, item.code, "is open_except_fields exactly where it is open with the representative's identity document in it")


def _may_stand_in_open(field: Field) -> bool:
    """What an open item may hold: published fields, and such as are withheld whatever the enterprise consents to."""
    return field.class_ in {"public", "identity_document"} or (field.class_ == "personal" and field.about == "third_party")


def _is_representatives_document(field: Field) -> bool:
    return field.class_ == "identity_document" and field.about == "representative"


def _check_text(name: str, place: str, text: str) -> None:
    if not text or text != text.strip():
        _refuse(name, place, "is empty or padded with spaces")


def _check_unique(name: str, place: str, values: list[str]) -> None:
    for value in values:
        if values.count(value) > 1:
            _refuse(name, place, f"{value} stands twice")


def _refuse(name: str, place: str, why: str) -> NoReturn:
    raise CatalogueError(f"{name}: {place}: {why}")
