"""The thread that writes the log, so that nothing else ever waits for whoever reads it, or fails with it.

A line is put into a buffer of bounded size. The thread takes as many lines as are there and writes them with
one call. Where they cannot be written (a full disk, a pipe without a reader) it tries again and again; where
the buffer is full, further lines are dropped, and the log says how many once it can be written again.
"""

import errno
import os
import select
import threading
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Final, Self

BUFFER_BYTES: Final = 4 * 1024 * 1024
"""Some ten thousand lines: seconds of a busy server. A reader that stalls for longer has to do without them,
since the memory of a server that is paid work must stay bounded."""
_AT_ONCE_BYTES: Final = 64 * 1024  # of one call: what a pipe takes at a time
# Between two calls, in which lines gather: to be woken for each would interrupt whoever logs. A line after a
# pause waits for nothing.
_GATHER_S: Final = 0.02
_RETRY_S: Final = 1.0
_SLOW: Final = "its reader is too slow"

Sink = Callable[[memoryview], int]
"""Writes a part of the bytes and returns how many; raises OSError or ValueError where it cannot."""


class LogWriter:
    """Writes lines to a sink in a thread of its own, which starts with the first line.

    `gap_line` makes the line that says how many were dropped, and why. Without a sink every line is.
    """

    def __init__(
        self,
        sink: Sink | None,
        gap_line: Callable[[int, str], bytes],
        *,
        descriptor: int | None = None,
        buffer_bytes: int = BUFFER_BYTES,
    ) -> None:
        self._sink = sink
        self._gap_line = gap_line
        self._descriptor = descriptor  # the sink's, where it has one
        self._buffer_bytes = buffer_bytes
        # Both may be used again by the same thread while it is inside: by a signal's handler, or a finaliser.
        self._lock = threading.RLock()
        self._queue: SimpleQueue[bytes | threading.Event | None] = (
            SimpleQueue()
        )  # None: lines are missing here
        self._thread: threading.Thread | None = None
        self._closing = threading.Event()
        self._is_awaited = threading.Event()  # somebody waits until all is written
        self._buffered_bytes = 0
        self._dropped = 0
        self._told = 0
        self._gap_is_marked = False
        self._trouble = ""
        self._why = _SLOW

    @classmethod
    def to_descriptor(
        cls, descriptor: int, gap_line: Callable[[int, str], bytes], *, buffer_bytes: int = BUFFER_BYTES
    ) -> Self:
        """Returns a writer to a file descriptor, whether that blocks or not."""

        def write(part: memoryview) -> int:
            return os.write(descriptor, part)

        return cls(write, gap_line, descriptor=descriptor, buffer_bytes=buffer_bytes)

    @property
    def dropped(self) -> int:
        """The number of lines that were lost."""
        return self._dropped

    @property
    def buffered_bytes(self) -> int:
        """The size of the lines that are not written yet."""
        return self._buffered_bytes

    def write(self, line: bytes) -> None:
        """Takes a line to be written soon. It neither blocks nor raises."""
        with self._lock:
            if self._sink is None:
                self._dropped += 1
                return
            if self._buffered_bytes + len(line) > self._buffer_bytes:
                self._drop()
                return
            self._buffered_bytes += len(line)
            self._queue.put(line)
            if self._thread is None or not self._thread.is_alive():
                self._start()

    def lose(self) -> None:
        """Counts a line that could not be made."""
        with self._lock:
            self._dropped += 1

    def flush(self, timeout_s: float) -> bool:
        """Waits until all lines so far are written, or were dropped; returns whether that was in time."""
        with self._lock:
            if self._thread is None:
                return True
            mark = threading.Event()
            self._queue.put(mark)
            self._is_awaited.set()
            if not self._thread.is_alive():
                self._start()
            works = self._thread.is_alive()
        return works and mark.wait(timeout_s)

    def close(self, timeout_s: float) -> None:
        """Writes what can be written within `timeout_s` seconds. What fails is not tried again."""
        self._closing.set()
        self.flush(timeout_s)
        self._closing.clear()

    def _drop(self) -> None:
        self._dropped += 1
        self._why = self._trouble or _SLOW
        if not self._gap_is_marked:
            self._gap_is_marked = True
            self._queue.put(None)

    def _start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="log-writer", daemon=True)
        with suppress(RuntimeError):  # no thread can be had now: the next line tries again
            self._thread.start()

    def _run(self) -> None:
        while True:
            lines, size, mark = self._gather()
            try:
                self._write(b"".join(lines))
            finally:
                with self._lock:
                    self._buffered_bytes -= size
                if mark is not None:
                    mark.set()
            if size < _AT_ONCE_BYTES and not self._is_awaited.wait(_GATHER_S):
                continue
            self._is_awaited.clear()

    def _gather(self) -> tuple[list[bytes], int, threading.Event | None]:
        """Waits for lines, and returns those to write at once, their size in the buffer, and who waits."""
        lines: list[bytes] = []
        size = 0
        item = self._queue.get()
        while not isinstance(item, threading.Event):
            if item is None:
                lines.append(self._gap())
            else:
                lines.append(item)
                size += len(item)
            if size >= _AT_ONCE_BYTES:
                return lines, size, None
            try:
                item = self._queue.get_nowait()
            except Empty:
                return lines, size, None
        return lines, size, item

    def _gap(self) -> bytes:
        with self._lock:
            count, self._told = self._dropped - self._told, self._dropped
            self._gap_is_marked = False
        try:
            return self._gap_line(count, self._why)
        except Exception:  # noqa: BLE001 - the thread must live
            return b"Log lines were dropped.\n"

    def _write(self, text: bytes) -> None:
        left = memoryview(text)
        while left and self._sink is not None:
            try:
                left = left[self._sink(left) :]
                self._trouble = ""
            except BlockingIOError:
                self._wait_for_room()
            except (OSError, ValueError) as error:
                self._trouble = errno.errorcode.get(getattr(error, "errno", None) or 0, type(error).__name__)
                if self._closing.is_set():
                    with self._lock:
                        self._dropped += bytes(left).count(b"\n")
                    return
                self._closing.wait(_RETRY_S)

    def _wait_for_room(self) -> None:
        """Waits until a sink that does not block takes more: somebody else may have made ours such a one."""
        if self._descriptor is None:
            self._closing.wait(_RETRY_S)
            return
        poll = select.poll()
        poll.register(self._descriptor, select.POLLOUT)
        poll.poll(_RETRY_S * 1000)
