"""Drops the index of webhook messages by time: a message is removed with its last delivery.

Before that it removes messages of which a server has removed the deliveries alone, since it was stopped in
between: nothing would find them any more. They are older than every delivery, but for what was replayed.

Rolling: servers of the previous version look for what they remove without the index, which takes longer.
"""

from alembic import op

revision = "0030"
down_revision = "0029"
branch_labels = None
depends_on = None

REMOVED = """
    DELETE FROM webhook_messages
    WHERE body IS NOT NULL
        AND created_at_ms < (SELECT created_at_ms FROM webhook_deliveries ORDER BY id LIMIT 1)
        AND NOT EXISTS (SELECT 1 FROM webhook_deliveries WHERE message_id = webhook_messages.id)
"""


def upgrade() -> None:
    op.execute(REMOVED)
    op.drop_index("ix_webhook_messages_created_at_ms", "webhook_messages")


def downgrade() -> None:
    op.create_index("ix_webhook_messages_created_at_ms", "webhook_messages", ["created_at_ms"])
