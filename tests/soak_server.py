"""Servers to be killed: forks of one process that has imported everything, so that a start costs little."""

import fcntl
import gc
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path

import httpx2
import uvicorn

from app.cli.entry import main
from app.config import Settings
from app.egress.tls import system_trust
from app.kit.log import flush_log
from app.main import create_app
from tests.patience import PATIENCE_S
from tests.processes import Place, bare_environment

SOUND = ("file",)
BAD = ("file", "full", "stalled", "left", "closed")
"""Standard error: a file, a full disk, a pipe that nobody reads or whose reader leaves, or none at all."""
PIPE_BYTES = 4096  # of the pipes, so that they are full after a few lines
READER_LEAVES_S = 0.3  # at most, after a start


@dataclass
class Servers:
    """Starts one process at a time, by the `reelgate serve` or `worker` that operators use."""

    launcher: "subprocess.Popen[str]"
    place: Place
    log: Path
    command: str = "serve"
    pid: int = 0
    outputs: tuple[str, ...] = SOUND
    chance: random.Random = field(default_factory=random.Random)

    def start(self, **settings: str) -> None:
        assert self.launcher.stdin is not None
        place = self.place.but(**settings)
        order = {
            "command": self.command,
            "folder": str(place.folder),
            "environment": place.environment,
            "log": str(self.log),
            "output": self.chance.choice(self.outputs),
        }
        self.launcher.stdin.write(json.dumps(order) + "\n")
        self.launcher.stdin.flush()
        self.pid = self._answer()

    def until_ready(self) -> None:
        """Return once it serves; a worker has nothing that could be asked."""
        if self.command != "serve":
            return
        until = time.monotonic() + PATIENCE_S
        while time.monotonic() < until:
            try:
                if httpx2.get(f"{self.place.url}/readyz", trust_env=False, timeout=5).status_code == 200:
                    return
            except httpx2.HTTPError:
                time.sleep(0.01)
        raise AssertionError(self.log.read_text()[-5000:])

    def end(self, number: signal.Signals) -> None:
        """End it, and wait until it is gone."""
        os.kill(self.pid, number)
        code = self._answer()
        expected = {-signal.SIGKILL} if number is signal.SIGKILL else {0}
        assert code in expected, (code, self.log.read_text()[-5000:])
        self.pid = 0

    def _answer(self) -> int:
        assert self.launcher.stdout is not None
        return int(self.launcher.stdout.readline())


@contextmanager
def servers(
    place: Place,
    log: Path,
    command: str = "serve",
    *,
    outputs: tuple[str, ...] = SOUND,
    seed: str = "",
) -> Iterator[Servers]:
    log.touch()
    with subprocess.Popen(
        [sys.executable, "-c", "from tests.soak_server import take_orders; take_orders()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=bare_environment(),
        cwd=Path(__file__).parents[1],
    ) as launcher:
        chance = random.Random(f"{seed} {log.name}")  # noqa: S311 - guards nothing
        started = Servers(launcher, place, log, command, outputs=outputs, chance=chance)
        try:
            yield started
        finally:
            if started.pid:
                started.end(signal.SIGKILL)
            launcher.communicate(timeout=PATIENCE_S)


def take_orders() -> None:
    """The launcher's whole life: an order a line; the answers are the server's id, and how it ended."""
    _warm()
    for line in sys.stdin:
        order = json.loads(line)
        reader, error = _output(order["output"], order["log"])
        pid = os.fork()
        if pid == 0:
            _serve(order, reader, error)
        leaver = threading.Timer(random.random() * READER_LEAVES_S, _close, [reader])  # noqa: S311
        if error is not None:
            os.close(error)
        if order["output"] == "left":
            leaver.start()
        _say(pid)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        if leaver.is_alive():
            leaver.cancel()
            leaver.join()
        _close(reader)
        _say(code)


def _output(kind: str, log: str) -> tuple[list[int], int | None]:
    """The end of a pipe that the launcher keeps (none or one), and the server's standard error."""
    if kind == "file":
        return [], os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    if kind == "full":
        return [], os.open("/dev/full", os.O_WRONLY)
    if kind == "closed":
        return [], None
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    return [reader], writer


def _close(reader: list[int]) -> None:
    """Close it, if nobody has."""
    with suppress(IndexError):
        os.close(reader.pop())


def _warm() -> None:
    """Do once what every start would do again: it is inherited."""
    for name in ("psycopg", "anyio._backends._asyncio"):
        import_module(name)
    app = create_app(Settings(_env_file=None))
    uvicorn.Config(app, http="httptools", loop="uvloop", lifespan="on", ws="none", log_config=None).load()
    system_trust()
    gc.collect()
    gc.freeze()


def _say(number: int) -> None:
    print(number, flush=True)  # noqa: T201 - the answer


def _serve(order: dict[str, str | dict[str, str]], reader: list[int], error: int | None) -> None:
    code = 70
    try:
        _close(reader)
        os.chdir(str(order["folder"]))
        os.environ.clear()
        os.environ.update(dict(order["environment"]))  # type: ignore[arg-type]
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        if error is None:
            sys.stderr = None  # as Python has it where a process was started without
            os.close(2)
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        else:
            os.dup2(error, 1)
            os.dup2(error, 2)
        sys.argv = ["reelgate", str(order["command"])]
        main()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:  # noqa: BLE001 - this process ends here, whatever it was
        traceback.print_exc()
    finally:
        flush_log()
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, AttributeError):
                stream.flush()
        os._exit(code)
