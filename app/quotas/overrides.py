"""Temporary overrides of limits in the database: an amount in place of a limit's, until a moment.

The decision about a submit reads them with the limits (`quotas.account`), so an override begins and ends by
the clock alone. At most one of a scope and metric lasts at any moment.
"""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, insert, select, update

from app.db.schema.tables import limit_overrides
from app.kit.ids import new_id
from app.quotas.account import Owner, limit_of
from app.quotas.limits import Limit


@dataclass(frozen=True, slots=True, kw_only=True)
class Override:
    """A temporary override: whose account, and the limit that applies until `until_ms`."""

    id: str
    owner: Owner
    limit: Limit
    created_at_ms: int
    until_ms: int


def lasting(connection: Connection, owner: Owner, limit: Limit, *, now_ms: int) -> Override | None:
    """Returns the override of this limit's scope and metric that lasts, if there is one."""
    scope, table = limit.scope, limit_overrides.c
    row = connection.execute(
        select(limit_overrides).where(
            table.tenant_id == owner.tenant_id,
            table.mode == owner.mode,
            table.kid == scope.kid,
            table.model_id == scope.model_id,
            table.end_user == scope.end_user,
            table.metric == limit.metric,
            table.until_ms > now_ms,
        )
    ).one_or_none()
    return None if row is None else _override(row)


def create(connection: Connection, owner: Owner, limit: Limit, *, until_ms: int, now_ms: int) -> Override:
    """Creates an override. The caller holds the lock on the tenant's row, and knows that none lasts."""
    made = Override(id=new_id(now_ms), owner=owner, limit=limit, created_at_ms=now_ms, until_ms=until_ms)
    connection.execute(
        insert(limit_overrides).values(
            id=made.id,
            tenant_id=owner.tenant_id,
            mode=owner.mode,
            kid=limit.scope.kid,
            model_id=limit.scope.model_id,
            end_user=limit.scope.end_user,
            metric=limit.metric,
            amount=limit.amount,
            burst=limit.burst,
            created_at_ms=now_ms,
            until_ms=until_ms,
        )
    )
    return made


def end(connection: Connection, override_id: str, *, now_ms: int) -> None:
    """Ends an override now; one that is over already keeps its end."""
    connection.execute(
        update(limit_overrides)
        .where(limit_overrides.c.id == override_id, limit_overrides.c.until_ms > now_ms)
        .values(until_ms=now_ms)
    )


def find(connection: Connection, override_id: str) -> Override | None:
    """Returns an override by its id, or None."""
    row = connection.execute(select(limit_overrides).where(limit_overrides.c.id == override_id)).one_or_none()
    return None if row is None else _override(row)


def page(
    connection: Connection, tenant_id: str | None, *, until_after_ms: int, after: str | None, limit: int
) -> list[Override]:
    """Returns up to `limit` overrides, oldest first, that end after `until_after_ms`.

    They are of one tenant, or of all tenants (None); and after the override with the id `after`, if given.
    """
    query = (
        select(limit_overrides)
        .where(limit_overrides.c.until_ms > until_after_ms)
        .order_by(limit_overrides.c.id)
        .limit(limit)
    )
    if tenant_id is not None:
        query = query.where(limit_overrides.c.tenant_id == tenant_id)
    if after is not None:
        query = query.where(limit_overrides.c.id > after)
    return [_override(row) for row in connection.execute(query)]


def _override(row: Row[Any]) -> Override:
    return Override(
        id=row.id,
        owner=Owner(row.tenant_id, row.mode),
        limit=limit_of(row),
        created_at_ms=row.created_at_ms,
        until_ms=row.until_ms,
    )
