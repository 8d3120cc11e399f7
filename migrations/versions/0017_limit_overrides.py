"""Adds temporary overrides of limits.

Rolling: servers of the previous version do not read the table, and decide by the limits alone.
"""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "limit_overrides",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("tenant_id", sa.String(36), nullable=False),
        sa.Column("mode", sa.String(4), nullable=False),
        sa.Column("kid", sa.String(16), nullable=False),
        sa.Column("model_id", sa.String(200), nullable=False),
        sa.Column("end_user", sa.String(64), nullable=False),
        sa.Column("metric", sa.String(20), nullable=False),
        sa.Column("amount", sa.BigInteger),
        sa.Column("burst", sa.Integer),
        sa.Column("created_at_ms", sa.BigInteger, nullable=False),
        sa.Column("until_ms", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_limit_overrides"),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name="fk_limit_overrides_tenant_id"),
        sa.CheckConstraint("mode IN ('live', 'test')", name="ck_limit_overrides_mode"),
    )
    op.create_index("ix_limit_overrides_lasting", "limit_overrides", ["tenant_id", "mode", "until_ms"])


def downgrade() -> None:
    op.drop_table("limit_overrides")
