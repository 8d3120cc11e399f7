"""Tenants, for the operator: making them, changing their settings, disabling and enabling them."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final, get_args

from sqlalchemy import Connection

from app.admin import audit
from app.admin.actor import Actor
from app.admin.audit import Change
from app.admin.paging import MAX_PAGE, Page, PageSize, page_of, unknown_cursor
from app.admin.session import AdminGateway
from app.admin.violations import refuse
from app.auth import tenants
from app.auth.tenants import MediaChecks, OriginError, Tenant, origin_of
from app.db.schema.asset_states import MirrorMode
from app.errors import INVALID_TENANT, FieldError
from app.generations.queue.fair import MAX_WEIGHT
from app.kit.ids import is_id
from app.kit.text import quoted
from app.quotas.limits import LimitError

MAX_QUEUED: Final = 1_000_000
"""The highest `max_queued` that a tenant can have."""
MAX_KEEP_S: Final = 10 * 366 * 86_400
"""The longest time for which a tenant's copies of outputs can be kept, other than for ever."""


async def listed(
    gateway: AdminGateway, *, limit: PageSize = MAX_PAGE, cursor: str | None = None
) -> Page[Tenant]:
    """Returns tenants, oldest first, in pages.

    Raises:
        Problem: INVALID_PARAMETER.

    """
    if cursor is not None and not is_id(cursor):
        raise unknown_cursor()
    found = await gateway.db.read(tenants.page, after=cursor, limit=limit + 1)
    return page_of(found, limit, lambda one: one.id)


async def show(gateway: AdminGateway, name: str) -> Tenant:
    """Returns a tenant.

    Raises:
        Problem: TENANT_NOT_FOUND.

    """
    return await gateway.db.read(tenants.by_name, name)


async def create(
    gateway: AdminGateway, actor: Actor, name: str, *, time_zone: str = "UTC", reason: str | None = None
) -> Tenant:
    """Makes a tenant, whose days and months of quota are those of an IANA time zone.

    Raises:
        Problem: INVALID_TENANT, TENANT_EXISTS, INVALID_REASON.

    """
    refuse(INVALID_TENANT, [one for one in (tenants.fault_of_name(name), _fault_of_zone(time_zone)) if one])
    return await audit.write(gateway, actor, reason, _create, name, time_zone, gateway.clock.now_ms())


def _create(connection: Connection, name: str, time_zone: str, now_ms: int) -> tuple[Tenant, Change]:
    made = tenants.create(connection, name, now_ms=now_ms, time_zone=time_zone)
    return made, _changed("create", made, None, {"name": name, "time_zone": time_zone})


async def rename(
    gateway: AdminGateway, actor: Actor, name: str, new_name: str, *, reason: str | None = None
) -> Tenant:
    """Gives a tenant another name. Keys, limits, requests and its balance stay.

    Raises:
        Problem: INVALID_TENANT, TENANT_NOT_FOUND, TENANT_EXISTS, INVALID_REASON.

    """
    if fault := tenants.fault_of_name(new_name):
        refuse(INVALID_TENANT, [FieldError("#/new_name", fault.code, fault.detail)])

    def change(connection: Connection) -> tuple[Tenant, Change]:
        before = tenants.by_name(connection, name, to_change=True)
        tenants.rename(connection, before.id, new_name)
        after = tenants.by_name(connection, new_name)
        return after, _changed("rename", after, {"name": name}, {"name": new_name})

    return await audit.write(gateway, actor, reason, change)


async def set_time_zone(
    gateway: AdminGateway, actor: Actor, name: str, time_zone: str, *, reason: str | None = None
) -> Tenant:
    """Sets the time zone in which a tenant's days begin; usage stays in the day that it was counted in.

    Raises:
        Problem: INVALID_TENANT, TENANT_NOT_FOUND, INVALID_REASON.

    """
    refuse(INVALID_TENANT, [one for one in (_fault_of_zone(time_zone),) if one])
    change = partial(tenants.set_time_zone, time_zone=time_zone, now_ms=gateway.clock.now_ms())
    return await audit.write(gateway, actor, reason, _change, "set_time_zone", name, ("time_zone",), change)


async def set_media_checks(
    gateway: AdminGateway,
    actor: Actor,
    name: str,
    media_checks: MediaChecks | None,
    *,
    reason: str | None = None,
) -> Tenant:
    """Sets what happens to files that break a rule of their model; None leaves it to the settings.

    Raises:
        Problem: INVALID_TENANT, TENANT_NOT_FOUND, INVALID_REASON.

    """
    if media_checks not in (None, *get_args(MediaChecks)):
        known = ", ".join(get_args(MediaChecks))
        detail = f"there is no check {quoted(str(media_checks))}; there are {known}."
        refuse(INVALID_TENANT, [FieldError("#/media_checks", "enum", detail)])
    change = partial(tenants.set_media_checks, media_checks=media_checks)
    fields = ("media_checks",)
    return await audit.write(gateway, actor, reason, _change, "set_media_checks", name, fields, change)


async def set_origins(
    gateway: AdminGateway, actor: Actor, name: str, origins: Sequence[str], *, reason: str | None = None
) -> Tenant:
    """Replaces the web origins whose pages may call with the tenant's keys.

    Raises:
        Problem: INVALID_TENANT, TENANT_NOT_FOUND, INVALID_REASON.

    """
    errors = []
    for number, one in enumerate(origins):
        try:
            origin_of(one)
        except OriginError as error:
            errors.append(FieldError(f"#/origins/{number}", "origin", str(error)))
    refuse(INVALID_TENANT, errors)

    def change(connection: Connection, tenant_id: str) -> None:
        tenants.set_origins(connection, tenant_id, origins)

    return await audit.write(gateway, actor, reason, _change, "set_origins", name, ("origins",), change)


async def set_queueing(
    gateway: AdminGateway,
    actor: Actor,
    name: str,
    *,
    queueing: bool | None,
    max_queued: int | None = None,
    weight: int | None = None,
    reason: str | None = None,
) -> Tenant:
    """Sets whether the tenant's requests may be queued; None leaves it to the settings.

    `max_queued` is how many may be queued, and `weight` the tenant's share of dispatches among the tenants
    that have a queue; each stays as it is where it is None.

    Raises:
        Problem: INVALID_TENANT, TENANT_NOT_FOUND, INVALID_REASON.

    """
    errors = []
    if max_queued is not None and not 0 <= max_queued <= MAX_QUEUED:
        errors.append(FieldError("#/max_queued", "range", f"max_queued must be from 0 to {MAX_QUEUED}."))
    if weight is not None and not 1 <= weight <= MAX_WEIGHT:
        errors.append(FieldError("#/weight", "range", f"a weight must be from 1 to {MAX_WEIGHT}."))
    refuse(INVALID_TENANT, errors)

    def change(connection: Connection, tenant_id: str) -> None:
        found = tenants.by_name(connection, name)
        tenants.set_queueing(
            connection,
            tenant_id,
            queueing=queueing,
            max_queued=found.max_queued if max_queued is None else max_queued,
            weight=found.weight if weight is None else weight,
        )

    fields = ("queueing", "max_queued", "weight")
    return await audit.write(gateway, actor, reason, _change, "set_queueing", name, fields, change)


async def set_mirror(
    gateway: AdminGateway,
    actor: Actor,
    name: str,
    mirror: MirrorMode,
    *,
    keep_s: int | None = None,
    reason: str | None = None,
) -> Tenant:
    """Sets whether outputs of the tenant are mirrored: off, beside RunComfy's links, or instead of them.

    `keep_s` is for how many seconds copies are kept, 0 for ever; None leaves it to the settings. Both count
    for requests that complete, and for copies that are stored, from now on.

    Raises:
        Problem: INVALID_TENANT, TENANT_NOT_FOUND, INVALID_REASON.

    """
    errors = []
    if mirror not in get_args(MirrorMode):
        known = ", ".join(get_args(MirrorMode))
        detail = f"there is no mirror {quoted(str(mirror))}; there are {known}."
        errors.append(FieldError("#/mirror", "enum", detail))
    if keep_s is not None and not 0 <= keep_s <= MAX_KEEP_S:
        errors.append(FieldError("#/keep_s", "range", f"keep_s must be from 0 to {MAX_KEEP_S:,}."))
    refuse(INVALID_TENANT, errors)
    change = partial(tenants.set_mirror, mirror=mirror, keep_s=keep_s)
    fields = ("mirror", "mirror_keep_s")
    return await audit.write(gateway, actor, reason, _change, "set_mirror", name, fields, change)


async def disable(gateway: AdminGateway, actor: Actor, name: str, *, reason: str | None = None) -> Tenant:
    """Disables a tenant: from the commit on nothing new is made or sent for it.

    On every replica within five seconds its API keys and client tokens are refused, its event streams end,
    and its web origins no longer count. Its queue stays as it is. Jobs that were sent are followed to their
    end, and charged. A tenant that is disabled already keeps the time of its first disabling.

    Raises:
        Problem: TENANT_NOT_FOUND, INVALID_REASON.

    """
    change = partial(tenants.set_disabled, at_ms=gateway.clock.now_ms())
    return await audit.write(gateway, actor, reason, _change, "disable", name, ("disabled_at_ms",), change)


async def enable(gateway: AdminGateway, actor: Actor, name: str, *, reason: str | None = None) -> Tenant:
    """Enables a tenant again: keys and client tokens that have not ended work, and its queue is sent.

    Raises:
        Problem: TENANT_NOT_FOUND, INVALID_REASON.

    """
    change = partial(tenants.set_disabled, at_ms=None)
    return await audit.write(gateway, actor, reason, _change, "enable", name, ("disabled_at_ms",), change)


def _fault_of_zone(name: str) -> FieldError | None:
    from app.quotas.account import check_zone  # noqa: PLC0415 - a list needs nothing of accounts

    try:
        check_zone(name)
    except LimitError as error:
        return FieldError("#/time_zone", "time_zone", str(error))
    return None


def _change(
    connection: Connection,
    action: str,
    name: str,
    fields: Sequence[str],
    change: Callable[[Connection, str], None],
) -> tuple[Tenant, Change]:
    """Changes a tenant's row, which is locked before it is read, and describes the change."""
    before = tenants.by_name(connection, name, to_change=True)
    change(connection, before.id)
    after = tenants.by_name(connection, name)
    return after, _changed(action, after, _fields_of(before, fields), _fields_of(after, fields))


def _changed(
    action: str, tenant: Tenant, before: dict[str, Any] | None, after: dict[str, Any] | None
) -> Change:
    return Change(
        action=f"tenant.{action}",
        subject_kind="tenant",
        subject_id=tenant.id,
        tenant_id=tenant.id,
        before=before,
        after=after,
    )


def _fields_of(tenant: Tenant, fields: Sequence[str]) -> dict[str, Any]:
    values = {name: getattr(tenant, name) for name in fields}
    return {name: sorted(one) if isinstance(one, frozenset) else one for name, one in values.items()}
