"""`reelgate restart`: the servers of this machine are replaced by successors, one after the other."""

import asyncio
import os
import signal
import socket

from app.admin import processes
from app.admin.session import AdminSession
from app.cli.session import fail, with_admin
from app.cli.tables import say
from app.db.processes import Process

_PATIENCE_S = 130.0  # longer than a server waits for its successor
_PAUSE_S = 0.1


def restart() -> None:
    """Sends SIGUSR2 to the servers of this machine, and says which process serves in place of each."""
    replaced, fault = with_admin(_restart)
    for old, new in replaced:
        say(f"{old.title}: replaced by {new.title}.")
    if fault is not None:
        fail(fault)
    if not replaced:
        fail("no server runs on this machine.")


async def _restart(gateway: AdminSession) -> tuple[list[tuple[Process, Process]], str | None]:
    """Returns the servers that were replaced, with their successors; and why the next one was not."""
    replaced: list[tuple[Process, Process]] = []
    for old in await _here(gateway):
        found = await _replaced(gateway, old)
        if isinstance(found, str):
            return replaced, f"{old.title}: {found}"
        replaced.append((old, found))
    return replaced, None


async def _here(gateway: AdminSession) -> list[Process]:
    host = socket.gethostname()
    return [one for one in await processes.listed(gateway) if one.host == host and one.role == "server"]


async def _replaced(gateway: AdminSession, old: Process) -> Process | str:
    """Returns the successor of a server or, in words, why it has none."""
    before = {one.id for one in await _here(gateway)}
    try:
        os.kill(old.pid, signal.SIGUSR2)
    except ProcessLookupError:
        return "it does not run any more."
    except PermissionError:
        return "it belongs to another user: run this as that user, or send it SIGUSR2."
    for _ in range(int(_PATIENCE_S / _PAUSE_S)):
        await asyncio.sleep(_PAUSE_S)
        now = await _here(gateway)
        if new := [one for one in now if one.id not in before]:
            return new[0]
        still = next((one for one in now if one.id == old.id), None)
        if still is not None and still.settings_at_ms != old.settings_at_ms:
            return f"{still.settings_fault or 'it has no successor.'} It goes on as it was."
    return "its successor does not serve; the log says why. It goes on as it was."
