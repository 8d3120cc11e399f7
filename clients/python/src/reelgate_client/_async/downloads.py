"""Downloads files: goes on where a connection broke off, and never leaves half of one."""

from __future__ import annotations

import time
from collections.abc import Callable
from urllib.parse import urlsplit

import httpx2

from reelgate_client._download import Downloaded, Partial
from reelgate_client._primitives_async import in_thread, sleep
from reelgate_client._retry import Patience, Retries
from reelgate_client.errors import DownloadFailed

_SILENCE_S = 60.0
_TRY_LATER = {408, 425, 429, 500, 502, 503, 504}
_NOT_SATISFIABLE = 416


async def download(
    http: httpx2.AsyncClient,
    url: str,
    part: Partial,
    *,
    retries: Retries,
    sha256: str | None,
    on_bytes: Callable[[int, int | None], object] | None,
) -> Downloaded:
    """Returns the file once it is whole: of the announced length, and with the announced hash."""
    patience = Patience(retries, time.monotonic())
    if part.size is None or part.start != part.size:
        while True:
            before = part.start
            failed = await _once(http, url, part, on_bytes)
            if failed is None:
                break
            if part.start > before:
                patience.begin(time.monotonic())
            await sleep(patience.delay_after(failed, time.monotonic()))
    return await in_thread(part.finish, sha256)


async def _once(
    http: httpx2.AsyncClient, url: str, part: Partial, on_bytes: Callable[[int, int | None], object] | None
) -> DownloadFailed | None:
    """Downloads what is missing; returns why it is still not all."""
    try:
        async with http.stream(
            "GET",
            url,
            headers=part.headers(),
            follow_redirects=True,
            timeout=httpx2.Timeout(_SILENCE_S, connect=10),
        ) as answer:
            if answer.status_code == _NOT_SATISFIABLE and part.start:
                part.forget()  # it is another file by now
                return _failed(url, "The file has changed.", retryable=True)
            if answer.status_code not in {200, 206}:
                return _failed(
                    url,
                    f"Its server answered with HTTP {answer.status_code}.",
                    retryable=answer.status_code in _TRY_LATER,
                )
            part.begins(answer.status_code, answer.headers)
            async for data in answer.aiter_raw():
                part.append(data)
                if on_bytes is not None:
                    on_bytes(part.start, part.size)
    except httpx2.TransportError as error:
        return _failed(url, f"The connection broke off ({type(error).__name__}).", retryable=True)
    if part.size is not None and part.start != part.size:
        return _failed(url, f"{part.start} bytes came, and not {part.size}.", retryable=True)
    return None


def _failed(url: str, detail: str, *, retryable: bool) -> DownloadFailed:
    shown = urlsplit(url)  # without what may be a signature
    remedy = (
        "Try again: what is there already is kept."
        if retryable
        else "The file may be gone; ask for the result again."
    )
    return DownloadFailed(
        {
            "detail": f"{shown.scheme}://{shown.netloc}{shown.path} could not be downloaded. {detail}",
            "remedy": remedy,
            "retryable": retryable,
        }
    )
