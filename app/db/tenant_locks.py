"""Locking the rows of many tenants by one statement, with what submits and outcomes need of them.

Whoever waits for a lock while it holds others may meet somebody who waits for one of these. So those rows are
locked that are free at this moment, and the others are left out.
"""

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import Connection

from app.db.statements.many import Many


class LockedTenant(NamedTuple):
    """A tenant's row, as it stays until the commit."""

    id: str
    time_zone: str
    disabled_at_ms: int | None
    dispatch_paused_at_ms: int | None
    live_events: int
    live_webhooks: int
    test_events: int
    test_webhooks: int


def _locking(lock: str) -> Many:
    columns = ", ".join(LockedTenant._fields)
    return Many(f"SELECT {columns} FROM tenants WHERE id IN ({{rows}}){lock}", "id", each="{}")  # noqa: S608 - our names


_READ = _locking("")
_LOCK = _locking(" FOR NO KEY UPDATE")
_LOCK_FREE = _locking(" FOR NO KEY UPDATE SKIP LOCKED")


def lock(connection: Connection, tenant_ids: Sequence[str], *, waits: bool) -> list[LockedTenant]:
    """Locks rows until the commit and returns them; without `waits` those that nobody else has locked.

    On SQLite nobody else writes.
    """
    query = _READ if connection.dialect.name == "sqlite" else (_LOCK if waits else _LOCK_FREE)
    return [LockedTenant(*row) for row in query.match(connection, [(one,) for one in tenant_ids])]
