"""Limits, usage and the ledger; what a generation counts in; the first key of a rotation; time zones."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_LIVE = sa.text("state IN ('dispatching', 'in_queue', 'in_progress', 'unknown')")
_ENDS = sa.text("kind IN ('settle', 'refund')")
_OWNED = ("quota_limits", "quota_usage")


def upgrade() -> None:
    op.add_column("tenants", sa.Column("time_zone", sa.String(64), nullable=False, server_default="UTC"))
    op.add_column("api_keys", sa.Column("root_kid", sa.String(16)))
    _find_roots()
    for column in (
        sa.Column("root_kid", sa.String(16)),
        sa.Column("quota_day", sa.String(10)),
        sa.Column("settles_in", sa.String(100)),
        sa.Column("charge", sa.String(8)),
    ):
        op.add_column("generations", column)
    op.create_index(
        "ix_generations_live",
        "generations",
        ["tenant_id", "mode", "root_kid", "model_id"],
        sqlite_where=_LIVE,
        postgresql_where=_LIVE,
    )
    op.create_table(
        "quota_limits",
        *_scope("quota_limits"),
        sa.Column("metric", sa.String(20), nullable=False),
        sa.Column("amount", sa.BigInteger),
        sa.Column("burst", sa.Integer),
        sa.Column("changed_at_ms", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "mode", "kid", "model_id", "metric", name="pk_quota_limits"),
    )
    op.create_table(
        "quota_usage",
        *_scope("quota_usage"),
        sa.Column("period", sa.String(10), nullable=False),
        *(
            sa.Column(f"{what}_{unit}", sa.BigInteger, nullable=False)
            for unit in ("generations", "microcredits")
            for what in ("held", "spent")
        ),
        sa.Column("added_microcredits", sa.BigInteger, nullable=False),
        sa.Column("tat_us", sa.BigInteger),
        sa.PrimaryKeyConstraint("tenant_id", "mode", "kid", "model_id", "period", name="pk_quota_usage"),
    )
    _make_ledger()


def _scope(table: str) -> list[sa.schema.SchemaItem]:
    return [
        sa.Column("tenant_id", sa.String(36), nullable=False),
        sa.Column("mode", sa.String(4), nullable=False),
        sa.Column("kid", sa.String(16), nullable=False),
        sa.Column("model_id", sa.String(200), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=f"fk_{table}_tenant_id"),
        sa.CheckConstraint("mode IN ('live', 'test')", name=op.f(f"ck_{table}_mode")),
    ]


def _find_roots() -> None:
    """Every key that was made by a rotation learns the first of its line."""
    connection = op.get_bind()
    keys = sa.table("api_keys", *(sa.column(name) for name in ("kid", "rotated_to", "root_kid")))
    rotated = connection.execute(
        sa.select(keys.c.kid, keys.c.rotated_to).where(keys.c.rotated_to.is_not(None))
    )
    before = {row.rotated_to: row.kid for row in rotated}
    for kid in before:
        root = kid
        while root in before:
            root = before[root]
        connection.execute(sa.update(keys).where(keys.c.kid == kid).values(root_kid=root))


def _make_ledger() -> None:
    op.create_table(
        "ledger_entries",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), sa.Identity(always=True)),
        *_scope("ledger_entries"),
        sa.Column("kind", sa.String(10), nullable=False),
        sa.Column("generation_id", sa.String(36)),
        sa.Column("microcredits", sa.BigInteger, nullable=False),
        sa.Column("at_ms", sa.BigInteger, nullable=False),
        sa.Column("note", sa.String(200)),
        sa.Column("reference", sa.String(100)),
        sa.PrimaryKeyConstraint("id", name="pk_ledger_entries"),
        sa.ForeignKeyConstraint(
            ["generation_id"], ["generations.id"], name="fk_ledger_entries_generation_id"
        ),
        sa.CheckConstraint(
            "kind IN ('hold', 'settle', 'refund', 'top-up', 'adjustment')",
            name=op.f("ck_ledger_entries_kind"),
        ),
        sa.CheckConstraint(
            "(generation_id IS NOT NULL) = (kind IN ('hold', 'settle', 'refund'))",
            name=op.f("ck_ledger_entries_generation"),
        ),
    )
    op.create_index(
        "uq_ledger_entries_generation_id_kind", "ledger_entries", ["generation_id", "kind"], unique=True
    )
    op.create_index(
        "uq_ledger_entries_end",
        "ledger_entries",
        ["generation_id"],
        unique=True,
        sqlite_where=_ENDS,
        postgresql_where=_ENDS,
    )
    op.create_index(
        "uq_ledger_entries_reference",
        "ledger_entries",
        ["tenant_id", "mode", "kind", "reference"],
        unique=True,
    )
    op.create_index("ix_ledger_entries_tenant_id_id", "ledger_entries", ["tenant_id", "id"])
    if op.get_bind().dialect.name == "sqlite":
        for action in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER ledger_entries_no_{action.lower()} BEFORE {action} ON ledger_entries"
                " BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END"
            )
        return
    op.execute(
        "CREATE FUNCTION ledger_entries_refuse() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE EXCEPTION 'the ledger is append-only'; END $$"
    )
    op.execute(
        "CREATE TRIGGER ledger_entries_no_change BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger_entries"
        " FOR EACH STATEMENT EXECUTE FUNCTION ledger_entries_refuse()"
    )


def downgrade() -> None:
    op.drop_table("ledger_entries")
    if op.get_bind().dialect.name != "sqlite":
        op.execute("DROP FUNCTION ledger_entries_refuse()")
    for table in _OWNED:
        op.drop_table(table)
    op.drop_index("ix_generations_live", "generations")
    for name in ("root_kid", "quota_day", "settles_in", "charge"):
        op.drop_column("generations", name)
    op.drop_column("api_keys", "root_kid")
    op.drop_column("tenants", "time_zone")
