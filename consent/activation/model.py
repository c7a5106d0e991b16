"""What one activation puts in force, and the steps that lead to it, as values. No I/O."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from consent.catalogue.model import Catalogue
from consent.decisions.bundle import Bundle
from consent.errors import Unavailable

APPROVERS_NEEDED = 2


@dataclass(frozen=True)
class Ruleset:
    """Policies and the catalogue that they were built with.

    body       the bundle as an archive: what OPA loads and the ledger keeps
    signed_by  id of the trusted key whose signature was checked; None for the unsigned bundle of the installation itself
    """

    bundle: Bundle
    catalogue: Catalogue
    body: bytes
    signed_by: str | None

    @property
    def revision(self) -> str:
        """Of the policies."""
        return self.bundle.revision

    @property
    def versions(self) -> dict[str, str]:
        """As `consent.ledger.in_force` names them."""
        return {"catalogue": self.catalogue.version, "policy": self.bundle.revision}


@dataclass(frozen=True, kw_only=True)
class Named:
    """The policies in force as their record names them; `record` is the whole record."""

    idx: int
    revision: str
    sha256: bytes
    signed_by: str | None
    genesis: bool
    record: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Approval:
    """One member of the staff approved the proposal, in record `idx`."""

    account_id: UUID
    idx: int


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """A signed bundle that waits for approvals. `idx` is its record's, `replaces` the revision that it would replace."""

    idx: int
    revision: str
    sha256: bytes
    replaces: str
    proposed_by: UUID
    approvals: tuple[Approval, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Activation:
    """A revision that is or was in force."""

    idx: int
    revision: str
    at: datetime
    signed_by: str | None
    approvers: tuple[str, ...]


class RulesetRefused(Unavailable):
    """What the ledger says is in force cannot be run by this process; the operator must act. Nothing is decided meanwhile."""

    code = "policy.refused"

    def __init__(self, revision: str, en: str) -> None:
        super().__init__(
            f"账本中生效的规则版本 {revision} 无法由本进程运行，详见英文说明。", f"Policy revision {revision} is in force, but {en}."
        )
