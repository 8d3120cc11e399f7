"""The background loops of a server: their list, and how they are started and stopped."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial

from app.admin.amounts import statements
from app.db.processes import BEAT_S
from app.errors import Problem
from app.gateway import Gateway
from app.generations import messages
from app.generations.following.poller import TICK_S, Poller
from app.kit.clock import Clock
from app.kit.loop import Loop
from app.mirror import loop as mirror
from app.webhooks.deliveries import delivery

_CREDENTIALS_S = 1.0
_DISPATCH_S = 1.0
_REFUSALS_S = 10.0
_COUNTED_S = 5.0
_RETAIN_S = 600.0
_STATEMENTS_S = 3600.0
_AUDIT_S = 60.0
_OWED_S = 60.0
_REPLAYS_S = 2.0
_CONDITIONS_S = 15.0
_FILES_S = 60.0
_SWEEP_S = 60.0


def loops(gateway: Gateway) -> list[Loop]:
    """Returns every loop of this gateway.

    Those for the heartbeat, credentials, conditions, refusals and the head of the audit log are each
    process's own, and always run. The others work on shared rows, so any replica may run them.
    """
    clock, settings = gateway.clock, gateway.settings
    own = [
        Loop("heartbeat", gateway.upkeep.heartbeat.run_once, interval_s=BEAT_S, clock=clock),
        Loop(
            "credentials", partial(gateway.pool.run_once, gateway.db), interval_s=_CREDENTIALS_S, clock=clock
        ),
        Loop("audit-head", gateway.upkeep.audit.tell_head, interval_s=_AUDIT_S, clock=clock),
        Loop("conditions", gateway.upkeep.conditions.run_once, interval_s=_CONDITIONS_S, clock=clock),
        Loop("refusals", gateway.access.refusals.run_once, interval_s=_COUNTED_S, clock=clock),
        Loop("rejection_log", gateway.access.rejection_log.run_once, interval_s=_REFUSALS_S, clock=clock),
    ]
    if not settings.run_loops:
        return own
    return [
        *own,
        *(_loop_of(poller, clock) for poller in gateway.following.pollers),
        Loop(
            "dispatch",
            gateway.dispatch_loop.run_once,
            interval_s=_DISPATCH_S,
            clock=clock,
            woken=gateway.dispatch_loop.woken,
        ),
        Loop(
            "webhooks",
            gateway.webhooks.run_once,
            interval_s=delivery.TICK_S,
            clock=clock,
            woken=gateway.webhooks.due.woken,
            pause_s=gateway.webhooks.due.pause_s,
        ),
        Loop("owed-messages", partial(messages.complete_all, gateway.db), interval_s=_OWED_S, clock=clock),
        Loop("webhook-replays", gateway.upkeep.replays.run_once, interval_s=_REPLAYS_S, clock=clock),
        Loop("webhook-retention", gateway.upkeep.webhook_log.run_once, interval_s=_RETAIN_S, clock=clock),
        Loop(
            "mirror",
            gateway.mirror.run_once,
            interval_s=mirror.TICK_S,
            clock=clock,
            woken=gateway.mirror.due.woken,
            pause_s=gateway.mirror.due.pause_s,
        ),
        Loop("mirror-sweep", gateway.upkeep.sweeper.run_once, interval_s=_SWEEP_S, clock=clock),
        Loop("rescue", gateway.upkeep.rescuer.run_once, interval_s=settings.rescue_interval_s, clock=clock),
        Loop("retention", gateway.upkeep.retention.run_once, interval_s=_RETAIN_S, clock=clock),
        Loop("files", gateway.upkeep.files.run_once, interval_s=_FILES_S, clock=clock),
        Loop("statements", partial(statements.close_all, gateway), interval_s=_STATEMENTS_S, clock=clock),
        Loop("admin-calls", gateway.upkeep.admin_calls.run_once, interval_s=_RETAIN_S, clock=clock),
        Loop("audit-retention", gateway.upkeep.audit.prune, interval_s=_RETAIN_S, clock=clock),
    ]


def _loop_of(poller: Poller, clock: Clock) -> Loop:
    return Loop(
        f"poll-{poller.credential.name}",
        poller.run_once,
        interval_s=TICK_S,
        clock=clock,
        woken=poller.woken,
        pause_s=poller.pause_s,
    )


@asynccontextmanager
async def running(gateway: Gateway) -> AsyncIterator[list[Loop]]:
    """Runs every loop, and yields them all; leaving the block lets the ticks under way finish.

    This process is among those that run from before its loops begin until they have ended.

    Raises:
        SchemaError: a migration has just taken away what it needs.
        Problem: DATABASE_UNAVAILABLE.

    """
    await gateway.upkeep.heartbeat.begin()
    started = loops(gateway)
    for poller in gateway.following.pollers:
        poller.listen()
    async with asyncio.TaskGroup() as group:

        def start(loop: Loop) -> None:
            group.create_task(loop.run(), name=f"loop-{loop.name}")

        def start_polling(poller: Poller) -> None:
            poller.listen()
            if gateway.settings.run_loops:
                started.append(_loop_of(poller, gateway.clock))
                start(started[-1])

        for loop in started:
            start(loop)
        gateway.following.on_poller.append(start_polling)
        try:
            yield started
        finally:
            gateway.following.on_poller.clear()
            gateway.dispatch_loop.close()
            gateway.webhooks.close()
            gateway.mirror.close()
            for loop in started:
                loop.stop()
    with suppress(Problem):  # it counts as running for a minute then
        await gateway.upkeep.heartbeat.leave()
