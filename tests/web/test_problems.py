"""Errors as replies, headers of every reply, and pages for everybody."""

import asyncio
import importlib
import pkgutil
from collections.abc import Iterator
from typing import Any

import asyncpg
import httpx
import msgspec
import pytest
import sqlalchemy.exc
from litestar import Litestar, get, post
from litestar.exceptions import HTTPException, NotAuthorizedException
from litestar.params import JSONBody
from sqlalchemy.ext.asyncio import AsyncEngine
from web_world import HTML, ISSUER, Browser, World, make_app

import consent
from consent import errors
from consent.errors import ConsentError
from consent.web.problems import GROUPINGS, PROBLEM_TYPE, PROBLEMS, problem_of
from consent.web.security import page_policy

SECRET = "whatever the caller wrote"


def classes(root: type[Exception] = ConsentError) -> Iterator[type[Exception]]:
    """All errors of the service, wherever they are defined."""
    for kind in root.__subclasses__():
        yield kind
        yield from classes(kind)


def mapped(kind: type[Exception]) -> bool:
    """Whether there is a problem for this class."""
    try:
        return problem_of(kind) in PROBLEMS.values()
    except LookupError:
        return False


def test_every_error_is_mapped() -> None:
    """An error class without a problem of its own or of a class above it would leave as an unexplained 500."""
    for module in pkgutil.walk_packages(consent.__path__, "consent."):
        if "migrations" not in module.name and "__main__" not in module.name and "demo" not in module.name:
            importlib.import_module(module.name)
    found = set(classes())
    assert {errors.InvalidRequest, errors.PolicyUnavailable} <= found
    assert {kind for kind in found - GROUPINGS if not mapped(kind)} == set()


def test_unmapped_error_would_be_found() -> None:
    """The check above can fail."""

    class Unmapped(errors.CallerError):
        """No problem names it."""

    assert not mapped(Unmapped)


def failing(error: Exception) -> Litestar:
    """An application with one handler, which raises this."""

    @get("/fails", sync_to_thread=False)
    def fails() -> str:
        raise error

    @post("/echo", sync_to_thread=False)
    def echo(data: JSONBody[Body]) -> str:
        return data.name

    return make_app(None, ISSUER, fails, echo)  # type: ignore[arg-type]


class Body(msgspec.Struct, forbid_unknown_fields=True):
    """What /echo takes."""

    name: str


async def fetch(app: Litestar, path: str = "/fails", **headers: str) -> httpx.Response:
    """One request."""
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app, raise_app_exceptions=False), base_url=ISSUER) as client:
        return await client.get(path, headers=headers)


CASES: list[tuple[Exception, int, str]] = [
    (errors.InvalidRequest("错", "Wrong.", member="items"), 400, "invalid_request"),
    (errors.NotAuthenticated("错", "Wrong."), 401, "not_authenticated"),
    (errors.Forbidden("错", "Wrong.", code="insufficient_scope"), 403, "insufficient_scope"),
    (errors.NotFound("错", "Wrong."), 404, "not_found"),
    (errors.Conflict("错", "Wrong."), 409, "conflict"),
    (errors.TooManyRequests("错", "Wrong."), 429, "too_many_requests"),
    (errors.PolicyUnavailable(), 503, "policy.unavailable"),
    (errors.DatabaseUnavailable(), 503, "database.unavailable"),
    (ConnectionRefusedError(SECRET), 503, "database.unavailable"),
    (TimeoutError(SECRET), 503, "database.unavailable"),
    (sqlalchemy.exc.TimeoutError(SECRET), 503, "database.unavailable"),
    (asyncpg.InterfaceError(SECRET), 503, "database.unavailable"),
    (asyncpg.CannotConnectNowError(SECRET), 503, "database.unavailable"),
    (sqlalchemy.exc.ProgrammingError(SECRET, {}, Exception(SECRET)), 500, "internal"),
    (errors.ServiceError(SECRET, SECRET, member=None), 500, "internal"),
    (ValueError(SECRET), 500, "internal"),
    (KeyError(SECRET), 500, "internal"),
    (HTTPException(detail=SECRET, status_code=500), 500, "internal"),
    (HTTPException(detail=SECRET, status_code=400), 400, "invalid_request"),
    (HTTPException(detail=SECRET, status_code=413), 413, "too_large"),
    (NotAuthorizedException(SECRET), 401, "not_authenticated"),
]


@pytest.mark.parametrize(
    ("error", "status", "code"), CASES, ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None
)
async def test_program_gets_problem_details(error: Exception, status: int, code: str) -> None:
    """RFC 9457, both languages, and nothing of what an unforeseen exception says."""
    reply = await fetch(failing(error), accept="application/json")
    assert (reply.status_code, reply.headers["content-type"]) == (status, PROBLEM_TYPE)
    body = reply.json()
    assert (body["status"], body["code"]) == (status, code)
    assert {"type", "title", "detail"} <= set(body)
    assert SECRET not in reply.text
    assert body.get("member") == getattr(error, "member", None)


@pytest.mark.parametrize(
    ("error", "status", "code"), CASES, ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None
)
async def test_person_gets_a_page(error: Exception, status: int, code: str) -> None:
    """Browsers get words and a way on. A missing token is no reason to sign in, which would lead back here in a circle."""
    reply = await fetch(failing(error), **HTML)
    assert (reply.status_code, reply.headers["content-type"]) == (status, "text/html; charset=utf-8")
    assert "回到首页" in reply.text
    assert SECRET not in reply.text


async def test_unexpected_error_is_logged_by_its_type_alone(caplog: pytest.LogCaptureFixture) -> None:
    """The message of an exception may quote a value; the log has the type and the route."""
    await fetch(failing(ValueError(SECRET)))
    assert "unexpected builtins.ValueError at GET /fails" in caplog.text
    assert SECRET not in caplog.text


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b'{"name":1}', b'{"name":"a","nobody":"b"}', b"\xff", b'{"name":"' + b"a" * 20_000_000 + b'"}']
)
async def test_malformed_body_of_a_program_is_its_fault(body: bytes) -> None:
    """What the framework refuses is answered in our shape, without quoting it."""
    async with httpx.AsyncClient(transport=httpx.ASGITransport(failing(ValueError())), base_url=ISSUER) as client:
        reply = await client.post("/echo", content=body, headers={"content-type": "application/json"})
    assert reply.status_code in {400, 413}
    assert reply.headers["content-type"] == PROBLEM_TYPE
    assert "nobody" not in reply.text


async def test_unknown_path_and_method_answer_in_our_shape() -> None:
    """404 and 405 come from the router, before any handler."""
    app = failing(ValueError())
    assert (await fetch(app, "/nothing/here")).json()["code"] == "not_found"
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=ISSUER) as client:
        reply = await client.delete("/fails")
    assert (reply.status_code, reply.json()["code"], reply.headers["allow"]) == (405, "method_not_allowed", "GET, OPTIONS")


async def test_database_away_is_503_on_every_page(dead_engine: AsyncEngine) -> None:
    """A page without its database says so and that nothing was recorded; it never shows a stale or empty list."""
    browser = Browser(httpx.AsyncClient(transport=httpx.ASGITransport(make_app(dead_engine)), base_url=ISSUER))
    browser.client.cookies.set("consent-session", "x" * 43, domain="127.0.0.1")
    for path in ("/", "/my/grants", "/my/history", "/my/grants/x", "/login", "/authorize/consent"):
        reply = await browser.open(path)
        assert reply.status_code == 503, path
        assert int(reply.headers["retry-after"]) >= 1, path
        assert "数据库暂不可用" in reply.text


def test_page_policy_names_only_an_origin() -> None:
    """Nothing but scheme, host and port of a redirect address gets into the header."""
    for target in ("https://a.example/cb?x=1", "https://a.example:8443/", "http://127.0.0.1:9/", "http://[::1]:9/"):
        assert f"form-action 'self' {target.split('/')[0]}//{target.split('/')[2]};" in page_policy(target)
    for target in ("https://a.example; script-src *//", "javascript:alert(1)", "https://a'b/", "https://u@a.example/", None, "myapp://x"):
        assert "form-action 'self';" in page_policy(target)


@pytest.mark.parametrize("path", ["/", "/login", "/data", "/problems", "/nothing", "/static/app.css", "/my/grants", "/static/nothing.css"])
@pytest.mark.parametrize("https", [True, False])
async def test_every_reply_has_the_security_headers(engine: AsyncEngine, path: str, https: bool) -> None:
    """Pages, errors, redirects and files alike: no script, no frame, no sniffing, no referrer to others; HSTS over https."""
    issuer = "https://consent.example" if https else ISSUER
    reply = await fetch(make_app(engine, issuer), path, accept="text/html")
    headers = reply.headers
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert "script-src" not in headers["content-security-policy"]
    assert (headers["x-content-type-options"], headers["x-frame-options"]) == ("nosniff", "DENY")
    assert (headers["referrer-policy"], headers["cross-origin-opener-policy"]) == ("same-origin", "same-origin")
    assert ("strict-transport-security" in headers) is https
    kept = path == "/static/app.css"
    assert headers["cache-control"] == ("public, max-age=31536000, immutable" if kept else "no-store")


@pytest.mark.parametrize("name", ["../templates.py", "..%2ftemplates.py", "%2e%2e/session.py", "nothing", "app.css%00"])
async def test_static_serves_its_own_files_alone(engine: AsyncEngine, name: str) -> None:
    """A path cannot leave the folder, for no path is ever looked up in one."""
    assert (await fetch(make_app(engine), f"/static/{name}")).status_code == 404


async def test_catalogue_page_names_every_item(world: World) -> None:
    """People see what there is, and whether it needs their consent."""
    page = (await world.browser().open("/data")).text
    for words in ("N21-03-04", "N24-17-01", "NB-03", "须本人单独同意", "须经授权", "公开"):
        assert words in page, words


async def test_problem_types_resolve(world: World) -> None:
    """Each `type` is the address of a section that explains it."""
    page = (await world.browser().open("/problems")).text
    for problem in PROBLEMS.values():
        assert f'id="{problem.slug}"' in page


async def test_slow_form_is_given_up(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A body that never ends holds no worker for long."""
    monkeypatch.setattr("consent.web.form._BODY_SECONDS", 0.05)

    async def endless() -> Any:
        yield b"csrf=x"
        await asyncio.sleep(5)

    browser = await world.signed_in()
    headers = {"accept": "text/html", "content-type": "application/x-www-form-urlencoded", "origin": ISSUER}
    reply = await browser.client.post("/logout", content=endless(), headers=headers)
    assert reply.status_code == 400
