"""Client of a consent service: ask before you fetch, fail closed. See README.md for the first call."""

from consent_sdk.client import AsyncConsentClient, ConsentClient
from consent_sdk.errors import CallFailed, ConsentRefused, ConsentSdkError, ReceiptPending, ReceiptRefused, RequestRefused, Undecided
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
    "Undecided",
]
