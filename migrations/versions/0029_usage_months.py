"""Adds the months of each tenant's usage, summed from its days.

Rolling: servers of the previous version read days alone, and sum those of all tenants under a position of
their own. Months are summed by upkeep, from the first day on.
"""

import sqlalchemy as sa
from alembic import op

revision = "0029"
down_revision = "0027"
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
_KEY = ("mode", "period", "tenant_id", "kid", "model_id", "outcome")


def upgrade() -> None:
    op.create_table(
        "usage_months",
        sa.Column("mode", sa.String(4), nullable=False),
        sa.Column("period", sa.BigInteger, nullable=False, autoincrement=False),
        sa.Column("tenant_id", sa.String(36), nullable=False),
        sa.Column("kid", sa.String(16), nullable=False),
        sa.Column("model_id", sa.String(200), nullable=False),
        sa.Column("outcome", sa.String(16), nullable=False),
        *(sa.Column(name, sa.BigInteger, nullable=False) for name in _SUMS),
        sa.PrimaryKeyConstraint(*_KEY, name="pk_usage_months"),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name="fk_usage_months_tenant_id"),
        sa.CheckConstraint("mode IN ('live', 'test')", name="ck_usage_months_mode"),
    )
    op.execute("INSERT INTO upkeep_positions (name, position) VALUES ('usage sums', '')")


def downgrade() -> None:
    op.execute("DELETE FROM upkeep_positions WHERE name = 'usage sums'")
    op.drop_table("usage_months")
