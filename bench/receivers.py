"""Receivers of webhooks, on one server: `python -m bench.receivers PORT`. Most answer at once.

`/hangs` never answers in time, `/drips` never ends its head, and `/fails` answers 500.
"""

import asyncio

from starlette.types import Receive, Scope, Send

from bench.children import serve_until_parent_ends

BAD = ("/hangs", "/fails", "/drips")
_HANG_S = 20.0


async def serve(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers by the path."""
    while (await receive()).get("more_body"):
        pass
    path = scope["path"]
    if path == "/hangs":
        await asyncio.sleep(_HANG_S)
    status = 500 if path == "/fails" else 200
    length = 100 if path == "/drips" else 2
    await send(
        {
            "type": "http.response.start",
            "status": status,
            "headers": [(b"content-length", b"%d" % length)],
        }
    )
    for _ in range(length - 2):
        await send({"type": "http.response.body", "body": b".", "more_body": True})
        await asyncio.sleep(_HANG_S / length)
    await send({"type": "http.response.body", "body": b"ok"})


if __name__ == "__main__":
    serve_until_parent_ends(serve)
