"""Generations as they were read from their rows a moment ago, for callers who ask again and again.

A row is kept for a second at most, and is dropped as soon as a change of it is announced: in this process
with the commit, from other servers within a moment. So nothing is remembered here that was not in a row a
second ago. Those who wait for rows at the same time share one statement.
"""

import asyncio
from collections.abc import Sequence
from itertools import islice
from typing import Any, Final

from app.auth.principal import Principal
from app.db.announcements import EVERYTHING, Announcement
from app.db.engines.engine import Database
from app.generations import store
from app.generations.store import Generation
from app.kit.clock import Clock
from app.kit.log import get_logger
from app.kit.tasks import Tasks

KEPT_MS: Final = 1000
"""For which a row may be kept: a change on another server is seen by then, however it is announced."""
MAX_BYTES: Final = 64 * 1024 * 1024
_ROW_BYTES: Final = 4000  # of a row with its answers, without its texts
_AT_ONCE: Final = 64  # rows in one statement
_LANES: Final = 2  # statements at a time: while they are under way, further callers gather for the next
_log = get_logger("recent")


class Recent:
    """A generation, when it was read, and what callers keep with it for as long as it is kept."""

    __slots__ = ("answers", "bytes", "generation", "is_final", "read_ms", "visible_to")

    def __init__(self, generation: Generation, read_ms: int) -> None:
        self.generation = generation
        self.is_final = generation.terminal
        self.read_ms = read_ms
        self.answers: dict[str, Any] = {}
        self.visible_to: Principal | None = None  # the last caller to whom it was found to be visible
        texts = (generation.input_text, generation.media_text, generation.evidence_text)
        own = (generation.output_text, generation.error_text)  # an answer may repeat these
        self.bytes = _ROW_BYTES + sum(len(one) for one in (*texts, *own, *own) if one)


class RecentRows:
    """The generations that were read in the last second, in at most `max_bytes` of memory."""

    def __init__(self, db: Database, clock: Clock, tasks: Tasks, *, max_bytes: int = MAX_BYTES) -> None:
        self._db = db
        self._clock = clock
        self._tasks = tasks
        self._max_bytes = max_bytes
        self._kept: dict[str, Recent] = {}  # in the order in which they were read
        self.bytes = 0
        self._coming: dict[str, asyncio.Future[Recent | None]] = {}
        self._wanted: dict[str, asyncio.Future[Recent | None]] = {}
        self._lanes = 0
        db.announcements.subscribe(EVERYTHING, self._forget)

    def get(self, generation_id: str) -> Recent | None:
        """Returns a generation that is kept; None where it has to be fetched."""
        kept = self._kept.get(generation_id)
        return kept if kept is not None and 0 <= self._clock.now_ms() - kept.read_ms < KEPT_MS else None

    def fetch(self, generation_id: str) -> "asyncio.Future[Recent | None]":
        """Returns the generation as it is read now, together with others, and keeps it.

        None where there is none, or where it cannot be read.
        """
        coming = self._coming.get(generation_id)
        if coming is None:
            coming = asyncio.get_running_loop().create_future()
            self._coming[generation_id] = self._wanted[generation_id] = coming
            if self._lanes < _LANES:
                self._lanes += 1
                self._tasks.start(self._read_on(), name="recent", cancel_on_drain=True)
        return coming

    def clear(self) -> None:
        """Drops every generation, and whatever is being read."""
        self._kept.clear()
        self._coming = dict(self._wanted)
        self.bytes = 0

    def _is_recent(self, kept: Recent) -> bool:
        return 0 <= self._clock.now_ms() - kept.read_ms < KEPT_MS

    async def _read_on(self) -> None:
        """Reads what is wanted, part by part, until nothing is."""
        part: dict[str, asyncio.Future[Recent | None]] = {}
        try:
            while self._wanted:
                part = {one: self._wanted.pop(one) for one in tuple(islice(self._wanted, _AT_ONCE))}
                await self._read(part)
                self._settle_all(part)
        except asyncio.CancelledError:  # the server is stopping: nobody is left waiting
            self._settle_all(part | self._wanted)
            self._wanted.clear()
            raise
        finally:
            self._lanes -= 1

    def _settle_all(self, part: "dict[str, asyncio.Future[Recent | None]]") -> None:
        for generation_id, coming in part.items():
            if not coming.done():
                self._settle(generation_id, coming, None)

    async def _read(self, part: dict[str, "asyncio.Future[Recent | None]"]) -> None:
        read_ms = self._clock.now_ms()
        try:
            found = await self._db.read(_find, list(part))
        except Exception:  # noqa: BLE001 - callers go the ordinary way, where they are told
            _log.warning("Rows could not be read together.")
            return
        for generation in found:
            self._settle(generation.id, part[generation.id], Recent(generation, read_ms))

    def _settle(
        self, generation_id: str, coming: "asyncio.Future[Recent | None]", recent: Recent | None
    ) -> None:
        """Hands a generation to those who wait, and keeps it unless a change was announced meanwhile."""
        if self._coming.get(generation_id) is coming:
            del self._coming[generation_id]
            if recent is not None:
                self._keep(recent)
        if not coming.done():
            coming.set_result(recent)

    def _keep(self, recent: Recent) -> None:
        self._drop(recent.generation.id)
        self._kept[recent.generation.id] = recent
        self.bytes += recent.bytes
        while self._kept:
            oldest = next(iter(self._kept.values()))
            if self.bytes <= self._max_bytes and self._is_recent(oldest):
                return
            self._drop(oldest.generation.id)

    def _drop(self, generation_id: str) -> None:
        if (dropped := self._kept.pop(generation_id, None)) is not None:
            self.bytes -= dropped.bytes

    def _forget(self, announcement: Announcement | None) -> None:
        """Drops a generation that has changed, and whatever was read of it before; None is any.

        What is only wanted as yet is read after the change.
        """
        if announcement is None:
            self.clear()
            return
        self._drop(announcement.generation_id)
        if announcement.generation_id not in self._wanted:
            self._coming.pop(announcement.generation_id, None)


def _find(connection: Any, generation_ids: Sequence[str]) -> list[Generation]:
    if len(generation_ids) == 1:
        found = store.find(connection, generation_ids[0], None)
        return [] if found is None else [found]
    return store.find_some(connection, generation_ids)
