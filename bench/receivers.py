"""Receivers of webhooks, on one server: `python -m bench.receivers PORT`. Most answer at once.

`/hangs` never answers in time, `/drips` never ends its head, and `/fails` answers 500. `GET /arrivals` says
when each message came first, in milliseconds since 1970.
"""

import asyncio
import json
import time

from starlette.types import Receive, Scope, Send

from bench.children import serve_until_parent_ends

BAD = ("/hangs", "/fails", "/drips")
ARRIVALS_PATH = "/arrivals"
_HANG_S = 20.0
_arrived: dict[str, int] = {}


async def serve(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers by the path."""
    now_ms = time.time_ns() // 1_000_000
    if message_id := dict(scope["headers"]).get(b"webhook-id"):
        _arrived.setdefault(message_id.decode(), now_ms)
    while (await receive()).get("more_body"):
        pass
    path = scope["path"]
    if path == "/hangs":
        await asyncio.sleep(_HANG_S)
    status = 500 if path == "/fails" else 200
    body = json.dumps(_arrived).encode() if path == ARRIVALS_PATH else b"ok"
    length = 100 if path == "/drips" else len(body)
    await send(
        {
            "type": "http.response.start",
            "status": status,
            "headers": [(b"content-length", b"%d" % length)],
        }
    )
    for _ in range(length - len(body)):
        await send({"type": "http.response.body", "body": b".", "more_body": True})
        await asyncio.sleep(_HANG_S / length)
    await send({"type": "http.response.body", "body": body})


if __name__ == "__main__":
    serve_until_parent_ends(serve)
