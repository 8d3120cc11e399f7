"""The processes of a run: started, waited for, measured and ended. Linux only, by `/proc`."""

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
    """A port on loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def serve_until_parent_ends(app: ASGIApp) -> None:
    """Serve on the port in the arguments, under the settings of uvicorn that `reelgate serve` uses."""
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
    """A process that this run started, and the only kind that it ends."""

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
                cwd=folder,  # where no .env steers it
                env=clean_environment(environment or {}),
                stdin=subprocess.PIPE if talks else subprocess.DEVNULL,
                stdout=subprocess.PIPE if talks else log,
                stderr=log,
                preexec_fn=_end_with_parent,  # noqa: PLW1509 - this process has no threads
            )
        # Before it has any thread: each inherits the cores of the one that made it.
        os.sched_setaffinity(self.process.pid, cores)

    def cpu_s(self) -> float:
        """Seconds of processor that it has used, all threads."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S

    def rss_mib(self) -> float:
        """Memory that it holds now."""
        pages = Path(f"/proc/{self.process.pid}/statm").read_text(encoding="ascii").split()[1]
        return int(pages) * _PAGE_BYTES / 2**20

    def wait_until_it_answers(self, port: int, path: str) -> None:
        """Return once `path` is answered with any status below 500."""
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
        """The end of its log."""
        return self.log.read_text(encoding="utf-8", errors="replace")[-2000:]

    def stop(self) -> None:
        """Ask it to end, and end it where it does not."""
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
        """Keep a child, to be ended with the block."""
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
    """How much of the machine goes to whatever is not part of this run, from its making on."""

    def __init__(self, children: Sequence[Child]) -> None:
        self._children = children
        self._began_s = time.monotonic()
        self._others_s = self._count_s()

    def others_cpu(self) -> float:
        """In cores. A PostgreSQL server is among the others."""
        return (self._count_s() - self._others_s) / (time.monotonic() - self._began_s)

    def _count_s(self) -> float:
        user, nice, system, _idle, _wait, irq, softirq, *_ = (
            int(field)
            for field in Path("/proc/stat").read_text(encoding="ascii").split("\n", 1)[0].split()[1:]
        )
        busy_s = (user + nice + system + irq + softirq) / _TICKS_PER_S
        return busy_s - time.process_time() - sum(child.cpu_s() for child in self._children)


def get(port: int, path: str, *, method: str = "GET", key: str = "", body: bytes = b"") -> tuple[int, bytes]:
    """One call on loopback outside of the measuring: status and body."""
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
    """The environment without any REELGATE_ setting of this machine, and with `more`."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("REELGATE_")}
    return {**kept, "PYTHONPATH": str(ROOT), **more}


def split_cores(*, pin: bool) -> tuple[frozenset[int], frozenset[int]]:
    """The cores for the server that is measured, and those for everything else."""
    cores = sorted(os.sched_getaffinity(0))
    if not pin or len(cores) == 1:
        return frozenset(cores), frozenset(cores)
    return frozenset(cores[:1]), frozenset(cores[1:])


def exit_on_sigterm() -> None:
    """Let SIGTERM end this process as Ctrl-C does, so that it ends its children."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))


def _end_with_parent() -> None:
    # Also where this process is killed and cannot end its children itself.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
