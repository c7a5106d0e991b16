"""Parties: the values and rules that need no database.

Owns what makes a 统一社会信用代码, a name, a registered id, an institution, a product and a subject acceptable. Refuses to repair
input: a code in lower case or full-width digits is refused, not converted, so that one party never has two spellings.

Catalogue words (purposes, items) come in as `CatalogueWords`, because parties and catalogue know nothing of each other.
"""

import re
import unicodedata
from collections.abc import Container, Iterable, Mapping
from datetime import datetime
from typing import Annotated, Any, Literal, Protocol, Self
from uuid import UUID

import msgspec
from msgspec import UNSET, UnsetType
from stdnum.cn import uscc as stdnum_uscc

from consent.clock import to_ms
from consent.errors import InvalidRequest
from consent.ledger.words import InstitutionKind, InstitutionStatus
from consent.parties.terminals import Terminal

SubjectKind = Literal["enterprise", "sole_trader", "cooperative", "person"]
SubjectLevel = Literal["registered", "real_name"]
SubjectStatus = Literal["active", "suspended", "closed"]
LinkRole = Literal["legal_representative", "farm_owner", "household_member", "shareholder"]
ClientStatus = Literal["active", "suspended", "cancelled"]
Allowed = Annotated[tuple[str, ...], msgspec.Meta(max_length=256)]
AuthMethod = Literal["private_key_jwt", "self_signed_tls_client_auth"]

# GB 32100-2015: registering department, kind of body, six digits of region, nine of organisation, check character; no I, O, S, V, Z.
_USCC = re.compile(r"[0-9A-HJ-NPQRTUWXY]{2}[0-9]{6}[0-9A-HJ-NPQRTUWXY]{10}")
_INSTITUTION_ID = re.compile(r"[a-z][a-z0-9-]{2,63}")
_PRODUCT_CODE = re.compile(r"[a-z][a-z0-9-]{1,63}")
_MODEL_ID = re.compile(r"[a-z][a-z0-9-]{2,63}")
_AGREEMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,31}")
_NAME_LENGTH = 200
UNKNOWN = "unknown"
"""Stands in records for what nobody registered, so nothing may be registered under it."""

_NEXT_STATUS: dict[InstitutionStatus, frozenset[InstitutionStatus]] = {
    "applied": frozenset({"active", "cancelled"}),
    "active": frozenset({"rectifying", "suspended", "cancelled"}),
    "rectifying": frozenset({"active", "suspended", "cancelled"}),
    "suspended": frozenset({"active", "rectifying", "cancelled"}),
    "cancelled": frozenset(),
}
"""Rectify, up to cancelling access (国办发〔2021〕52号 四(十), 发改办财金〔2022〕299号 四).

Cancelled is final: a new access is a new institution.
"""


def parse_uscc(text: str) -> str:
    """The 统一社会信用代码 `text`, unchanged.

    Exactly 18 ASCII characters in capitals with the right check character (GB 32100-2015). The check is modulo the prime 31 with
    weights that it does not divide, so one wrong character is always found.

    Raises:
        InvalidRequest: `uscc.invalid`. The message does not repeat the text.
    """
    if _USCC.fullmatch(text) is None or stdnum_uscc.calc_check_digit(text[:17]) != text[17]:
        raise InvalidRequest(
            "统一社会信用代码不正确：应为18位大写字母或数字，且校验位正确。",
            "Not a unified social credit code: 18 capital letters or digits with a correct check character.",
            code="uscc.invalid",
        )
    return text


def uscc_kind(code: str) -> SubjectKind:
    """What kind of subject a valid 统一社会信用代码 names, from its first two characters (GB 32100-2015 table 1).

    92 is 个体工商户; 93 is 农民专业合作社 and N1 to N3 are rural collective organisations, which 国办发〔2021〕52号 注1 treats alike.
    """
    if code[:2] == "92":
        return "sole_trader"
    if code[:2] == "93" or code[0] == "N":
        return "cooperative"
    return "enterprise"


def parse_institution_id(text: str, member: str = "id") -> str:
    """A registered id: lower-case ASCII letters, digits and hyphens, 3 to 64 characters, a letter first: never a document number.

    Raises:
        InvalidRequest: `id.invalid`.
    """
    if _INSTITUTION_ID.fullmatch(text) is None or text == UNKNOWN:
        raise InvalidRequest(
            "标识应为3至64位小写字母、数字或连字符。",
            "An id is 3 to 64 lower-case letters, digits or hyphens.",
            code="id.invalid",
            member=member,
        )
    return text


def parse_name(text: str, member: str = "name") -> str:
    """A name for people to read: 1 to 200 characters in NFC, without control or invisible characters or spaces at its ends.

    Raises:
        InvalidRequest: `name.invalid`.
    """
    text = unicodedata.normalize("NFC", text)
    if not 1 <= len(text) <= _NAME_LENGTH or text != text.strip() or any(unicodedata.category(c)[0] == "C" for c in text):
        raise InvalidRequest("名称应为1至200个可见字符。", "A name is 1 to 200 visible characters.", code="name.invalid", member=member)
    return text


class SelectableItem(Protocol):
    """An item of the catalogue, as far as parties look at it."""

    @property
    def selectable(self) -> bool:
        """Whether it can be requested at all."""
        ...


class CatalogueWords(Protocol):
    """The catalogue, as far as parties look at it; `consent.catalogue` has the only one."""

    @property
    def purposes(self) -> Mapping[str, object]:
        """The financing purposes by code."""
        ...

    @property
    def items(self) -> Mapping[str, SelectableItem]:
        """The items by code."""
        ...


class Product(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A loan product of an institution. `items` None: all that the purpose matrix finds necessary; else only these."""

    code: str
    name_zh: str
    name_en: str
    purposes: tuple[str, ...]
    items: tuple[str, ...] | None = None

    def checked(self, institution_purposes: Iterable[str], catalogue: CatalogueWords) -> Self:
        """Self with names normalised and words sorted.

        Raises:
            InvalidRequest: a malformed code or name, a purpose that the institution has not declared, an unknown item.
        """
        if _PRODUCT_CODE.fullmatch(self.code) is None or self.code == UNKNOWN:
            raise InvalidRequest(
                "产品代码格式不正确。", "A product code is lower-case letters, digits or hyphens.", code="id.invalid", member="products"
            )
        return msgspec.structs.replace(
            self,
            name_zh=parse_name(self.name_zh, "products.name_zh"),
            name_en=parse_name(self.name_en, "products.name_en"),
            purposes=_words(self.purposes, frozenset(institution_purposes), "products.purposes"),
            items=None if self.items is None else _words(self.items, _selectable(catalogue), "products.items"),
        )


class Model(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A joint model of an institution and the platform, registered with the items that it may read (国办发〔2021〕52号 二(六))."""

    id: str
    name_zh: str
    name_en: str
    items: tuple[str, ...]

    def checked(self, catalogue: CatalogueWords) -> Self:
        """Self with names normalised and items sorted.

        Raises:
            InvalidRequest: a malformed id or name, no item, an unknown one.
        """
        if _MODEL_ID.fullmatch(self.id) is None or self.id == UNKNOWN:
            raise InvalidRequest(
                "模型标识格式不正确。", "A model's id is 3 to 64 lower-case letters, digits or hyphens.", code="id.invalid", member="models"
            )
        if not self.items:
            raise InvalidRequest("模型应至少登记一个数据项。", "A model reads at least one item.", member="models.items")
        return msgspec.structs.replace(
            self,
            name_zh=parse_name(self.name_zh, "models.name_zh"),
            name_en=parse_name(self.name_en, "models.name_en"),
            items=_words(self.items, _selectable(catalogue), "models.items"),
        )


MIN_EVIDENCE_MONTHS = 6
MAX_EVIDENCE_MONTHS = 600


class Institution(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An institution that asks for data, or a platform that holds it.

    agreement       version of the accepted information-management terms (国办发〔2021〕52号 四(十)), None if none
    assessed_from, assessed_until  validity of the security assessment; both or neither; whether it is valid is computed when read
    purposes        declared purposes; a request must stay within them
    models          what it may ask with the action model; one that is left out is retired
    own_items       items of a department's own domain, which it may provide directly (国办发〔2024〕15号 二(一))
    evidence_months  how long evidence is kept after the last grant or loan has ended, six at least; three years unless agreed otherwise
    version         raised by every change
    """

    id: str
    kind: InstitutionKind
    uscc: str
    name_zh: str
    name_en: str
    status: InstitutionStatus = "applied"
    agreement: str | None = None
    assessed_from: datetime | None = None
    assessed_until: datetime | None = None
    purposes: tuple[str, ...] = ()
    own_items: tuple[str, ...] = ()
    products: tuple[Product, ...] = ()
    models: tuple[Model, ...] = ()
    evidence_months: int = 36
    version: int = 1

    def checked(self, catalogue: CatalogueWords) -> Self:
        """Self with names normalised and words sorted.

        Raises:
            InvalidRequest: any member that is malformed or not in the catalogue.
        """
        parse_institution_id(self.id)
        parse_uscc(self.uscc)
        if self.agreement is not None and _AGREEMENT.fullmatch(self.agreement) is None:
            raise InvalidRequest("协议版本格式不正确。", "Malformed version of the terms.", member="agreement")
        self._check_assessment()
        if not MIN_EVIDENCE_MONTHS <= self.evidence_months <= MAX_EVIDENCE_MONTHS:
            raise InvalidRequest(
                "凭据保存期限应为6至600个月。", "Evidence is kept for 6 to 600 months.", code="retention.invalid", member="evidence_months"
            )
        if self.own_items and self.kind != "department":
            raise InvalidRequest("只有数据提供部门可以有本领域数据项。", "Only a department has items of its own.", member="own_items")
        codes = [product.code for product in self.products]
        if len(set(codes)) != len(codes):
            raise InvalidRequest("产品代码重复。", "Two products have the same code.", code="product.duplicate", member="products")
        if len({model.id for model in self.models}) != len(self.models):
            raise InvalidRequest("模型标识重复。", "Two models have the same id.", code="model.duplicate", member="models")
        purposes = _words(self.purposes, catalogue.purposes, "purposes")
        return msgspec.structs.replace(
            self,
            name_zh=parse_name(self.name_zh, "name_zh"),
            name_en=parse_name(self.name_en, "name_en"),
            purposes=purposes,
            own_items=_words(self.own_items, _selectable(catalogue), "own_items"),
            products=tuple(sorted((p.checked(purposes, catalogue) for p in self.products), key=lambda p: p.code)),
            models=tuple(sorted((model.checked(catalogue) for model in self.models), key=lambda model: model.id)),
        )

    def _check_assessment(self) -> None:
        start, end = self.assessed_from, self.assessed_until
        if start is None and end is None:
            return
        if start is None or end is None or start.tzinfo is None or end.tzinfo is None or start >= end:
            raise InvalidRequest(
                "安全评估有效期应有起止时间，且起早于止。",
                "An assessment has a start before its end, both with a zone.",
                member="assessed_until",
            )

    def changed(self, change: "InstitutionChange") -> Self:
        """Self after `change`, one version higher; not yet checked against the catalogue.

        Raises:
            InvalidRequest: `institution.transition`, the status cannot follow the present one.
        """
        values = {name: value for name in change.__struct_fields__ if (value := getattr(change, name)) is not UNSET}
        status = values.get("status", self.status)
        if status != self.status and status not in _NEXT_STATUS[self.status]:
            raise InvalidRequest(
                "机构状态不能这样变更。", "The institution's status cannot change that way.", code="institution.transition", member="status"
            )
        return msgspec.structs.replace(self, **values, version=self.version + 1)

    def facts(self) -> dict[str, Any]:
        """What a policy is told of an institution: registered words only, times in milliseconds, no names."""
        return {
            "id": self.id,
            "kind": self.kind,
            "status": self.status,
            "agreement": self.agreement is not None,
            "assessed_from": None if self.assessed_from is None else to_ms(self.assessed_from),
            "assessed_until": None if self.assessed_until is None else to_ms(self.assessed_until),
            "purposes": list(self.purposes),
            "products": {
                p.code: {"purposes": list(p.purposes), "items": None if p.items is None else list(p.items)} for p in self.products
            },
        }


class InstitutionChange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What may change after registration. Kind and 统一社会信用代码 never do: that would be another institution."""

    name_zh: str | UnsetType = UNSET
    name_en: str | UnsetType = UNSET
    status: InstitutionStatus | UnsetType = UNSET
    agreement: str | UnsetType | None = UNSET
    assessed_from: datetime | UnsetType | None = UNSET
    assessed_until: datetime | UnsetType | None = UNSET
    purposes: tuple[str, ...] | UnsetType = UNSET
    own_items: tuple[str, ...] | UnsetType = UNSET
    products: tuple[Product, ...] | UnsetType = UNSET
    models: tuple[Model, ...] | UnsetType = UNSET
    evidence_months: int | UnsetType = UNSET


class Client(msgspec.Struct, frozen=True, kw_only=True):
    """An institution's program that calls this service, known by its public keys or certificates alone.

    jwks          {"keys": […]}, checked by `consent.parties.jwks`; may be empty where certificates authenticate
    auth_method   the one way in which it proves who it is (RFC 7591 token_endpoint_auth_method)
    certificates  thumbprints, `x5t#S256`, checked by `consent.parties.certificates`
    allowed_items, allowed_purposes
                  what it may ask for, of what its institution may; None: all of it
    terminals     numbered devices and their networks; empty: none are registered, and any may ask
    scopes        the most that its tokens may carry, from `consent.parties.access.SCOPES`
    """

    id: str
    institution_id: str
    institution_kind: InstitutionKind
    name: str
    jwks: dict[str, Any]
    redirect_uris: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ()
    auth_method: AuthMethod = "private_key_jwt"
    certificates: tuple[str, ...] = ()
    allowed_items: Allowed | None = None
    allowed_purposes: Allowed | None = None
    terminals: tuple[Terminal, ...] = ()
    status: ClientStatus = "active"
    version: int = 1


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """An enterprise, self-employed person, co-operative or natural person. A person has no 统一社会信用代码."""

    id: UUID
    kind: SubjectKind
    uscc: str | None
    name: str
    level: SubjectLevel
    status: SubjectStatus
    version: int

    @property
    def identifier(self) -> str:
        """What the pseudonym table knows the subject by: its code, or a person's subject id."""
        return str(self.id) if self.uscc is None else self.uscc

    @property
    def verified(self) -> bool:
        """Whether it may grant online: registered by its real name and active (国办发〔2021〕52号 注3)."""
        return self.level == "real_name" and self.status == "active"


def check_subject(kind: SubjectKind, uscc: str | None) -> None:
    """A person has no code, everybody else one whose kind agrees.

    Raises:
        InvalidRequest: `uscc.invalid` or `subject.kind_mismatch`.
    """
    if (kind == "person") != (uscc is None) or (uscc is not None and uscc_kind(parse_uscc(uscc)) != kind):
        raise InvalidRequest(
            "主体类型与统一社会信用代码不一致。",
            "The kind of subject and its code do not agree.",
            code="subject.kind_mismatch",
            member="kind",
        )


def _selectable(catalogue: CatalogueWords) -> frozenset[str]:
    return frozenset(code for code, item in catalogue.items.items() if item.selectable)


def _words(words: Iterable[str], known: Container[str], member: str) -> tuple[str, ...]:
    """`words` sorted. Raises InvalidRequest for an unknown or repeated one, without repeating it."""
    words = tuple(words)
    if len(set(words)) != len(words) or not all(word in known for word in words):
        raise InvalidRequest("含有未知或重复的目录用语。", "An unknown or repeated word.", code="word.unknown", member=member)
    return tuple(sorted(words))
