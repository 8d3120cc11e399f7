"""What is said to the server, and what its answers mean. Pure."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any
from urllib.parse import quote, urlsplit

import httpx2

from reelgate_client.errors import (
    NoGateway,
    OutcomeUnknown,
    ReelgateError,
    Refused,
    Unavailable,
    refusal,
    runcomfy_refusal,
)

TRACE = "reelgate-trace-id"
"""The header of every answer of a gateway, by which one is told from other servers."""
_NOT_SENT = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout, httpx2.UnsupportedProtocol)
_TRY_LATER = {408, 425, 429, 500, 502, 503, 504}


@dataclass(frozen=True)
class Call:
    """One call.

    `is_harmless` calls can be made any number of times. A submit is `keyed`: a gateway makes one request of
    any number of them, other servers do not.
    """

    method: str
    path: str
    params: tuple[tuple[str, str], ...] = ()
    headers: dict[str, str] = field(default_factory=dict)
    document: Any = None
    is_harmless: bool = True
    is_keyed: bool = False
    timeout_s: float | None = None
    request_id: str | None = None
    content: Callable[[], Any] | None = None
    """Makes the body, as a stream of bytes, anew for each try."""


def base_of(base_url: str | None) -> str:
    """Returns the address of the server, from the argument or the environment."""
    chosen = base_url or os.environ.get("REELGATE_URL", "")
    parts = urlsplit(chosen)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError(
            "Name the gateway: base_url='https://gateway.example', or REELGATE_URL in the environment."
        )
    if parts.username is not None or parts.query or parts.fragment:
        raise ValueError("The base URL has no user, query or fragment: the key is an argument of its own.")
    return chosen.rstrip("/")


def key_of(api_key: str | None) -> str:
    """Returns the API key or client token, from the argument or the environment."""
    chosen = (api_key or os.environ.get("REELGATE_KEY", "")).strip()
    if not chosen:
        raise ValueError("Give an API key: api_key='rg_live_…', or REELGATE_KEY in the environment.")
    if not (chosen.isascii() and chosen.isprintable()) or " " in chosen:
        raise ValueError("The API key has characters that no key has.")
    return chosen


def user_agent() -> str:
    """Returns what the server is told of this library, in `User-Agent`."""
    try:
        own = version("reelgate-client")
    except PackageNotFoundError:  # run from a folder that was never installed
        own = "0"
    return f"reelgate-client/{own} python/{sys.version_info.major}.{sys.version_info.minor}"


def path_of(*segments: str) -> str:
    """Returns a path below `/v1`; the slashes of a model id stay."""
    return "/v1/" + "/".join(quote(one.strip("/"), safe="/:@") for one in segments)


def params_of(given: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    """Returns query parameters; those that are None are left out, lists are repeated."""
    several = (
        (name, value if isinstance(value, list | tuple) else (value,)) for name, value in given.items()
    )
    return tuple(
        (name.rstrip("_"), _written(one)) for name, values in several for one in values if one is not None
    )


def _written(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return moment(value) if isinstance(value, datetime) else str(value)


def moment(at: datetime) -> str:
    """Returns a moment as the gateway reads it; one without a zone is this machine's time."""
    return at.astimezone(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def was_sent(error: httpx2.TransportError) -> bool:
    """Whether the server may have received the call."""
    return not isinstance(error, _NOT_SENT)


def refusal_in(answer: httpx2.Response, call: Call, now: datetime) -> ReelgateError | None:
    """Returns what a complete answer refuses; None where it is a document, or not modified."""
    document = _document(answer)
    if answer.status_code == httpx2.codes.NOT_MODIFIED:
        return None
    if answer.status_code == httpx2.codes.NO_CONTENT and call.method == "DELETE":
        return None
    if answer.is_success and document is not None and not document.get("error_code"):
        return None
    if document is not None and "code" in document and "retryable" in document:
        error = refusal(answer.status_code, document)
    elif document is not None and not answer.is_success:
        error = runcomfy_refusal(answer.status_code, document)
    elif document is not None:
        error = runcomfy_refusal(answer.status_code, document)  # which RunComfy does within a 200 too
    else:
        error = _unexpected(answer)
    error.request_id = error.request_id or call.request_id
    error.trace_id = error.trace_id or answer.headers.get(TRACE)
    error.retry_after_s = _retry_after_s(answer.headers.get("retry-after"), now) or error.retry_after_s
    return error


def _document(answer: httpx2.Response) -> dict[str, Any] | None:
    try:
        document = answer.json()
    except ValueError:
        return None
    return document if isinstance(document, dict) else None


def _unexpected(answer: httpx2.Response) -> ReelgateError:
    """Returns what an answer means that is no document: of a proxy in between, or of another server."""
    status = answer.status_code
    shown = f"HTTP {status}, {answer.headers.get('content-type', 'of no type')}"
    if status in _TRY_LATER:
        return Unavailable(
            {"code": f"http_{status}", "detail": f"A server in between answered: {shown}."}, status=status
        )
    if answer.is_success or answer.is_redirect or status in {404, 405}:
        origin = f"{answer.request.url.scheme}://{answer.request.url.netloc.decode()}"
        detail = f"There is no gateway at {origin}: it answered with {shown}."
        return NoGateway({"detail": detail, "remedy": "Check the base URL."}, status=status)
    return Refused({"code": f"http_{status}", "detail": f"The server answered: {shown}."}, status=status)


def _retry_after_s(text: str | None, now: datetime) -> float | None:
    if not text:
        return None
    if text.strip().isdigit():
        return float(text)
    try:
        at = parsedate_to_datetime(text)
    except ValueError:
        return None
    return max(0.0, (at.astimezone(timezone.utc) - now).total_seconds())


def may_repeat(error: ReelgateError, call: Call, *, is_gateway: bool) -> bool:
    """Whether a call that failed can be made again without harm.

    What the gateway calls retryable has done nothing, or is answered with what it has done. Of anything else
    only harmless calls can be repeated, and a submit where a gateway counts it once.
    """
    if "retryable" in error.problem:
        return error.retryable
    if error.code == "unreachable" and not getattr(error, "maybe_sent", True):
        return True
    is_passing = error.code == "unreachable" or error.status in _TRY_LATER
    return is_passing and (call.is_harmless or (call.is_keyed and is_gateway))


def is_ambiguous(error: ReelgateError) -> bool:
    """Whether a call may have been carried out although it failed."""
    if "retryable" in error.problem:
        return False
    return getattr(error, "maybe_sent", False) or (error.status or 0) >= httpx2.codes.INTERNAL_SERVER_ERROR


def is_of_the_first(error: ReelgateError) -> bool:
    """Whether a refusal of a repeated submit also tells what became of the tries before.

    The gateway looks for an earlier submit with the key before it judges an input, so an input that it
    refuses was never accepted. Who calls, limits and files it may judge differently from one moment to the
    next.
    """
    if isinstance(error, OutcomeUnknown):
        return True
    return (
        "retryable" in error.problem
        and error.status in {400, 404, 413, 415, 422}
        and not error.code.startswith("media_")
    )
