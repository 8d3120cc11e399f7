"""A queue in front of the upstream: who may wait in it, in what order, and whose turn it is.

Rolling: servers of the version before go on beside it. They send nothing that waits, and until they are gone
their own submits do not look at the queue.
"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_WAITS = sa.text("state = 'accepted'")
_STARTS = sa.text("state = 'accepted' AND start_deadline_ms IS NOT NULL")


def upgrade() -> None:
    op.add_column("tenants", sa.Column("queueing", sa.Boolean))
    op.add_column("tenants", sa.Column("most_waiting", sa.Integer))
    op.add_column("tenants", sa.Column("weight", sa.Integer, nullable=False, server_default="1"))
    op.add_column("tenants", sa.Column("dispatch_paused_at_ms", sa.BigInteger))
    op.add_column("api_keys", sa.Column("queueing", sa.Boolean))
    op.add_column("generations", sa.Column("ticket", sa.BigInteger))
    op.add_column("generations", sa.Column("returns", sa.Integer, nullable=False, server_default="0"))
    op.add_column("generations", sa.Column("sent_at_ms", sa.BigInteger))
    op.add_column("generations", sa.Column("attempt", sa.String(32)))
    op.add_column("generations", sa.Column("start_deadline_ms", sa.BigInteger))
    op.add_column("credentials", sa.Column("capacity", sa.Integer))
    op.add_column("credentials", sa.Column("capacity_at_ms", sa.BigInteger))
    for name, columns in {
        "ix_generations_waiting": ["tenant_id", "mode", "ticket"],
        "ix_generations_waiting_lane": ["tenant_id", "mode", "root_kid", "model_id", "ticket"],
    }.items():
        op.create_index(name, "generations", columns, sqlite_where=_WAITS, postgresql_where=_WAITS)
    op.create_index(
        "ix_generations_start_deadline",
        "generations",
        ["start_deadline_ms"],
        sqlite_where=_STARTS,
        postgresql_where=_STARTS,
    )
    op.create_table(
        "queues",
        sa.Column("tenant_id", sa.String(36), nullable=False),
        sa.Column("mode", sa.String(4), nullable=False),
        sa.Column("waiting", sa.Integer, nullable=False),
        sa.Column("tickets", sa.BigInteger, nullable=False),
        sa.Column("served", sa.BigInteger, nullable=False),
        sa.Column("tag", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "mode", name="pk_queues"),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name="fk_queues_tenant_id"),
        sa.CheckConstraint("mode IN ('live', 'test')", name=op.f("ck_queues_mode")),
        sa.CheckConstraint("waiting >= 0", name=op.f("ck_queues_waiting")),
    )
    waiting = sa.text("waiting > 0")
    op.create_index(
        "ix_queues_turn", "queues", ["mode", "tag"], sqlite_where=waiting, postgresql_where=waiting
    )
    turns = op.create_table(
        "turns",
        sa.Column("mode", sa.String(4), nullable=False),
        sa.Column("virtual", sa.BigInteger, nullable=False),
        sa.Column("paused_at_ms", sa.BigInteger),
        sa.PrimaryKeyConstraint("mode", name="pk_turns"),
        sa.CheckConstraint("mode IN ('live', 'test')", name=op.f("ck_turns_mode")),
    )
    op.bulk_insert(turns, [{"mode": "live", "virtual": 0}, {"mode": "test", "virtual": 0}])


def downgrade() -> None:
    op.drop_table("turns")
    op.drop_table("queues")
    for name in ("start_deadline", "waiting_lane", "waiting"):
        op.drop_index(f"ix_generations_{name}", "generations")
    op.drop_column("credentials", "capacity_at_ms")
    op.drop_column("credentials", "capacity")
    for name in ("start_deadline_ms", "attempt", "sent_at_ms", "returns", "ticket"):
        op.drop_column("generations", name)
    op.drop_column("api_keys", "queueing")
    for name in ("dispatch_paused_at_ms", "weight", "most_waiting", "queueing"):
        op.drop_column("tenants", name)
