"""Who is calling, as a type. A handler states in its signature what the caller must be; there is no other permission check.

A value of these types exists only after the edge has authenticated the caller and looked at its scopes or role: the edge builds
`Caller` from a token or `Visitor` from a session, and the classmethods here turn it into the narrower capability or raise. Scopes
are exact words; holding one never implies another.
"""

from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Literal, Self
from uuid import UUID

from consent.errors import Forbidden
from consent.parties.terminals import Address, Terminal

SCOPES: frozenset[str] = frozenset({"grants", "check", "check:any", "loans"})
"""Everything that a client can be registered for (design §4)."""

PLATFORM_KINDS: frozenset[str] = frozenset({"platform", "accounting_platform", "tax_gateway", "department"})
"""Institutions that hold or reach data and serve it to others. Only they may check for others."""

AccountKind = Literal["enterprise", "person", "staff"]
StaffRole = Literal["operator", "regulator", "auditor"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """A client that presented a valid sender-constrained token.

    client_id         the registered client
    institution_id    the institution to which the client belongs; never taken from the request
    institution_kind  one of `consent.parties.model.InstitutionKind`
    scopes            the token's scopes, which are at most the client's
    token_hash        SHA-256 of the access token, to tell callers apart without holding the token
    terminals         the client's registered terminals
    address           whose connection it is; never logged or recorded
    """

    SCOPE: ClassVar[str | None] = None
    """The one scope that the capability needs; None for the base type alone."""

    client_id: str
    institution_id: str
    institution_kind: str
    scopes: AbstractSet[str]
    token_hash: bytes = field(repr=False)
    terminals: tuple[Terminal, ...] = ()
    address: Address | None = field(default=None, repr=False)

    @property
    def is_platform(self) -> bool:
        """Whether the institution serves data to others."""
        return self.institution_kind in PLATFORM_KINDS

    @classmethod
    def of(cls, caller: "Caller") -> Self:
        """The narrower capability.

        Raises:
            Forbidden: the token has not the scope, or the institution's kind cannot hold this capability.
        """
        if cls.SCOPE is not None and cls.SCOPE not in caller.scopes:
            raise Forbidden("令牌缺少所需的权限范围。", "The token lacks the scope that this needs.", code="insufficient_scope")
        return cls(**_members(caller))


@dataclass(frozen=True, slots=True, kw_only=True)
class Checker(Caller):
    """May ask for its own institution."""

    SCOPE: ClassVar[str | None] = "check"


@dataclass(frozen=True, slots=True, kw_only=True)
class AnyChecker(Caller):
    """May ask for other institutions and report deliveries: a platform."""

    SCOPE: ClassVar[str | None] = "check:any"

    def __post_init__(self) -> None:
        # A registration error must not let a bank ask in another bank's name, so the kind is looked at besides the scope.
        if not self.is_platform:
            raise Forbidden("只有数据平台可以为他人查询。", "Only a data platform may ask for others.")


@dataclass(frozen=True, slots=True, kw_only=True)
class GrantClient(Caller):
    """May see and revoke its own institution's grants (FAPI Grant Management)."""

    SCOPE: ClassVar[str | None] = "grants"


@dataclass(frozen=True, slots=True, kw_only=True)
class LoanReporter(Caller):
    """May report its own institution's loans."""

    SCOPE: ClassVar[str | None] = "loans"


@dataclass(frozen=True, slots=True, kw_only=True)
class Visitor:
    """A person with a browser session.

    subject_id  the enterprise (or herself) for which she acts; None for staff
    role        a staff member's role; None for everybody else
    csrf        the session's token against forged posts
    """

    account_id: UUID
    display_name: str = field(repr=False)
    kind: AccountKind
    subject_id: UUID | None
    role: StaffRole | None
    csrf: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class SubjectVisitor(Visitor):
    """A visitor who acts for a subject: the enterprise's operator, or a natural person for himself."""

    subject_id: UUID

    @classmethod
    def of(cls, visitor: Visitor) -> Self:
        """The capability to grant and revoke for `visitor.subject_id`.

        Raises:
            Forbidden: a staff account, which acts for nobody.
        """
        if visitor.kind == "staff" or visitor.subject_id is None:
            raise Forbidden("此账号不能代表企业或个人操作。", "This account acts for no enterprise or person.")
        return cls(**_members(visitor))


@dataclass(frozen=True, slots=True, kw_only=True)
class Staff(Visitor):
    """A member of the platform's or a supervisor's staff, whatever the role."""

    ROLE: ClassVar[StaffRole | None] = None

    role: StaffRole

    @classmethod
    def of(cls, visitor: Visitor) -> Self:
        """The capability of a role.

        Raises:
            Forbidden: not staff, or of another role. Roles imply nothing about each other.
        """
        if visitor.kind != "staff" or visitor.role is None or (cls.ROLE is not None and visitor.role != cls.ROLE):
            raise Forbidden("此账号没有所需的角色。", "This account has not the role that this needs.")
        return cls(**_members(visitor))


@dataclass(frozen=True, slots=True, kw_only=True)
class Operator(Staff):
    """Runs the platform: registers institutions and clients, suspends and resumes."""

    ROLE: ClassVar[StaffRole | None] = "operator"


@dataclass(frozen=True, slots=True, kw_only=True)
class Regulator(Staff):
    """Reads reports; changes nothing."""

    ROLE: ClassVar[StaffRole | None] = "regulator"


@dataclass(frozen=True, slots=True, kw_only=True)
class Auditor(Staff):
    """Reads the ledger's entries; changes nothing."""

    ROLE: ClassVar[StaffRole | None] = "auditor"


def _members(value: Any) -> dict[str, Any]:
    return {member.name: getattr(value, member.name) for member in fields(value)}
