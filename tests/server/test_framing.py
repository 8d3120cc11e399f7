"""What is neither head nor content of a message is bounded as a head is; nothing ends without a word."""

import asyncio
import re
from pathlib import Path

import pytest
import starlette.responses
import starlette.staticfiles

from app.server.protocol import GuardedProtocol
from app.server.request_head import READ, fault_of_head
from tests.patience import PATIENCE_S
from tests.server.test_protocol import CHUNKED, GET, LIMITS, answers_in, refusal_in, serving

APP = Path(__file__).parents[2] / "app"
SLACK = 2 * 4096  # of what the first and the last piece of a message hold
CLOSING = CHUNKED.replace(b"Host: a", b"Host: a\r\nConnection: close")

BEYOND: dict[str, bytes] = {
    "one long extension": b"1;x=" + b"y" * (LIMITS.head_bytes + SLACK) + b"\r\na\r\n0\r\n\r\n",
    "many extensions": (b"1;" + b"y" * 60 + b"\r\na\r\n") * 1000 + b"0\r\n\r\n",
    "one long trailer": b"1\r\na\r\n0\r\nX: " + b"y" * (LIMITS.head_bytes + SLACK) + b"\r\n\r\n",
    "many trailers": b"1\r\na\r\n0\r\n" + b"X: y\r\n" * 101 + b"\r\n",
    "both": b"1;x=" + b"y" * 3000 + b"\r\na\r\n0\r\nX: " + b"y" * (3000 + SLACK) + b"\r\n\r\n",
}
WITHIN: dict[str, tuple[bytes, bytes]] = {
    "chunks of one byte": (b"1\r\na\r\n" * 5000 + b"0\r\n\r\n", b"a" * 5000),
    "sizes with zeros": (b"0000000000001\r\na\r\n" * 2000 + b"0\r\n\r\n", b"a" * 2000),
    "a large chunk": (b"%x\r\n%s\r\n0\r\n\r\n" % (200_000, b"a" * 200_000), b"a" * 200_000),
    "a few extensions": (b"1;x=y\r\na\r\n" * 200 + b"0\r\n\r\n", b"a" * 200),
    "a hundred trailers": (b"1\r\na\r\n0\r\n" + b"X: y\r\n" * 100 + b"\r\n", b"a"),
}


@pytest.mark.anyio
@pytest.mark.parametrize("name", BEYOND)
@pytest.mark.parametrize("pieces", [1, 40])
async def test_extensions_and_trailers_are_bounded_however_they_arrive(name: str, pieces: int) -> None:
    text = CHUNKED + BEYOND[name]
    size = -(-len(text) // pieces)
    async with serving() as place:
        said = await place.talk(*(text[at : at + size] for at in range(0, len(text), size)))
        refusal_in(said, 431, "headers_too_large")
        assert place.app.seen == []


@pytest.mark.anyio
@pytest.mark.parametrize("name", WITHIN)
@pytest.mark.parametrize("pieces", [1, 7])
async def test_a_body_in_whatever_chunks_is_taken(name: str, pieces: int) -> None:
    text, content = CLOSING + WITHIN[name][0], WITHIN[name][1]
    size = -(-len(text) // pieces)
    async with serving() as place:
        ((status, _, got),) = answers_in(
            await place.talk(*(text[at : at + size] for at in range(0, len(text), size)))
        )
        assert (status, got) == (200, b"seen " + content)


@pytest.mark.anyio
@pytest.mark.parametrize("path", [b"/", b"/v1/files"])
async def test_what_follows_a_body_in_one_piece_is_not_counted_as_its_framing(path: bytes) -> None:
    post = b"POST %s HTTP/1.1\r\nHost: a\r\nContent-Length: 60000\r\n\r\n" % path + b"x" * 60_000
    last = GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    async with serving() as place:
        said = await place.talk(
            CHUNKED + b"1\r\na\r\n0\r\n\r\n" + post + CHUNKED + b"0\r\n\r\n" + post + last
        )
        assert [status for status, _, _ in answers_in(said)] == [200] * 5


@pytest.mark.anyio
async def test_an_upload_of_a_stated_length_is_parsed_in_the_pieces_in_which_it_arrives(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    parsed: list[int] = []
    receive = GuardedProtocol._receive

    def counted(self: GuardedProtocol, data: bytes | memoryview) -> None:
        parsed.append(len(data))
        receive(self, data)

    monkeypatch.setattr(GuardedProtocol, "_receive", counted)
    body = b"x" * 1_000_000  # a longer one is read without the parser
    head = b"POST /v1/files HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 1000000\r\n\r\n"
    async with serving() as place:
        ((status, _, got),) = answers_in(await place.talk(head, body))
    assert (status, got) == (200, b"seen " + body)
    assert sum(parsed) == len(head) + len(body)
    assert max(parsed) > 4096


CUT: dict[str, bytes] = {
    "HTTP/0.9": b"GET /\r\n",
    "a method": b"GE",
    "a head": b"GET / HTTP/1.1\r\nHost: a",
    "a body": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nab",
    "a chunk": CHUNKED + b"5\r\nab",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\n",
}


@pytest.mark.anyio
@pytest.mark.parametrize("name", CUT)
async def test_a_request_that_ends_in_the_middle_is_refused_and_not_carried_out(name: str) -> None:
    async with serving() as place, place.connect() as (reader, writer):
        writer.write(CUT[name])
        writer.write_eof()
        async with asyncio.timeout(PATIENCE_S):
            refusal_in(await reader.read(), 400, "malformed_request")
        assert place.app.seen == []


@pytest.mark.parametrize("name", sorted(READ))
def test_a_header_that_is_read_must_be_ascii_and_the_refusal_names_it(name: bytes) -> None:
    headers = [(b"host", b"a")] if name != b"host" else []
    fault = fault_of_head("1.1", b"/", [*headers, (name, b"S\xc3\xa3o Paulo")])
    assert fault is not None
    assert name.decode() in fault
    assert "Paulo" not in fault


def test_every_header_that_our_code_or_the_framework_reads_is_known_to_be_read() -> None:
    named = re.compile(
        r"""headers\.get(?:list)?\(\s*"([A-Za-z-]+)"|name == b"([a-z-]+)\""""
        r"""|^[A-Z_]+(?:: Final)? = "([A-Z][a-z]+(?:-[A-Z][A-Za-z]+)+)"$"""
        r"""|request_headers\["([a-z-]+)"\]|http_(if_\w+|range)\b""",
        re.MULTILINE,
    )
    texts = [
        path.read_text() for folder in ("api", "server", "console") for path in (APP / folder).rglob("*.py")
    ]
    texts += [Path(str(one.__file__)).read_text() for one in (starlette.responses, starlette.staticfiles)]
    found = {
        next(filter(None, match.groups())).lower().replace("_", "-").encode()
        for text in texts
        for match in named.finditer(text)
    }
    of_answers = {b"content-length", b"cross-origin-resource-policy", b"vary", b"etag", b"location"} | {
        *(b"preference-applied", b"reelgate-media-warnings", b"reelgate-stale"),
    }
    assert {b"authorization", b"range", b"if-none-match", b"idempotency-key"} <= found
    assert found - of_answers <= READ
