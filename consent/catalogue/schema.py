"""The shape of the data files, and of the body that is served. Unknown members are refused: a misspelt flag must not go unseen."""

from datetime import date

import msgspec

from consent.catalogue.model import (
    Category,
    ConsentSubject,
    Edition,
    Field,
    Item,
    Level,
    Mode,
    NotFinancing,
    Provision,
    Purpose,
    Vocabulary,
    Words,
)


class CategoryEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A category with the number of rows that the official table has in it, so that a lost row is noticed."""

    number: str
    zh: str
    en: str
    rows: int

    def category(self) -> Category:
        """Without the count."""
        return Category(self.number, self.zh, self.en)


class ItemEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """An item as written in a list's file: the category by number, the list by the file."""

    code: str
    category: str
    name: Words
    level: Level | None
    mode: Mode | None
    authorization_required: bool
    provision: Provision
    consent_subject: ConsentSubject
    provider: str | None
    deadline: str | None
    selectable: bool
    note: Words | None
    fields: tuple[Field, ...]

    def item(self, source: str, category: Category) -> Item:
        """The item of the list `source`."""
        return Item(
            code=self.code,
            list=source,
            category=category,
            name=self.name,
            fields=self.fields,
            level=self.level,
            mode=self.mode,
            authorization_required=self.authorization_required,
            provision=self.provision,
            consent_subject=self.consent_subject,
            provider=self.provider,
            deadline=self.deadline,
            selectable=self.selectable,
            note=self.note,
        )


class ListFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One official list. `prefix` begins every code in it."""

    list: str
    prefix: str
    title: Words
    effective: date
    categories: tuple[CategoryEntry, ...]
    items: tuple[ItemEntry, ...]


class PurposesFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The financing purposes, and the words that are none."""

    effective: date
    purposes: tuple[Purpose, ...]
    not_financing: tuple[NotFinancing, ...]


class Body(msgspec.Struct, frozen=True):
    """What is served, in this order. The version is computed over the body in which it is empty."""

    version: str
    items: tuple[Item, ...]
    lists: tuple[Edition, ...]
    purposes: tuple[Purpose, ...]
    not_financing: tuple[NotFinancing, ...]
    vocabulary: Vocabulary
