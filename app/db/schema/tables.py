"""Every table. Times are milliseconds since 1970 in UTC; JSON is text as `app.kit.json` writes it.

Constraint names follow one convention so that migrations can name them on both databases.
"""

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ColumnElement,
    ForeignKey,
    Identity,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    text,
)

from app.db.schema import asset_states, webhook_states
from app.db.schema.states import (
    FOLLOWED,
    IN_FLIGHT,
    QUEUED_WITH_DEADLINE,
    UNFINISHED,
    State,
    state_in,
    state_is,
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
PREFIXED_ID_LENGTH = 40  # an id behind `ep_`, `dlv_` or `rpl_`
MESSAGE_ID_LENGTH = 64
END_USER_LENGTH = 64
ERROR_CODE_LENGTH = 64
CALLER_ADDRESS_LENGTH = 45
USER_AGENT_LENGTH = 200
HAS_ERROR_CODE = "error_code IS NOT NULL"
HAS_CALLER_ADDRESS = "caller_address IS NOT NULL"
HAS_END_USER = "end_user IS NOT NULL"
IS_STORED = "state = 'stored'"
IS_NOT_STORED = "state <> 'stored'"
# The second condition is always true: it keeps other statements from using the index.
IS_NOT_COMPLETED = f"state <> '{State.COMPLETED}' AND version > 0"
_LIVE = state_in(IN_FLIGHT)
_FOLLOWED = state_in(FOLLOWED)
_WAITS = state_is(State.ACCEPTED)
_BEING_SENT = state_is(State.DISPATCHING)
_UNKNOWN = state_is(State.UNKNOWN)
_OF_A_TOKEN = "token_id IS NOT NULL"  # noqa: S105 - a condition
_UNFINISHED = f"{HAS_END_USER} AND {state_in(UNFINISHED)}"


class PartialIndex(Index):
    """An index of the rows that fulfil a condition.

    Arguments such as `postgresql_where` would import that dialect; here it is imported when SQL is written.
    """

    def __init__(
        self, name: str, *columns: str | ColumnElement[Any], where: str, unique: bool = False
    ) -> None:
        super().__init__(name, *columns, unique=unique)
        self._where = text(where)

    @property
    def dialect_options(self) -> Any:
        """The options of each dialect, of which the condition is one."""
        options = super().dialect_options
        for dialect in ("sqlite", "postgresql"):
            options[dialect]["where"] = self._where
        return options


tenants = Table(
    "tenants",
    metadata,
    Column("id", String(ID_LENGTH), primary_key=True),
    Column("name", String(100), nullable=False, unique=True),
    Column("created_at_ms", BigInteger, nullable=False),
    Column("disabled_at_ms", BigInteger),
    # The time zone whose midnight ends a day of its quotas.
    Column("time_zone", String(64), nullable=False, server_default="UTC"),
    # When it was last changed; NULL where it never was.
    Column("time_zone_since_ms", BigInteger),
    # What happens to files that break a rule: enforce, warn or off; NULL as the settings say.
    Column("media_checks", String(7)),
    # A JSON list of the web origins whose pages may call with its keys; NULL: none.
    Column("origins", Text),
    # Whether its generations are queued when they cannot be sent at once, and how many may be; NULL as the
    # settings say.
    Column("queueing", Boolean(create_constraint=False)),
    Column("max_queued", Integer),
    # Its weight in the fair queue: its share of what is sent while other tenants are queued too.
    Column("weight", Integer, nullable=False, server_default="1"),
    Column("dispatch_paused_at_ms", BigInteger),
    # The number of its events in each mode, which is the number of the last one.
    Column("live_events", BigInteger, nullable=False, server_default="0"),
    Column("test_events", BigInteger, nullable=False, server_default="0"),
    # Its webhook endpoints in each mode: 0, none; else a number that is another one after every change of
    # who is told of what.
    Column("live_webhooks", BigInteger, nullable=False, server_default="0"),
    Column("test_webhooks", BigInteger, nullable=False, server_default="0"),
    # Whether its outputs are mirrored: off (NULL), beside or instead; and for how many seconds copies are
    # kept, NULL as the settings say, 0 for ever.
    Column("mirror", String(8)),
    Column("mirror_keep_s", BigInteger),
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
    # The first of the keys that it was rotated from, whose limits it shares; NULL where it is the first.
    Column("root_kid", String(16)),
    Column("last_used_at_ms", BigInteger),
    # Whether its generations are queueable; NULL as its tenant's are.
    Column("queueing", Boolean(create_constraint=False)),
    # Whether its outputs are mirrored; NULL as its tenant's are.
    Column("mirror", String(8)),
    CheckConstraint("mode IN ('live', 'test')", name="mode"),
)

# What a page may hold in place of an API key: derived from one, for a limited time and within bounds.
client_tokens = Table(
    "client_tokens",
    metadata,
    Column("token_id", String(16), primary_key=True),
    Column("tenant_id", String(ID_LENGTH), ForeignKey("tenants.id"), nullable=False),
    Column("kid", String(16), ForeignKey("api_keys.kid"), nullable=False),
    Column("mode", String(4), nullable=False),
    Column("digest", String(64), nullable=False),
    Column("pepper_id", String(8), nullable=False),
    Column("created_at_ms", BigInteger, nullable=False),
    Column("expires_at_ms", BigInteger, nullable=False),
    Column("revoked_at_ms", BigInteger),
    # JSON: a list of model ids, bounds of their inputs, a list of web origins; NULL: the same as its API
    # key's and tenant's.
    Column("models", Text),
    Column("bounds", Text),
    Column("origins", Text),
    # Its own budget; NULL: only that of its API key.
    Column("max_generations", BigInteger),
    Column("max_microcredits", BigInteger),
    Column("end_user", String(END_USER_LENGTH)),
    # What it may see: what it made itself, what its end user's tokens made, or one request (to follow).
    Column("visibility", String(8), nullable=False),
    Column("request_id", String(ID_LENGTH)),
    Column("last_used_at_ms", BigInteger),
    # How many of its requests were refused.
    Column("refusals", BigInteger, nullable=False, server_default="0"),
    # How many bytes of files it may upload; NULL: as the settings say. And how many it has uploaded.
    Column("max_upload_bytes", BigInteger),
    Column("uploaded_bytes", BigInteger, nullable=False, server_default="0"),
    CheckConstraint("mode IN ('live', 'test')", name="mode"),
    CheckConstraint(
        "(visibility = 'token' AND request_id IS NULL) OR (visibility = 'end_user' AND end_user IS NOT NULL"
        " AND request_id IS NULL) OR (visibility = 'request' AND request_id IS NOT NULL)",
        name="sees",
    ),
    Index("ix_client_tokens_listed", "tenant_id", "mode", "created_at_ms", "token_id"),
    Index(
        "ix_client_tokens_listed_by_end_user", "tenant_id", "mode", "end_user", "created_at_ms", "token_id"
    ),
    Index("ix_client_tokens_ended", "expires_at_ms", "token_id"),
)

# The newest refusals of each client token.
client_token_refusals = Table(
    "client_token_refusals",
    metadata,
    Column("token_id", String(16), ForeignKey("client_tokens.token_id"), primary_key=True),
    Column("number", BigInteger, primary_key=True),
    Column("at_ms", BigInteger, nullable=False),
    Column("code", String(64), nullable=False),
    Column("detail", String(500), nullable=False),
    Column("call", String(300), nullable=False),
    Column("origin", String(300)),
    Column("trace_id", String(32), nullable=False),
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
    # A JSON list of what inspection found out about its files; NULL where they were not inspected.
    Column("media", Text),
    Column("price_microcredits", BigInteger),
    Column("price_version", String(100)),
    # What it costs since its price was corrected; NULL where it never was.
    Column("repriced_microcredits", BigInteger),
    # How many seconds of output it orders; 0 in rows that are older than limits on them.
    Column("output_seconds", BigInteger, nullable=False, server_default="0"),
    Column("state", String(16), nullable=False),
    Column("version", Integer, nullable=False),
    # The credential that it was sent with: no other one can see its job. Empty while it is queued.
    Column("credential", String(40), nullable=False, server_default="default"),
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
    # The end of the lease on it, which is the right to send or poll it.
    Column("lease_until_ms", BigInteger),
    # When it is to be polled next; while it is leased for a poll, when the lease ends.
    Column("next_poll_at_ms", BigInteger),
    # When its output was erased because its retention period was over.
    Column("erased_at_ms", BigInteger),
    # Which limits it counts against, which states settle its hold, and what became of the hold; NULL in rows
    # that are older than the ledger.
    Column("root_kid", String(16)),
    Column("quota_day", String(10)),
    Column("settles_in", String(100)),
    Column("charge", String(8)),
    # Its place in its tenant's queue, NULL where it is not queueable; and how often RunComfy refused it and
    # it returned there.
    Column("ticket", BigInteger),
    Column("returns", Integer, nullable=False, server_default="0"),
    # When it was last sent to RunComfy; NULL before, and in rows that are older than the queue.
    Column("sent_at_ms", BigInteger),
    # The attempt to dequeue it that it was last sent by.
    Column("attempt", String(32)),
    # Its start deadline: it is ended unless it has started by then.
    Column("start_deadline_ms", BigInteger),
    # The client token that it was made with, and the end user whom that names.
    Column("token_id", String(16)),
    Column("end_user", String(END_USER_LENGTH)),
    # The namespace in which its Idempotency-Key is unique: the tenant (empty) or, for client tokens, an end
    # user or an API key.
    Column("key_space", String(80), nullable=False, server_default=""),
    # The code in `error`, where it has one; NULL in rows that are older than this column.
    Column("error_code", String(ERROR_CODE_LENGTH)),
    # Who submitted it, as far as the settings allow to keep that, and until it is erased: an address or a
    # network, and what its program calls itself.
    Column("caller_address", String(CALLER_ADDRESS_LENGTH)),
    Column("user_agent", String(USER_AGENT_LENGTH)),
    # The webhook endpoint that its submit named, which hears of it whatever that endpoint chose to hear.
    Column("webhook_endpoint_id", String(PREFIXED_ID_LENGTH)),
    # How its output is mirrored, set when it completes; NULL where it is not. And the longest time in seconds
    # that its submit allowed copies to be kept.
    Column("mirror", String(8)),
    Column("mirror_keep_s", BigInteger),
    CheckConstraint("mode IN ('live', 'test')", name="mode"),
    # Pages of a tenant's generations, newest first, also of one state or model, however rare it is.
    Index("ix_generations_listed", "tenant_id", "mode", "created_at_ms", "id"),
    Index("ix_generations_listed_by_state", "tenant_id", "mode", "state", "created_at_ms", "id"),
    Index("ix_generations_listed_by_model", "tenant_id", "mode", "model_id", "created_at_ms", "id"),
    # For the rescue loop: submits whose lease has ended. Few rows, whatever the table's size.
    PartialIndex(
        "ix_generations_dispatching_lease",
        "lease_until_ms",
        where=_BEING_SENT,
    ),
    # For the rescue loop: generations that have been unknown for too long.
    PartialIndex(
        "ix_generations_unknown_changed_at_ms",
        "changed_at_ms",
        where=_UNKNOWN,
    ),
    # Counting an account's generations in flight: as many rows as there are of these.
    PartialIndex(
        "ix_generations_live",
        "tenant_id",
        "mode",
        "root_kid",
        "model_id",
        where=_LIVE,
    ),
    # For the pollers: which generations of a credential are due.
    PartialIndex(
        "ix_generations_due",
        "credential",
        "next_poll_at_ms",
        where=_FOLLOWED,
    ),
    # Counting a credential's generations in flight.
    PartialIndex(
        "ix_generations_live_credential",
        "credential",
        where=_LIVE,
    ),
    # For retention: the oldest outputs.
    PartialIndex(
        "ix_generations_kept",
        "finished_at_ms",
        where="output IS NOT NULL",
    ),
    # Queued generations in order: of a tenant, and of one of its lanes (key and model).
    PartialIndex(
        "ix_generations_waiting",
        "tenant_id",
        "mode",
        "ticket",
        where=_WAITS,
    ),
    PartialIndex(
        "ix_generations_waiting_lane",
        "tenant_id",
        "mode",
        "root_kid",
        "model_id",
        "ticket",
        where=_WAITS,
    ),
    # For the dispatch loop: queued generations by their start deadline.
    PartialIndex(
        "ix_generations_start_deadline",
        "start_deadline_ms",
        where=QUEUED_WITH_DEADLINE,
    ),
    # Pages of the generations made with a client token or for an end user, newest first.
    PartialIndex(
        "ix_generations_listed_by_token",
        "tenant_id",
        "mode",
        "token_id",
        "created_at_ms",
        "id",
        where=_OF_A_TOKEN,
    ),
    PartialIndex(
        "ix_generations_listed_by_end_user",
        "tenant_id",
        "mode",
        "end_user",
        "created_at_ms",
        "id",
        where=HAS_END_USER,
    ),
    # Counting an end user's unfinished generations.
    PartialIndex(
        "ix_generations_unfinished_end_user",
        "tenant_id",
        "mode",
        "end_user",
        "model_id",
        where=_UNFINISHED,
    ),
    # For the operator: requests of all tenants by one filter alone. Ids are ordered by time. Nearly all
    # requests are completed, so these are found without an index.
    Index("ix_generations_by_kid", "kid", "id"),
    Index("ix_generations_by_model_id", "model_id", "id"),
    Index("ix_generations_by_price_version", "price_version", "id"),
    PartialIndex(
        "ix_generations_by_state",
        "state",
        "id",
        where=IS_NOT_COMPLETED,
    ),
    PartialIndex(
        "ix_generations_by_end_user",
        "end_user",
        "id",
        where=HAS_END_USER,
    ),
    PartialIndex(
        "ix_generations_by_error_code",
        "error_code",
        "id",
        where=HAS_ERROR_CODE,
    ),
    PartialIndex(
        "ix_generations_by_caller_address",
        "caller_address",
        "id",
        where=HAS_CALLER_ADDRESS,
    ),
    # The row of a generation is its idempotency record too.
    Index(
        "uq_generations_tenant_id_key_space_idempotency_key",
        "tenant_id",
        "key_space",
        "idempotency_key",
        unique=True,
    ),
    # One job of RunComfy's belongs to one generation, for ever.
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
    # Its number among all events of the tenant and mode: 1, 2, 3 …
    Column("tenant_id", String(ID_LENGTH), ForeignKey("tenants.id"), nullable=False),
    Column("mode", String(4), nullable=False),
    Column("number", BigInteger, nullable=False),
    Index("uq_generation_events_tenant_id_mode_number", "tenant_id", "mode", "number", unique=True),
)

# The health of each credential, as the replica that last changed it stored it. Never a secret.
credentials = Table(
    "credentials",
    metadata,
    Column("name", String(40), primary_key=True),
    Column("failures", Integer, nullable=False),
    Column("openings", Integer, nullable=False),
    Column("until_ms", BigInteger, nullable=False),
    Column("looks_too", Boolean(create_constraint=False), nullable=False),
    Column("reason", String(64), nullable=False),
    Column("changed_at_ms", BigInteger, nullable=False),
    # How many jobs it had in flight when RunComfy last refused one more, and when that was.
    Column("capacity", Integer),
    Column("capacity_at_ms", BigInteger),
)

# The queue of each tenant and mode: its length, and its start tag as a flow (see `generations.queue.fair`).
queues = Table(
    "queues",
    metadata,
    Column("tenant_id", String(ID_LENGTH), ForeignKey("tenants.id"), primary_key=True),
    Column("mode", String(4), primary_key=True),
    Column("queued", Integer, nullable=False),
    # The last ticket that was drawn, and how many generations were dequeued.
    Column("tickets", BigInteger, nullable=False),
    Column("served", BigInteger, nullable=False),
    # The start tag: the virtual time at which its next job may be sent.
    Column("tag", BigInteger, nullable=False),
    CheckConstraint("mode IN ('live', 'test')", name="mode"),
    CheckConstraint("queued >= 0", name="waiting"),
    PartialIndex(
        "ix_queues_turn",
        "mode",
        "tag",
        where="queued > 0",
    ),
)

# For each mode: the virtual time of fair queueing, and since when dispatch is paused.
turns = Table(
    "turns",
    metadata,
    Column("mode", String(4), primary_key=True),
    Column("virtual", BigInteger, nullable=False),
    Column("paused_at_ms", BigInteger),
    CheckConstraint("mode IN ('live', 'test')", name="mode"),
)

# An empty kid, model id or end user stands for all: columns of a primary key cannot be NULL. The end user `*`
# stands for each that has no limit of its own.
quota_limits = Table(
    "quota_limits",
    metadata,
    Column("tenant_id", String(ID_LENGTH), ForeignKey("tenants.id"), primary_key=True),
    Column("mode", String(4), primary_key=True),
    Column("kid", String(16), primary_key=True),
    Column("model_id", String(200), primary_key=True),
    Column("end_user", String(END_USER_LENGTH), primary_key=True, server_default=""),
    Column("metric", String(20), primary_key=True),
    Column("amount", BigInteger),
    Column("burst", Integer),
    Column("changed_at_ms", BigInteger, nullable=False),
    CheckConstraint("mode IN ('live', 'test')", name="mode"),
)

# Temporary overrides of limits: an amount in place of a limit's, or of a default's, until a moment. One that
# is ended early has that moment as its end. Ended ones stay, to be read.
limit_overrides = Table(
    "limit_overrides",
    metadata,
    Column("id", String(ID_LENGTH), primary_key=True),
    Column("tenant_id", String(ID_LENGTH), ForeignKey("tenants.id"), nullable=False),
    Column("mode", String(4), nullable=False),
    Column("kid", String(16), nullable=False),
    Column("model_id", String(200), nullable=False),
    Column("end_user", String(END_USER_LENGTH), nullable=False),
    Column("metric", String(20), nullable=False),
    Column("amount", BigInteger),
    Column("burst", Integer),
    Column("created_at_ms", BigInteger, nullable=False),
    Column("until_ms", BigInteger, nullable=False),
    CheckConstraint("mode IN ('live', 'test')", name="mode"),
    # For every decision: the overrides that last.
    Index("ix_limit_overrides_lasting", "tenant_id", "mode", "until_ms"),
)

# Sums of the ledger by scope and period, so that a decision reads a dozen rows, however long the history.
quota_usage = Table(
    "quota_usage",
    metadata,
    Column("tenant_id", String(ID_LENGTH), ForeignKey("tenants.id"), primary_key=True),
    Column("mode", String(4), primary_key=True),
    Column("kid", String(16), primary_key=True),
    Column("model_id", String(200), primary_key=True),
    Column("end_user", String(END_USER_LENGTH), primary_key=True, server_default=""),
    Column("period", String(10), primary_key=True),
    Column("held_generations", BigInteger, nullable=False),
    Column("spent_generations", BigInteger, nullable=False),
    Column("held_microcredits", BigInteger, nullable=False),
    Column("spent_microcredits", BigInteger, nullable=False),
    Column("held_output_seconds", BigInteger, nullable=False, server_default="0"),
    Column("spent_output_seconds", BigInteger, nullable=False, server_default="0"),
    Column("added_microcredits", BigInteger, nullable=False),
    Column("tat_us", BigInteger),
    CheckConstraint("mode IN ('live', 'test')", name="mode"),
)

# How many bytes of files are kept: of a tenant in a mode, and of each of its keys and end users.
stored_bytes = Table(
    "stored_bytes",
    metadata,
    Column("tenant_id", String(ID_LENGTH), ForeignKey("tenants.id"), primary_key=True),
    Column("mode", String(4), primary_key=True),
    Column("kid", String(16), primary_key=True),
    Column("end_user", String(END_USER_LENGTH), primary_key=True),
    Column("bytes", BigInteger, nullable=False),
    CheckConstraint("mode IN ('live', 'test')", name="mode"),
)

# Uploaded files. A row is `storing` before its bytes are in the store, and `deleting` until they are not.
files = Table(
    "files",
    metadata,
    Column("id", String(ID_LENGTH), primary_key=True),
    Column("tenant_id", String(ID_LENGTH), ForeignKey("tenants.id"), nullable=False),
    Column("mode", String(4), nullable=False),
    # Who may use it besides the tenant's keys: an end user, or a client token; empty: nobody.
    Column("owner", String(80), nullable=False),
    # Whom its bytes count for, as with a generation.
    Column("kid", String(16), ForeignKey("api_keys.kid"), nullable=False),
    Column("end_user", String(END_USER_LENGTH)),
    Column("token_id", String(16)),
    Column("state", String(8), nullable=False),
    Column("name", String(200)),
    # The model whose rules it was judged by, and the place in its input.
    Column("model_id", String(200)),
    Column("place", String(200)),
    # Empty while a direct upload is awaited, of which `bytes` is the most that may come.
    Column("sha256", String(64), nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("type", String(100), nullable=False),
    Column("width", Integer),
    Column("height", Integer),
    Column("created_at_ms", BigInteger, nullable=False),
    # NULL: never.
    Column("expires_at_ms", BigInteger),
    # When whoever stores or awaits it has given up.
    Column("lease_until_ms", BigInteger),
    CheckConstraint("mode IN ('live', 'test')", name="mode"),
    CheckConstraint("state IN ('awaited', 'storing', 'stored', 'deleting')", name="state"),
    Index("ix_files_listed", "tenant_id", "mode", "id"),
    Index("ix_files_same", "tenant_id", "mode", "owner", "sha256"),
    PartialIndex("ix_files_expiring", "expires_at_ms", where=IS_STORED),
    PartialIndex("ix_files_unfinished", "lease_until_ms", where=IS_NOT_STORED),
)

# Append-only: triggers refuse every update and delete.
ledger_entries = Table(
    "ledger_entries",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), Identity(always=True), primary_key=True),
    Column("tenant_id", String(ID_LENGTH), ForeignKey("tenants.id"), nullable=False),
    Column("mode", String(4), nullable=False),
    Column("kind", String(10), nullable=False),
    Column("generation_id", String(ID_LENGTH), ForeignKey("generations.id")),
    # The key and model whose balance a top-up or an adjustment changes; empty in the entries of a generation.
    Column("kid", String(16), nullable=False),
    Column("model_id", String(200), nullable=False),
    Column("microcredits", BigInteger, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("note", String(200)),
    Column("reference", String(100)),
    # The generation whose price an adjustment corrects.
    Column("about_id", String(ID_LENGTH)),
    CheckConstraint("mode IN ('live', 'test')", name="mode"),
    CheckConstraint("kind IN ('hold', 'settle', 'refund', 'top-up', 'adjustment')", name="kind"),
    CheckConstraint(
        "(generation_id IS NOT NULL) = (kind IN ('hold', 'settle', 'refund'))", name="generation"
    ),
    Index("uq_ledger_entries_generation_id_kind", "generation_id", "kind", unique=True),
    # A hold ends once: in a settle or in a refund.
    PartialIndex(
        "uq_ledger_entries_end",
        "generation_id",
        unique=True,
        where="kind IN ('settle', 'refund')",
    ),
    # A payment that is entered twice counts once.
    Index("uq_ledger_entries_reference", "tenant_id", "mode", "kind", "reference", unique=True),
    Index("ix_ledger_entries_tenant_id_id", "tenant_id", "id"),
    # Pages of a tenant's entries of one kind, or of all in turn, and the lines of a statement.
    Index("ix_ledger_entries_listed", "tenant_id", "mode", "kind", "at_ms", "id"),
    PartialIndex(
        "ix_ledger_entries_about",
        "about_id",
        where="about_id IS NOT NULL",
    ),
)

# The closed months of an account, never changed. A statement has the entries before `until_ms` as far as the
# number `last_id`, less those of the statement before it: before `from_ms`, as far as `earlier_id`.
statements = Table(
    "statements",
    metadata,
    Column("tenant_id", String(ID_LENGTH), ForeignKey("tenants.id"), primary_key=True),
    Column("mode", String(4), primary_key=True),
    Column("month", String(7), primary_key=True),
    Column("time_zone", String(64), nullable=False),
    Column("from_ms", BigInteger, nullable=False),
    Column("until_ms", BigInteger, nullable=False),
    Column("earlier_id", BigInteger, nullable=False),
    Column("last_id", BigInteger, nullable=False),
    Column("entries", BigInteger, nullable=False),
    Column("opening_microcredits", BigInteger, nullable=False),
    Column("held_microcredits", BigInteger, nullable=False),
    Column("refunded_microcredits", BigInteger, nullable=False),
    Column("added_microcredits", BigInteger, nullable=False),
    Column("adjusted_microcredits", BigInteger, nullable=False),
    Column("closing_microcredits", BigInteger, nullable=False),
    Column("csv_sha256", String(64), nullable=False),
    Column("closed_at_ms", BigInteger, nullable=False),
    CheckConstraint("mode IN ('live', 'test')", name="mode"),
    CheckConstraint(
        "closing_microcredits = opening_microcredits - held_microcredits + refunded_microcredits"
        " + added_microcredits + adjusted_microcredits",
        name="balance",
    ),
)

# The limits of which a threshold was crossed, once in each window: the time in a day, in a month or, of a
# balance, in all, in which the limit had the same amount. Each is an event of the tenant.
threshold_events = Table(
    "threshold_events",
    metadata,
    Column("tenant_id", String(ID_LENGTH), ForeignKey("tenants.id"), primary_key=True),
    Column("mode", String(4), primary_key=True),
    Column("kid", String(16), primary_key=True),
    Column("model_id", String(200), primary_key=True),
    Column("end_user", String(END_USER_LENGTH), primary_key=True),
    Column("metric", String(20), primary_key=True),
    Column("window", String(30), primary_key=True),
    Column("percent", Integer, primary_key=True, autoincrement=False),
    Column("amount", BigInteger, nullable=False),
    Column("used", BigInteger, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("number", BigInteger, nullable=False),
    CheckConstraint("mode IN ('live', 'test')", name="mode"),
    Index("uq_threshold_events_tenant_id_mode_number", "tenant_id", "mode", "number", unique=True),
    # The newest ones, of all tenants and of one.
    Index("ix_threshold_events_at_ms", "at_ms", "number"),
    Index("ix_threshold_events_of_tenant", "tenant_id", "at_ms", "number"),
)

# Webhook endpoints that were disabled, each once: events of the tenant and mode too.
endpoint_events = Table(
    "endpoint_events",
    metadata,
    Column("tenant_id", String(ID_LENGTH), ForeignKey("tenants.id"), primary_key=True),
    Column("mode", String(4), primary_key=True),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("endpoint_id", String(PREFIXED_ID_LENGTH), nullable=False),
    Column("state", String(16), nullable=False),
    Column("reason", String(40), nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    CheckConstraint("mode IN ('live', 'test')", name="mode"),
)

# Copies of outputs that ended: stored, given up, or removed. Events of the tenant and mode too.
asset_events = Table(
    "asset_events",
    metadata,
    Column("tenant_id", String(ID_LENGTH), ForeignKey("tenants.id"), primary_key=True),
    Column("mode", String(4), primary_key=True),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("asset_id", String(PREFIXED_ID_LENGTH), nullable=False),
    Column("generation_id", String(ID_LENGTH), nullable=False),
    Column("state", String(8), nullable=False),
    Column("reason", String(40), nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    CheckConstraint("mode IN ('live', 'test')", name="mode"),
    # Of a request: to be archived, and to find what was told of it.
    Index("ix_asset_events_generation_id", "generation_id"),
)

_OF_A_SUBJECT = "subject <> ''"
# Roll-ups: the sums of the ledger's entries by when they were entered, so that usage is read in few rows. The
# `facet` says what a row sums: an hour, a day, or a day of one end user or client token, which is its
# `subject`. The `period` is an hour's start in milliseconds, or a day as a number such as 20261130, of the
# time zone that the tenant had. The `kid` is the first key of its line; empty texts as in `quota_usage`.
usage_counts = Table(
    "usage_counts",
    metadata,
    Column("tenant_id", String(ID_LENGTH), ForeignKey("tenants.id"), primary_key=True),
    Column("mode", String(4), primary_key=True),
    Column("facet", String(8), primary_key=True),
    Column("period", BigInteger, primary_key=True, autoincrement=False),
    Column("subject", String(END_USER_LENGTH), primary_key=True),
    Column("kid", String(16), primary_key=True),
    Column("model_id", String(200), primary_key=True),
    # `submitted` for holds, the state that ended a hold or a generation, `refused`, or empty.
    Column("outcome", String(16), primary_key=True),
    Column("held_generations", BigInteger, nullable=False, server_default="0"),
    Column("held_microcredits", BigInteger, nullable=False, server_default="0"),
    Column("spent_generations", BigInteger, nullable=False, server_default="0"),
    Column("spent_microcredits", BigInteger, nullable=False, server_default="0"),
    Column("refunded_generations", BigInteger, nullable=False, server_default="0"),
    Column("refunded_microcredits", BigInteger, nullable=False, server_default="0"),
    Column("refused_calls", BigInteger, nullable=False, server_default="0"),
    Column("ended_generations", BigInteger, nullable=False, server_default="0"),
    Column("added_microcredits", BigInteger, nullable=False, server_default="0"),
    Column("adjusted_microcredits", BigInteger, nullable=False, server_default="0"),
    Column("cost_microusd", BigInteger, nullable=False, server_default="0"),
    CheckConstraint("mode IN ('live', 'test')", name="mode"),
    # The days of one end user or client token.
    PartialIndex(
        "ix_usage_counts_subject",
        "tenant_id",
        "mode",
        "facet",
        "subject",
        "period",
        where=_OF_A_SUBJECT,
    ),
    # Usage of all tenants.
    Index("ix_usage_counts_period", "mode", "facet", "period"),
)

_SUMS_OF_USAGE = tuple(one.name for one in usage_counts.columns if not one.primary_key)
# The days of all tenants together, summed from `usage_counts` once they are over (`quotas.sums.usage_sums`).
usage_days = Table(
    "usage_days",
    metadata,
    Column("mode", String(4), primary_key=True),
    Column("period", BigInteger, primary_key=True, autoincrement=False),
    Column("model_id", String(200), primary_key=True),
    Column("outcome", String(16), primary_key=True),
    *(Column(name, BigInteger, nullable=False) for name in _SUMS_OF_USAGE),
    CheckConstraint("mode IN ('live', 'test')", name="mode"),
)

# The months of each tenant, to which days of `usage_counts` are added once they are over. The period is a
# month such as 202611. A month's rows are together.
usage_months = Table(
    "usage_months",
    metadata,
    Column("mode", String(4), primary_key=True),
    Column("period", BigInteger, primary_key=True, autoincrement=False),
    Column("tenant_id", String(ID_LENGTH), ForeignKey("tenants.id"), primary_key=True),
    Column("kid", String(16), primary_key=True),
    Column("model_id", String(200), primary_key=True),
    Column("outcome", String(16), primary_key=True),
    *(Column(name, BigInteger, nullable=False) for name in _SUMS_OF_USAGE),
    CheckConstraint("mode IN ('live', 'test')", name="mode"),
)

# What is kept of archived generations: a batch is one file of those of an account. `archived_requests` has
# their ids, and the Idempotency-Keys that are never free again. The other three have the sums of what was
# removed, by which the books are verified: what was charged by day, the roll-ups, and the entries by closed
# month and kind.
archive_batches = Table(
    "archive_batches",
    metadata,
    Column("id", String(ID_LENGTH), primary_key=True),
    Column("tenant_id", String(ID_LENGTH), ForeignKey("tenants.id"), nullable=False),
    Column("mode", String(4), nullable=False),
    Column("file", String(200), nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("requests", Integer, nullable=False),
    Column("events", Integer, nullable=False),
    Column("entries", Integer, nullable=False),
    Column("last_event_number", BigInteger, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
)
archived_requests = Table(
    "archived_requests",
    metadata,
    Column("id", String(ID_LENGTH), primary_key=True),
    Column("tenant_id", String(ID_LENGTH), nullable=False),
    Column("mode", String(4), nullable=False),
    Column("batch_id", String(ID_LENGTH), ForeignKey("archive_batches.id"), nullable=False),
    Column("key_space", String(80), nullable=False),
    Column("idempotency_key", String(255)),
    PartialIndex(
        "ix_archived_requests_keys",
        "tenant_id",
        "key_space",
        "idempotency_key",
        where="idempotency_key IS NOT NULL",
    ),
    Index("ix_archived_requests_batch_id", "batch_id"),
)
archived_charges = Table(
    "archived_charges",
    metadata,
    Column("tenant_id", String(ID_LENGTH), primary_key=True),
    Column("mode", String(4), primary_key=True),
    Column("kid", String(16), primary_key=True),
    Column("model_id", String(200), primary_key=True),
    Column("end_user", String(END_USER_LENGTH), primary_key=True),
    Column("quota_day", String(10), primary_key=True),
    Column("generations", BigInteger, nullable=False),
    Column("microcredits", BigInteger, nullable=False),
    Column("output_seconds", BigInteger, nullable=False),
)
archived_usage = Table(
    "archived_usage",
    metadata,
    *(
        Column(one.name, one.type, primary_key=True, autoincrement=False)
        for one in usage_counts.columns
        if one.primary_key
    ),
    *(
        Column(one.name, BigInteger, nullable=False, server_default="0")
        for one in usage_counts.columns
        if not one.primary_key
    ),
)
archived_months = Table(
    "archived_months",
    metadata,
    Column("tenant_id", String(ID_LENGTH), primary_key=True),
    Column("mode", String(4), primary_key=True),
    Column("month", String(7), primary_key=True),
    Column("kind", String(10), primary_key=True),
    Column("entries", BigInteger, nullable=False),
    Column("microcredits", BigInteger, nullable=False),
)

# The inputs of queueable generations that hold files by value, until they are sent. In `generations` every
# input is abridged, since its rows are read often, and kept for ever.
unsent_inputs = Table(
    "unsent_inputs",
    metadata,
    Column("generation_id", String(ID_LENGTH), ForeignKey("generations.id"), primary_key=True),
    Column("input", Text, nullable=False),
)

# Who changed what as an operator, and why: a hash chain (`app.admin.chain`). Append-only: triggers refuse
# every update, and every delete of what was not pruned.
audit_entries = Table(
    "audit_entries",
    metadata,
    Column("seq", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False),
    Column("prev_hash", String(64), nullable=False, unique=True),
    Column("hash", String(64), nullable=False),
    # The whole entry, as JSON. The columns below repeat parts of it, for searching. Never a secret.
    Column("text", Text, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("actor_kind", String(16), nullable=False),
    Column("actor_name", String(100), nullable=False),
    Column("action", String(40), nullable=False),
    Column("subject_kind", String(16), nullable=False),
    Column("subject_id", String(400), nullable=False),
    # Of a change that is no tenant's, such as a pause of all, NULL.
    Column("tenant_id", String(ID_LENGTH), ForeignKey("tenants.id")),
    Index("ix_audit_entries_at_ms", "at_ms"),
    Index("ix_audit_entries_tenant_id", "tenant_id", "seq"),
    Index("ix_audit_entries_actor_name", "actor_name", "seq"),
    Index("ix_audit_entries_action", "action", "seq"),
    Index("ix_audit_entries_subject_id", "subject_id", "seq"),
)

# One row: the last entry of the audit log, and the last of those that were pruned.
audit_head = Table(
    "audit_head",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False, default=1),
    Column("seq", BigInteger, nullable=False),
    Column("hash", String(64), nullable=False),
    Column("pruned_seq", BigInteger, nullable=False, server_default="0"),
    Column("pruned_hash", String(64), nullable=False),
    CheckConstraint("id = 1", name="one"),
)

# Keys of the admin API, of no tenant.
admin_keys = Table(
    "admin_keys",
    metadata,
    Column("kid", String(16), primary_key=True),
    Column("name", String(100), nullable=False),
    # A JSON list of its scopes.
    Column("scopes", Text, nullable=False),
    Column("digest", String(64), nullable=False),
    Column("pepper_id", String(8), nullable=False),
    Column("last_four", String(4), nullable=False),
    Column("created_at_ms", BigInteger, nullable=False),
    Column("expires_at_ms", BigInteger),
    Column("revoked_at_ms", BigInteger),
    Column("rotated_to", String(16)),
    Column("last_used_at_ms", BigInteger),
)

# People who signed in to the console or the portal. Each acts as a key: an admin key, or a tenant's API key.
# A row is removed when its session ends. `scopes`: those that it was narrowed to, as JSON.
sessions = Table(
    "sessions",
    metadata,
    Column("session_id", String(12), primary_key=True),
    Column("digest", String(64), nullable=False, unique=True),
    Column("pepper_id", String(8), nullable=False),
    Column("kind", String(8), nullable=False),
    Column("kid", String(16), nullable=False),
    Column("scopes", Text),
    Column("created_at_ms", BigInteger, nullable=False),
    Column("seen_at_ms", BigInteger, nullable=False),
    Column("expires_at_ms", BigInteger, nullable=False),
    CheckConstraint("kind IN ('console', 'portal')", name="kind"),
    Index("ix_sessions_expires_at_ms", "expires_at_ms"),
)

# Links that open the portal, once, as a tenant's API key. A row is removed when its link is used.
portal_links = Table(
    "portal_links",
    metadata,
    Column("digest", String(64), primary_key=True),
    Column("kid", String(16), ForeignKey("api_keys.kid"), nullable=False),
    Column("scopes", Text),
    Column("created_at_ms", BigInteger, nullable=False),
    Column("expires_at_ms", BigInteger, nullable=False),
    Index("ix_portal_links_expires_at_ms", "expires_at_ms"),
)

# The changes that were made through the admin API, by the Idempotency-Keys of their calls. A row is written
# in the transaction of its change; its answer holds no secret.
admin_calls = Table(
    "admin_calls",
    metadata,
    Column("kid", String(16), ForeignKey("admin_keys.kid"), primary_key=True),
    Column("idempotency_key", String(255), primary_key=True),
    Column("fingerprint", String(64), nullable=False),
    Column("operation", String(64), nullable=False),
    Column("answer", Text, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("trace_id", String(32)),
    Index("ix_admin_calls_at_ms", "at_ms"),
)

# How many calls were refused, by minute. An empty tenant and kid: whoever called is not known; then `network`
# may be where the calls came from, empty for all others. Rows expire.
refusals = Table(
    "refusals",
    metadata,
    Column("tenant_id", String(ID_LENGTH), primary_key=True),
    Column("minute_ms", BigInteger, primary_key=True, autoincrement=False),
    Column("kid", String(16), primary_key=True),
    Column("code", String(64), primary_key=True),
    Column("network", String(CALLER_ADDRESS_LENGTH), primary_key=True),
    Column("mode", String(4), nullable=False),
    Column("count", BigInteger, nullable=False),
    Index("ix_refusals_minute_ms", "minute_ms"),
)

# Where messages are sent to: a tenant's endpoints, and the operator's own, whose tenant is empty. One that is
# deleted keeps its row for the log, without its secrets.
webhook_endpoints = Table(
    "webhook_endpoints",
    metadata,
    Column("id", String(PREFIXED_ID_LENGTH), primary_key=True),
    Column("tenant_id", String(ID_LENGTH), nullable=False),
    Column("mode", String(4), nullable=False),
    Column("url", String(2048), nullable=False),
    Column("description", String(200), nullable=False, server_default=""),
    # A JSON list of the types of messages that it hears; NULL: all, also those to come.
    Column("events", Text),
    # Whether messages name RunComfy's own links to the output.
    Column("vendor_links", Boolean(create_constraint=False), nullable=False),
    Column("state", String(16), nullable=False),
    # Why it is disabled or gone, and since when.
    Column("state_reason", String(40)),
    Column("state_since_ms", BigInteger, nullable=False),
    # How messages are signed: v1 (HMAC) or v1a (Ed25519). Secrets are sealed
    # (`app.webhooks.registry.secrets`); the operator's own is in the settings, and its column is empty.
    Column("signature", String(4), nullable=False),
    Column("secret", Text, nullable=False),
    # The secret before the last rotation, with which messages are signed too until a moment.
    Column("previous_secret", Text),
    Column("previous_until_ms", BigInteger),
    # The first failure, and the first answer 410, since the last success; NULL where there is none.
    Column("failing_since_ms", BigInteger),
    Column("gone_since_ms", BigInteger),
    # Nothing is sent to it before: it asked for a pause.
    Column("held_until_ms", BigInteger, nullable=False, server_default="0"),
    # Deliveries that were made before are not sent: it was disabled or gone after them.
    Column("active_from_ms", BigInteger, nullable=False, server_default="0"),
    Column("version", Integer, nullable=False, server_default="1"),
    Column("created_at_ms", BigInteger, nullable=False),
    Column("changed_at_ms", BigInteger, nullable=False),
    Column("deleted_at_ms", BigInteger),
    CheckConstraint("mode IN ('live', 'test')", name="mode"),
    CheckConstraint("signature IN ('v1', 'v1a')", name="signature"),
    Index("ix_webhook_endpoints_listed", "tenant_id", "mode", "id"),
)

# What is told: written in the transaction of what it tells. The body is JSON and never changes.
webhook_messages = Table(
    "webhook_messages",
    metadata,
    # The `webhook-id`. Of a request's message it is made of the request's id and version, so none has two.
    Column("id", String(MESSAGE_ID_LENGTH), primary_key=True),
    Column("tenant_id", String(ID_LENGTH), nullable=False),
    Column("mode", String(4), nullable=False),
    Column("type", String(40), nullable=False),
    # NULL where it could not be made in that transaction: then it is made later, with its deliveries.
    Column("body", Text),
    # The same with RunComfy's links, where an endpoint chose them; NULL where none did.
    Column("linked_body", Text),
    Column("generation_id", String(ID_LENGTH)),
    # The endpoints that hear it, until their deliveries are made (`webhooks.messages.fan_out`); then NULL.
    Column("heard_by", Text),
    Column("created_at_ms", BigInteger, nullable=False),
    CheckConstraint("mode IN ('live', 'test')", name="mode"),
    # What is removed is found by its deliveries.
    PartialIndex("ix_webhook_messages_owed", "created_at_ms", where=webhook_states.IS_OWED),
    PartialIndex("ix_webhook_messages_heard", "created_at_ms", where=webhook_states.IS_HEARD),
)

# The queue of webhooks, and their log: one row for each message and endpoint, and for each replay of it. Ids
# are ordered by time. A row is leased by whoever sends it.
webhook_deliveries = Table(
    "webhook_deliveries",
    metadata,
    Column("id", String(PREFIXED_ID_LENGTH), primary_key=True),
    Column("message_id", String(MESSAGE_ID_LENGTH), nullable=False),
    Column("endpoint_id", String(PREFIXED_ID_LENGTH), nullable=False),
    Column("tenant_id", String(ID_LENGTH), nullable=False),
    Column("mode", String(4), nullable=False),
    Column("type", String(40), nullable=False),
    Column("cause", String(8), nullable=False),
    Column("replay_id", String(PREFIXED_ID_LENGTH)),
    Column("state", String(16), nullable=False),
    # How many attempts have begun; the last one, once it has ended, is repeated in the columns below.
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("next_at_ms", BigInteger, nullable=False),
    Column("lease_until_ms", BigInteger),
    Column("last_at_ms", BigInteger),
    Column("last_status", Integer),
    Column("last_error", String(40)),
    Column("created_at_ms", BigInteger, nullable=False),
    Column("finished_at_ms", BigInteger),
    CheckConstraint("mode IN ('live', 'test')", name="mode"),
    # For the claim: the first of each endpoint, whatever waits behind it and for others.
    PartialIndex(
        "ix_webhook_deliveries_pending", "endpoint_id", "next_at_ms", where=webhook_states.IS_PENDING
    ),
    # Counting what is under way, and finding what was under way on a server that died. Few rows.
    PartialIndex(
        "ix_webhook_deliveries_delivering",
        "endpoint_id",
        "lease_until_ms",
        where=webhook_states.IS_DELIVERING,
    ),
    # Of one message, also to find out whether an endpoint had it.
    Index("ix_webhook_deliveries_of_message", "message_id", "endpoint_id"),
    # Pages of the log, newest first: all, of one endpoint, and what is rare among them.
    Index("ix_webhook_deliveries_listed", "tenant_id", "mode", "id"),
    Index("ix_webhook_deliveries_of_endpoint", "endpoint_id", "id"),
    PartialIndex(
        "ix_webhook_deliveries_undelivered",
        "endpoint_id",
        "id",
        where=webhook_states.IS_UNDELIVERED,
    ),
    PartialIndex(
        "ix_webhook_deliveries_unusual",
        "tenant_id",
        "mode",
        "type",
        "id",
        where=webhook_states.IS_UNUSUAL,
    ),
)

webhook_attempts = Table(
    "webhook_attempts",
    metadata,
    Column("delivery_id", String(PREFIXED_ID_LENGTH), primary_key=True),
    Column("n", Integer, primary_key=True, autoincrement=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("ms", Integer, nullable=False),
    # The answer's status, or the class of the error where there was no answer.
    Column("status", Integer),
    Column("error", String(40)),
    # The first KiB of the answer's body, as text.
    Column("answer", Text),
)

# Replays of a range of an endpoint's deliveries, which proceed in the background.
webhook_replays = Table(
    "webhook_replays",
    metadata,
    Column("id", String(PREFIXED_ID_LENGTH), primary_key=True),
    Column("endpoint_id", String(PREFIXED_ID_LENGTH), nullable=False),
    Column("tenant_id", String(ID_LENGTH), nullable=False),
    Column("mode", String(4), nullable=False),
    # Of which deliveries: made in this time, only what was not delivered or all, of these types (JSON; NULL:
    # all).
    Column("since_ms", BigInteger, nullable=False),
    Column("until_ms", BigInteger, nullable=False),
    Column("only_undelivered", Boolean(create_constraint=False), nullable=False),
    Column("types", Text),
    Column("state", String(16), nullable=False),
    # How far it has come: the last delivery that was looked at, how many were looked at and how many made.
    Column("position", String(PREFIXED_ID_LENGTH), nullable=False, server_default=""),
    Column("seen", BigInteger, nullable=False, server_default="0"),
    Column("made", BigInteger, nullable=False, server_default="0"),
    Column("created_at_ms", BigInteger, nullable=False),
    Column("changed_at_ms", BigInteger, nullable=False),
    Column("finished_at_ms", BigInteger),
    CheckConstraint("mode IN ('live', 'test')", name="mode"),
    Index("ix_webhook_replays_of_endpoint", "endpoint_id", "id"),
    PartialIndex("ix_webhook_replays_running", "id", where=webhook_states.IS_RUNNING),
)

# What the operator is told of, as all servers know it: each change of it is one message. The subject is what
# it is about, such as a credential, and may be empty.
operator_conditions = Table(
    "operator_conditions",
    metadata,
    Column("name", String(40), primary_key=True),
    Column("subject", String(80), primary_key=True),
    Column("is_raised", Boolean(create_constraint=False), nullable=False),
    # How often it has changed, and when it last did.
    Column("changes", Integer, nullable=False),
    Column("changed_at_ms", BigInteger, nullable=False),
    # When a server last saw it: one that does not see it may not clear it before that is a while ago.
    Column("seen_at_ms", BigInteger, nullable=False),
    # JSON: numbers about it when it last changed.
    Column("details", Text, nullable=False),
)

# The files of outputs that are mirrored: one row for each place in an output that names a file. The copy has
# the storage key in its row, and another one for each attempt to make it.
assets = Table(
    "assets",
    metadata,
    Column("id", String(PREFIXED_ID_LENGTH), primary_key=True),
    Column("tenant_id", String(ID_LENGTH), nullable=False),
    Column("mode", String(4), nullable=False),
    Column("generation_id", String(ID_LENGTH), nullable=False),
    # Whom its bytes count for, as with a generation.
    Column("kid", String(16), nullable=False),
    Column("end_user", String(END_USER_LENGTH)),
    # Its place among the request's assets, and in the output as a JSON pointer.
    Column("place", Integer, nullable=False),
    Column("pointer", String(40), nullable=False),
    Column("state", String(8), nullable=False),
    Column("attempts", Integer, nullable=False, server_default="0"),
    # The first of the attempts before the present one whose servers died: they may have left bytes.
    Column("interrupted_from", Integer),
    Column("next_at_ms", BigInteger, nullable=False),
    Column("lease_until_ms", BigInteger),
    Column("last_error", String(40)),
    Column("created_at_ms", BigInteger, nullable=False),
    Column("storage_key", String(200)),
    Column("sha256", String(64)),
    Column("size_bytes", BigInteger),
    Column("media_type", String(40)),
    Column("stored_at_ms", BigInteger),
    Column("expires_at_ms", BigInteger),
    # Since when it is to be removed, and why; and when it ended: as failed, gone or expired.
    Column("removing_at_ms", BigInteger),
    Column("removal", String(10)),
    Column("finished_at_ms", BigInteger),
    CheckConstraint("mode IN ('live', 'test')", name="mode"),
    # Of a request, in order; there is one row for each place.
    Index("uq_assets_generation_id_place", "generation_id", "place", unique=True),
    # For the claim: the first of each tenant, whatever waits behind it and for others.
    PartialIndex("ix_assets_pending", "tenant_id", "next_at_ms", where=asset_states.IS_PENDING),
    # Counting what is under way, and finding what was under way on a server that died. Few rows.
    PartialIndex("ix_assets_copying", "tenant_id", "lease_until_ms", where=asset_states.IS_COPYING),
    # For retention: the copies that are due to be removed.
    PartialIndex("ix_assets_expiring", "expires_at_ms", where=asset_states.IS_STORED_FOR_A_TIME),
    # Those whose removal has begun. Few rows.
    PartialIndex("ix_assets_removing", "removing_at_ms", where=asset_states.IS_REMOVING),
    PartialIndex("ix_assets_left_over", "finished_at_ms", where=asset_states.IS_LEFT_OVER),
    # Of a tenant: to be verified and erased.
    Index("ix_assets_of_tenant", "tenant_id", "id"),
    # By the bytes: which row is an object's.
    Index("uq_assets_storage_key", "storage_key", unique=True),
)

# How far periodic work has come that goes through a table once.
upkeep_positions = Table(
    "upkeep_positions",
    metadata,
    Column("name", String(40), primary_key=True),
    Column("position", String(ID_LENGTH), nullable=False),
)

# One row: the oldest migration that a server must know to use this schema.
schema_floor = Table(
    "schema_floor",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False, default=1),
    Column("revision", String(32), nullable=False),
    CheckConstraint("id = 1", name="one"),
)

# The servers and workers that run; each renews its row.
processes = Table(
    "processes",
    metadata,
    Column("id", String(ID_LENGTH), primary_key=True),
    Column("role", String(10), nullable=False),
    Column("host", String(100), nullable=False),
    Column("pid", Integer, nullable=False),
    Column("version", String(40), nullable=False),
    # The newest migration that it knows.
    Column("schema", String(32), nullable=False),
    Column("started_at_ms", BigInteger, nullable=False),
    Column("seen_at_ms", BigInteger, nullable=False),
    # When it read its settings last, and why the last reload changed nothing.
    Column("settings_at_ms", BigInteger, nullable=False),
    Column("settings_fault", String(500)),
)

# One row, which is written to find out whether the database takes writes (`app.db.probe`).
write_probes = Table(
    "write_probes",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False, default=1),
    Column("content", Text, nullable=False),
)
