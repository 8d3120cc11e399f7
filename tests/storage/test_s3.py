"""What a server of S3 can do: it ignores ranges, breaks off, lies about a length, is away for a moment."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import pytest

from app.kit.clock import SystemClock
from app.storage.incoming import Received
from app.storage.s3 import S3Store
from app.storage.store import StorageError
from app.storage.threads import Threads
from tests.storage.servers import KEYS, bucket_at

pytestmark = pytest.mark.anyio

OK = b"HTTP/1.1 200 OK\r\nContent-Length: "


@asynccontextmanager
async def answering(
    answer: Callable[[str], bytes], threads: Threads, pauses_s: tuple[float, ...] = ()
) -> AsyncIterator[S3Store]:
    """A store at a server that answers a request by its first line, and closes."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = head.lower().partition("content-length: ")[2].partition("\r")[0]
        await reader.readexactly(int(length or 0))
        writer.write(answer(head.partition("\r\n")[0]))
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1")
    port = server.sockets[0].getsockname()[1]
    store = S3Store(bucket_at(f"http://127.0.0.1:{port}"), KEYS, SystemClock(), threads, pauses_s)
    try:
        yield store
    finally:
        await store.close()
        server.close()


async def read(store: S3Store, start: int, end: int | None) -> bytes:
    async with aclosing(store.read("files/a/b", start, end)) as found:
        return b"".join([chunk async for chunk in found])


def file_in(folder: Path) -> Received:
    (folder / "file").write_bytes(b"0123456789")
    return Received(path=folder / "file", size_bytes=10, sha256="0" * 64, head=b"")


async def test_a_server_that_ignores_ranges_is_cut_here(threads: Threads) -> None:
    async with answering(lambda _: OK + b"10\r\n\r\n0123456789", threads) as store:
        for start, end in ((0, 1), (3, 7), (9, 10), (4, None)):
            assert await read(store, start, end) == b"0123456789"[start:end]


@pytest.mark.parametrize(
    "answer",
    [
        OK + b"10\r\n\r\n01234",
        b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 4-7/10\r\nContent-Length: 4\r\n\r\n4567",
        b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 3-4/10\r\nContent-Length: 2\r\n\r\n34",
        b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n",
        b"nothing of HTTP",
        b"",
    ],
)
async def test_an_answer_that_is_not_what_was_asked_for_is_an_error(answer: bytes, threads: Threads) -> None:
    async with answering(lambda _: answer, threads) as store:
        with pytest.raises(StorageError):
            await read(store, 3, 7)


async def test_a_file_that_arrived_with_another_size_is_removed_again(
    tmp_path: Path, threads: Threads
) -> None:
    asked = []

    def answer(line: str) -> bytes:
        asked.append(line.partition(" ")[0])
        return OK + (b"9" if asked[-1] == "HEAD" else b"0") + b"\r\n\r\n"

    async with answering(answer, threads) as store:
        with pytest.raises(StorageError, match="wrong_size"):
            await store.put("files/a/b", file_in(tmp_path), media_type="image/png")
    assert asked == ["PUT", "HEAD", "DELETE"]


async def test_what_failed_for_a_moment_is_tried_again_and_a_refusal_is_not(
    tmp_path: Path, threads: Threads
) -> None:
    asked = []

    def answer(line: str) -> bytes:
        asked.append(line.partition(" ")[0])
        if len(asked) < 3:
            return (b"HTTP/1.1 503 Slow Down\r\nContent-Length: 0\r\n\r\n", b"")[len(asked) - 1]
        return OK + (b"10" if asked[-1] == "HEAD" else b"0") + b"\r\n\r\n"

    async with answering(answer, threads, (0.0, 0.0)) as store:
        await store.put("files/a/b", file_in(tmp_path), media_type="image/png")
    assert asked == ["PUT", "PUT", "PUT", "HEAD"]
    asked.clear()

    def refuse(line: str) -> bytes:
        asked.append(line)
        return b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"

    async with answering(refuse, threads, (0.0, 0.0)) as store:
        with pytest.raises(StorageError, match="http_403"):
            await store.size("files/a/b")
    assert len(asked) == 1


async def test_a_copy_that_failed_after_its_status_is_an_error(threads: Threads) -> None:
    late = b"<?xml?><Error><Code>InternalError</Code></Error>"
    async with answering(lambda _: OK + str(len(late)).encode() + b"\r\n\r\n" + late, threads) as store:
        with pytest.raises(StorageError, match="copy_failed"):
            await store.move("files/a/b", "files/a/c")
