"""One requested or granted item as a person reads it: catalogue labels, terms in words, and what is not given.

Pure: facts in, texts out.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from msgspec import UNSET

from consent.catalogue.model import Catalogue, Field
from consent.grants.model import Detail
from consent.web import words
from consent.web.words import Words

Bar = Literal["person", "enterprise"]


@dataclass(frozen=True, slots=True)
class FieldView:
    """A field's label, and for one that is not given the reason."""

    zh: str
    en: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemView:
    """An item on the page.

    identifier  names it within its request or grant; the value of its box
    bar         who alone may decide on it when that is not the visitor: "person" or "enterprise"; None when she may
    open        served without any grant, by law
    not_given   labels of the item's fields that were not asked for, with the reason why some never are
    """

    identifier: str
    code: str
    name: Words
    category: Words
    required: bool
    personal: bool
    bar: Bar | None
    open: bool
    action: words.Action
    purpose: Words
    product: str | None
    given: Sequence[FieldView]
    not_given: Sequence[FieldView]
    valid_until: datetime
    frequency: Words
    data_range: Words
    retention: Words
    provider: str | None
    via: Sequence[str]
    processor: str | None


def purpose_words(catalogue: Catalogue, code: str) -> Words:
    """A purpose's name; a code that the catalogue has lost stands as itself."""
    purpose = catalogue.purposes.get(code)
    return Words(code, code) if purpose is None else Words(purpose.name.zh, purpose.name.en)


def item_view(catalogue: Catalogue, identifier: str, detail: Detail, names: Mapping[str, str], bar: Bar | None = None) -> ItemView:
    """The view of an accepted detail.

    Args:
        identifier: our name of it, by its place; the client's own may be any text.
        names: what people call products, conduits and processors, by code.
    """
    item = catalogue.item(detail.item)
    fields = () if item is None else item.fields
    given = frozenset(detail.granted_fields)
    frequency = detail.frequency or None
    return ItemView(
        identifier=identifier,
        code=detail.item,
        name=item_words(catalogue, detail.item),
        category=Words("", "") if item is None else Words(item.category.zh, item.category.en),
        required=detail.necessity == "required",
        personal=item is not None and item.consent_subject == "person" and item.provision != "open",
        bar=bar,
        open=item is not None and item.provision == "open",
        action=words.ACTIONS[detail.action],
        purpose=purpose_words(catalogue, detail.purpose),
        product=names.get(detail.product, detail.product) if detail.product else None,
        given=[FieldView(field.label.zh, field.label.en) for field in fields if field.code in given],
        not_given=[_not_given(field) for field in fields if field.code not in given],
        valid_until=detail.valid_until,
        frequency=words.frequency(frequency.max, frequency.per) if frequency else words.frequency(None, None),
        data_range=words.data_range(detail.data_from or None),
        retention=words.retention(None if detail.retention_days is UNSET else detail.retention_days),
        provider=None if item is None else item.provider,
        via=[names.get(code, code) for code in detail.via],
        processor=names.get(detail.processor, detail.processor) if detail.processor else None,
    )


def item_words(catalogue: Catalogue, code: str) -> Words:
    """An item's name, with its code where its list has another item of that name; a code that the catalogue has lost stands as itself."""
    item = catalogue.item(code)
    if item is None:
        return Words(code, code)
    namesakes = sum(other.name.zh == item.name.zh and other.list == item.list for other in catalogue.items.values())
    return Words(item.name.zh if namesakes == 1 else f"{item.name.zh}（{code}）", item.name.en)


def _not_given(field: Field) -> FieldView:
    if field.class_ == "identity_document":
        return FieldView(f"{field.label.zh}（证件信息）", f"{field.label.en} (identity document)")
    if field.about == "third_party" and field.class_ != "public":
        return FieldView(f"{field.label.zh}（他人信息）", f"{field.label.en} (about others)")
    return FieldView(field.label.zh, field.label.en)
