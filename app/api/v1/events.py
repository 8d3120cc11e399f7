"""Handlers of event streams (server-sent events): each change of state once, numbered and resumable."""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Any, Final

import orjson
from fastapi import Query, Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from app.api.deps import CanReadAll, CanSee, Open
from app.api.headers.request import UNTIMED, stream_owner_of
from app.api.v1.requests import own, own_all
from app.auth.principal import Principal
from app.documents.generations import events as documents
from app.documents.problems import problem as of_problem
from app.errors import INVALID_PARAMETER, FieldError, Problem
from app.gateway import Gateway
from app.generations import events as event_rows
from app.generations.events import AnyEvent, AssetEvent, EndpointEvent, ThresholdEvent
from app.generations.following.watch import Shared, StreamOwner, View, Watch
from app.kit.clock import Overdue, Waits
from app.kit.log import get_logger

_log = get_logger("events")
_RETRY: Final = b"retry: 1000\n"  # milliseconds after which a browser reconnects
PING: Final = b": ping\n"
"""A sign of life: a line and no block, which some readers would take for an event."""
_PAGE: Final = 200
_SLOWEST_S: Final = 20.0  # within which a subscriber must read what was sent
_MAX_DIGITS: Final = 15
MAX_REQUESTS: Final = 50
"""The most requests in one stream."""
_MAX_IDS: Final = MAX_REQUESTS * 40  # characters
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
        scope.setdefault("state", {})[UNTIMED] = True
        with self._watch.place(self._watcher):
            # Closed here: left to garbage collection, a stream that nobody reads would be watched on.
            async with aclosing(self._messages):
                try:
                    await self._stream(scope, receive, send)
                except* TimeoutError:
                    _log.warning(
                        "A subscriber read too slowly and was disconnected.", tenant=self._watcher.tenant_id
                    )

    async def _stream(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with asyncio.timeout(None) as patience:
            slow = Overdue(_SLOWEST_S, lambda: patience.reschedule(0))

            async def send_in_time(message: Any) -> None:
                slow.begin()
                try:
                    await send(message)
                finally:
                    slow.end()

            try:
                await super().__call__(scope, receive, send_in_time)
            finally:
                slow.close()


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
    call = _Call(gateway=gateway, principal=principal, path=request.url.path)
    return call.response(_of_requests(call, {generation.id: seen}, numbered=True))


async def stream_events_of_requests(
    request: Request, gateway: Open, principal: CanSee, *, ids: Annotated[str, Query(max_length=_MAX_IDS)]
) -> Response:
    """Every change of several requests, in one event stream.

    It begins with all that has happened to them, and has no ids: a caller who calls again knows by the
    versions what is new. It ends when all of them have ended.
    """
    wanted = list(dict.fromkeys(ids.split(",")))
    if len(wanted) > MAX_REQUESTS:
        error = FieldError("#/query/ids", "ids", f"names more than {MAX_REQUESTS} requests")
        raise Problem(INVALID_PARAMETER, f"`ids` names more than {MAX_REQUESTS} requests.", errors=[error])
    found = await own_all(gateway, principal, wanted)
    call = _Call(gateway=gateway, principal=principal, path=request.url.path)
    return call.response(_of_requests(call, dict.fromkeys([one.id for one in found], 0), numbered=False))


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
    call = _Call(gateway=gateway, principal=principal, path=request.url.path)
    return call.response(_of_tenant(call, seen))


def _last_seen(request: Request, after: str | None) -> int | None:
    header = request.headers.get("last-event-id")
    text, place = (header, "header/Last-Event-ID") if header else (after, "query/after")
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS):
        error = FieldError(f"#/{place}", "event_id", "is not an id of an event of this stream")
        raise Problem(INVALID_PARAMETER, "The id of the last event is not valid.", errors=[error])
    return int(text)


class Blocks:
    """Writes the blocks of one stream. No block is without data: readers take that for an empty event.

    So the time after which a browser reconnects is in the first block, and a sign of life is a line alone.
    """

    def __init__(self) -> None:
        self._head = _RETRY

    def event(self, event: AnyEvent, number: int | None) -> bytes:
        """Returns an event of whatever kind, with the id to resume after, if any."""
        head, self._head = self._head, b""
        return head + _block_of(event, number)

    def named(self, name: str, document: Mapping[str, Any]) -> bytes:
        """Returns a document as an event of that name."""
        head, self._head = self._head, b""
        return head + _block(name, document)


def _block(name: str, document: Mapping[str, Any], id_line: bytes = b"") -> bytes:
    return id_line + b"event: %b\ndata: %b\n\n" % (name.encode(), orjson.dumps(document))


@lru_cache(maxsize=256)
def _block_of(event: AnyEvent, number: int | None) -> bytes:
    """Returns the block of an event, which is written once for all streams that it is in."""
    id_line = b"" if number is None else b"id: %d\n" % number
    if isinstance(event, ThresholdEvent):
        return _block("threshold", documents.threshold(event), id_line)
    if isinstance(event, AssetEvent):
        return _block("asset", documents.asset(event), id_line)
    if isinstance(event, EndpointEvent):
        return _block("endpoint", documents.endpoint(event), id_line)
    return _block("state", documents.event(event), id_line)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Call:
    """One call for a stream. `path` is the address that was called."""

    gateway: Gateway
    principal: Principal
    path: str

    def response(self, messages: AsyncGenerator[bytes]) -> EventStream:
        return EventStream(messages, self.gateway.following.watch, stream_owner_of(self.principal))

    def waits(self, bell: asyncio.Event) -> Waits:
        """Returns what waits for the bell, each time until a sign of life is due at the latest."""
        return Waits(bell, self.gateway.clock, within_s=self.gateway.settings.heartbeat_s)

    def farewell(self, blocks: Blocks, problem: Problem) -> bytes:
        """Returns the last event of a caller whose key or token has ended: the problem of its next call."""
        base_url = self.gateway.settings.base_url
        document = of_problem(problem, self.principal, base_url=base_url, instance=self.path)
        return blocks.named("problem", document)


class _Subject:
    """A request in a stream: the subscription to it, and what the caller has seen of it."""

    def __init__(self, generation_id: str, seen: int) -> None:
        self.generation_id = generation_id
        self._seen = seen
        self._serial = 0
        self._position: int | None = None
        self._stack = AsyncExitStack()
        self._shared: Shared[View] | None = None

    async def subscribe(self, watch: Watch, bell: asyncio.Event) -> None:
        self._shared = await self._stack.enter_async_context(watch.of_generation(self.generation_id, bell))

    async def leave(self) -> None:
        await self._stack.aclose()

    def news(self, blocks: Blocks, *, numbered: bool) -> tuple[list[bytes], bool]:
        """Returns the blocks of what is new, and whether the request has ended."""
        shared = self._shared
        if shared is None or shared.value is None or shared.serial == self._serial:
            return [], False
        self._serial, view = shared.serial, shared.value
        found = []
        for event in view.events:
            if event.version > self._seen:
                found.append(blocks.event(event, event.version if numbered else None))
                self._seen = event.version
        position = view.generation.queue_position
        if position not in {None, self._position}:
            self._position = position
            found.append(blocks.named("position", documents.position(self.generation_id, position)))
        return found, view.generation.terminal


async def _of_requests(call: _Call, seen: Mapping[str, int], *, numbered: bool) -> AsyncGenerator[bytes]:
    """Yields the changes of some requests after the versions that were seen, until all have ended."""
    watch, permits = call.gateway.following.watch, call.gateway.access.permits
    bell, blocks = asyncio.Event(), Blocks()
    async with AsyncExitStack() as stack:
        permit = stack.enter_context(permits.held(call.principal, bell))
        waits = stack.enter_context(call.waits(bell))
        subjects = [_Subject(generation_id, version) for generation_id, version in seen.items()]
        for subject in subjects:
            stack.push_async_callback(subject.leave)
            await subject.subscribe(watch, bell)
        yield PING
        while not watch.closing.is_set():
            bell.clear()
            if (ended := await permits.judge(permit)) is not None:
                yield call.farewell(blocks, ended)
                return
            for subject in tuple(subjects):
                found, has_ended = subject.news(blocks, numbered=numbered)
                if found:
                    yield b"".join(found)
                if has_ended:
                    subjects.remove(subject)
                    await subject.leave()
            if not subjects:
                return
            if not await waits.wait():
                yield PING


async def _of_tenant(call: _Call, seen: int) -> AsyncGenerator[bytes]:
    """Yields the tenant's events after the number that was seen, without end."""
    watch, permits = call.gateway.following.watch, call.gateway.access.permits
    bell, blocks = asyncio.Event(), Blocks()
    tenant_id, mode = call.principal.tenant_id, call.principal.mode
    async with watch.of_tenant(tenant_id, mode, bell) as shared:
        with permits.held(call.principal, bell) as permit, call.waits(bell) as waits:
            yield PING
            while not watch.closing.is_set():
                bell.clear()
                if (ended := await permits.judge(permit)) is not None:
                    yield call.farewell(blocks, ended)
                    return
                tail = shared.value
                if tail is not None and seen < tail.last:
                    kept = tail.after(seen)
                    events = kept or ()
                    if kept is None:  # the subscriber is further behind than the events kept in memory
                        read = call.gateway.db.read
                        events = tuple(await read(event_rows.after, tenant_id, mode, seen, limit=_PAGE))
                    if events:
                        yield b"".join([blocks.event(one, one.number) for one in events])
                        seen = events[-1].number
                    if events and kept is None:
                        continue
                if not await waits.wait():
                    yield PING
