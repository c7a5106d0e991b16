"""Sign-in and sign-out.

The form itself is protected before anybody is signed in (login CSRF): a random cookie, whose digest the form carries. Every sign-in
starts a session under a new secret; where it leads afterwards is a path of this service and nothing else.
"""

import hashlib
import secrets
from typing import Any

from litestar import Response, get, post
from litestar.datastructures import Cookie
from sqlalchemy.ext.asyncio import AsyncEngine

from consent.errors import Forbidden, NotAuthenticated, TooManyRequests
from consent.oauth.limits import LOGIN_COST, Limits
from consent.parties.access import Visitor
from consent.parties.accounts import authenticate
from consent.settings import Settings
from consent.web import session
from consent.web.access import AnyRequest, Injected, is_https, issuer_origin, presented_secret
from consent.web.form import Form, check_origin, check_token, read_form
from consent.web.security import own_path
from consent.web.templates import page
from consent.web.words import Words

CONSENT_PATH = "/authorize/consent"
_ASKING = "有机构请求查看数据。登录后可以看到谁要、要什么、做什么用；登录不等于同意。"


def see_other(location: str, *cookies: Cookie) -> Response[bytes]:
    """303, so that a post is never sent on (RFC 9700 §4.12)."""
    return Response(b"", status_code=303, headers={"location": location}, cookies=list(cookies), media_type="text/html")


def _token(secret: str) -> str:
    return hashlib.sha256(b"login\0" + secret.encode()).hexdigest()


def _login_secret(request: AnyRequest, settings: Settings) -> str | None:
    value = request.cookies.get(session.cookie_name(https=is_https(settings), purpose="login"))
    return value if value and len(value) == 43 and value.isascii() else None


def _login_page(
    request: AnyRequest, settings: Settings, *, target: str, username: str = "", errors: tuple[Words, ...] = (), status: int = 200
) -> Response[str]:
    secret = _login_secret(request, settings) or secrets.token_urlsafe(32)
    asking = _ASKING if target.startswith(CONSENT_PATH) else None
    made = page("login.html", status=status, token=_token(secret), next=target, username=username, errors=errors, asking=asking)
    made.set_cookie(session.cookie(secret, https=is_https(settings), purpose="login"))
    return made


@get("/login")
async def show_login(request: AnyRequest, settings: Injected[Settings], guest: Injected[Visitor | None]) -> Response[Any]:
    """The form; whoever is signed in already goes on."""
    target = own_path(request.query_params.get("next"))
    return _login_page(request, settings, target=target) if guest is None else see_other(target)


@post("/login")
async def log_in(
    request: AnyRequest, settings: Injected[Settings], engine: Injected[AsyncEngine], limits: Injected[Limits]
) -> Response[Any]:
    """Check the password and start a session."""
    limits.check_address(request.scope, LOGIN_COST)
    check_origin(request, issuer_origin(settings))
    form = await read_form(request)
    target = own_path(form.one("next") or None)
    username = form.one("username").strip()
    try:
        check_token(form, _token(_login_secret(request, settings) or secrets.token_urlsafe(32)))
        account = await authenticate(engine, username, form.one("password"))
    except (Forbidden, NotAuthenticated, TooManyRequests) as error:
        again = (Words(error.zh, error.en),)
        return _login_page(request, settings, target=target, username=username[:64], errors=again, status=error.status)
    async with engine.begin() as connection:
        secret = await session.begin(connection, account.id, account.subject_id, replacing=presented_secret(request, settings))
    https = is_https(settings)
    return see_other(target, session.cookie(secret, https=https), session.cookie(None, https=https, purpose="login"))


@post("/logout")
async def log_out(
    request: AnyRequest,
    settings: Injected[Settings],
    engine: Injected[AsyncEngine],
    form: Injected[Form],  # noqa: ARG001 - its token is checked before this runs
) -> Response[bytes]:
    """End the session here and in the database; `form` has checked that its owner asks."""
    secret = presented_secret(request, settings)
    if secret is not None:
        async with engine.begin() as connection:
            await session.end(connection, secret)
    return see_other("/", session.cookie(None, https=is_https(settings)))
