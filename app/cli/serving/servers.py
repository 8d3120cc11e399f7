"""The commands that run until they are stopped: the gateway, a worker, the sandbox."""

import asyncio
import gc
import os
import signal
import threading
import time
from collections.abc import Callable, Collection
from functools import partial
from importlib.metadata import version
from socket import socket
from typing import Any, NamedTuple

import uvloop
from starlette.datastructures import State
from starlette.types import ASGIApp

from app.cli.session import fail, log_for_server, plain_errors
from app.config import Settings
from app.db.engines.engine import is_sqlite
from app.db.engines.sqlite import keep_server_lock
from app.gateway import Gateway, open_gateway
from app.kit.log import get_logger
from app.kit.traces import TracingError, is_on, start_tracing
from app.main import create_admin_app, create_server_app
from app.reloading import reload, tell
from app.server.edge import Edge
from app.server.fast.fast_protocol import FastProtocol
from app.server.fast.fast_reads import FastReads
from app.server.fast.fast_submits import FastSubmits
from app.server.handed_over import by_port, handed_over
from app.server.ports import Ports
from app.server.process import Server, bound, claim_port, run_until_stopped, server_config
from app.server.protocol import GuardedProtocol, Limits
from app.server.succession import Inheritance, Succession, inherited
from app.server.tracing import Traced
from app.settings.values import PREFIX
from app.upstream.credentials import SANDBOX
from app.worker import running

_AT_WORK = "The worker has started."
_log = get_logger("worker")


def _reload_on_hangup(gateway: Gateway) -> None:
    """Has the settings reloaded whenever the process gets SIGHUP."""

    def begin() -> None:
        gateway.tasks.start(reload(gateway), name="reload")

    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, begin)


def _succeed_on_signal(state: State, server: Server, lock: int | None, refusal: str | None) -> None:
    """Has a successor started whenever the process gets SIGUSR2, or says why there is none."""
    state.succession = Succession(
        state.gateway.tasks,
        sockets=server.descriptors,
        lock=lock,
        hand_on=server.hand_on,
        tell=partial(tell, state.gateway.upkeep.heartbeat),
        refusal=refusal,
    )
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR2, state.succession.begin)


def _tell_predecessor(given: Inheritance | None) -> None:
    if given is not None and not given.tell():
        os.kill(os.getpid(), signal.SIGTERM)  # who ended the predecessor meanwhile wants no server


def _settle_memory() -> None:
    """Exempts from garbage collection what lives as long as the process, and collects more rarely.

    What was garbage already stays: there is next to none, and looking for it takes a tenth of a start.
    """
    gc.freeze()
    gc.enable()
    gc.set_threshold(10_000, 20, 20)


def serve(
    settings: Settings, *, on_start: Callable[[], None] = lambda: None, no_successor: str | None = None
) -> None:
    """Serves the gateway until a signal; exits with a line on standard error where it cannot start.

    `no_successor` is why `reelgate restart` may not replace this server; None where it may.
    """
    log_for_server(settings)
    for sign in (signal.SIGHUP, signal.SIGUSR2):  # what comes early finds nothing to reload or to replace
        signal.signal(sign, signal.SIG_IGN)
    _trace(settings, "server")
    given = inherited()
    lock = None
    with plain_errors():
        if is_sqlite(settings.database):
            lock = keep_server_lock(settings.database, None if given is None else given.lock)
        asyncio.run(_try_to_open(settings))
    with plain_errors():
        listening = _listening(settings, given)
    _serve(
        settings,
        settings.port,
        listening,
        on_start=on_start,
        lock=lock,
        given=given,
        no_successor=no_successor,
    )


class Listening(NamedTuple):
    """The sockets to listen on (None: uvicorn binds its one address itself), and which of them outlive us."""

    sockets: list[socket] | None = None
    kept: Collection[socket] = ()


def _listening(settings: Settings, given: Inheritance | None) -> Listening:
    wanted = [(settings.host, settings.port, "PORT")]
    if settings.has_admin_port:
        wanted.append((settings.admin_address, settings.admin_port or 0, "ADMIN_PORT"))
    names = {port: name for _, port, name in wanted}
    handed = handed_over(names) if given is None else by_port(given.sockets, names)
    if not handed and len(wanted) == 1:
        claim_port(settings.host, settings.port, f"{PREFIX}PORT")
        return Listening()
    sockets = [
        one
        for host, port, name in wanted
        for one in handed.get(port) or [bound(host, port, f"{PREFIX}{name}")]
    ]
    kept = [one for of_port in handed.values() for one in of_port]
    if given is not None:
        kept = [one for one in kept if one.fileno() in given.kept]
    return Listening(sockets, kept)


def _serve(
    settings: Settings,
    port: int,
    listening: Listening,
    *,
    on_start: Callable[[], None],
    probes_only: bool = False,
    lock: int | None = None,
    given: Inheritance | None = None,
    no_successor: str | None = None,
) -> None:
    app, edge = create_server_app(settings, probes_only=probes_only)
    served: ASGIApp = edge
    if settings.has_admin_port and not probes_only:
        served = Ports(edge, create_admin_app(app, settings), settings.admin_port or 0)
    if is_on():
        served = Traced(served)

    def started() -> None:
        _settle_memory()
        _reload_on_hangup(app.state.gateway)
        if not probes_only:
            _succeed_on_signal(app.state, server, lock, no_successor)
        on_start()
        _tell_predecessor(given)

    def on_leave() -> None:
        app.state.draining = True
        if hasattr(app.state, "succession"):
            app.state.succession.leave()

    def on_stop() -> None:
        app.state.stopping_since = time.monotonic()
        if hasattr(app.state, "gateway"):
            app.state.gateway.following.watch.close()  # event streams end, held answers are sent
            app.state.gateway.dispatch_loop.close()  # other replicas, or the next start, send the queue

    protocol = _protocol(settings, app, edge, probes_only=probes_only)
    config = server_config(
        served,
        settings.host,
        port,
        drain_s=settings.drain_s,
        http=partial(protocol, Limits.of(settings), on_refusal=edge.count_refusal),
        timeout_keep_alive=settings.keep_alive_s,
    )
    server = Server(
        config,
        on_start=started,
        on_leave=on_leave,
        on_stop=on_stop,
        kept=listening.kept,
        shares=(lambda: False) if given is None else given.is_shared,
        delay_s=0 if probes_only else settings.drain_delay_s,  # nothing is sent to a worker by a proxy
    )
    run_until_stopped(server, listening.sockets)


def _protocol(settings: Settings, app: Any, edge: Edge, *, probes_only: bool) -> Any:
    """Returns the class of what reads from connections, without its limits."""
    if not settings.fast_reads or probes_only:
        return GuardedProtocol
    other_port = settings.admin_port if settings.has_admin_port else None
    submits = None if is_on() else FastSubmits(app, edge)  # spans are made by the ordinary way
    return partial(FastProtocol, FastReads(app, edge, other_port=other_port), submits)


def _trace(settings: Settings, role: str) -> None:
    """Sends traces, where the operator has named a receiver."""
    if settings.otlp_endpoint is not None:
        try:
            start_tracing(
                endpoint=settings.otlp_endpoint,
                headers=settings.otlp_header_pairs,
                ratio=settings.traces_ratio,
                callers_per_s=settings.callers_traces_per_s,
                role=role,
                version=version("reelgate"),
            )
        except TracingError as error:
            fail(f"{error} Or unset REELGATE_OTLP_ENDPOINT.")


def work(settings: Settings) -> None:
    """Runs the background loops until a signal, and answers probes alone, if it has a port for them.

    It runs them whatever REELGATE_RUN_LOOPS says: that is for the servers that share its environment.
    """
    log_for_server(settings)
    if is_sqlite(settings.database):
        fail("workers need PostgreSQL: on SQLite the server itself runs the background loops.")
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as above
    settings = settings.model_copy(update={"run_loops": True})
    _trace(settings, "worker")
    with plain_errors():
        if settings.worker_port is None:
            uvloop.run(_work(settings))
            return
        asyncio.run(_try_to_open(settings))
        claim_port(settings.host, settings.worker_port, "REELGATE_WORKER_PORT")
    credentials = sorted([SANDBOX, *(one.name for one in settings.live_credentials)])
    _serve(
        settings,
        settings.worker_port,
        Listening(),
        on_start=partial(_log.info, _AT_WORK, credentials=credentials, port=settings.worker_port),
        probes_only=True,
    )


async def _work(settings: Settings) -> None:
    stopping = asyncio.Event()
    for sign in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(sign, stopping.set)
    async with open_gateway(settings, serving=True, role="worker") as gateway:
        await gateway.db.check_writes()
        async with running(gateway):
            _settle_memory()
            _reload_on_hangup(gateway)
            _log.info(_AT_WORK, credentials=sorted(gateway.pool.all))
            await stopping.wait()
        await gateway.tasks.drain(settings.drain_s)


def sandbox(settings: Settings, *, exit_with_parent: bool) -> None:
    """Serves the sandbox until a signal or, with `exit_with_parent`, until standard input ends."""
    try:
        from app.sandbox.app import create_sandbox  # noqa: PLC0415 - its libraries are an extra
        from app.sandbox.options import SandboxOptions  # noqa: PLC0415 - as above
    except ModuleNotFoundError as error:
        fail(f"the sandbox needs more packages: pip install 'reelgate[sandbox]' ({error}).")
    log_for_server(settings, child=exit_with_parent)
    with plain_errors():
        claim_port(settings.sandbox_host, settings.sandbox_port, "REELGATE_SANDBOX_PORT")
    os.umask(0o077)  # nobody else may read what callers sent
    data_dir = settings.data_dir / "sandbox"
    with plain_errors():
        settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        data_dir.mkdir(mode=0o700, exist_ok=True)
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
    server = Server(server_config(app, settings.sandbox_host, settings.sandbox_port, drain_s=1))
    if exit_with_parent:
        threading.Thread(target=_end_with_parent, args=(server,), daemon=True).start()
    run_until_stopped(server)


async def _try_to_open(settings: Settings) -> None:
    """Opens the gateway once before uvicorn does, which would report a failure as a stack trace."""
    async with open_gateway(settings, serving=True) as gateway:
        await gateway.db.check_writes()


def _end_with_parent(server: Server) -> None:
    # The parent has the other end of our standard input open for as long as it lives.
    while os.read(0, 1024):
        pass
    server.handle_exit(signal.SIGTERM, None)
