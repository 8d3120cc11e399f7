"""A client of event streams, over bare ASGI: it sees each message as it comes, leaves, or stops reading.

The transports of HTTP clients for ASGI hand an answer out when it has ended, which a stream does not.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping, MutableMapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx2

from tests.harness import World, until


@dataclass(frozen=True)
class Message:
    """One message of a stream; a comment has neither of the first three."""

    id: int | None = None
    event: str | None = None
    data: dict[str, Any] | None = None
    comment: str | None = None

    @property
    def state(self) -> str | None:
        return None if self.data is None else self.data.get("state")


def parse(text: str) -> list[Message]:
    """The messages of a stream's text, of which the last one may be cut (and is not a message then).

    Every blank line ends a block with data; a comment is a line alone.
    """
    messages: list[Message] = []
    fields: dict[str, str] = {}
    for line in text.split("\n")[:-1]:
        if line.startswith(":"):
            assert not fields, "a comment within a block"
            messages.append(Message(comment=line.removeprefix(": ")))
        elif line:
            name, _, value = line.partition(": ")
            assert name in {"id", "event", "data", "retry"}, line
            fields[name] = value
        else:
            number = int(fields["id"]) if "id" in fields else None
            messages.append(Message(number, fields["event"], json.loads(fields["data"])))
            fields = {}
    return messages


def _set() -> asyncio.Event:
    event = asyncio.Event()
    event.set()
    return event


@dataclass
class Stream:
    """One call under way. `status` is 0 until the answer has begun."""

    path: str
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    ended: bool = False
    """By the server, in the regular way."""
    error: BaseException | None = None
    """What the application raised: a real server closes the connection then."""
    task: "asyncio.Task[None] | None" = None
    taken: int = 0
    _asked: bool = False
    _left: asyncio.Event = field(default_factory=asyncio.Event)
    _reads: asyncio.Event = field(default_factory=_set)

    @property
    def over(self) -> bool:
        """Whether the server is through with it, in whatever way."""
        return self.task is not None and self.task.done()

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def answer(self) -> httpx2.Response:
        """What came so far, as the answer to an HTTP client."""
        request = httpx2.Request("GET", f"http://gateway.test{self.path}")
        return httpx2.Response(self.status, headers=self.headers, content=self.body, request=request)

    @property
    def messages(self) -> list[Message]:
        """All that came so far, in order."""
        return parse(self.text)

    @property
    def events(self) -> list[Message]:
        """Those that have an id."""
        return [one for one in self.messages if one.id is not None]

    @property
    def states(self) -> list[str | None]:
        return [one.state for one in self.events]

    @property
    def pings(self) -> int:
        return sum(one.comment is not None for one in self.messages)

    async def has(self, count: int) -> None:
        """Wait for that many events."""
        await until(lambda: len(self.events) >= count or self.over)
        assert len(self.events) >= count, (self.status, self.text)

    async def next(self) -> Message:
        """The next message that has not been taken, of any kind."""
        self.taken += 1
        await until(lambda: len(self.messages) >= self.taken or self.over)
        assert len(self.messages) >= self.taken, (self.status, self.text)
        return self.messages[self.taken - 1]

    async def ends(self) -> None:
        """Wait for the end of what the server does for it."""
        await until(lambda: self.over)

    def stop_reading(self) -> None:
        """Take nothing more: whatever the server sends from now on waits, as it does in a full socket."""
        self._reads.clear()

    def read_on(self) -> None:
        """Take what waits, and all that comes."""
        self._reads.set()

    def leave(self) -> None:
        """Close the connection."""
        self._left.set()

    async def receive(self) -> dict[str, Any]:
        if not self._asked:
            self._asked = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await self._left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: MutableMapping[str, Any]) -> None:
        await self._reads.wait()
        if self._left.is_set():  # as uvicorn: what nobody hears is dropped
            return
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = {name.decode(): value.decode() for name, value in message["headers"]}
        elif message["type"] == "http.response.body":
            self.body += message.get("body", b"")
            self.ended = not message.get("more_body", False)


def begin(world: World, path: str, **headers: str) -> Stream:
    """Call with the world's key, or with other headers; `streaming` also sees to the end."""
    transport = world.client._transport
    assert isinstance(transport, httpx2.ASGITransport)
    edge: Any = transport.app
    address, _, query = path.partition("?")
    sent = {"host": "gateway.test", "authorization": world.client.headers["authorization"]}
    sent |= {name.replace("_", "-").lower(): value for name, value in headers.items()}
    scope: dict[str, Any] = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},  # as uvicorn says
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": address,
        "raw_path": address.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [(name.encode(), value.encode()) for name, value in sent.items()],
        "client": ("127.0.0.1", 1),
        "server": ("gateway.test", 80),
    }
    stream = Stream(path)

    async def call() -> None:
        try:
            await edge(scope, stream.receive, stream.send)
        except Exception as error:  # noqa: BLE001 - it belongs to the test
            stream.error = error

    stream.task = asyncio.get_running_loop().create_task(call())
    return stream


async def finish(*streams: Stream) -> None:
    """Leave, and wait for the server to notice."""
    for stream in streams:
        stream.leave()
        stream.read_on()
    for stream in streams:
        await stream.ends()


@asynccontextmanager
async def streaming(world: World, path: str, **headers: str | None) -> AsyncIterator[Stream]:
    """A call whose answer has begun; it is left at the block's end. A header that is None is not sent."""
    stream = begin(world, path, **{name: value for name, value in headers.items() if value is not None})
    try:
        await until(lambda: stream.status or stream.over)
        yield stream
    finally:
        await finish(stream)


def resuming(last: int | None) -> Mapping[str, str]:
    """The header that says which event was the last one."""
    return {} if last is None else {"last_event_id": str(last)}


async def moving(world: World, condition: Callable[[], object], *, step_s: float = 1.0) -> None:
    """Move the clock on, step by step, until something has come true."""

    def look() -> object:
        world.clock.advance(step_s)
        return condition()

    await until(look)
