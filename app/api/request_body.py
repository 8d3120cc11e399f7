"""Reads request bodies: one JSON object, within a size limit."""

import re
from typing import Any

from starlette.requests import ClientDisconnect, Request

from app.errors import BODY_TOO_LARGE, HTTP_ERROR, INVALID_JSON, UNSUPPORTED_MEDIA_TYPE, Problem
from app.kit.json import JSONRefused, parse_strict


async def read_object(request: Request, *, cap_bytes: int) -> dict[str, Any]:
    """Returns the JSON object in the body.

    Raises:
        Problem: UNSUPPORTED_MEDIA_TYPE, BODY_TOO_LARGE or INVALID_JSON; HTTP_ERROR where the caller
            disconnected.

    """
    _check_type(request)
    raw = await _read(request, cap_bytes)
    try:
        value = parse_strict(raw)
    except JSONRefused as error:
        raise Problem(INVALID_JSON, str(error)) from error
    if not isinstance(value, dict):
        raise Problem(
            INVALID_JSON, "The body is not a JSON object. Send the input itself, without a wrapper."
        )
    return value


def _check_type(request: Request) -> None:
    content_type = request.headers.get("content-type", "application/json").lower()
    media_type, _, parameters = (part.strip() for part in content_type.partition(";"))
    if media_type != "application/json":
        raise Problem(UNSUPPORTED_MEDIA_TYPE, f"Content-Type is {media_type[:100]!r}, not application/json.")
    charset = re.search(r"charset\s*=\s*\"?([^\s;\"]*)", parameters)
    if charset is not None and charset[1] not in {"utf-8", "utf8"}:
        raise Problem(UNSUPPORTED_MEDIA_TYPE, f"The charset is {charset[1][:100]!r}; JSON must be in UTF-8.")
    coding = request.headers.get("content-encoding", "identity")
    if coding.strip().lower() != "identity":
        raise Problem(UNSUPPORTED_MEDIA_TYPE, f"Content-Encoding {coding[:100]!r} is not supported.")


async def _read(request: Request, cap_bytes: int) -> bytes:
    announced = request.headers.get("content-length", "")
    if announced.isascii() and announced.isdigit() and int(announced[:19]) > cap_bytes:
        raise _too_large(cap_bytes)
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > cap_bytes:
                raise _too_large(cap_bytes)
    except ClientDisconnect as error:
        raise Problem(HTTP_ERROR, "The connection was closed before the body was complete.") from error
    return bytes(body)


def _too_large(cap_bytes: int) -> Problem:
    # The connection is closed: the rest of the body was not read, so no other request can follow it.
    return Problem(
        BODY_TOO_LARGE, f"A body may have at most {cap_bytes} bytes.", headers={"Connection": "close"}
    )
