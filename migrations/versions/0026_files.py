"""Adds uploaded files, how many bytes are stored, and how many a client token may upload.

Rolling: servers of the previous version know no files, and their tokens have no budget for them.
"""

import sqlalchemy as sa
from alembic import op

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None

_MODE = "mode IN ('live', 'test')"
_STORED, _NOT_STORED = "state = 'stored'", "state <> 'stored'"


def upgrade() -> None:
    op.add_column("client_tokens", sa.Column("max_upload_bytes", sa.BigInteger))
    op.add_column(
        "client_tokens", sa.Column("uploaded_bytes", sa.BigInteger, nullable=False, server_default="0")
    )
    op.create_table(
        "stored_bytes",
        sa.Column("tenant_id", sa.String(36), nullable=False),
        sa.Column("mode", sa.String(4), nullable=False),
        sa.Column("kid", sa.String(16), nullable=False),
        sa.Column("end_user", sa.String(64), nullable=False),
        sa.Column("bytes", sa.BigInteger, nullable=False),
        sa.CheckConstraint(_MODE, name=op.f("ck_stored_bytes_mode")),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name="fk_stored_bytes_tenant_id"),
        sa.PrimaryKeyConstraint("tenant_id", "mode", "kid", "end_user", name="pk_stored_bytes"),
    )
    op.create_table(
        "files",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("tenant_id", sa.String(36), nullable=False),
        sa.Column("mode", sa.String(4), nullable=False),
        sa.Column("owner", sa.String(80), nullable=False),
        sa.Column("kid", sa.String(16), nullable=False),
        sa.Column("end_user", sa.String(64)),
        sa.Column("token_id", sa.String(16)),
        sa.Column("state", sa.String(8), nullable=False),
        sa.Column("name", sa.String(200)),
        sa.Column("model_id", sa.String(200)),
        sa.Column("place", sa.String(200)),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("bytes", sa.BigInteger, nullable=False),
        sa.Column("type", sa.String(100), nullable=False),
        sa.Column("width", sa.Integer),
        sa.Column("height", sa.Integer),
        sa.Column("created_at_ms", sa.BigInteger, nullable=False),
        sa.Column("expires_at_ms", sa.BigInteger),
        sa.Column("lease_until_ms", sa.BigInteger),
        sa.CheckConstraint(_MODE, name=op.f("ck_files_mode")),
        sa.CheckConstraint(
            "state IN ('awaited', 'storing', 'stored', 'deleting')", name=op.f("ck_files_state")
        ),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name="fk_files_tenant_id"),
        sa.ForeignKeyConstraint(["kid"], ["api_keys.kid"], name="fk_files_kid"),
        sa.PrimaryKeyConstraint("id", name="pk_files"),
    )
    op.create_index("ix_files_listed", "files", ["tenant_id", "mode", "id"])
    op.create_index("ix_files_same", "files", ["tenant_id", "mode", "owner", "sha256"])
    for name, column, where in (
        ("ix_files_expiring", "expires_at_ms", _STORED),
        ("ix_files_unfinished", "lease_until_ms", _NOT_STORED),
    ):
        op.create_index(name, "files", [column], sqlite_where=sa.text(where), postgresql_where=sa.text(where))


def downgrade() -> None:
    op.drop_table("files")
    op.drop_table("stored_bytes")
    op.drop_column("client_tokens", "uploaded_bytes")
    op.drop_column("client_tokens", "max_upload_bytes")
