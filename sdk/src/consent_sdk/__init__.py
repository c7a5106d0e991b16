"""Client of a consent service: ask before you fetch, fail closed. See README.md for the first call."""

from consent_sdk.client import AsyncConsentClient, ConsentClient
from consent_sdk.errors import (
    CallFailed,
    ConsentRefused,
    ConsentSdkError,
    ReceiptPending,
    ReceiptRefused,
    RequestRefused,
    ServingRefused,
    Undecided,
)
from consent_sdk.models import (
    Check,
    Decision,
    Denial,
    Detail,
    Frequency,
    Grant,
    ItemResult,
    Obligation,
    PartialPermit,
    PendingConsent,
    Permit,
    Receipt,
)
from consent_sdk.obligations import Served, serve, serve_decision

__all__ = [
    "AsyncConsentClient",
    "CallFailed",
    "Check",
    "ConsentClient",
    "ConsentRefused",
    "ConsentSdkError",
    "Decision",
    "Denial",
    "Detail",
    "Frequency",
    "Grant",
    "ItemResult",
    "Obligation",
    "PartialPermit",
    "PendingConsent",
    "Permit",
    "Receipt",
    "ReceiptPending",
    "ReceiptRefused",
    "RequestRefused",
    "Served",
    "ServingRefused",
    "Undecided",
    "serve",
    "serve_decision",
]
