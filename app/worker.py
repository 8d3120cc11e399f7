"""What happens in the background: the list of loops, and their start and stop."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from app.gateway import Gateway
from app.kit.loop import Loop

_POLL_S = 0.25  # how late a look may be for the sake of a tick
_CREDENTIALS_S = 1.0
_DISPATCH_S = 1.0
_REFUSALS_S = 10.0
_RETAIN_S = 600.0


def loops(gateway: Gateway) -> list[Loop]:
    """Every loop of this gateway. Its credentials and counts are its own; the rest is anybody's work."""
    clock, settings = gateway.clock, gateway.settings
    own = [
        Loop(
            "credentials", partial(gateway.pool.run_once, gateway.db), interval_s=_CREDENTIALS_S, clock=clock
        ),
        Loop("rejection_log", gateway.access.rejection_log.run_once, interval_s=_REFUSALS_S, clock=clock),
    ]
    if not settings.run_loops:
        return own
    return [
        *own,
        *(
            Loop(f"poll-{poller.credential.name}", poller.run_once, interval_s=_POLL_S, clock=clock)
            for poller in gateway.following.pollers
        ),
        Loop(
            "dispatch",
            gateway.dispatch_loop.run_once,
            interval_s=_DISPATCH_S,
            clock=clock,
            woken=gateway.dispatch_loop.woken,
        ),
        Loop("rescue", gateway.upkeep.rescuer.run_once, interval_s=settings.rescue_interval_s, clock=clock),
        Loop("retain", gateway.upkeep.retention.run_once, interval_s=_RETAIN_S, clock=clock),
    ]


@asynccontextmanager
async def running(gateway: Gateway) -> AsyncIterator[None]:
    """Run every loop for as long as the block lasts; leaving lets the ticks under way finish."""
    started = loops(gateway)
    async with asyncio.TaskGroup() as group:
        for loop in started:
            group.create_task(loop.run(), name=f"loop-{loop.name}")
        try:
            yield
        finally:
            gateway.dispatch_loop.close()
            for loop in started:
                loop.stop()
