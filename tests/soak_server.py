"""Servers to be killed: forks of one process that has imported everything, so that a start costs little."""

import gc
import json
import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
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


@dataclass
class Servers:
    """Starts one process at a time, by the `reelgate serve` or `worker` that operators use."""

    launcher: "subprocess.Popen[str]"
    place: Place
    log: Path
    command: str = "serve"
    pid: int = 0

    def start(self, **settings: str) -> None:
        assert self.launcher.stdin is not None
        place = self.place.but(**settings)
        order = {
            "command": self.command,
            "folder": str(place.folder),
            "environment": place.environment,
            "log": str(self.log),
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
def servers(place: Place, log: Path, command: str = "serve") -> Iterator[Servers]:
    with subprocess.Popen(
        [sys.executable, "-c", "from tests.soak_server import take_orders; take_orders()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=bare_environment(),
        cwd=Path(__file__).parents[1],
    ) as launcher:
        started = Servers(launcher, place, log, command)
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
        pid = os.fork()
        if pid == 0:
            _serve(order)
        _say(pid)
        _say(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))


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


def _serve(order: dict[str, str | dict[str, str]]) -> None:
    code = 70
    try:
        os.chdir(str(order["folder"]))
        os.environ.clear()
        os.environ.update(dict(order["environment"]))  # type: ignore[arg-type]
        log = os.open(str(order["log"]), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        for target, source in enumerate((os.open(os.devnull, os.O_RDONLY), log, log)):
            os.dup2(source, target)
        sys.argv = ["reelgate", str(order["command"])]
        main()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:  # noqa: BLE001 - this process ends here, whatever it was
        traceback.print_exc()
    finally:
        flush_log()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
