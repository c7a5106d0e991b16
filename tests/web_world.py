"""The pages on a real database, through ASGI; and a browser's side of a form: its cookies and the token of the page."""

import base64
import re
import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx
import msgspec
import sample_parties
from litestar import Litestar
from litestar.di import Provide
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from consent.catalogue.load import load
from consent.oauth.limits import Limits
from consent.oauth.model import REQUEST_URI_PREFIX
from consent.oauth.profile import Profile
from consent.oauth.store import secret_hash
from consent.parties.accounts import create_account
from consent.settings import Settings
from consent.web import problems, routes
from consent.web.access import dependencies
from consent.web.security import security_headers

ISSUER = "http://127.0.0.1:8080"
PASSWORD = "lotus-under-the-stone-bridge"
REDIRECT = "https://bank-a.example/cb"
VALID_UNTIL = "2030-01-01T00:00:00Z"
HTML = {"accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


def make_app(engine: AsyncEngine, issuer: str = ISSUER, *extra: Any) -> Litestar:
    """The pages alone, wired as consent.app wires them."""
    settings = Settings(database_url="postgresql+asyncpg://unused", issuer=issuer, ledger_key_file=Path("unused"))
    services = {"engine": engine, "settings": settings, "catalogue": load(), "limits": Limits(Profile())}
    return Litestar(
        route_handlers=[*routes.handlers, *extra],
        dependencies={name: Provide(_always(value), sync_to_thread=False) for name, value in services.items()} | dependencies(),
        exception_handlers=problems.exception_handlers(),
        before_send=[security_headers(https=issuer.startswith("https://"))],
        logging_config=None,
        openapi_config=None,
    )


def _always(value: Any) -> Any:
    return lambda: value


@dataclass
class Browser:
    """A person's browser: keeps cookies, fills in forms, does not follow redirects unless told."""

    client: httpx.AsyncClient
    page: str = field(default="", repr=False)

    async def open(self, path: str, **options: Any) -> httpx.Response:
        """Go to a page."""
        reply = await self.client.get(path, headers=HTML, **options)
        self.page = reply.text
        return reply

    def hidden(self, name: str) -> str:
        """The value of a hidden field of the page."""
        found = re.search(rf'name="{name}" value="([^"]*)"', self.page)
        assert found is not None, f"the page has no field {name}"
        return unescape(found[1])

    async def send(self, path: str, fields: list[tuple[str, str]] | dict[str, str], **headers: str) -> httpx.Response:
        """Post a form as it stands."""
        body = urlencode(fields)
        reply = await self.client.post(
            path, content=body, headers=HTML | {"content-type": "application/x-www-form-urlencoded", "origin": ISSUER} | headers
        )
        self.page = reply.text
        return reply

    async def sign_in(self, username: str = "zhou.min", password: str = PASSWORD, target: str = "/") -> httpx.Response:
        """Sign in by the form."""
        await self.open(f"/login?{urlencode({'next': target})}")
        values = {"csrf": self.hidden("csrf"), "next": self.hidden("next"), "username": username, "password": password}
        return await self.send("/login", values)

    async def answer(self, path: str, decision: str, *ticked: str, acknowledged: bool = True, **changes: str) -> httpx.Response:
        """Open the consent page and send its form with these boxes ticked."""
        reply = await self.open(path)
        assert reply.status_code == 200, reply.text
        return await self.send("/authorize/consent", self.answers(decision, *ticked, acknowledged=acknowledged, **changes))

    def answers(self, decision: str, *ticked: str, acknowledged: bool = True, **changes: str) -> list[tuple[str, str]]:
        """The form of the consent page that is open, filled in."""
        fields = {name: self.hidden(name) for name in ("csrf", "client_id", "request_uri", "enterprise", "shown")} | changes
        found = re.search(r'name="acknowledged" value="([^"]*)"', self.page)
        assert found is not None
        agreed = [("acknowledged", found[1])] if acknowledged else []
        return [*fields.items(), *(("item", box) for box in ticked), *agreed, ("decision", decision)]

    @cached_property
    def cookie_name(self) -> str:
        """Of the session."""
        return "consent-session"


@dataclass
class World:
    """Parties with accounts: zhou.min for the enterprise, wu.qi for another one, shi.li for the linked person, lin.lan a supervisor."""

    engine: AsyncEngine
    parties: sample_parties.Parties
    app: Litestar
    redirect: str = REDIRECT

    def browser(self, base_url: str = ISSUER) -> Browser:
        """A new browser without cookies."""
        return Browser(httpx.AsyncClient(transport=httpx.ASGITransport(self.app), base_url=base_url))

    async def account(self, username: str) -> None:
        """One of the accounts that `World` names, unless it is there."""
        people = {
            "zhou.min": ("周敏", self.parties.enterprise.id),
            "wu.qi": ("吴琪", self.parties.other_enterprise.id),
            "shi.li": ("施丽", self.parties.person.id),
            "lin.lan": ("林岚", None),
        }
        name, subject_id = people[username]
        if not await self.rows("select 1 from account where username = :username", username=username):
            role: Any = None if subject_id else "regulator"
            await create_account(self.engine, username=username, password=PASSWORD, display_name=name, subject_id=subject_id, role=role)

    async def signed_in(self, username: str = "zhou.min") -> Browser:
        """A browser with a session."""
        await self.account(username)
        browser = self.browser()
        assert (await browser.sign_in(username)).status_code == 303
        return browser

    async def push(
        self, *details: dict[str, Any], login_hint: str | None = None, lifetime: timedelta = timedelta(seconds=590), **more: str
    ) -> str:
        """A pushed request of bank-a, as the authorization server stores it. Returns the path of its consent page.

        Args:
            more: further members of `consent.oauth.par.Parameters`.
        """
        secret = secrets.token_urlsafe(32)
        now = datetime.now(UTC)
        parameters = {
            "redirect_uri": self.redirect,
            "code_challenge": base64.urlsafe_b64encode(bytes(32)).decode().rstrip("="),
            "state": "st-1",
        } | more
        async with self.engine.begin() as connection:
            await connection.execute(
                text("""
                insert into pushed_request (hash, id, client_id, parameters, details, created_at, expires_at)
                values (:hash, :id, 'bank-a-client', cast(:parameters as jsonb), cast(:details as jsonb), :now, :expires)
                """),
                {
                    "hash": secret_hash(secret),
                    "id": secrets.token_urlsafe(16),
                    "parameters": msgspec.json.encode(parameters | ({"login_hint": login_hint} if login_hint else {})).decode(),
                    "details": msgspec.json.encode(details or standard_details()).decode(),
                    "now": now,
                    "expires": now + lifetime,
                },
            )
        return f"/authorize/consent?{urlencode({'client_id': 'bank-a-client', 'request_uri': REQUEST_URI_PREFIX + secret})}"

    async def rows(self, statement: str, **parameters: Any) -> list[Any]:
        """What a query finds."""
        async with self.engine.connect() as connection:
            return list(await connection.execute(text(statement), parameters))

    async def record_types(self) -> list[str]:
        """The types of all ledger records, in order."""
        return [msgspec.json.decode(row.bytes)["type"] for row in await self.rows("select bytes from ledger_record order by idx")]


def detail(item: str, identifier: str, **members: Any) -> dict[str, Any]:
    """A detail as stored: all that is not about others or documents."""
    fields = [f.code for f in load().items[item].fields if f.class_ != "identity_document" and f.about != "third_party"]
    made = {
        "type": "financing_data",
        "identifier": identifier,
        "actions": ["query"],
        "datatypes": [item],
        "fields": fields,
        "purpose": "pre_loan",
        "product": "tax-loan-01",
        "necessity": "required",
        "data_from": "2025-01-01",
        "valid_until": VALID_UNTIL,
        "frequency": {"max": 4, "per": "day"},
        "retention_days": 365,
    }
    return made | members


def standard_details() -> list[dict[str, Any]]:
    """Three items of the enterprise."""
    return [detail("N21-03-04", "tax-1"), detail("N21-05-01", "social", necessity="optional"), detail("N21-09-01", "estate")]


async def make_world(engine: AsyncEngine) -> World:
    """Registered parties; accounts are made when they are first used, for a password's hash takes time."""
    return World(engine, await sample_parties.register(engine), make_app(engine))
