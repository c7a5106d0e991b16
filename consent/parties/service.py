"""Use cases on parties. Page, API, job and command line all come through here.

Each takes the ledger's open transaction, changes state and stages its record in it; the caller opens `consent.ledger.writer.write` once
and may do several. Names and codes stay in the database: a record holds registered ids and catalogue words only.
"""

from collections.abc import Iterable
from typing import Any
from uuid import UUID, uuid4

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from consent.clock import format_instant
from consent.errors import Conflict, InvalidRequest, NotFound
from consent.ledger import events, parts
from consent.ledger.evidence import Evidence
from consent.ledger.writer import LedgerTransaction
from consent.parties import store
from consent.parties.access import PLATFORM_KINDS, SCOPES
from consent.parties.certificates import check_certificates
from consent.parties.jwks import check_jwks, check_redirect_uris
from consent.parties.model import (
    CatalogueWords,
    Client,
    ClientStatus,
    Institution,
    InstitutionChange,
    LinkRole,
    Subject,
    SubjectKind,
    SubjectLevel,
    SubjectStatus,
    check_subject,
    parse_institution_id,
    parse_name,
)
from consent.parties.profiles import Needed, check_profiles
from consent.parties.terminals import Terminal, check_terminals

NO_KEYS: dict[str, Any] = {"keys": []}


# ---------------------------------------------------------------- institutions
async def register_institution(
    tx: LedgerTransaction, institution: Institution, catalogue: CatalogueWords, needed: Needed | None = None
) -> Institution:
    """Register an institution or platform.

    Args:
        institution: as wanted; its version is ignored and starts at 1.
        needed: what the matrix in force lists, against which products' profiles are held; without it the policies alone narrow them.

    Raises:
        InvalidRequest: a malformed member or a word outside the catalogue; or a status with which no institution begins.
        Conflict: the id or the 统一社会信用代码 is registered.
    """
    if institution.status not in {"applied", "active"}:
        raise InvalidRequest("新机构的状态应为已申请或已开通。", "A new institution has applied or is active.", member="status")
    institution = msgspec.structs.replace(institution.checked(catalogue), version=1)
    if needed is not None:
        check_profiles(institution.products, needed)
    if not await store.insert_institution(tx.connection, institution):
        raise Conflict("该机构标识或统一社会信用代码已登记。", "This id or code is registered.", code="institution.registered")
    event = events.PlatformRegistered if institution.kind in PLATFORM_KINDS else events.InstitutionRegistered
    tx.append(event(**_snapshot(institution)))
    return institution


async def change_institution(
    tx: LedgerTransaction, institution_id: str, change: InstitutionChange, catalogue: CatalogueWords, needed: Needed | None = None
) -> Institution:
    """Change status, assessment, purposes, products and the like; in force for every decision after this transaction.

    Raises:
        NotFound: no such institution.
        InvalidRequest: as at registration; `institution.transition`.
    """
    institution = await store.institution(tx.connection, institution_id)
    if institution is None:
        raise _no_institution()
    institution = institution.changed(change).checked(catalogue)
    # A profile that an older matrix allowed must not stand in the way of another change.
    if needed is not None and change.products is not msgspec.UNSET:
        check_profiles(institution.products, needed)
    await store.update_institution(tx.connection, institution)
    event = events.PlatformChanged if institution.kind in PLATFORM_KINDS else events.InstitutionChanged
    tx.append(event(**_snapshot(institution)))
    return institution


def _snapshot(institution: Institution) -> dict[str, Any]:
    return {
        "institution": institution.id,
        "kind": institution.kind,
        "status": institution.status,
        "agreement": institution.agreement,
        "assessed_from": None if institution.assessed_from is None else format_instant(institution.assessed_from),
        "assessed_until": None if institution.assessed_until is None else format_instant(institution.assessed_until),
        "purposes": institution.purposes,
        "own_items": institution.own_items,
        "products": tuple(parts.Product(code=p.code, purposes=p.purposes, items=p.items) for p in institution.products),
        "models": tuple(parts.Model(model=m.id, items=m.items) for m in institution.models),
        "evidence_months": institution.evidence_months,
    }


async def unregistered(connection: AsyncConnection, institution_ids: Iterable[str]) -> frozenset[str]:
    """Those ids that no institution has.

    A record names conduits and processors by registered ids only, so whoever accepts them from a caller asks here.
    """
    asked = frozenset(institution_ids)
    return asked - await store.registered_ids(connection, sorted(asked)) if asked else asked


def _no_institution() -> NotFound:
    return NotFound("没有这个机构。", "No such institution.", code="institution.unknown")


# ---------------------------------------------------------------- clients
async def register_client(  # noqa: PLR0913 - each is a fact of the registration, and all are named
    tx: LedgerTransaction,
    *,
    client_id: str,
    institution_id: str,
    name: str,
    jwks: dict[str, Any] | None = None,
    redirect_uris: Iterable[str] = (),
    scopes: Iterable[str] = (),
    certificates: Iterable[str] = (),
    terminals: Iterable[Terminal] = (),
    allowed_items: Iterable[str] | None = None,
    allowed_purposes: Iterable[str] | None = None,
) -> Client:
    """Register an institution's program by its public keys, or by its certificates.

    Args:
        allowed_items, allowed_purposes: what it may ask for, of what its institution may; None: all of it.
        certificates: PEM, one each; where there are any, they and not assertions are how the client authenticates (RFC 8705 §2.2).

    Raises:
        InvalidRequest: a malformed id, name, key set (`jwks.invalid`, `jwks.private`), certificate, terminal, redirect address
            or scope.
        NotFound: no such institution.
        Conflict: the client id is taken.
    """
    institution = await store.institution(tx.connection, institution_id)
    if institution is None:
        raise _no_institution()
    client = Client(
        id=parse_institution_id(client_id, "client_id"),
        institution_id=institution_id,
        institution_kind=institution.kind,
        name=parse_name(name),
        jwks=jwks or NO_KEYS,
        redirect_uris=tuple(redirect_uris),
        scopes=tuple(scopes),
        terminals=check_terminals(terminals),
        allowed_items=None if allowed_items is None else tuple(allowed_items),
        allowed_purposes=None if allowed_purposes is None else tuple(allowed_purposes),
        **_authentication(tuple(certificates)),
    )
    client, thumbprints = _checked_client(client)
    if not await store.insert_client(tx.connection, client):
        raise Conflict("该客户端标识已登记。", "This client id is taken.", code="client.registered")
    tx.append(events.ClientRegistered(**_client_members(client, thumbprints)))
    return client


async def change_client(
    tx: LedgerTransaction,
    client_id: str,
    *,
    jwks: dict[str, Any] | None = None,
    redirect_uris: Iterable[str] | None = None,
    scopes: Iterable[str] | None = None,
    certificates: Iterable[str] | None = None,
    terminals: Iterable[Terminal] | None = None,
    allowed_items: Iterable[str] | None = None,
    allowed_purposes: Iterable[str] | None = None,
    status: ClientStatus | None = None,
) -> Client:
    """Change keys, certificates, addresses, scopes or status; None leaves a member as it is. Its access tokens die at once.

    Raises:
        NotFound: no such client.
        InvalidRequest: as at registration, or a client that was cancelled.
    """
    client = await store.client(tx.connection, client_id)
    if client is None:
        raise NotFound("没有这个客户端。", "No such client.")
    if client.status == "cancelled":
        raise InvalidRequest("该客户端已注销。", "The client was cancelled.", member="status")
    client, thumbprints = _checked_client(
        msgspec.structs.replace(
            client,
            jwks=client.jwks if jwks is None else jwks,
            redirect_uris=client.redirect_uris if redirect_uris is None else tuple(redirect_uris),
            scopes=client.scopes if scopes is None else tuple(scopes),
            terminals=client.terminals if terminals is None else check_terminals(terminals),
            allowed_items=client.allowed_items if allowed_items is None else tuple(allowed_items),
            allowed_purposes=client.allowed_purposes if allowed_purposes is None else tuple(allowed_purposes),
            status=client.status if status is None else status,
            version=client.version + 1,
            **({} if certificates is None else _authentication(tuple(certificates))),
        )
    )
    await store.update_client(tx.connection, client)
    tx.append(events.ClientChanged(**_client_members(client, thumbprints)))
    return client


def _checked_client(client: Client) -> tuple[Client, tuple[str, ...]]:
    """The client with sorted scopes, and the thumbprints of its keys and certificates."""
    keys = [] if client.certificates and client.jwks == NO_KEYS else check_jwks(client.jwks)
    thumbprints = tuple(sorted({*keys, *client.certificates}))
    check_redirect_uris(client.redirect_uris)
    if len(set(client.scopes)) != len(client.scopes) or not SCOPES.issuperset(client.scopes):
        raise InvalidRequest("含有未知或重复的权限范围。", "An unknown or repeated scope.", code="scope.invalid", member="scopes")
    if "check:any" in client.scopes and client.institution_kind not in PLATFORM_KINDS:
        raise InvalidRequest("只有数据平台可以为他人查询。", "Only a platform may ask for others.", code="scope.invalid", member="scopes")
    return msgspec.structs.replace(client, scopes=tuple(sorted(client.scopes))), thumbprints


def _authentication(certificates: tuple[str, ...]) -> dict[str, Any]:
    """A client authenticates in one way: with certificates, where it registered any."""
    if not certificates:
        return {"auth_method": "private_key_jwt", "certificates": ()}
    return {"auth_method": "self_signed_tls_client_auth", "certificates": check_certificates(certificates)}


def _client_members(client: Client, thumbprints: tuple[str, ...]) -> dict[str, Any]:
    return {
        "client": client.id,
        "institution": client.institution_id,
        "status": client.status,
        "scopes": client.scopes,
        "keys": thumbprints,
    }


# ---------------------------------------------------------------- subjects
async def register_subject(
    tx: LedgerTransaction, *, kind: SubjectKind, uscc: str | None, name: str, level: SubjectLevel = "registered"
) -> Subject:
    """Register an enterprise, self-employed person, co-operative or, without a code, a natural person.

    The record holds a commitment to the identifier, never the identifier: the ledger proves that and when somebody registered, and who it
    was only as long as the salt is kept beside it (docs/decisions/0006-personal-data.md).

    Raises:
        InvalidRequest: `uscc.invalid`, `subject.kind_mismatch`, a malformed name.
        Conflict: the 统一社会信用代码 is registered.
    """
    check_subject(kind, uscc)
    subject = Subject(id=uuid4(), kind=kind, uscc=uscc, name=parse_name(name), level=level, status="active", version=1)
    if not await store.insert_subject(tx.connection, subject):
        raise Conflict("该统一社会信用代码已登记。", "This code is registered.", code="subject.registered")
    evidence, commitment = _committed(subject, "commitment")
    tx.append(events.SubjectRegistered(commitment=commitment, kind=kind, level=level), evidence)
    return subject


async def change_subject(
    tx: LedgerTransaction, subject_id: UUID, *, level: SubjectLevel | None = None, status: SubjectStatus | None = None
) -> Subject:
    """Change the real-name level or the status; None leaves a member as it is.

    While a person is suspended or not registered by her real name, what she granted does not count.

    Raises:
        NotFound: no such subject.
        InvalidRequest: the subject was closed.
    """
    subject = await store.subject(tx.connection, subject_id)
    if subject is None:
        raise _no_subject()
    if subject.status == "closed":
        raise InvalidRequest("该主体已注销。", "The subject was closed.", member="status")
    subject = msgspec.structs.replace(
        subject,
        level=subject.level if level is None else level,
        status=subject.status if status is None else status,
        version=subject.version + 1,
    )
    await store.update_subject(tx.connection, subject)
    if subject.kind == "person":
        await store.raise_versions_of_linked(tx.connection, subject.id)
    evidence, commitment = _committed(subject, "commitment")
    tx.append(events.SubjectChanged(commitment=commitment, kind=subject.kind, level=subject.level, status=subject.status), evidence)
    return subject


def _committed(subject: Subject, member: str) -> tuple[Evidence, str]:
    """What is kept for a member that commits to the subject, and the commitment."""
    evidence = Evidence(subject.id)
    return evidence, evidence.commit(member, subject.identifier)


async def link_person(tx: LedgerTransaction, *, person_id: UUID, enterprise_id: UUID, role: LinkRole) -> None:
    """Record that a person was verified as related to an enterprise; she may then grant her own items towards its financing.

    Raises:
        NotFound: no such person or enterprise.
        Conflict: the link stands already.
    """
    person = await store.subject(tx.connection, person_id)
    enterprise = await store.subject(tx.connection, enterprise_id)
    if person is None or enterprise is None or person.kind != "person" or enterprise.kind == "person":
        raise _no_subject()
    if not await store.insert_link(tx.connection, person_id, enterprise_id, role, tx.time):
        raise Conflict("该关联已登记。", "This link stands already.", code="link.registered")
    await store.raise_version(tx.connection, [person_id, enterprise_id])
    _record_link(tx, events.SubjectLinked, person, enterprise, role)


async def end_link(tx: LedgerTransaction, *, person_id: UUID, enterprise_id: UUID, role: LinkRole) -> None:
    """End a link. What the person granted towards this enterprise counts no more, unless another link of hers stands.

    Raises:
        NotFound: no such standing link.
    """
    person = await store.subject(tx.connection, person_id)
    enterprise = await store.subject(tx.connection, enterprise_id)
    if person is None or enterprise is None or not await store.end_link(tx.connection, person_id, enterprise_id, role, tx.time):
        raise NotFound("没有这项关联。", "No such link.")
    await store.raise_version(tx.connection, [person_id, enterprise_id])
    _record_link(tx, events.SubjectUnlinked, person, enterprise, role)


def _record_link(tx: LedgerTransaction, kind: type[events.SubjectLinked], person: Subject, enterprise: Subject, role: LinkRole) -> None:
    hers, person_commitment = _committed(person, "person")
    its, enterprise_commitment = _committed(enterprise, "enterprise")
    tx.append(kind(person=person_commitment, enterprise=enterprise_commitment, role=role), hers, its)


def _no_subject() -> NotFound:
    return NotFound("没有这个主体。", "No such subject.")
