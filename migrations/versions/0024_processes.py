"""Adds the floor of the schema, and a row for each server and worker that runs.

Not rolling: a server of the version before accepts no schema but its own. From now on one goes on beside
migrations that only add.
"""

import sqlalchemy as sa
from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None
floor = "0024"


def upgrade() -> None:
    floors = op.create_table(
        "schema_floor",
        sa.Column("id", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("revision", sa.String(32), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_schema_floor"),
        sa.CheckConstraint("id = 1", name=op.f("ck_schema_floor_one")),
    )
    op.bulk_insert(floors, [{"id": 1, "revision": revision}])
    op.create_table(
        "processes",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("role", sa.String(10), nullable=False),
        sa.Column("host", sa.String(100), nullable=False),
        sa.Column("pid", sa.Integer, nullable=False),
        sa.Column("version", sa.String(40), nullable=False),
        sa.Column("schema", sa.String(32), nullable=False),
        sa.Column("started_at_ms", sa.BigInteger, nullable=False),
        sa.Column("seen_at_ms", sa.BigInteger, nullable=False),
        sa.Column("settings_at_ms", sa.BigInteger, nullable=False),
        sa.Column("settings_fault", sa.String(500)),
        sa.PrimaryKeyConstraint("id", name="pk_processes"),
    )


def downgrade() -> None:
    op.drop_table("processes")
    op.drop_table("schema_floor")
