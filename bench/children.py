"""The child processes of a run: started, awaited, measured and ended. Linux only, as it reads `/proc`."""

import ctypes
import http.client
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import uvicorn
from starlette.types import ASGIApp

HOST = "127.0.0.1"
ROOT = Path(__file__).resolve().parent.parent
_START_S = 30.0
_STOP_S = 30.0
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_PR_SET_PDEATHSIG = 1


class RunError(Exception):
    """The run cannot go on; the message says why."""


def free_port() -> int:
    """Returns a free port on loopback."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def serve_until_parent_ends(app: ASGIApp) -> None:
    """Serves on the port in the arguments, with the settings of uvicorn that `reelgate serve` uses."""
    config = uvicorn.Config(
        app,
        host=HOST,
        port=int(sys.argv[1]),
        http="httptools",
        loop="uvloop",
        lifespan="off",
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=1,
    )
    uvicorn.Server(config).run()


class Child:
    """A process that this run started; a run ends no other processes."""

    def __init__(
        self,
        name: str,
        arguments: Sequence[str],
        *,
        folder: Path,
        cores: frozenset[int],
        environment: Mapping[str, str] | None = None,
        talks: bool = False,
    ) -> None:
        self.name = name
        self.log = folder / f"{name}.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *arguments],
                cwd=folder,  # a folder without a .env file
                env=clean_environment(environment or {}),
                stdin=subprocess.PIPE if talks else subprocess.DEVNULL,
                stdout=subprocess.PIPE if talks else log,
                stderr=log,
                preexec_fn=_end_with_parent,  # noqa: PLW1509 - this process has no threads
            )
        # Set before the child starts threads: a thread inherits the cores of the thread that starts it.
        os.sched_setaffinity(self.process.pid, cores)

    def cpu_s(self) -> float:
        """Returns the processor time in seconds that all its threads have used."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S

    def rss_mib(self) -> float:
        """Returns the memory that it occupies now, in MiB."""
        pages = Path(f"/proc/{self.process.pid}/statm").read_text(encoding="ascii").split()[1]
        return int(pages) * _PAGE_BYTES / 2**20

    def wait_until_it_answers(self, port: int, path: str) -> None:
        """Waits until `path` is answered with a status below 500.

        Raises:
            RunError: the process ended, or did not answer in time.

        """
        deadline = time.monotonic() + _START_S
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                break
            try:
                if get(port, path)[0] < http.client.INTERNAL_SERVER_ERROR:
                    return
            except OSError:
                pass
            time.sleep(0.02)
        raise RunError(f"{self.name} did not start:\n{self.tail()}")

    def tail(self) -> str:
        """Returns the end of its log."""
        return self.log.read_text(encoding="utf-8", errors="replace")[-2000:]

    def stop(self) -> None:
        """Asks the process to end, and kills it where it does not."""
        if self.process.poll() is None:
            self.process.terminate()
        try:
            self.process.wait(timeout=_STOP_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                stream.close()


class Children:
    """The processes of a run; leaving the block ends them all, the last started first."""

    def __init__(self) -> None:
        self._all: list[Child] = []

    def add(self, child: Child) -> Child:
        """Registers a child to be ended with the block, and returns it."""
        self._all.append(child)
        return child

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for child in reversed(self._all):
            child.stop()


class Watch:
    """Measures from its creation on how much processor time other processes of this machine use."""

    def __init__(self, children: Sequence[Child]) -> None:
        self._children = children
        self._began_s = time.monotonic()
        self._others_s = self._count_s()

    def others_cpu(self) -> float:
        """Returns the use by other processes in cores; a PostgreSQL server is one of them."""
        return (self._count_s() - self._others_s) / (time.monotonic() - self._began_s)

    def _count_s(self) -> float:
        user, nice, system, _idle, _wait, irq, softirq, *_ = (
            int(field)
            for field in Path("/proc/stat").read_text(encoding="ascii").split("\n", 1)[0].split()[1:]
        )
        busy_s = (user + nice + system + irq + softirq) / _TICKS_PER_S
        return busy_s - time.process_time() - sum(child.cpu_s() for child in self._children)


def get(port: int, path: str, *, method: str = "GET", key: str = "", body: bytes = b"") -> tuple[int, bytes]:
    """Makes one HTTP call on loopback that is not measured; returns its status and body."""
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    if body:
        headers["Content-Type"] = "application/json"
    connection = http.client.HTTPConnection(HOST, port, timeout=10)
    try:
        connection.request(method, path, body or None, headers)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def clean_environment(more: Mapping[str, str]) -> dict[str, str]:
    """Returns the environment without any REELGATE_ setting of this machine, and with `more`."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("REELGATE_")}
    return {**kept, "PYTHONPATH": str(ROOT), **more}


def split_cores(*, pin: bool) -> tuple[frozenset[int], frozenset[int]]:
    """Returns the cores for the server that is measured, and those for everything else."""
    cores = sorted(os.sched_getaffinity(0))
    if not pin or len(cores) == 1:
        return frozenset(cores), frozenset(cores)
    return frozenset(cores[:1]), frozenset(cores[1:])


def exit_on_sigterm() -> None:
    """Makes SIGTERM end this process like Ctrl-C, so that it ends its children."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))


def _end_with_parent() -> None:
    # The kernel ends the child even if this process is killed and cannot end it itself.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
