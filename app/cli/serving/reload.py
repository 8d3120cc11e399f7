"""`reelgate reload`: the servers and workers of this machine read their settings again."""

import asyncio
import os
import signal
import socket

from app.admin.running import processes
from app.admin.session import AdminSession
from app.cli.session import fail, with_admin
from app.cli.tables import say
from app.db.processes import Process

_PATIENCE_S = 15.0
_PAUSE_S = 0.1


def reload() -> None:
    """Sends SIGHUP to the servers and workers of this machine, and says what each made of it."""
    found, elsewhere = with_admin(_reload)
    faults = [f"{one.title}: {fault}" for one, fault in found if fault is not None]
    for one, fault in found:
        if fault is None:
            say(f"{one.title}: reloaded.")
    if elsewhere:
        say(f"{elsewhere} more on other machines: run it there too.", err=True)
    if not found:
        fail("no server or worker runs on this machine.")
    if faults:
        fail("\n".join(faults))


async def _reload(gateway: AdminSession) -> tuple[list[tuple[Process, str | None]], int]:
    host = socket.gethostname()
    running = await processes.listed(gateway)
    here = [one for one in running if one.host == host]
    found = [(one, await _signalled(gateway, one)) for one in here]
    return found, len(running) - len(here)


async def _signalled(gateway: AdminSession, one: Process) -> str | None:
    """Returns why a process did not reload its settings; None where it did."""
    try:
        os.kill(one.pid, signal.SIGHUP)
    except ProcessLookupError:
        return "it does not run any more."
    except PermissionError:
        return "it belongs to another user: run this as that user, or send it SIGHUP."
    for _ in range(int(_PATIENCE_S / _PAUSE_S)):
        await asyncio.sleep(_PAUSE_S)
        now = next((each for each in await processes.listed(gateway) if each.id == one.id), None)
        if now is not None and now.settings_at_ms != one.settings_at_ms:
            return now.settings_fault
    return "it has not answered yet; `reelgate processes list` says when it has."
