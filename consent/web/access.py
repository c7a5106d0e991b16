"""Who is at the browser, as Litestar dependencies. A handler names the capability it needs; there is no other check.

`guest` may be nobody. `visitor` is signed in; `subject_visitor` acts for an enterprise or herself; `staff`, `operator`, `regulator` and
`auditor` are what they say. `form` is a post of the visitor's own session, its token checked before any handler sees a value.
"""

from typing import Any, TypeAlias, TypeVar, cast
from urllib.parse import urlsplit

from litestar import Request
from litestar.di import NamedDependency, Provide
from litestar.params import SkipValidation
from litestar.types import Dependencies
from sqlalchemy.ext.asyncio import AsyncEngine

from consent.parties.access import Auditor, Operator, Regulator, Staff, SubjectVisitor, Visitor
from consent.settings import Settings
from consent.web import session
from consent.web.form import Form, check_origin, check_token, read_form
from consent.web.problems import SignInNeeded

T = TypeVar("T")

AnyRequest: TypeAlias = Request[Any, Any, Any]
Injected: TypeAlias = NamedDependency[SkipValidation[T]]
"""A value that the application provides under the parameter's name; it was built here, so nothing is to be validated."""


def is_https(settings: Settings) -> bool:
    """Whether people reach this service by https: by the configured issuer, never by a header."""
    return settings.issuer.startswith("https://")


def issuer_origin(settings: Settings) -> str:
    """Scheme, host and port of the issuer, as browsers write an origin."""
    parts = urlsplit(settings.issuer)
    return f"{parts.scheme}://{parts.netloc}".lower()


def presented_secret(request: AnyRequest, settings: Settings) -> str | None:
    """The session cookie's value, or None if there is none that could be one of ours."""
    value = request.cookies.get(session.cookie_name(https=is_https(settings)))
    return value if value and len(value) <= 128 and value.isascii() else None


async def provide_guest(request: AnyRequest, engine: Injected[AsyncEngine], settings: Injected[Settings]) -> Visitor | None:
    """Whoever is signed in, or None."""
    secret = presented_secret(request, settings)
    found = await session.find(engine, secret) if secret else None
    if found is None:
        return None
    if found.stale:
        await session.extend(engine, found)
    return found.visitor


async def provide_visitor(guest: Injected[Visitor | None]) -> Visitor:
    """Whoever is signed in.

    Raises:
        SignInNeeded: nobody, or the session is over; browsers are sent to sign in and back.
    """
    if guest is None:
        raise SignInNeeded("请先登录。", "Please sign in first.")
    return guest


async def provide_subject_visitor(visitor: Injected[Visitor]) -> SubjectVisitor:
    """Whoever acts for an enterprise or for herself."""
    return SubjectVisitor.of(visitor)


async def provide_staff(visitor: Injected[Visitor]) -> Staff:
    """A member of staff of any role."""
    return Staff.of(visitor)


async def provide_operator(visitor: Injected[Visitor]) -> Operator:
    """The platform's operator."""
    return Operator.of(visitor)


async def provide_regulator(visitor: Injected[Visitor]) -> Regulator:
    """A supervisor."""
    return Regulator.of(visitor)


async def provide_auditor(visitor: Injected[Visitor]) -> Auditor:
    """An auditor."""
    return Auditor.of(visitor)


async def provide_form(request: AnyRequest, settings: Injected[Settings], visitor: Injected[Visitor]) -> Form:
    """A form sent from a page of this very session.

    Raises:
        Forbidden: from another site or session (CSRF).
    """
    check_origin(request, issuer_origin(settings))
    form = await read_form(request)
    check_token(form, visitor.csrf)
    return form


def dependencies() -> Dependencies:
    """For `Litestar(dependencies=…)`, beside `engine` and `settings`."""
    providers = {
        "guest": provide_guest,
        "visitor": provide_visitor,
        "subject_visitor": provide_subject_visitor,
        "staff": provide_staff,
        "operator": provide_operator,
        "regulator": provide_regulator,
        "auditor": provide_auditor,
        "form": provide_form,
    }
    return {name: Provide(cast("Any", provider)) for name, provider in providers.items()}
