"""The one place where an error becomes a reply: problem details (RFC 9457) for programs, a page for people.

Nothing of what the caller wrote and nothing of an unexpected exception but its type leaves this module, neither to the caller nor
to the log. OAuth endpoints answer in the shape of their own specifications and hold their errors back from here.
"""

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import asyncpg
import msgspec
import sqlalchemy.exc
from litestar import Request, Response
from litestar.exceptions import HTTPException, ValidationException
from litestar.types import ExceptionHandlersMap

from consent import errors
from consent.db import is_unavailable
from consent.web.templates import page

_log = logging.getLogger("consent.web")
_MEMBER = re.compile(r"[a-z][a-z0-9_.\[\]-]{0,99}")
_RETRY_SECONDS = "2"
_PASSED_ON = frozenset({"allow", "retry-after", "www-authenticate", "dpop-nonce"})

PROBLEM_TYPE = "application/problem+json"


class SignInNeeded(errors.NotAuthenticated):
    """A page needs somebody to be signed in. Only this leads a browser to the form: a program's endpoint opened in a browser lacks a
    token, which no sign-in gives, and would send it round in a circle."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One kind of problem: its slug (the last part of `type`), its title, and what to do about it."""

    slug: str
    zh: str
    en: str
    advice_zh: str
    advice_en: str


PROBLEMS: Mapping[type[Exception], Problem] = {
    errors.InvalidRequest: Problem(
        "invalid-request", "请求有误", "The request is not valid",
        "请改正指出的成员后重新发送。", "Correct the member that is named, then send it again.",
    ),
    errors.NotAuthenticated: Problem(
        "not-authenticated", "请先登录", "Please sign in",
        "请登录，或附上有效的访问令牌。", "Sign in, or present a valid access token.",
    ),
    errors.Forbidden: Problem(
        "forbidden", "没有权限", "Not allowed",
        "此账号或客户端没有所需的权限，请联系平台。", "This account or client has not the right it needs; ask the platform.",
    ),
    errors.NotFound: Problem(
        "not-found", "没有找到", "Not found",
        "请核对地址或编号。不属于您的，也按不存在回答。", "Check the address or id. What is not yours is answered as if it did not exist.",
    ),
    errors.Conflict: Problem(
        "conflict", "已经处理过，或已有变化", "Done already, or changed meanwhile",
        "请查看现在的状态，再决定要不要重做。", "Look at the present state before you try again.",
    ),
    errors.TooManyRequests: Problem(
        "too-many-requests", "操作太频繁", "Too many requests",
        "请稍后再试。", "Come back later.",
    ),
    errors.Unavailable: Problem(
        "unavailable", "服务暂不可用", "Not available just now",
        "没有作出任何决定，也没有记录。可以原样重试。", "Nothing was decided or recorded. The same request may be sent again.",
    ),
    errors.PolicyUnavailable: Problem(
        "policy-unavailable", "规则引擎暂不可用", "The policy engine gives no answer",
        "没有作出任何决定。可以原样重试。", "Nothing was decided. The same request may be sent again.",
    ),
    errors.DatabaseUnavailable: Problem(
        "database-unavailable", "数据库暂不可用", "The database cannot be reached",
        "没有记录任何事项。可以原样重试。", "Nothing was recorded. The same request may be sent again.",
    ),
    errors.ServiceError: Problem(
        "internal", "服务出错", "Something went wrong on our side",
        "问题已记录，请稍后再试。", "It has been logged; try again later.",
    ),
}  # fmt: skip
"""Every error of the service by its class, or by the nearest class above it."""

GROUPINGS: frozenset[type[Exception]] = frozenset({errors.CallerError})
"""Classes that are never raised themselves."""

_BY_STATUS: Mapping[int, type[errors.ConsentError]] = {
    401: errors.NotAuthenticated, 403: errors.Forbidden, 404: errors.NotFound, 409: errors.Conflict,
    429: errors.TooManyRequests, 503: errors.Unavailable,
}  # fmt: skip

_DETAILS: Mapping[int, tuple[str, str]] = {
    400: ("请求的格式不正确。", "The request is malformed."),
    401: ("需要先证明身份。", "Authentication is needed."),
    403: ("没有所需的权限。", "The right that this needs is missing."),
    404: ("这个地址没有内容。", "There is nothing at this address."),
    405: ("这个地址不接受这种方法。", "This address does not take this method."),
    406: ("没有所要求格式的内容。", "There is no content in the form that was asked for."),
    413: ("请求超过了长度上限。", "The request is longer than allowed."),
    415: ("不支持这种内容类型。", "This content type is not supported."),
    429: ("请求太频繁。", "Too many requests."),
}


def problem_of(kind: type[Exception]) -> Problem:
    """The problem of an error's class, by the nearest class above it.

    Raises:
        LookupError: no class above it has one; a test sees to it that there is none such.
    """
    for parent in kind.__mro__:
        if parent in PROBLEMS:
            return PROBLEMS[parent]
    raise LookupError(kind.__name__)


def wants_page(request: Request[Any, Any, Any]) -> bool:
    """Whether a person is looking: browsers name text/html, programs do not."""
    return "text/html" in request.headers.get("accept", "")


def _reply(
    request: Request[Any, Any, Any],
    problem: Problem,
    status: int,
    code: str,
    zh: str,
    en: str,
    *,
    member: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response[Any]:
    passed = {name: value for name, value in (headers or {}).items() if name.lower() in _PASSED_ON}
    if status == 503:
        passed.setdefault("retry-after", _RETRY_SECONDS)
    if wants_page(request):
        return page("problem.html", status=status, headers=passed, problem=problem, status_code=status, zh=zh, en=en)
    body = {
        "type": f"/problems#{problem.slug}",
        "title": f"{problem.zh} {problem.en}",
        "status": status,
        "detail": f"{zh} {en}",
        "code": code,
        **({} if member is None else {"member": member}),
    }
    return Response(msgspec.json.encode(body), status_code=status, headers=passed, media_type=PROBLEM_TYPE)


def on_consent_error(request: Request[Any, Any, Any], error: errors.ConsentError) -> Response[Any]:
    """An error that the service raised on purpose."""
    if isinstance(error, SignInNeeded) and wants_page(request):
        return _to_sign_in(request)
    if error.status == 500:
        # Written for the operator's terminal: it may name a file or an address.
        return on_unexpected(request, error)
    if error.status > 500:
        _log.error("%s at %s", error.code, _route(request))
    headers = getattr(error, "headers", None)
    return _reply(request, problem_of(type(error)), error.status, error.code, error.zh, error.en, member=error.member, headers=headers)


def _to_sign_in(request: Request[Any, Any, Any]) -> Response[Any]:
    """Sign-in that leads back to the page that was asked for; a form that came too late is not sent again by itself."""
    query = ""
    if request.method == "GET":
        path = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        query = "" if path == "/" else "?" + urlencode({"next": path})
    return Response(b"", status_code=303, headers={"location": f"/login{query}"}, media_type="text/html")


def on_http_exception(request: Request[Any, Any, Any], error: HTTPException) -> Response[Any]:
    """A refusal by the framework. Its own wording may quote the caller, so only its status is kept, and which member failed."""
    status = error.status_code
    if status >= 500 and status != 503:
        return on_unexpected(request, error)
    kind = _BY_STATUS.get(status, errors.InvalidRequest)
    zh, en = _DETAILS.get(status, _DETAILS[400])
    code = {404: "not_found", 405: "method_not_allowed", 413: "too_large", 415: "unsupported_media_type"}.get(status, kind.code)
    member = _member(error) if isinstance(error, ValidationException) else None
    return _reply(request, PROBLEMS[kind], status, code, zh, en, member=member, headers=error.headers)


def _member(error: ValidationException) -> str | None:
    """The first member at fault, if its name could be one of ours."""
    extra = error.extra if isinstance(error.extra, list) else []
    names = [entry.get("key") for entry in extra if isinstance(entry, dict)]
    return next((name for name in names if isinstance(name, str) and _MEMBER.fullmatch(name)), None)


def on_connection_lost(request: Request[Any, Any, Any], error: Exception) -> Response[Any]:
    """An error of the database or on the way to it: away, which may be tried again, or a fault of ours."""
    return on_consent_error(request, errors.DatabaseUnavailable()) if is_unavailable(error) else on_unexpected(request, error)


def on_unexpected(request: Request[Any, Any, Any], error: Exception) -> Response[Any]:
    """The last resort: a reply that says nothing, and a log line with the type alone, for messages quote values."""
    _log.error("unexpected %s.%s at %s", type(error).__module__, type(error).__qualname__, _route(request))
    zh, en = "服务内部出错，没有更多说明。", "An internal error occurred; there is no further detail."
    return _reply(request, PROBLEMS[errors.ServiceError], 500, "internal", zh, en)


def _route(request: Request[Any, Any, Any]) -> str:
    """The route's template, never the path, which may hold an id."""
    handler = request.scope.get("route_handler")
    return f"{request.method} {min(handler.paths)}" if handler is not None and getattr(handler, "paths", None) else request.method


def exception_handlers() -> ExceptionHandlersMap:
    """For `Litestar(exception_handlers=…)`."""
    return {
        errors.ConsentError: on_consent_error,
        HTTPException: on_http_exception,
        sqlalchemy.exc.DBAPIError: on_connection_lost,
        sqlalchemy.exc.TimeoutError: on_connection_lost,
        asyncpg.PostgresError: on_connection_lost,
        asyncpg.InterfaceError: on_connection_lost,
        ConnectionError: on_connection_lost,
        TimeoutError: on_connection_lost,
        Exception: on_unexpected,
    }
