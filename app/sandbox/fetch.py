"""Gets the picture of a job. It needs no network, and reaches only hosts that the options allow."""

import asyncio
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx2

from app.sandbox.options import SandboxOptions
from app.sandbox.pictures import EXAMPLES_URL, NAMES, example_picture, sample_path
from app.sandbox.store import decode_data_uri

FILE_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}")


class PictureError(Exception):
    """A picture that cannot be fetched or read; the message becomes the job's error."""


@dataclass(frozen=True, slots=True)
class Source:
    """A picture's bytes, or the caption of a drawn stand-in (None: no caption)."""

    data: bytes | None = None
    caption: str | None = None


class Fetcher:
    """Gets pictures from `data:` URIs, from own samples and files, and over HTTP from allowed hosts.

    For an example picture of RunComfy's pages there is a sample.

    Any other http(s) URL gives a stand-in with a caption instead of a failure, so that a request copied from
    RunComfy's documentation works without a network.
    """

    def __init__(self, options: SandboxOptions, files: Path) -> None:
        self._options = options
        self._files = files
        self._allowed = {host.lower() for host in options.allow_hosts}
        self._client: httpx2.AsyncClient | None = None
        self._making = asyncio.Lock()

    async def close(self) -> None:
        """Closes the connections to allowed hosts."""
        if self._client is not None:
            await self._client.aclose()

    async def get(self, reference: str | None) -> Source:
        """Returns the picture behind a reference; without a reference, an empty source.

        Raises:
            PictureError: it should exist and does not, or cannot be read.

        """
        if reference is None:
            return Source()
        if reference[:5].lower() == "data:":
            return Source(data=await asyncio.to_thread(self._decode, reference))
        if reference.startswith(self._options.url("/")):
            return Source(
                data=await asyncio.to_thread(self._own, reference.removeprefix(self._options.url("/")))
            )
        if reference.startswith(f"{EXAMPLES_URL}/"):
            return Source(data=await asyncio.to_thread(example_picture(reference).read_bytes))
        try:
            parts = urlsplit(reference)
            host, place = parts.hostname or "", parts.netloc.rpartition("@")[2].lower()
        except ValueError as error:
            raise PictureError(f"not a URL: {reference[:200]}") from error
        if parts.scheme not in {"http", "https"} or not host:
            raise PictureError(f"neither an http(s) URL nor a data: URI: {reference[:200]}")
        if host in self._allowed or place in self._allowed:
            return Source(data=await self._download(reference))
        return Source(caption=host)

    def _decode(self, uri: str) -> bytes:
        try:
            data = decode_data_uri(uri)
        except ValueError as error:
            raise PictureError(f"the picture's data: URI cannot be read: {error}") from error
        self._check_size(len(data))
        return data

    def _own(self, path: str) -> bytes:
        """Returns a sample or a rendered file by its path below public_url."""
        folder, _, name = path.partition("?")[0].partition("/")
        if folder == "samples" and name in NAMES:
            return sample_path(name).read_bytes()
        try:
            if folder == "files" and FILE_NAME.fullmatch(name):
                return (self._files / name).read_bytes()
        except OSError:
            pass  # treated like any other path that does not exist
        raise PictureError(f"the sandbox has no /{path[:200]}")

    async def _download(self, url: str) -> bytes:
        """Returns the content of a URL of an allowed host.

        It follows no redirects and uses no proxy of the environment, so that only that host is reached.
        """
        try:
            client = await self._connect()
            async with asyncio.timeout(self._options.fetch_timeout_s), client.stream("GET", url) as response:
                if response.status_code != httpx2.codes.OK:
                    raise PictureError(f"fetching the picture answered HTTP {response.status_code}")
                data = bytearray()
                async for chunk in response.aiter_bytes():
                    data += chunk
                    self._check_size(len(data))
                return bytes(data)
        except TimeoutError as error:
            raise PictureError(
                f"fetching the picture took over {self._options.fetch_timeout_s:g} s"
            ) from error
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise PictureError(f"the picture cannot be fetched: {type(error).__name__}") from error

    async def _connect(self) -> httpx2.AsyncClient:
        """Returns the HTTP client, created at its first use.

        It is created in a thread, because loading the certificates takes 30 to 70 ms.
        """
        async with self._making:
            if self._client is None:
                self._client = await asyncio.to_thread(
                    httpx2.AsyncClient, trust_env=False, follow_redirects=False, timeout=None
                )
            return self._client

    def _check_size(self, size_bytes: int) -> None:
        if size_bytes > self._options.max_picture_bytes:
            raise PictureError(f"the picture is over {self._options.max_picture_bytes} bytes")
