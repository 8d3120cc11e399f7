"""Seconds of output: what a request orders, and the sums of what is held and spent.

What was made before counts 0 seconds, whatever it ordered: nothing says how much that was. A limit on seconds
that is set in the middle of a month counts from here on.

Not rolling: a server of the version before would end a hold without its seconds. Stop it first.
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
    # The version before knows no such limits, and would not start with one.
    op.execute("DELETE FROM quota_limits WHERE metric LIKE 'output-seconds-%'")
    for table, column in reversed(_COLUMNS):
        op.drop_column(table, column)
