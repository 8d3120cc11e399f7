"""Messages of webhooks name the endpoints that hear them, from which their deliveries are made afterwards.

What is there has its deliveries, so nothing is filled in.

Rolling: servers of the version before write a message with its deliveries, and do not make those of messages
that name endpoints. What a new server tells is sent as soon as a new server or worker runs that sends.
"""

import sqlalchemy as sa
from alembic import op

revision = "0034"
down_revision = "0030"
branch_labels = None
depends_on = None

_HEARD = sa.text("heard_by IS NOT NULL")


def upgrade() -> None:
    op.add_column("webhook_messages", sa.Column("heard_by", sa.Text()))
    op.create_index(
        "ix_webhook_messages_heard",
        "webhook_messages",
        ["created_at_ms"],
        sqlite_where=_HEARD,
        postgresql_where=_HEARD,
    )


def downgrade() -> None:
    op.drop_index("ix_webhook_messages_heard", "webhook_messages")
    op.drop_column("webhook_messages", "heard_by")
