"""JSON bodies: reads a request's, within a size limit, and makes a response's, with an entity tag."""

import hashlib
import re
from collections.abc import Mapping
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from app.errors import BODY_TOO_LARGE, HTTP_ERROR, INVALID_JSON, UNSUPPORTED_MEDIA_TYPE, Problem
from app.kit.json import JSONRefused, dumps, parse_strict


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


def json_response(
    document: Mapping[str, Any], *, status_code: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """Returns a response with a JSON object."""
    return Response(dumps(document), status_code=status_code, headers=headers, media_type="application/json")


def tag_of(document: Mapping[str, Any]) -> str:
    """Returns the document's strong entity tag: equal for equal bytes, and different for different ones."""
    return f'"{hashlib.sha256(dumps(document)).hexdigest()[:32]}"'


def tags_of(request: Request) -> frozenset[str]:
    """Returns the entity tags in `If-None-Match`, `*` among them.

    Weak tags are compared like strong ones, as RFC 9110 has it for this header.
    """
    values = ",".join(request.headers.getlist("if-none-match"))
    return frozenset(tag.strip().removeprefix("W/") for tag in values.split(",") if tag.strip())


def tagged_response(
    request: Request, document: Mapping[str, Any], *, headers: Mapping[str, str] | None = None
) -> Response:
    """Returns a JSON object with its entity tag; 304 without a body where the caller has it already."""
    tag = tag_of(document)
    headers = {**(headers or {}), "ETag": tag}
    if tags_of(request) & {tag, "*"}:
        return Response(status_code=304, headers=headers)
    return json_response(document, headers=headers)
