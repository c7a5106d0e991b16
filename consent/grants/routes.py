"""`/grants`: what an institution holds, and giving it back (FAPI Grant Management §6). The capability is in each signature.

A grant of another institution answers as one that does not exist. Handlers take `engine` and `grant_client` from the application.
"""

from typing import Any

from litestar import Request, Router, delete, get
from litestar.datastructures import State
from litestar.di import NamedDependency
from litestar.params import FromPath, SkipValidation
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from consent.clock import truncate
from consent.db import read
from consent.errors import InvalidRequest
from consent.grants import service, store
from consent.grants.model import Actor
from consent.grants.schema import GrantPage, GrantState, grant_body, grant_state
from consent.ledger.writer import write
from consent.parties.access import GrantClient

DEFAULT_LIMIT = 50

AnyRequest = Request[Any, Any, State]
Engine = NamedDependency[SkipValidation[AsyncEngine]]
Client = NamedDependency[SkipValidation[GrantClient]]


@get("/", summary="List the institution's grants", description="Query: `limit` from 1 to 200, `cursor` as in `next` of the page before.")
async def list_grants(request: AnyRequest, engine: Engine, grant_client: Client) -> GrantPage:
    """Query parameters: `limit` (1 to 200) and `cursor`, the `next` of the page before."""
    parameters = _query(request, {"limit", "cursor"})
    limit = parameters.get("limit", str(DEFAULT_LIMIT))
    if not (limit.isascii() and limit.isdigit() and len(limit) <= 3):
        raise InvalidRequest("每页条数应为1至200。", "A page has 1 to 200 entries.", member="limit")
    async with read(engine) as connection:
        grants, cursor = await service.list_of_institution(
            connection, grant_client.institution_id, cursor=parameters.get("cursor"), limit=int(limit)
        )
        now = await _now(connection)
    return GrantPage(grants=[grant_body(grant, now) for grant in grants], next=cursor)


@get("/{grant_id:str}", summary="Query a grant")
async def get_grant(request: AnyRequest, grant_id: FromPath[str], engine: Engine, grant_client: Client) -> GrantState:
    """Its state is computed at the moment of the answer."""
    _query(request, set())
    async with read(engine) as connection:
        grant = await service.get(connection, grant_id, Actor.institution(grant_client.institution_id))
        return grant_state(grant, await _now(connection), await store.entries(connection, grant_id))


@delete("/{grant_id:str}", summary="Revoke a grant")
async def delete_grant(request: AnyRequest, grant_id: FromPath[str], engine: Engine, grant_client: Client) -> None:
    """204 once the revocation is on record, and again for a grant that was revoked before."""
    _query(request, set())
    async with write(engine) as tx:
        await service.revoke(tx, grant_id, Actor.institution(grant_client.institution_id))


def _query(request: AnyRequest, known: set[str]) -> dict[str, str]:
    """The query's parameters, each known, given once and of at most 128 characters.

    Raises:
        InvalidRequest: otherwise.
    """
    pairs = list(request.query_params.multi_items())
    values = dict(pairs)
    if len(values) != len(pairs) or not known.issuperset(values) or any(len(v) > 128 or "\0" in v for v in values.values()):
        raise InvalidRequest("查询参数未知、重复或过长。", "An unknown, repeated or overlong query parameter.")
    return values


async def _now(connection: AsyncConnection) -> Any:
    # The database's clock, which also dates the records: two servers then never disagree on what has expired.
    return truncate((await connection.execute(text("select clock_timestamp()"))).scalar_one())


def router() -> Router:
    """The handlers of this slice."""
    return Router("/grants", route_handlers=[list_grants, get_grant, delete_grant], tags=["grants"])
