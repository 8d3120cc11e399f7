"""Checks of the store and of the mirror: that bytes can be kept, and that copies are made in time."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Final

from app.admin.checks.database_checks import Check
from app.config import Settings
from app.db.engines.engine import Database
from app.kit.clock import SystemClock
from app.kit.ids import new_id
from app.mirror import backlog
from app.storage.opening import open_storage
from app.storage.store import StorageError, key_of

_PROBE: Final = b"an object of reelgate doctor, which it deletes again"


async def store(settings: Settings) -> list[Check]:
    """Writes an object into the store, reads it, and deletes it."""
    clock = SystemClock()
    key = key_of("assets", "doctor", new_id(clock.now_ms()))

    async def content() -> AsyncIterator[bytes]:
        yield _PROBE

    try:
        async with open_storage(settings, clock) as storage:
            async with storage.intake.receive(content(), max_bytes=len(_PROBE)) as received:
                await storage.store.put(key, received, media_type="application/octet-stream")
            async with aclosing(storage.store.read(key, 0, len(_PROBE))) as chunks:
                found = b"".join([chunk async for chunk in chunks])
            await storage.store.delete(key)
            is_right = found == _PROBE and await storage.store.size(key) is None
    except (StorageError, OSError) as error:
        return [Check("store", "bad", f"{settings.storage}: cannot write, read and delete ({error})")]
    if not is_right:
        return [Check("store", "bad", f"{settings.storage}: what is read is not what was written or deleted")]
    return [Check("store", "good", f"{settings.storage}: writes, reads and deletes")]


async def mirror(db: Database, *, late_s: int) -> list[Check]:
    """Says what waits to be copied; it is bad where the first of it has been due for longer than `late_s`."""
    found = await db.read(backlog.waiting)
    finding = f"{found.assets} files of outputs wait to be copied"
    seconds = int(found.late_s(SystemClock().now_ms()))
    if seconds > late_s:
        return [Check("mirror", "bad", f"{finding}, one is {seconds} s late: does a server run the loops?")]
    return [Check("mirror", "good", finding)]
