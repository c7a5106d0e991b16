"""Words that a record may hold: codes of the catalogue and of denials by their form, states and roles by name (docs/spec/ledger.md §4)."""

from typing import Annotated, Literal

from msgspec import Meta

Word = Annotated[str, Meta(pattern=r"\A[a-z][a-z0-9_]{0,47}\Z")]
Code = Annotated[str, Meta(pattern=r"\A[a-z]{1,24}\.[a-z_]{1,39}\Z")]
Item = Annotated[str, Meta(pattern=r"\A(?:[A-Z][A-Z0-9]{1,7}(?:-[0-9]{2}){1,2}[A-Z]?|unknown)\Z")]
Field = Annotated[str, Meta(pattern=r"\A(?:[A-Z][A-Z0-9]{1,7}(?:-[0-9]{2}){1,2}[A-Z]?\.[0-9]{2}|unknown)\Z")]
Action = Literal["query", "verify", "push", "report", "model", "collect", "unknown"]
InstitutionStatus = Literal["applied", "active", "rectifying", "suspended", "cancelled"]
InstitutionKind = Literal[
    "bank",
    "guarantor",
    "insurer",
    "credit_service",
    "credit_bureau",
    "conduit",
    "platform",
    "accounting_platform",
    "tax_gateway",
    "department",
]
LoanPhase = Literal["applied", "approved", "refused", "disbursed", "settled", "overdue"]
GrantActor = Literal["subject", "institution", "operator"]
