"""The audit log. `write` is the only way in which this package changes the database.

A change and its entry are one transaction: neither is there without the other. A change to what was set
already leaves an entry too, with `before` equal to `after`, because somebody asked for it. What is refused
changes nothing, and leaves none.

The entries are a hash chain (`admin.chain`). Its head is locked before the change is made, until the commit:
so changes run one after another, each continues the chain where the one before it has left it, and a change
that waits for another one keeps no tenant's row from those who submit.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Concatenate, Final, ParamSpec, TypeVar

from sqlalchemy import Connection, insert, select, update

from app.admin.actor import Actor
from app.admin.chain import Head, columns_of, hash_of, text_of
from app.admin.session import AdminGateway
from app.admin.violations import faults_of_text, refuse
from app.db.schema.tables import audit_entries, audit_head
from app.errors import INVALID_REASON
from app.kit.log import trace_id_var

P = ParamSpec("P")
R = TypeVar("R")

MAX_REASON: Final = 200
_LOCK_HEAD: Final = select(audit_head.c.seq, audit_head.c.hash).with_for_update()


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A change, as its entry in the audit log describes it.

    `action` is its name, such as `tenant.create`. The subject is what was changed, by its kind and id.
    `before` and `after` are the values of the fields that the action is about, None where the subject did not
    exist. They must never hold a key, a token or another secret.
    """

    action: str
    subject_kind: str
    subject_id: str
    tenant_id: str | None
    before: Mapping[str, Any] | None
    after: Mapping[str, Any] | None


async def write(
    gateway: AdminGateway,
    actor: Actor,
    reason: str | None,
    function: Callable[Concatenate[Connection, P], tuple[R, Change]],
    *args: P.args,
    **kwargs: P.kwargs,
) -> R:
    """Runs a function in a transaction, and appends the entry of the change that it returns to the audit log.

    Returns the function's own result, once both are committed.

    Raises:
        Problem: INVALID_REASON, DATABASE_UNAVAILABLE, or what the function raised; nothing was changed.

    """
    why = _checked(reason)
    now_ms = gateway.clock.now_ms()
    trace_id = trace_id_var.get() or None

    def change_and_append(connection: Connection) -> R:
        head = lock_head(connection)
        result, change = function(connection, *args, **kwargs)
        _append(connection, head, actor, change, reason=why, at_ms=now_ms, trace_id=trace_id)
        return result

    return await gateway.db.write(change_and_append)


def lock_head(connection: Connection) -> Head:
    """Returns the head of the chain, and keeps it from all other changes until the transaction ends."""
    return Head(*connection.execute(_LOCK_HEAD).one())


def _checked(reason: str | None) -> str | None:
    reason = (reason or "").strip()
    refuse(INVALID_REASON, faults_of_text("#/reason", "a reason", reason, max_length=MAX_REASON))
    return reason or None


def _append(
    connection: Connection,
    head: Head,
    actor: Actor,
    change: Change,
    *,
    reason: str | None,
    at_ms: int,
    trace_id: str | None,
) -> None:
    """Appends an entry behind the head, and moves the head."""
    seq = head.size + 1
    text = text_of(
        seq,
        at_ms=at_ms,
        actor={"kind": actor.kind, "name": actor.name},
        action=change.action,
        subject={"kind": change.subject_kind, "id": change.subject_id},
        tenant_id=change.tenant_id,
        before=change.before,
        after=change.after,
        reason=reason,
        trace_id=trace_id,
    )
    after = Head(seq, hash_of(head.hash, text))
    connection.execute(
        insert(audit_entries).values(
            seq=seq,
            prev_hash=head.hash,
            hash=after.hash,
            text=text,
            **columns_of(json.loads(text)),
        )
    )
    connection.execute(update(audit_head).values(seq=after.size, hash=after.hash))
