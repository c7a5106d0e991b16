"""The errors of the service, split by who must act.

ConsentError
├── CallerError            the caller must change the request
│   ├── InvalidRequest     400  malformed, unknown member, too long
│   ├── NotAuthenticated   401
│   ├── Forbidden          403
│   ├── NotFound           404  also: not yours, so that nothing is revealed
│   ├── Conflict           409  it was done already, or changed meanwhile
│   └── TooManyRequests    429
└── ServiceError           the operator must act; never a permit
    └── Unavailable        503
        ├── PolicyUnavailable    nothing was decided
        │   └── OtherRevision    by an engine with other policies than the ones in force
        └── DatabaseUnavailable  nothing was recorded

Each carries a stable `code`, a status and one sentence in both languages that says what to do. No message ever holds a
token, a key, a name, a document number or what a caller wrote freely. A denial is not an error: it is a recorded value.
"""

from typing import ClassVar


class ConsentError(Exception):
    """Root of all errors that the service raises on purpose."""

    status: ClassVar[int] = 500
    code: str = "error"

    def __init__(self, zh: str, en: str, *, code: str | None = None, member: str | None = None) -> None:
        """`member` is the JSON path or parameter name at fault, one of ours and never the caller's text."""
        super().__init__(en)
        self.zh = zh
        self.en = en
        self.member = member
        if code is not None:
            self.code = code


class CallerError(ConsentError):
    """The caller must change something."""


class InvalidRequest(CallerError):
    """Malformed, unknown, duplicate or oversized input."""

    status = 400
    code = "invalid_request"


class NotAuthenticated(CallerError):
    """No or no valid credentials."""

    status = 401
    code = "not_authenticated"


class Forbidden(CallerError):
    """Authenticated, but without the scope or role."""

    status = 403
    code = "forbidden"


class NotFound(CallerError):
    """Does not exist, or belongs to somebody else: both answer alike."""

    status = 404
    code = "not_found"


class Conflict(CallerError):
    """It was done already or has changed meanwhile."""

    status = 409
    code = "conflict"


class TooManyRequests(CallerError):
    """Come back later."""

    status = 429
    code = "too_many_requests"


class ServiceError(ConsentError):
    """The operator must act. Never a permit."""


class Unavailable(ServiceError):
    """Nothing was decided or recorded; the same request may be sent again."""

    status = 503
    code = "unavailable"


class PolicyUnavailable(Unavailable):
    """The policy engine gave no answer, or one that cannot be trusted (design §3.2)."""

    code = "policy.unavailable"

    def __init__(self) -> None:
        super().__init__(
            "规则引擎暂不可用，未作出任何决定，请稍后重试。", "The policy engine gave no answer; nothing was decided. Try again later."
        )


class OtherRevision(PolicyUnavailable):
    """The policy engine answers by other policies than the ones in force. Refused like no answer; readiness says which."""

    def __init__(self, found: str, wanted: str) -> None:
        """`found` is shown only if it has the form of a revision, for it comes from outside."""
        shown = found if len(found) == len(wanted) and set(found) <= set("0123456789abcdef") else "unknown"
        Unavailable.__init__(
            self,
            f"规则引擎提供的规则版本是 {shown}，不是账本中生效的 {wanted}；未作出任何决定。请让 OPA 加载生效的规则包。",
            f"The policy engine serves revision {shown}, not {wanted}, which is in force; nothing was decided."
            " Have OPA load the bundle in force (`consent policy fetch FILE`, or GET /policy/bundle.tar.gz).",
        )


class DatabaseUnavailable(Unavailable):
    """The database cannot be reached, or was lost during the commit: then it is not known whether anything was recorded."""

    code = "database.unavailable"

    def __init__(self) -> None:
        super().__init__(
            "数据库暂不可用，本次请求未得到确认，请稍后原样重试。",
            "The database cannot be reached; nothing was confirmed. Send the same request again later.",
        )
