"""`reelgate restart`: the servers of this machine are replaced by successors, one after the other."""

import asyncio
import os
import re
import signal
import socket
from collections.abc import Collection
from pathlib import Path

from app.admin.running import processes
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
        if found is not None:
            replaced.append((old, found))
    return replaced, None


async def _here(gateway: AdminSession) -> list[Process]:
    host = socket.gethostname()
    return [one for one in await processes.listed(gateway) if one.host == host and one.role == "server"]


async def _replaced(gateway: AdminSession, old: Process) -> Process | str | None:
    """Returns the successor of a server or, in words, why it has none; None where the server has ended."""
    before = {one.id for one in await _here(gateway)}
    if not _is_ready(old.pid):
        return "it is only starting, or of a version that cannot be replaced so. It goes on as it was."
    try:
        os.kill(old.pid, signal.SIGUSR2)
    except ProcessLookupError:
        return None  # its row outlives it for a minute
    except PermissionError:
        return "it belongs to another user: run this as that user, or send it SIGUSR2."
    return await _successor(gateway, old, before)


async def _successor(gateway: AdminSession, old: Process, before: Collection[str]) -> Process | str | None:
    """Returns who comes in place of a server that was signalled, beside those that ran `before`; as above."""
    for _ in range(int(_PATIENCE_S / _PAUSE_S)):
        await asyncio.sleep(_PAUSE_S)
        now = await _here(gateway)
        if new := [one for one in now if one.id not in before]:
            return new[0]
        still = next((one for one in now if one.id == old.id), None)
        if still is None:
            return None  # it was stopping already
        if still.settings_at_ms != old.settings_at_ms and still.settings_fault is not None:
            return f"{still.settings_fault} It goes on as it was."
    return "its successor does not serve; the log says why. It goes on as it was."


def _is_ready(pid: int) -> bool:
    """Returns whether a process handles SIGUSR2, which would end any other; True where that is not known."""
    try:
        status = Path(f"/proc/{pid}/status").read_text("utf-8")
    except OSError:
        return True
    handled = re.search(r"^SigCgt:\s*([0-9a-f]+)$", status, re.MULTILINE)
    return handled is None or bool(int(handled[1], 16) >> (signal.SIGUSR2 - 1) & 1)
