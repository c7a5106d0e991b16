"""The consent page: shows a pushed request in plain words and hands on what was ticked.

What is shown is what is granted: page and post read the same stored request, and the form carries a digest of everything that the page
was made from, so a page whose catalogue or risk notice has changed meanwhile is shown again instead of being accepted. Nothing is
ticked beforehand; boxes are named by position, never by the client's text.
"""

import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from litestar import Response, get, post
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from consent.catalogue.model import Catalogue
from consent.db import read
from consent.errors import Conflict, ConsentError, InvalidRequest, NotFound
from consent.grants import store as grants_store
from consent.grants.model import Detail, Grant, Notice
from consent.ledger.writer import write
from consent.oauth import authorization
from consent.oauth.authorization import Parties
from consent.oauth.model import FINISH_SECONDS, REQUEST_URI_PREFIX, PushedRequest
from consent.oauth.store import secret_hash
from consent.parties import store as parties_store
from consent.parties.access import SubjectVisitor
from consent.parties.model import Institution, Subject
from consent.settings import Settings
from consent.web import notice, words
from consent.web.access import AnyRequest, Injected
from consent.web.form import Form
from consent.web.items import Bar, ItemView, item_view
from consent.web.login import CONSENT_PATH, see_other
from consent.web.my_grants import names_of
from consent.web.security import page_policy
from consent.web.templates import page
from consent.web.words import Words


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request with everything that its page says.

    who        who answers for whose financing; `enterprise` is the latter
    positions  the details by the names of their boxes, d1 to dn
    tickable   names of the boxes that this visitor may tick
    renewed    the grant that her consent would change
    """

    pushed: PushedRequest
    who: Parties
    institution: Institution
    subject: Subject
    enterprise: Subject
    positions: dict[str, Detail]
    tickable: frozenset[str]
    items: list[ItemView]
    renewed: Grant | None


@dataclass(frozen=True, slots=True)
class Address:
    """Which request a page is about, as it stands in the address and in the form."""

    client_id: str
    request_uri: str
    enterprise: str

    def enterprise_id(self) -> UUID | None:
        """The enterprise that a person chose, None if she did not have to.

        Raises:
            InvalidRequest: not one of our ids.
        """
        try:
            return UUID(self.enterprise) if self.enterprise else None
        except ValueError:
            raise InvalidRequest("链接不完整，请回到机构重新发起。", "The link is incomplete. Start again at the institution.") from None


@dataclass(frozen=True, slots=True)
class Fault:
    """Something to see to, and the id of the element where."""

    at: str
    zh: str
    en: str


_NOTHING_TICKED = Fault(
    "items",
    "一项都没有勾选。请勾选同意提供的数据；如果都不同意，请按“全部不同意”。",
    "Nothing is ticked. Tick what you agree to provide, or choose “Agree to nothing”.",
)
_NOT_ACKNOWLEDGED = Fault(
    "acknowledged",
    "请读完风险告知，并勾选末尾的确认。",
    "Read the risk notice and tick the acknowledgement at its end.",
)
_CHANGED = Fault(
    "items",
    "您打开页面之后，数据目录或风险告知有更新。请按现在的内容重新确认。",
    "The catalogue or the risk notice has changed since you opened the page. Please go through it again.",
)


@get(CONSENT_PATH)
async def show_consent(
    request: AnyRequest, engine: Injected[AsyncEngine], catalogue: Injected[Catalogue], subject_visitor: Injected[SubjectVisitor]
) -> Response[Any]:
    """Who asks, what for, and for what; nothing ticked. Looking changes nothing."""
    query = request.query_params
    address = Address(query.get("client_id", ""), query.get("request_uri", ""), query.get("enterprise", ""))
    try:
        async with read(engine) as connection:
            asked = await _load(connection, catalogue, subject_visitor, address)
    except (NotFound, Conflict) as error:
        return await _cannot(engine, subject_visitor, address, error)
    return _render(asked, address, catalogue, subject_visitor)


@post(CONSENT_PATH)
async def decide(
    engine: Injected[AsyncEngine],
    settings: Injected[Settings],
    catalogue: Injected[Catalogue],
    subject_visitor: Injected[SubjectVisitor],
    form: Injected[Form],
) -> Response[Any]:
    """Grant what was ticked, or nothing, and send the browser back to the institution."""
    address = Address(form.one("client_id"), form.one("request_uri"), form.one("enterprise"))
    try:
        async with read(engine) as connection:
            asked = await _load(connection, catalogue, subject_visitor, address)
        ticked = form.ticked("item")
        decision = form.one("decision")
        if not asked.tickable.issuperset(ticked) or decision not in {"approve", "refuse"}:
            raise InvalidRequest(
                "提交的表单与页面不符，请返回刷新。", "The form does not fit its page. Go back and reload.", code="form.malformed"
            )
        acknowledged = form.one("acknowledged") == notice.current().version
        faults = _faults(asked, catalogue, form) if decision == "approve" else []
        if faults:
            return _render(asked, address, catalogue, subject_visitor, ticked=ticked, acknowledged=acknowledged, faults=faults)
        target = await _settle(engine, settings, catalogue, asked, ticked if decision == "approve" else frozenset())
    except (NotFound, Conflict) as error:
        return await _cannot(engine, subject_visitor, address, error)
    return see_other(target)


def _faults(asked: Asked, catalogue: Catalogue, form: Form) -> list[Fault]:
    if form.one("shown") != _shown(asked.pushed, catalogue):
        return [_CHANGED]
    faults = [] if form.ticked("item") else [_NOTHING_TICKED]
    if form.one("acknowledged") != notice.current().version:
        faults.append(_NOT_ACKNOWLEDGED)
    return faults


async def _settle(engine: AsyncEngine, settings: Settings, catalogue: Catalogue, asked: Asked, ticked: Collection[str]) -> str:
    """One transaction: the notice as a blob, the grant or refusal, the code, the records."""
    shown = notice.current()
    stamp = Notice(version=shown.version, sha256=shown.sha256)
    approved = frozenset(asked.positions[position].name for position in ticked)
    async with write(engine) as tx:
        await tx.put_blob(notice.MEDIA_TYPE, shown.body)
        if not approved:
            return await authorization.refuse(tx, asked.pushed, asked.who, issuer=settings.issuer, notice=stamp)
        return await authorization.complete(
            tx, asked.pushed, asked.who, catalogue=catalogue, issuer=settings.issuer, approved=approved, notice=stamp
        )


async def _load(connection: AsyncConnection, catalogue: Catalogue, visitor: SubjectVisitor, address: Address) -> Asked:
    pushed = await authorization.load_pushed(connection, address.client_id, address.request_uri)
    who = await authorization.parties(connection, pushed, visitor, address.enterprise_id())
    institution = await parties_store.institution(connection, pushed.institution_id)
    subject = await parties_store.subject(connection, who.subject_id)
    enterprise = await parties_store.subject(connection, who.enterprise_id)
    if institution is None or subject is None or enterprise is None:
        raise NotFound("申请涉及的主体不存在。", "A party of this request does not exist.")
    _, names = await names_of(connection, pushed.institution_id, list(pushed.details))
    may = authorization.approvable(pushed, catalogue, who.by)
    other: Bar = "person" if who.by == "enterprise" else "enterprise"
    positions = {f"d{place}": detail for place, detail in enumerate(pushed.details, 1)}
    return Asked(
        pushed=pushed,
        who=who,
        institution=institution,
        subject=subject,
        enterprise=enterprise,
        positions=positions,
        tickable=frozenset(place for place, detail in positions.items() if detail.name in may),
        renewed=None if pushed.grant_id is None else await grants_store.grant(connection, pushed.grant_id),
        items=[item_view(catalogue, place, detail, names, None if detail.name in may else other) for place, detail in positions.items()],
    )


def _shown(pushed: PushedRequest, catalogue: Catalogue) -> str:
    """A digest of everything that a page is made from."""
    parts = (pushed.hash, catalogue.version.encode(), notice.current().sha256)
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:32]


def _render(
    asked: Asked,
    address: Address,
    catalogue: Catalogue,
    visitor: SubjectVisitor,
    *,
    ticked: Collection[str] = (),
    acknowledged: bool = False,
    faults: list[Fault] | None = None,
) -> Response[str]:
    shown, pushed = notice.current(), asked.pushed
    codes = dict.fromkeys(detail.purpose for detail in pushed.details)
    terms = {(detail.purpose, detail.product or None) for detail in pushed.details}
    faults = faults or []
    acknowledgement = shown.wording.acknowledgement
    return page(
        "consent.html",
        status=422 if faults else 200,
        # The answer of this form leads to the institution, and Chromium holds form-action against that redirect too.
        headers={"content-security-policy": page_policy(pushed.redirect_uri)},
        visitor=visitor,
        institution=asked.institution,
        kind=words.KINDS[asked.institution.kind],
        subject=asked.subject,
        enterprise=asked.enterprise,
        person=asked.who.by == "person",
        purposes=[catalogue.purposes[code] for code in codes if code in catalogue.purposes],
        products=[Words(zh, en) for zh, en in pushed.products.values()],
        several_terms=len(terms) > 1,
        expires_at=pushed.expires_at + timedelta(seconds=FINISH_SECONDS),
        address=address,
        shown=_shown(pushed, catalogue),
        items=asked.items,
        pushed=pushed,
        renewed=asked.renewed,
        ticked=frozenset(ticked),
        tickable=len(asked.tickable),
        notice=shown.wording,
        digest=shown.sha256.hex(),
        acknowledgement=acknowledgement.person if asked.who.by == "person" else acknowledgement.enterprise,
        acknowledged=acknowledged,
        errors=faults,
        wrong_items=_NOTHING_TICKED in faults,
        wrong_notice=_NOT_ACKNOWLEDGED in faults,
    )


# ---------------------------------------------------------------- when there is nothing to decide
_DECIDED = (
    Words("这份申请已经处理过了", "This request has been decided already"),
    Words(
        "您的决定已经生效，没有重复提交。要改变主意，可以在“我的授权”里撤回。",
        "The decision stands and was not sent twice. To change your mind, revoke it under “My authorizations”.",
    ),
)
_EXPIRED = (
    Words("这份申请已经过期", "This request has expired"),
    Words(
        "什么都没有提供。仍然需要的话，请回到机构的页面重新发起申请。",
        "Nothing was provided. If it is still wanted, start again on the institution's page.",
    ),
)
_UNKNOWN = (
    Words("没有找到这份申请", "There is no such request"),
    Words(
        "链接可能不完整，或者申请已经失效。请回到机构的页面重新发起。",
        "The link may be incomplete, or the request no longer valid. Start again on the institution's page.",
    ),
)


async def _cannot(engine: AsyncEngine, visitor: SubjectVisitor, address: Address, error: ConsentError) -> Response[Any]:
    """A page that says why there is nothing to decide. Only whoever holds the request's secret learns what became of it."""
    async with read(engine) as connection:
        if error.code == "enterprise.choice_needed":
            linked = await parties_store.linked_enterprises(connection, visitor.subject_id)
            return page("enterprises.html", visitor=visitor, enterprises=linked, address=address, path=CONSENT_PATH)
        decided = await _decided(connection, address)
    status, (heading, line) = (404, _UNKNOWN) if decided is None else (409, _DECIDED) if decided else (410, _EXPIRED)
    return page("consent_closed.html", status=status, visitor=visitor, heading=heading, lines=[line])


async def _decided(connection: AsyncConnection, address: Address) -> bool | None:
    """Whether the request was decided; None if it does not exist."""
    prefix, secret = address.request_uri[: len(REQUEST_URI_PREFIX)], address.request_uri[len(REQUEST_URI_PREFIX) :]
    if prefix != REQUEST_URI_PREFIX or not secret.isascii() or not address.client_id.isascii() or not address.client_id.isprintable():
        return None
    statement = text("select consumed_at is not null from pushed_request where hash = :hash and client_id = :client_id")
    found = await connection.scalar(statement, {"hash": secret_hash(secret), "client_id": address.client_id})
    return None if found is None else bool(found)


handlers = [show_consent, decide]
