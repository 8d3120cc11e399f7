"""Serving a stored file: whole or in part, to players that seek, and never as anything that a browser runs.

One range is served, as RFC 9110 describes; what is no single range that we understand is ignored, which a
server may do. The entity tag is the SHA-256 of the content, which never changes. The bytes are read as the
client takes them: a slow one holds no thread and no connection to the database.
"""

import asyncio
import re
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from app.api.bodies import tags_of
from app.api.pages import send_to
from app.errors import RANGE_NOT_SATISFIABLE, Problem
from app.files.uploads import unavailable
from app.storage.opening import Storage
from app.storage.store import StorageError, Store

_RANGE = re.compile(r"bytes=\s*(?:(\d{1,18})-(\d{0,18})|-(\d{1,18}))\s*", re.ASCII)
_INLINE = re.compile(r"(?:video|audio|image)/[a-z0-9.+-]+")
_NOT_INLINE: Final = frozenset({"image/svg+xml"})
_IMMUTABLE: Final = "private, max-age=31536000, immutable"
_REDIRECT_S: Final = 900
# What a browser shows of it by itself, such as a video with its controls, and nothing else.
_POLICY: Final = "default-src 'none'; img-src 'self'; media-src 'self'; style-src 'unsafe-inline'; sandbox"
HEAD_ALONE: Final = "head_alone"
"""The name, in a request's state, of whether its answer is sent without its body."""
EMBEDDABLE: Final = "embeddable"
"""The name, in a request's state, of whether pages of other origins may embed its answer."""
OPAQUE: Final = "application/octet-stream"


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """What is served: the key of the bytes, their number and hash, and what they are called and are.

    `to_anybody` says that pages of other origins may embed it: whoever has its link may read it anyway.
    """

    key: str
    size_bytes: int
    sha256: str
    media_type: str
    name: str
    to_anybody: bool = False

    @property
    def shown_type(self) -> str:
        """Its media type, if a browser may show it; else one that no browser does anything with."""
        return self.media_type if _is_inline(self.media_type) else OPAQUE

    @property
    def disposition(self) -> str:
        """The header `Content-Disposition`."""
        plain = re.sub(r'[^ -~]|["\\%]', "_", self.name)
        how = "inline" if _is_inline(self.media_type) else "attachment"
        named = f'{how}; filename="{plain}"'
        return named if plain == self.name else f"{named}; filename*=UTF-8''{quote(self.name, safe='')}"


def serve(request: Request, storage: Storage, file: Served, *, redirects: bool) -> Response:
    """Returns the response with a file, or with the part of it that was asked for.

    With `redirects` the client is sent to the store itself, where that has addresses for it.

    Raises:
        Problem: RANGE_NOT_SATISFIABLE.

    """
    if file.to_anybody:
        request.scope["state"][EMBEDDABLE] = True
    tag = f'"{file.sha256}"'
    is_head = request.scope["state"].get(HEAD_ALONE, False)  # the store's links are signed for GET alone
    if redirects and not is_head and (link := _link(storage.store, file)) is not None:
        return send_to(request, link)
    headers = {
        "Accept-Ranges": "bytes",
        "Cache-Control": _IMMUTABLE,
        "Content-Disposition": file.disposition,
        "Content-Security-Policy": _POLICY,
        "ETag": tag,
    }
    if {tag, "*"} & tags_of(request):
        return Response(status_code=304, headers=headers)
    wanted = None
    if request.headers.get("if-range") in {None, tag}:
        wanted = _range_of(request.headers.get("range"), file.size_bytes)
    if wanted is not None and wanted[0] >= wanted[1]:
        unsatisfied = {"Content-Range": f"bytes */{file.size_bytes}", "Accept-Ranges": "bytes"}
        raise Problem(RANGE_NOT_SATISFIABLE, f"The file has {file.size_bytes:,} bytes.", headers=unsatisfied)
    start, end = wanted or (0, file.size_bytes)
    headers["Content-Length"] = str(end - start)
    if wanted is not None:
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{file.size_bytes}"
    status = 200 if wanted is None else 206
    part = _Part(storage, file.key, start, end)
    return _PartResponse(part, status_code=status, headers=headers, media_type=file.shown_type)


def _link(store: Store, file: Served) -> str | None:
    return store.link(
        file.key, expires_s=_REDIRECT_S, media_type=file.shown_type, disposition=file.disposition
    )


@dataclass(frozen=True, slots=True)
class _Part:
    """Bytes in the store: those from `start` up to but not including `end`."""

    storage: Storage
    key: str
    start: int
    end: int


class _PartResponse(Response):
    """Sends bytes of the store as fast as the client takes them, and stops when it has left."""

    def __init__(self, part: _Part, **more: Any) -> None:
        super().__init__(**more)
        self._part = part

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends the response.

        Raises:
            Problem: STORAGE_UNAVAILABLE, where nothing was sent yet.
            StorageError: the store broke off.

        """
        start = {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
        part = self._part
        if scope["state"].get(HEAD_ALONE, False) or part.start >= part.end:
            await send(start)
            await send({"type": "http.response.body", "body": b""})
            return
        left = asyncio.ensure_future(_until_left(receive))
        try:
            async with aclosing(part.storage.read(part.key, part.start, part.end)) as chunks:
                try:
                    chunk = await anext(chunks)
                except StorageError as error:
                    raise unavailable(error) from error
                await send(start)
                while chunk and not left.done():
                    await send({"type": "http.response.body", "body": chunk, "more_body": True})
                    chunk = await anext(chunks, b"")
            await send({"type": "http.response.body", "body": b""})
        finally:
            left.cancel()


async def _until_left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _range_of(text: str | None, size: int) -> tuple[int, int] | None:
    """Returns the first byte of a single range and the one behind its last; equal where there is none.

    Returns None where the whole file is to be sent: for no range, several, or one that is malformed.
    """
    found = None if text is None else _RANGE.fullmatch(text)
    if found is None:
        return None
    first, last, suffix = found.groups()
    if suffix is not None:
        length = min(int(suffix), size)
        return size - length, size
    start, end = int(first), size if not last else min(int(last) + 1, size)
    if last and int(last) < start:
        return None
    return (start, end) if start < size else (size, size)


def _is_inline(media_type: str) -> bool:
    return _INLINE.fullmatch(media_type) is not None and media_type not in _NOT_INLINE
