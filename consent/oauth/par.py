"""Pushed authorization requests (RFC 9126): the one way to ask an enterprise for anything.

A request is judged as a whole before anybody sees it: what it asks beyond its purpose refuses all of it, with a verdict, a code and a
solution per detail, and the refusal is recorded. What passes is stored exactly as judged, so the page cannot show less than is granted.
"""

import re
import secrets
from collections.abc import Container, Sequence
from datetime import datetime, timedelta
from typing import Any, get_args

import msgspec
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from consent import errors as domain
from consent.catalogue.model import Catalogue
from consent.clock import utc_now
from consent.db import read
from consent.decisions.requests import Judgement, Verdict
from consent.errors import PolicyUnavailable
from consent.grants import store as grants_store
from consent.grants.details import parse_details
from consent.grants.model import Detail
from consent.grants.records import ledger_detail
from consent.grants.renewal import Renewal
from consent.ledger import events, parts
from consent.ledger.evidence import Evidence
from consent.ledger.in_force import check_in_force
from consent.ledger.writer import write
from consent.oauth.assertion import PARAMETERS as AUTHENTICATION
from consent.oauth.authentication import Authenticated, RegisteredClient
from consent.oauth.dpop import JKT
from consent.oauth.errors import (
    InvalidAuthorizationDetails,
    InvalidGrantId,
    InvalidRequest,
    InvalidScope,
    UnauthorizedClient,
    UnsupportedResponseType,
)
from consent.oauth.form import Form, check_names, required
from consent.oauth.jar import read_request_object
from consent.oauth.model import REQUEST_URI_PREFIX, REQUEST_URI_SECONDS, RequestJudge
from consent.oauth.store import secret_hash
from consent.parties import service as parties
from consent.parties.model import parse_uscc

PARAMETERS = AUTHENTICATION | {
    "response_type",
    "response_mode",
    "redirect_uri",
    "code_challenge",
    "code_challenge_method",
    "state",
    "scope",
    "dpop_jkt",
    "login_hint",
    "authorization_details",
    "grant_management_action",
    "grant_id",
}
LONGEST_GRANT = timedelta(days=366 * 10)
MAX_STATE = 4096

_CHALLENGE = re.compile(r"[A-Za-z0-9_-]{43}")


class Parameters(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept of the request besides its details, in the shape of `pushed_request.parameters`.

    renewal, grant_id  how the consent changes which grant; both None for a new one
    """

    redirect_uri: str
    code_challenge: str
    state: str | None = None
    login_hint: str | None = None
    renewal: Renewal | None = None
    grant_id: str | None = None


class PushedReply(msgspec.Struct, frozen=True):
    """RFC 9126 §2.2."""

    request_uri: str
    expires_in: int


async def push(
    engine: AsyncEngine, catalogue: Catalogue, judge: RequestJudge, issuer: str, caller: Authenticated, form: Form
) -> PushedReply:
    """Check, judge and keep the request of an authenticated client.

    Raises:
        InvalidRequestObject: as `consent.oauth.jar.read_request_object`.
        InvalidRequest, InvalidScope, UnauthorizedClient, UnsupportedResponseType: the request is malformed or not the client's to make.
        InvalidGrantId: the grant to be changed is not this client's, or has ended.
        InvalidAuthorizationDetails: the details are malformed, or refused with verdicts (then recorded as grant.request_refused).
        PolicyUnavailable, Superseded, DatabaseUnavailable: nothing was decided or recorded.
    """
    client = caller.client
    form = _open_object(client, issuer, form)
    parameters = _check_parameters(client, form)
    dpop_jkt = _check_jkt(form, caller.jkt)
    await _check_grant(engine, client, parameters)
    details = _read_details(required(form, "authorization_details"), utc_now())
    await _check_named(engine, details)
    request_id = secrets.token_urlsafe(16)
    judgement = await judge.judge(client.institution_id, details, client.allowed)
    accepted = _accept(details, judgement, catalogue)
    if accepted is None:
        await _record_refusal(engine, catalogue, client, request_id, details, judgement)
        raise InvalidAuthorizationDetails(
            "The request asks for more than it may have; see the verdicts.", _told(judgement), judgement.excess
        )
    return await _keep(engine, catalogue, client, request_id, parameters, dpop_jkt, accepted, judgement)


def _open_object(client: RegisteredClient, issuer: str, form: Form) -> Form:
    """What the request object carries, where there is one; what stands beside it counts for nothing (RFC 9101 §6.3)."""
    if "request" not in form:
        return form
    check_names(form, PARAMETERS | {"request"})
    return read_request_object(form["request"], client.id, client.keys, issuer, PARAMETERS - AUTHENTICATION, utc_now())


def _check_parameters(client: RegisteredClient, form: Form) -> Parameters:
    """Every parameter but the details. A `request_uri` among them is refused like any other that does not belong here (RFC 9126 §2.1)."""
    check_names(form, PARAMETERS)
    if required(form, "response_type") != "code" or form.get("response_mode", "query") != "query":
        raise UnsupportedResponseType("The response_type is code, in the query.")
    if not client.redirect_uris:
        raise UnauthorizedClient("The client is not registered for the authorization code flow.")
    redirect_uri = required(form, "redirect_uri")
    if redirect_uri not in client.redirect_uris:
        raise InvalidRequest("The redirect_uri is not one of those registered; they are compared character by character.")
    code_challenge = required(form, "code_challenge")
    if form.get("code_challenge_method") != "S256" or _CHALLENGE.fullmatch(code_challenge) is None:
        raise InvalidRequest("The code_challenge is 43 characters of base64url, its method S256.")
    if form.get("scope"):
        raise InvalidScope("This flow carries authorization_details and no scope; scopes belong to client_credentials.")
    return Parameters(
        redirect_uri=redirect_uri,
        code_challenge=code_challenge,
        state=_check_state(form.get("state")),
        login_hint=_check_hint(form.get("login_hint")),
        **_check_management(form),
    )


def _check_management(form: Form) -> dict[str, Any]:
    """FAPI Grant Management §4.1; without an action a new grant is made."""
    action, grant_id = form.get("grant_management_action", "create"), form.get("grant_id")
    if action == "create":
        if grant_id is not None:
            raise InvalidRequest("A grant_id goes with the grant_management_action replace or merge.")
        return {}
    if action not in get_args(Renewal):
        raise InvalidRequest("The grant_management_action is create, replace or merge.")
    return {"renewal": action, "grant_id": required(form, "grant_id")}


async def _check_grant(engine: AsyncEngine, client: RegisteredClient, parameters: Parameters) -> None:
    """A grant of another client answers like one that does not exist."""
    if parameters.grant_id is None:
        return
    grant = None
    if len(parameters.grant_id) <= 128:
        async with read(engine) as connection:
            grant = await grants_store.grant(connection, parameters.grant_id)
    if grant is None or grant.client_id != client.id or grant.status != "active":
        raise InvalidGrantId


def _check_state(state: str | None) -> str | None:
    """RFC 6749 Appendix A.5: printable ASCII, so that nothing in it can end a header line."""
    if state is not None and not (1 <= len(state) <= MAX_STATE and state.isascii() and state.isprintable()):
        raise InvalidRequest("The state is 1 to 4096 printable characters of ASCII.")
    return state


def _check_hint(hint: str | None) -> str | None:
    if hint is None:
        return None
    try:
        return parse_uscc(hint)
    except domain.InvalidRequest:
        raise InvalidRequest("The login_hint is a unified social credit code with a correct check character.") from None


def _check_jkt(form: Form, proven: str | None) -> str | None:
    """The key that the code will be bound to: named as dpop_jkt, shown by a proof, or both alike (RFC 9449 §10.1)."""
    named = form.get("dpop_jkt")
    if named is not None and (JKT.fullmatch(named) is None or proven not in {None, named}):
        raise InvalidRequest("The dpop_jkt is the SHA-256 thumbprint of the key of the DPoP proof.")
    return named or proven


def _read_details(body: str, now: datetime) -> tuple[Detail, ...]:
    try:
        details = parse_details(body)
    except domain.InvalidRequest as error:
        raise InvalidAuthorizationDetails(f"{error.en} At {error.member}.") from None
    for detail in details:
        if not now < detail.valid_until <= now + LONGEST_GRANT:
            raise InvalidAuthorizationDetails("Each valid_until lies in the future, at most ten years ahead.")
        if detail.data_from and not detail.data_from <= detail.valid_until.date():
            raise InvalidAuthorizationDetails("Each data_from lies before its valid_until.")
    # From here on every detail has a name, by which verdicts speak of it.
    return tuple(msgspec.structs.replace(d, identifier=d.identifier or f"d{n}") for n, d in enumerate(details, 1))


async def _check_named(engine: AsyncEngine, details: Sequence[Detail]) -> None:
    """Conduits and processors are registered institutions: the ledger names nobody else."""
    named = {name for detail in details for name in (*detail.via, *([detail.processor] if detail.processor else []))}
    if named:
        async with read(engine) as connection:
            unknown = await parties.unregistered(connection, named)
        if unknown:
            raise InvalidAuthorizationDetails("Each via and processor is the id of a registered institution.")


def _accept(details: Sequence[Detail], judgement: Judgement, catalogue: Catalogue) -> tuple[Detail, ...] | None:
    """The details in full, None if any of them is not kept.

    Raises:
        PolicyUnavailable: the judgement does not fit the request or the catalogue, so it is none.
    """
    if [verdict.identifier for verdict in judgement.verdicts] != [detail.name for detail in details]:
        raise PolicyUnavailable
    if any(verdict.verdict != "keep" for verdict in judgement.verdicts):
        if not any(verdict.codes for verdict in judgement.verdicts):
            raise PolicyUnavailable
        return None
    return tuple(_complete(detail, verdict, catalogue) for detail, verdict in zip(details, judgement.verdicts, strict=True))


def _complete(detail: Detail, verdict: Verdict, catalogue: Catalogue) -> Detail:
    """What was kept, with every field spelled out. The policies may leave fields away, but never add any."""
    item = catalogue.items.get(detail.item)
    if item is None or not item.selectable or detail.purpose not in catalogue.purposes:
        raise PolicyUnavailable
    all_fields = catalogue.field_codes[detail.item]
    asked = set(detail.fields or all_fields)
    if not verdict.fields or not set(verdict.fields) <= asked or not asked <= set(all_fields):
        raise PolicyUnavailable
    return detail.completed(identifier=detail.name, fields=[code for code in all_fields if code in verdict.fields])


def _told(judgement: Judgement) -> list[dict[str, object]]:
    return [
        {"identifier": v.identifier, "verdict": v.verdict, "codes": list(v.codes), "solution": dict(v.solution), "advice": v.advice}
        for v in judgement.verdicts
    ]


async def _record_refusal(
    engine: AsyncEngine, catalogue: Catalogue, client: RegisteredClient, request_id: str, details: Sequence[Detail], judgement: Judgement
) -> None:
    evidence = Evidence()
    event = events.GrantRequestRefused(
        request=request_id,
        institution=client.institution_id,
        client=client.id,
        verdicts=tuple(
            _recorded(detail, verdict, catalogue, judgement.products, evidence.commit(f"verdicts.{n}.identifier_digest", detail.name))
            for n, (detail, verdict) in enumerate(zip(details, judgement.verdicts, strict=True))
        ),
        excess=judgement.excess,
        policy=judgement.policy,
        catalogue=catalogue.version,
    )
    data = events.encode(event)
    async with write(engine) as tx:
        await check_in_force(tx.connection, catalogue=catalogue.version, policy=judgement.policy)
        tx.append_encoded(event.TYPE, data, evidence)


def _recorded(detail: Detail, verdict: Verdict, catalogue: Catalogue, products: Container[str], identifier_digest: str) -> parts.Verdict:
    """A verdict as the ledger holds it: whatever the caller wrote that names nothing of ours stands as `unknown` (design §3.9)."""
    is_word = detail.purpose in catalogue.purposes or detail.purpose in catalogue.not_financing
    return parts.Verdict(
        identifier_digest=identifier_digest,
        item=detail.item if detail.item in catalogue.items else "unknown",
        action=detail.action,
        purpose=detail.purpose if is_word else "unknown",
        product=None if not detail.product else detail.product if detail.product in products else "unknown",
        verdict=verdict.verdict,
        codes=verdict.codes,
    )


_INSERT = text("""
    insert into pushed_request (hash, id, client_id, parameters, details, dpop_jkt, created_at, expires_at)
    values (:hash, :id, :client_id, cast(:parameters as jsonb), cast(:details as jsonb), :dpop_jkt, :created_at,
            clock_timestamp() + cast(:lifetime as interval))
""")


async def _keep(
    engine: AsyncEngine,
    catalogue: Catalogue,
    client: RegisteredClient,
    request_id: str,
    parameters: Parameters,
    dpop_jkt: str | None,
    details: tuple[Detail, ...],
    judgement: Judgement,
) -> PushedReply:
    event = events.GrantRequested(
        request=request_id,
        institution=client.institution_id,
        client=client.id,
        details=tuple(ledger_detail(seq, detail) for seq, detail in enumerate(details, 1)),
        excess=judgement.excess,
        policy=judgement.policy,
        catalogue=catalogue.version,
    )
    try:
        data = events.encode(event)
    except msgspec.ValidationError:  # a registered id in a shape that the ledger does not take, for it could be somebody's number
        raise InvalidAuthorizationDetails("A member of the details has a value that cannot be recorded.") from None
    secret = secrets.token_urlsafe(32)
    async with write(engine) as tx:
        await check_in_force(tx.connection, catalogue=catalogue.version, policy=judgement.policy)
        tx.append_encoded(event.TYPE, data)
        await _insert(tx.connection, secret, request_id, client.id, parameters, dpop_jkt, details, tx.time)
    return PushedReply(REQUEST_URI_PREFIX + secret, REQUEST_URI_SECONDS)


async def _insert(
    connection: AsyncConnection,
    secret: str,
    request_id: str,
    client_id: str,
    parameters: Parameters,
    dpop_jkt: str | None,
    details: tuple[Detail, ...],
    created_at: datetime,
) -> None:
    row = {
        "hash": secret_hash(secret),
        "id": request_id,
        "client_id": client_id,
        "parameters": msgspec.json.encode(parameters).decode(),
        "details": msgspec.json.encode(details).decode(),
        "dpop_jkt": dpop_jkt,
        "created_at": created_at,
        "lifetime": timedelta(seconds=REQUEST_URI_SECONDS),
    }
    await connection.execute(_INSERT, row)
