"""Adds webhooks: endpoints, messages, deliveries with their attempts, replays, and the operator's conditions.

Rolling: a server of the previous version writes no messages and sends none. So create endpoints only once
every server is of this version.
"""

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None

_MODE = "mode IN ('live', 'test')"
_PENDING = "state = 'pending'"
_DELIVERING = "state = 'delivering'"
_UNDELIVERED = "state IN ('failed', 'cancelled')"
_UNUSUAL = "type <> 'request.completed'"
_RUNNING = "state = 'running'"
_OWED = "body IS NULL"


def upgrade() -> None:
    for name in ("live_webhooks", "test_webhooks"):
        op.add_column("tenants", sa.Column(name, sa.BigInteger, nullable=False, server_default="0"))
    op.add_column("generations", sa.Column("webhook_endpoint_id", sa.String(40)))
    _endpoints()
    _messages()
    _deliveries()
    _replays()
    op.create_table(
        "endpoint_events",
        sa.Column("tenant_id", sa.String(36), nullable=False),
        sa.Column("mode", sa.String(4), nullable=False),
        sa.Column("number", sa.BigInteger, nullable=False, autoincrement=False),
        sa.Column("endpoint_id", sa.String(40), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("reason", sa.String(40), nullable=False),
        sa.Column("at_ms", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "mode", "number", name="pk_endpoint_events"),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name="fk_endpoint_events_tenant_id"),
        sa.CheckConstraint(_MODE, name="ck_endpoint_events_mode"),
    )
    op.create_table(
        "operator_conditions",
        sa.Column("name", sa.String(40), nullable=False),
        sa.Column("subject", sa.String(80), nullable=False),
        sa.Column("is_raised", sa.Boolean(create_constraint=False), nullable=False),
        sa.Column("changes", sa.Integer, nullable=False),
        sa.Column("changed_at_ms", sa.BigInteger, nullable=False),
        sa.Column("seen_at_ms", sa.BigInteger, nullable=False),
        sa.Column("details", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("name", "subject", name="pk_operator_conditions"),
    )


def _endpoints() -> None:
    op.create_table(
        "webhook_endpoints",
        sa.Column("id", sa.String(40), nullable=False),
        sa.Column("tenant_id", sa.String(36), nullable=False),
        sa.Column("mode", sa.String(4), nullable=False),
        sa.Column("url", sa.String(2048), nullable=False),
        sa.Column("description", sa.String(200), nullable=False, server_default=""),
        sa.Column("events", sa.Text),
        sa.Column("vendor_links", sa.Boolean(create_constraint=False), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("state_reason", sa.String(40)),
        sa.Column("state_since_ms", sa.BigInteger, nullable=False),
        sa.Column("signature", sa.String(4), nullable=False),
        sa.Column("secret", sa.Text, nullable=False),
        sa.Column("previous_secret", sa.Text),
        sa.Column("previous_until_ms", sa.BigInteger),
        sa.Column("failing_since_ms", sa.BigInteger),
        sa.Column("gone_since_ms", sa.BigInteger),
        sa.Column("held_until_ms", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("active_from_ms", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("version", sa.Integer, nullable=False, server_default="1"),
        sa.Column("created_at_ms", sa.BigInteger, nullable=False),
        sa.Column("changed_at_ms", sa.BigInteger, nullable=False),
        sa.Column("deleted_at_ms", sa.BigInteger),
        sa.PrimaryKeyConstraint("id", name="pk_webhook_endpoints"),
        sa.CheckConstraint(_MODE, name="ck_webhook_endpoints_mode"),
        sa.CheckConstraint("signature IN ('v1', 'v1a')", name="ck_webhook_endpoints_signature"),
    )
    op.create_index("ix_webhook_endpoints_listed", "webhook_endpoints", ["tenant_id", "mode", "id"])


def _messages() -> None:
    op.create_table(
        "webhook_messages",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("tenant_id", sa.String(36), nullable=False),
        sa.Column("mode", sa.String(4), nullable=False),
        sa.Column("type", sa.String(40), nullable=False),
        sa.Column("body", sa.Text),
        sa.Column("linked_body", sa.Text),
        sa.Column("generation_id", sa.String(36)),
        sa.Column("created_at_ms", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_webhook_messages"),
        sa.CheckConstraint(_MODE, name="ck_webhook_messages_mode"),
    )
    op.create_index("ix_webhook_messages_created_at_ms", "webhook_messages", ["created_at_ms"])
    _partial("ix_webhook_messages_owed", "webhook_messages", ["created_at_ms"], _OWED)


def _deliveries() -> None:
    op.create_table(
        "webhook_deliveries",
        sa.Column("id", sa.String(40), nullable=False),
        sa.Column("message_id", sa.String(64), nullable=False),
        sa.Column("endpoint_id", sa.String(40), nullable=False),
        sa.Column("tenant_id", sa.String(36), nullable=False),
        sa.Column("mode", sa.String(4), nullable=False),
        sa.Column("type", sa.String(40), nullable=False),
        sa.Column("cause", sa.String(8), nullable=False),
        sa.Column("replay_id", sa.String(40)),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
        sa.Column("next_at_ms", sa.BigInteger, nullable=False),
        sa.Column("lease_until_ms", sa.BigInteger),
        sa.Column("last_at_ms", sa.BigInteger),
        sa.Column("last_status", sa.Integer),
        sa.Column("last_error", sa.String(40)),
        sa.Column("created_at_ms", sa.BigInteger, nullable=False),
        sa.Column("finished_at_ms", sa.BigInteger),
        sa.PrimaryKeyConstraint("id", name="pk_webhook_deliveries"),
        sa.CheckConstraint(_MODE, name="ck_webhook_deliveries_mode"),
    )
    table = "webhook_deliveries"
    op.create_index("ix_webhook_deliveries_of_message", table, ["message_id", "endpoint_id"])
    op.create_index("ix_webhook_deliveries_listed", table, ["tenant_id", "mode", "id"])
    op.create_index("ix_webhook_deliveries_of_endpoint", table, ["endpoint_id", "id"])
    _partial("ix_webhook_deliveries_pending", table, ["endpoint_id", "next_at_ms"], _PENDING)
    _partial("ix_webhook_deliveries_delivering", table, ["endpoint_id", "lease_until_ms"], _DELIVERING)
    _partial("ix_webhook_deliveries_undelivered", table, ["endpoint_id", "id"], _UNDELIVERED)
    _partial("ix_webhook_deliveries_unusual", table, ["tenant_id", "mode", "type", "id"], _UNUSUAL)
    op.create_table(
        "webhook_attempts",
        sa.Column("delivery_id", sa.String(40), nullable=False),
        sa.Column("n", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("at_ms", sa.BigInteger, nullable=False),
        sa.Column("ms", sa.Integer, nullable=False),
        sa.Column("status", sa.Integer),
        sa.Column("error", sa.String(40)),
        sa.Column("answer", sa.Text),
        sa.PrimaryKeyConstraint("delivery_id", "n", name="pk_webhook_attempts"),
    )


def _replays() -> None:
    op.create_table(
        "webhook_replays",
        sa.Column("id", sa.String(40), nullable=False),
        sa.Column("endpoint_id", sa.String(40), nullable=False),
        sa.Column("tenant_id", sa.String(36), nullable=False),
        sa.Column("mode", sa.String(4), nullable=False),
        sa.Column("since_ms", sa.BigInteger, nullable=False),
        sa.Column("until_ms", sa.BigInteger, nullable=False),
        sa.Column("only_undelivered", sa.Boolean(create_constraint=False), nullable=False),
        sa.Column("types", sa.Text),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("position", sa.String(40), nullable=False, server_default=""),
        sa.Column("seen", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("made", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("created_at_ms", sa.BigInteger, nullable=False),
        sa.Column("changed_at_ms", sa.BigInteger, nullable=False),
        sa.Column("finished_at_ms", sa.BigInteger),
        sa.PrimaryKeyConstraint("id", name="pk_webhook_replays"),
        sa.CheckConstraint(_MODE, name="ck_webhook_replays_mode"),
    )
    op.create_index("ix_webhook_replays_of_endpoint", "webhook_replays", ["endpoint_id", "id"])
    _partial("ix_webhook_replays_running", "webhook_replays", ["id"], _RUNNING)


def _partial(name: str, table: str, columns: list[str], where: str) -> None:
    op.create_index(name, table, columns, sqlite_where=sa.text(where), postgresql_where=sa.text(where))


def downgrade() -> None:
    for table in (
        "operator_conditions",
        "endpoint_events",
        "webhook_replays",
        "webhook_attempts",
        "webhook_deliveries",
        "webhook_messages",
        "webhook_endpoints",
    ):
        op.drop_table(table)
    op.drop_column("generations", "webhook_endpoint_id")
    op.drop_column("tenants", "test_webhooks")
    op.drop_column("tenants", "live_webhooks")
