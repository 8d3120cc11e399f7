"""Every table. Times are milliseconds since 1970 in UTC; JSON is text in the form of `kit.strict_json`.

Constraint names follow one convention so that migrations can name them on both databases.
"""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    text,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

ID_LENGTH = 36

tenants = Table(
    "tenants",
    metadata,
    Column("id", String(ID_LENGTH), primary_key=True),
    Column("name", String(100), nullable=False, unique=True),
    Column("created_at_ms", BigInteger, nullable=False),
    Column("disabled_at_ms", BigInteger),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("kid", String(16), primary_key=True),
    Column("tenant_id", String(ID_LENGTH), ForeignKey("tenants.id"), nullable=False, index=True),
    Column("name", String(100), nullable=False),
    Column("mode", String(4), nullable=False),
    Column("digest", String(64), nullable=False),
    Column("pepper_id", String(8), nullable=False),
    Column("last_four", String(4), nullable=False),
    Column("scopes", Text, nullable=False),
    Column("models", Text),
    Column("created_at_ms", BigInteger, nullable=False),
    Column("expires_at_ms", BigInteger),
    Column("revoked_at_ms", BigInteger),
    Column("rotated_to", String(16)),
    Column("last_used_at_ms", BigInteger),
    CheckConstraint("mode IN ('live', 'test')", name="mode"),
)

generations = Table(
    "generations",
    metadata,
    Column("id", String(ID_LENGTH), primary_key=True),
    Column("tenant_id", String(ID_LENGTH), ForeignKey("tenants.id"), nullable=False),
    Column("kid", String(16), ForeignKey("api_keys.kid"), nullable=False),
    Column("mode", String(4), nullable=False),
    Column("model_id", String(200), nullable=False),
    Column("input", Text, nullable=False),
    Column("price_microcredits", BigInteger),
    Column("price_version", String(100)),
    Column("state", String(16), nullable=False),
    Column("version", Integer, nullable=False),
    Column("upstream_request_id", String(200)),
    Column("queue_position", Integer),
    Column("output", Text),
    Column("error", Text),
    Column("evidence", Text),
    Column("upstream_cost_usd", String(40)),
    Column("idempotency_key", String(255)),
    Column("fingerprint", String(64)),
    Column("trace_id", String(32), nullable=False),
    Column("created_at_ms", BigInteger, nullable=False),
    Column("changed_at_ms", BigInteger, nullable=False),
    Column("polled_at_ms", BigInteger),
    Column("stale_reason", String(32)),
    Column("missing_since_ms", BigInteger),
    Column("started_at_ms", BigInteger),
    Column("finished_at_ms", BigInteger),
    Column("lease_until_ms", BigInteger),
    CheckConstraint("mode IN ('live', 'test')", name="mode"),
    # A tenant's own, newest first, by cursor.
    Index("ix_generations_tenant_id_created_at_ms_id", "tenant_id", "created_at_ms", "id"),
    # What the rescue loop looks for: few rows, whatever the table's size.
    Index(
        "ix_generations_dispatching_lease",
        "lease_until_ms",
        sqlite_where=text("state = 'dispatching'"),
        postgresql_where=text("state = 'dispatching'"),
    ),
    # What the policy clock closes.
    Index(
        "ix_generations_unknown_changed_at_ms",
        "changed_at_ms",
        sqlite_where=text("state = 'unknown'"),
        postgresql_where=text("state = 'unknown'"),
    ),
    # The intent record is the idempotency record.
    Index("uq_generations_tenant_id_idempotency_key", "tenant_id", "idempotency_key", unique=True),
    # One upstream job belongs to one generation, for ever.
    Index("uq_generations_upstream_request_id", "mode", "upstream_request_id", unique=True),
)

generation_events = Table(
    "generation_events",
    metadata,
    Column("generation_id", String(ID_LENGTH), ForeignKey("generations.id"), primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("state", String(16), nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("reason", String(64), nullable=False),
)
