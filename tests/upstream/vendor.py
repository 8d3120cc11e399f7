"""A RunComfy with several accounts, over real HTTP; each sees its own jobs and refuses as it is told."""

import json
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from starlette.types import Receive, Scope, Send

from tests.sandbox.harness import DEADLINE_S

Refusal = tuple[int, dict[str, str], Any]
"""A status, headers and a document, or text that is none."""

REFUSALS: dict[str, Refusal] = {
    "401": (401, {}, {"message": "Unauthorized"}),
    "402": (402, {}, {"error_code": 400002, "error_message": "insufficient balance"}),
    "403": (403, {}, {"error_code": 403001, "error_message": "forbidden"}),
    "429": (429, {"retry-after": "60"}, {"error_code": 429000, "error_message": "try again later"}),
}


@dataclass
class Account:
    """What one token was used for.

    `submits` and `looks` refuse what is set there; `calls` are (method, request id or "") in order.
    """

    submits: Refusal | None = None
    looks: Refusal | None = None
    words: str = "in_queue"
    jobs: list[str] = field(default_factory=list)
    bodies: list[dict[str, Any]] = field(default_factory=list)
    calls: list[tuple[str, str]] = field(default_factory=list)

    def looks_at(self, request_id: str) -> int:
        return self.calls.count(("GET", request_id))


@dataclass
class Vendor:
    """The ASGI application, and its books. `url` is where it is reached."""

    accounts: dict[str, Account]
    url: str = ""

    @property
    def bodies(self) -> int:
        """How many submits were received."""
        return sum(len(one.bodies) for one in self.accounts.values())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] == "http"
        body = b""
        while (message := await receive()).get("more_body", False):
            body += message["body"]
        body += message["body"]
        token = dict(scope["headers"])[b"authorization"].decode().removeprefix("Bearer ")
        status, headers, document = self._answer(self.accounts[token], scope["method"], scope["path"], body)
        content = document.encode() if isinstance(document, str) else json.dumps(document).encode()
        raw = [(name.encode(), value.encode()) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": status, "headers": raw})
        await send({"type": "http.response.body", "body": content})

    def _answer(self, account: Account, method: str, path: str, body: bytes) -> Refusal:
        if path.startswith("/v1/models/"):
            account.calls.append((method, ""))
            account.bodies.append(json.loads(body))
            if account.submits is not None:
                return account.submits
            account.jobs.append(str(uuid.uuid4()))
            return 200, {}, {"request_id": account.jobs[-1]}
        request_id, _, what = path.removeprefix("/v1/requests/").partition("/")
        account.calls.append((method, request_id))
        if account.looks is not None:
            return account.looks
        if request_id not in account.jobs:
            return 404, {}, {"error_code": 404001, "error_message": "request not found"}
        if what == "cancel":
            account.words = "cancelled"
            return 202, {}, {"outcome": "cancelled"}
        output = {"output": {"video": "https://x.test/y.mp4"}} if account.words == "completed" else {}
        return 200, {}, {"status": account.words, **output}


@contextmanager
def vendor_with(*tokens: str) -> Iterator[Vendor]:
    """Serve a vendor that knows these tokens on a free port until the block ends."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    vendor = Vendor({one: Account() for one in tokens}, f"http://127.0.0.1:{listener.getsockname()[1]}")
    config = uvicorn.Config(
        vendor,
        log_level="critical",
        ws="none",
        lifespan="off",
        loop="asyncio",
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    until = time.monotonic() + DEADLINE_S
    while not server.started:
        assert thread.is_alive()
        assert time.monotonic() < until
        time.sleep(0.005)
    try:
        yield vendor
    finally:
        server.should_exit = True
        thread.join(DEADLINE_S)
        listener.close()
