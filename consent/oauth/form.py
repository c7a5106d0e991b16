"""Request bodies of the OAuth endpoints, read strictly.

Litestar's own form parser keeps the last 1,024 bodies in memory (with assertions and codes), reads bad UTF-8 as something else and
lets a parameter stand twice; so it is never used here.
"""

import asyncio
import re
from collections.abc import Mapping
from typing import Any, TypeAlias
from urllib.parse import unquote_to_bytes

from litestar import Request
from litestar.exceptions import HTTPException

from consent.oauth.errors import InvalidRequest

MAX_BODY = 64 * 1024
MAX_FIELDS = 50
BODY_SECONDS = 10

Form: TypeAlias = Mapping[str, str]

_CONTENT_TYPE = re.compile(r'application/x-www-form-urlencoded(?:\s*;\s*charset="?utf-8"?)?', re.IGNORECASE)
_BAD_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")


async def read_form(request: Request[Any, Any, Any]) -> Form:
    """The body's parameters.

    Raises:
        InvalidRequest: another content type, too long, too slow, not UTF-8, a parameter twice, or parameters in the query, where
            logs and proxies would keep them (RFC 6749 §3.2, RFC 9126 §2.1).
    """
    if request.scope["query_string"]:
        raise InvalidRequest("Parameters belong in the body; the query must be empty.")
    if _CONTENT_TYPE.fullmatch(_content_type(request)) is None:
        raise InvalidRequest("The content type is application/x-www-form-urlencoded.")
    return parse_form(await _read_body(request))


def parse_form(body: bytes) -> Form:
    """application/x-www-form-urlencoded into a mapping with each name once.

    Raises:
        InvalidRequest: not ASCII outside percent-encoding, not UTF-8 inside it, more than 50 parameters, or one of them twice.
    """
    if not body:
        return {}
    try:
        pairs = body.decode("ascii").split("&")
    except UnicodeDecodeError:
        raise _malformed() from None
    if len(pairs) > MAX_FIELDS:
        raise InvalidRequest("The request has too many parameters.")
    form: dict[str, str] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        name = _decode(name)
        if not name or not equals:
            raise _malformed()
        if name in form:
            raise InvalidRequest("A parameter stands twice.")
        form[name] = _decode(value)
    return form


def parse_query(raw: bytes) -> Form:
    """A query string by the same rules."""
    if len(raw) > MAX_BODY:
        raise _malformed()
    return parse_form(raw)


def check_names(form: Form, known: frozenset[str]) -> None:
    """Refuse what would otherwise be ignored: a misspelt or foreign parameter changes what is asked for.

    Raises:
        InvalidRequest: there is a parameter besides `known`.
    """
    if not known.issuperset(form):
        raise InvalidRequest("The request has a parameter that this endpoint does not take.")


def required(form: Form, name: str) -> str:
    """The value of parameter `name`, one of ours.

    Raises:
        InvalidRequest: it is missing or empty.
    """
    value = form.get(name, "")
    if not value:
        raise InvalidRequest(f"The parameter {name} is missing.")
    return value


def _decode(text: str) -> str:
    if _BAD_PERCENT.search(text):
        raise _malformed()
    try:
        decoded = unquote_to_bytes(text.replace("+", " ")).decode("utf-8")
    except UnicodeDecodeError:
        raise _malformed() from None
    if "\0" in decoded:  # PostgreSQL has no such character, and no parameter a use for it
        raise _malformed()
    return decoded


def _content_type(request: Request[Any, Any, Any]) -> str:
    values = [value for name, value in request.scope["headers"] if name == b"content-type"]
    return values[0].decode("latin-1").strip() if len(values) == 1 else ""


async def _read_body(request: Request[Any, Any, Any]) -> bytes:
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for chunk in request.stream():
                body += chunk
                if len(body) > MAX_BODY:
                    raise InvalidRequest("The request is longer than 64 kB.")
    except TimeoutError:
        raise InvalidRequest("The body did not arrive in time.") from None
    except HTTPException:
        raise InvalidRequest("The request is longer than 64 kB.") from None
    return bytes(body)


def _malformed() -> InvalidRequest:
    return InvalidRequest("The parameters are not well-formed UTF-8 in application/x-www-form-urlencoded.")
