"""Long uploads are read past the parser: whole, in bounded memory, and without harm to what follows."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import Never

import pytest
from starlette.types import Receive, Send

from app.api.multipart import AROUND_FILE
from app.server.long_body import BUFFER_BYTES, LongBody
from app.server.protocol import GuardedProtocol
from tests.harness import until
from tests.patience import PATIENCE_S
from tests.server.test_protocol import GET, App, _answer, answers_in, refusal_in, serving

pytestmark = pytest.mark.anyio

LAST = GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
LENGTH = 3 * BUFFER_BYTES + 12_345


def upload(body: bytes, query: bytes = b"") -> bytes:
    return b"POST /v1/files%s HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % (query, len(body)) + body


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of all pieces that the parser is given."""
    sizes: list[int] = []
    receive = GuardedProtocol._receive

    def counted(self: GuardedProtocol, data: bytes | memoryview) -> None:
        sizes.append(len(data))
        receive(self, data)

    monkeypatch.setattr(GuardedProtocol, "_receive", counted)
    return sizes


async def test_it_arrives_whole_and_what_follows_it_on_its_connection_is_answered(parsed: list[int]) -> None:
    one, other = os.urandom(LENGTH), os.urandom(LENGTH + 1)
    async with serving() as place:
        said = await place.talk(upload(one) + GET + upload(other) + LAST)
    answers = answers_in(said)
    assert [status for status, _, _ in answers] == [200] * 4
    assert [got for _, _, got in answers] == [b"seen " + body for body in (one, b"", other, b"")]
    assert sum(parsed) < LENGTH  # of two such bodies


async def test_what_a_part_holds_is_never_more_than_the_buffer(monkeypatch: pytest.MonkeyPatch) -> None:
    parts: list[int] = []

    async def measured(receive: Receive, send: Send) -> None:
        more = True
        while more:
            message = await receive()
            parts.append(len(message["body"]))
            more = message["more_body"]
            await asyncio.sleep(0.01)  # while the client goes on sending
        await _answer(send, b"measured", (b"connection", b"close"))

    special(monkeypatch, measured)
    async with serving() as place:
        assert [one[0] for one in answers_in(await place.talk(upload(bytes(LENGTH))))] == [200]
    assert (sum(parts), max(parts)) == (LENGTH, BUFFER_BYTES)


async def test_its_beginning_is_passed_on_as_it_arrives_as_far_as_fields_of_a_form_go(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def beginning(receive: Receive, send: Send) -> None:
        taken = 0
        while taken < AROUND_FILE - 1:
            taken += len((await receive())["body"])
        await _answer(send, b"refused", (b"connection", b"close"))

    special(monkeypatch, beginning)
    whole = upload(bytes(LENGTH))
    async with serving() as place:
        said = await place.talk(whole[: len(whole) - LENGTH + AROUND_FILE - 1])
    assert [(status, got) for status, _, got in answers_in(said)] == [(200, b"refused")]


async def test_what_is_answered_before_its_end_is_dropped_and_the_next_request_answered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def part(receive: Receive, send: Send) -> None:
        taken = 0
        while taken < BUFFER_BYTES:
            taken += len((await receive())["body"])
        await _answer(send, b"enough")

    special(monkeypatch, part)
    async with serving() as place:
        said = await place.talk(upload(bytes(LENGTH)) + LAST)
    assert [(status, got) for status, _, got in answers_in(said)] == [(200, b"enough"), (200, b"seen ")]


async def test_whoever_ends_its_sending_within_it_is_refused() -> None:
    async with serving() as place, place.connect() as (reader, writer):
        writer.write(upload(bytes(LENGTH))[:-1])
        writer.write_eof()
        async with asyncio.timeout(PATIENCE_S):
            refusal_in(await reader.read(), 400, "malformed_request")
        assert (place.app.seen, place.app.disconnected) == ([], 1)


async def test_whoever_stops_sending_within_it_is_refused_in_time() -> None:
    async with serving(body_s=0.3) as place:
        refusal_in(await place.talk(upload(bytes(LENGTH))[:-1]), 408, "request_timeout")
        assert (place.app.seen, place.app.disconnected) == ([], 1)


async def test_the_application_hears_that_the_client_has_left_within_it() -> None:
    async with serving() as place:
        async with place.connect() as (_, writer):
            writer.write(upload(bytes(LENGTH))[:-1])
            await writer.drain()
            writer.transport.abort()
        await until(lambda: place.app.disconnected == 1)
        assert place.app.seen == []


async def test_an_end_that_nobody_waited_for_is_told_once() -> None:
    class Cycle:
        body, more_body, disconnected, response_complete = b"", True, False, False
        message_event = asyncio.Event()

    class Flow:
        def resume_reading(self) -> None:
            pass

        pause_reading = resume_reading

    def end() -> None:
        cycle.more_body = False
        cycle.message_event.set()

    async def nothing() -> Never:
        raise AssertionError("it has a part")

    cycle = Cycle()
    rest = LongBody(asyncio.Protocol(), Flow(), cycle, BUFFER_BYTES, on_read=lambda _: None, on_end=end)
    while cycle.more_body:
        rest.buffer_updated(len(rest.get_buffer(-1)))
    part = await rest.receive(nothing)
    assert (len(part["body"]), part["more_body"]) == (BUFFER_BYTES, False)
    assert not cycle.message_event.is_set(), "whoever asks again waits until the client leaves"


def special(monkeypatch: pytest.MonkeyPatch, answer: Callable[[Receive, Send], Awaitable[None]]) -> None:
    """Has this answer uploads."""
    monkeypatch.setattr(App, "specials", lambda _: {"/v1/files": answer})
