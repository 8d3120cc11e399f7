"""Adds roll-ups of usage, filled from the ledger, and what corrections of prices need.

Everything that was entered before counts in the hours and days of the time zone that its tenant has now. Of
these, hours older than the horizon of the settings are removed by the next server that runs the loops.

Not rolling: a server of the previous version would enter holds that the roll-ups do not have. Stop it first.
"""

from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

_KEY = ("tenant_id", "mode", "facet", "period", "subject", "kid", "model_id", "outcome")
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
_SUBJECT = "subject <> ''"
_ABOUT = "about_id IS NOT NULL"
_QUARTER_MS = 900_000
_BATCH = 500


def upgrade() -> None:
    op.add_column("tenants", sa.Column("time_zone_since_ms", sa.BigInteger))
    op.add_column("generations", sa.Column("repriced_microcredits", sa.BigInteger))
    op.add_column("ledger_entries", sa.Column("about_id", sa.String(36)))
    op.create_index(
        "ix_ledger_entries_listed", "ledger_entries", ["tenant_id", "mode", "kind", "at_ms", "id"]
    )
    op.create_index(
        "ix_ledger_entries_about",
        "ledger_entries",
        ["about_id"],
        sqlite_where=sa.text(_ABOUT),
        postgresql_where=sa.text(_ABOUT),
    )
    counts = op.create_table(
        "usage_counts",
        sa.Column("tenant_id", sa.String(36), nullable=False),
        sa.Column("mode", sa.String(4), nullable=False),
        sa.Column("facet", sa.String(8), nullable=False),
        sa.Column("period", sa.BigInteger, nullable=False, autoincrement=False),
        sa.Column("subject", sa.String(64), nullable=False),
        sa.Column("kid", sa.String(16), nullable=False),
        sa.Column("model_id", sa.String(200), nullable=False),
        sa.Column("outcome", sa.String(16), nullable=False),
        *(sa.Column(name, sa.BigInteger, nullable=False, server_default="0") for name in _COUNTS),
        sa.PrimaryKeyConstraint(*_KEY, name="pk_usage_counts"),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name="fk_usage_counts_tenant_id"),
        sa.CheckConstraint("mode IN ('live', 'test')", name="ck_usage_counts_mode"),
    )
    op.create_index(
        "ix_usage_counts_subject",
        "usage_counts",
        ["tenant_id", "mode", "facet", "subject", "period"],
        sqlite_where=sa.text(_SUBJECT),
        postgresql_where=sa.text(_SUBJECT),
    )
    op.create_index("ix_usage_counts_period", "usage_counts", ["mode", "facet", "period"])
    rows = [dict(zip((*_KEY, *_COUNTS), (*key, *sums), strict=True)) for key, sums in _filled().items()]
    for first in range(0, len(rows), _BATCH):
        op.bulk_insert(counts, rows[first : first + _BATCH])


def downgrade() -> None:
    op.drop_table("usage_counts")
    op.drop_index("ix_ledger_entries_about", "ledger_entries")
    op.drop_index("ix_ledger_entries_listed", "ledger_entries")
    op.drop_column("ledger_entries", "about_id")
    op.drop_column("generations", "repriced_microcredits")
    op.drop_column("tenants", "time_zone_since_ms")


_ENTRIES = """
    SELECT tenant_id, mode, quarter, kid, model_id, end_user, token_id, outcome, kind, count(*) AS entries,
    sum(amount) AS amount FROM (
        SELECT l.tenant_id, l.mode, l.at_ms / 900000 AS quarter, l.kind,
        coalesce(g.root_kid, g.kid, l.kid) AS kid, coalesce(g.model_id, l.model_id) AS model_id,
        coalesce(g.end_user, '') AS end_user, coalesce(g.token_id, '') AS token_id,
        CASE l.kind WHEN 'hold' THEN 'submitted' WHEN 'refund' THEN g.state
        WHEN 'settle' THEN coalesce((SELECT e.state FROM generation_events e
            WHERE e.generation_id = g.id AND e.at_ms = l.at_ms AND (e.reason = 'resolved_charged'
            OR ',' || g.settles_in || ',' LIKE '%,' || e.state || ',%')
            ORDER BY e.version LIMIT 1), g.state)
        ELSE '' END AS outcome,
        CASE l.kind WHEN 'hold' THEN -l.microcredits WHEN 'settle' THEN g.price_microcredits
        ELSE l.microcredits END AS amount
        FROM ledger_entries l LEFT JOIN generations g ON g.id = l.generation_id
    ) AS entry
    GROUP BY tenant_id, mode, quarter, kid, model_id, end_user, token_id, outcome, kind
"""
_ENDED = """
    SELECT tenant_id, mode, finished_at_ms / 900000 AS quarter, coalesce(root_kid, kid) AS kid, model_id,
    coalesce(end_user, '') AS end_user, coalesce(token_id, '') AS token_id, state AS outcome,
    upstream_cost_usd, count(*) AS ended
    FROM generations WHERE finished_at_ms IS NOT NULL AND charge IS NOT NULL
    GROUP BY tenant_id, mode, finished_at_ms / 900000, coalesce(root_kid, kid), model_id,
    coalesce(end_user, ''), coalesce(token_id, ''), state, upstream_cost_usd
"""
_NAMES = {"hold": "held", "settle": "spent", "refund": "refunded"}


def _filled() -> dict[tuple[Any, ...], list[int]]:
    """Returns the sums of all that was entered before, by the key of their row."""
    connection = op.get_bind()
    zones = {row.id: _zone(row.time_zone) for row in connection.execute(sa.text("SELECT * FROM tenants"))}
    found: dict[tuple[Any, ...], list[int]] = defaultdict(lambda: [0] * len(_COUNTS))

    def add(row: Any, **counts: int) -> None:
        for facet, period, subject in _rows_of(row, zones[row.tenant_id]):
            key = (row.tenant_id, row.mode, facet, period, subject, row.kid, row.model_id, row.outcome)
            for name, amount in counts.items():
                found[key][_COUNTS.index(name)] += int(amount)

    for row in connection.execute(sa.text(_ENTRIES)):
        if (name := _NAMES.get(row.kind)) is not None:
            add(row, **{f"{name}_generations": row.entries, f"{name}_microcredits": row.amount})
        elif row.kind == "top-up":
            add(row, added_microcredits=row.amount)
        else:
            add(row, adjusted_microcredits=row.amount)
    for row in connection.execute(sa.text(_ENDED)):
        cost_microusd = row.ended * _microusd(row.upstream_cost_usd)
        add(row, ended_generations=row.ended, cost_microusd=cost_microusd)
    return found


def _rows_of(row: Any, zone: ZoneInfo) -> Iterator[tuple[str, int, str]]:
    """Yields facet, period and subject of every row that an entry counts in."""
    at_ms = row.quarter * _QUARTER_MS
    local = datetime.fromtimestamp(at_ms / 1000, UTC).astimezone(zone)
    day = local.year * 10_000 + local.month * 100 + local.day
    yield "hour", at_ms - (local.minute * 60 + local.second) * 1000, ""
    yield "day", day, ""
    if row.end_user:
        yield "end_user", day, row.end_user
    if row.token_id:
        yield "token", day, row.token_id


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return ZoneInfo("UTC")


def _microusd(cost_usd: str | None) -> int:
    try:
        amount = int((Decimal(cost_usd or 0) * 1_000_000).to_integral_value())
    except (InvalidOperation, ValueError, OverflowError):
        return 0
    return min(max(amount, 0), 10**15)
