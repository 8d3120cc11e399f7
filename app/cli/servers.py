"""Running gateway and sandbox under uvicorn, and a worker without it."""

import asyncio
import gc
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from types import FrameType
from typing import Any

import uvicorn
import uvloop
from starlette.types import ASGIApp

from app.cli.session import fail, log_for_server, plain_errors
from app.config import Settings
from app.db.engine import is_sqlite
from app.gateway import open_gateway
from app.kit.log import get_logger
from app.main import create_server_app
from app.server.protocol import GuardedProtocol, Limits
from app.worker import running

_log = get_logger("worker")


class Server(uvicorn.Server):
    """A uvicorn server that ends with exit code 0 on a signal, and calls back when it starts and stops.

    `on_start` is called once it listens. The first signal calls `on_leave`; `delay_s` seconds later, or at
    the second signal, `on_stop` is called and the server stops.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        *,
        on_start: Callable[[], None] = lambda: None,
        on_leave: Callable[[], None] = lambda: None,
        on_stop: Callable[[], None] = lambda: None,
        delay_s: float = 0,
    ) -> None:
        super().__init__(config)
        self._on_start = on_start
        self._on_leave = on_leave
        self._on_stop = on_stop
        self._delay_s = delay_s
        self._loop: asyncio.AbstractEventLoop | None = None
        self._left = False

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Starts to listen, then calls `on_start`."""
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)
        if self.started:
            self._on_start()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002 - uvicorn's signature
        """Leaves, and stops `delay_s` later, so that load balancers notice; a second signal stops at once.

        uvicorn's own handler would raise the signal again at the end, and exit with its number.
        """
        if self.should_exit and sig == signal.SIGINT:
            self.force_exit = True
        delay_s = 0.0 if self._left else self._delay_s
        self._left = True
        self._on_leave()
        if self._loop is None:
            self.should_exit = True
        elif delay_s:
            self._loop.call_soon_threadsafe(self._loop.call_later, delay_s, self._stop)
        else:
            self._loop.call_soon_threadsafe(self._stop)

    def _stop(self) -> None:
        if not self.should_exit:
            self._on_stop()
        self.should_exit = True


def _settle_memory() -> None:
    """Exempts from garbage collection what lives as long as the process, and collects more rarely."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)


def serve(settings: Settings, *, on_start: Callable[[], None] = lambda: None) -> None:
    """Serves the gateway until a signal; exits with a line on standard error where it cannot start."""
    log_for_server(settings)
    with plain_errors():
        asyncio.run(_try_to_open(settings))
    claim_port(settings.host, settings.port, "REELGATE_PORT")
    app, edge = create_server_app(settings)

    def started() -> None:
        _settle_memory()
        on_start()

    def on_leave() -> None:
        app.state.draining = True

    def on_stop() -> None:
        app.state.stopping_since = time.monotonic()
        if hasattr(app.state, "gateway"):
            app.state.gateway.following.watch.close()  # event streams end, held answers are sent
            app.state.gateway.dispatch_loop.close()  # other replicas, or the next start, send the queue

    config = _config(
        edge,
        settings.host,
        settings.port,
        drain_s=settings.drain_s,
        http=partial(GuardedProtocol, Limits.of(settings)),
        timeout_keep_alive=settings.keep_alive_s,
    )
    _run(
        Server(
            config,
            on_start=started,
            on_leave=on_leave,
            on_stop=on_stop,
            delay_s=settings.drain_delay_s,
        )
    )


def work(settings: Settings) -> None:
    """Runs the background loops until a signal, without serving requests."""
    log_for_server(settings)
    if is_sqlite(settings.database):
        fail("workers need PostgreSQL: on SQLite the one server runs the loops itself.")
    if not settings.run_loops:
        fail("REELGATE_RUN_LOOPS is false: a worker would have nothing to do.")
    with plain_errors():
        uvloop.run(_work(settings))


async def _work(settings: Settings) -> None:
    stopping = asyncio.Event()
    for sign in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(sign, stopping.set)
    async with open_gateway(settings, serving=True) as gateway:
        async with running(gateway):
            _settle_memory()
            _log.info("The worker is at work.", credentials=sorted(gateway.pool.all))
            await stopping.wait()
        await gateway.tasks.drain(settings.drain_s)


def sandbox(settings: Settings, *, exit_with_parent: bool) -> None:
    """Serves the sandbox until a signal or, with `exit_with_parent`, until standard input ends."""
    try:
        from app.sandbox.app import create_sandbox  # noqa: PLC0415 - its libraries are an extra
        from app.sandbox.options import SandboxOptions  # noqa: PLC0415 - as above
    except ModuleNotFoundError as error:
        fail(f"the sandbox needs its extra: pip install 'reelgate[sandbox]' ({error}).")
    log_for_server(settings, child=exit_with_parent)
    claim_port(settings.sandbox_host, settings.sandbox_port, "REELGATE_SANDBOX_PORT")
    data_dir = settings.data_dir / "sandbox"
    with plain_errors():
        data_dir.mkdir(parents=True, exist_ok=True)
    app = create_sandbox(
        SandboxOptions(
            token=settings.sandbox_token.get_secret_value(),
            public_url=settings.sandbox_public_base_url,
            data_dir=data_dir,
            concurrency=settings.sandbox_concurrency,
            queue_s=settings.sandbox_queue_s,
            run_s=settings.sandbox_run_s,
        )
    )
    server = Server(_config(app, settings.sandbox_host, settings.sandbox_port, drain_s=1))
    if exit_with_parent:
        threading.Thread(target=_end_with_parent, args=(server,), daemon=True).start()
    _run(server)


async def _try_to_open(settings: Settings) -> None:
    """Opens the gateway once before uvicorn does, which would report a failure as a stack trace."""
    async with open_gateway(settings, serving=True):
        pass


def _config(app: ASGIApp, host: str, port: int, *, drain_s: int, **more: Any) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        host=host,
        port=port,
        loop="uvloop",
        lifespan="on",
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=drain_s,
        **{"http": "httptools", **more},
    )


def _run(server: Server) -> None:
    server.run()
    if not server.started:
        sys.exit(1)


def claim_port(host: str, port: int, setting: str) -> None:
    """Exits with a message where the address cannot be listened on; it names the `setting` of the port."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            fail(f"cannot listen on {host}:{port} ({error.strerror}); another port: {setting}.")


def _end_with_parent(server: Server) -> None:
    # The parent has the other end of our standard input open for as long as it lives.
    while os.read(0, 1024):
        pass
    server.should_exit = True
