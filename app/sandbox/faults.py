"""Responses that only directives cause: refusals, broken bodies, slow bodies, and none at all."""

import asyncio
import json
from collections.abc import Callable, Mapping
from email.utils import formatdate
from typing import Any

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.types import Message, Receive, Scope, Send

from app.sandbox import replies
from app.sandbox.options import SandboxOptions

PAGE = "<!doctype html><title>{0}</title><h1>{0}</h1>"
OVERSIZE_CHARACTERS = 80_000  # more than the 64 KiB that a careful client reads
LONG_ID = "x" * 300
UNSAFE_ID = "../../v1/models?x=1#\r\nX-Injected: yes"
BROKEN_JSON = b'{"request_id": "'
VENDOR_CODES = {
    400: replies.BAD_MODEL,
    401: replies.BAD_TOKEN,
    402: replies.NO_BALANCE,
    403: 403_001,
    404: replies.UNKNOWN_REQUEST,
}

Steering = Mapping[str, float]


def refusal(steering: Steering, options: SandboxOptions, now: float) -> Response | None:
    """Returns the response to a submit that a directive refuses; None where none does."""
    for name, make in REFUSALS.items():
        if name in steering:
            return make(steering[name], options, now)
    return None


def _reject(value: float, _options: SandboxOptions, _now: float) -> Response:
    code = int(value)
    if code == 422:  # noqa: PLR2004  this status has a shape of its own
        return JSONResponse(replies.mismatch("refused by the sandbox", "prompt"), code)
    return JSONResponse(replies.error(VENDOR_CODES.get(code, code * 1000), "refused by the sandbox"), code)


def _busy(code: int) -> Callable[[float, SandboxOptions, float], Response]:
    def make(value: float, _options: SandboxOptions, _now: float) -> Response:
        body = replies.error(code * 1000, "try again later")
        return JSONResponse(body, code, headers={"Retry-After": f"{value:g}"})

    return make


def _busy_until(value: float, _options: SandboxOptions, now: float) -> Response:
    headers = {"Retry-After": formatdate(now + value, usegmt=True)}
    return JSONResponse(replies.error(429_000, "try again later"), 429, headers=headers)


REFUSALS: dict[str, Callable[[float, SandboxOptions, float], Response]] = {
    "reject": _reject,
    "status": lambda value, _o, _n: HTMLResponse(PAGE.format(int(value)), int(value)),
    "error-code": lambda value, _o, _n: JSONResponse(replies.error(int(value), "refused by the sandbox")),
    "rate-limit": _busy(429),
    "rate-limit-date": _busy_until,
    "503-retry-after": _busy(503),
    "unauthorized": lambda _v, _o, _n: JSONResponse({"message": "Unauthorized"}, 401),
    "no-balance": lambda _v, _o, _n: JSONResponse(
        replies.error(replies.NO_BALANCE, "insufficient balance"), 402
    ),
    "credential": lambda _v, _o, _n: JSONResponse(replies.error(replies.BAD_TOKEN, "invalid token"), 400),
    "redirect": lambda _v, options, _n: RedirectResponse(options.url("/elsewhere"), 302),
}


def acceptance(steering: Steering, body: dict[str, Any]) -> Response:
    """Returns the response to a submit that was recorded, well formed or malformed as a directive asks."""
    for name, make in BENT.items():
        if name in steering:
            return make(body)
    return JSONResponse(body)


BENT: dict[str, Callable[[dict[str, Any]], Response]] = {
    "malformed": lambda _: Response(BROKEN_JSON, media_type="application/json"),
    "html": lambda _: HTMLResponse(PAGE.format("Welcome")),
    "empty-object": lambda _: JSONResponse({}),
    "no-id": lambda body: JSONResponse({name: value for name, value in body.items() if name != "request_id"}),
    "null-id": lambda body: JSONResponse({**body, "request_id": None}),
    "numeric-id": lambda body: JSONResponse({**body, "request_id": 12345}),
    "long-id": lambda body: JSONResponse({**body, "request_id": LONG_ID}),
    "unsafe-id": lambda body: JSONResponse({**body, "request_id": UNSAFE_ID}),
    "oversize": lambda body: JSONResponse({**body, "padding": "x" * OVERSIZE_CHARACTERS}),
    "truncated": lambda body: Truncated(json.dumps(body), media_type="application/json"),
}


class Truncated(Response):
    """A response that announces its whole length and sends half, so that the server has to disconnect."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002  ASGI's signature
        """Sends half of the body and returns without ending the response."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        half = bytes(self.body)[: len(self.body) // 2]
        await send({"type": "http.response.body", "body": half, "more_body": True})


class Dripping(Response):
    """Another response, whose body is sent byte by byte; ends early when the client leaves."""

    def __init__(self, inner: Response, pause_s: float) -> None:
        super().__init__(status_code=inner.status_code)
        self.raw_headers, self.body, self._pause_s = inner.raw_headers, inner.body, pause_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002  ASGI's signature
        """Sends byte after byte with a pause before each."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        left = asyncio.ensure_future(receive())
        try:
            for byte in bytes(self.body):
                done, _ = await asyncio.wait({left}, timeout=self._pause_s)
                if done and left.result()["type"] == "http.disconnect":
                    return
                await send({"type": "http.response.body", "body": bytes([byte]), "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            left.cancel()
        if self.background is not None:
            await self.background()


async def left_within(request: Request, seconds: float) -> bool:
    """Waits for the client to leave; returns whether it did in that time. The body must have been read."""
    try:
        async with asyncio.timeout(seconds):
            message: Message = {"type": ""}
            while message["type"] != "http.disconnect":
                message = await request.receive()
    except TimeoutError:
        return False
    return True


async def hang(request: Request, limit_s: float) -> Response:
    """Keeps the client waiting until it leaves; returns a 504 after the limit, so that every call ends."""
    await left_within(request, limit_s)
    return JSONResponse({"message": "the sandbox hung as it was told"}, 504)
