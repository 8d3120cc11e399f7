"""Handlers of event streams (server-sent events): each change of state once, numbered and resumable."""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Annotated, Any, Final

import orjson
from fastapi import Query, Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from app.api.deps import CanReadAll, CanSee, Open
from app.api.headers.request import stream_owner_of
from app.api.v1.requests import own
from app.auth.principal import Principal
from app.documents import events as documents
from app.errors import DATABASE_UNAVAILABLE, INVALID_PARAMETER, FieldError, Problem
from app.gateway import Gateway
from app.generations import events as event_rows
from app.generations.events import Event
from app.generations.following.watch import StreamOwner, Watch
from app.generations.store import Generation
from app.kit.log import get_logger

_log = get_logger("events")
_HELLO: Final = b"retry: 1000\n\n"  # milliseconds after which a browser reconnects
_PING: Final = b": ping\n\n"
_PAGE: Final = 200
_CHECKED_MS: Final = 4000  # between checks of a stream's key or token: a revocation takes effect within 5 s
_SLOWEST_S: Final = 20.0  # within which a subscriber must read what was sent
_MAX_DIGITS: Final = 15
HEADERS: Final = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}

After = Annotated[
    str | None,
    Query(
        description="The same as `Last-Event-ID`, for clients that cannot send that header.",
        max_length=_MAX_DIGITS,
    ),
]


class EventStream(StreamingResponse):
    """A stream that counts as one of its owner's, and disconnects a subscriber who does not read."""

    media_type = "text/event-stream"

    def __init__(self, messages: AsyncGenerator[bytes], watch: Watch, owner: StreamOwner) -> None:
        super().__init__(messages, headers=HEADERS)
        self._messages = messages
        self._watch = watch
        self._watcher = owner

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Streams until the end.

        Raises:
            Problem: TOO_MANY_STREAMS, SHUTTING_DOWN, before anything was sent.

        """

        async def send_in_time(message: Any) -> None:
            async with asyncio.timeout(_SLOWEST_S):
                await send(message)

        with self._watch.place(self._watcher):
            # Closed here: left to garbage collection, a stream that nobody reads would be watched on.
            async with aclosing(self._messages):
                try:
                    await super().__call__(scope, receive, send_in_time)
                except* TimeoutError:
                    _log.warning(
                        "A subscriber read too slowly and was disconnected.", tenant=self._watcher.tenant_id
                    )


async def stream_request_events(
    request: Request, gateway: Open, principal: CanSee, request_id: str, *, after: After = None
) -> Response:
    """Every change of this request's state as an event stream, from `Last-Event-ID` on.

    An event's id is the request's version. The stream ends after the last event; where the caller has seen
    that one already, the response is a 204.
    """
    generation = await gateway.following.tracker.refresh(await own(gateway, principal, request_id))
    seen = _last_seen(request, after) or 0
    if generation.terminal and seen >= generation.version:
        return Response(status_code=204)
    seen = min(seen, generation.version)  # a caller cannot have seen events that are still to come
    messages = _of_request(gateway, principal, generation, seen)
    return EventStream(messages, gateway.following.watch, stream_owner_of(principal))


async def stream_events(
    request: Request, gateway: Open, principal: CanReadAll, *, after: After = None
) -> Response:
    """Every change of the tenant's requests, in the mode of this key, as an event stream.

    An event's id is its number: 1, 2, 3 … without a gap. Without `Last-Event-ID` the stream begins with
    the next event.
    """
    seen = _last_seen(request, after)
    if seen is None:
        seen = await gateway.db.read(event_rows.last_number, principal.tenant_id, principal.mode)
    return EventStream(
        _of_tenant(gateway, principal, seen), gateway.following.watch, stream_owner_of(principal)
    )


def _last_seen(request: Request, after: str | None) -> int | None:
    header = request.headers.get("last-event-id")
    text, place = (header, "header/Last-Event-ID") if header else (after, "query/after")
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS):
        error = FieldError(f"#/{place}", "event_id", "is not an id of an event of this stream")
        raise Problem(INVALID_PARAMETER, "The id of the last event is not valid.", errors=[error])
    return int(text)


class _Authorisation:
    """The authorisation of a running stream, which ends within seconds after its key or client token."""

    def __init__(self, gateway: Gateway, principal: Principal) -> None:
        self._gateway = gateway
        self._principal = principal
        self._checked_ms = gateway.clock.now_ms()

    async def ended(self) -> bool:
        """Returns whether the authorisation has ended; an unavailable database does not end it."""
        now_ms = self._gateway.clock.now_ms()
        if 0 <= now_ms - self._checked_ms < _CHECKED_MS:
            return False
        self._checked_ms = now_ms
        try:
            await self._gateway.access.authenticator.check(self._principal)
        except Problem as problem:
            return problem.fault is not DATABASE_UNAVAILABLE
        return False


async def _of_request(
    gateway: Gateway, principal: Principal, generation: Generation, seen: int
) -> AsyncGenerator[bytes]:
    watch, heartbeat_s = gateway.following.watch, gateway.settings.heartbeat_s
    right = _Authorisation(gateway, principal)
    yield _HELLO
    async with watch.of_generation(generation.id) as shared:
        serial, position = 0, None
        while not watch.closing.is_set():
            came = await shared.beyond(serial, within_s=heartbeat_s)
            if await right.ended():
                return
            if not came:
                yield _PING
                continue
            serial, view = shared.serial, shared.value
            if view is None:
                continue
            for event in view.events:
                if event.version > seen:
                    yield _message(event, event.version)
                    seen = event.version
            if view.generation.queue_position not in {None, position}:
                position = view.generation.queue_position
                yield _encoded("position", documents.position(generation.id, position))
            if view.generation.terminal:
                return


async def _of_tenant(gateway: Gateway, principal: Principal, seen: int) -> AsyncGenerator[bytes]:
    watch, heartbeat_s = gateway.following.watch, gateway.settings.heartbeat_s
    tenant_id, mode = principal.tenant_id, principal.mode
    right = _Authorisation(gateway, principal)
    yield _HELLO
    async with watch.of_tenant(tenant_id, mode) as shared:
        serial = 0
        while not watch.closing.is_set():
            came = await shared.beyond(serial, within_s=heartbeat_s)
            if await right.ended():
                return
            if not came:
                yield _PING
                continue
            serial, tail = shared.serial, shared.value
            while tail is not None and seen < tail.last and not watch.closing.is_set():
                events = tail.after(seen)
                if events is None:  # the subscriber is further behind than the events kept in memory
                    events = tuple(
                        await gateway.db.read(event_rows.after, tenant_id, mode, seen, limit=_PAGE)
                    )
                for event in events:
                    yield _message(event, event.number)
                    seen = event.number
                if not events:
                    break


def _message(event: Event, number: int) -> bytes:
    return b"id: %d\n" % number + _encoded("state", documents.event(event))


def _encoded(name: str, document: Mapping[str, Any]) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (name.encode(), orjson.dumps(document))
