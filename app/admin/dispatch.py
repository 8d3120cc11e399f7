"""The queue in front of RunComfy: what waits in it, pausing and going on."""

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
    """Every queue, and since when nothing is sent of a mode that is paused, as of `now_ms`."""

    queues: Sequence[Backlog]
    paused_since_ms: Mapping[Mode, int]
    now_ms: int

    def share(self, queue: Backlog) -> float:
        """A queue's share of what is sent while those have jobs that have some now, from 0 to 1."""
        return backlog.share(queue, self.queues)


async def status(gateway: AdminGateway) -> DispatchStatus:
    """What waits to be sent: how much, since when, and whose share it is."""
    queues = await gateway.db.read(backlog.backlogs)
    return DispatchStatus(queues, await gateway.db.read(backlog.paused), gateway.clock.now_ms())


async def pause(
    gateway: AdminGateway, actor: Actor, modes: Sequence[Mode] = MODES, *, reason: str | None = None
) -> None:
    """Send nothing more of these modes, on every server within a second; submits that may wait are accepted.

    Of a mode that is paused already the time of the first pause stays.

    Raises:
        Problem: INVALID_REASON.

    """
    await audit.write(gateway, actor, reason, _set_modes, "pause", modes, gateway.clock.now_ms())


async def resume(
    gateway: AdminGateway, actor: Actor, modes: Sequence[Mode] = MODES, *, reason: str | None = None
) -> None:
    """Go on sending what waits of these modes.

    Raises:
        Problem: INVALID_REASON.

    """
    await audit.write(gateway, actor, reason, _set_modes, "resume", modes, None)


async def pause_tenant(
    gateway: AdminGateway, actor: Actor, tenant: str, *, reason: str | None = None
) -> None:
    """Send nothing more of a tenant's, of both modes, on every server within a second.

    Raises:
        Problem: TENANT_NOT_FOUND, INVALID_REASON.

    """
    await audit.write(gateway, actor, reason, _set_tenant, "pause", tenant, gateway.clock.now_ms())


async def resume_tenant(
    gateway: AdminGateway, actor: Actor, tenant: str, *, reason: str | None = None
) -> None:
    """Go on sending what waits of a tenant's.

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
    """Since when each of these modes is paused; their rows are held until the commit, in one order."""
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
