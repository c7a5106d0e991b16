"""`GET /catalogue`: the same bytes for everybody until another version is deployed."""

from litestar import Request, Response, get
from litestar.datastructures import State
from litestar.di import NamedDependency
from litestar.params import SkipValidation

from consent.catalogue.model import Catalogue

CACHE_CONTROL = "public, max-age=300"
"""A new version may go unseen for five minutes; checks name the version that they used."""


@get("/catalogue", media_type="application/json", summary="The catalogue of data items, fields and purposes", tags=["catalogue"])
async def get_catalogue(request: Request[object, object, State], catalogue: NamedDependency[SkipValidation[Catalogue]]) -> Response[bytes]:
    """Answer the whole catalogue, or 304 where the caller already holds this version (RFC 9110 §13.1.2)."""
    etag = f'"{catalogue.version}"'
    headers = {"etag": etag, "cache-control": CACHE_CONTROL}
    if _holds(request.headers.getall("if-none-match", []), etag):
        return Response(b"", status_code=304, headers=headers)
    return Response(catalogue.body, media_type="application/json", headers=headers)


def _holds(if_none_match: list[str], etag: str) -> bool:
    """Whether one of the caller's entity tags is ours; the comparison is weak, as If-None-Match demands."""
    tags = [tag.strip().removeprefix("W/") for value in if_none_match for tag in value.split(",")]
    return "*" in tags or etag in tags


handlers = [get_catalogue]
