"""The sample parties: invented names, codes of a region that does not exist with valid check digits, secrets made anew each time."""

import secrets
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from joserfc.jwk import ECKey
from sqlalchemy.ext.asyncio import AsyncEngine
from stdnum.cn import uscc

from consent.catalogue.model import Catalogue
from consent.ledger.writer import write
from consent.parties import accounts, service
from consent.parties.model import Institution, Product
from consent_sdk import Detail, Frequency

PURPOSE = "pre_loan"
PRODUCT = "tax-loan-01"
GRANTED_ITEMS = ("N21-03-04", "N21-03-03", "N21-01-02")  # taxes paid, tax arrears, scope of business
LEFT_OUT_ITEM = "N21-11-02"  # electricity
OPEN_ITEM = "N21-01-01"  # basic registration
EXCESS_ITEM = "N24-07-02"  # monthly medical insurance of the staff: more than a pre-loan decision needs

_BANK_PURPOSES = ("screening", "pre_loan", "approval", "post_loan")


class Person(msgspec.Struct, frozen=True, kw_only=True):
    """A staff member who logs in."""

    username: str
    password: str


class Enterprise(msgspec.Struct, frozen=True, kw_only=True):
    """The enterprise and its finance clerk."""

    id: str
    name: str
    username: str
    password: str


class Client(msgspec.Struct, frozen=True, kw_only=True):
    """A registered program of an institution, with its private key."""

    client_id: str
    private_jwk: dict[str, Any]
    institution_id: str
    redirect_uri: str


class PlatformClient(msgspec.Struct, frozen=True, kw_only=True):
    """The data platform's program."""

    client_id: str
    private_jwk: dict[str, Any]
    institution_id: str


class AuditorAccess(msgspec.Struct, frozen=True, kw_only=True):
    """What an auditor was handed."""

    ledger_url: str
    vkey: str
    token: str


class DemoFile(msgspec.Struct, frozen=True, kw_only=True):
    """demo.json: everything that a person or program needs to play every part."""

    issuer: str
    enterprise: Enterprise
    bank: Client
    second_bank: Client
    platform: PlatformClient
    platform_url: str
    regulator: Person
    operator: Person
    second_operator: Person
    auditor: AuditorAccess
    database_owner_url: str


def request_details(extra: str | None = None) -> tuple[Detail, ...]:
    """What the sample bank asks for; with `extra`, one item more than its purpose needs."""
    until = (datetime.now(UTC) + timedelta(days=180)).strftime("%Y-%m-%dT00:00:00Z")
    since = (datetime.now(UTC) - timedelta(days=700)).strftime("%Y-%m-%d")
    items = [*GRANTED_ITEMS, LEFT_OUT_ITEM, *([extra] if extra else [])]
    return tuple(
        Detail(
            item=item,
            purpose=PURPOSE,
            product=PRODUCT,
            valid_until=until,
            data_from=since,
            necessity="optional" if item == LEFT_OUT_ITEM else "required",
            frequency=Frequency(max=4, per="day"),
            retention_days=180,
            identifier=f"{item.lower()}",
        )
        for item in items
    )


def new_code(prefix: str = "91") -> str:
    """A 统一社会信用代码 of region 990100, which does not exist, with a valid check digit."""
    body = f"{prefix}990100{secrets.randbelow(10**9):09d}"
    return body + str(uscc.calc_check_digit(body))


def new_key() -> dict[str, Any]:
    """A private P-256 JWK with a kid."""
    key = ECKey.generate_key("P-256", {"use": "sig", "alg": "ES256"}, private=True)
    return {**key.as_dict(private=True), "kid": key.thumbprint()}


def public_part(jwk: dict[str, Any]) -> dict[str, Any]:
    """What is registered of a key."""
    return {"keys": [{name: value for name, value in jwk.items() if name != "d"}]}


def _institution(name_id: str, kind: Any, zh: str, en: str, products: tuple[Product, ...], purposes: tuple[str, ...]) -> Institution:
    now = datetime.now(UTC)
    return Institution(
        id=name_id,
        kind=kind,
        uscc=new_code(),
        name_zh=zh,
        name_en=en,
        status="active",
        agreement="2026-01",
        assessed_from=now - timedelta(days=30),
        assessed_until=now + timedelta(days=700),
        purposes=purposes,
        products=products,
    )


def _institutions() -> tuple[Institution, ...]:
    tax_loan = Product(code=PRODUCT, name_zh="税易贷（示例）", name_en="Tax loan (sample)", purposes=("pre_loan", "approval", "post_loan"))
    return (
        _institution("demo-bank", "bank", "示例市远山银行", "Yuanshan Bank (sample)", (tax_loan,), _BANK_PURPOSES),
        _institution("demo-second-bank", "bank", "示例市近水银行", "Jinshui Bank (sample)", (tax_loan,), _BANK_PURPOSES),
        _institution("demo-platform", "platform", "示例市融资信用服务平台", "Sample Financing Credit Platform", (), _BANK_PURPOSES),
    )


async def create_parties(
    engine: AsyncEngine, catalogue: Catalogue, *, issuer: str, bank_url: str, platform_url: str, auditor: AuditorAccess, owner_url: str
) -> DemoFile:
    """Register everybody through the use cases that an operator has, and return what demo.json holds."""
    callback = f"{bank_url}/callback"
    bank, second, platform = (new_key() for _ in range(3))
    code = new_code()
    async with write(engine) as tx:
        for institution in _institutions():
            await service.register_institution(tx, institution, catalogue)
        for client_id, institution_id, key, scopes in (
            ("demo-bank-client", "demo-bank", bank, ("check", "grants", "loans")),
            ("demo-second-bank-client", "demo-second-bank", second, ("check", "grants", "loans")),
            ("demo-platform-client", "demo-platform", platform, ("check:any",)),
        ):
            await service.register_client(
                tx,
                client_id=client_id,
                institution_id=institution_id,
                name=client_id,
                jwks=public_part(key),
                redirect_uris=() if "platform" in client_id else (callback,),
                scopes=scopes,
            )
        subject = await service.register_subject(tx, kind="enterprise", uscc=code, name="示例市晨曦五金制品有限公司", level="real_name")
    names = ("clerk", "regulator", "operator", "second-operator")
    people = {name: Person(username=f"demo-{name}", password=secrets.token_urlsafe(15)) for name in names}
    clerk = people["clerk"]
    await accounts.create_account(
        engine, username=clerk.username, password=clerk.password, display_name="示例财务人员", subject_id=subject.id
    )
    await accounts.create_account(engine, **msgspec.structs.asdict(people["regulator"]), display_name="示例监管人员", role="regulator")
    for name in ("operator", "second-operator"):
        await accounts.create_account(engine, **msgspec.structs.asdict(people[name]), display_name="示例运营人员", role="operator")
    return DemoFile(
        issuer=issuer,
        enterprise=Enterprise(id=code, name=subject.name, username=clerk.username, password=clerk.password),
        bank=Client(client_id="demo-bank-client", private_jwk=bank, institution_id="demo-bank", redirect_uri=callback),
        second_bank=Client(
            client_id="demo-second-bank-client", private_jwk=second, institution_id="demo-second-bank", redirect_uri=callback
        ),
        platform=PlatformClient(client_id="demo-platform-client", private_jwk=platform, institution_id="demo-platform"),
        platform_url=platform_url,
        regulator=people["regulator"],
        operator=people["operator"],
        second_operator=people["second-operator"],
        auditor=auditor,
        database_owner_url=owner_url,
    )
