"""What is in force: the catalogue and the policy bundle of this release, named in the ledger before anything is decided by them.

Runs at start-up, in every process; the ledger's lock makes it happen once. An activation is a record, a row that says where the
record is, and the whole document as a blob that every export carries.
"""

import hashlib
from collections.abc import Mapping

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from consent import db
from consent.catalogue.model import Catalogue
from consent.decisions.bundle import load_bundle
from consent.errors import Unavailable
from consent.ledger.events import CatalogueActivated, PolicyActivated
from consent.ledger.writer import LedgerTransaction, ensure_genesis, write
from consent.settings import Settings
from consent.web import notice

_IN_FORCE = text("select distinct on (kind) kind, version from activation order by kind, idx desc")
_INSERT = text("insert into activation (kind, idx, version, sha256) values (:kind, :idx, :version, :sha256)")


class Superseded(Unavailable):
    """Another release is in force than the one that this process runs."""

    code = "release.superseded"

    def __init__(self) -> None:
        super().__init__(
            "本进程的目录或规则版本已被新版本取代，请替换本进程。",
            "Another catalogue or policy revision is in force than this process has; replace the process.",
        )


async def check_in_force(connection: AsyncConnection, *, catalogue: str, policy: str) -> None:
    """See that this process's catalogue and policies are the ones in force; otherwise it could only answer 503.

    Raises:
        Superseded: they are not.
    """
    rows = await connection.execute(_IN_FORCE)
    if {row.kind: row.version for row in rows} != {"catalogue": catalogue, "policy": policy}:
        raise Superseded


async def bring_up(engine: AsyncEngine, settings: Settings, catalogue: Catalogue) -> None:
    """Begin the ledger if it has not begun, and put this release in force.

    Raises:
        OtherLedger: the database holds another origin's ledger.
        DatabaseUnavailable: nothing was changed.
    """
    await ensure_genesis(engine, settings.ledger_origin)
    bundle = load_bundle(catalogue)
    await activate(engine, catalogue=(catalogue.version, catalogue.to_json()), policy=(bundle.revision, bundle.blob()))


async def activate(engine: AsyncEngine, *, catalogue: tuple[str, bytes], policy: tuple[str, bytes]) -> None:
    """Put this release's catalogue and policies in force where they are not yet.

    Args:
        catalogue, policy: version or revision, and the document's bytes.

    Raises:
        DatabaseUnavailable: nothing was changed.
    """
    wanted: Mapping[str, tuple[str, bytes]] = {"catalogue": catalogue, "policy": policy}
    async with db.read(engine) as connection:
        rows = await connection.execute(_IN_FORCE)
        if {row.kind: row.version for row in rows} == {kind: version for kind, (version, _) in wanted.items()}:
            return
    async with write(engine) as transaction:
        rows = await transaction.connection.execute(_IN_FORCE)
        current = {row.kind: row.version for row in rows}
        for kind, (version, body) in wanted.items():
            if current.get(kind) != version:
                await _activate(transaction, kind, version, body)
        # Grants name the risk notice by digest; every export must carry its text.
        await transaction.put_blob(notice.MEDIA_TYPE, notice.current().body)


async def _activate(transaction: LedgerTransaction, kind: str, version: str, body: bytes) -> None:
    digest = hashlib.sha256(body)
    await transaction.put_blob("application/json", body)
    if kind == "catalogue":
        index = transaction.append(CatalogueActivated(version=version, sha256=digest.hexdigest(), approvers=()))
    else:
        index = transaction.append(PolicyActivated(revision=version, sha256=digest.hexdigest(), signed_by=None, approvers=()))
    await transaction.connection.execute(_INSERT, {"kind": kind, "idx": index, "version": version, "sha256": digest.digest()})
