"""What a person sent with a form, read strictly: one encoding, few and short values, a box ticked once.

The framework's own `request.form()` is never used: it caches parsed bodies by their bytes, passwords among them, for the life of the
process.
"""

import asyncio
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from litestar import Request
from litestar.exceptions import ClientException

from consent.errors import Forbidden, InvalidRequest

LONGEST_BODY = 65_536
_BODY_SECONDS = 10
_MOST_FIELDS = 200
_LONGEST_VALUE = 4_096

CSRF_FIELD = "csrf"


@dataclass(frozen=True, slots=True)
class Form:
    """The values by name, in the order sent."""

    values: Mapping[str, tuple[str, ...]]

    def one(self, name: str) -> str:
        """The value of a field that is sent once, or "" when it was not sent.

        Raises:
            InvalidRequest: it was sent twice.
        """
        values = self.values.get(name, ())
        if len(values) > 1:
            raise _malformed()
        return values[0] if values else ""

    def ticked(self, name: str) -> frozenset[str]:
        """The values of the boxes of this name that were ticked.

        Raises:
            InvalidRequest: one box was sent twice.
        """
        values = self.values.get(name, ())
        if len(set(values)) != len(values):
            raise _malformed()
        return frozenset(values)


async def read_form(request: Request[Any, Any, Any]) -> Form:
    """The form of a post.

    Raises:
        InvalidRequest: another content type, not UTF-8, a NUL, too long or too many.
    """
    kind, _, charset = request.headers.get("content-type", "").partition(";")
    if kind.strip().lower() != "application/x-www-form-urlencoded" or charset.strip().lower() not in {"", "charset=utf-8"}:
        raise _malformed()
    body = bytearray()
    try:
        async with asyncio.timeout(_BODY_SECONDS):
            async for chunk in request.stream():
                body += chunk
                if len(body) > LONGEST_BODY:
                    raise _malformed()
        pairs = parse_qsl(
            body.decode("ascii"), keep_blank_values=True, strict_parsing=bool(body), errors="strict", max_num_fields=_MOST_FIELDS
        )
    except (ValueError, TimeoutError, ClientException):
        raise _malformed() from None
    values: dict[str, tuple[str, ...]] = {}
    for name, value in pairs:
        if len(name) > 64 or len(value) > _LONGEST_VALUE or "\0" in name or "\0" in value:
            raise _malformed()
        values[name] = (*values.get(name, ()), value)
    return Form(values)


def check_origin(request: Request[Any, Any, Any], issuer_origin: str) -> None:
    """Refuse a form that another site sent. Browsers say where a post comes from; what says nothing is left to the token.

    Raises:
        Forbidden: it comes from elsewhere.
    """
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        if site != "same-origin":
            raise _forged()
        return
    origin = request.headers.get("origin")
    if origin is not None and origin != issuer_origin:
        raise _forged()


def check_token(form: Form, expected: str) -> None:
    """Refuse a form that was not made for this browser's session.

    Raises:
        Forbidden: the token is missing or of another session.
    """
    if not hmac.compare_digest(form.one(CSRF_FIELD).encode(), expected.encode()):
        raise _forged()


def _forged() -> Forbidden:
    return Forbidden(
        "页面已失效，或不是在这个浏览器里打开的。请返回上一页，刷新后再操作。",
        "This page has expired or was not opened in this browser. Go back, reload, and try again.",
        code="form.not_yours",
    )


def _malformed() -> InvalidRequest:
    return InvalidRequest(
        "提交的表单不完整或格式不对，请返回重填。",
        "The form is incomplete or malformed. Go back and fill it in again.",
        code="form.malformed",
    )
