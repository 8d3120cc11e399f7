"""Plain reads are answered early and in the same words; whatever is unusual takes the ordinary way."""

import asyncio
import random
import re
import socket
import struct
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from app.api.direct import has_direct
from app.auth import keys
from app.cli.serving import servers
from app.db.schema.tables import generations
from app.generations.following.recent import KEPT_MS
from app.generations.lifecycle import State
from app.generations.store import erase
from app.main import create_server_app
from app.server.fast.fast_protocol import FastProtocol
from app.server.fast.fast_submits import FastSubmits
from app.server.protocol import GuardedProtocol
from tests.client_tokens.pages import page
from tests.harness import World, settings_for, until
from tests.loops import skip
from tests.server.both_ways import KEEP_ALIVE_S, Line, Ways, both_ways

pytestmark = pytest.mark.anyio
VARYING = {"trace_id", "timestamp", "duration_ms"}


@pytest.fixture
async def ways(world: World) -> AsyncIterator[Ways]:
    async with both_ways(world) as opened:
        yield opened


def told(answer: tuple[bytes, list[bytes], bytes]) -> tuple[bytes, list[bytes], bytes]:
    """An answer without its trace id."""
    first, headers, body = answer
    named = [one.partition(b": ")[0] if one.startswith(b"reelgate-trace-id") else one for one in headers]
    return first, named, re.sub(rb'"trace_id":"[0-9a-f]{32}"', b"", body)


async def outcome(ways: Ways, way: str, request: bytes) -> list[Any]:
    """All that can be told of a request that is sent twice: the answers, the lines, what was counted."""
    gateway, refusals = ways.world.gateway, ways.world.app.state.refusals
    calls_before = ways.world.app.state.calls.totals()
    ways.lines.clear()
    refusals.clear()
    gateway.access.reads._tats_us.clear()
    gateway.access.calls._tats_us.clear()
    async with ways.connect(way) as line:
        answers = []
        for _ in range(2):
            answers.append(told(await ways.ask(line, request)))
            if b"connection: close" in answers[-1][1]:
                break
        await until(lambda: len(ways.lines) >= len(answers))
    lines = [{name: one[name] for name in one if name not in VARYING} for one in ways.lines]
    calls = ways.world.app.state.calls.totals() - calls_before
    counted = [gateway.access.reads._tats_us, gateway.access.calls._tats_us, refusals, calls]
    return [answers, lines, [list(one) for one in ways.lines], [dict(one) for one in counted]]


async def rows_of(world: World) -> dict[str, str]:
    """A request in every kind of state that a read tells apart."""
    live = await world.submitted("queued")
    done, failed, erased = [await world.submitted(one) for one in ("canned", "fail", "canned")]
    for one in (erased, done, failed):
        await world.finish(one)
    await world.gateway.db.write(_alone_is_old, erased)
    await world.gateway.db.write(erase, finished_before_ms=2, now_ms=3, limit=10)
    queued, unknown = await world.submitted("queued"), await world.submitted("queued")
    for one, state in ((queued, State.ACCEPTED), (unknown, State.UNKNOWN)):
        await world.gateway.db.write(_put, one, state)
    await world.status(live)
    return {
        "live": live,
        "done": done,
        "failed": failed,
        "erased": erased,
        "queued": queued,
        "unknown": unknown,
    }


def _alone_is_old(connection: Any, generation_id: str) -> None:
    connection.execute(update(generations).where(generations.c.id == generation_id).values(finished_at_ms=1))


def _put(connection: Any, generation_id: str, state: State) -> None:
    connection.execute(update(generations).where(generations.c.id == generation_id).values(state=state))


async def test_all_ways_say_log_and_count_the_same(ways: Ways, monkeypatch: pytest.MonkeyPatch) -> None:
    world = ways.world
    rows = await rows_of(world)
    other = await world.another_key(tenant="a stranger")
    no_read = await world.another_key(scopes=("submit",))
    token = (await page(world, request_id=rows["done"])).token
    places = [f"/v1/requests/{one}/{kind}" for one in rows.values() for kind in ("status", "result")]
    done = f"/v1/requests/{rows['done']}/status"
    etag = (await world.client.get(done)).headers["etag"]
    requests = [
        *map(ways.get, places),
        *(ways.get(done, key=key) for key in (token, other, no_read, "rg_test_nonsense")),
        ways.get(places[0], key=token),
        *(ways.get(done, *more) for more in ODD_HEADERS.values()),
        ways.get(done, f"If-None-Match: {etag}"),
        *(ways.get(path) for path in odd_paths(rows["done"])),
        *(change(ways.get(done)) for change in ODD_BYTES.values()),
    ]
    for request in requests:
        ordinary = await outcome(ways, "ordinary", request)
        assert await outcome(ways, "fast", request) == ordinary, request
        with monkeypatch.context() as patched:
            patched.setattr("app.server.edge.direct", lambda *_: None)  # as FastAPI answers it
            assert await outcome(ways, "ordinary", request) == ordinary, request
    assert ways.reads.answered > len(rows)


ODD_HEADERS: dict[str, tuple[str, ...]] = {
    "a page": ("Origin: https://page.test",),
    "waiting": ("Prefer: wait=1",),
    "strict": ("Prefer: handling=strict",),
    "traced": (f"traceparent: 00-{'a' * 32}-{'b' * 16}-01",),
    "traced in upper case": (f"Traceparent: 00-{'a' * 32}-{'b' * 16}-01",),
    "traced twice": (
        f"traceparent: 00-{'a' * 32}-{'b' * 16}-01",
        f"traceparent: 00-{'c' * 32}-{'b' * 16}-01",
    ),
    "no trace": (f"traceparent: 00-{'0' * 32}-{'b' * 16}-01",),
    "a trace of a version to come": (f"traceparent: 01-{'a' * 32}-{'b' * 16}-01-x",),
    "any tag": ("If-None-Match: *",),
    "a second key": ("Authorization: Bearer other",),
    "no host twice": ("Host: gateway.test",),
    "closing": ("Connection: close",),
    "upgrade": ("Connection: Upgrade", "Upgrade: websocket"),
    "a body": ("Content-Length: 0",),
    "unknown": ("X-Request-Id: 7",),
    "range": ("Range: bytes=0-1",),
    "opaque bytes": ("X-Name: \u00fc",),
}
ODD_BYTES: dict[str, Callable[[bytes], bytes]] = {
    "http 1.0": lambda one: one.replace(b"HTTP/1.1", b"HTTP/1.0"),
    "lower case": lambda one: one.replace(b"Authorization: Bearer", b"authorization: bearer"),
    "upper case": lambda one: one.replace(b"Host", b"HOST"),
    "blanks": lambda one: one.replace(b"Bearer ", b"Bearer   "),
    "line breaks before": lambda one: b"\r\n" + one,
    "no key": lambda one: one.replace(b"Authorization", b"X-Authorization"),
    "another scheme": lambda one: one.replace(b"Bearer", b"Basic"),
    "absolute": lambda one: one.replace(b"GET /", b"GET http://gateway.test/"),
    "put": lambda one: one.replace(b"GET", b"PUT", 1),
}


def odd_paths(request_id: str) -> list[str]:
    place = f"/v1/requests/{request_id}"
    return [
        f"{place}/status?wait=0",
        f"{place}/result?include_cost=true",
        f"{place}/status/",
        f"{place}//status",
        f"{place}/stat%75s",
        f"{place}/status#x",
        place,
        f"/v1/requests/{request_id.upper()}/status",
        f"/v1/requests/{'z' * 36}/status",
        f"/v1/requests/{request_id[:-1]}/status",
        f"/v1/requests/{request_id[:-4]}%2e%2e/status",
        "/v1/requests/00000000-0000-7000-8000-000000000000/status",
    ]


async def test_requests_in_pieces_and_in_pairs_are_answered_in_their_order(ways: Ways) -> None:
    request_id = await ways.world.submitted("queued")
    status, result = (ways.get(f"/v1/requests/{request_id}/{kind}") for kind in ("status", "result"))
    chance = random.Random()  # noqa: S311 - what is drawn matters to no outcome
    async with ways.connect("ordinary") as line:
        expected = [told(await ways.ask(line, one)) for one in (status, result)]
    async with ways.connect() as line:
        await ways.ask(line, status)  # its head is known now
        for _ in range(20):
            sent = status + result
            cuts = sorted(chance.sample(range(1, len(sent)), chance.randrange(4)))
            for begin, end in zip([0, *cuts], [*cuts, len(sent)], strict=True):
                line.send(sent[begin:end])
                if chance.random() < 0.5:
                    await asyncio.sleep(0)
            assert [told(await line.answer()) for _ in range(2)] == expected


async def test_a_callers_trace_is_its_own_in_every_read(ways: Ways) -> None:
    request_id = await ways.world.submitted("queued")
    async with ways.connect() as line:
        for digit in "abc":
            trace_id = digit * 32
            request = ways.get(
                f"/v1/requests/{request_id}/status", f"traceparent: 00-{trace_id}-{digit * 16}-01"
            )
            _, headers, _ = await ways.ask(line, request)
            assert f"reelgate-trace-id: {trace_id}".encode() in headers
            await until(lambda: ways.lines)
            assert ways.lines.pop()["trace_id"] == trace_id
    assert ways.reads.answered == 2


async def test_other_headers_in_the_place_of_a_trace_are_no_plain_read(ways: Ways) -> None:
    place = f"/v1/requests/{await ways.world.submitted('queued')}/status"
    traced = f"00-{'a' * 32}-{'b' * 16}-01"
    hidden = "0\r\nIf-None-Match: *\r\nX: "
    async with ways.connect() as line:
        for _ in range(2):
            await ways.ask(line, ways.get(place, f"traceparent: {traced}"))
        assert ways.reads.answered == 1
        smuggled = f"traceparent: {hidden.ljust(len(traced), '0')}"
        assert b" 304 " in (await ways.ask(line, ways.get(place, smuggled)))[0]
    assert ways.reads.answered == 1


async def fast(ways: Ways, line: Line, request: bytes) -> tuple[bytes, list[bytes], bytes]:
    """The answer to a request that must be answered fast."""
    before = ways.reads.answered
    answer = await ways.ask(line, request)
    assert ways.reads.answered == before + 1, answer
    return answer


async def test_a_change_is_seen_at_once_here_and_within_a_second_from_elsewhere(ways: Ways) -> None:
    world = ways.world
    request_id = await world.submitted("queued")
    request = ways.get(f"/v1/requests/{request_id}/status")
    async with ways.connect() as line:
        await ways.ask(line, request)
        assert b'"in_queue"' in (await fast(ways, line, request))[2]
        await world.gateway.db.write(_put, request_id, State.IN_PROGRESS)  # as another server, unannounced
        assert b'"in_queue"' in (await fast(ways, line, request))[2]
        world.clock.advance(KEPT_MS / 1000)
        assert b'"in_progress"' in (await ways.ask(line, request))[2]
        assert b'"in_progress"' in (await fast(ways, line, request))[2]
        await world.client.post(f"/v1/requests/{request_id}/cancel")
        assert b'"cancelled"' in (await fast(ways, line, request))[2]


async def test_an_output_that_was_erased_is_shown_no_more(ways: Ways) -> None:
    world = ways.world
    request_id = await world.submitted()
    await world.finish(request_id)
    await world.gateway.db.write(_alone_is_old, request_id)
    request = ways.get(f"/v1/requests/{request_id}/result")
    async with ways.connect() as line:
        await ways.ask(line, request)
        await fast(ways, line, request)
        assert await world.gateway.upkeep.retention.run_once()
        assert b" 410 " in (await ways.ask(line, request))[0]


async def test_a_revoked_key_is_refused_within_a_second(ways: Ways) -> None:
    world = ways.world
    request_id = await world.submitted("queued")
    key = await world.another_key()
    request = ways.get(f"/v1/requests/{request_id}/status", key=key)
    async with ways.connect() as line:
        await ways.ask(line, request)
        await fast(ways, line, request)
        presented = keys.parse(key)
        assert presented is not None
        await world.gateway.db.write(keys.revoke, presented.kid, now_ms=world.clock.now_ms())
        world.clock.advance(1)
        assert b" 401 " in (await ways.ask(line, request))[0]
        assert b" 401 " in (await ways.ask(line, request))[0]


async def test_a_job_that_is_due_is_looked_at(ways: Ways) -> None:
    world = ways.world
    request_id = await world.submitted("queued")
    request = ways.get(f"/v1/requests/{request_id}/status")
    async with ways.connect() as line:
        await ways.ask(line, request)
        await fast(ways, line, request)
        looked = world.sandbox.ledger()["calls"]["status"]
        world.clock.advance(world.gateway.settings.freshness_s)
        await ways.ask(line, request)
        assert world.sandbox.ledger()["calls"]["status"] == looked + 1


@pytest.mark.parametrize("world_settings", [{"reads_per_minute": 5}])
async def test_every_read_counts_in_the_limit(ways: Ways) -> None:
    request = ways.get(f"/v1/requests/{await ways.world.submitted('')}/status")
    async with ways.connect() as line:
        answers = [await ways.ask(line, request) for _ in range(7)]
    assert [one[0][9:12] for one in answers] == [b"200"] * 5 + [b"429"] * 2
    assert ways.reads.answered == 4


async def test_a_connection_without_requests_is_closed_in_time(ways: Ways) -> None:
    request = ways.get(f"/v1/requests/{await ways.world.submitted('')}/status")
    async with ways.connect() as line:
        for _ in range(3):
            await ways.ask(line, request)
            skip(KEEP_ALIVE_S - 1)
        assert ways.reads.answered == 2
        skip(1)
        assert await line.rest() == b""


async def test_a_server_that_is_about_to_stop_asks_for_the_connection_to_be_closed(ways: Ways) -> None:
    request = ways.get(f"/v1/requests/{await ways.world.submitted('queued')}/status")
    async with ways.connect() as line:
        await ways.ask(line, request)
        await fast(ways, line, request)
        ways.world.app.state.draining = True
        assert b"connection: close" in (await ways.ask(line, request))[1]
        assert await line.rest() == b""


async def test_a_port_of_another_application_is_left_to_it(ways: Ways) -> None:
    request = ways.get(f"/v1/requests/{await ways.world.submitted('queued')}/status")
    ways.reads.other_port = ways.ports["fast"]
    async with ways.connect() as line:
        for _ in range(3):
            await ways.ask(line, request)
    assert ways.reads.answered == 0


async def test_an_application_without_these_routes_has_no_such_reads(world: World) -> None:
    probes, _ = create_server_app(world.gateway.settings, probes_only=True)
    assert not has_direct(probes)
    assert has_direct(world.app)


class Held:
    """Rows that are not read before they are let go."""

    def __init__(self, ways: Ways, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: list[asyncio.Future[Any]] = []
        monkeypatch.setattr(ways.reads, "fetch", self._fetch)

    def _fetch(self, _: object) -> "asyncio.Future[Any]":
        self.asked.append(asyncio.get_running_loop().create_future())
        return self.asked[-1]


async def held_read(ways: Ways, line: Line, monkeypatch: pytest.MonkeyPatch) -> tuple[Held, bytes]:
    """A plain read that waits for its row."""
    request = ways.get(f"/v1/requests/{await ways.world.submitted('')}/status")
    await ways.ask(line, request)
    held = Held(ways, monkeypatch)
    line.send(request)
    await until(lambda: held.asked)
    return held, request


async def test_whatever_happens_while_a_row_is_read_the_answer_is_given_once(
    ways: Ways, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with ways.connect() as line:
        held, request = await held_read(ways, line, monkeypatch)
        line.send(request)  # another request behind it
        first, second = await line.answer(), await line.answer()
        assert told(first) == told(second)
        held.asked[0].set_result(None)  # too late for the request that waited for it
        line.send(request)
        await until(lambda: len(held.asked) == 2)
        held.asked[1].set_result(None)  # it cannot be read together with others
        assert told(await line.answer()) == told(first)
        line.send(request)
        await until(lambda: len(held.asked) == 3)
        line.writer.write_eof()
        assert (await line.rest()).count(b"HTTP/1.1 200 OK") == 1


async def test_a_server_that_stops_answers_first_and_then_closes(
    ways: Ways, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with ways.connect() as line:
        await held_read(ways, line, monkeypatch)
        for connection in ways.connections:
            connection.shutdown()
        said = await line.rest()
        assert said.startswith(b"HTTP/1.1 200 OK")
        assert b"connection: close" in said


async def test_who_has_just_connected_to_a_server_that_stops_is_answered_and_who_is_idle_is_closed(
    ways: Ways,
) -> None:
    request = ways.get(f"/v1/requests/{await ways.world.submitted('')}/status")
    async with ways.connect() as idle, ways.connect() as new:
        await ways.ask(idle, request)
        await until(lambda: len(ways.connections) == 2)
        ways.world.app.state.draining = True
        for connection in ways.connections:
            connection.shutdown()
        assert await idle.rest() == b""
        new.send(request)
        assert b"connection: close" in await new.rest()


async def test_a_client_who_leaves_before_its_row_was_read_is_logged(
    ways: Ways, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with ways.connect() as line:
        held, _ = await held_read(ways, line, monkeypatch)
        ways.lines.clear()
        at_once = struct.pack("ii", 1, 0)
        line.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, at_once)
        line.writer.transport.abort()  # without a word of farewell
        await until(lambda: ways.lines)
        held.asked[0].set_result(None)
    (logged,) = ways.lines
    assert logged["event"] == "The client left before it was answered."
    assert logged["tenant"] == ways.world.tenant_id


@pytest.mark.parametrize(("chosen", "protocol"), [(True, FastProtocol), (False, GuardedProtocol)])
def test_the_setting_chooses_the_protocol(
    chosen: bool, protocol: type[GuardedProtocol], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    served: list[Any] = []
    monkeypatch.setattr(servers, "run_until_stopped", lambda server, _: served.append(server.config.http))
    settings = settings_for("sqlite:///unused.db", tmp_path, "http://127.0.0.1:1", fast_reads=chosen)
    servers._serve(settings, 1, servers.Listening(), on_start=lambda: None)
    monkeypatch.setattr(servers, "is_on", lambda: True)
    servers._serve(settings, 1, servers.Listening(), on_start=lambda: None)
    assert [one.func for one in served] == [protocol, protocol]
    submits = [one for made in served for one in made.args if isinstance(one, FastSubmits)]
    assert len(submits) == chosen  # a submit whose spans are told takes the ordinary way
