"""Makes the audit log a hash chain, with its head in a row, and indexes for reading it.

The entries that are there are chained in their order. Not rolling: a server or command of the previous
version cannot change anything as an operator, since it would not continue the chain. Everything else goes on.
"""

# ruff: noqa: S608 - its statements are made of its own constants

import hashlib
import json
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

_GENESIS = "0" * 64
_SEQ = sa.BigInteger().with_variant(sa.Integer, "sqlite")
_REFUSED = "the audit log is append-only"
_SEARCHED = ("at_ms", "actor_kind", "actor_name", "action", "subject_kind", "subject_id", "tenant_id")


def _searched_columns() -> list[Any]:
    return [
        sa.Column("at_ms", sa.BigInteger, nullable=False),
        sa.Column("actor_kind", sa.String(16), nullable=False),
        sa.Column("actor_name", sa.String(100), nullable=False),
        sa.Column("action", sa.String(40), nullable=False),
        sa.Column("subject_kind", sa.String(16), nullable=False),
        sa.Column("subject_id", sa.String(400), nullable=False),
        sa.Column("tenant_id", sa.String(36)),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name="fk_audit_entries_tenant_id"),
    ]


def upgrade() -> None:
    connection = op.get_bind()
    older = connection.execute(sa.text("SELECT * FROM audit_entries ORDER BY id")).mappings().all()
    _drop()
    entries = op.create_table(
        "audit_entries",
        sa.Column("seq", _SEQ, autoincrement=False, nullable=False),
        sa.Column("prev_hash", sa.String(64), nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        *_searched_columns(),
        sa.PrimaryKeyConstraint("seq", name="pk_audit_entries"),
        sa.UniqueConstraint("prev_hash", name="uq_audit_entries_prev_hash"),
    )
    op.create_index("ix_audit_entries_at_ms", "audit_entries", ["at_ms"])
    for name in ("tenant_id", "actor_name", "action", "subject_id"):
        op.create_index(f"ix_audit_entries_{name}", "audit_entries", [name, "seq"])
    chained = list(_chained(older))
    if chained:
        op.bulk_insert(entries, chained)
    head = op.create_table(
        "audit_head",
        sa.Column("id", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("seq", sa.BigInteger, nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
        sa.Column("pruned_seq", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("pruned_hash", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_audit_head"),
        sa.CheckConstraint("id = 1", name=op.f("ck_audit_head_one")),
    )
    last = {"seq": len(chained), "hash": chained[-1]["hash"] if chained else _GENESIS}
    op.bulk_insert(head, [{"id": 1, "pruned_seq": 0, "pruned_hash": _GENESIS, **last}])
    _refuse_changes()


def _chained(older: Any) -> Iterator[dict[str, Any]]:
    """Yields the new row of each older one, as `app.admin.chain` and `app.admin.audit` write it."""
    prev = _GENESIS
    for seq, row in enumerate(older, 1):
        document = {
            "seq": seq,
            "at_ms": row["at_ms"],
            "actor": {"kind": row["actor_kind"], "name": row["actor_name"]},
            "action": row["action"],
            "subject": {"kind": row["subject_kind"], "id": row["subject_id"]},
            "tenant_id": row["tenant_id"],
            **{name: row[name] and json.loads(row[name]) for name in ("before", "after")},
            "reason": row["reason"],
            "trace_id": row["trace_id"],
        }
        text = json.dumps(document, separators=(",", ":"), ensure_ascii=False, sort_keys=True)
        found = hashlib.sha256(f"{prev}\n{text}".encode()).hexdigest()
        searched = {name: row[name] for name in _SEARCHED}
        yield {"seq": seq, "prev_hash": prev, "hash": found, "text": text, **searched}
        prev = found


def _refuse_changes() -> None:
    if op.get_bind().dialect.name == "sqlite":
        op.execute(
            "CREATE TRIGGER audit_entries_no_update BEFORE UPDATE ON audit_entries"
            f" BEGIN SELECT RAISE(ABORT, '{_REFUSED}'); END"
        )
        op.execute(
            "CREATE TRIGGER audit_entries_no_delete BEFORE DELETE ON audit_entries"
            " WHEN OLD.seq > coalesce((SELECT pruned_seq FROM audit_head), 0) BEGIN"
            f" SELECT RAISE(ABORT, '{_REFUSED}'); END"
        )
        return
    op.execute(
        "CREATE FUNCTION audit_entries_refuse() RETURNS trigger LANGUAGE plpgsql AS"
        f" $$ BEGIN RAISE EXCEPTION '{_REFUSED}'; END $$"
    )
    op.execute(
        "CREATE FUNCTION audit_entries_refuse_delete() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN IF OLD.seq > coalesce((SELECT pruned_seq FROM audit_head), 0)"
        f" THEN RAISE EXCEPTION '{_REFUSED}'; END IF; RETURN OLD; END $$"
    )
    op.execute(
        "CREATE TRIGGER audit_entries_no_change BEFORE UPDATE OR TRUNCATE ON audit_entries"
        " FOR EACH STATEMENT EXECUTE FUNCTION audit_entries_refuse()"
    )
    op.execute(
        "CREATE TRIGGER audit_entries_no_delete BEFORE DELETE ON audit_entries"
        " FOR EACH ROW EXECUTE FUNCTION audit_entries_refuse_delete()"
    )


def _drop() -> None:
    op.drop_table("audit_entries")
    if op.get_bind().dialect.name != "sqlite":
        op.execute("DROP FUNCTION audit_entries_refuse()")


def downgrade() -> None:
    connection = op.get_bind()
    entries = connection.execute(sa.text("SELECT * FROM audit_entries ORDER BY seq")).mappings().all()
    _drop()
    if connection.dialect.name != "sqlite":
        op.execute("DROP FUNCTION audit_entries_refuse_delete()")
    op.drop_table("audit_head")
    older = op.create_table(
        "audit_entries",
        sa.Column("id", _SEQ, sa.Identity(always=True)),
        *_searched_columns(),
        sa.Column("before", sa.Text),
        sa.Column("after", sa.Text),
        sa.Column("reason", sa.String(200)),
        sa.Column("trace_id", sa.String(32)),
        sa.PrimaryKeyConstraint("id", name="pk_audit_entries"),
    )
    rows = [{**{name: row[name] for name in _SEARCHED}, **_told(row["text"])} for row in entries]
    if rows:
        op.bulk_insert(older, rows)
    if connection.dialect.name == "sqlite":
        for action in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER audit_entries_no_{action.lower()} BEFORE {action} ON audit_entries"
                f" BEGIN SELECT RAISE(ABORT, '{_REFUSED}'); END"
            )
        return
    op.execute(
        "CREATE FUNCTION audit_entries_refuse() RETURNS trigger LANGUAGE plpgsql AS"
        f" $$ BEGIN RAISE EXCEPTION '{_REFUSED}'; END $$"
    )
    op.execute(
        "CREATE TRIGGER audit_entries_no_change BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_entries"
        " FOR EACH STATEMENT EXECUTE FUNCTION audit_entries_refuse()"
    )


def _told(text: str) -> dict[str, Any]:
    """Returns the columns that the text of an entry took the place of."""
    document = json.loads(text)
    return {
        **{
            name: None
            if document[name] is None
            else json.dumps(document[name], separators=(",", ":"), ensure_ascii=False)
            for name in ("before", "after")
        },
        "reason": document["reason"],
        "trace_id": document["trace_id"],
    }
