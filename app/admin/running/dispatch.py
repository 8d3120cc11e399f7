"""The dispatch of queued requests, for the operator: how the queues stand, pausing and resuming it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, get_args

from sqlalchemy import Connection, select

from app.admin import audit
from app.admin.actor import Actor
from app.admin.audit import Change
from app.admin.session import AdminGateway
from app.admin.violations import refuse
from app.auth import tenants
from app.auth.keys import Mode
from app.db.schema.tables import turns
from app.errors import INVALID_CHANGE, FieldError
from app.generations.queue import backlog
from app.generations.queue.backlog import Backlog

MODES: Final[Sequence[Mode]] = get_args(Mode)


@dataclass(frozen=True, slots=True)
class DispatchStatus:
    """Every queue, and since when each paused mode is paused, as of `now_ms` (milliseconds since 1970)."""

    queues: Sequence[Backlog]
    paused_since_ms: Mapping[Mode, int]
    now_ms: int

    def share(self, queue: Backlog) -> float:
        """Returns a queue's share of what is sent while the same queues have requests, from 0 to 1."""
        return backlog.share(queue, self.queues)


@dataclass(frozen=True, slots=True)
class Dispatch:
    """Since when the dispatch of these modes is paused, by mode: of one tenant's requests, or of all (None).

    A mode that is not paused maps to None.
    """

    tenant: str | None
    paused_since_ms: Mapping[str, int | None]


async def status(gateway: AdminGateway) -> DispatchStatus:
    """Returns how every queue stands, and which modes are paused."""
    queues = await gateway.db.read(backlog.backlogs)
    return DispatchStatus(queues, await gateway.db.read(backlog.paused), gateway.clock.now_ms())


async def pause(
    gateway: AdminGateway,
    actor: Actor,
    *,
    tenant: str | None = None,
    modes: Sequence[Mode] | None = None,
    reason: str | None = None,
) -> Dispatch:
    """Pauses the dispatch of a tenant's requests, or of all requests of some modes (None: of both).

    It acts on every replica within a second; queueable submits are accepted meanwhile. What is paused already
    keeps the time of its first pause.

    Raises:
        Problem: INVALID_CHANGE, TENANT_NOT_FOUND, INVALID_REASON.

    """
    now_ms = gateway.clock.now_ms()
    return await _set(gateway, actor, "pause", tenant=tenant, modes=modes, at_ms=now_ms, reason=reason)


async def resume(
    gateway: AdminGateway,
    actor: Actor,
    *,
    tenant: str | None = None,
    modes: Sequence[Mode] | None = None,
    reason: str | None = None,
) -> Dispatch:
    """Resumes the dispatch of a tenant's requests, or of all requests of some modes (None: of both).

    Raises:
        Problem: INVALID_CHANGE, TENANT_NOT_FOUND, INVALID_REASON.

    """
    return await _set(gateway, actor, "resume", tenant=tenant, modes=modes, at_ms=None, reason=reason)


async def _set(
    gateway: AdminGateway,
    actor: Actor,
    action: str,
    *,
    tenant: str | None,
    modes: Sequence[Mode] | None,
    at_ms: int | None,
    reason: str | None,
) -> Dispatch:
    if tenant is not None:
        refuse(INVALID_CHANGE, _faults_with_tenant(modes))
        return await audit.write(gateway, actor, reason, _set_tenant, action, tenant, at_ms)
    chosen = [one for one in MODES if modes is None or one in modes]
    if not chosen:
        error = FieldError("#/modes", "minItems", "name at least one mode, or leave it out.")
        refuse(INVALID_CHANGE, [error])
    return await audit.write(gateway, actor, reason, _set_modes, action, chosen, at_ms)


def _faults_with_tenant(modes: Sequence[Mode] | None) -> list[FieldError]:
    if modes is None:
        return []
    detail = "a tenant's dispatch is paused in both modes together: leave out the modes, or the tenant."
    return [FieldError("#/modes", "conflict", detail)]


def _set_modes(
    connection: Connection, action: str, modes: Sequence[Mode], at_ms: int | None
) -> tuple[Dispatch, Change]:
    before = _paused(connection, modes)
    backlog.pause(connection, modes, at_ms)
    after = _paused(connection, modes)
    return Dispatch(None, after), Change(
        action=f"dispatch.{action}",
        subject_kind="dispatch",
        subject_id=" ".join(modes),
        tenant_id=None,
        before=before,
        after=after,
    )


def _paused(connection: Connection, modes: Sequence[Mode]) -> dict[str, int | None]:
    """Returns since when each of these modes is paused; locks their rows, in a fixed order."""
    rows = select(turns.c.mode, turns.c.paused_at_ms).where(turns.c.mode.in_(modes)).order_by(turns.c.mode)
    return {row.mode: row.paused_at_ms for row in connection.execute(rows.with_for_update())}


def _set_tenant(
    connection: Connection, action: str, tenant: str, at_ms: int | None
) -> tuple[Dispatch, Change]:
    before = tenants.by_name(connection, tenant, to_change=True)
    paused_ms = before.dispatch_paused_at_ms
    after_ms = paused_ms if None not in (paused_ms, at_ms) else at_ms
    tenants.set_dispatch_paused(connection, before.id, after_ms)
    return Dispatch(tenant, dict.fromkeys(MODES, after_ms)), Change(
        action=f"dispatch.{action}",
        subject_kind="tenant",
        subject_id=before.id,
        tenant_id=before.id,
        before={"dispatch_paused_at_ms": paused_ms},
        after={"dispatch_paused_at_ms": after_ms},
    )
