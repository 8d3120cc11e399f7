"""A gateway over real HTTP, in a thread, with nothing in the way of many calls."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import uvicorn

from app.config import Settings
from app.main import create_server_app
from app.server.protocol import GuardedProtocol, Limits
from tests.harness import settings_for
from tests.sandbox.harness import DEADLINE_S


@contextmanager
def serving(template: Path, folder: Path, upstream: str, **given: Any) -> Iterator[tuple[str, Settings]]:
    """Yields the address of a gateway with a copy of this database, and its settings."""
    (folder / "reelgate.db").write_bytes(template.read_bytes())
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    chosen = settings_for(
        f"sqlite:///{folder / 'reelgate.db'}",
        folder,
        upstream,
        **{"public_url": url, "default_limits": [], "reads_per_minute": 0, "max_wait_s": 0} | given,
    )
    _, edge = create_server_app(chosen)
    config = uvicorn.Config(
        edge,
        http=partial(GuardedProtocol, Limits.of(chosen)),  # type: ignore[arg-type]  # called like a class
        lifespan="on",
        ws="none",
        loop="asyncio",
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    until = time.monotonic() + DEADLINE_S
    while not server.started:
        assert thread.is_alive()
        assert time.monotonic() < until
        time.sleep(0.01)
    try:
        yield url, chosen
    finally:
        server.should_exit = True
        thread.join(DEADLINE_S)
        listener.close()
