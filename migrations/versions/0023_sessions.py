"""Adds sessions of people in the console and the portal, and links that open the portal.

Rolling: servers of the previous version run beside it; they know no sessions.
"""

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0021"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "sessions",
        sa.Column("session_id", sa.String(12), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("pepper_id", sa.String(8), nullable=False),
        sa.Column("kind", sa.String(8), nullable=False),
        sa.Column("kid", sa.String(16), nullable=False),
        sa.Column("scopes", sa.Text),
        *(
            sa.Column(name, sa.BigInteger, nullable=False)
            for name in ("created_at_ms", "seen_at_ms", "expires_at_ms")
        ),
        sa.PrimaryKeyConstraint("session_id", name="pk_sessions"),
        sa.UniqueConstraint("digest", name="uq_sessions_digest"),
        sa.CheckConstraint("kind IN ('console', 'portal')", name="ck_sessions_kind"),
    )
    op.create_index("ix_sessions_expires_at_ms", "sessions", ["expires_at_ms"])
    op.create_table(
        "portal_links",
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("kid", sa.String(16), nullable=False),
        sa.Column("scopes", sa.Text),
        sa.Column("created_at_ms", sa.BigInteger, nullable=False),
        sa.Column("expires_at_ms", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("digest", name="pk_portal_links"),
        sa.ForeignKeyConstraint(["kid"], ["api_keys.kid"], name="fk_portal_links_kid"),
    )
    op.create_index("ix_portal_links_expires_at_ms", "portal_links", ["expires_at_ms"])


def downgrade() -> None:
    op.drop_table("portal_links")
    op.drop_table("sessions")
