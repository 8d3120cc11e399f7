"""Idempotency keys on generations."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("generations", schema=None) as batch_op:
        batch_op.add_column(sa.Column("idempotency_key", sa.String(length=255), nullable=True))
        batch_op.add_column(sa.Column("fingerprint", sa.String(length=64), nullable=True))
    op.create_index(
        "uq_generations_tenant_id_idempotency_key",
        "generations",
        ["tenant_id", "idempotency_key"],
        unique=True,
    )


def downgrade() -> None:
    op.drop_index("uq_generations_tenant_id_idempotency_key", "generations")
    with op.batch_alter_table("generations", schema=None) as batch_op:
        batch_op.drop_column("fingerprint")
        batch_op.drop_column("idempotency_key")
