"""Plain submits are answered early, once and in the same words; what is unusual takes the ordinary way."""

import asyncio
import json
import re
import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any

import pytest
from sqlalchemy import Connection, select

from app.auth import keys
from app.db.schema.tables import generations
from app.errors import Problem
from app.generations.submit.submitter import Submission, Submitter
from tests.client_tokens.pages import page
from tests.harness import SUBMIT, World, until
from tests.loops import skip
from tests.quotas.accounts import limited
from tests.server.both_ways import KEEP_ALIVE_S, Line, Ways, both_ways

pytestmark = pytest.mark.anyio
Made = Callable[[Ways, bytes], bytes]
VARYING = {"trace_id", "timestamp", "duration_ms", "exception"}
OWN = {"id", "upstream_request_id", "trace_id", "idempotency_key", "fingerprint", "input", "quota_day"}
IDS = re.compile(rb"[0-9a-f]{8}-[0-9a-f-]{27}|[0-9a-f]{32}|job-[0-9]+")
TRACED = f"traceparent: 00-{'a' * 32}-{'b' * 16}-01"
ON_ONE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
"""For what has nothing to do with the kind of database."""
MARK = "MARK"
"""Stands for what is told apart from all other submits, in headers."""


@pytest.fixture
async def ways(world: World) -> AsyncIterator[Ways]:
    async with both_ways(world) as opened:
        yield opened


def usual(*headers: str) -> Made:
    return lambda ways, body: ways.post(SUBMIT, body, *headers)


def of(path: str) -> Made:
    return lambda ways, body: ways.post(path, body)


def holding(body: bytes) -> Made:
    return lambda ways, _: ways.post(SUBMIT, body)


def but(old: str, new: str) -> Made:
    """A submit of whose bytes some are others."""
    return lambda ways, body: ways.post(SUBMIT, body).replace(old.encode(), new.encode(), 1)


def told(directive: str) -> Made:
    """A submit that RunComfy answers as it is told to."""
    return lambda ways, body: ways.post(SUBMIT, body.replace(b":queued]", f":{directive}]".encode()))


def chunked(ways: Ways, body: bytes) -> bytes:
    head = ways.post(SUBMIT, b"").replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")
    return head + b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)


def padded(ways: Ways, body: bytes) -> bytes:
    """A submit whose body is larger than what is answered fast."""
    return ways.post(SUBMIT, body + b" " * 70_000)


SHORT: dict[str, Made] = {
    "plain": usual(),
    "traced": usual(TRACED),
    "repeated": usual(f"Idempotency-Key: {MARK}"),
    "refused by RunComfy": told("reject=422"),
    "unknown": told("malformed"),
    "a wrong input": holding(b'{"prompt": 1}'),
    "no object": holding(b"[]"),
    "closing": usual("Connection: close"),
}
MORE: dict[str, Made] = {
    "a page in place of an answer": told("status=400"),
    "no JSON": holding(b"{"),
    "no body": holding(b""),
    "no UTF-8": holding(b'{"prompt": "\xff"}'),
    "another type": but("application/json", "text/plain"),
    "another charset": but("application/json", "application/json; charset=latin-1"),
    "a charset": but("application/json", "application/json; charset=utf-8"),
    "no type": but("Content-Type", "X-Type"),
    "zipped": usual("Content-Encoding: gzip"),
    "chunked": chunked,
    "padded": padded,
    "too large": lambda ways, _: ways.post(SUBMIT, b'"' + b" " * 1_100_000 + b'"'),
    "waiting": usual("Prefer: wait=0"),
    "a page": usual("Origin: https://page.test"),
    "expecting": usual("Expect: 100-continue"),
    "upgrading": usual("Connection: Upgrade", "Upgrade: websocket"),
    "a start deadline": usual("Reelgate-Start-Deadline: 60"),
    "a wrong deadline": usual("Reelgate-Start-Deadline: soon"),
    "copies": usual("Reelgate-Keep-Output: 60"),
    "no endpoint": usual("Reelgate-Webhook: ep_1"),
    "a wrong key of repetition": usual('Idempotency-Key: "'),
    "two of them": usual("X-One: 1", "X-One: 2"),
    "two traces": usual(TRACED, f"traceparent: 00-{'c' * 32}-{'d' * 16}-01"),
    "no trace": usual("traceparent: nonsense"),
    "a program": usual("User-Agent: robot/7 (of ours)"),
    "a proxy's word": usual("X-Forwarded-For: 192.0.2.7"),
    "opaque bytes": usual("X-Name: \u00fc"),
    "http 1.0": but("HTTP/1.1", "HTTP/1.0"),
    "lower case": but("Authorization: Bearer", "authorization: bearer"),
    "no key": but("Authorization", "X-Authorization"),
    "an unknown key": but("Bearer ", "Bearer x"),
    "absolute": but("POST /", "POST http://gateway.test/"),
    "put": but("POST", "PUT"),
    "a query": of(f"{SUBMIT}?wait=0"),
    "a slash more": of(f"{SUBMIT}/"),
    "two slashes": of(SUBMIT.replace("/v1/", "/v1//")),
    "percent": of(SUBMIT.replace("video", "vide%6f")),
    "no such model": of("/v1/models/nobody/has/this"),
    "no model": of("/v1/models/"),
}


def rows_since(connection: Connection, seen: set[str]) -> list[dict[str, Any]]:
    """The rows that were made, without what differs from row to row; moments count from their submit."""
    found = []
    for row in connection.execute(select(generations).order_by(generations.c.id)).mappings():
        if row["id"] not in seen:
            seen.add(row["id"])
            began = row["created_at_ms"]
            moments = {one: row[one] - began for one in row if one.endswith("_ms") and row[one]}
            plain = {one: row[one] for one in row if one not in OWN and one not in moments}
            found.append({one: IDS.sub(b"", str(plain[one]).encode()) for one in plain} | moments)
    return found


async def outcome(ways: Ways, way: str, made: Made, seen: set[str], *, times: int = 1) -> list[Any]:
    """All that can be told of a submit: the answers, the lines, what was counted, and what is stored."""
    world = ways.world
    refusals, calls = world.app.state.refusals, world.app.state.calls
    body = json.dumps(world.body("queued")).encode()
    request = made(ways, body).replace(MARK.encode(), world.marks[-1].encode())
    world.clock.advance(60)  # so that as many submits are left in each minute
    with suppress(Problem):
        await world.gateway.access.authenticator.authenticate(_key_in(request))
    before = calls.totals()
    ways.lines.clear()
    refusals.clear()
    answers = []
    async with ways.connect(way) as line:
        for _ in range(times):
            first, headers, content = await ways.ask(line, request)
            if b" 100 " in first:
                first, headers, content = await line.answer()
            answers.append([first, [IDS.sub(b"", one) for one in headers], IDS.sub(b"", content)])
        await until(lambda: [one for one in ways.lines if "duration_ms" in one or "reason" in one])
    lines = [
        (list(one), {name: IDS.sub(b"", str(one[name]).encode()) for name in one if name not in VARYING})
        for one in ways.lines
    ]
    stored = await world.gateway.db.read(rows_since, seen)
    received = [one["recorded"] for one in world.received()]
    return [answers, lines, dict(refusals), dict(calls.totals() - before), stored, received]


def _key_in(request: bytes) -> str:
    found = re.search(rb"earer (\S+)", request)
    return found[1].decode() if found else ""


async def compare(ways: Ways, cases: dict[str, Made]) -> None:
    seen: set[str] = set()
    await ways.world.gateway.db.read(rows_since, seen)
    for name, made in cases.items():
        times = 2 if name == "repeated" else 1
        ordinary = await outcome(ways, "ordinary", made, seen, times=times)
        found = await outcome(ways, "fast", made, seen, times=times)
        differs = [(one, other) for one, other in zip(found, ordinary, strict=True) if one != other]
        assert differs == [], name


async def test_both_ways_answer_log_count_store_and_send_the_same(ways: Ways) -> None:
    await compare(ways, SHORT)
    assert ways.submits.taken == len(SHORT)  # "repeated" came twice, and "no object" was left


@pytest.mark.deep
async def test_submits_of_every_kind_are_answered_alike_by_both_ways(ways: Ways) -> None:
    world = ways.world
    foreign, no_submit, no_model = (
        await world.another_key(tenant="a stranger"),
        await world.another_key(scopes=("read",)),
        await world.another_key(models=["nobody/has-this"]),
    )
    token = (await page(world)).token
    callers = [foreign, no_submit, no_model, token]
    await compare(ways, MORE | {one: but(world.key, one) for one in callers})
    await limited(world, "submits-minute=1")
    await compare(ways, {"the last": usual()})
    await limited(world, "generations-total=1")
    await compare(ways, {"no more": usual(), "no more of a key": usual(f"Idempotency-Key: {MARK}")})


@ON_ONE
@pytest.mark.parametrize("directive", ["queued", "reject=422"])
async def test_answer_lines_and_record_have_one_trace_however_the_submit_ends(
    ways: Ways, directive: str
) -> None:
    body = json.dumps(ways.world.body(directive)).encode()
    async with ways.connect() as line:
        for headers in ((), (TRACED,)):
            ways.lines.clear()
            _, sent, _ = await fast(ways, line, ways.post(SUBMIT, body, *headers))
            await until(lambda: [one for one in ways.lines if "duration_ms" in one])
            told_of = {one.partition(b": ")[2].decode() for one in sent if b"trace-id" in one}
            assert told_of == {one["trace_id"] for one in ways.lines}
            (trace_id,) = told_of
            assert trace_id in await ways.world.gateway.db.read(traces)
    assert trace_id == "a" * 32


def traces(connection: Connection) -> list[str]:
    return list(connection.scalars(select(generations.c.trace_id)))


async def fast(ways: Ways, line: Line, request: bytes) -> tuple[bytes, list[bytes], bytes]:
    """The answer to a submit that must be answered fast."""
    before = ways.submits.taken
    await ways.world.gateway.access.authenticator.authenticate(ways.world.key)
    answer = await ways.ask(line, request)
    assert ways.submits.taken == before + 1, answer
    return answer


def plain(ways: Ways, *headers: str) -> bytes:
    return ways.post(SUBMIT, json.dumps(ways.world.body("queued")).encode(), *headers)


class Held:
    """Submits whose answer is held back."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun = 0
        self.let_go = asyncio.Event()
        whole = Submitter.submit

        async def submit(*args: Any, **more: Any) -> Submission:
            self.begun += 1
            submission = await whole(*args, **more)
            await self.let_go.wait()
            return submission

        monkeypatch.setattr(Submitter, "submit", submit)


@ON_ONE
async def test_a_submit_in_pieces_or_behind_another_is_made_once_and_answered_in_its_order(
    ways: Ways,
) -> None:
    request = plain(ways)
    async with ways.connect() as line:
        await fast(ways, line, request)
        for cut in (10, request.index(b"\r\n\r\n") + 4, len(request) - 1):
            line.send(request[:cut])
            await asyncio.sleep(0)
            assert b" 200 " in (await ways.ask(line, request[cut:]))[0]
        status = ways.get(f"/v1/requests/{'0' * 36}/status")
        line.send(request + status + request)
        assert [(await line.answer())[0][9:12] for _ in range(3)] == [b"200", b"404", b"200"]
    assert len(ways.world.received()) == 6


@ON_ONE
async def test_who_leaves_while_a_submit_is_under_way_has_submitted_and_the_log_says_both(
    ways: Ways, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = plain(ways)
    held = Held(monkeypatch)
    await ways.world.gateway.access.authenticator.authenticate(ways.world.key)
    async with ways.connect() as line:
        line.send(request)
        await until(lambda: held.begun)
        at_once = struct.pack("ii", 1, 0)
        line.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, at_once)
        line.writer.transport.abort()
        await until(lambda: not ways.connections)
        held.let_go.set()
        await until(lambda: [one for one in ways.lines if "duration_ms" in one])
    assert ways.submits.taken == 1
    assert ways.lines[-1]["event"] == "The client left before it was answered."
    assert ways.lines[-1]["tenant"] == ways.world.tenant_id
    assert len(ways.world.received()) == 1


@ON_ONE
@pytest.mark.parametrize("what", ["stops", "half closes", "drains"])
async def test_a_submit_under_way_is_answered_before_its_connection_ends(
    ways: Ways, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    request = plain(ways)
    held = Held(monkeypatch)
    await ways.world.gateway.access.authenticator.authenticate(ways.world.key)
    async with ways.connect() as line:
        line.send(request)
        await until(lambda: held.begun)
        if what == "stops":
            for connection in ways.connections:
                connection.shutdown()
        elif what == "half closes":
            line.writer.write_eof()
            await until(lambda: all(one._half_closed for one in ways.connections))
        else:
            ways.world.app.state.draining = True
        held.let_go.set()
        said = await line.rest()
    assert ways.submits.taken == 1
    assert said.startswith(b"HTTP/1.1 200 OK")
    assert b"connection: close" in said


@ON_ONE
async def test_a_connection_is_kept_after_a_submit_for_as_long_as_after_any_call(ways: Ways) -> None:
    request = plain(ways)
    async with ways.connect() as line:
        for _ in range(2):
            await fast(ways, line, request)
            skip(KEEP_ALIVE_S - 1)
        skip(1)
        assert await line.rest() == b""


@ON_ONE
async def test_a_fault_of_our_own_is_answered_and_logged_alike(
    ways: Ways, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object, **__: object) -> None:
        raise ValueError

    monkeypatch.setattr(Submitter, "submit", broken)
    ordinary = await outcome(ways, "ordinary", usual(), set())
    assert await outcome(ways, "fast", usual(), set()) == ordinary
    assert b" 500 " in ordinary[0][0][0]
    assert ways.submits.taken == 1


@ON_ONE
async def test_a_revoked_key_submits_no_more_after_a_second(ways: Ways) -> None:
    world = ways.world
    async with ways.connect() as line:
        await fast(ways, line, plain(ways))
        presented = keys.parse(world.key)
        assert presented is not None
        await world.gateway.db.write(keys.revoke, presented.kid, now_ms=world.clock.now_ms())
        world.clock.advance(1)
        assert b" 401 " in (await ways.ask(line, plain(ways)))[0]


@ON_ONE
async def test_a_port_of_another_application_is_left_to_it(ways: Ways) -> None:
    ways.reads.other_port = ways.ports["fast"]
    async with ways.connect() as line:
        for _ in range(2):
            await ways.ask(line, plain(ways))
    assert ways.submits.taken == 0
