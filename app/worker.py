"""What happens in the background: the list of loops, and their start and stop."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from app.gateway import Gateway
from app.kit.loop import Loop


def loops(gateway: Gateway) -> list[Loop]:
    """Every loop of this gateway."""
    return [
        Loop(
            "rescue",
            gateway.rescuer.run_once,
            interval_s=gateway.settings.rescue_interval_s,
            clock=gateway.clock,
        )
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
            for loop in started:
                loop.stop()
