"""Client tokens: what pages hold in place of a key, whom they are for, and what each end user may use.

Not rolling: servers of the version before know neither whose Idempotency-Key is whose nor what is an end
user's. Stop them first.
"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_OF_A_TOKEN = sa.text("token_id IS NOT NULL")
_OF_AN_END_USER = sa.text("end_user IS NOT NULL")
_UNFINISHED = sa.text(
    "end_user IS NOT NULL AND state IN ('accepted', 'dispatching', 'in_queue', 'in_progress', 'unknown')"
)
_KEYS = {
    "quota_limits": ["tenant_id", "mode", "kid", "model_id", "end_user", "metric"],
    "quota_usage": ["tenant_id", "mode", "kid", "model_id", "end_user", "period"],
}


def upgrade() -> None:
    op.create_table(
        "client_tokens",
        sa.Column("token_id", sa.String(16), nullable=False),
        sa.Column("tenant_id", sa.String(36), nullable=False),
        sa.Column("kid", sa.String(16), nullable=False),
        sa.Column("mode", sa.String(4), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("pepper_id", sa.String(8), nullable=False),
        sa.Column("created_at_ms", sa.BigInteger, nullable=False),
        sa.Column("expires_at_ms", sa.BigInteger, nullable=False),
        sa.Column("revoked_at_ms", sa.BigInteger),
        sa.Column("models", sa.Text),
        sa.Column("bounds", sa.Text),
        sa.Column("origins", sa.Text),
        sa.Column("most_generations", sa.BigInteger),
        sa.Column("most_microcredits", sa.BigInteger),
        sa.Column("end_user", sa.String(64)),
        sa.Column("sees", sa.String(8), nullable=False),
        sa.Column("request_id", sa.String(36)),
        sa.Column("last_used_at_ms", sa.BigInteger),
        sa.Column("refusals", sa.BigInteger, nullable=False, server_default="0"),
        sa.PrimaryKeyConstraint("token_id", name="pk_client_tokens"),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name="fk_client_tokens_tenant_id"),
        sa.ForeignKeyConstraint(["kid"], ["api_keys.kid"], name="fk_client_tokens_kid"),
        sa.CheckConstraint("mode IN ('live', 'test')", name=op.f("ck_client_tokens_mode")),
        sa.CheckConstraint(
            "(sees = 'token' AND request_id IS NULL) OR (sees = 'end_user' AND end_user IS NOT NULL"
            " AND request_id IS NULL) OR (sees = 'request' AND request_id IS NOT NULL)",
            name=op.f("ck_client_tokens_sees"),
        ),
    )
    for name, columns in {
        "ix_client_tokens_listed": ["tenant_id", "mode", "created_at_ms", "token_id"],
        "ix_client_tokens_listed_by_end_user": [
            "tenant_id",
            "mode",
            "end_user",
            "created_at_ms",
            "token_id",
        ],
        "ix_client_tokens_ended": ["expires_at_ms", "token_id"],
    }.items():
        op.create_index(name, "client_tokens", columns)
    op.create_table(
        "client_token_refusals",
        sa.Column("token_id", sa.String(16), nullable=False),
        sa.Column("number", sa.BigInteger, nullable=False),
        sa.Column("at_ms", sa.BigInteger, nullable=False),
        sa.Column("code", sa.String(64), nullable=False),
        sa.Column("detail", sa.String(500), nullable=False),
        sa.Column("call", sa.String(300), nullable=False),
        sa.Column("origin", sa.String(300)),
        sa.Column("trace_id", sa.String(32), nullable=False),
        sa.PrimaryKeyConstraint("token_id", "number", name="pk_client_token_refusals"),
        sa.ForeignKeyConstraint(
            ["token_id"], ["client_tokens.token_id"], name="fk_client_token_refusals_token_id"
        ),
    )
    op.add_column("generations", sa.Column("token_id", sa.String(16)))
    op.add_column("generations", sa.Column("end_user", sa.String(64)))
    op.add_column("generations", sa.Column("key_space", sa.String(80), nullable=False, server_default=""))
    for name, columns, where in (
        ("listed_by_token", ["tenant_id", "mode", "token_id", "created_at_ms", "id"], _OF_A_TOKEN),
        (
            "listed_by_end_user",
            ["tenant_id", "mode", "end_user", "created_at_ms", "id"],
            _OF_AN_END_USER,
        ),
        ("unfinished_end_user", ["tenant_id", "mode", "end_user", "model_id"], _UNFINISHED),
    ):
        op.create_index(
            f"ix_generations_{name}", "generations", columns, sqlite_where=where, postgresql_where=where
        )
    op.create_index(
        "uq_generations_tenant_id_key_space_idempotency_key",
        "generations",
        ["tenant_id", "key_space", "idempotency_key"],
        unique=True,
    )
    op.drop_index("uq_generations_tenant_id_idempotency_key", "generations")
    for table, columns in _KEYS.items():
        with op.batch_alter_table(table) as batch:
            batch.add_column(sa.Column("end_user", sa.String(64), nullable=False, server_default=""))
            batch.drop_constraint(f"pk_{table}", type_="primary")
            batch.create_primary_key(f"pk_{table}", columns)


def downgrade() -> None:
    # What counted for end users is no sum of the tables that stay, and one key may have made several jobs.
    for table, columns in _KEYS.items():
        rows = sa.table(table, sa.column("end_user"))
        op.execute(rows.delete().where(rows.c.end_user != ""))
        with op.batch_alter_table(table) as batch:
            batch.drop_constraint(f"pk_{table}", type_="primary")
            batch.drop_column("end_user")
            batch.create_primary_key(f"pk_{table}", [one for one in columns if one != "end_user"])
    op.execute("UPDATE generations SET idempotency_key = NULL, fingerprint = NULL WHERE key_space <> ''")
    op.create_index(
        "uq_generations_tenant_id_idempotency_key",
        "generations",
        ["tenant_id", "idempotency_key"],
        unique=True,
    )
    op.drop_index("uq_generations_tenant_id_key_space_idempotency_key", "generations")
    for name in ("unfinished_end_user", "listed_by_end_user", "listed_by_token"):
        op.drop_index(f"ix_generations_{name}", "generations")
    for name in ("key_space", "end_user", "token_id"):
        op.drop_column("generations", name)
    op.drop_table("client_token_refusals")
    op.drop_table("client_tokens")
