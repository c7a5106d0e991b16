"""What becomes of a pushed request: the use cases behind the consent page, and the redirect back to the client.

The request is used up when the person decides, not when she looks (FAPI 2.0 Security Profile §5.3.2.2), inside the ledger's transaction
with the grant and the code; so a second approval of the same page finds it gone, in whichever process. Until a request has been found
valid nothing redirects: errors before that are shown to the person (RFC 6749 §4.1.2.1).
"""

import re
import secrets
from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

import msgspec
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from consent.catalogue.model import Catalogue
from consent.errors import Conflict, Forbidden, InvalidRequest, NotFound
from consent.grants import service as grants
from consent.grants import store as grants_store
from consent.grants.model import Detail, Grant, GrantedBy, Notice
from consent.grants.renewal import renew
from consent.ledger.writer import LedgerTransaction
from consent.oauth.model import CODE_SECONDS, FINISH_SECONDS, REQUEST_URI_PREFIX, PushedRequest
from consent.oauth.par import Parameters
from consent.oauth.store import secret_hash
from consent.parties import store as parties_store
from consent.parties.access import SubjectVisitor

_REQUEST_URI = re.compile(re.escape(REQUEST_URI_PREFIX) + r"([A-Za-z0-9_-]{43})")

_PUSHED = text("""
    select p.hash, p.id, p.client_id, cast(p.parameters as text) as parameters, cast(p.details as text) as details, p.dpop_jkt,
           p.created_at, p.expires_at, c.name as client_name, c.redirect_uris,
           i.id as institution_id, i.kind as institution_kind, i.name_zh, i.name_en,
           (select cast(coalesce(jsonb_object_agg(code, jsonb_build_array(name_zh, name_en)), '{}') as text)
              from product where institution_id = i.id) as products
      from pushed_request p
      join client c on c.id = p.client_id and c.status = 'active'
      join institution i on i.id = c.institution_id
     where p.hash = :hash and p.client_id = :client_id and p.consumed_at is null
       and p.expires_at + cast(:grace as interval) > clock_timestamp()
""")
_decode_details = msgspec.json.Decoder(tuple[Detail, ...]).decode
_decode_parameters = msgspec.json.Decoder(Parameters).decode
_decode_products = msgspec.json.Decoder(dict[str, tuple[str, str]]).decode


@dataclass(frozen=True, slots=True)
class Parties:
    """Who grants, and for whose financing. They differ where a person grants what concerns her (单独同意)."""

    subject_id: UUID
    enterprise_id: UUID
    by: GrantedBy


async def open_pushed(connection: AsyncConnection, client_id: str, request_uri: str) -> PushedRequest:
    """The request at the authorization endpoint, within the lifetime of its request_uri.

    Raises:
        NotFound: unknown, of another client, expired, decided already, or its client is no longer active; all alike.
    """
    return await _load(connection, client_id, request_uri, timedelta(0))


async def load_pushed(connection: AsyncConnection, client_id: str, request_uri: str) -> PushedRequest:
    """The request on the consent page, which may be finished for some time after it was opened.

    Raises:
        NotFound: as `open_pushed`.
    """
    return await _load(connection, client_id, request_uri, timedelta(seconds=FINISH_SECONDS))


async def _load(connection: AsyncConnection, client_id: str, request_uri: str, grace: timedelta) -> PushedRequest:
    match = _REQUEST_URI.fullmatch(request_uri)
    if match is None or len(client_id) > 128 or not client_id.isascii() or not client_id.isprintable():
        raise _gone()
    parameters = {"hash": secret_hash(match[1]), "client_id": client_id, "grace": grace}
    row = (await connection.execute(_PUSHED, parameters)).one_or_none()
    pushed = None if row is None else _read(row)
    if row is None or pushed is None or pushed.redirect_uri not in row.redirect_uris:
        # A redirect address that is no longer registered must not be redirected to, so the request is dead.
        raise _gone()
    return pushed


def _read(row: Any) -> PushedRequest:
    parameters, details = _decode_parameters(row.parameters), _decode_details(row.details)
    named = {detail.product for detail in details}
    return PushedRequest(
        hash=row.hash,
        id=row.id,
        client_id=row.client_id,
        client_name=row.client_name,
        institution_id=row.institution_id,
        institution_kind=row.institution_kind,
        institution_zh=row.name_zh,
        institution_en=row.name_en,
        products={code: names for code, names in _decode_products(row.products).items() if code in named},
        details=details,
        redirect_uri=parameters.redirect_uri,
        state=parameters.state,
        code_challenge=parameters.code_challenge,
        dpop_jkt=row.dpop_jkt,
        login_hint=parameters.login_hint,
        renewal=parameters.renewal,
        grant_id=parameters.grant_id,
        created_at=row.created_at,
        expires_at=row.expires_at,
    )


async def parties(
    connection: AsyncConnection, pushed: PushedRequest, visitor: SubjectVisitor, enterprise_id: UUID | None = None
) -> Parties:
    """For whom this visitor may answer this request.

    Args:
        enterprise_id: which of several enterprises a person means, where the request does not say.

    Raises:
        Forbidden: `login_hint.mismatch`, the request names another enterprise; `subject.not_linked`, the person belongs to none that fits.
        Conflict: `enterprise.choice_needed`, a person with several enterprises has to say which.
    """
    subject = await parties_store.subject(connection, visitor.subject_id)
    if subject is None:
        raise _not_hers("subject.not_linked")
    if pushed.grant_id is not None:
        grant = await grants_store.grant(connection, pushed.grant_id)
        if grant is None or grant.subject_id != subject.id or enterprise_id not in {None, grant.enterprise_id}:
            raise _not_hers("login_hint.mismatch")
        if pushed.login_hint not in {None, grant.enterprise}:
            raise _not_hers("login_hint.mismatch")
        return Parties(subject.id, grant.enterprise_id, grant.granted_by)
    if subject.kind != "person":
        if pushed.login_hint not in {None, subject.uscc} or enterprise_id not in {None, subject.id}:
            raise _not_hers("login_hint.mismatch")
        return Parties(subject.id, subject.id, "enterprise")
    linked = await parties_store.linked_enterprises(connection, subject.id)
    fitting = [e for e in linked if pushed.login_hint in {None, e.uscc} and enterprise_id in {None, e.id}]
    if not fitting:
        raise _not_hers("login_hint.mismatch" if linked and pushed.login_hint else "subject.not_linked")
    if len(fitting) > 1:
        raise Conflict(
            "您关联了多家企业，请先选择本次为哪一家授权。",
            "You are linked to several enterprises; choose for which one this is.",
            code="enterprise.choice_needed",
        )
    return Parties(subject.id, fitting[0].id, "person")


def approvable(pushed: PushedRequest, catalogue: Catalogue, by: GrantedBy) -> frozenset[str]:
    """Identifiers that this party may tick: a person's own items only she, the enterprise's only the enterprise."""

    def may(detail: Detail) -> bool:
        item = catalogue.item(detail.item)
        if item is None:
            return False
        # Who consents has no meaning for what is openly shared.
        whose = "enterprise" if item.provision == "open" and item.consent_subject == "person" else item.consent_subject
        return whose in {by, "enterprise_or_person"}

    return frozenset(detail.name for detail in pushed.details if may(detail))


async def complete(
    tx: LedgerTransaction,
    pushed: PushedRequest,
    who: Parties,
    *,
    catalogue: Catalogue,
    issuer: str,
    approved: Collection[str],
    notice: Notice,
) -> str:
    """Grant what was chosen, and issue a code for it.

    Args:
        approved: identifiers of the details that were ticked; none of them is a refusal of the whole request.
        notice: the risk notice that was shown and acknowledged.

    Returns:
        Where to send the browser with 303: the registered redirect address with code, state and iss (RFC 9207).

    Raises:
        Conflict: the request was decided already, or has expired, or its client is no longer active.
        InvalidRequest, Forbidden, NotFound: as `consent.grants.service.approve`. Whatever is raised, nothing was changed.
    """
    if not approved:
        return await refuse(tx, pushed, who, issuer=issuer, notice=notice)
    await _consume(tx, pushed)
    if pushed.renewal is not None and pushed.grant_id is not None:
        grant = await renew(
            tx,
            pushed.renewal,
            pushed.grant_id,
            catalogue=catalogue,
            request_id=pushed.id,
            client_id=pushed.client_id,
            subject_id=who.subject_id,
            details=pushed.details,
            approved=approved,
            notice=notice,
        )
    else:
        grant = await _approve(tx, pushed, who, catalogue, approved, notice)
    code = secrets.token_urlsafe(32)
    await tx.connection.execute(
        _INSERT_CODE,
        {
            "hash": secret_hash(code),
            "client_id": pushed.client_id,
            "grant_id": grant.id,
            "redirect_uri": pushed.redirect_uri,
            "code_challenge": pushed.code_challenge,
            "dpop_jkt": pushed.dpop_jkt,
            "lifetime": timedelta(seconds=CODE_SECONDS),
        },
    )
    return _redirect(pushed, issuer, code=code)


async def _approve(
    tx: LedgerTransaction, pushed: PushedRequest, who: Parties, catalogue: Catalogue, approved: Collection[str], notice: Notice
) -> Grant:
    return await grants.approve(
        tx,
        catalogue=catalogue,
        request_id=pushed.id,
        institution_id=pushed.institution_id,
        client_id=pushed.client_id,
        subject_id=who.subject_id,
        enterprise_id=who.enterprise_id,
        by=who.by,
        details=pushed.details,
        approved=approved,
        notice=notice,
    )


async def refuse(tx: LedgerTransaction, pushed: PushedRequest, who: Parties, *, issuer: str, notice: Notice) -> str:
    """Record that the request was refused as a whole.

    Returns:
        Where to send the browser with 303: the redirect address with error=access_denied, state and iss.

    Raises:
        Conflict: the request was decided already, or has expired, or its client is no longer active.
    """
    await _consume(tx, pushed)
    await grants.refuse(tx, request_id=pushed.id, institution_id=pushed.institution_id, enterprise_id=who.enterprise_id, notice=notice)
    return _redirect(pushed, issuer, error="access_denied")


_CONSUME = text("""
    update pushed_request set consumed_at = :at
     where hash = :hash and consumed_at is null and expires_at + cast(:grace as interval) > clock_timestamp()
       and exists (select 1 from client c where c.id = pushed_request.client_id and c.status = 'active')
    returning id
""")
_INSERT_CODE = text("""
    insert into authorization_code (hash, client_id, grant_id, redirect_uri, code_challenge, dpop_jkt, expires_at)
    values (:hash, :client_id, :grant_id, :redirect_uri, :code_challenge, :dpop_jkt, clock_timestamp() + cast(:lifetime as interval))
""")


async def _consume(tx: LedgerTransaction, pushed: PushedRequest) -> None:
    parameters = {"hash": pushed.hash, "at": tx.time, "grace": timedelta(seconds=FINISH_SECONDS)}
    if (await tx.connection.execute(_CONSUME, parameters)).one_or_none() is None:
        raise Conflict(
            "该授权请求已处理过，或已过期。请回到银行重新发起。",
            "This request was decided already or has expired. Start again at the bank.",
            code="request.answered",
        )


def _redirect(pushed: PushedRequest, issuer: str, **answer: str) -> str:
    """The registered address may have a query of its own; it never has a fragment (`consent.parties.jwks.check_redirect_uris`)."""
    if pushed.state is not None:
        answer["state"] = pushed.state
    query = urlencode(answer | {"iss": issuer})
    return f"{pushed.redirect_uri}{'&' if '?' in pushed.redirect_uri else '?'}{query}"


def check_authorization_query(query: dict[str, str]) -> tuple[str, str]:
    """`client_id` and `request_uri`, which are all that may stand at the authorization endpoint: everything else was pushed.

    Raises:
        InvalidRequest: one is missing, or there is something else. Nobody is redirected for it.
    """
    if set(query) != {"client_id", "request_uri"}:
        raise InvalidRequest(
            "授权链接不完整或含有多余参数。请回到银行重新发起。",
            "The link takes client_id and request_uri, and nothing else. Start again at the bank.",
        )
    return query["client_id"], query["request_uri"]


def _gone() -> NotFound:
    return NotFound(
        "授权请求不存在、已处理或已过期。请回到银行重新发起。",
        "This request does not exist, was decided already, or has expired. Start again at the bank.",
        code="request.gone",
    )


def _not_hers(code: str) -> Forbidden:
    return Forbidden("该授权请求不是发给您所代表的企业的。", "This request is not addressed to the enterprise you act for.", code=code)
