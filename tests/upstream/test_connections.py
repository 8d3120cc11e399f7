"""Connections to RunComfy: what a death at each byte proves, and what is opened ahead, kept and dropped."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import uvloop

from app.upstream import client
from app.upstream.answer import Answer
from app.upstream.client import SUBMIT_CAP_BYTES, Upstream
from app.upstream.outcomes import Exchange, Sent, Verdict, judge_submit
from tests import chaos as wire
from tests.chaos import GOOD, JOB, Behaviour, Chaos, answer, chaos, response
from tests.console.network import HOST
from tests.loops import skip
from tests.upstream.relay import Proxy, runcomfy

pytestmark = pytest.mark.anyio
BODY = b'{"prompt":"a boat"}'
LONG_S = 20.0
CHUNKED = (
    b"HTTP/1.1 103 Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    b'7;x="y"\r\n{"reque\r\n14\r\nst_id":"chaos-job-1"\r\n1\r\n}\r\n0\r\nRetry-After: 9\r\n\r\n'
)


@asynccontextmanager
async def upstream_of(server: Chaos) -> AsyncIterator[Upstream]:
    async with Upstream(base_url=server.url, token="t", read_deadline_s=LONG_S) as one:
        yield one


async def verdict_of(upstream: Upstream) -> tuple[Sent, Verdict]:
    exchange = await upstream.submit("a/b", BODY, deadline_s=LONG_S)
    return exchange.sent, judge_submit(exchange, now_ms=0).verdict


async def until(is_so: Callable[[], object]) -> None:
    while not is_so():  # noqa: ASYNC110 - a server's end of a connection tells nobody
        await asyncio.sleep(0.001)


async def rest() -> None:
    """Both ends are in this loop, and the kernel is at once: what has begun comes to its end."""
    for _ in range(200):
        await asyncio.sleep(0)


def _has(server: Chaos, connections: int) -> bool:
    return server.connections == connections


# --- death at each byte


@pytest.mark.parametrize("raw", [GOOD, CHUNKED], ids=["a length", "chunks"])
@pytest.mark.parametrize("cut", [answer, wire.answer_then_reset], ids=["closed", "reset"])
async def test_an_answer_that_dies_at_any_byte_before_its_last_is_unknown(
    raw: bytes, cut: Callable[[bytes], Behaviour]
) -> None:
    places = range(len(raw))
    async with chaos(*[cut(raw[:at]) for at in places], answer(raw)) as server, upstream_of(server) as one:
        for at in places:
            assert await verdict_of(one) == (Sent.BODY, Verdict.UNKNOWN), raw[:at]
        assert await verdict_of(one) == (Sent.BODY, Verdict.ACCEPTED)
        assert server.bodies == [BODY] * (len(raw) + 1)


async def test_a_connection_that_dies_at_any_byte_of_a_request_never_proves_that_it_was_not_sent() -> None:
    size = 180  # of the head and a part of the body
    behaviours = [wire.fin_after_bytes(at) for at in range(1, size)]
    async with chaos(*behaviours) as server, upstream_of(server) as one:
        for _ in behaviours:
            assert await verdict_of(one) == (Sent.BODY, Verdict.UNKNOWN)
        assert server.connections == len(behaviours)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_an_answer_is_the_same_however_its_bytes_arrive(size: int) -> None:
    one = Answer(100)
    for at in range(0, len(CHUNKED), size):
        one.receive(CHUNKED[at : at + size])
    assert (one.status, one.complete, one.keeps_connection, one.failure) == (200, True, True, "")
    assert bytes(one.body) == b'{"request_id":"chaos-job-1"}'
    assert one.headers == {"transfer-encoding": "chunked"}  # nothing from before its head or after its body


def test_an_answer_up_to_the_cap_is_taken_and_one_byte_more_is_too_large() -> None:
    for size, complete, failure in ((100, True, ""), (101, False, "too_large")):
        one = Answer(100)
        one.receive(response(200, b"x" * size))
        assert (one.complete, one.failure) == (complete, failure)
        assert len(one.body) <= 101


def test_frames_without_an_end_are_too_large_though_the_body_is_small() -> None:
    one = Answer(100)
    one.receive(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    for _ in range(100):
        one.receive(b"1;" + b"x" * 1000 + b"\r\nx\r\n")
    assert one.failure == "too_large"


@pytest.mark.parametrize("more", [GOOD, GOOD[:10], GOOD[:1], b"and more", b"\r\n", b"\r\nH"])
def test_bytes_behind_an_answer_change_nothing_of_it(more: bytes) -> None:
    together, apart = Answer(200), Answer(200)
    together.receive(GOOD + more)
    apart.receive(GOOD)
    apart.receive(more)
    for one in (together, apart):
        assert (one.status, one.complete, one.failure) == (200, True, "")
        assert bytes(one.body) == GOOD.partition(b"\r\n\r\n")[2]
    assert not apart.keeps_connection
    assert not together.keeps_connection or not more.strip(), (
        "what follows would be taken for the next answer"
    )


# --- opened ahead


async def test_a_submit_takes_the_connection_that_was_opened_for_it_and_uses_it_once() -> None:
    async with chaos(wire.answer_then_hang(GOOD)) as server, upstream_of(server) as one:
        for number in (1, 2):
            one.expect_submit()
            await until(partial(_has, server, number))
            assert await verdict_of(one) == (Sent.BODY, Verdict.ACCEPTED)
        assert (server.connections, server.bodies) == (2, [BODY, BODY])


@pytest.mark.parametrize("end", [wire.fin_on_accept, wire.reset_on_accept], ids=["closed", "reset"])
async def test_one_that_died_before_it_was_used_is_replaced_and_nothing_is_sent_twice(end: Behaviour) -> None:
    async with chaos(end, end, answer(GOOD)) as server, upstream_of(server) as one:
        one.expect_submit()
        one.expect_submit()
        await until(lambda: server.connections == 2)
        await rest()
        assert await verdict_of(one) == (Sent.BODY, Verdict.ACCEPTED)
        assert (server.connections, server.bodies) == (3, [BODY])


async def test_one_that_could_not_be_opened_ahead_proves_nothing_about_the_submit() -> None:
    async with chaos(answer(GOOD)) as server:
        port, url = int(server.url.rpartition(":")[2]), server.url
    async with Upstream(base_url=url, token="t", read_deadline_s=LONG_S) as one:
        one.expect_submit()
        await rest()
        async with chaos(answer(GOOD), port=port) as again:
            assert await verdict_of(one) == (Sent.BODY, Verdict.ACCEPTED)
            assert again.bodies == [BODY]


async def test_a_host_with_a_name_is_reached_at_whichever_of_its_addresses_listens() -> None:
    async with chaos(answer(GOOD)) as server:
        url = server.url.replace("127.0.0.1", "localhost")  # which may be ::1 first, where nobody listens
        async with Upstream(base_url=url, token="t", read_deadline_s=LONG_S) as one:
            assert await verdict_of(one) == (Sent.BODY, Verdict.ACCEPTED)
        assert b"\r\nHost: localhost:" in server.heads[0]


async def test_one_that_is_opened_as_its_submit_is_given_up_is_closed() -> None:
    async with chaos(wire.hang_on_accept) as server, upstream_of(server) as one:
        one.expect_submit()
        ((_, opening),) = one._for_submits._begun
        submit = asyncio.create_task(one.submit("a/b", BODY, deadline_s=LONG_S))
        opening.add_done_callback(lambda _: submit.cancel())
        await asyncio.wait({submit})
        assert submit.cancelled()
        transport = opening.result()._transport
        assert transport is not None
        assert transport.is_closing()


async def test_those_that_nobody_came_for_are_few_and_dropped_after_a_moment() -> None:
    left: list[int] = []

    async def wait(one: wire.Wire) -> None:
        await one.reader.read()
        left.append(1)

    async with chaos(wait) as server, upstream_of(server) as one:
        for _ in range(100):
            one.expect_submit()
        await until(lambda: server.connections == 16)
        skip(4.1)
        await until(lambda: len(left) == 16)
        assert server.connections == 16


# --- kept for reads


async def test_reads_share_a_connection_until_its_end_which_costs_no_read() -> None:
    status = response(200, {"status": "in_progress"})

    async def three(one: wire.Wire) -> None:
        for _ in range(3):
            await one.request()
            await one.send(status)

    async with chaos(three) as server, upstream_of(server) as one:
        for number in range(12):
            exchange = await one.status(JOB)
            assert (exchange.complete, exchange.failure) == (True, "")
            assert server.connections == 1 + number // 3


@pytest.mark.parametrize(
    "raw",
    [response(200, {}, "Connection: close"), response(200, {}) + b"more", b"HTTP/1.0 200 OK\r\n\r\n{}"],
    ids=["says close", "more than an answer", "HTTP/1.0"],
)
async def test_a_connection_in_doubt_is_not_used_again(raw: bytes) -> None:
    is_open = b"1.0" not in raw
    behaviour = wire.answer_then_hang(raw) if is_open else answer(raw)
    async with chaos(behaviour) as server, upstream_of(server) as one:
        for number in (1, 2, 3):
            assert (await one.status(JOB)).complete
            assert server.connections == number


async def test_an_answer_in_hand_survives_a_cancellation(monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be a paid job's. Whoever has it meets the cancellation at its next wait."""
    taken: list[Exchange] = []
    complete = Answer.on_message_complete

    async with chaos(wire.answer_then_hang(GOOD)) as server, upstream_of(server) as one:

        async def work() -> None:
            taken.append(await one.submit("a/b", BODY, deadline_s=LONG_S))
            await asyncio.sleep(LONG_S)

        task = asyncio.create_task(work())

        def completed(self: Answer) -> None:
            complete(self)
            task.cancel()

        monkeypatch.setattr(Answer, "on_message_complete", completed)
        await asyncio.wait({task})
        assert task.cancelled()
        assert [judge_submit(one, now_ms=0).verdict for one in taken] == [Verdict.ACCEPTED]


async def test_an_error_of_our_own_while_an_answer_is_read_is_evidence_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(_: Answer, _data: bytes) -> bool:
        raise LookupError

    async with chaos(wire.answer_then_hang(GOOD)) as server, upstream_of(server) as one:
        monkeypatch.setattr(Answer, "receive", broken)
        exchange = await one.submit("a/b", BODY, deadline_s=LONG_S)
    assert (exchange.sent, exchange.complete, exchange.failure) == (Sent.BODY, False, "LookupError")


async def test_an_answer_over_the_cap_is_cut_off() -> None:
    too_large = response(200, b"x" * (SUBMIT_CAP_BYTES + 1))
    async with chaos(answer(too_large)) as server, upstream_of(server) as one:
        exchange = await one.submit("a/b", BODY, deadline_s=LONG_S)
    assert (exchange.complete, exchange.failure) == (False, "too_large")


# --- on the event loop that servers use


def on_uvloop(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(work())


@pytest.mark.parametrize("proxied", [False, True], ids=["direct", "through a proxy behind TLS"])
def test_tls_works_on_the_loop_of_servers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, proxied: bool
) -> None:
    async def work() -> None:
        async with runcomfy(tmp_path) as (vendor, trust):
            monkeypatch.setattr(client, "system_trust", lambda: trust)
            proxy = Proxy()
            theirs = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            theirs.load_cert_chain(tmp_path / "certificate.pem", tmp_path / "key.pem")
            server = await asyncio.start_server(proxy.handle, HOST, 0, ssl=theirs)
            url = f"https://{HOST}:{server.sockets[0].getsockname()[1]}" if proxied else None
            async with Upstream(base_url=vendor.url, token="t", read_deadline_s=LONG_S, proxy=url) as one:
                one.expect_submit()
                for _ in range(2):
                    assert await verdict_of(one) == (Sent.BODY, Verdict.ACCEPTED)
                    assert (await one.status("x")).status == 404
            assert (vendor.bodies.count(BODY), proxy.tunnels) == (2, 3 if proxied else 0)
            server.close()

    on_uvloop(work)


def test_ends_are_evidence_on_the_loop_of_servers_too() -> None:
    async def work() -> None:
        dead = [wire.fin_on_accept, wire.reset_on_accept]
        cut = [answer(b""), wire.answer_then_reset(GOOD[:50]), answer(GOOD[:-1])]
        async with chaos(*dead, *cut, answer(GOOD)) as server, upstream_of(server) as one:
            for _ in dead:
                one.expect_submit()
            await until(lambda: server.connections == 2)
            await rest()
            for _ in cut:
                assert await verdict_of(one) == (Sent.BODY, Verdict.UNKNOWN)
            assert await verdict_of(one) == (Sent.BODY, Verdict.ACCEPTED)
            assert (server.connections, server.bodies) == (6, [BODY] * 4)
        async with Upstream(base_url="http://127.0.0.1:1", token="t", read_deadline_s=LONG_S) as one:
            assert await verdict_of(one) == (Sent.NOTHING, Verdict.NOT_SENT)

    on_uvloop(work)
