"""Which catalogue and which policies are in force: the newest activation of each kind, as the ledger has it.

Whoever records a decision or a judgement looks here under the ledger's lock, so nothing is recorded that was decided by others.
"""

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from consent.errors import Unavailable

_VERSIONS = text(
    "(select kind, version from activation where kind = 'policy' order by idx desc limit 1) union all"
    " (select kind, version from activation where kind = 'catalogue' order by idx desc limit 1)"
)


class Superseded(Unavailable):
    """Other policies or another catalogue are in force than the ones that this process runs."""

    code = "release.superseded"

    def __init__(self, zh: str = "", en: str = "") -> None:
        """`zh` and `en` say why the process does not run what is in force, if that is known."""
        super().__init__(
            f"本进程运行的目录或规则不是账本中生效的版本，未作出任何决定。{zh or '进程会自行换用生效版本，请稍后重试。'}",
            "Another catalogue or policy revision is in force than this process runs; nothing was decided."
            f" {en or 'The process takes over what is in force by itself; try again in a moment.'}",
        )


async def versions_in_force(connection: AsyncConnection) -> dict[str, str]:
    """Version of the catalogue and revision of the policies in force, by kind; empty before the first activation."""
    return {row.kind: row.version for row in await connection.execute(_VERSIONS)}


async def check_in_force(connection: AsyncConnection, *, catalogue: str, policy: str) -> None:
    """See that no others are in force.

    Raises:
        Superseded: others are.
    """
    ours = {"catalogue": catalogue, "policy": policy}
    if any(ours[kind] != version for kind, version in (await versions_in_force(connection)).items()):
        raise Superseded
