"""Real processes: servers to kill, commands to run beside them, and what they leave behind."""

import asyncio
import atexit
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import IO, Any, TypeVar

import httpx2

from app.auth import keys, tenants
from app.db.engines.engine import Database, open_database
from app.generations import events as event_rows
from app.generations import store
from app.generations.events import Event
from app.generations.store import Generation
from tests.canary import canary
from tests.harness import PEPPER
from tests.launcher import Forked, Launcher
from tests.patience import PATIENCE_S
from tests.sandbox.harness import TOKEN

R = TypeVar("R")

SECRETS = {"PEPPER", "SANDBOX_TOKEN", "UPSTREAM_TOKEN", "METRICS_TOKEN", "OIDC_CLIENT_SECRET"}
_DRAW = random.SystemRandom()
_SHOWN = re.compile(r"^export REELGATE_KEY=.*$", re.MULTILINE)


@dataclass(frozen=True)
class Ended:
    """A command that is over."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Commands:
    """Runs `reelgate` commands, each in a process of its own."""

    def run(self, place: "Place", *arguments: str, expect: int | None = 0) -> Ended:
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            forked = launcher().fork(
                arguments, place.folder, place.environment, out=out.fileno(), err=err.fileno()
            )
            code = forked.wait(PATIENCE_S)
            ended = Ended(code, *(_read(file) for file in (out, err)))
        place.plant()
        canary.inspect(f"standard error of {arguments}", ended.err)  # the other one is where keys are shown
        assert expect is None or ended.code == expect, ended
        return ended


def _read(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode()


@cache
def launcher() -> Launcher:
    """The one of this process, for as long as this lives."""
    started = Launcher(bare_environment())
    atexit.register(started.close)
    return started


def bare_environment() -> dict[str, str]:
    kept = ("PATH", "HOME", "LANG", "LD_PRELOAD", "MOVED_CLOCK_S")  # with a moved clock, if this has one
    return {name: os.environ[name] for name in kept if name in os.environ} | {
        "PYTHONUNBUFFERED": "1",
        "PYTHONFAULTHANDLER": "1",
    }


def free_port() -> int:
    """A port that nobody has, of those that the kernel gives to no connection of its own meanwhile."""
    while True:
        port = _DRAW.randrange(10_000, 32_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


@dataclass
class Place:
    """A folder and an environment in which commands run."""

    folder: Path
    settings: dict[str, str]

    @property
    def environment(self) -> dict[str, str]:
        return bare_environment() | {f"REELGATE_{name}": value for name, value in self.settings.items()}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.settings['PORT']}"

    def plant(self) -> None:
        """Have the canary look for the secrets of these settings."""
        canary.plant(*(value for name, value in self.settings.items() if name in SECRETS))

    def but(self, **settings: str | None) -> "Place":
        """The same with other settings; None unsets one."""
        changed = {name: value for name, value in (self.settings | settings).items() if value is not None}
        return Place(self.folder, changed)


def place_for(folder: Path, database_url: str, sandbox_url: str, **settings: str) -> Place:
    return Place(
        folder,
        {
            "DATABASE_URL": database_url,
            "DATA_DIR": str(folder / "data"),
            "PEPPER": PEPPER,
            "PORT": str(free_port()),
            "SANDBOX_URL": sandbox_url,
            "SANDBOX_TOKEN": TOKEN,
            "HTTP_MEDIA_HOSTS": sandbox_url.removeprefix("http://"),  # for live keys too
            **settings,
        },
    )


@dataclass
class Process:
    """A process that we started, and alone may end."""

    process: "subprocess.Popen[bytes] | Forked"
    log: Path
    place: Place
    clients: list[httpx2.Client] = field(default_factory=list)

    def text(self) -> str:
        return self.log.read_text()

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def wait(self) -> int:
        return self.process.wait(PATIENCE_S)

    def until_ready(self) -> None:
        def ready() -> bool:
            assert self.process.poll() is None, self.text()
            try:
                return httpx2.get(f"{self.place.url}/readyz", trust_env=False).status_code == 200
            except httpx2.HTTPError:
                return False

        eventually(ready)


@contextmanager
def started(
    place: Place, command: str = "serve", *, ready: bool = True, err: int | None = None, anew: bool = False
) -> Iterator[Process]:
    """Run a server until the block ends; a SIGKILL ends what is left of it.

    `err` is where its standard error goes, by default to the file that its standard output goes to. The
    launcher forks it; with `anew` it is started as anybody starts it.
    """
    log = place.folder / f"{command}-{time.monotonic_ns()}.log"
    with log.open("wb") as file:
        out = file.fileno()
        process = (_started_anew if anew else _forked)(place, command, out, out if err is None else err)
    running = Process(process, log, place)
    try:
        if ready:
            running.until_ready()
        yield running
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(PATIENCE_S)
        place.plant()
        text = log.read_text(errors="replace")
        # `dev` shows its key on standard output, which is in the same file; no line of the log may hold it.
        canary.inspect(f"the log of `{command}`", _SHOWN.sub("", text) if command == "dev" else text)


def _forked(place: Place, command: str, out: int, err: int) -> Forked:
    return launcher().fork([command], place.folder, place.environment, out=out, err=err)


def _started_anew(place: Place, command: str, out: int, err: int) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-m", "app.cli.entry", command],
        cwd=place.folder,
        env=place.environment,
        stdin=subprocess.DEVNULL,
        stdout=out,
        stderr=err,
    )


def eventually(condition: Callable[[], R]) -> R:
    """The first truth that the condition says, within our patience."""
    until = time.monotonic() + PATIENCE_S
    while not (found := condition()):
        assert time.monotonic() < until, "this never came true"
        time.sleep(0.02)
    return found


def in_database(url: str, work: Callable[[Database], Any]) -> Any:
    """What an asynchronous function of the opened database returns."""

    async def run() -> Any:
        db = open_database(url, pool=1)
        try:
            return await work(db)
        finally:
            await db.close()

    return asyncio.run(run())


def a_key(url: str) -> tuple[str, str]:
    """A fresh tenant's id and its test key."""

    async def make(db: Database) -> tuple[str, str]:
        now_ms = time.time_ns() // 1_000_000
        tenant = await db.write(tenants.create, f"tenant-{time.monotonic_ns()}", now_ms=now_ms)
        _, key = await db.write(keys.create, tenant.id, mode="test", name="", pepper=PEPPER, now_ms=now_ms)
        return tenant.id, key

    made: tuple[str, str] = in_database(url, make)
    return made


def rows_of(url: str, tenant_id: str) -> list[Generation]:
    async def look(db: Database) -> list[Generation]:
        return await db.read(store.page, tenant_id, mode="test", limit=100)

    rows: list[Generation] = in_database(url, look)
    return rows


def history_of(url: str, generation_id: str) -> list[Event]:
    async def look(db: Database) -> list[Event]:
        return await db.read(event_rows.of_generation, generation_id)

    events: list[Event] = in_database(url, look)
    return events
