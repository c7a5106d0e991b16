"""The whole schema of the first version, then the ledger's triggers and the application role's rights."""

from pathlib import Path
from typing import Any

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Run both files as they stand; the driver alone takes several statements at once."""
    here = Path(__file__).parent
    op.execute("select 1")  # opens the driver's transaction
    for name in ("0001_initial.sql", "0001_rights.sql"):
        _run(op.get_bind().connection.dbapi_connection, (here / name).read_text(encoding="utf-8"))


def _run(connection: Any, sql: str) -> None:
    connection.run_async(lambda driver: driver.execute(sql))
