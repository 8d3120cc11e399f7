"""The sweeper: deletes files that expired, and what whoever died while storing or deleting left behind.

In a bucket it also deletes what forms brought there that no upload waits for.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Final

from app.db.engines.engine import Database
from app.files import rows
from app.files.uploads import Uploads
from app.kit.clock import Clock
from app.kit.ids import is_id
from app.kit.log import get_logger
from app.storage.store import INCOMING, StorageError

_log = get_logger("files")

_AT_ONCE = 100
_MAX_ROUNDS = 20
_AGAIN_MS = 600_000
_LIST_MS: Final = 3_600_000  # a form is good for an hour
_NAMES: Final = 2  # in a key of ours: the tenant's id and the file's


@dataclass(slots=True, kw_only=True)
class Sweeper:
    """Deletes bytes before rows, some files at a time. Any number of servers may do it at once."""

    db: Database
    clock: Clock
    uploads: Uploads
    _listed_at_ms: int = field(default=0, init=False)

    async def run_once(self) -> int:
        """Deletes all files that are due, a few thousand at most; returns their number."""
        await self._delete_strays()
        deleted = 0
        for _ in range(_MAX_ROUNDS):
            due = await self.db.read(rows.due, now_ms=self.clock.now_ms(), limit=_AT_ONCE)
            for file in due:
                now_ms = self.clock.now_ms()
                if not await self.db.write_for(file.tenant_id, rows.give_up_due, file, now_ms=now_ms):
                    continue
                if not await self.uploads.remove(file):
                    # The next time; if it is this file alone, the others are not kept from it for long.
                    later_ms = now_ms + _AGAIN_MS
                    await self.db.write_for(file.tenant_id, rows.postpone, file, until_ms=later_ms)
                    return deleted
                deleted += 1
            if len(due) < _AT_ONCE:
                break
        return deleted

    async def _delete_strays(self) -> None:
        """Deletes once an hour what arrived in the bucket by the form of an upload that has ended."""
        now_ms, store = self.clock.now_ms(), self.uploads.storage.store
        if not store.takes_forms or 0 <= now_ms - self._listed_at_ms < _LIST_MS:
            return
        self._listed_at_ms = now_ms
        try:
            async for keys in self._arrived():
                awaited = await self.db.read(rows.awaited, keys.keys())
                for file_id in keys.keys() - awaited:
                    await store.delete(keys[file_id])
        except StorageError as error:
            _log.warning("What arrived in the bucket could not be looked through.", reason=error.reason)

    async def _arrived(self) -> AsyncIterator[dict[str, str]]:
        """Yields keys by the ids of files, some at a time. What has no key of ours is somebody else's."""
        some: dict[str, str] = {}
        async for key, _ in self.uploads.storage.store.keys(f"{INCOMING}/"):
            _, *names = key.split("/")
            if len(names) != _NAMES or not all(map(is_id, names)):
                continue
            some[names[-1]] = key
            if len(some) == _AT_ONCE:
                yield some
                some = {}
        if some:
            yield some
