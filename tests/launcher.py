"""Starts `reelgate` commands as processes of their own, without two seconds of imports for each.

`python -m tests.launcher` imports once, then forks for each order. What it forks is a process like any other:
it has its own folder, environment, standard streams and end, and can be killed.
"""

import atexit
import gc
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import traceback
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Final, NoReturn

_LONGEST_ORDER: Final = 1 << 20
_STREAMS: Final = 3
_UNKNOWN: Final = 256  # more than any exit code: the launcher ended first


@dataclass
class Forked:
    """A process that the launcher forked for us; the part of `subprocess.Popen` that tests need."""

    pid: int
    end: socket.socket
    """Here the launcher says how it ended."""
    returncode: int | None = None

    def poll(self) -> int | None:
        with suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            if not select.select([self.end], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired("reelgate", timeout or 0)
            self.returncode = int(self.end.recv(16) or _UNKNOWN)
            self.end.close()
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class Launcher:
    """The launcher's other side, which tells it what to fork."""

    def __init__(self, environment: dict[str, str]) -> None:
        self._control, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.launcher", str(theirs.fileno())],
                cwd=Path(__file__).parents[1],
                env=environment,
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
            )
        self._one_order = threading.Lock()

    def fork(
        self, arguments: Sequence[str], folder: Path, environment: dict[str, str], *, out: int, err: int
    ) -> Forked:
        """A `reelgate` command with these arguments that writes to these descriptors."""
        order = json.dumps({"arguments": list(arguments), "folder": str(folder), "environment": environment})
        end, theirs = socket.socketpair()
        with self._one_order, theirs:
            socket.send_fds(self._control, [f"{order}\n".encode()], [out, err, theirs.fileno()])
            answer = self._control.recv(16)
        assert answer, "the launcher has ended"
        return Forked(int(answer), end)

    def close(self) -> None:
        """End it, and what it forked with it."""
        self._control.close()
        self._process.wait()


def main() -> None:
    """Fork for each order, and tell how each process ended, until there will be no more orders."""
    _import_what_commands_import()
    gc.collect()
    gc.freeze()  # forks share what is here already, as long as nobody writes to it
    control = socket.socket(fileno=int(sys.argv[1]))
    woken, waker = os.pipe()
    for end in (woken, waker):
        os.set_blocking(end, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(waker)
    ends: dict[int, socket.socket] = {}
    watched: list[socket.socket | int] = [control, woken]
    while True:
        ready, _, _ = select.select(watched, [], [])
        if woken in ready:
            os.read(woken, 4096)
            _tell_ends(ends)
        if control in ready:
            received = _order(control)
            if received is None:
                break
            order, (out, err, end) = received
            pid = os.fork()
            if pid == 0:
                _become(order, out, err)
            os.close(out)
            os.close(err)
            ends[pid] = socket.socket(fileno=end)
            control.send(str(pid).encode())
    for pid in ends:
        os.kill(pid, signal.SIGKILL)


def _import_what_commands_import() -> None:
    for name in (
        "alembic.command",
        "app.admin.checks.doctor",
        "app.cli.serving.servers",
        "app.documents.access.client_tokens",
        "sqlalchemy.dialects.postgresql.psycopg",
        "sqlalchemy.dialects.sqlite.aiosqlite",
    ):
        import_module(name)


def _order(control: socket.socket) -> tuple[dict[str, Any], list[int]] | None:
    text, descriptors, *_ = socket.recv_fds(control, _LONGEST_ORDER, _STREAMS)
    while text and not text.endswith(b"\n"):
        text += control.recv(_LONGEST_ORDER)
    return (json.loads(text), descriptors) if text else None


def _tell_ends(ends: dict[int, socket.socket]) -> None:
    with suppress(ChildProcessError):
        while (found := os.waitpid(-1, os.WNOHANG))[0]:
            with ends.pop(found[0]) as end, suppress(OSError):  # nobody may listen any more
                end.send(str(os.waitstatus_to_exitcode(found[1])).encode())


def _become(order: dict[str, Any], out: int, err: int) -> NoReturn:
    """Be a process that runs the command, from here to its end."""
    code = 70
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.chdir(order["folder"])
        os.environ.clear()
        os.environ.update(order["environment"])
        os.dup2(out, sys.stdout.fileno())
        os.dup2(err, sys.stderr.fileno())
        os.closerange(_STREAMS, 1024)
        sys.argv = ["reelgate", *order["arguments"]]
        from app.cli.entry import main as reelgate  # noqa: PLC0415 - the launcher has imported it

        reelgate()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:  # noqa: BLE001 - as an interpreter does it at its end
        traceback.print_exc()
        code = 1
    finally:
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    main()
