"""A store in a bucket of S3, or of a server that speaks its protocol.

A file is sent by one PUT with its length and SHA-256, so that it appears whole or not at all, and its size is
asked for afterwards: not every server compares the hash. Ranges are cut here too: not every server has them.
"""

import asyncio
import html
import re
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from io import FileIO
from typing import Final
from urllib.parse import urlsplit

import httpx2

from app.egress.tls import system_trust
from app.kit.clock import Clock
from app.kit.sockets import SMALL_RECEIVE_BUFFER
from app.storage.incoming import Received
from app.storage.signature import (
    EMPTY_SHA256,
    Keys,
    path_of,
    query_of,
    signed_form,
    signed_headers,
    signed_query,
)
from app.storage.store import CHUNK_BYTES, Post, StorageError, checked
from app.storage.threads import Threads
from app.storage.throughput import UNLIMITED, Throughput

_TIMEOUT: Final = httpx2.Timeout(30.0, connect=5.0)
_PAUSES_S: Final = (0.2, 1.0)  # before another try of what may be tried again
_MAX_IDLE: Final = 20
_ANSWER_BYTES: Final = 4_194_304  # of a list or an error, read at most
_OK, _NO_CONTENT, _PARTIAL, _NOT_FOUND = 200, 204, 206, 404
_FINAL: Final = frozenset({*(f"http_{status}" for status in range(300, 500)), "long_answer"})
_LISTED = re.compile(r"<Contents>(.*?)</Contents>", re.DOTALL)
_LISTED_KEY = re.compile(r"<Key>(.*?)</Key>", re.DOTALL)
_LISTED_SIZE = re.compile(r"<Size>(\d+)</Size>")
_NEXT = re.compile(r"<NextContinuationToken>(.*?)</NextContinuationToken>", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucket:
    """Where a bucket is: its server as the gateway reaches it, and as browsers do.

    `in_path` says whether the bucket's name stands in the path rather than before the server's name.
    `prefix` begins every key in the bucket; it is empty, or ends with a slash.
    """

    endpoint: str
    public_endpoint: str
    name: str
    in_path: bool = True
    prefix: str = ""

    def base(self, endpoint: str) -> tuple[str, str, str]:
        """Returns a server's scheme, its host with the bucket where it stands there, and the path so far."""
        parts = urlsplit(endpoint)
        if self.in_path:
            return parts.scheme, parts.netloc, f"{parts.path.rstrip('/')}{path_of(self.name)}"
        return parts.scheme, f"{self.name}.{parts.netloc}", parts.path.rstrip("/")


class S3Store:
    """The store in S3, with keys that do not change while the process runs."""

    takes_forms = True

    def __init__(
        self,
        bucket: Bucket,
        keys: Keys,
        clock: Clock,
        threads: Threads,
        pauses_s: tuple[float, ...] = _PAUSES_S,
        *,
        throughput: Throughput = UNLIMITED,
    ) -> None:
        self._bucket = bucket
        self._keys = keys
        self._clock = clock
        self._threads = threads
        self._pauses_s = pauses_s
        self._throughput = throughput
        self._scheme, self._host, self._base = bucket.base(bucket.endpoint)
        self._client = httpx2.AsyncClient(
            transport=httpx2.AsyncHTTPTransport(
                trust_env=False,
                verify=system_trust(),
                limits=httpx2.Limits(max_connections=None, max_keepalive_connections=_MAX_IDLE),
                socket_options=[SMALL_RECEIVE_BUFFER],
            ),
            trust_env=False,
            follow_redirects=False,
            timeout=_TIMEOUT,
        )

    async def put(self, key: str, received: Received, *, media_type: str) -> None:
        """Sends the received file, and makes sure of its size."""
        headers = {"content-length": str(received.size_bytes), "content-type": media_type}
        await self._asked("PUT", key, headers=headers, received=received)
        if await self.size(key) != received.size_bytes:
            await self.delete(key)
            raise StorageError("wrong_size")

    async def size(self, key: str) -> int | None:
        """Returns the number of bytes under the key, or None where there is nothing."""
        response = await self._asked("HEAD", key, also=_NOT_FOUND)
        if response.status_code == _NOT_FOUND:
            return None
        length = response.headers.get("content-length", "")
        if not length.isdigit():
            raise StorageError("no_length")
        return int(length)

    async def read(self, key: str, start: int = 0, end: int | None = None) -> AsyncGenerator[bytes, None]:
        """Yields the bytes; a server that answers with all of them is cut here."""
        if end is not None and end <= start:
            return
        headers = {"accept-encoding": "identity"}
        if start or end is not None:
            headers["range"] = f"bytes={start}-{'' if end is None else end - 1}"
        async with self._answer("GET", key, headers=headers) as response:
            if response.status_code not in {_OK, _PARTIAL}:
                raise StorageError(f"http_{response.status_code}")
            part = response.headers.get("content-range")  # some servers send it with a 200
            if part is not None and not part.startswith(f"bytes {start}-"):
                raise StorageError("wrong_range")
            length = None if end is None else end - start
            async with aclosing(_cut(response, start if part is None else 0, length)) as cut:
                async for chunk in cut:
                    yield chunk

    async def delete(self, key: str) -> None:
        """Removes what is under the key; nothing there is fine."""
        await self._asked("DELETE", key, also=_NOT_FOUND)

    async def keys(self, prefix: str) -> AsyncIterator[tuple[str, int]]:
        """Yields each key that begins with the prefix and its number of bytes, a page at a time."""
        begins = f"{self._bucket.prefix}{checked(prefix.removesuffix('/'))}/"
        parameters = {"list-type": "2", "max-keys": "1000", "prefix": begins}
        while True:
            response = await self._asked("GET", "", query=query_of(parameters))
            for listed in _LISTED.findall(response.text):
                key, size = _LISTED_KEY.search(listed), _LISTED_SIZE.search(listed)
                if key is None or size is None:
                    raise StorageError("odd_list")
                yield html.unescape(key[1]).removeprefix(self._bucket.prefix), int(size[1])
            if (token := _NEXT.search(response.text)) is None:
                return
            parameters["continuation-token"] = html.unescape(token[1])

    def link(self, key: str, *, expires_s: int, media_type: str, disposition: str) -> str | None:
        """Returns a URL of the bucket at which anybody may read the bytes for a while."""
        scheme, host, base = self._bucket.base(self._bucket.public_endpoint)
        path = base + path_of(self._bucket.prefix + checked(key))
        query = signed_query(
            self._keys,
            host=host,
            path=path,
            parameters={
                "response-cache-control": "private, max-age=31536000, immutable",
                "response-content-disposition": disposition,
                "response-content-type": media_type,
            },
            expires_s=expires_s,
            now_ms=self._clock.now_ms(),
        )
        return f"{scheme}://{host}{path}?{query}"

    def post(self, key: str, *, expires_s: int, media_type: str, max_bytes: int) -> Post | None:
        """Returns a form for one upload to the bucket itself."""
        scheme, host, base = self._bucket.base(self._bucket.public_endpoint)
        fields = signed_form(
            self._keys,
            bucket=self._bucket.name,
            key=self._bucket.prefix + checked(key),
            media_type=media_type,
            max_bytes=max_bytes,
            expires_s=expires_s,
            now_ms=self._clock.now_ms(),
        )
        return Post(f"{scheme}://{host}{base or '/'}", fields)

    async def move(self, source: str, key: str) -> None:
        """Copies within the bucket, and removes the source. Raises KeyError where there is nothing."""
        path = path_of(self._bucket.name, self._bucket.prefix + checked(source))
        response = await self._asked("PUT", key, headers={"x-amz-copy-source": path}, also=_NOT_FOUND)
        if response.status_code == _NOT_FOUND:
            raise KeyError(source)
        if "<Error>" in response.text:  # S3 may begin to answer before the copy ends
            raise StorageError("copy_failed")
        await self.delete(source)

    async def close(self) -> None:
        """Closes connections."""
        await self._client.aclose()

    async def _asked(
        self,
        method: str,
        key: str,
        *,
        query: str = "",
        headers: Mapping[str, str] | None = None,
        received: Received | None = None,
        also: int | None = None,
    ) -> httpx2.Response:
        """Returns the answer, read whole; what failed for a while is tried again.

        Raises:
            StorageError: the status is neither of a success nor the one that is welcome `also`.

        """
        pauses_s = iter(self._pauses_s)
        while True:
            try:
                async with self._answer(
                    method, key, query=query, headers=headers, received=received
                ) as response:
                    await _read(response)
                return _welcome(response, also)
            except StorageError as error:
                pause_s = next(pauses_s, None)
                if pause_s is None or error.reason in _FINAL:
                    raise
                await asyncio.sleep(pause_s)

    @asynccontextmanager
    async def _answer(
        self,
        method: str,
        key: str,
        *,
        query: str = "",
        headers: Mapping[str, str] | None = None,
        received: Received | None = None,
    ) -> AsyncIterator[httpx2.Response]:
        path = self._base + (path_of(self._bucket.prefix + checked(key)) if key else "")
        signed = signed_headers(
            self._keys,
            method=method,
            host=self._host,
            path=path or "/",
            query=query,
            headers=headers,
            sha256=EMPTY_SHA256 if received is None else received.sha256,
            now_ms=self._clock.now_ms(),
        )
        url = f"{self._scheme}://{self._host}{path or '/'}{'?' if query else ''}{query}"
        try:
            content = None if received is None else _chunks_of(received, self._threads, self._throughput)
            async with self._client.stream(method, url, headers=signed, content=content) as response:
                yield response
        except (httpx2.HTTPError, httpx2.StreamError, httpx2.InvalidURL) as error:
            raise StorageError(type(error).__name__) from error
        except OSError as error:
            raise StorageError((error.strerror or "os_error").lower().replace(" ", "_")) from error


async def _chunks_of(received: Received, threads: Threads, throughput: Throughput) -> AsyncIterator[bytes]:
    passed = 0
    with FileIO(received.path) as file:
        while chunk := await threads.run(file.read, CHUNK_BYTES):
            if passed:  # one piece alone is not held up
                await throughput.rest(passed)
            yield chunk
            passed = len(chunk)


async def _cut(response: httpx2.Response, skip: int, length: int | None) -> AsyncGenerator[bytes, None]:
    """Yields the body without its first bytes, and no more than `length`; fewer are an error."""
    left = length
    async for chunk in response.aiter_raw(CHUNK_BYTES):
        if skip >= len(chunk):
            skip -= len(chunk)
            continue
        part = chunk[skip:] if left is None else chunk[skip : skip + left]
        skip = 0
        yield part
        if left is not None:
            left -= len(part)
            if not left:
                return
    if left:
        raise StorageError("truncated")


async def _read(response: httpx2.Response) -> None:
    if response.request.method != "HEAD" and int(response.headers.get("content-length") or 0) > _ANSWER_BYTES:
        raise StorageError("long_answer")
    await response.aread()


def _welcome(response: httpx2.Response, also: int | None) -> httpx2.Response:
    if response.status_code in {_OK, _NO_CONTENT, also}:
        return response
    raise StorageError(f"http_{response.status_code}")
