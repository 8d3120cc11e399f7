"""An index for the unknown generations, by age."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_UNKNOWN = sa.text("state = 'unknown'")


def upgrade() -> None:
    op.create_index(
        "ix_generations_unknown_changed_at_ms",
        "generations",
        ["changed_at_ms"],
        sqlite_where=_UNKNOWN,
        postgresql_where=_UNKNOWN,
    )


def downgrade() -> None:
    op.drop_index("ix_generations_unknown_changed_at_ms", "generations")
