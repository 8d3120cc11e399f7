"""Adds the one row that is written to find out whether the database takes writes.

Rolling: servers of the previous version neither read nor write the table.
"""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    made = op.create_table(
        "write_probes",
        sa.Column("id", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("content", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_write_probes"),
    )
    op.bulk_insert(made, [{"id": 1, "content": ""}])


def downgrade() -> None:
    op.drop_table("write_probes")
