"""A process that serves: uvicorn's server with our start and stop, and the port that it needs."""

import asyncio
import signal
import socket
import sys
from collections.abc import Callable, Collection
from contextlib import suppress
from types import FrameType
from typing import Any, Final

import uvicorn
from starlette.types import ASGIApp

from app.kit.log import Aside
from app.server.closing import PACE_S, accept_the_last

_TICK_S: Final = 1.0
_HANDED_ON_S: Final = 5.0
"""A server whose successor serves goes on for so long at least: no connection is cut while a call comes."""


class PortTakenError(OSError):
    """Another process listens on this address; the message is for the operator."""


class Server(uvicorn.Server):
    """uvicorn's server, which exits with code 0 when it was asked to stop, and calls back.

    `on_start` is called once it listens, `on_leave` with the first signal, and `on_stop` when it has stopped
    accepting connections, `delay_s` seconds after the first signal. `kept` are sockets that stay open when
    this process ends, since they were handed over to it; while `shares` says so, another process listens on
    all of its sockets.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        *,
        on_start: Callable[[], None] = lambda: None,
        on_leave: Callable[[], None] = lambda: None,
        on_stop: Callable[[], None] = lambda: None,
        delay_s: float = 0,
        kept: Collection[socket.socket] = (),
        shares: Callable[[], bool] = lambda: False,
    ) -> None:
        super().__init__(config)
        self._on_start = on_start
        self._on_leave = on_leave
        self._on_stop = on_stop
        self._delay_s = delay_s
        self._kept = kept
        self._shares = shares
        self._loop: asyncio.AbstractEventLoop | None = None
        self._left = False
        self._stopping = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, then tell."""
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)
        if self.started:
            with Aside("telling that the server has started"):
                self._on_start()

    async def main_loop(self) -> None:
        """Serve until it stops, with one tick a second: uvicorn's ten are half of what a server at rest does.

        A tick sets the `Date` of answers.
        """
        while not await self.on_tick(0):
            with suppress(TimeoutError):
                async with asyncio.timeout(_TICK_S):
                    await self._stopping.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop accepting, then end what is open; of whoever has connected, the call is served.

        Nobody is waited for where no proxy sends us calls (there is no delay) and no socket is kept.
        """
        if self._delay_s or self._kept:
            _, own = self.descriptors()
            await accept_the_last([] if self._shares() else own)
            for server in self.servers:
                server.close()
            await asyncio.sleep(PACE_S)
        # What ends now takes its connection with it: whoever resumes a stream does so at another server.
        for connection in list(self.server_state.connections):
            connection.shutdown()
        with Aside("telling that the server stops"):
            self._on_stop()
        await super().shutdown(sockets)

    def descriptors(self) -> tuple[list[int], list[int]]:
        """Returns those of the sockets that it listens on: of those that are kept, and of its own."""
        kept = {one.fileno() for one in self._kept}
        ours = {one.fileno() for server in self.servers for one in server.sockets or ()}
        return sorted(ours & kept), sorted(ours - kept)

    def hand_on(self) -> None:
        """Leave the sockets to a successor, which serves from them already, and stop.

        Whoever is connected is served for a while, each connection until its next answer.
        """
        for server in self.servers:
            server.close()
        self._delay_s = max(self._delay_s, _HANDED_ON_S)
        self.handle_exit(signal.SIGTERM, None)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002 - uvicorn's signature
        """Leave, and stop once that had time to be noticed; a second signal does not wait for that.

        uvicorn would raise the signal again at its end, and exit with its number.
        """
        if self.should_exit and sig == signal.SIGINT:
            self.force_exit = True
        delay_s = 0.0 if self._left else self._delay_s
        self._left = True
        with Aside("telling that the server is about to stop"):
            self._on_leave()
        if self._loop is None:
            self.should_exit = True
        elif delay_s:
            self._loop.call_soon_threadsafe(self._loop.call_later, delay_s, self._stop)
        else:
            self._loop.call_soon_threadsafe(self._stop)

    def _stop(self) -> None:
        self.should_exit = True
        self._stopping.set()


def server_config(app: ASGIApp, host: str, port: int, *, drain_s: int, **more: Any) -> uvicorn.Config:
    """Returns uvicorn's settings for one of our applications; `drain_s` bounds its graceful shutdown."""
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


def run_until_stopped(server: Server, sockets: list[socket.socket] | None = None) -> None:
    """Serve until a signal, on these sockets if they are given; exits with code 1 where the start failed."""
    server.run(sockets)
    if not server.started:
        sys.exit(1)


def bound(host: str, port: int, setting: str) -> socket.socket:
    """Returns a socket that is bound to this address. `setting` is the variable that names another port.

    Raises:
        PortTakenError: somebody else listens there already.

    """
    one = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        one.bind((host, port))
    except OSError as error:
        one.close()
        raise PortTakenError(
            f"cannot listen on {host}:{port} ({error.strerror}); set another port with {setting}."
        ) from error
    return one


def claim_port(host: str, port: int, setting: str) -> None:
    """Check that this address is free, for a process that is still to come.

    Raises:
        PortTakenError: as `bound`.

    """
    bound(host, port, setting).close()
