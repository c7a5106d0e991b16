"""A small world on a real database: banks, a platform, enterprises, a person, grants, and what the ledger says about it all."""

import itertools
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any
from uuid import UUID

import msgspec
from sample_parties import public_jwks
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from stdnum.cn import uscc

from consent.catalogue.load import load
from consent.decisions import schema
from consent.decisions.bundle import MEDIA_TYPE, load_bundle
from consent.decisions.engine import RegopyEngine
from consent.decisions.service import DecisionService
from consent.grants import service as grants
from consent.grants.details import parse_details
from consent.grants.model import Actor, Grant, Notice
from consent.ledger.events import CatalogueActivated, PolicyActivated
from consent.ledger.writer import write
from consent.parties import service as parties
from consent.parties.access import Caller
from consent.parties.model import Institution, Product
from consent_audit.hashing import leaf_hash
from consent_audit.record import FIRST_PREV, Record, decode_record

CATALOGUE = load()
BUNDLE = load_bundle(CATALOGUE)
TAX = "N21-03-04"
STATUS = "N21-03-02"
OPEN = "N21-01-01"
VERIFY = "N21-05-01"
PERSON = "N24-11-01"
_NOTICE = "风险告知（测试）".encode()
_serial = itertools.count(secrets.randbelow(10**8))


def new_uscc() -> str:
    """A fresh valid 统一社会信用代码."""
    body = f"91330200{next(_serial):09d}"
    return body + str(uscc.calc_check_digit(body))


def caller(institution: str = "bank-a", *scopes: str, kind: str = "bank") -> Caller:
    """A caller as the edge makes it."""
    return Caller(
        client_id=f"{institution}-client",
        institution_id=institution,
        institution_kind=kind,
        scopes=frozenset(scopes or {"check"}),
        token_hash=b"\0" * 32,
    )


BANK = caller("bank-a")
OTHER_BANK = caller("bank-b")
PLATFORM = caller("platform-a", "check:any", kind="platform")
OTHER_PLATFORM = caller("platform-b", "check:any", kind="platform")


def request(enterprise: str, items: Sequence[str] = (TAX,), *, institution: str = "bank-a", **options: Any) -> dict[str, Any]:
    """An evaluation request; options go where the contract has them."""
    properties = {"purpose": options.pop("purpose", "pre_loan")}
    for name in ("product", "loan", "model", "processor", "via"):
        if name in options:
            properties[name] = options.pop(name)
    asked: dict[str, Any] = {"items": list(items)}
    if "fields" in options:
        asked["fields"] = options.pop("fields")
    return {
        "subject": {"type": "institution", "id": institution},
        "action": {"name": options.pop("action", "query"), "properties": properties},
        "resource": {"type": "enterprise", "id": enterprise, "properties": asked},
        "context": options,
    }


def evaluation(enterprise: str, items: Sequence[str] = (TAX,), **options: Any) -> schema.Evaluation:
    """The same, read."""
    return schema.decode_evaluation(msgspec.json.encode(request(enterprise, items, **options)))


@dataclass
class World:
    """The parties of one test. `behind`: it changed facts behind the ledger, to make time pass; no replay can know of it."""

    engine: AsyncEngine
    enterprise: str = field(default_factory=new_uscc)
    enterprise_id: UUID | None = None
    person_id: UUID | None = None
    policy: RegopyEngine | None = None
    behind: bool = False

    async def populate(self) -> None:
        """Two banks with a product, two platforms, an enterprise and its legal representative."""
        now = datetime.now(UTC)
        purposes = ("pre_loan", "approval", "post_loan", "modelling")
        product = Product(code="tax-loan", name_zh="税贷", name_en="Tax loan", purposes=("pre_loan",))
        async with write(self.engine) as tx:
            await tx.put_blob("text/plain", _NOTICE)
            listed = await tx.put_blob("application/json", CATALOGUE.to_json())
            tx.append(CatalogueActivated(version=CATALOGUE.version, sha256=listed, approvers=()))
            bundled = await tx.put_blob(MEDIA_TYPE, BUNDLE.blob())
            tx.append(PolicyActivated(revision=BUNDLE.revision, sha256=bundled, signed_by=None, approvers=()))
            for name, kind, scopes in (
                ("bank-a", "bank", ("check", "grants")),
                ("bank-b", "bank", ("check", "grants")),
                ("platform-a", "platform", ("check", "check:any")),
                ("platform-b", "platform", ("check:any",)),
            ):
                institution = Institution(
                    id=name,
                    kind=kind,
                    uscc=new_uscc(),
                    name_zh=f"测试{name}",
                    name_en=name,
                    status="active",
                    agreement="2026-1",
                    assessed_from=now - timedelta(days=30),
                    assessed_until=now + timedelta(days=300),
                    purposes=purposes if kind == "bank" else (),
                    products=(product,) if kind == "bank" else (),
                )
                await parties.register_institution(tx, institution, CATALOGUE)
                await self._client(tx, name, scopes)
            company = await parties.register_subject(tx, kind="enterprise", uscc=self.enterprise, name="测试企业", level="real_name")
            person = await parties.register_subject(tx, kind="person", uscc=None, name="测试人员", level="real_name")
            await parties.link_person(tx, person_id=person.id, enterprise_id=company.id, role="legal_representative")
        self.enterprise_id, self.person_id = company.id, person.id

    async def _client(self, tx: Any, institution: str, scopes: tuple[str, ...]) -> None:
        await parties.register_client(
            tx, client_id=f"{institution}-client", institution_id=institution, name=institution, jwks=public_jwks(), scopes=scopes
        )

    async def grant(self, *items: str, institution: str = "bank-a", by: str = "enterprise", **options: Any) -> Grant:
        """The enterprise (or its person) grants these items."""
        wire = [
            {
                "type": "financing_data",
                "identifier": f"{options.get('identifier', 'item')}-{n}",
                "actions": [options.get("action", "query")],
                "datatypes": [item],
                "fields": options.get("fields") or list(CATALOGUE.field_codes[item]),
                "purpose": options.get("purpose", "pre_loan"),
                "necessity": "required",
                "valid_until": (datetime.now(UTC) + options.get("lasting", timedelta(days=30))).isoformat(),
                **{name: options[name] for name in ("frequency", "via", "processor") if name in options},
            }
            for n, item in enumerate(items)
        ]
        details = parse_details(msgspec.json.encode(wire))
        assert self.enterprise_id is not None
        assert self.person_id is not None
        async with write(self.engine) as tx:
            return await grants.approve(
                tx,
                catalogue=CATALOGUE,
                request_id=None,
                institution_id=institution,
                client_id=f"{institution}-client",
                subject_id=self.enterprise_id if by == "enterprise" else self.person_id,
                enterprise_id=self.enterprise_id,
                by=by,  # type: ignore[arg-type]
                details=details,
                approved={detail.name for detail in details},
                notice=Notice(version="test-1", sha256=sha256(_NOTICE).digest()),
            )

    async def revoke(self, grant: Grant) -> int:
        """Index of the revocation's record."""
        async with write(self.engine) as tx:
            await grants.revoke(tx, grant.id, Actor.subject(grant.subject_id))
        return tx.receipts[0].index

    async def narrow(self, grant: Grant, *identifiers: str) -> None:
        """End some of its items."""
        async with write(self.engine) as tx:
            await grants.narrow(tx, grant.id, set(identifiers), Actor.subject(grant.subject_id))

    async def records(self, kind: str | None = None) -> list[Record]:
        """The ledger's records, chain and order verified."""
        async with self.engine.connect() as connection:
            rows = (await connection.execute(text("select bytes, leaf from ledger_record order by idx"))).all()
        prev, time, found = FIRST_PREV, "", []
        for index, row in enumerate(rows):
            record = decode_record(row.bytes)
            assert (record.index, record.prev) == (index, prev)
            assert record.time >= time
            assert row.leaf == leaf_hash(row.bytes)
            prev, time = row.leaf, record.time
            if kind in {None, record.type}:
                found.append(record)
        return found


async def ask(service: DecisionService, who: Caller, enterprise: str, items: Sequence[str] = (TAX,), **options: Any) -> dict[str, Any]:
    """The reply to a check."""
    answer: dict[str, Any] = msgspec.json.decode(await service.check(who, evaluation(enterprise, items, **options)))
    return answer


def rego() -> RegopyEngine:
    """The product's policies, in this process."""
    return RegopyEngine(BUNDLE, threads=2)
