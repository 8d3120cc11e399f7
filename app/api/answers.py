"""Answers in JSON."""

from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

from app.kit.strict_json import dumps


def json_answer(
    document: Mapping[str, Any], *, status_code: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """A JSON object as an answer."""
    return Response(dumps(document), status_code=status_code, headers=headers, media_type="application/json")
