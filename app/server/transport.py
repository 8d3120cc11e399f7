"""The wire under one HTTP connection: it closes without losing the last answer, and not for ever."""

import asyncio
from collections.abc import Callable
from typing import Any, Final

from app.kit.log import get_logger

_log = get_logger("http")
_LINGER_S: Final = 1.0


class Transport:
    """asyncio's transport, with another way to close, and an eye on how it is read at the other end.

    Input that nobody has read makes the kernel reset the connection at a close, and the reset may overtake
    what was written. So while the client `is_sending`, our end is closed first, and input is dropped for a
    second. A reader that takes nothing for `write_s` seconds of what waits for it is cut.
    """

    def __init__(
        self,
        transport: asyncio.Transport,
        loop: asyncio.AbstractEventLoop,
        *,
        is_sending: Callable[[], bool],
        write_s: float,
    ) -> None:
        self._transport = transport
        self._loop = loop
        self._is_sending = is_sending
        self._write_s = write_s
        self._is_ending = False
        self._linger: asyncio.TimerHandle | None = None
        self._watch: asyncio.TimerHandle | None = None
        self._unwritten = 0
        self._paused_at: float | None = None
        self._paused_s = 0.0
        self.write = transport.write
        self.abort = transport.abort

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    # --- reading

    @property
    def is_paused(self) -> bool:
        """Whether it is we who do not read."""
        return self._paused_at is not None

    def client_time(self) -> float:
        """The loop's time, less all the time for which we did not read. It stands still while we do not."""
        now = self._loop.time() if self._paused_at is None else self._paused_at
        return now - self._paused_s

    def pause_reading(self) -> None:
        """Stop the client's clock too."""
        if self._paused_at is None:
            self._paused_at = self._loop.time()
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Let the client's clock run again."""
        if self._paused_at is not None:
            self._paused_s += self._loop.time() - self._paused_at
            self._paused_at = None
        self._transport.resume_reading()

    # --- the reader at the other end

    def watch(self) -> None:
        """See to it that the other end reads, at whatever pace."""
        if self._watch is None:
            self._unwritten = self._transport.get_write_buffer_size()
            self._watch = self._loop.call_later(self._write_s, self._look)

    def rest(self) -> None:
        """The other end has read what was waiting."""
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None

    def _look(self) -> None:
        self._watch = None
        before, now = self._unwritten, self._transport.get_write_buffer_size()
        if now < before:
            self.watch()
            return
        if now:
            _log.info("A connection was cut: its reader took nothing.", unwritten_bytes=now)
        self._transport.abort()

    # --- the end

    def is_closing(self) -> bool:
        """Whether no more is to be read or written."""
        return self._is_ending or self._transport.is_closing()

    def close(self) -> None:
        """Send what was written, and end."""
        if self.is_closing():
            return
        self._is_ending = True
        if self._is_sending() and self._transport.can_write_eof():
            self._transport.write_eof()
            self._transport.resume_reading()
            self._linger = self._loop.call_later(_LINGER_S, self._close)
        else:
            self._close()

    def _close(self) -> None:
        self._linger = None
        self._transport.close()
        if self._transport.get_write_buffer_size():
            self.watch()

    def lost(self) -> None:
        """Forget the timers: there is no connection any more."""
        self._is_ending = True
        for timer in (self._linger, self._watch):
            if timer is not None:
                timer.cancel()
