"""The protocol that answers plain reads and submits by itself; other requests take the ordinary way.

A submit is read by the parser as any request, and answered by `fast_submits` in place of the application.
A read is answered here only where its bytes arrive whole and alone on a connection on which nothing is
under way. They are compared with heads that the parser has read before, so nothing is parsed here, and a head
that is new, or differs in one byte, goes to the parser. While a row is being read, whatever else happens on
the connection makes the request take the ordinary way too.
"""

import asyncio
import math
from functools import partial
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from app.generations.following.recent import Recent
from app.server.fast.fast_reads import Asked, FastReads, Head
from app.server.fast.fast_submits import FastSubmits
from app.server.protocol import GuardedProtocol, Limits


class FastProtocol(GuardedProtocol):
    """One connection. Used as `uvicorn.Config(http=partial(FastProtocol, reads, submits, limits))`.

    Without `submits`, all of them take the ordinary way.
    """

    def __init__(
        self, reads: FastReads, submits: FastSubmits | None, limits: Limits, *args: Any, **kwargs: Any
    ) -> None:
        super().__init__(limits, *args, **kwargs)
        self._reads = reads
        self._submits = submits
        self._asked: Asked | None = None
        self._is_of_another = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        """Notes whether the connection is to the port of another application."""
        super().connection_made(transport)
        self._is_of_another = self.server is not None and self.server[1] == self._reads.other_port

    def data_received(self, data: bytes) -> None:
        """Answers a plain read, or has the parser read what came."""
        if self._asked is not None:
            self._give_up()
        named = self._reads.name_of(data)
        if named is None or not self._is_quiet():
            super().data_received(data)
        elif (head := self._reads.head(named[0])) is None:
            super().data_received(data)
            self._learn(*named, data)
        elif not self._is_begun(head, data, named[1]):
            super().data_received(data)

    def eof_received(self) -> bool:  # type: ignore[override]  # as in `GuardedProtocol`
        """Lets a read that is under way take the ordinary way, which knows what to do."""
        self._give_up()
        return super().eof_received()

    def shutdown(self) -> None:
        """Lets a read that is under way take the ordinary way, which finishes before the connection ends."""
        self._give_up()
        super().shutdown()

    def connection_lost(self, exc: Exception | None) -> None:
        """Notes in the log that a client has left."""
        if (asked := self._asked) is not None:
            self._asked = None
            self._reads.log_left(asked)
        super().connection_lost(exc)

    async def _serve(self, cycle: Any, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a plain submit whose body is here; or has the application answer the request."""
        if self._submits is not None and not (cycle.more_body or self._is_of_another):
            plain = self._submits.plain(scope, cycle.body)
            if plain is not None:
                cycle.body = bytearray()  # it was read
                dated, is_written = self.server_state.default_headers, partial(self._is_written, cycle)
                app = partial(self._submits.answer, plain, dated=dated, is_written=is_written)
        await super()._serve(cycle, app, scope, receive, send)

    def _is_written(self, cycle: Any, answer: bytes) -> bool:
        """Writes a whole answer; returns False where uvicorn has to, since the connection is to end."""
        if cycle.disconnected or not cycle.keep_alive or self.flow.write_paused:
            return False
        cycle.response_started = True
        self.transport.write(answer)
        cycle.response_complete = True
        cycle.message_event.set()
        cycle.on_response()
        return True

    def _is_quiet(self) -> bool:
        """Returns whether nothing is under way: no half of a request, no response, no end."""
        return (
            not self._is_of_another
            and self._is_idle()
            and self._is_between_requests()
            and not self.flow.write_paused
            and not self.transport.is_closing()
        )

    def _learn(self, name: bytes, traceparent: str, data: bytes) -> None:
        """Learns the head that the parser has just read, if it has read one request and no more."""
        if self._messages_begun == 1 and self._is_between_requests() and self.cycle.keep_alive:
            headers = list(self.scope["headers"])
            self._reads.learn(name, traceparent, data, self.scope["http_version"], headers)

    def _is_begun(self, head: Head, data: bytes, traceparent: str) -> bool:
        """Answers this read, or begins to read its row; returns False where it has to go the ordinary way."""
        asked = self._reads.asked(head, data, traceparent)
        if asked is None:
            return False
        if (recent := self._reads.recent(asked)) is not None:
            return self._is_answered(asked, recent)
        if (coming := self._reads.fetch(asked)) is None:
            return False
        self._unset_keepalive_if_required()
        self._deadline = math.inf
        self._asked = asked
        coming.add_done_callback(partial(self._on_row, asked))
        return True

    def _on_row(self, asked: Asked, coming: "asyncio.Future[Recent | None]") -> None:
        if self._asked is not asked:
            return
        self._asked = None
        recent = coming.result()
        if recent is None or not self._is_quiet() or not self._is_answered(asked, recent):
            super().data_received(asked.data)

    def _give_up(self) -> None:
        """Has the parser read the request whose row is being read; that row comes too late for it."""
        asked, self._asked = self._asked, None
        if asked is not None:
            super().data_received(asked.data)

    def _is_answered(self, asked: Asked, recent: Recent) -> bool:
        found = self._reads.answer(asked, recent, self.server_state.default_headers)
        if found is None:
            return False
        answer, trace_id, size = found
        self._deadline = math.inf
        self.transport.write(answer)
        HttpToolsProtocol.on_response_complete(self)  # counts it, and begins the time of being idle
        self._reads.log(asked, trace_id, size)
        return True
