"""Tenants: the customers whose requests, keys and quotas are kept apart."""

import re
from dataclasses import dataclass, fields

from sqlalchemy import Connection, Row, insert, select, update
from sqlalchemy.exc import IntegrityError

from app.db.tables import tenants
from app.kit.ids import new_id

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._-]{0,99}\Z")


class TenantError(ValueError):
    """The tenant cannot be made or found; the message is for the operator."""


@dataclass(frozen=True, slots=True)
class Tenant:
    """A customer."""

    id: str
    name: str
    created_at_ms: int
    disabled_at_ms: int | None
    time_zone: str


def create(connection: Connection, name: str, *, now_ms: int, time_zone: str = "UTC") -> Tenant:
    """Make a tenant, whose days and months of quota are those of an IANA time zone.

    Raises:
        TenantError: the name is taken or not 1 to 100 of letters, digits, blank, dot, dash, underscore.

    """
    if not _NAME.match(name):
        raise TenantError(
            f"{name!r} is no tenant name: 1 to 100 letters, digits, blanks, dots, dashes or underscores."
        )
    tenant = Tenant(new_id(now_ms), name, now_ms, None, time_zone)
    try:
        connection.execute(
            insert(tenants).values(id=tenant.id, name=name, created_at_ms=now_ms, time_zone=time_zone)
        )
    except IntegrityError as error:
        raise TenantError(f"there is a tenant {name!r} already.") from error
    return tenant


def set_time_zone(connection: Connection, tenant_id: str, time_zone: str) -> None:
    """Change whose midnight ends a day. What was counted stays in the days that it was counted in."""
    connection.execute(update(tenants).where(tenants.c.id == tenant_id).values(time_zone=time_zone))


def by_name(connection: Connection, name: str) -> Tenant:
    """The tenant of that name.

    Raises:
        TenantError: there is none.

    """
    row = connection.execute(select(tenants).where(tenants.c.name == name)).one_or_none()
    if row is None:
        raise TenantError(f"there is no tenant {name!r}; `reelgate tenants list` shows them.")
    return _tenant(row)


def every(connection: Connection) -> list[Tenant]:
    """All tenants, oldest first."""
    return [_tenant(row) for row in connection.execute(select(tenants).order_by(tenants.c.id))]


def _tenant(row: Row[tuple[object, ...]]) -> Tenant:
    values = row._mapping  # noqa: SLF001 - SQLAlchemy's documented access to a row's names
    return Tenant(**{one.name: values[one.name] for one in fields(Tenant)})
