"""A stand-in for RunComfy that costs next to nothing: `python -m bench.standin PORT`.

Raw ASGI, no state but a counter. A job whose body holds `FINISHES` is finished when first asked about;
any other is in the queue for ever. Jobs are told apart by their id alone. It checks no token.
"""

import itertools
import os

from starlette.types import Receive, Scope, Send

from bench.children import serve_until_parent_ends

FINISHES = "[bench:finishes]"
COUNT_PATH = "/count"

_JSON = (b"content-type", b"application/json")
_OUTPUT = b'{"video":"https://example.com/reelgate-bench.mp4"}'


class StandIn:
    """Answers submit, status, result and cancel; `GET /count` says how many submits it received in full."""

    def __init__(self) -> None:
        self._run = os.urandom(4).hex()
        self._numbers = itertools.count(1)
        self._received = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one HTTP request."""
        path: str = scope["path"]
        if path == COUNT_PATH:
            status, answer = 200, b'{"submits":%d}' % self._received
        elif path.startswith("/v1/models/") and scope["method"] == "POST":
            status, answer = 200, self._submit(await _body(receive))
        else:
            status, answer = _look(path)
        headers = [_JSON, (b"content-length", b"%d" % len(answer))]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": answer})

    def _submit(self, body: bytes) -> bytes:
        self._received += 1
        kind = "done" if FINISHES.encode() in body else "live"
        return b'{"request_id":"%s"}' % f"{kind}-{self._run}-{next(self._numbers)}".encode()


def _look(path: str) -> tuple[int, bytes]:
    done = path.startswith("/v1/requests/done-")
    if path.endswith("/status"):
        return 200, b'{"status":"completed"}' if done else b'{"status":"in_queue","queue_position":3}'
    if path.endswith("/result"):
        return 200, b'{"status":"succeeded","output":%s}' % _OUTPUT if done else b'{"status":"in_queue"}'
    if path.endswith("/cancel"):
        return 202, b'{"outcome":"not_cancellable"}'
    return 404, b'{"error_code":404001}'


async def _body(receive: Receive) -> bytes:
    body = b""
    while True:
        message = await receive()
        chunk: bytes = message.get("body", b"")
        body += chunk
        if not message.get("more_body", False):
            return body


if __name__ == "__main__":
    serve_until_parent_ends(StandIn())
