"""The authorization server on real PostgreSQL, in process, and a client that can send it anything."""

import base64
import hashlib
import json
import secrets
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest
from joserfc import jws
from joserfc.jwk import ECKey, OKPKey, RSAKey
from litestar import Litestar, get
from litestar.di import NamedDependency, Provide
from litestar.params import SkipValidation
from sample_parties import NOTICE, Parties, key, register
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from consent.catalogue.load import load
from consent.db import read
from consent.decisions.bundle import load_bundle
from consent.decisions.engine import RegopyEngine
from consent.decisions.service import DecisionService
from consent.ledger.writer import write
from consent.oauth import access, authorization
from consent.oauth.profile import Profile
from consent.oauth.routes import handlers
from consent.oauth.service import OAuth
from consent.parties.access import AnyChecker, Checker, GrantClient, SubjectVisitor
from consent.web import problems

ISSUER = "https://consent.example"
ITEM = "N21-03-04"
SECOND_ITEM = "N21-03-03"
TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
VALID_UNTIL = f"{datetime.now(UTC) + timedelta(days=200):%Y-%m-%dT00:00:00Z}"
VERIFIER = "v" * 43
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()


def b64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def sign(header: dict[str, Any], payload: dict[str, Any] | bytes, signer: Any) -> str:
    """A compact JWS of exactly these bytes, whatever they are; joserfc's own serializer would refuse some."""
    head = b64url(json.dumps(header).encode())
    body = b64url(payload if isinstance(payload, bytes) else json.dumps(payload).encode())
    if header.get("alg") == "none":
        return f"{head}.{body}."
    algorithm = jws.JWSRegistry.algorithms[header["alg"]]
    return f"{head}.{body}.{b64url(algorithm.sign(f'{head}.{body}'.encode(), signer))}"


def detail(item: str = ITEM, **members: Any) -> dict[str, Any]:
    """A well-formed authorization detail."""
    values = {
        "type": "financing_data",
        "identifier": f"x-{item}",
        "actions": ["query"],
        "datatypes": [item],
        "purpose": "pre_loan",
        "product": "tax-loan-01",
        "necessity": "required",
        "valid_until": VALID_UNTIL,
    }
    return {name: value for name, value in (values | members).items() if value is not None}


@cache
def policies() -> RegopyEngine:
    """The real policies, compiled once per run."""
    return RegopyEngine(load_bundle(load()), threads=1)


@dataclass
class Caller:
    """A registered client with a proof key of its own. What is not given is right."""

    http: httpx.AsyncClient
    client_id: str
    key: Any
    kid: str
    redirect_uri: str
    proof_key: Any = field(default_factory=lambda: ECKey.generate_key("P-256"))
    proof_alg: str = "ES256"

    def assertion(self, *, header: dict[str, Any] | None = None, signer: Any = None, drop: Sequence[str] = (), **claims: Any) -> str:
        now = int(time.time())
        head = {"alg": "ES256", "kid": self.kid, "typ": "client-authentication+jwt"} | (header or {})
        values = {"iss": self.client_id, "sub": self.client_id, "aud": ISSUER, "iat": now, "exp": now + 60, "jti": secrets.token_hex(16)}
        values |= claims
        return sign(
            {n: v for n, v in head.items() if v is not None}, {n: v for n, v in values.items() if n not in drop}, signer or self.key
        )

    @property
    def jkt(self) -> str:
        return str(self.proof_key.thumbprint())

    def proof(
        self,
        method: str,
        url: str,
        *,
        token: str | None = None,
        header: dict[str, Any] | None = None,
        signer: Any = None,
        drop: Sequence[str] = (),
        **claims: Any,
    ) -> str:
        head = {"typ": "dpop+jwt", "alg": self.proof_alg, "jwk": self.proof_key.as_dict(private=False)} | (header or {})
        values = {"htm": method, "htu": url, "iat": int(time.time()), "jti": secrets.token_hex(16)}
        if token is not None:
            values["ath"] = b64url(hashlib.sha256(token.encode()).digest())
        values |= claims
        return sign(
            {n: v for n, v in head.items() if n not in drop}, {n: v for n, v in values.items() if n not in drop}, signer or self.proof_key
        )

    def authenticated(self, form: dict[str, Any], assertion: str | None = None) -> dict[str, Any]:
        return {"client_id": self.client_id, "client_assertion_type": TYPE, "client_assertion": assertion or self.assertion()} | form

    async def post(self, path: str, form: dict[str, Any], *, proof: str | None = None, **options: Any) -> httpx.Response:
        headers = {"dpop": proof} if proof else {}
        return await self.http.post(path, data=self.authenticated(form, options.pop("assertion", None)), headers=headers)

    def request_form(self, *details: dict[str, Any], **members: Any) -> dict[str, Any]:
        values = {
            "response_type": "code",
            "redirect_uri": self.redirect_uri,
            "code_challenge": CHALLENGE,
            "code_challenge_method": "S256",
            "state": "s-1",
            "authorization_details": json.dumps(list(details) or [detail()]),
        }
        return {name: value for name, value in (values | members).items() if value is not None}

    async def push(self, *details: dict[str, Any], **members: Any) -> httpx.Response:
        return await self.post("/oauth/par", self.request_form(*details, **members))

    async def redeem(self, code: str, *, proof: str | None = None, **members: Any) -> httpx.Response:
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": self.redirect_uri, "code_verifier": VERIFIER} | members
        form = {name: value for name, value in form.items() if value is not None}
        return await self.post("/oauth/token", form, proof=proof or self.proof("POST", f"{ISSUER}/oauth/token"))

    async def token(self, scope: str = "check") -> str:
        reply = await self.post(
            "/oauth/token", {"grant_type": "client_credentials", "scope": scope}, proof=self.proof("POST", f"{ISSUER}/oauth/token")
        )
        assert reply.status_code == 200, reply.text
        return str(reply.json()["access_token"])

    async def call(self, path: str, token: str, proof: str | None = None, scheme: str = "DPoP") -> httpx.Response:
        proof = proof or self.proof("GET", f"{ISSUER}{path}", token=token)
        return await self.http.get(path, headers={"authorization": f"{scheme} {token}", "dpop": proof})


@get("/probe/check")
async def probe_check(checker: NamedDependency[SkipValidation[Checker]]) -> dict[str, str]:
    return {"client": checker.client_id, "institution": checker.institution_id}


@get("/probe/any")
async def probe_any(any_checker: NamedDependency[SkipValidation[AnyChecker]]) -> dict[str, str]:
    return {"client": any_checker.client_id}


@get("/probe/grants")
async def probe_grants(grant_client: NamedDependency[SkipValidation[GrantClient]]) -> dict[str, str]:
    return {"client": grant_client.client_id}


@pytest.fixture
async def parties(engine: AsyncEngine) -> Parties:
    return await register(engine)


def build_app(engine: AsyncEngine, decisions: DecisionService | None = None, profile: Profile | None = None) -> Litestar:
    """A process of the service, with the OAuth endpoints and three resources."""
    oauth = OAuth(engine, ISSUER, load(), decisions or DecisionService(engine, policies(), load()), profile)
    return Litestar(
        [*handlers, probe_check, probe_any, probe_grants],
        dependencies={"oauth": Provide(lambda: oauth, sync_to_thread=False), **access.dependencies},
        exception_handlers=problems.exception_handlers(),
        openapi_config=None,
    )


@pytest.fixture
async def http(engine: AsyncEngine, parties: Parties) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(build_app(engine)), base_url=ISSUER) as client:
        yield client


def caller(http: httpx.AsyncClient, name: str) -> Caller:
    return Caller(http, f"{name}-client", key(name), name, f"https://{name}.example/cb")


@pytest.fixture
def bank(http: httpx.AsyncClient) -> Caller:
    return caller(http, "bank-a")


@pytest.fixture
def other_bank(http: httpx.AsyncClient) -> Caller:
    return caller(http, "bank-b")


@pytest.fixture
def platform(http: httpx.AsyncClient) -> Caller:
    return caller(http, "platform-a")


@pytest.fixture
def visitor(parties: Parties) -> SubjectVisitor:
    return as_visitor(parties.enterprise_id)


def as_visitor(subject_id: Any, kind: Any = "enterprise") -> SubjectVisitor:
    return SubjectVisitor(account_id=subject_id, display_name="示例", kind=kind, subject_id=subject_id, role=None, csrf="c")


async def decide(
    engine: AsyncEngine, request_uri: str, visitor: SubjectVisitor, approved: Sequence[str], client_id: str = "bank-a-client"
) -> str:
    """What the consent page does."""
    async with read(engine) as connection:
        pushed = await authorization.load_pushed(connection, client_id, request_uri)
        who = await authorization.parties(connection, pushed, visitor)
    async with write(engine) as tx:
        return await authorization.complete(tx, pushed, who, catalogue=load(), issuer=ISSUER, approved=approved, notice=NOTICE)


async def obtain_code(engine: AsyncEngine, bank: Caller, visitor: SubjectVisitor, **members: Any) -> str:
    """A code for one granted item."""
    pushed = await bank.push(**members)
    assert pushed.status_code == 201, pushed.text
    url = await decide(engine, pushed.json()["request_uri"], visitor, [f"x-{ITEM}"], bank.client_id)
    return answer(url)["code"]


def answer(url: str) -> dict[str, str]:
    """The query of a redirect, each parameter once."""
    pairs = parse_qsl(urlsplit(url).query, keep_blank_values=True)
    assert len(dict(pairs)) == len(pairs)
    return dict(pairs)


async def scalar(engine: AsyncEngine, statement: str, **parameters: Any) -> Any:
    async with read(engine) as connection:
        return (await connection.execute(text(statement), parameters)).scalar()


async def records(engine: AsyncEngine, kind: str) -> list[dict[str, Any]]:
    """The data of all ledger records of a type, oldest first."""
    async with read(engine) as connection:
        rows = await connection.execute(text("select bytes from ledger_record order by idx"))
        decoded = [json.loads(row.bytes) for row in rows]
    return [record["data"] for record in decoded if record["type"] == kind]


async def execute(engine: AsyncEngine, statement: str, **parameters: Any) -> None:
    """A change made behind the service's back, for what only time or an operator would do."""
    async with engine.begin() as connection:
        await connection.execute(text(statement), parameters)


def rsa_key() -> RSAKey:
    return RSAKey.generate_key(2048)


def ed_key() -> OKPKey:
    return OKPKey.generate_key("Ed25519")
