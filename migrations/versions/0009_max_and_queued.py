"""Renames columns to the names of the API: `max_…` for upper limits, `queued`, `visibility`.

Not rolling: servers of the previous version use the old names. Stop them first.
"""

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_RENAMED = (
    ("tenants", "most_waiting", "max_queued"),
    ("queues", "waiting", "queued"),
    ("client_tokens", "most_generations", "max_generations"),
    ("client_tokens", "most_microcredits", "max_microcredits"),
    ("client_tokens", "sees", "visibility"),
)


def upgrade() -> None:
    # Plain SQL: both databases rename a column in place, in its indexes and constraints too.
    for table, before, after in _RENAMED:
        op.execute(f"ALTER TABLE {table} RENAME COLUMN {before} TO {after}")


def downgrade() -> None:
    for table, before, after in _RENAMED:
        op.execute(f"ALTER TABLE {table} RENAME COLUMN {after} TO {before}")
