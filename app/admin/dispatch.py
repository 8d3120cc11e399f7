"""The dispatch of queued requests, for the operator: how the queues stand, pausing and resuming it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, get_args

from sqlalchemy import Connection, select

from app.admin import audit
from app.admin.actor import Actor
from app.admin.audit import Change
from app.admin.session import AdminGateway
from app.auth import tenants
from app.auth.keys import Mode
from app.db.tables import turns
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


async def status(gateway: AdminGateway) -> DispatchStatus:
    """Returns how every queue stands, and which modes are paused."""
    queues = await gateway.db.read(backlog.backlogs)
    return DispatchStatus(queues, await gateway.db.read(backlog.paused), gateway.clock.now_ms())


async def pause(
    gateway: AdminGateway, actor: Actor, modes: Sequence[Mode] = MODES, *, reason: str | None = None
) -> None:
    """Pauses the dispatch of these modes, on every replica within a second; queueable submits are accepted.

    A mode that is paused already keeps the time of its first pause.

    Raises:
        Problem: INVALID_REASON.

    """
    await audit.write(gateway, actor, reason, _set_modes, "pause", modes, gateway.clock.now_ms())


async def resume(
    gateway: AdminGateway, actor: Actor, modes: Sequence[Mode] = MODES, *, reason: str | None = None
) -> None:
    """Resumes the dispatch of these modes.

    Raises:
        Problem: INVALID_REASON.

    """
    await audit.write(gateway, actor, reason, _set_modes, "resume", modes, None)


async def pause_tenant(
    gateway: AdminGateway, actor: Actor, tenant: str, *, reason: str | None = None
) -> None:
    """Pauses the dispatch of a tenant's requests, in both modes, on every replica within a second.

    Raises:
        Problem: TENANT_NOT_FOUND, INVALID_REASON.

    """
    await audit.write(gateway, actor, reason, _set_tenant, "pause", tenant, gateway.clock.now_ms())


async def resume_tenant(
    gateway: AdminGateway, actor: Actor, tenant: str, *, reason: str | None = None
) -> None:
    """Resumes the dispatch of a tenant's requests.

    Raises:
        Problem: TENANT_NOT_FOUND, INVALID_REASON.

    """
    await audit.write(gateway, actor, reason, _set_tenant, "resume", tenant, None)


def _set_modes(
    connection: Connection, action: str, modes: Sequence[Mode], at_ms: int | None
) -> tuple[None, Change]:
    before = _paused(connection, modes)
    backlog.pause(connection, modes, at_ms)
    after = _paused(connection, modes)
    return None, Change(
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


def _set_tenant(connection: Connection, action: str, tenant: str, at_ms: int | None) -> tuple[None, Change]:
    before = tenants.by_name(connection, tenant, to_change=True)
    tenants.set_dispatch_paused(connection, before.id, at_ms)
    return None, Change(
        action=f"dispatch.{action}",
        subject_kind="tenant",
        subject_id=before.id,
        tenant_id=before.id,
        before={"dispatch_paused_at_ms": before.dispatch_paused_at_ms},
        after={"dispatch_paused_at_ms": at_ms},
    )
