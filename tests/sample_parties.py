"""Invented parties for tests: valid check characters, no real body's code, keys made anew in each run."""

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any
from uuid import UUID

from joserfc.jwk import ECKey
from sqlalchemy.ext.asyncio import AsyncEngine
from stdnum.cn.uscc import calc_check_digit

from consent.catalogue.load import load
from consent.grants.model import Detail, Frequency, Notice
from consent.ledger.writer import write
from consent.parties import service
from consent.parties.model import Institution, Product, Subject

PURPOSES = ("approval", "post_loan", "pre_loan")
NOTICE_BODY = b'{"version":"2026-01","text":"..."}'
NOTICE = Notice(version="2026-01", sha256=hashlib.sha256(NOTICE_BODY).digest())
PERSON_ITEM = "N24-17-01"
EITHER_ITEM = "N24-11-04"


def uscc(number: int, prefix: str = "91") -> str:
    """The valid code with this number in its organisation part; region 000000 is nobody's."""
    head = f"{prefix}000000{number:09d}"
    return head + calc_check_digit(head)


@cache
def key(kid: str = "k1") -> ECKey:
    """A signing key of this run."""
    return ECKey.generate_key("P-256", {"kid": kid, "use": "sig", "alg": "ES256"}, private=True)


def public_jwks(*kids: str) -> dict[str, Any]:
    """The public half of those keys."""
    return {"keys": [key(kid).as_dict(private=False) for kid in kids or ("k1",)]}


def bank(institution_id: str = "bank-a", number: int = 1, **members: Any) -> Institution:
    """An active, assessed bank with one product."""
    now = datetime(2026, 1, 1, tzinfo=UTC)
    values: dict[str, Any] = {
        "id": institution_id,
        "kind": "bank",
        "uscc": uscc(number),
        "name_zh": "示例银行",
        "name_en": "Sample Bank",
        "status": "active",
        "agreement": "2026-01",
        "assessed_from": now,
        "assessed_until": now + timedelta(days=3650),
        "purposes": PURPOSES,
        "products": (Product(code="tax-loan-01", name_zh="税务贷", name_en="Tax loan", purposes=("pre_loan",)),),
    }
    return Institution(**(values | members))


def platform(institution_id: str = "platform-a", number: int = 2, **members: Any) -> Institution:
    """An active data platform."""
    return bank(institution_id, number, kind="platform", products=(), **members)


def make_detail(item: str, identifier: str, **members: Any) -> Detail:
    """A completed detail for one item of the real catalogue."""
    values: dict[str, Any] = {
        "type": "financing_data",
        "identifier": identifier,
        "actions": ("query",),
        "datatypes": (item,),
        "fields": load().field_codes[item],
        "purpose": "pre_loan",
        "product": "tax-loan-01",
        "necessity": "optional",
        "valid_until": datetime(2040, 1, 1, tzinfo=UTC),
        "frequency": Frequency(max=4, per="day"),
    }
    return Detail(**(values | members))


@dataclass(frozen=True)
class Parties:
    """What `register` made."""

    enterprise: Subject
    other_enterprise: Subject
    person: Subject
    institution_id: str = "bank-a"
    client_id: str = "bank-a-client"
    other_institution_id: str = "bank-b"
    other_client_id: str = "bank-b-client"

    @property
    def enterprise_id(self) -> UUID:
        """Of the enterprise that grants."""
        return self.enterprise.id


async def register(engine: AsyncEngine) -> Parties:
    """Two banks with a client each, a platform, two enterprises, a person linked to the first, and the risk notice."""
    catalogue = load()
    async with write(engine) as tx:
        await tx.put_blob("application/json", NOTICE_BODY)
        for institution in (bank(), bank("bank-b", 3), platform()):
            await service.register_institution(tx, institution, catalogue)
        for name, scopes in (("bank-a", ("grants", "check", "loans")), ("bank-b", ("grants", "check")), ("platform-a", ("check:any",))):
            await service.register_client(
                tx,
                client_id=f"{name}-client",
                institution_id=name,
                name="示例系统",
                jwks=public_jwks(name),
                redirect_uris=() if name == "platform-a" else (f"https://{name}.example/cb",),
                scopes=scopes,
            )
        enterprise = await service.register_subject(tx, kind="enterprise", uscc=uscc(10), name="示例机械有限公司", level="real_name")
        other = await service.register_subject(tx, kind="enterprise", uscc=uscc(11), name="示例纺织有限公司", level="real_name")
        person = await service.register_subject(tx, kind="person", uscc=None, name="示例人", level="real_name")
        await service.link_person(tx, person_id=person.id, enterprise_id=enterprise.id, role="legal_representative")
    return Parties(enterprise=enterprise, other_enterprise=other, person=person)
