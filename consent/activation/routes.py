"""`GET /policy/bundle.tar.gz`: the policies in force, signed, for OPA to poll and for everybody to read."""

from typing import Any

from litestar import Request, Response, get
from litestar.di import NamedDependency
from litestar.params import SkipValidation

from consent.activation.running import Running
from consent.decisions.bundle import MEDIA_TYPE


@get("/policy/bundle.tar.gz", summary="The policies in force as a signed OPA bundle", tags=["policy"], media_type=MEDIA_TYPE)
async def get_bundle(request: Request[Any, Any, Any], running: NamedDependency[SkipValidation[Running]]) -> Response[bytes]:
    """What this process decides by, or 304 where the caller holds it already: OPA sends the ETag that it got (RFC 9110 §13.1.2).

    The rules are public: nothing personal, no key and no secret stands in them.
    """
    etag = f'"{running.ruleset.revision}"'
    headers = {"etag": etag, "cache-control": "no-cache"}
    if etag in request.headers.get("if-none-match", ""):
        return Response(b"", status_code=304, headers=headers)
    return Response(running.ruleset.body, media_type=MEDIA_TYPE, headers=headers)


handlers = [get_bundle]
