"""Adds the keys of the admin API, and the record of the changes that were made through it.

Rolling: servers of the previous version neither read nor write these tables.
"""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "admin_keys",
        sa.Column("kid", sa.String(16), nullable=False),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("scopes", sa.Text, nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("pepper_id", sa.String(8), nullable=False),
        sa.Column("last_four", sa.String(4), nullable=False),
        sa.Column("created_at_ms", sa.BigInteger, nullable=False),
        sa.Column("expires_at_ms", sa.BigInteger),
        sa.Column("revoked_at_ms", sa.BigInteger),
        sa.Column("rotated_to", sa.String(16)),
        sa.Column("last_used_at_ms", sa.BigInteger),
        sa.PrimaryKeyConstraint("kid", name="pk_admin_keys"),
    )
    op.create_table(
        "admin_calls",
        sa.Column("kid", sa.String(16), nullable=False),
        sa.Column("idempotency_key", sa.String(255), nullable=False),
        sa.Column("fingerprint", sa.String(64), nullable=False),
        sa.Column("operation", sa.String(64), nullable=False),
        sa.Column("answer", sa.Text, nullable=False),
        sa.Column("at_ms", sa.BigInteger, nullable=False),
        sa.Column("trace_id", sa.String(32)),
        sa.PrimaryKeyConstraint("kid", "idempotency_key", name="pk_admin_calls"),
        sa.ForeignKeyConstraint(["kid"], ["admin_keys.kid"], name="fk_admin_calls_kid"),
    )


def downgrade() -> None:
    op.drop_table("admin_calls")
    op.drop_table("admin_keys")
