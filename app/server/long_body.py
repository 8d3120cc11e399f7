"""The rest of a long upload, read by the kernel straight into the buffer that the application takes.

On the ordinary way a body is copied three times, in pieces of 256 KiB, and a file of a gigabyte keeps the
event loop busy for more than a second, in which other calls wait. A body whose length was stated needs no
parser. So once such an upload goes on, its connection is read by a `LongBody`, until it has all bytes that
were stated. What follows them is never read here, and belongs to the parser again.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Final

from starlette.types import Message, Receive

BUFFER_BYTES: Final = 1_048_576
"""What the application is given at a time."""
_TURN_BYTES: Final = 262_144  # read in one turn of the event loop, which other calls wait for
_DROPPED: Final = memoryview(bytearray(65_536))  # where bytes are read that nobody wants


class LongBody(asyncio.BufferedProtocol):
    """Reads `to_come` bytes of a connection in place of its `protocol`, which hears of whatever else happens.

    `flow` and `cycle` are uvicorn's, of the connection and the request. `on_read` is called with each number
    of bytes that were read, and `on_end` when that were all.
    """

    def __init__(
        self,
        protocol: asyncio.Protocol,
        flow: Any,
        cycle: Any,
        to_come: int,
        *,
        on_read: Callable[[int], None],
        on_end: Callable[[], None],
    ) -> None:
        self._flow = flow
        self._cycle = cycle
        self._to_come = to_come
        self._on_read = on_read
        self._on_end = on_end
        self._buffer = memoryview(bytearray(min(BUFFER_BYTES, to_come)))
        self._filled = 0
        self._is_lent = False  # whether the application works with the buffer
        self._is_dropping = False
        self._loop = asyncio.get_running_loop()
        self.eof_received = protocol.eof_received  # type: ignore[method-assign]
        self.connection_lost = protocol.connection_lost  # type: ignore[method-assign]
        self.pause_writing = protocol.pause_writing  # type: ignore[method-assign]
        self.resume_writing = protocol.resume_writing  # type: ignore[method-assign]

    async def receive(self, receive: Receive) -> Message:
        """Returns the next part of the body, or what `receive` returns where there is none.

        A part is a full buffer, or the last one; its bytes are good until the next call.
        """
        cycle = self._cycle
        if cycle.body:  # what the parser read before
            return await receive()
        if self._is_lent:
            self._is_lent, self._filled = False, 0
        while not (self._is_full or self._is_unwanted):
            self._flow.resume_reading()
            await cycle.message_event.wait()
            cycle.message_event.clear()
        if not self._filled or self._is_unwanted:
            return await receive()
        self._is_lent = True
        cycle.message_event.clear()  # where nobody waited for it: whoever asks next waits for what follows
        return {
            "type": "http.request",
            "body": self._buffer[: self._filled],
            "more_body": cycle.more_body,
        }

    @property
    def _is_full(self) -> bool:
        return not self._to_come or self._filled == len(self._buffer)

    @property
    def _is_unwanted(self) -> bool:
        return bool(self._cycle.disconnected or self._cycle.response_complete)

    # The event loop calls these.

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - the loop's
        """Returns where the next bytes are read to."""
        self._is_dropping = self._is_unwanted or self._is_lent or self._is_full
        if self._is_dropping:
            return _DROPPED[: self._to_come]
        return self._buffer[self._filled : self._filled + min(_TURN_BYTES, self._to_come)]

    def buffer_updated(self, nbytes: int) -> None:
        """Takes what was read; stops reading while the buffer is full, or others have their turn."""
        self._to_come -= nbytes
        if not self._is_dropping:
            self._filled += nbytes
        self._on_read(nbytes)
        if not self._to_come:
            self._on_end()
        elif not self._is_dropping:
            self._flow.pause_reading()
            if self._is_full:
                self._cycle.message_event.set()
            else:
                self._loop.call_soon(self._go_on)

    def _go_on(self) -> None:
        if not self._is_full:
            self._flow.resume_reading()
