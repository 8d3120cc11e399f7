"""Adds who submitted a request, the code of its error, what the operator searches by, and counted refusals.

Rolling: servers of the previous version leave the new columns empty, and neither read nor write the table.
Codes of errors are not filled in for older rows: these are found by their state.
"""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

_COLUMNS = (("error_code", 64), ("caller_address", 45), ("user_agent", 200))


def upgrade() -> None:
    for name, length in _COLUMNS:
        op.add_column("generations", sa.Column(name, sa.String(length)))
    op.create_index("ix_generations_by_kid", "generations", ["kid", "id"])
    for name in ("error_code", "caller_address"):
        present = sa.text(f"{name} IS NOT NULL")
        op.create_index(
            f"ix_generations_by_{name}",
            "generations",
            [name, "id"],
            sqlite_where=present,
            postgresql_where=present,
        )
    op.create_table(
        "refusals",
        sa.Column("tenant_id", sa.String(36), nullable=False),
        sa.Column("minute_ms", sa.BigInteger, nullable=False),
        sa.Column("kid", sa.String(16), nullable=False),
        sa.Column("code", sa.String(64), nullable=False),
        sa.Column("network", sa.String(45), nullable=False),
        sa.Column("mode", sa.String(4), nullable=False),
        sa.Column("count", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "minute_ms", "kid", "code", "network", name="pk_refusals"),
    )
    op.create_index("ix_refusals_minute_ms", "refusals", ["minute_ms"])
    positions = op.create_table(
        "upkeep_positions",
        sa.Column("name", sa.String(40), nullable=False),
        sa.Column("position", sa.String(36), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_upkeep_positions"),
    )
    op.bulk_insert(positions, [{"name": "erase callers", "position": ""}])


def downgrade() -> None:
    op.drop_table("upkeep_positions")
    op.drop_table("refusals")
    for name in ("caller_address", "error_code", "kid"):
        op.drop_index(f"ix_generations_by_{name}", "generations")
    for name, _ in reversed(_COLUMNS):
        op.drop_column("generations", name)
