"""Adds the copies of outputs, their events, and who has outputs mirrored.

Rolling: servers of the previous version mirror nothing, and leave what others have stored alone.
"""

import sqlalchemy as sa
from alembic import op

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None

_PENDING = "state = 'pending'"
_COPYING = "state = 'copying'"
_EXPIRING = "state = 'stored' AND expires_at_ms IS NOT NULL"
_LEFT_OVER = "finished_at_ms IS NOT NULL AND interrupted_from IS NOT NULL"
_REMOVING = "finished_at_ms IS NULL AND removing_at_ms IS NOT NULL"


def upgrade() -> None:
    op.add_column("tenants", sa.Column("mirror", sa.String(8)))
    op.add_column("tenants", sa.Column("mirror_keep_s", sa.BigInteger))
    op.add_column("api_keys", sa.Column("mirror", sa.String(8)))
    op.add_column("generations", sa.Column("mirror", sa.String(8)))
    op.add_column("generations", sa.Column("mirror_keep_s", sa.BigInteger))
    op.create_table(
        "assets",
        sa.Column("id", sa.String(40), nullable=False),
        sa.Column("tenant_id", sa.String(36), nullable=False),
        sa.Column("mode", sa.String(4), nullable=False),
        sa.Column("generation_id", sa.String(36), nullable=False),
        sa.Column("kid", sa.String(16), nullable=False),
        sa.Column("end_user", sa.String(64)),
        sa.Column("place", sa.Integer, nullable=False),
        sa.Column("pointer", sa.String(40), nullable=False),
        sa.Column("state", sa.String(8), nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
        sa.Column("interrupted_from", sa.Integer),
        sa.Column("next_at_ms", sa.BigInteger, nullable=False),
        sa.Column("lease_until_ms", sa.BigInteger),
        sa.Column("last_error", sa.String(40)),
        sa.Column("created_at_ms", sa.BigInteger, nullable=False),
        sa.Column("storage_key", sa.String(200)),
        sa.Column("sha256", sa.String(64)),
        sa.Column("size_bytes", sa.BigInteger),
        sa.Column("media_type", sa.String(40)),
        sa.Column("stored_at_ms", sa.BigInteger),
        sa.Column("expires_at_ms", sa.BigInteger),
        sa.Column("removing_at_ms", sa.BigInteger),
        sa.Column("removal", sa.String(10)),
        sa.Column("finished_at_ms", sa.BigInteger),
        sa.CheckConstraint("mode IN ('live', 'test')", name=op.f("ck_assets_mode")),
        sa.PrimaryKeyConstraint("id", name="pk_assets"),
    )
    op.create_index("uq_assets_generation_id_place", "assets", ["generation_id", "place"], unique=True)
    op.create_index("uq_assets_storage_key", "assets", ["storage_key"], unique=True)
    op.create_index("ix_assets_of_tenant", "assets", ["tenant_id", "id"])
    for name, columns, where in (
        ("ix_assets_pending", ["tenant_id", "next_at_ms"], _PENDING),
        ("ix_assets_copying", ["tenant_id", "lease_until_ms"], _COPYING),
        ("ix_assets_expiring", ["expires_at_ms"], _EXPIRING),
        ("ix_assets_removing", ["removing_at_ms"], _REMOVING),
        ("ix_assets_left_over", ["finished_at_ms"], _LEFT_OVER),
    ):
        op.create_index(name, "assets", columns, sqlite_where=sa.text(where), postgresql_where=sa.text(where))
    op.create_table(
        "asset_events",
        sa.Column("tenant_id", sa.String(36), nullable=False),
        sa.Column("mode", sa.String(4), nullable=False),
        sa.Column("number", sa.BigInteger, nullable=False, autoincrement=False),
        sa.Column("asset_id", sa.String(40), nullable=False),
        sa.Column("generation_id", sa.String(36), nullable=False),
        sa.Column("state", sa.String(8), nullable=False),
        sa.Column("reason", sa.String(40), nullable=False),
        sa.Column("at_ms", sa.BigInteger, nullable=False),
        sa.CheckConstraint("mode IN ('live', 'test')", name=op.f("ck_asset_events_mode")),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name="fk_asset_events_tenant_id"),
        sa.PrimaryKeyConstraint("tenant_id", "mode", "number", name="pk_asset_events"),
    )
    op.create_index("ix_asset_events_generation_id", "asset_events", ["generation_id"])


def downgrade() -> None:
    op.drop_table("asset_events")
    op.drop_table("assets")
    for table, columns in (
        ("generations", ("mirror", "mirror_keep_s")),
        ("api_keys", ("mirror",)),
        ("tenants", ("mirror", "mirror_keep_s")),
    ):
        for column in columns:
            op.drop_column(table, column)
