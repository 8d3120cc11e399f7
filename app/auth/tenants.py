"""Tenants: the customers whose requests, keys and quotas are kept apart."""

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlsplit

from sqlalchemy import Connection, Row, insert, select, update
from sqlalchemy.exc import IntegrityError

from app.db.tables import tenants
from app.kit.ids import new_id
from app.kit.json import from_column, to_column

MediaChecks = Literal["enforce", "warn", "off"]
_HOST = re.compile(r"(?:[a-z0-9_](?:[a-z0-9._-]*[a-z0-9])?|[0-9a-f:.]*:[0-9a-f:.]*)\Z")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._-]{0,99}\Z")


class TenantError(ValueError):
    """The tenant cannot be made or found; the message is for the operator."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenant:
    """A customer.

    `media_checks` is what becomes of files that break a rule of their model, None as the settings say;
    `origins` are the web origins whose pages may call with its keys. `queueing` is whether its jobs wait
    where they may not go yet, `max_queued` how many may, each None as the settings say; `weight` its share
    of what is sent meanwhile.
    """

    id: str
    name: str
    created_at_ms: int
    disabled_at_ms: int | None
    time_zone: str
    media_checks: MediaChecks | None = None
    origins: frozenset[str] = frozenset()
    queueing: bool | None = None
    max_queued: int | None = None
    weight: int = 1
    dispatch_paused_at_ms: int | None = None


def create(connection: Connection, name: str, *, now_ms: int, time_zone: str = "UTC") -> Tenant:
    """Make a tenant, whose days and months of quota are those of an IANA time zone.

    Raises:
        TenantError: the name is taken or not 1 to 100 of letters, digits, blank, dot, dash, underscore.

    """
    if not _NAME.match(name):
        raise TenantError(
            f"{name!r} is no tenant name: 1 to 100 letters, digits, blanks, dots, dashes or underscores."
        )
    tenant = Tenant(
        id=new_id(now_ms), name=name, created_at_ms=now_ms, disabled_at_ms=None, time_zone=time_zone
    )
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


def set_media_checks(connection: Connection, tenant_id: str, media_checks: MediaChecks | None) -> None:
    """Change what becomes of files that break a rule; None leaves it to the settings."""
    connection.execute(update(tenants).where(tenants.c.id == tenant_id).values(media_checks=media_checks))


def set_queueing(
    connection: Connection, tenant_id: str, *, queueing: bool | None, max_queued: int | None, weight: int
) -> None:
    """Change whether a tenant's jobs wait and how many, None as the settings say, and its share."""
    connection.execute(
        update(tenants)
        .where(tenants.c.id == tenant_id)
        .values(queueing=queueing, max_queued=max_queued, weight=weight)
    )


def set_dispatch_paused(connection: Connection, tenant_id: str, at_ms: int | None) -> None:
    """Stop sending what waits of a tenant's, or go on (None)."""
    connection.execute(update(tenants).where(tenants.c.id == tenant_id).values(dispatch_paused_at_ms=at_ms))


def set_origins(connection: Connection, tenant_id: str, origins: Collection[str]) -> frozenset[str]:
    """Change which web origins may call with the tenant's keys; they are kept as browsers send them.

    Raises:
        TenantError: one is no origin.

    """
    kept = frozenset(map(origin_of, origins))
    connection.execute(
        update(tenants)
        .where(tenants.c.id == tenant_id)
        .values(origins=to_column(sorted(kept)) if kept else None)
    )
    return kept


def all_origins(connection: Connection) -> frozenset[str]:
    """The web origins of all tenants that are not disabled."""
    rows = connection.execute(
        select(tenants.c.origins).where(tenants.c.origins.is_not(None), tenants.c.disabled_at_ms.is_(None))
    )
    return frozenset(origin for row in rows for origin in origins_in(row.origins))


def origins_in(column: str | None) -> frozenset[str]:
    """What the column holds."""
    return frozenset(from_column(column) or ())


def origin_of(text: str) -> str:
    """The origin as a browser sends it: scheme and host in lower case, a port only where it is not the usual.

    Raises:
        TenantError: it is none; nor is `null`, nor one with a wildcard.

    """
    try:
        parts = urlsplit(text.strip())
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    host = parts.hostname or ""
    usual = {"https": 443, "http": 80}.get(parts.scheme)
    if usual is None or not _HOST.match(host) or "@" in parts.netloc or parts.path.strip("/") or parts.query:
        raise TenantError(f"{text!r} is no origin: https://app.example, without a path or a wildcard.")
    shown = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{shown}" + ("" if port in (None, usual) else f":{port}")


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
    columns: Any = row
    return Tenant(
        id=columns.id,
        name=columns.name,
        created_at_ms=columns.created_at_ms,
        disabled_at_ms=columns.disabled_at_ms,
        time_zone=columns.time_zone,
        media_checks=columns.media_checks,
        origins=origins_in(columns.origins),
        queueing=columns.queueing,
        max_queued=columns.max_queued,
        weight=columns.weight,
        dispatch_paused_at_ms=columns.dispatch_paused_at_ms,
    )
