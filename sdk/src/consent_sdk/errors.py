"""What can go wrong, split by who must act. None of them is ever a permit.

ConsentSdkError
├── Undecided        nothing was decided: no answer, 503, or an answer that cannot be trusted. Do not fetch; try again
├── CallFailed       the service refused the call itself: status, code and what to do
├── RequestRefused   a consent request asked too much: one verdict, code and solution per item
├── ConsentRefused   the enterprise granted nothing, or the answer in the browser does not belong to this request
├── ServingRefused   a platform's rows cannot be served as the decision demands: serve nothing of the item
├── ReceiptPending   a record is not proven yet: ask again in a second, or once the witnesses answer
└── ReceiptRefused   what the service gave does not prove what it said: keep both, and ask the auditor
"""

from typing import Any


class ConsentSdkError(Exception):
    """Root of this distribution's errors."""


class Undecided(ConsentSdkError):
    """Nothing was decided. Data must not be fetched; the same check may be sent again."""


class CallFailed(ConsentSdkError):
    """The service refused the call: malformed, unknown caller, missing scope, not found."""

    def __init__(self, status: int, code: str, detail: str) -> None:
        super().__init__(f"{status} {code}: {detail}")
        self.status = status
        self.code = code
        self.detail = detail


class RequestRefused(ConsentSdkError):
    """The request was refused as a whole (design: nothing is trimmed in silence).

    Attributes:
        verdicts: one mapping per detail: identifier, verdict (keep, downgrade, refuse), codes, solution, and advice: members of the
            detail as they would be kept, or None.
    """

    def __init__(self, verdicts: list[dict[str, Any]]) -> None:
        refused = [v for v in verdicts if v.get("verdict") != "keep"]
        super().__init__("; ".join(f"{v.get('identifier')}: {', '.join(v.get('codes', []))}" for v in refused) or "request refused")
        self.verdicts = verdicts


class ConsentRefused(ConsentSdkError):
    """The browser came back without consent: `code` is the OAuth error, or state_mismatch, issuer_mismatch."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class ServingRefused(ConsentSdkError):
    """Rows cannot be handled as the decision demands. Nothing of the item may leave. `item` and the reason; never a value."""

    def __init__(self, item: str, reason: str) -> None:
        super().__init__(f"{item}: {reason}")
        self.item = item
        self.reason = reason


class ReceiptPending(ConsentSdkError):
    """The record is not signed yet, or fewer witnesses cosigned than the policy demands."""


class ReceiptRefused(ConsentSdkError):
    """A receipt that does not prove the record it should: keep the reply and the receipt, they are evidence."""
