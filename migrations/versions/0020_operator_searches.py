"""Adds indexes by which the operator finds requests of all tenants by one filter alone.

Rolling: servers of the previous version are not concerned. Making the indexes takes some ten seconds for a
million requests; meanwhile nobody can submit.
"""

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None

_CONDITIONS = {
    "model_id": None,
    "price_version": None,
    "state": "state <> 'completed' AND version > 0",
    "end_user": "end_user IS NOT NULL",
}


def upgrade() -> None:
    for name, condition in _CONDITIONS.items():
        where = None if condition is None else sa.text(condition)
        op.create_index(
            f"ix_generations_by_{name}",
            "generations",
            [name, "id"],
            sqlite_where=where,
            postgresql_where=where,
        )
    op.create_index("ix_admin_calls_at_ms", "admin_calls", ["at_ms"])


def downgrade() -> None:
    op.drop_index("ix_admin_calls_at_ms", "admin_calls")
    for name in reversed(_CONDITIONS):
        op.drop_index(f"ix_generations_by_{name}", "generations")
