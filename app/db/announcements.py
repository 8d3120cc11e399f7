"""Announcements: what a committed transaction tells whoever waits for a change.

They reach this process at once and, on PostgreSQL, every other within a moment. They carry nothing that is
not in a row, and may be lost: every listener also reads the rows at intervals.
"""

import asyncio
import json
import secrets
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from sqlalchemy import Connection
from sqlalchemy.engine import make_url

from app.db.engines.postgres import CONNECT, OWN_PID
from app.db.statements.prepared import execute
from app.kit.log import Aside, get_logger

if TYPE_CHECKING:
    import psycopg

_log = get_logger("announcements")
_CHANNEL: Final = "reelgate"
ANNOUNCED: Final = "reelgate.announcements"
"""Where `Connection.info` has the list of what the transaction announces."""
_MAX_WAITING: Final = 10_000
_MAX_AT_ONCE: Final = 500
_RECONNECT_S: Final = 1.0
_TRIAL_S: Final = 3.0
_LOOKS_S: Final = 60.0
_TRY_POOLER_AGAIN_S: Final = 300.0
_SEND: Final = "SELECT pg_notify($1, message) FROM jsonb_array_elements_text($2::jsonb) AS message"


class NotHeardError(Exception):
    """A connection pooler in transaction mode passes no announcements on."""


class Announcement(NamedTuple):
    """A generation entered a state, webhooks are to be sent or were, or outputs are to be copied.

    Each member is one word: in a notification a space separates them.
    """

    tenant_id: str
    mode: str
    generation_id: str
    state: str

    @property
    def subjects(self) -> tuple["Subject", ...]:
        """The subjects that it is announced under."""
        if self.state in _WORK:  # nothing that whoever follows requests could read
            return (self.state,)
        return self.generation_id, (self.tenant_id, self.mode), self.state, EVERYTHING


Subject = str | tuple[str, str]
"""A generation's id, a tenant and mode, a state, or `EVERYTHING`."""
EVERYTHING: Final = ""
"""The subject of all announcements that are of generations."""
WEBHOOKS: Final = "webhooks"
"""The subject of announcements that there are webhooks to be sent."""
ASSETS: Final = "assets"
"""The subject of announcements that there are outputs to be copied."""
SENT: Final = "webhooks-sent"
"""The subject of announcements that webhooks were made and sent, or were not: for pages that show them."""
_WORK: Final = frozenset({WEBHOOKS, SENT, ASSETS})
Run = Callable[[Callable[[Connection], object]], Awaitable[object]]
"""A function that runs another on a connection to the database, outside of any transaction."""
Listener = Callable[[Announcement | None], None]
"""A function that takes an announcement, or None when some may have been lost."""


def webhook_announcement(tenant_id: str, mode: str) -> Announcement:
    """Returns the announcement that there are webhooks of this tenant and mode to be sent."""
    return Announcement(tenant_id, mode, "-", WEBHOOKS)


def sent_announcement() -> Announcement:
    """Returns the announcement that webhooks of any tenant were made, sent, or failed."""
    return Announcement("-", "-", "-", SENT)


def asset_announcement(tenant_id: str, mode: str) -> Announcement:
    """Returns the announcement that there are outputs of this tenant and mode to be copied."""
    return Announcement(tenant_id, mode, "-", ASSETS)


def announce(connection: Connection, announcement: Announcement) -> None:
    """Sends an announcement once the transaction of this connection is committed."""
    connection.info.get(ANNOUNCED, []).append(announcement)


class Announcements:
    """Sends and receives announcements for one process.

    NOTIFY inside the transactions themselves would make PostgreSQL commit them one by one, so messages are
    sent after the commit, many together.
    """

    def __init__(self, url: str | None = None, run: Run | None = None) -> None:
        self._url = url  # None on SQLite, where nobody else listens
        self._run = run
        self._sender = secrets.token_hex(4)
        self._listeners: dict[Subject, list[Listener]] = {}
        self._waiting: deque[Announcement] = deque(maxlen=_MAX_WAITING)
        self._sending: asyncio.Task[None] | None = None
        self._hearing: asyncio.Future[None] | None = None

    def subscribe(self, subject: Subject, listener: Listener) -> None:
        """Calls the listener with every announcement of this subject, until it is unsubscribed."""
        self._listeners.setdefault(subject, []).append(listener)

    def unsubscribe(self, subject: Subject, listener: Listener) -> None:
        """Calls the listener no more."""
        self._listeners[subject].remove(listener)
        if not self._listeners[subject]:
            del self._listeners[subject]

    def publish(self, announced: list[Announcement]) -> None:
        """Delivers the announcements of a committed transaction to this process and the others.

        It raises nothing, whatever a listener does: the commit has happened, and its caller must be told so.
        """
        for announcement in announced:
            self._tell(announcement)
        if self._run is None or not announced:
            return
        with Aside("announcing a change to other servers"):
            self._waiting.extend(announced)
            if self._sending is None or self._sending.done():
                self._sending = asyncio.get_running_loop().create_task(self._send(self._run))

    async def close(self) -> None:
        """Waits until what is being sent to other processes is sent."""
        if self._sending is not None:
            await asyncio.gather(self._sending, return_exceptions=True)

    @asynccontextmanager
    async def heard(self) -> AsyncIterator[None]:
        """Receives the announcements of other processes for as long as the block lasts."""
        if self._url is None:
            yield
            return
        listening = asyncio.get_running_loop().create_task(self._listen(self._url))
        try:
            yield
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)

    def reconnect(self) -> None:
        """Makes the connection that listens anew, as after a failover that left the present one open.

        It is called from any thread.
        """
        if (hearing := self._hearing) is not None:
            with suppress(RuntimeError):  # that loop is closed
                hearing.get_loop().call_soon_threadsafe(hearing.cancel)

    async def arrive(self) -> bool:
        """Returns whether an announcement reaches a connection that listens: not through every pooler."""
        if self._url is None:
            return True
        async with await connect(self._url) as connection:
            await connection.execute(f"LISTEN {_CHANNEL}")
            return await self._arrives(connection)

    def _tell(self, announcement: Announcement) -> None:
        for subject in announcement.subjects:
            for listener in tuple(self._listeners.get(subject, ())):
                with Aside("hearing an announcement"):
                    listener(announcement)

    def _tell_of_losses(self) -> None:
        for listener in {one for listeners in self._listeners.values() for one in listeners}:
            with Aside("hearing that announcements were lost"):
                listener(None)

    async def _send(self, run: Run) -> None:
        while self._waiting:
            batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), _MAX_AT_ONCE))]
            messages = [" ".join((self._sender, *announcement)) for announcement in batch]
            try:
                await run(partial(_notify, messages=messages))
            except Exception as error:  # noqa: BLE001 - whatever it is, the rows say the same
                _log.warning(
                    "Announcements were lost; other servers read the changes later.",
                    kind=type(error).__name__,
                )

    async def _listen(self, url: str) -> None:
        while True:
            pause_s = _RECONNECT_S
            self._hearing = asyncio.ensure_future(self._hear(url))
            try:
                await asyncio.wait({self._hearing})
            finally:
                self._hearing.cancel()
                (error,) = await asyncio.gather(self._hearing, return_exceptions=True)
            if isinstance(error, NotHeardError):
                pause_s = _TRY_POOLER_AGAIN_S
                _log.warning(
                    "Announcements do not come through this connection pooler; rows are read instead."
                )
            else:
                _log.warning(
                    "The connection for announcements was lost; reconnecting.", kind=type(error).__name__
                )
            await asyncio.sleep(pause_s)

    async def _hear(self, url: str) -> None:
        """Passes on what other processes announce, until the connection ends.

        Raises:
            NotHeardError: the connection is one through a pooler, which drops announcements.

        """
        async with await connect(url) as connection:
            pooled = await is_pooled(connection)
            await connection.execute(f"LISTEN {_CHANNEL}")
            if pooled and not await self._arrives(connection):
                raise NotHeardError
            self._tell_of_losses()  # anything announced before LISTEN was missed
            async for notification in connection.notifies():
                sender, *words = notification.payload.split(" ")
                if sender != self._sender and len(words) == len(Announcement._fields):
                    self._tell(Announcement(*words))

    async def _arrives(self, connection: "psycopg.AsyncConnection[Any]") -> bool:
        """Returns whether an announcement that is sent now reaches a connection that listens."""
        if self._run is not None:
            await self._run(partial(_notify, messages=[f"{self._sender} trial"]))
        return [one async for one in connection.notifies(timeout=_TRIAL_S, stop_after=1)] != []


def _notify(connection: Connection, messages: list[str]) -> None:
    execute(connection, _SEND, (_CHANNEL, json.dumps(messages)))


async def connect(url: str) -> "psycopg.AsyncConnection[Any]":
    """Returns a connection outside the pool: it listens for as long as the process lives."""
    import psycopg  # noqa: PLC0415 - on SQLite it is not needed, and may not be there

    class Quiet(psycopg.AsyncConnection[Any]):
        """One that sleeps while nothing comes; psycopg's own looks ten times a second, for threads' sake."""

        async def wait(self, *of_it: Any, **more: Any) -> Any:  # which differ between versions
            return await super().wait(*of_it, **{"interval": _LOOKS_S, **more})

    conninfo = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    return await Quiet.connect(conninfo, autocommit=True, prepare_threshold=None, **CONNECT)


async def is_pooled(connection: "psycopg.AsyncConnection[Any]") -> bool:
    """Returns whether a pooler is between this connection and the server; see `app.db.engines.postgres`."""
    row = await (await connection.execute(OWN_PID)).fetchone()
    return row is None or row[0] != connection.info.backend_pid
