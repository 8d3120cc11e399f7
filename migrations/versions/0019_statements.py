"""Adds closed months of accounts, never changed and never removed, and the thresholds that were crossed.

Not rolling: a server of the previous version would not show thresholds in event streams, whose numbers would
have gaps. Stop it first.
"""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

_SUMS = (
    "entries",
    "opening_microcredits",
    "held_microcredits",
    "refunded_microcredits",
    "added_microcredits",
    "adjusted_microcredits",
    "closing_microcredits",
)


def upgrade() -> None:
    op.create_table(
        "statements",
        sa.Column("tenant_id", sa.String(36), nullable=False),
        sa.Column("mode", sa.String(4), nullable=False),
        sa.Column("month", sa.String(7), nullable=False),
        sa.Column("time_zone", sa.String(64), nullable=False),
        *(
            sa.Column(name, sa.BigInteger, nullable=False)
            for name in ("from_ms", "until_ms", "earlier_id", "last_id", *_SUMS)
        ),
        sa.Column("csv_sha256", sa.String(64), nullable=False),
        sa.Column("closed_at_ms", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "mode", "month", name="pk_statements"),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name="fk_statements_tenant_id"),
        sa.CheckConstraint("mode IN ('live', 'test')", name="ck_statements_mode"),
        sa.CheckConstraint(
            "closing_microcredits = opening_microcredits - held_microcredits + refunded_microcredits"
            " + added_microcredits + adjusted_microcredits",
            name="ck_statements_balance",
        ),
    )
    op.create_table(
        "threshold_events",
        sa.Column("tenant_id", sa.String(36), nullable=False),
        sa.Column("mode", sa.String(4), nullable=False),
        sa.Column("kid", sa.String(16), nullable=False),
        sa.Column("model_id", sa.String(200), nullable=False),
        sa.Column("end_user", sa.String(64), nullable=False),
        sa.Column("metric", sa.String(20), nullable=False),
        sa.Column("window", sa.String(30), nullable=False),
        sa.Column("percent", sa.Integer, nullable=False, autoincrement=False),
        *(sa.Column(name, sa.BigInteger, nullable=False) for name in ("amount", "used", "at_ms", "number")),
        sa.PrimaryKeyConstraint(
            "tenant_id",
            "mode",
            "kid",
            "model_id",
            "end_user",
            "metric",
            "window",
            "percent",
            name="pk_threshold_events",
        ),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name="fk_threshold_events_tenant_id"),
        sa.CheckConstraint("mode IN ('live', 'test')", name="ck_threshold_events_mode"),
    )
    op.create_index(
        "uq_threshold_events_tenant_id_mode_number",
        "threshold_events",
        ["tenant_id", "mode", "number"],
        unique=True,
    )
    op.create_index("ix_threshold_events_at_ms", "threshold_events", ["at_ms", "number"])
    op.create_index("ix_threshold_events_of_tenant", "threshold_events", ["tenant_id", "at_ms", "number"])
    if op.get_bind().dialect.name == "sqlite":
        for action in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER statements_no_{action.lower()} BEFORE {action} ON statements"
                " BEGIN SELECT RAISE(ABORT, 'statements are never changed'); END"
            )
        return
    op.execute(
        "CREATE FUNCTION statements_refuse() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE EXCEPTION 'statements are never changed'; END $$"
    )
    op.execute(
        "CREATE TRIGGER statements_no_change BEFORE UPDATE OR DELETE OR TRUNCATE ON statements"
        " FOR EACH STATEMENT EXECUTE FUNCTION statements_refuse()"
    )


def downgrade() -> None:
    # Numbers of events that only thresholds have would be gaps to the previous version.
    op.drop_table("threshold_events")
    op.drop_table("statements")
    if op.get_bind().dialect.name != "sqlite":
        op.execute("DROP FUNCTION statements_refuse()")
