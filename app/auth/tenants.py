"""Tenants: the customers whose requests, keys and quotas are kept apart."""

import difflib
import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlsplit

from sqlalchemy import Connection, Row, insert, select, update
from sqlalchemy.exc import IntegrityError

from app.db.schema.asset_states import MirrorMode
from app.db.schema.tables import tenants
from app.errors import INVALID_TENANT, TENANT_EXISTS, TENANT_NOT_FOUND, FieldError, Problem
from app.kit.ids import new_id
from app.kit.json import from_column, to_column
from app.kit.text import is_storable, quoted

MediaChecks = Literal["enforce", "warn", "off"]
_HOST = re.compile(r"(?:[a-z0-9_](?:[a-z0-9._-]*[a-z0-9])?|[0-9a-f:.]*:[0-9a-f:.]*)\Z")
_APP_SCHEME = re.compile(r"[a-z][a-z0-9+.-]{0,49}\Z")
_NO_SCHEMES = frozenset({"about", "blob", "data", "file", "ftp", "javascript", "ws", "wss"})
_NAME = re.compile(r"(?!.*  )[A-Za-z0-9](?:[A-Za-z0-9 ._-]{0,98}[A-Za-z0-9._-])?\Z")


class OriginError(ValueError):
    """The text is not a web origin; the message says what one is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenant:
    """A customer.

    `time_zone` is the IANA time zone in which the days and months of its quotas begin, and
    `time_zone_since_ms` when it was changed to that, None where it always was. `media_checks` says
    what happens to files that break a rule of their model; `origins` are the web origins whose pages may call
    with its keys. `queueing` says whether its requests may be queued, and `max_queued` how many. None in one
    of these leaves it to the settings. `weight` is its share of dispatches among the tenants that have a
    queue. `dispatch_paused_at_ms` is since when its queue is not dispatched. `mirror` says whether its
    outputs are mirrored, and `mirror_keep_s` for how many seconds copies are kept, 0 for ever.
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
    time_zone_since_ms: int | None = None
    mirror: MirrorMode = "off"
    mirror_keep_s: int | None = None


def fault_of_name(name: str) -> FieldError | None:
    """What is wrong with a tenant's name, if anything is."""
    if _NAME.match(name):
        return None
    detail = (
        f"{quoted(name)} is not a valid tenant name: use 1 to 100 letters, digits, spaces, dots,"
        " dashes or underscores, beginning with a letter or digit. A space is single, and not at the end."
    )
    return FieldError("#/name", "pattern", detail)


def create(connection: Connection, name: str, *, now_ms: int, time_zone: str = "UTC") -> Tenant:
    """Creates a tenant, whose days and months of quota begin in an IANA time zone.

    Raises:
        Problem: TENANT_EXISTS; INVALID_TENANT, the name is not 1 to 100 of letters, digits, blank, dot,
            dash, underscore.

    """
    if fault := fault_of_name(name):
        raise Problem(INVALID_TENANT, fault.detail, errors=[fault])
    tenant = Tenant(
        id=new_id(now_ms), name=name, created_at_ms=now_ms, disabled_at_ms=None, time_zone=time_zone
    )
    try:
        connection.execute(
            insert(tenants).values(id=tenant.id, name=name, created_at_ms=now_ms, time_zone=time_zone)
        )
    except IntegrityError as error:
        raise Problem(TENANT_EXISTS, f"there is a tenant {name!r} already.") from error
    return tenant


def rename(connection: Connection, tenant_id: str, name: str) -> None:
    """Gives a tenant another name; its id, and all that is counted by it, stay.

    Raises:
        Problem: INVALID_TENANT, TENANT_EXISTS.

    """
    if fault := fault_of_name(name):
        raise Problem(INVALID_TENANT, fault.detail, errors=[fault])
    try:
        connection.execute(update(tenants).where(tenants.c.id == tenant_id).values(name=name))
    except IntegrityError as error:
        raise Problem(TENANT_EXISTS, f"there is a tenant {name!r} already.") from error


def set_disabled(connection: Connection, tenant_id: str, at_ms: int | None) -> None:
    """Refuse a tenant's keys and send nothing more of its jobs, or have it back (None).

    It counts from the first time that it was disabled.
    """
    query = update(tenants).where(tenants.c.id == tenant_id)
    if at_ms is not None:
        query = query.where(tenants.c.disabled_at_ms.is_(None))
    connection.execute(query.values(disabled_at_ms=at_ms))


def set_time_zone(connection: Connection, tenant_id: str, time_zone: str, *, now_ms: int) -> None:
    """Sets the time zone in which a tenant's days begin; usage stays in the day it was counted in."""
    changed = update(tenants).where(tenants.c.id == tenant_id, tenants.c.time_zone != time_zone)
    connection.execute(changed.values(time_zone=time_zone, time_zone_since_ms=now_ms))


def set_media_checks(connection: Connection, tenant_id: str, media_checks: MediaChecks | None) -> None:
    """Sets what happens to a tenant's files that break a rule; None leaves it to the settings."""
    connection.execute(update(tenants).where(tenants.c.id == tenant_id).values(media_checks=media_checks))


def set_queueing(
    connection: Connection, tenant_id: str, *, queueing: bool | None, max_queued: int | None, weight: int
) -> None:
    """Sets whether a tenant's requests may be queued, how many, and its weight.

    None leaves the first two to the settings.
    """
    connection.execute(
        update(tenants)
        .where(tenants.c.id == tenant_id)
        .values(queueing=queueing, max_queued=max_queued, weight=weight)
    )


def set_mirror(connection: Connection, tenant_id: str, mirror: MirrorMode, *, keep_s: int | None) -> None:
    """Sets whether outputs that complete from now on are mirrored, and for how long copies are kept.

    None leaves that to the settings.
    """
    values = {"mirror": mirror, "mirror_keep_s": keep_s}
    connection.execute(update(tenants).where(tenants.c.id == tenant_id).values(values))


def set_dispatch_paused(connection: Connection, tenant_id: str, at_ms: int | None) -> None:
    """Pauses the dispatch of a tenant's queue from `at_ms` on, or resumes it (None)."""
    connection.execute(update(tenants).where(tenants.c.id == tenant_id).values(dispatch_paused_at_ms=at_ms))


def set_origins(connection: Connection, tenant_id: str, origins: Collection[str]) -> frozenset[str]:
    """Sets the web origins whose pages may call with the tenant's keys; returns them as browsers send them.

    Raises:
        OriginError: one of them is no origin.

    """
    kept = frozenset(map(origin_of, origins))
    connection.execute(
        update(tenants)
        .where(tenants.c.id == tenant_id)
        .values(origins=to_column(sorted(kept)) if kept else None)
    )
    return kept


def all_origins(connection: Connection) -> frozenset[str]:
    """Returns the web origins of all tenants that are not disabled."""
    rows = connection.execute(
        select(tenants.c.origins).where(tenants.c.origins.is_not(None), tenants.c.disabled_at_ms.is_(None))
    )
    return frozenset(origin for row in rows for origin in origins_in(row.origins))


def origins_in(column: str | None) -> frozenset[str]:
    """Returns the origins that the database column holds."""
    return frozenset(from_column(column) or ())


def origin_of(text: str) -> str:
    """Returns an origin as a browser sends it: in lower case, with a port only where it is not the usual one.

    The pages of apps and of browsers' extensions have schemes of their own (`capacitor://localhost`), whose
    hosts are kept as they are written.

    Raises:
        OriginError: the text is no origin; `null`, wildcards and the schemes of files are none.

    """
    try:
        parts = urlsplit(text.strip())
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    host = parts.hostname or ""
    usual = {"https": 443, "http": 80}.get(parts.scheme)
    is_known = usual is not None or _is_app_scheme(parts.scheme)
    is_bare = not (parts.path.strip("/") or parts.query or parts.fragment or "@" in parts.netloc)
    if not is_known or not _HOST.match(host) or not is_bare:
        raise OriginError(
            f"{quoted(text)} is not an origin such as https://app.example or capacitor://localhost, without a"
            " path or a wildcard."
        )
    if usual is None:
        return f"{parts.scheme}://{parts.netloc}"
    shown = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{shown}" + ("" if port in (None, usual) else f":{port}")


def _is_app_scheme(scheme: str) -> bool:
    """Returns whether pages inside an app may have this scheme; `htps` is more likely a typing error."""
    is_one = _APP_SCHEME.match(scheme) is not None and scheme not in _NO_SCHEMES
    return is_one and not difflib.get_close_matches(scheme, ("http", "https"), cutoff=0.7)


def by_name(connection: Connection, name: str, *, to_change: bool = False) -> Tenant:
    """Returns the tenant with that name or else that id; `to_change` also locks its row until the commit.

    Raises:
        Problem: TENANT_NOT_FOUND.

    """
    is_named = tenants.c.name == name
    query = select(tenants).where(is_named | (tenants.c.id == name)).order_by(is_named.desc()).limit(1)
    if to_change:
        query = query.with_for_update(key_share=True)
    row = connection.execute(query).one_or_none() if is_storable(name) else None
    if row is None:
        raise Problem(
            TENANT_NOT_FOUND, f"there is no tenant {name[:200]!r}; `reelgate tenants list` shows them."
        )
    return _tenant(row)


def by_id(connection: Connection, tenant_id: str) -> Tenant:
    """Returns the tenant with that id, which must exist."""
    return _tenant(connection.execute(select(tenants).where(tenants.c.id == tenant_id)).one())


def name_of(connection: Connection, tenant_id: str) -> str:
    """Returns the name of a tenant that exists."""
    return str(connection.execute(select(tenants.c.name).where(tenants.c.id == tenant_id)).scalar_one())


def list_all(connection: Connection) -> list[Tenant]:
    """Returns all tenants, oldest first."""
    return [_tenant(row) for row in connection.execute(select(tenants).order_by(tenants.c.id))]


def page(connection: Connection, *, after: str | None, limit: int) -> list[Tenant]:
    """Returns up to `limit` tenants, oldest first; those after the tenant with the id `after`, if given."""
    query = select(tenants).order_by(tenants.c.id).limit(limit)
    if after is not None:
        query = query.where(tenants.c.id > after)
    return [_tenant(row) for row in connection.execute(query)]


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
        time_zone_since_ms=columns.time_zone_since_ms,
        mirror=columns.mirror or "off",
        mirror_keep_s=columns.mirror_keep_s,
    )
