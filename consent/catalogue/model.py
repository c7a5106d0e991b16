"""What can be shared, in values that never change after loading. No I/O.

An `Item` is one row of an official list, a `Field` one of its data elements. Programs use codes; Chinese texts are labels. Two flags
must not be confused: `authorization_required` repeats what the row says about sharing with the platform, while `provision` says what an
outside institution gets by default, and it alone decides outward (国办发〔2021〕52号 四(九): without masking or the subject's explicit
authorization nothing secret or private is provided).

What `class` and `about` mean to whoever decides on a field:

public             published by law, or shared openly by the row itself; may be served wherever its item may, even about a third party
internal           administrative facts that nobody publishes: account numbers, addresses of use, parcel codes
commercial         figures of the business: amounts, head-counts, returns
personal           describes a natural person
identity_document  type or number of a document, also where the field may as well hold a 统一社会信用代码

subject            the enterprise; in an item that a person grants, that person
representative     legal representative, person in charge or owner of the enterprise
third_party        anybody else except authorities acting in office. The enterprise's consent does not cover what is not public about them
"""

from collections.abc import Mapping
from datetime import date
from typing import Literal

import msgspec

Level = Literal["national", "local", "either"]
Mode = Literal["collected", "interface", "verification"]
Provision = Literal["open", "open_except_fields", "grant", "verify", "none"]
ConsentSubject = Literal["enterprise", "person", "enterprise_or_person"]
FieldClass = Literal["public", "internal", "commercial", "personal", "identity_document"]
About = Literal["subject", "representative", "third_party"]
Action = Literal["query", "verify", "push", "report", "model", "collect"]


class CatalogueError(Exception):
    """The catalogue's data is not what it must be; the message names the file and the place. The operator must act."""


class Words(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One text for people in both languages."""

    zh: str
    en: str


class Field(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"class_": "class"}):
    """One data element of an item.

    code   the item's code, a dot and the two-digit place in the row, from 01
    zh     the official text verbatim, faults included
    label  what people read, with the faults corrected
    """

    code: str
    zh: str
    label: Words
    class_: FieldClass
    about: About


class Category(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A numbered section of a list; the number is text, since clauses such as 4.1.3 count too."""

    number: str
    zh: str
    en: str


class Item(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One row of an official or regional list.

    list                    the document's number or clause
    name                    `zh` verbatim, or inferred where the row lost it (then `note` says so)
    level, mode             as the row says; None where it says nothing
    authorization_required  the row's own flag 经企业授权 or 经信息主体授权
    provision               what an outside institution gets by default
    consent_subject         who can grant it; without meaning while `provision` is open
    provider, deadline      responsible unit and completion date, verbatim; None where the row has none
    selectable              whether it can be requested and checked at all; False exactly where `provision` is none
    note                    what is doubtful in the source and what was decided
    """

    code: str
    list: str
    category: Category
    name: Words
    fields: tuple[Field, ...]
    level: Level | None
    mode: Mode | None
    authorization_required: bool
    provision: Provision
    consent_subject: ConsentSubject
    provider: str | None
    deadline: str | None
    selectable: bool
    note: Words | None


class Purpose(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A financing purpose. The list is closed: 国办发〔2021〕52号 四(十) allows nothing but support of the enterprise's financing."""

    code: str
    name: Words
    description: Words


class NotFinancing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A word that callers are known to send and that is no financing purpose; it is refused with a reason of its own."""

    code: str
    name: Words


class Region(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whose list it is: the code of GB/T 2260 (two digits for a province, four for a city, six for a county)."""

    code: str
    name: Words


class Edition(msgspec.Struct, frozen=True, omit_defaults=True):
    """One source list: its number, a title for people, and the day from which it applies here. `region` only for a regional list."""

    list: str
    title: Words
    effective: date
    region: Region | None = None


class Vocabulary(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What each code of the catalogue is called."""

    levels: dict[Level, Words]
    modes: dict[Mode, Words]
    provisions: dict[Provision, Words]
    consent_subjects: dict[ConsentSubject, Words]
    classes: dict[FieldClass, Words]
    about: dict[About, Words]
    actions: dict[Action, Words]


class Catalogue(msgspec.Struct, frozen=True, eq=False):
    """The whole catalogue, indexed. One instance serves the process.

    version        newest effective date, a plus sign and twelve hex digits of the content's SHA-256: other content, other version
    items          by item code, in the order of the lists
    fields         by field code
    field_codes    all field codes of an item, by item code, in the row's order
    purposes       by code
    not_financing  by code
    body           what `GET /catalogue` and `consent catalogue --json` answer
    """

    version: str
    items: Mapping[str, Item]
    fields: Mapping[str, Field]
    field_codes: Mapping[str, tuple[str, ...]]
    purposes: Mapping[str, Purpose]
    not_financing: Mapping[str, NotFinancing]
    lists: tuple[Edition, ...]
    vocabulary: Vocabulary
    body: bytes

    def item(self, code: str) -> Item | None:
        """The item, or None where no list has that code; one that cannot be selected is found too."""
        return self.items.get(code)

    def to_json(self) -> bytes:
        """The catalogue in the shape of the public contract, UTF-8."""
        return self.body
