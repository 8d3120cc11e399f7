"""The HTTP protocol that faces strangers: uvicorn's over httptools, with deadlines, limits, clear refusals.

Uvicorn itself waits for headers, bodies and readers for as long as they please, lets headers grow without
end, and answers what is no HTTP in bare text. Here each of these has a bound, and every refusal is a problem
document.
"""

import asyncio
import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from http import HTTPStatus
from typing import Any, Final, cast

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from app.api.heads import fault_of_head
from app.api.middleware import SAFE, TRACE_HEADER
from app.api.problems import response
from app.config import Settings
from app.errors import (
    ADDRESS_TOO_LONG,
    HEADERS_TOO_LARGE,
    MALFORMED_REQUEST,
    REQUEST_TIMEOUT,
    TOO_MANY_CONNECTIONS,
    Problem,
)
from app.kit.telemetry import get_logger, new_trace_id, trace_id_var

_log = get_logger("http")
_MOST_HEADERS: Final = 100
_LINGER_S: Final = 1.0  # for which input is still taken, so that its reset does not overtake our answer
_RETRY_AFTER_S: Final = 1
_FRAMING: Final = 16  # bytes of chunk sizes and line ends for each byte of a body


@dataclass(frozen=True, slots=True)
class Limits:
    """The bounds; seconds, bytes and a number of connections."""

    base_url: str
    head_bytes: int
    head_s: float
    body_s: float
    write_s: float
    connections: int

    @classmethod
    def of(cls, settings: Settings) -> "Limits":
        """As the settings have them."""
        return cls(
            settings.base_url,
            settings.max_header_bytes,
            settings.header_timeout_s,
            settings.body_timeout_s,
            settings.write_timeout_s,
            settings.max_connections,
        )


class _Phase(Enum):
    """Which part of a message the client is sending."""

    NONE = auto()
    HEAD = auto()
    BODY = auto()


class GuardedProtocol(HttpToolsProtocol):
    """One connection."""

    def __init__(
        self,
        limits: Limits,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._limits = limits
        self._phase = _Phase.NONE
        self._deadline = math.inf  # of the loop's time, for what the client has to send now
        self._timer: asyncio.TimerHandle | None = None
        self._head_bytes = 0
        self._framing_bytes = 0
        self._running = 0  # requests that the application has and has not answered
        self._refusal: Problem | None = None
        self._is_deaf = False
        self._is_replaying = False
        self._stalled: asyncio.TimerHandle | None = None
        self._unwritten = 0

    # --- the connection

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a request, unless there are too many connections."""
        closing = _Closing(transport, self.loop, self._is_sending, self._limits.write_s)
        super().connection_made(cast("asyncio.Transport", closing))
        if len(self.connections) > self._limits.connections:
            detail = "This server has as many connections as it may."
            self._refuse(Problem(TOO_MANY_CONNECTIONS, detail, retry_after_s=_RETRY_AFTER_S))
            return
        self._wait_until(self.loop.time() + self._limits.head_s)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget all timers."""
        for timer in (self._timer, self._stalled):
            if timer is not None:
                timer.cancel()
        cast("_Closing", self.transport).lost()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what came; once the connection is closing or refused it is dropped."""
        self._unset_keepalive_if_required()
        if self._is_deaf or self.transport.is_closing():
            return
        began = self._phase
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._go_on_without_upgrade()
            self.data_received(data[upgrade.args[0] :])
            return
        except httptools.HttpParserError:
            self._refuse(self._refusal or Problem(MALFORMED_REQUEST, "The request could not be parsed."))
            return
        self._count(data, began)
        if self._phase is _Phase.NONE and self._is_idle() and self._deadline == math.inf:
            # Line breaks between requests are allowed, but are no sign of life.
            self._deadline = self.loop.time() + self._limits.head_s
        self._wait_until(self._deadline)

    def _go_on_without_upgrade(self) -> None:
        """Have the body parsed after all: the parser takes what follows an `Upgrade` for another protocol.

        Nothing is upgraded here, and a client that offers it (Java's does so on every request without TLS)
        goes on in HTTP/1.1. A new parser is told how the body is framed, and nothing else.
        """
        self.parser = httptools.HttpRequestParser(self)
        framing = [
            name + b": " + value
            for name, value in self.headers
            if name in {b"content-length", b"transfer-encoding"}
        ]
        self._is_replaying = True
        self.parser.feed_data(b"\r\n".join([b"POST / HTTP/1.1", *framing, b"", b""]))
        self._is_replaying = False

    def _count(self, data: bytes, began: _Phase) -> None:
        """Bound what the parser keeps to itself: a header, or the sizes and trailers around chunks."""
        if self._phase is _Phase.HEAD and began is _Phase.HEAD:
            self._head_bytes += len(data)
            if (problem := self._fault_of_size()) is not None:
                self._refuse(problem)
        elif self._phase is _Phase.BODY and began is _Phase.BODY:
            self._framing_bytes += len(data)
            if self._framing_bytes > self._limits.head_bytes:
                self._refuse(Problem(MALFORMED_REQUEST, "The body is more framing than content."))

    def _fault_of_size(self) -> Problem | None:
        most = self._limits.head_bytes
        if self._head_bytes <= most:
            return None
        if len(self.url) > most or (not self.headers and len(self.url) > most // 2):
            return Problem(ADDRESS_TOO_LONG, f"Address and headers may have {most} bytes together.")
        return Problem(HEADERS_TOO_LARGE, f"Address and headers may have {most} bytes together.")

    # --- what the parser calls

    def on_message_begin(self) -> None:
        """Begin a head, which has its time from here."""
        if self._is_replaying:
            return
        super().on_message_begin()
        self._phase = _Phase.HEAD
        self._head_bytes = 0
        self._deadline = self.loop.time() + self._limits.head_s

    def on_url(self, url: bytes) -> None:
        """Take a part of the address."""
        if not self._is_replaying:
            super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header; what comes behind a body is dropped."""
        if self._phase is not _Phase.HEAD or self._is_replaying:
            return
        super().on_header(name, value)
        if len(self.headers) > _MOST_HEADERS:
            self._stop(Problem(HEADERS_TOO_LARGE, f"There are more than {_MOST_HEADERS} headers."))

    def on_headers_complete(self) -> None:
        """Judge the head, and hand the request on."""
        if self._is_replaying:
            return
        self._head_bytes = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
        if (problem := self._fault_of_size()) is not None:
            self._stop(problem)
        fault = fault_of_head(self.parser.get_http_version(), self.url, self.headers)
        if fault is not None:
            self._stop(Problem(MALFORMED_REQUEST, fault))
        super().on_headers_complete()
        self._phase = _Phase.BODY
        self._framing_bytes = 0
        self._deadline = self.loop.time() + self._limits.body_s

    def on_body(self, body: bytes) -> None:
        """Take a part of the body."""
        self._framing_bytes -= len(body) * _FRAMING
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The client has sent everything."""
        if self.parser.should_upgrade():
            return  # the body is still to come
        self._phase = _Phase.NONE
        self._deadline = math.inf
        super().on_message_complete()

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        self._running += 1
        super()._start_asgi_task(cycle, app)

    def on_response_complete(self) -> None:
        """Go on with the next request, or end with the refusal that waited for this answer."""
        self._running -= 1
        super().on_response_complete()
        if self._refusal is not None and self._is_idle() and not self.transport.is_closing():
            self._write(self._refusal)

    # --- time

    def _wait_until(self, deadline: float) -> None:
        """Have the timer fire by then. A later deadline leaves it: it looks again when it fires."""
        self._deadline = deadline
        if deadline == math.inf or (self._timer is not None and self._timer.when() <= deadline):
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self.loop.call_at(deadline, self._look)

    def _look(self) -> None:
        self._timer = None
        now = self.loop.time()
        if self._deadline > now or self._refusal is not None or self.transport.is_closing():
            self._wait_until(self._deadline)
        elif self.flow.read_paused:  # it is we who do not read
            self._wait_until(
                now + (self._limits.body_s if self._phase is _Phase.BODY else self._limits.head_s)
            )
        elif self._phase is _Phase.NONE:
            self.transport.close()
        else:
            what, within_s = (
                ("headers", self._limits.head_s)
                if self._phase is _Phase.HEAD
                else ("body", self._limits.body_s)
            )
            self._refuse(Problem(REQUEST_TIMEOUT, f"The {what} did not arrive within {within_s:g} s."))

    def pause_writing(self) -> None:
        """The reader is slower than we are: see to it that it reads at all."""
        super().pause_writing()
        self._unwritten = self.transport.get_write_buffer_size()
        self._stalled = self.loop.call_later(self._limits.write_s, self._look_at_reader)

    def resume_writing(self) -> None:
        """The reader has caught up."""
        super().resume_writing()
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None

    def _look_at_reader(self) -> None:
        before, self._unwritten = self._unwritten, self.transport.get_write_buffer_size()
        if self._unwritten < before:
            self._stalled = self.loop.call_later(self._limits.write_s, self._look_at_reader)
            return
        _log.info("A connection was cut: its reader took nothing.", unwritten_bytes=self._unwritten)
        self.transport.abort()

    # --- refusing

    def _stop(self, problem: Problem) -> None:
        """Leave the parser: it ends with an error, and that with this refusal."""
        self._refusal = problem
        raise problem

    def _refuse(self, problem: Problem) -> None:
        """Answer with the problem and close, after the answers that are still to come before it."""
        self._refusal = problem
        self._is_deaf = True
        _log.info(
            "A request was refused before it was read.",
            status=problem.fault.status,
            code=problem.fault.code,
            reason=problem.detail,
        )
        if self._phase is _Phase.BODY and not self._drop_this():
            return
        if self._is_idle():
            self._write(problem)

    def _drop_this(self) -> bool:
        """Take the request that is being read from the application. Whether it was not answered yet."""
        if self.pipeline and self.pipeline[0][0] is self.cycle:
            self.pipeline.popleft()  # it had not begun
            return True
        if self.cycle.response_started:
            self._end_after_this()
            return False
        self.cycle.disconnected = True
        self.cycle.message_event.set()
        self._running -= 1
        return True

    def _end_after_this(self) -> None:
        """Close once the last request that came has its answer."""
        if self._is_idle():
            self.transport.close()
        else:
            self.cycle.keep_alive = False

    def _write(self, problem: Problem) -> None:
        self._unset_keepalive_if_required()
        self.transport.write(_bytes_of(problem, self._limits.base_url))
        self.transport.close()

    def send_400_response(self, msg: str) -> None:
        """Answer with a problem where uvicorn would in bare text."""
        self._refuse(Problem(MALFORMED_REQUEST, msg))

    def _is_idle(self) -> bool:
        """Whether no answer is under way or to come."""
        return self._running == 0 and not self.pipeline

    def _is_sending(self) -> bool:
        """Whether the client may still be sending."""
        return self._phase is not _Phase.NONE or self._refusal is not None


class _Closing:
    """A transport that closes without losing its last answer, and for certain.

    Input that nobody has read makes the kernel reset the connection at a close, and the reset may overtake
    what was written. So while the client may still be sending, our end is closed first and input dropped for
    a moment.
    """

    def __init__(
        self,
        transport: asyncio.Transport,
        loop: asyncio.AbstractEventLoop,
        is_sending: Callable[[], bool],
        write_s: float,
    ) -> None:
        self._transport = transport
        self._loop = loop
        self._is_sending = is_sending
        self._write_s = write_s
        self._end: asyncio.TimerHandle | None = None
        self._is_lost = False
        self.write = transport.write

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def is_closing(self) -> bool:
        return self._end is not None or self._transport.is_closing()

    def close(self) -> None:
        if self._end is not None or self._is_lost:
            return
        if self._is_sending() and not self._transport.is_closing() and self._transport.can_write_eof():
            self._transport.write_eof()
            self._transport.resume_reading()
            self._end = self._loop.call_later(_LINGER_S, self._close)
        else:
            self._close()

    def _close(self) -> None:
        self._transport.close()
        self._end = self._loop.call_later(self._write_s, self._transport.abort)  # whoever never reads

    def lost(self) -> None:
        self._is_lost = True
        if self._end is not None:
            self._end.cancel()


def _bytes_of(problem: Problem, base_url: str) -> bytes:
    """The whole answer, as it goes on the wire."""
    token = trace_id_var.set(new_trace_id())
    try:
        answer = response(problem, base_url=base_url, instance="/")
        answer.raw_headers += [*SAFE, (TRACE_HEADER, trace_id_var.get().encode()), (b"connection", b"close")]
    finally:
        trace_id_var.reset(token)
    status = HTTPStatus(problem.fault.status)
    lines = [f"HTTP/1.1 {status.value} {status.phrase}".encode()]
    lines += [name + b": " + value for name, value in answer.raw_headers]
    return b"\r\n".join([*lines, b"", bytes(answer.body)])
