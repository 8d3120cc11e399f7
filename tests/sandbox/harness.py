"""A sandbox over real HTTP, in a thread, with a clock that only moves when told."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import uvicorn
from starlette.types import Receive, Scope, Send

from app.sandbox.app import create_sandbox
from app.sandbox.options import SandboxOptions

TOKEN = "sandbox-token"
DREAMINA = "bytedance/dreamina-3-0/image-to-video"
DEADLINE_S = 30.0  # real time: only a hung test ever sees it
_KEPT_S = 3600  # longer than any client keeps a connection: one that is closed as it is used breaks a test


@dataclass
class ManualClock:
    now: float = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Running:
    """A served sandbox and a client that carries its token."""

    options: SandboxOptions
    clock: ManualClock
    client: httpx2.Client = field(repr=False)
    was_asked: bool = True
    """Whether anybody called it since it was tidied."""

    def post(self, prompt: str = "", *, model_id: str = DREAMINA, **fields: Any) -> httpx2.Response:
        return self.client.post(f"/v1/models/{model_id}", json={"prompt": prompt, **fields})

    def submit(self, prompt: str = "", *, model_id: str = DREAMINA, **fields: Any) -> str:
        answer = self.post(prompt, model_id=model_id, **fields)
        assert answer.status_code == 200, answer.text
        request_id = answer.json()["request_id"]
        assert isinstance(request_id, str)
        return request_id

    def status(self, request_id: str) -> dict[str, Any]:
        return self.json(f"/v1/requests/{request_id}/status")

    def result(self, request_id: str, query: str = "") -> dict[str, Any]:
        return self.json(f"/v1/requests/{request_id}/result{query}")

    def cancel(self, request_id: str) -> dict[str, Any]:
        answer = self.client.post(f"/v1/requests/{request_id}/cancel")
        assert answer.status_code == 202
        body = answer.json()
        assert isinstance(body, dict)
        return body

    def ledger(self) -> dict[str, Any]:
        return self.json("/sandbox/ledger")

    def json(self, path: str) -> dict[str, Any]:
        answer = self.client.get(path)
        assert answer.status_code == 200, answer.text
        body = answer.json()
        assert isinstance(body, dict)
        return body

    def finish(self, request_id: str) -> dict[str, Any]:
        """Let all of a job's least times pass and wait for its rendering; its result."""
        self.clock.now += self.options.queue_s + self.options.run_s
        until = time.monotonic() + DEADLINE_S
        while (result := self.result(request_id))["status"] in {"in_queue", "in_progress"}:
            assert time.monotonic() < until, result
            time.sleep(0.01)
        return result

    def warm_up(self) -> None:
        """Render the clip that canned jobs share, and not while a test lets its own time pass."""
        self.finish(self.submit("[sandbox:canned]"))

    def tidy(self) -> None:
        """Forget the calls, and end what was left: it would all be rendered when the clock moves."""
        if not self.was_asked:
            return
        for one in self.ledger()["submissions"]:
            if one["recorded"] and "canned" not in str(one["input"]):
                self.client.post(f"/v1/requests/{one['request_id']}/cancel")
        self.client.delete("/sandbox/ledger")
        self.was_asked = False

    def last_submission(self) -> dict[str, Any]:
        submission = self.ledger()["submissions"][-1]
        assert isinstance(submission, dict)
        return submission


@contextmanager
def running(data_dir: Path, clock: ManualClock | None = None, **options: Any) -> Iterator[Running]:
    """Serve a sandbox on a free port until the block ends."""
    clock = clock or ManualClock()
    # Named TCP: asyncio switches Nagle's delay (40 ms a call) off only on sockets that say what they are.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    chosen = SandboxOptions(token=TOKEN, public_url=url, data_dir=data_dir, **options)
    app = create_sandbox(chosen, clock=clock)
    served: list[Running] = []

    async def heard(scope: Scope, receive: Receive, send: Send) -> None:
        for one in served:
            one.was_asked = True
        await app(scope, receive, send)

    server = uvicorn.Server(
        uvicorn.Config(
            heard,
            log_level="critical",
            ws="none",
            loop="asyncio",
            timeout_graceful_shutdown=1,
            timeout_keep_alive=_KEPT_S,
        )
    )
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    until = time.monotonic() + DEADLINE_S
    while not server.started:
        assert thread.is_alive()
        assert time.monotonic() < until
        time.sleep(0.005)
    headers = {"Authorization": f"Bearer {TOKEN}"}
    try:
        with httpx2.Client(base_url=url, headers=headers, trust_env=False, timeout=DEADLINE_S) as client:
            client.get("/samples/harbour.jpg")  # drawn now, and not while somebody's deadline runs
            served.append(Running(chosen, clock, client))
            yield served[0]
    finally:
        server.should_exit = True
        thread.join(DEADLINE_S)
        listener.close()
