"""The web origins of all tenants: all that a CORS preflight, which carries no key, can be judged by."""

import asyncio

from app.auth.tenants import all_origins
from app.db.engines.engine import Database
from app.kit.clock import Clock
from app.kit.tasks import retrieve_exception

_REMEMBERED_MS = 1000


class Origins:
    """Reads the origins of all tenants at most once a second, however many callers ask.

    A failed read is remembered too: whoever asks has shown no key, and must not be able to cause more reads.
    """

    def __init__(self, db: Database, clock: Clock) -> None:
        self._db = db
        self._clock = clock
        self._began_ms = 0
        self._reading: asyncio.Future[frozenset[str]] | None = None

    async def include(self, origin: str) -> bool:
        """Returns whether any tenant that is not disabled has this origin.

        Raises:
            Problem: DATABASE_UNAVAILABLE.

        """
        now_ms = self._clock.now_ms()
        if self._reading is None or not 0 <= now_ms - self._began_ms < _REMEMBERED_MS:
            self._began_ms = now_ms
            self._reading = asyncio.ensure_future(self._db.read(all_origins))
            self._reading.add_done_callback(retrieve_exception)
        return origin in await asyncio.shield(self._reading)
