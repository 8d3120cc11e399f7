"""The HTTP protocol for untrusted clients: uvicorn's over httptools, with deadlines, limits and refusals.

Uvicorn itself waits without limit for headers, bodies and slow readers, lets headers grow without limit, and
answers malformed HTTP in plain text. Here each of these has a bound, and every refusal is a problem document.
"""

import asyncio
import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from functools import partial
from http import HTTPStatus
from typing import Any, Final, Never, cast

import httptools
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from app.api.multipart import AROUND_FILE
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
from app.server.edge import CLIENT_LEFT, SECURITY_HEADERS, TRACE_HEADER
from app.server.long_body import BUFFER_BYTES, LongBody
from app.server.request_head import Headers, fault_of_head, without_upgrade
from app.server.transport import Transport

_log = get_logger("http")
_MAX_HEADERS: Final = 100
_UPLOADS: Final = b"/v1/files"  # whose bodies are as long as files are
_RENEWED_BYTES: Final = 1_048_576  # of an upload, after which its deadline begins anew
_BEGINNING: Final = AROUND_FILE  # bytes of an upload that are passed on as they arrive: a form's fields
_MAX_WAITING: Final = 100  # pipelined requests of one connection behind the one that is being answered
_REQUEST_LINE: Final = 32  # bytes of a request line besides its target, at most
_SLICE: Final = 4096  # bytes that are parsed at a time: how exactly the framing of a body is counted
_CHUNK_FRAMING: Final = 20  # bytes of a chunk besides its content and extensions, at most
_OTHER_PROTOCOLS: Final = (b" RTSP/", b" ICE/")  # of which the parser reads a head as if it were HTTP/1.0
_RETRY_AFTER_S: Final = 1
_PAUSED_TICK_S: Final = 1.0
_LAST_REQUEST_S: Final = 1.0  # for whoever has just connected to a server that stops
_MAX_ANSWERED_REFUSALS: Final = 1000  # connections over the limit that still get a response; more are aborted


@dataclass(frozen=True, slots=True)
class Limits:
    """The protocol's bounds, in bytes, seconds and connections.

    `head_bytes` bounds the request target and headers together, `head_s` and `body_s` the time in which they
    must arrive, `write_s` the time without progress of a client that reads a response. `base_url` is used in
    the problem documents.
    """

    base_url: str
    head_bytes: int
    head_s: float
    body_s: float
    write_s: float
    connections: int

    @classmethod
    def of(cls, settings: Settings) -> "Limits":
        """Returns the bounds that the settings define."""
        return cls(
            settings.base_url,
            settings.max_header_bytes,
            settings.header_timeout_s,
            settings.body_timeout_s,
            settings.write_timeout_s,
            settings.max_connections,
        )


class _Phase(Enum):
    """The part of a message that the client is sending."""

    NONE = auto()
    HEAD = auto()
    BODY = auto()


class _StopParsing(Exception):  # noqa: N818 - no error, but the way out of the parser's callbacks
    """Nothing more of this connection is parsed."""


class GuardedProtocol(HttpToolsProtocol):
    """One connection. Used as `uvicorn.Config(http=partial(GuardedProtocol, limits))`.

    `on_refusal` is called with the code of every refusal that is answered here.
    """

    transport: Transport  # type: ignore[assignment]  # it has all that uvicorn uses of a transport

    def __init__(
        self,
        limits: Limits,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        on_refusal: Callable[[str], None] = lambda _code: None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._limits = limits
        self._phase = _Phase.NONE
        self._deadline = math.inf  # in the client's time, for what it has to send now
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = math.inf  # in the loop's time
        self._head_bytes = 0
        self._head_at_most = 0
        self._framing = 0  # bytes of a body besides its content and chunk sizes: extensions and trailers
        self._content = 0  # bytes of content in this piece of input, with what frames their chunks
        self._stated = self._to_come = 0  # bytes of an upload whose length was stated: all, and those left
        self._piece: bytes | memoryview = b""  # of input, which is being parsed
        self._messages_begun = 0  # messages that began in this piece of input
        self._plain_head: bytes | None = None  # the head, without the upgrade, of a request that asks for one
        self._running = 0  # requests that the application has not answered yet
        self._final_response: bytes | None = None  # a refusal that waits for the responses before it
        self._ignores_input = False  # whether further input is dropped
        self._is_upload = False
        self._arrived = 0  # bytes of an upload since its deadline was set
        self._serving: Any = None  # the cycle of the request that the application answers, or answered last
        self._half_closed = False  # whether the client has said that it sends no more
        self._on_refusal = on_refusal

    # --- the connection

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        """Starts to wait for a request, unless there are too many connections."""
        wire = Transport(
            transport,
            self.loop,
            is_sending=self._is_sending,
            write_s=self._limits.write_s,
            on_left=self._note_leaving,
        )
        super().connection_made(cast("asyncio.Transport", wire))
        too_many = len(self.connections) - self._limits.connections
        if too_many > _MAX_ANSWERED_REFUSALS:
            self._ignores_input = True
            wire.abort()
        elif too_many > 0:
            detail = "This server has reached its limit of connections."
            self._refuse(Problem(TOO_MANY_CONNECTIONS, detail, retry_after_s=_RETRY_AFTER_S))
        else:
            self._set_deadline(self._limits.head_s)

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancels all timers."""
        self._ignores_input = True
        self._unset_keepalive_if_required()
        if self._timer is not None:
            self._timer.cancel()
        self.transport.lost()
        self._note_leaving()
        super().connection_lost(exc)
        if self._serving is not None and not self._serving.response_complete:
            self._serving.disconnected = True  # uvicorn tells only the last request of a pipeline
            self._serving.message_event.set()

    def shutdown(self) -> None:
        """Ends the connection with the answer under way; who is yet to send a request gets a moment."""
        if self._deadline == math.inf or not self._is_idle():
            super().shutdown()
        else:
            self._set_deadline(min(self._limits.head_s, _LAST_REQUEST_S))

    def eof_received(self) -> bool:  # type: ignore[override]  # as asyncio has it
        """Answers what was asked, then closes: a client may end its sending half before (RFC 9112).

        A client that leaves looks the same, so the application is told that it has left: streams and held
        answers end, since nobody may be there. A request that ends in the middle is refused. Returns whether
        the connection stays open for answers.
        """
        phase = self._phase
        if phase is not _Phase.NONE and not self._ignores_input and not self.transport.is_closing():
            self._refuse(
                Problem(MALFORMED_REQUEST, "The connection was closed before the request was whole.")
            )
        if self._is_idle() or phase is _Phase.BODY or self.transport.is_closing():
            return False
        self._half_closed = True
        if self._final_response is None:
            self._end_after_this()
        if self._serving is not None:
            self._serving.message_event.set()
        return True

    def _note_leaving(self) -> None:
        """Notes in the state of requests without an answer that their client has left, for the log."""
        for cycle in (self._serving, *(waiting for waiting, _ in self.pipeline)):
            if cycle is not None and not cycle.response_complete:
                cycle.scope["state"][CLIENT_LEFT] = True

    def data_received(self, data: bytes) -> None:
        """Parses the input; on a connection that is closing or was refused, drops it."""
        self._unset_keepalive_if_required()
        if len(data) <= max(_SLICE, self._to_come):  # a body whose length was stated has no framing
            self._receive(data)
            return
        view = memoryview(data)
        for start in range(0, len(data), _SLICE):
            self._receive(view[start : start + _SLICE])

    def _receive(self, data: bytes | memoryview) -> None:
        if self._ignores_input or self.transport.is_closing():
            return
        self._piece, size = data, len(data)
        began = self._phase
        self._messages_begun = self._content = 0
        self._head_at_most = size if began is not _Phase.HEAD else self._head_at_most + size
        try:
            try:
                self.parser.feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:
                self._feed_without_upgrade(memoryview(data)[upgrade.args[0] :])
        except httptools.HttpParserError as error:
            if not self._ignores_input:
                self._refuse(_of_parser(error))
            return
        # A request that arrives in one piece, as nearly all do, gets here without reading the clock.
        if self._phase is not _Phase.NONE:
            if self._messages_begun or self._phase is not began:
                self._set_deadline(self._limits.head_s if self._phase is _Phase.HEAD else self._limits.body_s)
            self._count(size, began)
        elif self._deadline == math.inf and not self._messages_begun and self._is_idle():
            # Line breaks between requests are allowed, but do not extend the deadline.
            self._set_deadline(self._limits.head_s)

    def _feed_without_upgrade(self, rest: memoryview) -> None:
        """Continues in HTTP/1.1 with a request that asks for another protocol, and with what follows it.

        After such a head the parser skips the body. So a fresh parser reads the same head without the
        upgrade.
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
        """Bounds what the parser reads without a callback: an unfinished head, chunk extensions, trailers."""
        if self._phase is _Phase.HEAD:
            if not self._messages_begun:
                self._head_bytes += size
            elif self._messages_begun == 1 and began is _Phase.NONE:
                self._head_bytes = size
            if (problem := self._fault_of_size()) is not None:
                self._refuse(problem)
        elif self._messages_begun + (began is not _Phase.NONE) == 1:  # all of the piece is of one request
            head = 0 if began is _Phase.BODY else _head_size(self.url, list(self.scope["headers"]))
            self._framing = max(0, self._framing + size - self._content - head)
            if self._framing > self._limits.head_bytes:
                self._refuse(self._too_much_framing())

    def _too_much_framing(self) -> Problem:
        return Problem(
            HEADERS_TOO_LARGE,
            f"Chunk extensions and trailers may have at most {self._limits.head_bytes} bytes together, and"
            f" there may be at most {_MAX_HEADERS} trailers.",
        )

    def _fault_of_size(self) -> Problem | None:
        max_bytes = self._limits.head_bytes
        if self._head_bytes <= max_bytes:
            return None
        is_address = len(self.url) > max_bytes or len(self.url) + _REQUEST_LINE > self._head_bytes
        fault = ADDRESS_TOO_LONG if is_address else HEADERS_TOO_LARGE
        return Problem(fault, f"Address and headers may have at most {max_bytes} bytes together.")

    # --- callbacks of the parser

    def on_message_begin(self) -> None:
        """Starts a head, whose deadline counts from here."""
        if len(self.pipeline) >= _MAX_WAITING:
            # The parser works through all input that was read: without this, thousands would pile up.
            self._ignores_input = True
            self._end_after_this()
            raise _StopParsing
        super().on_message_begin()
        self._phase = _Phase.HEAD
        self._messages_begun += 1
        self._head_bytes = 0

    def on_headers_complete(self) -> None:
        """Checks the head, and passes the request on."""
        if self._head_at_most > self._limits.head_bytes:
            self._head_bytes = _head_size(self.url, self.headers)
            if (problem := self._fault_of_size()) is not None:
                self._stop(problem)
        if len(self.headers) > _MAX_HEADERS:
            self._stop(Problem(HEADERS_TOO_LARGE, f"A request may have at most {_MAX_HEADERS} headers."))
        version = self.parser.get_http_version()
        if self.url == b"*" and self.parser.get_method() == b"OPTIONS":
            self.url = b"/"  # the server as a whole, as a load balancer asks for it
        fault = fault_of_head(version, self.url, self.headers)
        if version == "1.0" and any(self.url + name in bytes(self._piece) for name in _OTHER_PROTOCOLS):
            fault = "This is a request of another protocol."
        if fault is not None:
            self._stop(Problem(MALFORMED_REQUEST, fault))
        if self.parser.should_upgrade():
            method = self.parser.get_method()
            if method == b"CONNECT":
                self._stop(Problem(MALFORMED_REQUEST, "The method CONNECT is not supported."))
            self._plain_head = without_upgrade(method, version, self.url, self.headers)
            return
        self._is_upload = self.url.partition(b"?")[0] == _UPLOADS
        self._stated = self._to_come = _stated_length(self.headers) if self._is_upload else 0
        super().on_headers_complete()
        self._phase = _Phase.BODY
        self._framing = 0
        self._head_bytes = 0
        self.headers = []  # the parser appends trailers here, where nobody reads them

    def on_chunk_header(self) -> None:
        """Counts the framing of a chunk, which is no extension."""
        self._content += _CHUNK_FRAMING

    def on_body(self, body: bytes) -> None:
        """Receives a part of the body. An upload may take long, as long as it goes on and is not answered."""
        self._content += len(body)
        if self._is_upload:
            self._note_arrival(len(body))
            if self._stated and not self.cycle.body:  # a large part is taken from this without a copy
                self.cycle.body = cast("bytearray", b"")
        super().on_body(body)

    def _note_arrival(self, arrived: int) -> None:
        self._to_come -= arrived
        if self.cycle.response_complete:
            return
        self._arrived += arrived
        if self._arrived >= _RENEWED_BYTES:
            self._arrived = 0
            self._set_deadline(self._limits.body_s)

    def on_message_complete(self) -> None:
        """Ends the message: the client has sent all of it, and has no deadline any more."""
        if self._plain_head is not None:
            return
        if len(self.headers) > _MAX_HEADERS:
            self._stop(self._too_much_framing())
        self._phase = _Phase.NONE
        self._deadline = math.inf
        super().on_message_complete()

    def _long_body(self, cycle: Any) -> LongBody | None:
        """Has the rest of a long upload read without the parser, after its beginning.

        Returns None where it is no such upload, or is none yet.
        """
        if (
            cycle is not self.cycle
            or self._phase is not _Phase.BODY
            or self._to_come < BUFFER_BYTES
            or self._stated - self._to_come < _BEGINNING
            or cycle.response_complete
            or self._ignores_input
            or self.transport.is_closing()
        ):
            return None
        found = LongBody(
            self, self.flow, cycle, self._to_come, on_read=self._note_arrival, on_end=self._end_long_body
        )
        self.transport.set_protocol(found)
        return found

    def _end_long_body(self) -> None:
        self.transport.set_protocol(self)
        self.parser = httptools.HttpRequestParser(self)  # the other one waits for what it will never see
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn does
        self.on_message_complete()
        if self._is_idle():
            self._set_deadline(self._limits.head_s)

    def _should_upgrade(self) -> bool:
        return False

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        self._running += 1
        self._serving = cycle
        super()._start_asgi_task(cycle, partial(self._serve, cycle, app))

    async def _serve(self, cycle: Any, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        """Runs the application. After its request, a client that has closed its sending half has left."""
        has_request = False
        long_body: LongBody | None = None

        async def receive_until_left() -> Message:
            nonlocal has_request, long_body
            message: Message = {"type": "http.disconnect"}
            if not (has_request and self._half_closed):
                long_body = long_body or self._long_body(cycle)
                received = await (receive() if long_body is None else long_body.receive(receive))
                if not (has_request and self._half_closed):
                    message = received
            has_request = has_request or not message.get("more_body", False)
            return message

        try:
            await app(scope, receive_until_left, send)
        finally:
            if self._half_closed and not cycle.response_complete:
                cycle.disconnected = True  # it was a stream, or gave up: there is no more to come
                self.transport.close()

    def on_response_complete(self) -> None:
        """Continues with the next request, or sends the refusal that waited for this response."""
        self._running -= 1
        super().on_response_complete()
        if self._phase is not _Phase.NONE:
            self._unset_keepalive_if_required()  # the message that is being sent has its own deadline
        if self._final_response is not None and self._is_idle() and not self.transport.is_closing():
            self._leave(self._final_response)

    # --- deadlines

    def _set_deadline(self, seconds: float) -> None:
        """Gives the client `seconds` for what it has to send now."""
        self._deadline = self.transport.client_time() + seconds
        self._arm_timer()

    def _arm_timer(self) -> None:
        """Sets the timer to fire by the deadline.

        A timer that fires earlier is left alone: it checks the deadline again when it fires.
        """
        left_s = self._deadline - self.transport.client_time()
        if self.transport.is_paused:
            left_s = max(left_s, _PAUSED_TICK_S)
        at = self.loop.time() + left_s
        if self._timer is not None:
            if self._timer_at <= at:
                return
            self._timer.cancel()
        self._timer_at = at
        self._timer = self.loop.call_later(left_s, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        if self._ignores_input or self._deadline == math.inf or self.transport.is_closing():
            return
        if self.transport.is_paused or self._deadline > self.transport.client_time():
            self._arm_timer()
        elif self._phase is _Phase.NONE:
            self.transport.close()
        else:
            what, within_s = "headers", self._limits.head_s
            if self._phase is _Phase.BODY:
                what, within_s = "body", self._limits.body_s
            detail = f"The {what} did not arrive within {within_s:g} s."
            self._refuse(Problem(REQUEST_TIMEOUT, detail, retry_after_s=_RETRY_AFTER_S))

    def pause_writing(self) -> None:
        """Watches the client, which reads more slowly than we write, for progress."""
        super().pause_writing()
        self.transport.watch()

    def resume_writing(self) -> None:
        """Stops to watch the client, which has caught up."""
        super().resume_writing()
        if not self.transport.is_closing():
            self.transport.rest()

    # --- refusing

    def _stop(self, problem: Problem) -> Never:
        """Refuses the request, and leaves the parser."""
        self._refuse(problem)
        raise _StopParsing

    def _refuse(self, problem: Problem) -> None:
        """Answers with the problem and closes the connection, after the responses that are due before it."""
        self._ignores_input = True
        if self._phase is _Phase.BODY and not self._withdraw_request():
            self._end_after_this()  # the request has its response, or a part of it
            return
        farewell = self._bytes_of(problem)
        if self._is_idle():
            self._leave(farewell)
        else:
            self._final_response = farewell

    def _withdraw_request(self) -> bool:
        """Withdraws the request that is being read from the application.

        Returns whether it had no response yet.
        """
        if self.pipeline and self.pipeline[0][0] is self.cycle:
            self.pipeline.popleft()  # the application had not begun with it
            return True
        if self.cycle.response_started:
            return False
        self.cycle.disconnected = True
        self.cycle.message_event.set()
        self._running -= 1
        return True

    def _end_after_this(self) -> None:
        """Closes the connection once the last request that was received has its response."""
        if self._is_idle():
            self.transport.close()
        else:
            self.cycle.keep_alive = False

    def _leave(self, farewell: bytes) -> None:
        self._final_response = farewell  # kept, because the client may still be sending
        self._unset_keepalive_if_required()
        self.transport.write(farewell)
        self.transport.close()

    def _bytes_of(self, problem: Problem) -> bytes:
        """Returns the whole response as it is sent, with a trace id of its own, under which it is logged."""
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
            self._on_refusal(problem.fault.code)
            answer = response(problem, base_url=self._limits.base_url, instance=path)
            answer.raw_headers += [
                *SECURITY_HEADERS,
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
        """Answers with a problem document, where uvicorn would answer in plain text."""
        self._refuse(Problem(MALFORMED_REQUEST, msg))

    def _is_idle(self) -> bool:
        """Returns whether no response is in progress or due."""
        return self._running == 0 and not self.pipeline

    def _is_between_requests(self) -> bool:
        """Returns whether the next byte begins a request, which is to be read."""
        return self._phase is _Phase.NONE and not self._ignores_input and not self._half_closed

    def _is_sending(self) -> bool:
        """Returns whether the client may still be sending."""
        return (self._phase is not _Phase.NONE or self._ignores_input) and not self._half_closed


def _head_size(target: bytes, headers: Headers) -> int:
    """Returns the size of a request target and headers, without the rest of the request line."""
    return len(target) + sum([len(name) + len(value) + 4 for name, value in headers])


def _stated_length(headers: Headers) -> int:
    """Returns the length of the body as the head states it, which the parser has judged; else 0."""
    return next((int(value) for name, value in headers if name == b"content-length"), 0)


def _of_parser(error: httptools.HttpParserError) -> Problem:
    # A callback's error may repeat the input, so it is not shown; the parser's own are constant sentences.
    is_ours = isinstance(error, httptools.HttpParserCallbackError)
    reason = "its address is not valid" if is_ours else f"the parser says {str(error)!r}"
    return Problem(MALFORMED_REQUEST, f"The request is not valid HTTP/1.1: {reason}.")
