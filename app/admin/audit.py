"""The audit log. `write` is the only way in which this package changes the database.

A change and its row are one transaction: neither is there without the other. A change to what was set already
leaves a row too, with `before` equal to `after`, because somebody asked for it. What is refused changes
nothing, and leaves no row.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Concatenate, Final, ParamSpec, TypeVar

from sqlalchemy import Connection, insert

from app.admin.actor import Actor
from app.admin.session import AdminGateway
from app.admin.violations import faults_of_text, refuse
from app.db.tables import audit_entries
from app.errors import INVALID_REASON
from app.kit.json import to_column
from app.kit.log import trace_id_var

P = ParamSpec("P")
R = TypeVar("R")

MAX_REASON: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A change, as its row in the audit log describes it.

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
    """Runs a function in a transaction, and appends the audit row of the change that it returns to the same.

    Returns the function's own result, once both are committed.

    Raises:
        Problem: INVALID_REASON, DATABASE_UNAVAILABLE, or what the function raised; nothing was changed.

    """
    why = _checked(reason)
    now_ms = gateway.clock.now_ms()
    trace_id = trace_id_var.get() or None

    def change_and_append(connection: Connection) -> R:
        result, change = function(connection, *args, **kwargs)
        _append(connection, actor, change, reason=why, at_ms=now_ms, trace_id=trace_id)
        return result

    return await gateway.db.write(change_and_append)


def _checked(reason: str | None) -> str | None:
    reason = (reason or "").strip()
    refuse(INVALID_REASON, faults_of_text("#/reason", "a reason", reason, max_length=MAX_REASON))
    return reason or None


def _append(
    connection: Connection,
    actor: Actor,
    change: Change,
    *,
    reason: str | None,
    at_ms: int,
    trace_id: str | None,
) -> None:
    connection.execute(
        insert(audit_entries).values(
            at_ms=at_ms,
            actor_kind=actor.kind,
            actor_name=actor.name,
            action=change.action,
            subject_kind=change.subject_kind,
            subject_id=change.subject_id,
            tenant_id=change.tenant_id,
            before=to_column(change.before),
            after=to_column(change.after),
            reason=reason,
            trace_id=trace_id,
        )
    )
