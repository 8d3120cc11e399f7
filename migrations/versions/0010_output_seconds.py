"""Adds seconds of output: how many a request orders, and the sums that are held and spent.

Requests from before this migration count 0 seconds, because nothing says how many they ordered. So a limit on
seconds counts only requests that are made after it.

Not rolling: a server of the previous version would end a hold without its seconds. Stop it first.
"""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

_COLUMNS = (
    ("generations", "output_seconds"),
    ("quota_usage", "held_output_seconds"),
    ("quota_usage", "spent_output_seconds"),
)


def upgrade() -> None:
    for table, column in _COLUMNS:
        op.add_column(table, sa.Column(column, sa.BigInteger, nullable=False, server_default="0"))


def downgrade() -> None:
    # The previous version does not know such limits, and fails on them.
    op.execute("DELETE FROM quota_limits WHERE metric LIKE 'output-seconds-%'")
    for table, column in reversed(_COLUMNS):
        op.drop_column(table, column)
