"""A stand-in for RunComfy that costs next to nothing: `python -m bench.standin PORT`.

It is raw ASGI, with no state but two counters, and serves a picture. A job whose body contains `FINISHES` is
finished when first asked about; one whose body contains `[bench:ends=2.5]` is in progress for that many
seconds; any other stays in the queue for ever. A job's id says which it is, and when it ends in milliseconds.
Tokens are not checked.
"""

import itertools
import os
import re
import struct
import time
import zlib
from typing import Final

from starlette.types import Receive, Scope, Send

from bench.children import serve_until_parent_ends

FINISHES = "[bench:finishes]"
COUNT_PATH = "/count"
PICTURE_PATH = "/picture.png"

_JSON = (b"content-type", b"application/json")
_OUTPUT = b'{"video":"https://example.com/reelgate-bench.mp4"}'
_ENDS: Final = re.compile(rb"\[bench:ends=([0-9.]+)\]")
_QUEUED: Final = "live"
_RUNNING: Final = "running"
_ENDING: Final = "ends"


def ends_in(delay_s: float) -> str:
    """Returns the text for a prompt that makes its job end `delay_s` seconds after its submit."""
    return f"[bench:ends={delay_s:.3f}]"


def end_of(upstream_request_id: str) -> int:
    """Returns when such a job ended upstream, in milliseconds since 1970."""
    return int(upstream_request_id.split("-")[2])


def live_id(number: int, *, running: bool) -> str:
    """Returns the upstream id of a job that never ends."""
    return f"{_RUNNING if running else _QUEUED}-0-0-{number}"


class StandIn:
    """Answers submit, status, result and cancel.

    `GET /count` returns the number of submits, and of all other calls as `looks`.
    """

    def __init__(self) -> None:
        self._run = os.urandom(4).hex()
        self._numbers = itertools.count(1)
        self._received = 0
        self._looks = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one HTTP request."""
        path: str = scope["path"]
        if path == COUNT_PATH:
            status, answer = 200, b'{"submits":%d,"looks":%d}' % (self._received, self._looks)
        elif path == PICTURE_PATH:
            await _send_picture(send)
            return
        elif path.startswith("/v1/models/") and scope["method"] == "POST":
            status, answer = 200, self._submit(await _body(receive))
        else:
            self._looks += 1
            status, answer = _look(path)
        headers = [_JSON, (b"content-length", b"%d" % len(answer))]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": answer})

    def _submit(self, body: bytes) -> bytes:
        self._received += 1
        kind, end_ms = _QUEUED, 0
        if FINISHES.encode() in body:
            kind = _ENDING
        elif found := _ENDS.search(body):
            kind, end_ms = _ENDING, time.time_ns() // 1_000_000 + int(float(found[1]) * 1000)
        return b'{"request_id":"%s"}' % f"{kind}-{self._run}-{end_ms}-{next(self._numbers)}".encode()


async def _send_picture(send: Send) -> None:
    """Sends the first 64 KiB of a picture of 2 MB, as an object store answers a range."""
    headers = [
        (b"content-type", b"image/png"),
        (b"content-range", b"bytes 0-65535/2000000"),
        (b"content-length", b"65536"),
    ]
    await send({"type": "http.response.start", "status": 206, "headers": headers})
    await send({"type": "http.response.body", "body": _PICTURE})


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


_PICTURE: Final = (
    b"\x89PNG\r\n\x1a\n"
    + _chunk(b"IHDR", struct.pack(">IIBBBBB", 1600, 900, 8, 2, 0, 0, 0))
    + _chunk(b"IDAT", b"")
).ljust(65_536, b"\0")


def _look(path: str) -> tuple[int, bytes]:
    kind, _, rest = path.removeprefix("/v1/requests/").partition("-")
    done = kind == _ENDING and time.time_ns() // 1_000_000 >= int(rest.split("-")[1])
    if path.endswith("/status"):
        if done:
            return 200, b'{"status":"completed"}'
        running = kind in {_RUNNING, _ENDING}
        return 200, b'{"status":"in_progress"}' if running else b'{"status":"in_queue","queue_position":3}'
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
