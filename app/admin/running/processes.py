"""The servers and workers that run, for the operator."""

from collections.abc import Sequence

from app.admin.session import AdminGateway
from app.db import processes
from app.db.processes import Process


async def listed(gateway: AdminGateway) -> Sequence[Process]:
    """Returns the servers and workers that were seen within the last minute, the oldest first."""
    return await gateway.db.read(processes.alive, now_ms=gateway.clock.now_ms())
