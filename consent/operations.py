"""What an operator's machines ask: does the process live, may it get requests, what did it count. Nothing here is about a party."""

import asyncio
from collections.abc import Iterator

from litestar import Response, get
from litestar.di import NamedDependency
from litestar.params import SkipValidation
from sqlalchemy.ext.asyncio import AsyncEngine

from consent import db, metrics
from consent.activation.running import Running
from consent.decisions.judge import probe
from consent.errors import ServiceError, Unavailable
from consent.ledger.signer import LedgerBroken, RolledBack, Signer

_READY_SECONDS = 3  # a database that hangs is not ready, long before a statement's own limit


@get("/healthz", include_in_schema=False, sync_to_thread=False)
def healthz() -> Response[bytes]:
    """The process answers."""
    return Response(b"ok\n", media_type="text/plain")


@get("/readyz", include_in_schema=False)
async def readyz(
    engine: NamedDependency[SkipValidation[AsyncEngine]],
    running: NamedDependency[SkipValidation[Running]],
    signer: NamedDependency[SkipValidation[Signer]],
) -> Response[bytes]:
    """Database and policy engine answer, the process runs what is in force, and the ledger is whole: so a check would be decided.

    What harms no check stands in the reply, one line each: a round of signing that failed for another reason, a witness that does not
    cosign. Records are durable without either, and are signed and cosigned later.

    Raises:
        Unavailable: one of these does not hold; 503.
    """
    if isinstance(signer.failure, LedgerBroken | RolledBack):
        raise Unavailable(signer.failure.zh, signer.failure.en, code=signer.failure.code)
    with db.guard():
        async with asyncio.timeout(_READY_SECONDS), db.read(engine) as connection:
            await running.check(connection)
    await probe(running.policy)
    lines = "".join(f"{line}\n" for line in ("ready", *_warnings(signer)))
    return Response(lines.encode(), media_type="text/plain; charset=utf-8")


def _warnings(signer: Signer) -> Iterator[str]:
    error = signer.failure
    if error is not None:
        # The code alone: a message may name a file or a command, and who reads this is not known.
        yield f"warning: no checkpoint is signed at present: {error.code if isinstance(error, ServiceError) else 'error'}; the log says why"
    if signer.cosigning is not None:
        for name, trouble in sorted(signer.cosigning.trouble.items()):
            yield f"warning: witness {name} does not cosign: {trouble}"


@get("/metrics", include_in_schema=False, sync_to_thread=True)
def get_metrics() -> Response[bytes]:
    """Counts and durations in Prometheus' text format."""
    return Response(metrics.exposition(), headers={"Content-Type": metrics.CONTENT_TYPE})


handlers = [healthz, readyz, get_metrics]
