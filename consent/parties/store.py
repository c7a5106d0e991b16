"""SQL of institutions, clients, subjects and pseudonyms. Every function takes the caller's connection; none commits."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from consent.errors import Conflict
from consent.parties.model import Client, Institution, LinkRole, Subject

_INSTITUTION = text("""
    select i.id, i.kind, i.uscc, i.name_zh, i.name_en, i.status, i.agreement, i.assessed_from, i.assessed_until,
           i.purposes, i.own_items, i.evidence_months, i.version,
           (select cast(coalesce(jsonb_agg(jsonb_build_object('code', p.code, 'name_zh', p.name_zh, 'name_en', p.name_en,
                                 'purposes', p.purposes, 'items', p.items) order by p.code), '[]') as text)
              from product p where p.institution_id = i.id) as products,
           (select cast(coalesce(jsonb_agg(jsonb_build_object('id', m.id, 'name_zh', m.name_zh, 'name_en', m.name_en, 'items', m.items)
                                 order by m.id), '[]') as text)
              from model m where m.institution_id = i.id and m.status = 'active') as models
      from institution i
     where cast(:id as text) is null or i.id = :id
     order by i.id
""")


def _institution(row: Any) -> Institution:
    values = dict(row._mapping)
    for name in ("products", "models"):
        values[name] = msgspec.json.decode(values[name])
    return msgspec.convert(values, Institution)


async def institution(connection: AsyncConnection, institution_id: str) -> Institution | None:
    """The institution with its products."""
    row = (await connection.execute(_INSTITUTION, {"id": institution_id})).one_or_none()
    return None if row is None else _institution(row)


async def institutions(connection: AsyncConnection) -> list[Institution]:
    """All institutions by id: some thousands in a province."""
    return [_institution(row) for row in await connection.execute(_INSTITUTION, {"id": None})]


async def registered_ids(connection: AsyncConnection, ids: Sequence[str]) -> frozenset[str]:
    """Those of `ids` that are registered."""
    rows = await connection.execute(text("select id from institution where id = any(cast(:ids as text[]))"), {"ids": list(ids)})
    return frozenset(rows.scalars())


_INSERT_INSTITUTION = text("""
    insert into institution (id, kind, uscc, name_zh, name_en, status, agreement, assessed_from, assessed_until,
                             purposes, own_items, evidence_months, version)
    values (:id, :kind, :uscc, :name_zh, :name_en, :status, :agreement, :assessed_from, :assessed_until,
            cast(:purposes as text[]), cast(:own_items as text[]), :evidence_months, :version)
    on conflict do nothing
    returning id
""")
_UPDATE_INSTITUTION = text("""
    update institution
       set name_zh = :name_zh, name_en = :name_en, status = :status, agreement = :agreement, assessed_from = :assessed_from,
           assessed_until = :assessed_until, purposes = cast(:purposes as text[]),
           own_items = cast(:own_items as text[]), evidence_months = :evidence_months, version = :version
     where id = :id
""")


def _institution_values(value: Institution) -> dict[str, Any]:
    values = msgspec.structs.asdict(value)
    del values["products"], values["models"]
    return values | {"purposes": list(value.purposes), "own_items": list(value.own_items)}


async def insert_institution(connection: AsyncConnection, value: Institution) -> bool:
    """Whether it is new: neither the id nor the code was registered."""
    if (await connection.execute(_INSERT_INSTITUTION, _institution_values(value))).one_or_none() is None:
        return False
    await _insert_products(connection, value)
    await _put_models(connection, value)
    return True


async def update_institution(connection: AsyncConnection, value: Institution) -> None:
    """Replace what may change, and all products."""
    values = _institution_values(value)
    await connection.execute(_UPDATE_INSTITUTION, {k: v for k, v in values.items() if k not in {"kind", "uscc"}})
    await connection.execute(text("delete from product where institution_id = :id"), {"id": value.id})
    await _insert_products(connection, value)
    await _put_models(connection, value)


async def _insert_products(connection: AsyncConnection, value: Institution) -> None:
    for product in value.products:
        await connection.execute(
            text("""
                insert into product (institution_id, code, name_zh, name_en, purposes, items)
                values (:institution_id, :code, :name_zh, :name_en, cast(:purposes as text[]), cast(:items as text[]))
            """),
            {
                "institution_id": value.id,
                "code": product.code,
                "name_zh": product.name_zh,
                "name_en": product.name_en,
                "purposes": list(product.purposes),
                "items": None if product.items is None else list(product.items),
            },
        )


_RETIRE_MODELS = text("update model set status = 'retired' where institution_id = :id and status = 'active'")
_PUT_MODEL = text("""
    insert into model (id, institution_id, name_zh, name_en, items, status)
    values (:id, :institution_id, :name_zh, :name_en, cast(:items as text[]), 'active')
    on conflict (id) do update
       set name_zh = excluded.name_zh, name_en = excluded.name_en, items = excluded.items, status = 'active'
     where model.institution_id = excluded.institution_id
    returning id
""")


async def _put_models(connection: AsyncConnection, value: Institution) -> None:
    """Its models are these; a model's id stays its institution's for good.

    Raises:
        Conflict: another institution's model has the id.
    """
    await connection.execute(_RETIRE_MODELS, {"id": value.id})
    for model in value.models:
        values = msgspec.structs.asdict(model) | {"institution_id": value.id, "items": list(model.items)}
        if (await connection.execute(_PUT_MODEL, values)).one_or_none() is None:
            raise Conflict("该模型标识已由其他机构登记。", "Another institution's model has this id.", code="model.registered")


# ---------------------------------------------------------------- clients
_CLIENT = text("""
    select c.id, c.institution_id, i.kind as institution_kind, c.name, cast(c.jwks as text) as jwks,
           c.redirect_uris, c.scopes, c.auth_method, c.certificates, cast(c.terminals as text) as terminals,
           c.allowed_items, c.allowed_purposes, c.status, c.version
      from client c join institution i on i.id = c.institution_id
     where c.id = :id
""")


async def client(connection: AsyncConnection, client_id: str) -> Client | None:
    """The client with its institution's kind."""
    row = (await connection.execute(_CLIENT, {"id": client_id})).one_or_none()
    if row is None:
        return None
    values = dict(row._mapping)
    for name in ("jwks", "terminals"):
        values[name] = msgspec.json.decode(values[name])
    return msgspec.convert(values, Client)


def _client_values(value: Client) -> dict[str, Any]:
    values = msgspec.structs.asdict(value)
    del values["institution_kind"]
    return values | {
        "jwks": msgspec.json.encode(value.jwks).decode(),
        "redirect_uris": list(value.redirect_uris),
        "scopes": list(value.scopes),
        "certificates": list(value.certificates),
        "terminals": msgspec.json.encode(value.terminals).decode(),
        "allowed_items": None if value.allowed_items is None else list(value.allowed_items),
        "allowed_purposes": None if value.allowed_purposes is None else list(value.allowed_purposes),
    }


async def insert_client(connection: AsyncConnection, value: Client) -> bool:
    """Whether the id is new."""
    statement = text("""
        insert into client (id, institution_id, name, jwks, redirect_uris, scopes, auth_method, certificates, terminals,
                            allowed_items, allowed_purposes, status, version)
        values (:id, :institution_id, :name, cast(:jwks as jsonb), cast(:redirect_uris as text[]), cast(:scopes as text[]),
                :auth_method, cast(:certificates as text[]), cast(:terminals as jsonb), cast(:allowed_items as text[]),
                cast(:allowed_purposes as text[]), :status, :version)
        on conflict do nothing
        returning id
    """)
    return (await connection.execute(statement, _client_values(value))).one_or_none() is not None


async def update_client(connection: AsyncConnection, value: Client) -> None:
    """Replace what may change; tokens issued before die, since they carry the former keys and scopes.

    Those that expired are left alone: the sweep may be deleting them, and nobody waits for it under the ledger's lock.
    """
    statement = text("""
        update client set name = :name, jwks = cast(:jwks as jsonb), redirect_uris = cast(:redirect_uris as text[]),
               scopes = cast(:scopes as text[]), auth_method = :auth_method,
               certificates = cast(:certificates as text[]), terminals = cast(:terminals as jsonb),
               allowed_items = cast(:allowed_items as text[]), allowed_purposes = cast(:allowed_purposes as text[]),
               status = :status, version = :version
         where id = :id
    """)
    values = _client_values(value)
    del values["institution_id"]
    await connection.execute(statement, values)
    statement = text("""
        update access_token set revoked_at = clock_timestamp()
         where client_id = :id and revoked_at is null and expires_at > clock_timestamp()
    """)
    await connection.execute(statement, {"id": value.id})


# ---------------------------------------------------------------- subjects
async def subject(connection: AsyncConnection, subject_id: UUID) -> Subject | None:
    """The subject by its id."""
    return await _subject(connection, "id", subject_id)


async def subject_by_uscc(connection: AsyncConnection, uscc: str) -> Subject | None:
    """The subject by its 统一社会信用代码."""
    return await _subject(connection, "uscc", uscc)


async def _subject(connection: AsyncConnection, column: str, value: object) -> Subject | None:
    statement = text(f"select id, kind, uscc, name, level, status, version from subject where {column} = :value")
    row = (await connection.execute(statement, {"value": value})).one_or_none()
    return None if row is None else Subject(**row._mapping)


async def insert_subject(connection: AsyncConnection, value: Subject) -> bool:
    """Whether the code is new."""
    statement = text("""
        insert into subject (id, kind, uscc, name, level, status, version)
        values (:id, :kind, :uscc, :name, :level, :status, :version)
        on conflict do nothing
        returning id
    """)
    return (await connection.execute(statement, msgspec.structs.asdict(value))).one_or_none() is not None


async def update_subject(connection: AsyncConnection, value: Subject) -> None:
    """Replace name, level and status."""
    statement = text("update subject set name = :name, level = :level, status = :status, version = :version where id = :id")
    values = msgspec.structs.asdict(value)
    await connection.execute(statement, {name: values[name] for name in ("id", "name", "level", "status", "version")})


async def raise_versions_of_linked(connection: AsyncConnection, person_id: UUID) -> None:
    """As `raise_version`, for the enterprises to which a person is linked: what she granted towards them counts with her standing."""
    statement = text("""
        update subject set version = version + 1
         where id in (select enterprise_id from person_link where person_id = :person_id and ended_at is null)
    """)
    await connection.execute(statement, {"person_id": person_id})


async def raise_version(connection: AsyncConnection, subject_ids: Sequence[UUID]) -> None:
    """Tell decisions in flight that facts of these subjects changed, so that they are made again."""
    await connection.execute(text("update subject set version = version + 1 where id = any(:ids)"), {"ids": list(subject_ids)})


async def insert_link(connection: AsyncConnection, person_id: UUID, enterprise_id: UUID, role: LinkRole, verified_at: datetime) -> bool:
    """Link, or link again after an end. False if the link stands already."""
    statement = text("""
        insert into person_link (person_id, enterprise_id, role, verified_at)
        values (:person_id, :enterprise_id, :role, :verified_at)
        on conflict (person_id, enterprise_id, role) do update
           set verified_at = excluded.verified_at, ended_at = null where person_link.ended_at is not null
        returning person_id
    """)
    parameters = {"person_id": person_id, "enterprise_id": enterprise_id, "role": role, "verified_at": verified_at}
    return (await connection.execute(statement, parameters)).one_or_none() is not None


async def end_link(connection: AsyncConnection, person_id: UUID, enterprise_id: UUID, role: LinkRole, at: datetime) -> bool:
    """Whether there was a standing link to end."""
    statement = text("""
        update person_link set ended_at = :at
         where person_id = :person_id and enterprise_id = :enterprise_id and role = :role and ended_at is null
        returning person_id
    """)
    parameters = {"person_id": person_id, "enterprise_id": enterprise_id, "role": role, "at": at}
    return (await connection.execute(statement, parameters)).one_or_none() is not None


async def linked_enterprises(connection: AsyncConnection, person_id: UUID) -> list[Subject]:
    """The enterprises to which a person is linked now, by code."""
    statement = text("""
        select id, kind, uscc, name, level, status, version from subject
         where id in (select enterprise_id from person_link where person_id = :person_id and ended_at is null)
         order by uscc
    """)
    return [Subject(**row._mapping) for row in await connection.execute(statement, {"person_id": person_id})]


# ---------------------------------------------------------------- pseudonyms
async def pseudonyms(connection: AsyncConnection, pairs: Sequence[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """The pseudonyms that exist for these (institution id, identifier)."""
    statement = text("""
        select p.institution_id, p.identifier, p.pseudonym
          from unnest(cast(:institutions as text[]), cast(:identifiers as text[])) as asked (institution_id, identifier)
          join pseudonym p using (institution_id, identifier)
    """)
    rows = await connection.execute(statement, {"institutions": [i for i, _ in pairs], "identifiers": [d for _, d in pairs]})
    return {(row.institution_id, row.identifier): row.pseudonym for row in rows}


async def insert_pseudonyms(connection: AsyncConnection, new: Sequence[tuple[str, str, str]]) -> None:
    """Insert (institution id, identifier, pseudonym) where none stands, sorted, so that two inserts never wait in a ring."""
    ordered = sorted(new)
    statement = text("""
        insert into pseudonym (institution_id, identifier, pseudonym)
        select * from unnest(cast(:institutions as text[]), cast(:identifiers as text[]), cast(:pseudonyms as text[]))
        on conflict (institution_id, identifier) do nothing
    """)
    columns = list(zip(*ordered, strict=True))
    parameters = {"institutions": list(columns[0]), "identifiers": list(columns[1]), "pseudonyms": list(columns[2])}
    await connection.execute(statement, parameters)
