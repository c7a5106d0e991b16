"""The sample bank: asks an enterprise for consent, checks before it fetches, and fetches from the sample platform.

What a bank's own web application would do, in one page. State is kept per browser, in memory.
"""

import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import httpx
import msgspec
from jinja2 import Environment, FileSystemLoader
from litestar import Controller, Litestar, Request, Response, get, post
from litestar.datastructures import Cookie, State
from litestar.params import CookieParameter
from litestar.response import Redirect

from consent_sdk import AsyncConsentClient, ConsentRefused, ConsentSdkError, Decision, Detail, Grant, PendingConsent, RequestRefused

_PAGES = Environment(loader=FileSystemLoader(Path(__file__).parent / "templates"), autoescape=True)
_COOKIE = "sample-bank"
Browser = Annotated[str | None, CookieParameter(name=_COOKIE)]
_CSP = "default-src 'none'; style-src 'unsafe-inline'; form-action 'self' http://127.0.0.1:*; frame-ancestors 'none'"


class Application(msgspec.Struct):
    """One loan application in one browser."""

    pending: PendingConsent | None = None
    grant: Grant | None = None
    decision: Decision | None = None
    served: dict[str, dict[str, str]] | None = None
    message: str = ""


class Bank(msgspec.Struct, frozen=True, kw_only=True):
    """What the sample bank knows: itself, its product, and labels for the codes it handles."""

    client: AsyncConsentClient
    name: str
    institution_id: str
    enterprise: str
    purpose: str
    product: str
    details: tuple[Detail, ...]
    platform_url: str
    labels: Mapping[str, str]


class BankPages(Controller):
    """The four things a person can do at the sample bank. State lies in `app.state`: bank, applications, http."""

    @get("/")
    async def home(self, state: State, browser: Browser = None) -> Response[str]:
        """What was asked, granted, decided and served so far."""
        return _page(state, *_application(state, browser))

    @post("/apply", status_code=303)
    async def apply(self, state: State, browser: Browser = None) -> Response[Any]:
        """Push the consent request and send the person to the service."""
        bank: Bank = state.bank
        key, application = _application(state, browser)
        try:
            application.pending = await bank.client.request_consent(bank.details, login_hint=bank.enterprise)
        except RequestRefused as refused:
            application.message = "；".join(v["solution"]["zh"] for v in refused.verdicts if v["verdict"] != "keep")
            return _page(state, key, application)
        except ConsentSdkError as error:
            application.message = str(error)
            return _page(state, key, application)
        return Redirect(application.pending.url, status_code=303, cookies=[_cookie(key)])

    @get("/callback")
    async def callback(self, request: Request[Any, Any, Any], state: State, browser: Browser = None) -> Response[Any]:
        """The person came back: finish the code flow."""
        bank: Bank = state.bank
        key, application = _application(state, browser)
        pending = application.pending
        if pending is None:
            application.message = "此链接已经用过，或不属于本次申请。"
            return Redirect("/", status_code=303, cookies=[_cookie(key)])
        application.pending = application.grant = application.decision = application.served = None
        try:
            application.grant = await bank.client.finish(pending, str(request.url))
            application.message = ""
        except ConsentRefused as refused:
            declined = refused.code == "access_denied"
            application.message = "企业未授权，本次申请无法继续。" if declined else "返回的链接与本次申请不符，请重新申请。"
        except ConsentSdkError as error:
            application.message = str(error)
        return Redirect("/", status_code=303)

    @post("/fetch", status_code=303)
    async def fetch(self, state: State, browser: Browser = None) -> Response[Any]:
        """Ask first; only a permit is taken to the data platform."""
        bank: Bank = state.bank
        _, application = _application(state, browser)
        application.decision, application.served, application.message = None, None, ""
        if application.grant is not None:
            try:
                application.decision = await bank.client.check(bank.enterprise, application.grant.items, bank.purpose, product=bank.product)
            except ConsentSdkError as error:
                application.message = str(error)
            else:
                await _fetch(state, application)
        return Redirect("/", status_code=303)


async def _fetch(state: State, application: Application) -> None:
    bank: Bank = state.bank
    decision = application.decision
    if not decision:
        return
    order = {
        "institution": bank.institution_id,
        "enterprise": bank.enterprise,
        "items": list(decision.permitted),
        "purpose": bank.purpose,
        "product": bank.product,
        "ticket": decision.id,
    }
    try:
        reply = await state.http.post(f"{bank.platform_url}/data", json=order)
    except httpx.HTTPError:
        application.message = "数据平台没有应答，请稍后再试。"
        return
    if reply.status_code == 200:
        application.served = reply.json()["items"]
    else:
        application.message = "数据平台未提供数据。"


def _application(state: State, browser: str | None) -> tuple[str, Application]:
    applications: dict[str, Application] = state.applications
    if browser is None or browser not in applications:
        browser = secrets.token_urlsafe(16)
        applications[browser] = Application()
    return browser, applications[browser]


def _cookie(browser: str) -> Cookie:
    return Cookie(key=_COOKIE, value=browser, httponly=True, samesite="lax", path="/")


def _page(state: State, browser: str, application: Application) -> Response[str]:
    bank: Bank = state.bank
    body = _PAGES.get_template("bank.html").render(bank=bank, application=application, label=lambda code: bank.labels.get(code, code))
    return Response(body, media_type="text/html", cookies=[_cookie(browser)], headers={"Content-Security-Policy": _CSP})


def bank_app(bank: Bank) -> Litestar:
    """The bank as an ASGI application."""

    async def close(app: Litestar) -> None:
        await bank.client.close()
        await app.state.http.aclose()

    state = State({"bank": bank, "applications": {}, "http": httpx.AsyncClient(timeout=10)})
    return Litestar([BankPages], state=state, on_shutdown=[close], openapi_config=None, logging_config=None)
