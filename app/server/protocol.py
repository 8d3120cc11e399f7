"""The HTTP protocol that faces strangers: uvicorn's over httptools, with deadlines, limits, clear refusals.

Uvicorn itself waits for headers, bodies and readers for as long as they please, lets headers grow without
end, and answers what is no HTTP in bare text. Here each of these has a bound, and every refusal is a problem
document.
"""

import asyncio
import math
from dataclasses import dataclass
from enum import Enum, auto
from http import HTTPStatus
from typing import Any, Final, Never, cast

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

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
from app.kit.log import get_logger, trace_id_of, trace_id_var
from app.server.edge import SAFE, TRACE_HEADER
from app.server.request_head import fault_of_head, without_upgrade
from app.server.transport import Transport

_log = get_logger("http")
_MAX_HEADERS: Final = 100
_MAX_WAITING: Final = 100  # requests of one connection behind the one that is being answered
_REQUEST_LINE: Final = 32  # bytes of a request line around its address, at most
_RETRY_AFTER_S: Final = 1
_PAUSED_TICK_S: Final = 1.0
_REFUSED_IN_FULL: Final = 1000  # connections over the limit that still get an answer; more are just cut


@dataclass(frozen=True, slots=True)
class Limits:
    """The bounds; seconds, bytes and a number of connections. `base_url` stands in the problems."""

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


class _StopParsing(Exception):  # noqa: N818 - no error: the way out of the parser's callbacks
    """Nothing more of this connection is looked at."""


class GuardedProtocol(HttpToolsProtocol):
    """One connection. For `uvicorn.Config(http=partial(GuardedProtocol, limits))`."""

    transport: Transport  # type: ignore[assignment]  # it has what uvicorn uses of a transport

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
        self._deadline = math.inf  # on the client's clock, for what it has to send now
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = math.inf  # on the loop's clock
        self._head_bytes = 0
        self._head_at_most = 0
        self._quiet_bytes = 0  # of a body since the last content: sizes of chunks, and trailers
        self._has_begun = 0  # messages in this piece of input
        self._plain_head: bytes | None = None  # of a request that asks for another protocol
        self._running = 0  # requests that the application has and has not answered
        self._farewell: bytes | None = None  # a refusal that waits for the answers before it
        self._is_deaf = False

    # --- the connection

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # uvicorn names no wider one
        """Begin to wait for a request, unless there are too many connections."""
        wire = Transport(transport, self.loop, is_sending=self._is_sending, write_s=self._limits.write_s)
        super().connection_made(cast("asyncio.Transport", wire))
        too_many = len(self.connections) - self._limits.connections
        if too_many > _REFUSED_IN_FULL:
            self._is_deaf = True
            wire.abort()
        elif too_many > 0:
            detail = "This server has as many connections as it may."
            self._refuse(Problem(TOO_MANY_CONNECTIONS, detail, retry_after_s=_RETRY_AFTER_S))
        else:
            self._grant(self._limits.head_s)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget all timers."""
        self._is_deaf = True
        self._unset_keepalive_if_required()
        if self._timer is not None:
            self._timer.cancel()
        self.transport.lost()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what came; once the connection is closing or refused it is dropped."""
        self._unset_keepalive_if_required()
        if self._is_deaf or self.transport.is_closing():
            return
        size = len(data)
        began = self._phase
        self._has_begun = 0
        self._head_at_most = size if began is not _Phase.HEAD else self._head_at_most + size
        self._quiet_bytes += size
        try:
            try:
                self.parser.feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:
                self._feed_without_upgrade(memoryview(data)[upgrade.args[0] :])
        except httptools.HttpParserError as error:
            if not self._is_deaf:
                self._refuse(_of_parser(error))
            return
        # What arrives in one piece, as nearly all does, has come this far without a look at the clock.
        if self._phase is not _Phase.NONE:
            if self._has_begun or self._phase is not began:
                self._grant(self._limits.head_s if self._phase is _Phase.HEAD else self._limits.body_s)
            self._count(size, began)
        elif self._deadline == math.inf and not self._has_begun and self._is_idle():
            # Line breaks between requests are allowed, but are no sign of life.
            self._grant(self._limits.head_s)

    def _feed_without_upgrade(self, rest: memoryview) -> None:
        """Go on in HTTP/1.1 with a request that asks for another protocol, and with what follows.

        The parser has left out its body. So a fresh one reads the same head without that wish.
        """
        while True:
            plain, self._plain_head = self._plain_head or b"", None
            self.parser = httptools.HttpRequestParser(self)
            self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn does
            self.parser.feed_data(plain)
            try:
                self.parser.feed_data(rest)
            except httptools.HttpParserUpgrade as upgrade:
                rest = rest[upgrade.args[0] :]
            else:
                return

    def _count(self, size: int, began: _Phase) -> None:
        """Bound what the parser keeps to itself: a header or an address, or what stands around chunks."""
        if self._phase is _Phase.HEAD:
            if not self._has_begun:
                self._head_bytes += size
            elif self._has_begun == 1 and began is _Phase.NONE:
                self._head_bytes = size
            if (problem := self._fault_of_size()) is not None:
                self._refuse(problem)
        elif began is _Phase.BODY and self._quiet_bytes > self._limits.head_bytes:
            self._refuse(Problem(MALFORMED_REQUEST, "The body is all chunk sizes or trailers, no content."))

    def _fault_of_size(self) -> Problem | None:
        most = self._limits.head_bytes
        if self._head_bytes <= most:
            return None
        is_address = len(self.url) > most or len(self.url) + _REQUEST_LINE > self._head_bytes
        fault = ADDRESS_TOO_LONG if is_address else HEADERS_TOO_LARGE
        return Problem(fault, f"Address and headers may have {most} bytes together.")

    # --- what the parser calls

    def on_message_begin(self) -> None:
        """Begin a head, which has its time from here."""
        if len(self.pipeline) >= _MAX_WAITING:
            # Input that was read is parsed to its end: without this, thousands would queue up.
            self._is_deaf = True
            self._end_after_this()
            raise _StopParsing
        super().on_message_begin()
        self._phase = _Phase.HEAD
        self._has_begun += 1
        self._head_bytes = 0

    def on_headers_complete(self) -> None:
        """Judge the head, and hand the request on."""
        if self._head_at_most > self._limits.head_bytes:
            self._head_bytes = len(self.url) + sum(
                [len(name) + len(value) + 4 for name, value in self.headers]
            )
            if (problem := self._fault_of_size()) is not None:
                self._stop(problem)
        if len(self.headers) > _MAX_HEADERS:
            self._stop(Problem(HEADERS_TOO_LARGE, f"There may be {_MAX_HEADERS} headers."))
        version = self.parser.get_http_version()
        fault = fault_of_head(version, self.url, self.headers)
        if fault is not None:
            self._stop(Problem(MALFORMED_REQUEST, fault))
        if self.parser.should_upgrade():
            method = self.parser.get_method()
            if method == b"CONNECT":
                self._stop(Problem(MALFORMED_REQUEST, "There are no tunnels here."))
            self._plain_head = without_upgrade(method, version, self.url, self.headers)
            return
        super().on_headers_complete()
        self._phase = _Phase.BODY
        self._quiet_bytes = 0
        self._head_bytes = 0
        self.headers = []  # what stands behind a body goes there, and so nowhere

    def on_body(self, body: bytes) -> None:
        """Take a part of the body."""
        self._quiet_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The client has sent everything."""
        if self._plain_head is not None:
            return
        self._phase = _Phase.NONE
        self._deadline = math.inf
        super().on_message_complete()

    def _should_upgrade(self) -> bool:
        return False

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        self._running += 1
        super()._start_asgi_task(cycle, app)

    def on_response_complete(self) -> None:
        """Go on with the next request, or end with the refusal that waited for this answer."""
        self._running -= 1
        super().on_response_complete()
        if self._phase is not _Phase.NONE:
            self._unset_keepalive_if_required()  # the deadline of what is being sent holds
        if self._farewell is not None and self._is_idle() and not self.transport.is_closing():
            self._leave(self._farewell)

    # --- time

    def _grant(self, seconds: float) -> None:
        """Give the client so long for what it has to send now."""
        self._deadline = self.transport.client_time() + seconds
        self._see_to_deadline()

    def _see_to_deadline(self) -> None:
        """Have the timer fire by then. A later deadline leaves it: it looks again when it fires."""
        left_s = self._deadline - self.transport.client_time()
        if self.transport.is_paused:
            left_s = max(left_s, _PAUSED_TICK_S)
        at = self.loop.time() + left_s
        if self._timer is not None:
            if self._timer_at <= at:
                return
            self._timer.cancel()
        self._timer_at = at
        self._timer = self.loop.call_later(left_s, self._look)

    def _look(self) -> None:
        self._timer = None
        if self._is_deaf or self._deadline == math.inf or self.transport.is_closing():
            return
        if self.transport.is_paused or self._deadline > self.transport.client_time():
            self._see_to_deadline()
        elif self._phase is _Phase.NONE:
            self.transport.close()
        else:
            what, within_s = "headers", self._limits.head_s
            if self._phase is _Phase.BODY:
                what, within_s = "body", self._limits.body_s
            detail = f"The {what} did not arrive within {within_s:g} s."
            self._refuse(Problem(REQUEST_TIMEOUT, detail, retry_after_s=_RETRY_AFTER_S))

    def pause_writing(self) -> None:
        """The reader is slower than we are: see to it that it reads at all."""
        super().pause_writing()
        self.transport.watch()

    def resume_writing(self) -> None:
        """The reader has caught up."""
        super().resume_writing()
        if not self.transport.is_closing():
            self.transport.rest()

    # --- refusing

    def _stop(self, problem: Problem) -> Never:
        """Refuse, and leave the parser."""
        self._refuse(problem)
        raise _StopParsing

    def _refuse(self, problem: Problem) -> None:
        """Answer with the problem and close, after the answers that are still to come before it."""
        self._is_deaf = True
        if self._phase is _Phase.BODY and not self._take_back():
            self._end_after_this()  # it has its answer, or a part of it
            return
        farewell = self._bytes_of(problem)
        if self._is_idle():
            self._leave(farewell)
        else:
            self._farewell = farewell

    def _take_back(self) -> bool:
        """Take the request that is being read from the application. Whether it had no answer yet."""
        if self.pipeline and self.pipeline[0][0] is self.cycle:
            self.pipeline.popleft()  # it had not begun
            return True
        if self.cycle.response_started:
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

    def _leave(self, farewell: bytes) -> None:
        self._farewell = farewell  # whoever is refused may still be sending
        self._unset_keepalive_if_required()
        self.transport.write(farewell)
        self.transport.close()

    def _bytes_of(self, problem: Problem) -> bytes:
        """The whole answer as it goes on the wire, with a trace id of its own, under which it is logged."""
        has_head = self._phase is not _Phase.NONE
        named = dict(self.scope["headers"]) if has_head else {}
        path = self.scope["path"] if self._phase is _Phase.BODY else "/"
        token = trace_id_var.set(trace_id_of(named.get(b"traceparent", b"").decode("latin-1")))
        try:
            _log.info(
                "A request was refused before it was read.",
                status=problem.fault.status,
                code=problem.fault.code,
                reason=problem.detail,
            )
            answer = response(problem, base_url=self._limits.base_url, instance=path)
            answer.raw_headers += [
                *SAFE,
                (TRACE_HEADER, trace_id_var.get().encode()),
                (b"connection", b"close"),
            ]
        finally:
            trace_id_var.reset(token)
        status = HTTPStatus(problem.fault.status)
        lines = [f"HTTP/1.1 {status.value} {status.phrase}".encode()]
        lines += [name + b": " + value for name, value in self.server_state.default_headers]
        lines += [name + b": " + value for name, value in answer.raw_headers]
        body = b"" if has_head and self.parser.get_method() == b"HEAD" else bytes(answer.body)
        return b"\r\n".join([*lines, b"", body])

    def send_400_response(self, msg: str) -> None:
        """Answer with a problem where uvicorn would in bare text."""
        self._refuse(Problem(MALFORMED_REQUEST, msg))

    def _is_idle(self) -> bool:
        """Whether no answer is under way or to come."""
        return self._running == 0 and not self.pipeline

    def _is_sending(self) -> bool:
        """Whether the client may still be sending."""
        return self._phase is not _Phase.NONE or self._is_deaf


def _of_parser(error: httptools.HttpParserError) -> Problem:
    # A callback's error may repeat what it was given; the parser's own are constant sentences.
    is_ours = isinstance(error, httptools.HttpParserCallbackError)
    reason = "its address is none" if is_ours else f"the parser says {str(error)!r}"
    return Problem(MALFORMED_REQUEST, f"The request is no HTTP/1.1: {reason}.")
