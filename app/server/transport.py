"""The transport of one HTTP connection, which closes in bounded time without losing the last response."""

import asyncio
from collections.abc import Callable
from typing import Any, Final

from app.kit.log import get_logger

_log = get_logger("http")
_LINGER_S: Final = 1.0


class Transport:
    """asyncio's transport, with another way to close, and a watch on whether the client reads.

    Input that was not read makes the kernel reset the connection on close, and the reset may overtake the
    response. So while the client `is_sending`, only our end is closed at first, and input is dropped for a
    second. A client that reads nothing for `write_s` seconds of what is buffered for it is disconnected.

    uvloop raises RuntimeError for whatever is done between a client's leaving and `connection_lost`. Here
    that does nothing but call `on_left`.
    """

    def __init__(
        self,
        transport: asyncio.Transport,
        loop: asyncio.AbstractEventLoop,
        *,
        is_sending: Callable[[], bool],
        write_s: float,
        on_left: Callable[[], None],
    ) -> None:
        self._transport = transport
        self._loop = loop
        self._is_sending = is_sending
        self._write_s = write_s
        self._on_left = on_left
        self._is_ending = False
        self._linger: asyncio.TimerHandle | None = None
        self._watch: asyncio.TimerHandle | None = None
        self._unwritten = 0
        self._paused_at: float | None = None
        self._paused_s = 0.0
        self.abort = transport.abort

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Sends these bytes, unless the client has left."""
        try:
            self._transport.write(data)
        except RuntimeError:
            self._on_left()

    # --- reading

    @property
    def is_paused(self) -> bool:
        """Whether we have stopped reading."""
        return self._paused_at is not None

    def client_time(self) -> float:
        """Returns the loop's time minus all the time for which reading was paused.

        It stands still during such a pause. Deadlines for the client are measured in this time, so that our
        pauses do not count against it.
        """
        now = self._loop.time() if self._paused_at is None else self._paused_at
        return now - self._paused_s

    def pause_reading(self) -> None:
        """Stops reading, and the client's time with it."""
        if self._paused_at is None:
            self._paused_at = self._loop.time()
        self._unless_left(self._transport.pause_reading)

    def resume_reading(self) -> None:
        """Reads again, and lets the client's time go on."""
        if self._paused_at is not None:
            self._paused_s += self._loop.time() - self._paused_at
            self._paused_at = None
        self._unless_left(self._transport.resume_reading)

    # --- the client as a reader

    def watch(self) -> None:
        """Starts to check every `write_s` seconds that the client reads, at whatever rate."""
        if self._watch is None:
            self._unwritten = self._transport.get_write_buffer_size()
            self._watch = self._loop.call_later(self._write_s, self._on_timer)

    def rest(self) -> None:
        """Stops the check: the client has read what was buffered."""
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None

    def _on_timer(self) -> None:
        self._watch = None
        before, now = self._unwritten, self._transport.get_write_buffer_size()
        if now < before:
            self.watch()
            return
        if now:
            _log.info("A connection was closed: the client read nothing.", unwritten_bytes=now)
        self._transport.abort()

    # --- closing

    def is_closing(self) -> bool:
        """Returns whether nothing more is to be read or written."""
        return self._is_ending or self._transport.is_closing()

    def close(self) -> None:
        """Sends what is buffered, and closes the connection."""
        if self.is_closing():
            return
        self._is_ending = True
        if self._is_sending() and self._transport.can_write_eof():
            self._unless_left(self._transport.write_eof)
            self._unless_left(self._transport.resume_reading)
            self._linger = self._loop.call_later(_LINGER_S, self._close)
        else:
            self._close()

    def _close(self) -> None:
        self._linger = None
        self._transport.close()
        if self._transport.get_write_buffer_size():
            self.watch()

    def _unless_left(self, action: Callable[[], None]) -> None:
        try:
            action()
        except RuntimeError:
            self._on_left()

    def lost(self) -> None:
        """Cancels the timers, because the connection is gone."""
        self._is_ending = True
        for timer in (self._linger, self._watch):
            if timer is not None:
                timer.cancel()
