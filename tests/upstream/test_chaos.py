"""What an upstream can do on the wire to one submit, and what that proves: never reason for a second job."""

import asyncio
import gc
import gzip
import re
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest

from app.upstream.client import Upstream
from app.upstream.outcomes import (
    Exchange,
    Outcome,
    Sent,
    Verdict,
    judge_submit,
    observe_result,
    observe_status,
)
from tests import chaos as wire
from tests.chaos import GOOD, GOOD_BODY, JOB, Behaviour, Chaos, answer, chaos, response
from tests.loops import skipped

pytestmark = pytest.mark.anyio

NOW_MS = 1_790_000_000_000
LONG_S = 20.0
TOKEN = "the-credential"
BODY = b'{"prompt":"a boat"}'
BIG_BODY = b'{"prompt":"' + b"x" * 20_000_000 + b'"}'  # more than the kernel takes in at once


@asynccontextmanager
async def upstream_at(url: str) -> AsyncIterator[Upstream]:
    async with Upstream(base_url=url, token=TOKEN, read_deadline_s=LONG_S) as upstream:
        yield upstream


async def submitted(url: str, *, deadline_s: float = LONG_S, body: bytes = BODY) -> tuple[Exchange, Outcome]:
    async with upstream_at(url) as upstream, asyncio.timeout(LONG_S * 3):
        exchange = await upstream.submit("a/b", body, deadline_s=deadline_s)
    return exchange, judge_submit(exchange, now_ms=NOW_MS)


async def timed_out(upstream: Chaos, url: str, *, body: bytes = BODY) -> tuple[Exchange, Outcome]:
    """A submit that reaches its deadline."""
    return await skipped(submitted(url, body=body), LONG_S, once=lambda: upstream.connections)


def whole(body: bytes, *headers: str, status: int = 200) -> bytes:
    """An answer that ends with its connection, whatever its headers promise."""
    lines = [f"HTTP/1.1 {status} Chaos", "Content-Type: application/json", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


RAW = response(200, GOOD_BODY)
DOCUMENT = RAW.partition(b"\r\n\r\n")[2]
SIZE = len(DOCUMENT)

UNKNOWN: dict[str, Behaviour] = {
    # No complete answer.
    "FIN without an answer": answer(b""),
    "reset without an answer": wire.answer_then_reset(b""),
    "FIN inside the status line": answer(b"HTTP/1.1 20"),
    "FIN inside the headers": answer(RAW[:40]),
    "FIN after the headers": answer(RAW[: RAW.index(b"\r\n\r\n") + 4]),
    "a body cut short": answer(RAW[:-1]),
    "a reset inside the body": wire.answer_then_reset(RAW[:-1]),
    "a Content-Length beyond the body": answer(response(200, GOOD_BODY, length=SIZE + 1)),
    "a Content-Length inside the body": answer(response(200, GOOD_BODY, length=SIZE - 3)),
    "two Content-Lengths that differ": answer(response(200, GOOD_BODY, f"Content-Length: {SIZE - 1}")),
    "a negative Content-Length": answer(response(200, GOOD_BODY, length=-1)),
    "a Content-Length that is no number": answer(whole(DOCUMENT, "Content-Length: many")),
    "a chunk cut short": answer(whole(b"ff\r\n" + DOCUMENT, "Transfer-Encoding: chunked")),
    "a chunk without a size": answer(whole(b"zz\r\n" + DOCUMENT, "Transfer-Encoding: chunked")),
    "chunks without an end": answer(whole(b"%x\r\n%s\r\n" % (SIZE, DOCUMENT), "Transfer-Encoding: chunked")),
    "a chunk of a huge size": answer(whole(b"f" * 40 + b"\r\n{}", "Transfer-Encoding: chunked")),
    "an unknown transfer coding": answer(whole(DOCUMENT, "Transfer-Encoding: sorcery")),
    "only a 100 Continue": answer(b"HTTP/1.1 100 Continue\r\n\r\n"),
    "an upgrade that nobody asked for": answer(
        b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n" + DOCUMENT
    ),
    "HTTP/0.9": answer(b"<html>it works</html>"),
    "HTTP/2 in clear": answer(b"\x00\x00\x12\x04\x00\x00\x00\x00\x00"),
    "another protocol": answer(b"SSH-2.0-OpenSSH_9.6\r\n"),
    "TLS bytes": answer(b"\x15\x03\x01\x00\x02\x02\x46"),
    "NULs": answer(b"\x00" * 1000),
    "1 MB of headers": answer(response(200, GOOD_BODY, f"X-Filler: {'x' * 1_000_000}")),
    "100,000 headers": answer(response(200, GOOD_BODY, *["X-F: x"] * 100_000)),
    "a header with a line break inside": answer(response(200, GOOD_BODY, "X: a\x00b")),
    "over 64 KiB": answer(response(200, {**GOOD_BODY, "padding": "x" * 65_536})),
    "a body without an end": wire.endless(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"400\r\n" + b" " * 1024 + b"\r\n"
    ),
    "headers without an end": wire.endless(b"HTTP/1.1 200 OK\r\n", b"X-F: " + b"x" * 1000 + b"\r\n"),
    "a complete refusal cut short": answer(response(422, {"detail": []}, length=500)),
    # A complete answer that proves nothing.
    "HTML with 200": answer(response(200, b"<html><body>Welcome</body></html>")),
    "an empty body with 200": answer(response(200, b"")),
    "204": answer(b"HTTP/1.1 204 No Content\r\n\r\n"),
    "an empty object": answer(response(200, {})),
    "a list": answer(response(200, b"[]")),
    "null": answer(response(200, b"null")),
    "a null id": answer(response(200, {"request_id": None})),
    "a numeric id": answer(response(200, {"request_id": 12345})),
    "an empty id": answer(response(200, {"request_id": ""})),
    "an id of 300 characters": answer(response(200, {"request_id": "x" * 300})),
    "an id that is a path": answer(response(200, {"request_id": "../../admin"})),
    "invalid UTF-8": answer(response(200, b'{"request_id":"\xff\xfe"}')),
    "a compressed answer": answer(response(200, gzip.compress(DOCUMENT), "Content-Encoding: gzip")),
    "a compression bomb": answer(wire.gzip_bomb()),
    "408": answer(response(408, {})),
    "425": answer(response(425, {})),
    "500": answer(response(500, {"message": "oops"})),
    "501": answer(response(501, {})),
    "502": answer(response(502, b"<html>bad gateway</html>")),
    "503 without Retry-After": answer(response(503, {})),
    "503 with a Retry-After of no sense": answer(response(503, {}, "Retry-After: soon")),
    "504": answer(response(504, {}, "Retry-After: 1")),
    "599": answer(response(599, {})),
    "418": answer(response(418, {})),
}

HANGING: dict[str, Behaviour] = {
    "hangs after the request": wire.answer_then_hang(b""),
    "hangs inside the status line": wire.answer_then_hang(b"HTTP/1.1 2"),
    "hangs inside the headers": wire.answer_then_hang(RAW[:40]),
    "hangs after the headers": wire.answer_then_hang(RAW[: RAW.index(b"\r\n\r\n") + 4]),
    "hangs before the last byte": wire.answer_then_hang(RAW[:-1]),
    "hangs after a 100 Continue": wire.answer_then_hang(b"HTTP/1.1 100 Continue\r\n\r\n"),
    "says 102 again and again": wire.drip(b"HTTP/1.1 102 Processing\r\n\r\n" * 1000, 0.0005),
    "drips": wire.drip(RAW, 0.02),
    "hangs after an early refusal's half": wire.answer_then_hang(response(422, {"a": 1})[:-1]),
}

COMPLETE: dict[str, tuple[Behaviour, Verdict]] = {
    "a plain answer": (answer(GOOD), Verdict.ACCEPTED),
    "an answer and no FIN": (wire.answer_then_hang(GOOD), Verdict.ACCEPTED),
    "a slow answer": (wire.drip(GOOD, 0.0002), Verdict.ACCEPTED),
    "chunks": (
        answer(whole(b"%x\r\n%s\r\n0\r\n\r\n" % (SIZE, DOCUMENT), "Transfer-Encoding: chunked")),
        Verdict.ACCEPTED,
    ),
    "a 100 Continue before": (answer(b"HTTP/1.1 100 Continue\r\n\r\n" + GOOD), Verdict.ACCEPTED),
    "a 103 before": (answer(b"HTTP/1.1 103 Hints\r\nLink: </x>\r\n\r\n" + GOOD), Verdict.ACCEPTED),
    "two equal Content-Lengths": (
        answer(response(200, GOOD_BODY, f"Content-Length: {SIZE}")),
        Verdict.ACCEPTED,
    ),
    "bytes after the answer": (answer(GOOD + b"and more"), Verdict.ACCEPTED),
    "202": (answer(response(202, GOOD_BODY)), Verdict.ACCEPTED),
    "an error code with 200": (answer(response(200, {"error_code": 400002})), Verdict.REJECTED_CREDENTIAL),
    "400": (answer(response(400, {"error_code": 400003})), Verdict.REJECTED_INPUT),
    "400 for our token": (answer(response(400, {"error_code": 400004})), Verdict.REJECTED_CREDENTIAL),
    "400 for the model": (answer(response(400, {"error_code": 400001})), Verdict.REJECTED_UNSERVED),
    "401": (answer(response(401, {"message": "Unauthorized"})), Verdict.REJECTED_CREDENTIAL),
    "402": (answer(response(402, {})), Verdict.REJECTED_CREDENTIAL),
    "403": (answer(response(403, {})), Verdict.REJECTED_CREDENTIAL),
    "404": (answer(response(404, {})), Verdict.REJECTED_UNSERVED),
    "405": (answer(response(405, b"")), Verdict.REJECTED_UNSERVED),
    "409": (answer(response(409, {})), Verdict.REJECTED_INPUT),
    "413": (answer(response(413, b"<html>")), Verdict.REJECTED_INPUT),
    "415": (answer(response(415, {})), Verdict.REJECTED_INPUT),
    "422": (answer(response(422, {"detail": []})), Verdict.REJECTED_INPUT),
    "429": (answer(response(429, {})), Verdict.BUSY),
    "429 with seconds": (answer(response(429, {}, "Retry-After: 3")), Verdict.BUSY),
    "429 with a date": (
        answer(response(429, {}, "Retry-After: Mon, 21 Sep 2026 14:13:30 GMT")),
        Verdict.BUSY,
    ),
    "429 with no sense": (answer(response(429, {}, "Retry-After: -1, x")), Verdict.BUSY),
    "503 with seconds": (answer(response(503, {}, "Retry-After: 3")), Verdict.BUSY),
    "a redirect to a broken address": (
        answer(response(302, b"", "Location: http://[broken")),
        Verdict.REJECTED_UNSERVED,
    ),
    "a redirect to nowhere": (answer(response(307, b"")), Verdict.REJECTED_UNSERVED),
}


@pytest.mark.parametrize("name", UNKNOWN)
async def test_whatever_proves_nothing_after_the_body_left_is_unknown(name: str) -> None:
    async with chaos(UNKNOWN[name]) as upstream:
        exchange, outcome = await submitted(upstream.url)
        assert exchange.sent is Sent.BODY
        assert outcome.verdict is Verdict.UNKNOWN
        assert outcome.upstream_request_id is None
        assert upstream.bodies == [BODY]
        assert upstream.connections == 1
        assert len(exchange.body) < 200_000


@pytest.mark.parametrize("name", HANGING)
async def test_whatever_never_ends_is_unknown_at_the_deadline(name: str) -> None:
    """Also an answer that always has another byte: a read timeout alone would wait for ever."""
    async with chaos(HANGING[name]) as upstream:
        exchange, outcome = await timed_out(upstream, upstream.url)
        assert (outcome.verdict, outcome.reason) == (Verdict.UNKNOWN, "timeout")
        assert not exchange.complete
        assert len(upstream.bodies) <= 1
        assert upstream.connections == 1


@pytest.mark.parametrize("name", COMPLETE)
async def test_a_complete_answer_is_understood(name: str) -> None:
    behaviour, verdict = COMPLETE[name]
    async with chaos(behaviour) as upstream:
        _, outcome = await submitted(upstream.url)
        assert outcome.verdict is verdict
        assert outcome.upstream_request_id == (JOB if verdict is Verdict.ACCEPTED else None)
        assert upstream.bodies == [BODY]
        assert upstream.connections == 1


EARLY: dict[str, Behaviour] = {
    "reset on accept": wire.reset_on_accept,
    "FIN on accept": wire.fin_on_accept,
    **{f"reset after {count} bytes": wire.reset_after_bytes(count) for count in (1, 16, 100, 150)},
    **{f"FIN after {count} bytes": wire.fin_after_bytes(count) for count in (1, 16, 100, 150)},
}


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("name", EARLY)
async def test_a_request_cut_short_is_unsent_only_where_no_byte_of_its_body_left(
    name: str, big: bool
) -> None:
    """Which of the two is a race of the kernel's; that no job is taken for unsent which may exist is not."""
    async with chaos(EARLY[name]) as upstream:
        exchange, outcome = await submitted(upstream.url, body=BIG_BODY if big else BODY)
        assert outcome.verdict is (Verdict.UNKNOWN if exchange.sent is Sent.BODY else Verdict.NOT_SENT)
        assert upstream.bodies == []


@pytest.mark.parametrize(
    "behaviour", [wire.hang_on_accept, wire.hang_after_head], ids=["hangs on accept", "hangs after the head"]
)
async def test_a_body_that_nobody_reads_is_unknown_at_the_deadline(behaviour: Behaviour) -> None:
    async with chaos(behaviour) as upstream:
        exchange, outcome = await timed_out(upstream, upstream.url, body=BIG_BODY)
        assert (exchange.sent, outcome.verdict) == (Sent.BODY, Verdict.UNKNOWN)
        assert upstream.bodies == []


async def test_a_refusal_before_the_body_was_read_is_a_refusal() -> None:
    async with chaos(wire.answer_before_body(response(413, b"", "Connection: close"))) as upstream:
        _, outcome = await submitted(upstream.url)
        assert outcome.verdict is Verdict.REJECTED_INPUT


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("scheme", ["http", "//"])
async def test_no_redirect_is_followed_to_an_internal_address(status: int, scheme: str) -> None:
    async with chaos(answer(GOOD)) as internal:
        target = internal.url.removeprefix("http:") if scheme == "//" else internal.url
        redirect = response(status, b"", f"Location: {target}/v1/models/a/b")
        async with chaos(answer(redirect)) as upstream:
            _, outcome = await submitted(upstream.url)
            async with upstream_at(upstream.url) as reads:
                await asyncio.gather(reads.status(JOB), reads.result(JOB), return_exceptions=True)
        assert outcome.verdict is Verdict.REJECTED_UNSERVED
        assert internal.connections == 0
        assert upstream.bodies == [BODY]


class TestProvenUnsent:
    async def test_nobody_listens(self) -> None:
        async with chaos(answer(GOOD)) as upstream:
            url = upstream.url
        exchange, outcome = await submitted(url)
        assert (exchange.sent, outcome.verdict) == (Sent.NOTHING, Verdict.NOT_SENT)

    @pytest.mark.parametrize(
        "behaviour",
        [wire.reset_on_accept, wire.fin_on_accept, wire.fin_after_bytes(1), wire.reset_after_bytes(1)],
    )
    async def test_tls_fails(self, behaviour: Behaviour) -> None:
        async with chaos(behaviour) as upstream:
            exchange, outcome = await submitted(upstream.url.replace("http:", "https:"))
            assert (exchange.sent, outcome.verdict) == (Sent.NOTHING, Verdict.NOT_SENT)

    async def test_tls_hangs(self) -> None:
        async with chaos(wire.hang_on_accept) as upstream:
            url = upstream.url.replace("http:", "https:")
            exchange, outcome = await timed_out(upstream, url)
            assert (exchange.sent, outcome.verdict) == (Sent.NOTHING, Verdict.NOT_SENT)
            assert outcome.reason == "timeout"
        gc.collect()

    async def test_the_time_was_over_before_it_began(self) -> None:
        async with chaos(answer(GOOD)) as upstream:
            exchange, outcome = await submitted(upstream.url, deadline_s=-1)
            assert (exchange.sent, outcome.verdict) == (Sent.NOTHING, Verdict.NOT_SENT)
            assert upstream.bodies == []


async def test_every_submit_has_a_connection_of_its_own() -> None:
    """On a reused one a close that crosses our body would be an unknown that need not be."""
    async with chaos(wire.answer_then_hang(GOOD)) as upstream, upstream_at(upstream.url) as client:
        for number in range(1, 4):
            exchange = await client.submit("a/b", BODY, deadline_s=LONG_S)
            assert judge_submit(exchange, now_ms=0).verdict is Verdict.ACCEPTED
            assert upstream.connections == number


async def test_a_submit_says_what_it_must_and_nothing_of_the_answer_before() -> None:
    """No cookie that the upstream sets for one tenant's job goes out with another's."""
    sets_cookie = answer(response(200, GOOD_BODY, "Set-Cookie: who=tenant-a; Path=/"))
    async with chaos(sets_cookie) as upstream, upstream_at(upstream.url) as client:
        for _ in range(2):
            await client.submit("kling/kling-video-o3/4K/x", BODY, deadline_s=LONG_S)
        for head in upstream.heads:
            line, *headers = head.decode().lower().split("\r\n")
            assert line == "post /v1/models/kling/kling-video-o3/4k/x http/1.1"
            assert f"authorization: bearer {TOKEN}" in headers
            assert "content-type: application/json" in headers
            assert "accept-encoding: identity" in headers
            assert f"content-length: {len(BODY)}" in headers
            assert not re.search(r"^(cookie|transfer-encoding|expect):", "\n".join(headers), re.MULTILINE)


@pytest.mark.parametrize("name", [*UNKNOWN, *HANGING])
async def test_no_evil_ends_a_job_on_a_look(name: str) -> None:
    """A look that shows nothing, or shows nonsense, neither raises nor completes a job."""

    async with chaos({**UNKNOWN, **HANGING}[name]) as upstream, upstream_at(upstream.url) as client:

        async def look(asking: Coroutine[Any, Any, Exchange]) -> Exchange:
            before = upstream.connections
            if name not in HANGING:
                return await asking
            return await skipped(asking, LONG_S, once=lambda: upstream.connections > before)

        seen = observe_status(await look(client.status(JOB))).seen
        assert seen not in {"finished", "cancelled", "gone"}
        seen = observe_result(await look(client.result(JOB))).seen
        assert seen not in {"succeeded", "failed", "cancelled", "gone"}
