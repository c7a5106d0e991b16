"""What a replay keeps, as plain values: parties, clients, grants, tickets. No rule is applied here."""

from dataclasses import dataclass, replace
from functools import lru_cache
from sys import intern
from typing import Any

PLATFORMS = frozenset({"platform", "accounting_platform", "tax_gateway", "department"})
"""Kinds that have `platform.*` records and may ask for others."""
STANDING = ("applied", "active", "rectifying", "suspended", "cancelled")


@lru_cache(maxsize=4096)
def shared(fields: tuple[str, ...]) -> frozenset[str]:
    """Many grants and tickets name the same fields; they share one set of them."""
    return frozenset(map(intern, fields))


def _interned(text: str | None) -> str | None:
    return None if text is None else intern(text)


@dataclass(slots=True)
class Party:
    """The newest snapshot of an institution or platform, and the record that it is from."""

    kind: str
    status: str
    agreed: bool
    assessed_from: str | None
    assessed_until: str | None
    purposes: frozenset[str]
    products: dict[str, tuple[frozenset[str], frozenset[str] | None]]
    models: dict[str, frozenset[str]]
    own_items: frozenset[str]
    data: dict[str, Any]
    index: int

    @classmethod
    def read(cls, index: int, data: dict[str, Any]) -> "Party":
        """The snapshot in a record's data."""
        return cls(
            kind=data["kind"],
            status=data["status"],
            agreed=data["agreement"] is not None,
            assessed_from=data["assessed_from"],
            assessed_until=data["assessed_until"],
            purposes=frozenset(data["purposes"]),
            products={
                p["code"]: (frozenset(p["purposes"]), None if p["items"] is None else frozenset(p["items"])) for p in data["products"]
            },
            models={m["model"]: frozenset(m["items"]) for m in data["models"]},
            own_items=frozenset(data["own_items"]),
            data=data,
            index=index,
        )

    def lacks(self, time: str) -> str | None:
        """Why it has no standing at an instant, None if it has."""
        if self.status != "active":
            return f"is {self.status}"
        if not self.agreed:
            return "has no agreement"
        if self.assessed_from is None or self.assessed_until is None or not self.assessed_from <= time < self.assessed_until:
            return "has no assessment that is valid then"
        return None


@dataclass(slots=True)
class Client:
    """An institution's program."""

    institution: str
    status: str
    scopes: frozenset[str]
    index: int


@dataclass(slots=True)
class Detail:
    """One granted detail with its counter: `used` times in `period`."""

    item: str
    action: str
    purpose: str
    product: str | None
    fields: frozenset[str]
    data_from: str | None
    valid_until: str
    per: str | None
    most: int
    via: tuple[str, ...]
    processor: str | None
    necessity: str
    retention_days: int | None
    period: str = ""
    used: int = 0

    @classmethod
    def read(cls, data: dict[str, Any]) -> "Detail":
        """A detail as granted."""
        frequency = data["frequency"]
        return cls(
            item=intern(data["item"]),
            action=intern(data["action"]),
            purpose=intern(data["purpose"]),
            product=_interned(data["product"]),
            fields=shared(tuple(data["fields"])),
            data_from=_interned(data["data_from"]),
            valid_until=data["valid_until"],
            per=None if frequency is None else intern(frequency["per"]),
            most=0 if frequency is None else frequency["max"],
            via=tuple(data["via"]),
            processor=_interned(data["processor"]),
            necessity=intern(data["necessity"]),
            retention_days=data["retention_days"],
        )

    @property
    def key(self) -> tuple[str, str, str]:
        """What no two details of a grant have in common."""
        return self.item, self.purpose, self.action

    def same(self, other: "Detail") -> bool:
        """Whether both grant the same, however often it was used."""
        return replace(self, period="", used=0) == replace(other, period="", used=0)

    def counted(self, period: str) -> int:
        """Uses in a period so far."""
        return self.used if self.period == period else 0


@dataclass(slots=True)
class Grant:
    """A grant. `details` holds what is granted still, by identifier, whether or not it has expired; `ended` what was taken back.

    index   of the record that it stands on
    places  the highest place that a detail of it ever had, granted or refused
    """

    institution: str
    subject: str
    by: str
    version: int
    status: str
    details: dict[str, Detail]
    index: int
    places: int
    ended: dict[str, Detail] | None = None

    def everything(self) -> dict[str, Detail]:
        """All details, also those that were taken back."""
        return {**self.details, **(self.ended or {})}

    @property
    def last(self) -> str:
        """The instant from which no detail is valid."""
        return max(detail.valid_until for detail in self.everything().values())


@dataclass(slots=True)
class Ticket:
    """An institution's own permit, which a platform may redeem once within five minutes."""

    institution: str
    subject: str
    action: str
    purpose: str
    fields: dict[str, frozenset[str]]
    until_ms: int
    index: int
    redeemed: int | None = None
