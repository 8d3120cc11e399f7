"""Following jobs: when to look next, by which credential, numbered events, and how credentials fare."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_LIVE = "state IN ('dispatching', 'in_queue', 'in_progress', 'unknown')"
_FOLLOWED = "state IN ('in_queue', 'in_progress')"
_KEPT = "output IS NOT NULL"
_INDEXES = {
    "ix_generations_due": (["credential", "next_poll_at_ms"], _FOLLOWED),
    "ix_generations_live_credential": (["credential"], _LIVE),
    "ix_generations_kept": (["finished_at_ms"], _KEPT),
}
_OF_EVENTS: dict[str, sa.types.TypeEngine[Any]] = {
    "tenant_id": sa.String(36),
    "mode": sa.String(4),
    "number": sa.BigInteger(),
}
_MODES = ("live", "test")


_LISTINGS = {
    "ix_generations_listed": (),
    "ix_generations_listed_by_state": ("state",),
    "ix_generations_listed_by_model": ("model_id",),
}


def upgrade() -> None:
    for mode in _MODES:
        op.add_column(
            "tenants", sa.Column(f"{mode}_events", sa.BigInteger, nullable=False, server_default="0")
        )
    op.add_column(
        "generations", sa.Column("credential", sa.String(40), nullable=False, server_default="default")
    )
    op.add_column("generations", sa.Column("next_poll_at_ms", sa.BigInteger))
    op.add_column("generations", sa.Column("erased_at_ms", sa.BigInteger))
    op.execute("UPDATE generations SET credential = 'sandbox' WHERE mode = 'test'")
    # In the past: whatever is live is looked at soon.
    op.execute("UPDATE generations SET next_poll_at_ms = 0 WHERE state IN ('in_queue', 'in_progress')")
    for name, kind in _OF_EVENTS.items():
        op.add_column("generation_events", sa.Column(name, kind))
    _number_events()
    _forbid_nulls()
    for name, (columns, where) in _INDEXES.items():
        op.create_index(
            name, "generations", columns, sqlite_where=sa.text(where), postgresql_where=sa.text(where)
        )
    op.drop_index("ix_generations_tenant_id_created_at_ms_id", "generations")
    for name, filters in _LISTINGS.items():
        op.create_index(name, "generations", ["tenant_id", "mode", *filters, "created_at_ms", "id"])
    op.create_index(
        "uq_generation_events_tenant_id_mode_number",
        "generation_events",
        ["tenant_id", "mode", "number"],
        unique=True,
    )
    op.create_table(
        "credentials",
        sa.Column("name", sa.String(40), nullable=False),
        sa.Column("failures", sa.Integer, nullable=False),
        sa.Column("openings", sa.Integer, nullable=False),
        sa.Column("until_ms", sa.BigInteger, nullable=False),
        sa.Column("looks_too", sa.Boolean, nullable=False),
        sa.Column("reason", sa.String(64), nullable=False),
        sa.Column("changed_at_ms", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_credentials"),
    )


def _number_events() -> None:
    """Every event gets its place among those of its tenant and kind of key, in order of time."""
    op.execute(
        """
        WITH numbered AS (
            SELECT e.generation_id, e.version, g.tenant_id, g.mode, row_number() OVER (
                PARTITION BY g.tenant_id, g.mode ORDER BY e.at_ms, e.generation_id, e.version
            ) AS number
            FROM generation_events e JOIN generations g ON g.id = e.generation_id
        )
        UPDATE generation_events SET tenant_id = numbered.tenant_id, mode = numbered.mode,
            number = numbered.number
        FROM numbered WHERE numbered.generation_id = generation_events.generation_id
            AND numbered.version = generation_events.version
        """
    )
    op.execute(
        """
        UPDATE tenants SET
            live_events = (SELECT count(*) FROM generation_events e
                WHERE e.tenant_id = tenants.id AND e.mode = 'live'),
            test_events = (SELECT count(*) FROM generation_events e
                WHERE e.tenant_id = tenants.id AND e.mode = 'test')
        """
    )


def _forbid_nulls() -> None:
    """On SQLite by a copy of the table: nothing refers to it."""
    with op.batch_alter_table("generation_events") as events:
        for name, kind in _OF_EVENTS.items():
            events.alter_column(name, existing_type=kind, nullable=False)
        events.create_foreign_key(op.f("fk_generation_events_tenant_id"), "tenants", ["tenant_id"], ["id"])


def downgrade() -> None:
    op.drop_table("credentials")
    op.drop_index("uq_generation_events_tenant_id_mode_number", "generation_events")
    with op.batch_alter_table("generation_events") as events:
        events.drop_constraint("fk_generation_events_tenant_id", type_="foreignkey")
        for name in _OF_EVENTS:
            events.drop_column(name)
    for name in (*_INDEXES, *_LISTINGS):
        op.drop_index(name, "generations")
    op.create_index(
        "ix_generations_tenant_id_created_at_ms_id", "generations", ["tenant_id", "created_at_ms", "id"]
    )
    for name in ("credential", "next_poll_at_ms", "erased_at_ms"):
        op.drop_column("generations", name)
    for mode in _MODES:
        op.drop_column("tenants", f"{mode}_events")
