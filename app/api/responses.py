"""Responses that are JSON documents, with entity tags."""

import hashlib
from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from app.kit.json import dumps


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
