"""Adds indexes for the operator's searches of requests, and the days of all tenants together.

Rolling: servers of the previous version are not concerned. The days are summed by upkeep. Making the indexes
takes some ten seconds for a million requests; meanwhile nobody can submit.
"""

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None

_SUMS = (
    "held_generations",
    "held_microcredits",
    "spent_generations",
    "spent_microcredits",
    "refunded_generations",
    "refunded_microcredits",
    "refused_calls",
    "ended_generations",
    "added_microcredits",
    "adjusted_microcredits",
    "cost_microusd",
)
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
    op.create_table(
        "usage_days",
        sa.Column("mode", sa.String(4), nullable=False),
        sa.Column("period", sa.BigInteger, nullable=False, autoincrement=False),
        sa.Column("model_id", sa.String(200), nullable=False),
        sa.Column("outcome", sa.String(16), nullable=False),
        *(sa.Column(name, sa.BigInteger, nullable=False) for name in _SUMS),
        sa.PrimaryKeyConstraint("mode", "period", "model_id", "outcome", name="pk_usage_days"),
        sa.CheckConstraint("mode IN ('live', 'test')", name="ck_usage_days_mode"),
    )
    op.execute("INSERT INTO upkeep_positions (name, position) VALUES ('usage days', '')")


def downgrade() -> None:
    op.execute("DELETE FROM upkeep_positions WHERE name = 'usage days'")
    op.drop_table("usage_days")
    op.drop_index("ix_admin_calls_at_ms", "admin_calls")
    for name in reversed(_CONDITIONS):
        op.drop_index(f"ix_generations_by_{name}", "generations")
