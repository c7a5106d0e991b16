"""What an operator registers and changes from the command line: one strict JSON document per use case of `consent.parties.service`.

The database is reached with the application's role; each document is one transaction with its ledger record.
"""

from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy.ext.asyncio import AsyncEngine

from consent.activation.service import matrix_items, policies_in_force
from consent.catalogue.load import load
from consent.catalogue.model import Catalogue
from consent.decisions.bundle import load_bundle
from consent.errors import InvalidRequest, NotFound
from consent.ledger.writer import write
from consent.parties import accounts, service
from consent.parties.access import StaffRole
from consent.parties.model import Allowed, ClientStatus, Institution, InstitutionChange, LinkRole, SubjectKind, SubjectLevel, SubjectStatus
from consent.parties.profiles import Needed
from consent.parties.terminals import Terminal

_LIMIT = 256 * 1024


class ClientDocument(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A program of an institution, by its public keys, or by its TLS certificates (PEM)."""

    client_id: str
    institution_id: str
    name: str
    jwks: dict[str, Any] | None = None
    certificates: tuple[str, ...] = ()
    terminals: tuple[Terminal, ...] = ()
    allowed_items: Allowed | None = None
    allowed_purposes: Allowed | None = None
    redirect_uris: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ()


class ClientChange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What of a client changes; absent members stay."""

    client_id: str
    jwks: dict[str, Any] | None = None
    certificates: tuple[str, ...] | None = None
    terminals: tuple[Terminal, ...] | None = None
    allowed_items: Allowed | None = None
    allowed_purposes: Allowed | None = None
    redirect_uris: tuple[str, ...] | None = None
    scopes: tuple[str, ...] | None = None
    status: ClientStatus | None = None


class SubjectDocument(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An enterprise, self-employed person, co-operative, or (without uscc) a natural person."""

    kind: SubjectKind
    name: str
    uscc: str | None = None
    level: SubjectLevel = "registered"


class SubjectChange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What of a subject changes."""

    subject_id: UUID
    level: SubjectLevel | None = None
    status: SubjectStatus | None = None


class LinkDocument(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A verified relation of a person to an enterprise."""

    person_id: UUID
    enterprise_id: UUID
    role: LinkRole


class AccountDocument(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A login: of a subject (subject_id) or of staff (role). The password comes from the document and is kept as argon2id only."""

    username: str
    password: str
    display_name: str
    subject_id: UUID | None = None
    role: StaffRole | None = None


class InstitutionChangeDocument(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What of an institution changes; `change` holds only the members that do."""

    institution_id: str
    change: InstitutionChange


async def _in_force(engine: AsyncEngine) -> tuple[Catalogue, Needed]:
    """The catalogue, and what its purposes need: those in force, or before the first start the installed ones."""
    try:
        bundle = await policies_in_force(engine)
    except NotFound:
        bundle = load_bundle(load())
    return bundle.catalogue(), matrix_items(bundle)


async def _institution(engine: AsyncEngine, document: Institution) -> str:
    words = await _in_force(engine)
    async with write(engine) as tx:
        return (await service.register_institution(tx, document, *words)).id


async def _change_institution(engine: AsyncEngine, document: InstitutionChangeDocument) -> str:
    words = await _in_force(engine)
    async with write(engine) as tx:
        return (await service.change_institution(tx, document.institution_id, document.change, *words)).id


def _check_allowed(document: ClientDocument | ClientChange) -> None:
    """A list that names what does not exist would forbid more than was meant."""
    catalogue = load()
    for member, known in (("allowed_items", catalogue.items), ("allowed_purposes", catalogue.purposes)):
        if not set(known).issuperset(getattr(document, member) or ()):
            raise InvalidRequest("目录中没有这些项目或用途。", "The catalogue has no such item or purpose.", member=member)


async def _client(engine: AsyncEngine, document: ClientDocument) -> str:
    _check_allowed(document)
    async with write(engine) as tx:
        return (await service.register_client(tx, **msgspec.structs.asdict(document))).id


async def _change_client(engine: AsyncEngine, document: ClientChange) -> str:
    _check_allowed(document)
    async with write(engine) as tx:
        return (await service.change_client(tx, **msgspec.structs.asdict(document))).id


async def _subject(engine: AsyncEngine, document: SubjectDocument) -> str:
    async with write(engine) as tx:
        return str((await service.register_subject(tx, **msgspec.structs.asdict(document))).id)


async def _change_subject(engine: AsyncEngine, document: SubjectChange) -> str:
    async with write(engine) as tx:
        changed = await service.change_subject(tx, document.subject_id, level=document.level, status=document.status)
        return str(changed.id)


async def _link(engine: AsyncEngine, document: LinkDocument) -> str:
    async with write(engine) as tx:
        await service.link_person(tx, **msgspec.structs.asdict(document))
    return str(document.person_id)


async def _account(engine: AsyncEngine, document: AccountDocument) -> str:
    return str((await accounts.create_account(engine, **msgspec.structs.asdict(document))).id)


_USE_CASES: dict[str, tuple[type[Any], Callable[[AsyncEngine, Any], Awaitable[str]]]] = {
    "institution": (Institution, _institution),
    "institution-change": (InstitutionChangeDocument, _change_institution),
    "client": (ClientDocument, _client),
    "client-change": (ClientChange, _change_client),
    "subject": (SubjectDocument, _subject),
    "subject-change": (SubjectChange, _change_subject),
    "link": (LinkDocument, _link),
    "account": (AccountDocument, _account),
}

KINDS = tuple(_USE_CASES)


async def register(engine: AsyncEngine, kind: str, body: bytes) -> str:
    """Carry out one document.

    Args:
        kind: one of KINDS.
        body: JSON, at most 256 KiB.

    Returns:
        The id of what was registered or changed.

    Raises:
        InvalidRequest: not JSON, an unknown, missing or mistyped member, or whatever the use case refuses.
        Conflict, NotFound: as the use case says.
    """
    shape, use_case = _USE_CASES[kind]
    if len(body) > _LIMIT:
        raise InvalidRequest("文件超过 256 KiB。", "The document is longer than 256 KiB.")
    if b"\\u0000" in body:  # PostgreSQL has no such character
        raise InvalidRequest("文件中有空字符（NUL）。", "The document has a NUL character.")
    try:
        document = msgspec.json.decode(body, type=shape)
    except msgspec.DecodeError as error:
        # For the operator who wrote the document: msgspec names members and types, and quotes a word that is none of a list.
        raise InvalidRequest("文件格式不正确，详见英文说明。", f"The document does not fit: {error}.") from None
    return await use_case(engine, document)
