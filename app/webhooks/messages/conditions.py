"""Conditions that the operator is told of: each change of one is one message, whatever the number of servers.

Every server examines what it can see. One that sees a condition keeps it raised; it is cleared when none has
seen it for a while, so that servers which see different things do not take turns in changing it.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import Connection, select, update

from app.db.schema.tables import operator_conditions
from app.db.statements.upsert import insert_of
from app.kit.ids import new_id
from app.kit.json import to_column
from app.webhooks.kinds import OPERATOR, Kind
from app.webhooks.messages import bodies, outbox
from app.webhooks.messages.outbox import Message

CALM_MS: Final = 120_000
_REFRESH_MS: Final = 15_000
_C = operator_conditions.c
_MAX_SUBJECT: Final = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """A condition that holds now: its name, what it is about (a credential; may be empty), and numbers."""

    name: str
    subject: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A condition that was raised or cleared."""

    name: str
    subject: str
    is_raised: bool
    details: Mapping[str, Any]


def observe(
    connection: Connection,
    seen: Sequence[Condition],
    *,
    examined: Collection[str],
    tells: bool,
    now_ms: int,
    calm_ms: int = CALM_MS,
) -> list[Change]:
    """Records which of the conditions named in `examined` hold now, and writes the messages of changes.

    `tells` says whether the operator has an endpoint. Returns the changes that this call was the first to
    record.
    """
    wanted = {(one.name, one.subject[:_MAX_SUBJECT]): one for one in seen}
    query = select(_C.name, _C.subject, _C.is_raised, _C.seen_at_ms).where(_C.name.in_(sorted(examined)))
    rows = {(row.name, row.subject): row for row in connection.execute(query)}
    changes = []
    for key, one in wanted.items():
        row = rows.get(key)
        if row is not None and row.is_raised:
            if now_ms - row.seen_at_ms >= _REFRESH_MS:
                connection.execute(_of(key).values(seen_at_ms=now_ms))
        elif _raise(connection, key, one, is_new=row is None, now_ms=now_ms):
            changes.append(Change(name=key[0], subject=key[1], is_raised=True, details=one.details))
    for key, row in rows.items():
        if row.is_raised and key not in wanted and now_ms - row.seen_at_ms >= calm_ms:
            calm = _of(key).where(_C.is_raised.is_(True), _C.seen_at_ms == row.seen_at_ms)
            if connection.execute(calm.values(**_changed(is_raised=False, now_ms=now_ms))).rowcount:
                changes.append(Change(name=key[0], subject=key[1], is_raised=False, details={}))
    if tells:
        for change in changes:
            _tell(connection, change, now_ms)
    return changes


def raised(connection: Connection) -> list[tuple[str, str, int]]:
    """Returns the name, the subject and the start of every condition that holds."""
    query = select(_C.name, _C.subject, _C.changed_at_ms).where(_C.is_raised.is_(True))
    return [tuple(row) for row in connection.execute(query.order_by(_C.name, _C.subject))]


def _of(key: tuple[str, str]) -> Any:
    return update(operator_conditions).where(_C.name == key[0], _C.subject == key[1])


def _changed(*, is_raised: bool, now_ms: int, details: Mapping[str, Any] | None = None) -> dict[str, Any]:
    return {
        "is_raised": is_raised,
        "changes": _C.changes + 1,
        "changed_at_ms": now_ms,
        "seen_at_ms": now_ms,
        "details": to_column(dict(details or {})),
    }


def _raise(
    connection: Connection, key: tuple[str, str], one: Condition, *, is_new: bool, now_ms: int
) -> bool:
    """Raises a condition; returns False where another server did so meanwhile."""
    values = _changed(is_raised=True, now_ms=now_ms, details=one.details)
    if is_new:
        first = values | {"name": key[0], "subject": key[1], "changes": 1}
        made = insert_of(connection, operator_conditions).values(**first).on_conflict_do_nothing()
        return bool(connection.execute(made).rowcount)
    return bool(connection.execute(_of(key).where(_C.is_raised.is_(False)).values(**values)).rowcount)


def _tell(connection: Connection, change: Change, now_ms: int) -> None:
    row = connection.execute(
        select(_C.changes).where(_C.name == change.name, _C.subject == change.subject)
    ).one()
    kind = Kind.RAISED if change.is_raised else Kind.CLEARED
    data = bodies.condition(
        name=change.name,
        subject=change.subject,
        since_ms=now_ms,
        changes=row.changes,
        details=change.details,
    )
    message = Message(id=f"msg_{new_id(now_ms)}", tenant_id=OPERATOR, mode="live", kind=kind, at_ms=now_ms)
    outbox.tell_operator(connection, message, bodies.body(kind, data, at_ms=now_ms))
