"""Drops the index of webhook messages by time: a message is removed with its last delivery.

Rolling: servers of the previous version look for what they remove without the index, which takes longer.
"""

from alembic import op

revision = "0030"
down_revision = "0029"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.drop_index("ix_webhook_messages_created_at_ms", "webhook_messages")


def downgrade() -> None:
    op.create_index("ix_webhook_messages_created_at_ms", "webhook_messages", ["created_at_ms"])
