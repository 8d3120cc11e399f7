"""JSON bodies: reads a request's, within a size limit, and makes a response's, with an entity tag."""

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from app.auth.principal import Principal
from app.catalog.validate import media_texts
from app.errors import (
    BODY_TOO_LARGE,
    HTTP_ERROR,
    INVALID_JSON,
    LARGE_BODIES_BUSY,
    UNSUPPORTED_MEDIA_TYPE,
    Problem,
)
from app.gateway import Gateway
from app.kit.json import JSONRefused, dumps, parse_strict
from app.kit.room import RoomFullError
from app.media.data_uri import is_data_uri

_ROOM_WITHIN_S: Final = 2.0
_RETRY_AFTER_S: Final = 3
# The connection is closed: the rest of the body was not read, so no other request can follow it.
_CLOSE: Final = {"Connection": "close"}


async def read_object(request: Request, *, cap_bytes: int) -> dict[str, Any]:
    """Returns the JSON object in the body.

    Raises:
        Problem: UNSUPPORTED_MEDIA_TYPE, BODY_TOO_LARGE or INVALID_JSON; HTTP_ERROR where the caller
            disconnected.

    """
    check_type(request.headers)
    return object_in(await _read_up_to(request, cap_bytes))


async def read_file(request: Request, media_type: str, *, cap_bytes: int) -> bytes:
    """Returns the file in the body, of this media type and in UTF-8.

    Raises:
        Problem: UNSUPPORTED_MEDIA_TYPE or BODY_TOO_LARGE; HTTP_ERROR where the caller disconnected.

    """
    check_type(request.headers, media_type)
    return await _read_up_to(request, cap_bytes)


@asynccontextmanager
async def model_input(
    request: Request, gateway: Gateway, principal: Principal, model_id: str
) -> AsyncIterator[dict[str, Any]]:
    """Reads a model's input from the body, which may be larger by the files that it holds by value.

    Memory for large bodies is shared by all callers: inside the block, the input has its part of it.

    Raises:
        Problem: as from `read_object`; LARGE_BODIES_BUSY where there is no memory for it.

    """
    settings = gateway.settings
    model = gateway.catalog.models.get(model_id)
    max_bytes = settings.max_body_bytes
    max_by_value = settings.max_data_uri_bytes if settings.data_uris and model and model.compiled.media else 0
    check_type(request.headers)
    async with AsyncExitStack() as held:

        async def make_room(size: int) -> None:
            if size > max_bytes + max_by_value:
                raise _too_large_by_value(max_bytes, max_by_value)
            room = gateway.large_bodies.holding(size, principal.tenant_id, within_s=_ROOM_WITHIN_S)
            try:
                await held.enter_async_context(room)
            except RoomFullError:
                detail = "There is no memory for another large body at the moment."
                raise Problem(
                    LARGE_BODIES_BUSY, detail, retry_after_s=_RETRY_AFTER_S, headers=dict(_CLOSE)
                ) from None

        raw = await _read(request, max_bytes, make_room, up_to=max_bytes + max_by_value)
        if len(raw) <= max_bytes:
            body = object_in(raw)
        else:
            body = await asyncio.to_thread(object_in, raw)
            texts = media_texts(model, body) if model is not None else ()
            by_value = sum(len(text) for _, text in texts if is_data_uri(text))
            # Some writers of JSON escape slashes and line breaks: these are parts of the files too.
            escapes = raw.count(b"\\") if by_value else 0
            if by_value > max_by_value or len(raw) - by_value - escapes > max_bytes:
                raise _too_large_by_value(max_bytes, max_by_value)
        del raw
        yield body


def object_in(raw: bytes) -> dict[str, Any]:
    """Returns the JSON object that these bytes are.

    Raises:
        Problem: INVALID_JSON.

    """
    try:
        value = parse_strict(raw)
    except JSONRefused as error:
        raise Problem(INVALID_JSON, str(error)) from error
    if not isinstance(value, dict):
        raise Problem(
            INVALID_JSON, "The body is not a JSON object. Send the input itself, without a wrapper."
        )
    return value


def check_type(headers: Headers, wanted: str = "application/json") -> None:
    """Refuses a body that is of another type than the wanted one, by what its headers say.

    Raises:
        Problem: UNSUPPORTED_MEDIA_TYPE.

    """
    content_type = headers.get("content-type", wanted)
    if content_type != wanted:  # in other letters, or with parameters
        _check_content_type(content_type.lower(), wanted)
    coding = headers.get("content-encoding", "identity")
    if coding.strip().lower() != "identity":
        raise Problem(UNSUPPORTED_MEDIA_TYPE, f"Content-Encoding {coding[:100]!r} is not supported.")


def _check_content_type(content_type: str, wanted: str) -> None:
    media_type, _, parameters = (part.strip() for part in content_type.partition(";"))
    if media_type != wanted:
        raise Problem(UNSUPPORTED_MEDIA_TYPE, f"Content-Type is {media_type[:100]!r}, not {wanted}.")
    charset = re.search(r"charset\s*=\s*\"?([^\s;\"]*)", parameters) if parameters else None
    if charset is not None and charset[1] not in {"utf-8", "utf8"}:
        noun = "JSON" if wanted == "application/json" else "the file"
        raise Problem(
            UNSUPPORTED_MEDIA_TYPE, f"The charset is {charset[1][:100]!r}; {noun} must be in UTF-8."
        )


async def _read_up_to(request: Request, cap_bytes: int) -> bytes:
    async def too_large(_size: int) -> None:
        raise _too_large(f"A body may have at most {cap_bytes:,} bytes.")

    return await _read(request, cap_bytes, too_large)


async def _read(
    request: Request,
    free_bytes: int,
    make_room: Callable[[int], Awaitable[None]],
    *,
    up_to: int | None = None,
) -> bytes:
    """Returns the body. `make_room` is called once, before more than `free_bytes` of it are read.

    It is passed the size that was announced or, where none was, `up_to`.
    """
    max_bytes, has_room = free_bytes if up_to is None else up_to, False
    length = request.headers.get("content-length", "")
    announced = int(length[:19]) if length.isascii() and length.isdigit() else None
    if announced is not None and announced > free_bytes:
        await make_room(announced)
        has_room = True
    body = bytearray()
    try:
        async for chunk in request.stream():
            if len(body) + len(chunk) > free_bytes and not has_room:
                await make_room(max(max_bytes, free_bytes + 1))
                has_room = True
            body += chunk
            if len(body) > max_bytes:
                await make_room(len(body))
    except ClientDisconnect as error:
        raise Problem(HTTP_ERROR, "The connection was closed before the body was complete.") from error
    return bytes(body)


def _too_large_by_value(max_bytes: int, max_by_value: int) -> Problem:
    more = f", and data: URIs of at most {max_by_value:,} bytes beside them" if max_by_value else ""
    return _too_large(f"A body may have at most {max_bytes:,} bytes{more}.")


def _too_large(detail: str) -> Problem:
    return Problem(BODY_TOO_LARGE, detail, headers=dict(_CLOSE))


def json_response(
    document: Mapping[str, Any], *, status_code: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """Returns a response with a JSON object."""
    return Response(dumps(document), status_code=status_code, headers=headers, media_type="application/json")


def tag_of(document: Mapping[str, Any]) -> str:
    """Returns the document's strong entity tag: equal for equal bytes, and different for different ones."""
    return tag_of_bytes(dumps(document))


def tag_of_bytes(body: bytes) -> str:
    """Returns the strong entity tag of a document that was written already."""
    return f'"{hashlib.sha256(body).hexdigest()[:32]}"'


def tags_of(request: Request) -> frozenset[str]:
    """Returns the entity tags in `If-None-Match`, `*` among them.

    Weak tags are compared like strong ones, as RFC 9110 has it for this header.
    """
    values = ",".join(request.headers.getlist("if-none-match"))
    return frozenset(tag.strip().removeprefix("W/") for tag in values.split(",") if tag.strip())


def if_match_of(request: Request) -> frozenset[str] | None:
    """Returns the strong entity tags in `If-Match`, `*` among them; None where the header was not sent."""
    values = request.headers.getlist("if-match")
    if not values:
        return None
    tags = (tag.strip() for value in values for tag in value.split(","))
    return frozenset(tag for tag in tags if tag and not tag.startswith("W/"))


def tagged_response(
    request: Request, document: Mapping[str, Any], *, headers: Mapping[str, str] | None = None
) -> Response:
    """Returns a JSON object with its entity tag; 304 without a body where the caller has it already."""
    body = dumps(document)
    tag = tag_of_bytes(body)
    if tags_of(request) & {tag, "*"}:
        return Response(status_code=304, headers={**(headers or {}), "ETag": tag})
    return tagged_body(body, tag, headers)


def tagged_body(body: bytes, tag: str, headers: Mapping[str, str] | None = None) -> Response:
    """Returns a JSON object that was written already, with its entity tag."""
    return Response(body, headers={**(headers or {}), "ETag": tag}, media_type="application/json")
