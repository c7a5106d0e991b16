"""`GET /ledger/proof/{index}`: for a program with its token, a person with her session, an auditor with either.

It stands here and not with the ledger's other files because it must know who asks in each of these three ways.
"""

from typing import Any

from litestar import Request, Response, get
from litestar.di import NamedDependency, Provide
from litestar.params import FromPath, SkipValidation
from sqlalchemy.ext.asyncio import AsyncEngine

from consent.errors import Forbidden
from consent.ledger.proofs import no_such_record
from consent.ledger.routes import provide_auditor
from consent.oauth.access import ScopeMissing
from consent.parties.access import SCOPES, Auditor, SubjectVisitor
from consent.receipts import service
from consent.receipts.model import Everybody, Institution, Reader, Subject
from consent.settings import Settings
from consent.web.access import provide_guest
from consent.web.problems import SignInNeeded
from consent_audit.encoding import parse_decimal

AnyRequest = Request[Any, Any, Any]
Engine = NamedDependency[SkipValidation[AsyncEngine]]


class NoReader(SignInNeeded):
    """Nobody is known to ask; a browser is led to sign in."""

    def __init__(self) -> None:
        super().__init__(
            "取得账本记录的凭证，需要登录，或附上机构的访问令牌或审计令牌。",
            "A record's proof needs a session, an institution's access token or an auditor's token.",
        )
        self.headers = {"WWW-Authenticate": 'Bearer realm="ledger", DPoP realm="ledger"'}


async def provide_reader(
    request: AnyRequest,
    engine: Engine,
    settings: NamedDependency[SkipValidation[Settings]],
    oauth: NamedDependency[SkipValidation[Any]],
) -> Reader:
    """Who asks for a proof. A header counts before a cookie, and one that is refused is not made up for by the other.

    Raises:
        NoReader, NotAnAuditor, TokenRefused: nobody who is known.
        ScopeMissing: a token of a single grant, which is for the platform's own API.
        Forbidden: a member of staff other than an auditor.
    """
    given = request.headers.getall("authorization", [])
    if given and given[0].partition(" ")[0].lower() == "bearer":
        await provide_auditor(request, engine)
        return Everybody()
    if given:
        caller = await oauth.edge.authenticate(request)
        if SCOPES.isdisjoint(caller.scopes):
            refused = Forbidden("令牌缺少所需的权限范围。", "The token lacks a scope of its own.", code="insufficient_scope")
            raise ScopeMissing(refused, " ".join(sorted(SCOPES)))
        return Institution(caller.institution_id)
    guest = await provide_guest(request, engine, settings)
    if guest is None:
        raise NoReader
    if guest.kind == "staff":
        Auditor.of(guest)
        return Everybody()
    return Subject(SubjectVisitor.of(guest).subject_id)


@get("/ledger/proof/{index:str}", dependencies={"reader": Provide(provide_reader)})
async def get_proof(engine: Engine, index: FromPath[str], reader: NamedDependency[SkipValidation[Reader]]) -> Response[bytes]:
    """A record's bytes and inclusion proof in one file (c2sp.org/tlog-proof@v1), for the record's own parties and auditors."""
    try:
        number = parse_decimal(index)
    except ValueError:
        raise no_such_record() from None
    found = await service.receipt(engine, reader, number)
    headers = {
        "Cache-Control": "private, no-store",
        "X-Content-Type-Options": "nosniff",
        "Content-Disposition": f'attachment; filename="ledger-{number}.tlog-proof"',
    }
    return Response(found.proof.encode(), media_type="text/plain", headers=headers)


handlers = [get_proof]
