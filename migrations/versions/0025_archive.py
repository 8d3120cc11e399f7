"""Adds what is kept of archived requests: batches, ids, keys and sums; their entries may leave the ledger.

Rolling: servers of the previous version know no archived request, and only `reelgate archive` makes any.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None

_COUNTS = (
    "held_generations",
    "held_microcredits",
    "spent_generations",
    "spent_microcredits",
    "refunded_generations",
    "refunded_microcredits",
    "refused_calls",
    "ended_generations",
    "added_microcredits",
    "adjusted_microcredits",
    "cost_microusd",
)
_KEYED = "idempotency_key IS NOT NULL"
_REFUSED = "the ledger is append-only"
_IS_ARCHIVED = "EXISTS (SELECT 1 FROM archived_requests WHERE id = coalesce(OLD.generation_id, OLD.about_id))"


def _of_account() -> list[Any]:
    return [
        sa.Column("tenant_id", sa.String(36), nullable=False),
        sa.Column("mode", sa.String(4), nullable=False),
    ]


def upgrade() -> None:
    op.create_table(
        "archive_batches",
        sa.Column("id", sa.String(36), nullable=False),
        *_of_account(),
        sa.Column("file", sa.String(200), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("requests", sa.Integer, nullable=False),
        sa.Column("events", sa.Integer, nullable=False),
        sa.Column("entries", sa.Integer, nullable=False),
        sa.Column("last_event_number", sa.BigInteger, nullable=False),
        sa.Column("at_ms", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_archive_batches"),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name="fk_archive_batches_tenant_id"),
    )
    op.create_table(
        "archived_requests",
        sa.Column("id", sa.String(36), nullable=False),
        *_of_account(),
        sa.Column("batch_id", sa.String(36), nullable=False),
        sa.Column("key_space", sa.String(80), nullable=False),
        sa.Column("idempotency_key", sa.String(255)),
        sa.PrimaryKeyConstraint("id", name="pk_archived_requests"),
        sa.ForeignKeyConstraint(["batch_id"], ["archive_batches.id"], name="fk_archived_requests_batch_id"),
    )
    op.create_index(
        "ix_archived_requests_keys",
        "archived_requests",
        ["tenant_id", "key_space", "idempotency_key"],
        sqlite_where=sa.text(_KEYED),
        postgresql_where=sa.text(_KEYED),
    )
    op.create_index("ix_archived_requests_batch_id", "archived_requests", ["batch_id"])
    op.create_table(
        "archived_charges",
        *_of_account(),
        sa.Column("kid", sa.String(16), nullable=False),
        sa.Column("model_id", sa.String(200), nullable=False),
        sa.Column("end_user", sa.String(64), nullable=False),
        sa.Column("quota_day", sa.String(10), nullable=False),
        *(
            sa.Column(name, sa.BigInteger, nullable=False)
            for name in ("generations", "microcredits", "output_seconds")
        ),
        sa.PrimaryKeyConstraint(
            "tenant_id", "mode", "kid", "model_id", "end_user", "quota_day", name="pk_archived_charges"
        ),
    )
    op.create_table(
        "archived_usage",
        *_of_account(),
        sa.Column("facet", sa.String(8), nullable=False),
        sa.Column("period", sa.BigInteger, nullable=False, autoincrement=False),
        sa.Column("subject", sa.String(64), nullable=False),
        sa.Column("kid", sa.String(16), nullable=False),
        sa.Column("model_id", sa.String(200), nullable=False),
        sa.Column("outcome", sa.String(16), nullable=False),
        *(sa.Column(name, sa.BigInteger, nullable=False, server_default="0") for name in _COUNTS),
        sa.PrimaryKeyConstraint(
            *("tenant_id", "mode", "facet", "period", "subject", "kid", "model_id", "outcome"),
            name="pk_archived_usage",
        ),
    )
    op.create_table(
        "archived_months",
        *_of_account(),
        sa.Column("month", sa.String(7), nullable=False),
        sa.Column("kind", sa.String(10), nullable=False),
        sa.Column("entries", sa.BigInteger, nullable=False),
        sa.Column("microcredits", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "mode", "month", "kind", name="pk_archived_months"),
    )
    _let_archived_entries_go()


def _let_archived_entries_go() -> None:
    if op.get_bind().dialect.name == "sqlite":
        op.execute("DROP TRIGGER ledger_entries_no_delete")
        op.execute(
            "CREATE TRIGGER ledger_entries_no_delete BEFORE DELETE ON ledger_entries"
            f" WHEN NOT {_IS_ARCHIVED} BEGIN SELECT RAISE(ABORT, '{_REFUSED}'); END"
        )
        return
    op.execute("DROP TRIGGER ledger_entries_no_change ON ledger_entries")
    op.execute(
        "CREATE TRIGGER ledger_entries_no_change BEFORE UPDATE OR TRUNCATE ON ledger_entries"
        " FOR EACH STATEMENT EXECUTE FUNCTION ledger_entries_refuse()"
    )
    op.execute(
        "CREATE FUNCTION ledger_entries_refuse_delete() RETURNS trigger LANGUAGE plpgsql AS"
        f" $$ BEGIN IF NOT {_IS_ARCHIVED} THEN RAISE EXCEPTION '{_REFUSED}'; END IF; RETURN OLD; END $$"
    )
    op.execute(
        "CREATE TRIGGER ledger_entries_no_delete BEFORE DELETE ON ledger_entries"
        " FOR EACH ROW EXECUTE FUNCTION ledger_entries_refuse_delete()"
    )


def downgrade() -> None:
    if op.get_bind().dialect.name == "sqlite":
        op.execute("DROP TRIGGER ledger_entries_no_delete")
        op.execute(
            "CREATE TRIGGER ledger_entries_no_delete BEFORE DELETE ON ledger_entries"
            f" BEGIN SELECT RAISE(ABORT, '{_REFUSED}'); END"
        )
    else:
        for name in ("delete", "change"):
            op.execute(f"DROP TRIGGER ledger_entries_no_{name} ON ledger_entries")
        op.execute("DROP FUNCTION ledger_entries_refuse_delete()")
        op.execute(
            "CREATE TRIGGER ledger_entries_no_change BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger_entries"
            " FOR EACH STATEMENT EXECUTE FUNCTION ledger_entries_refuse()"
        )
    for table in ("months", "usage", "charges", "requests"):
        op.drop_table(f"archived_{table}")
    op.drop_table("archive_batches")
