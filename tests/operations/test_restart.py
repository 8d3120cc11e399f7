"""An SQLite server is restarted under calls: they wait for it, and none is refused or lost."""

import asyncio
import itertools
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2

from tests.harness import SUBMIT
from tests.patience import PATIENCE_S
from tests.processes import Commands, Place, Process, a_key, eventually, place_for
from tests.sandbox.harness import Running

CALLERS = 4
PAUSE_S = 0.05  # of each caller between two calls: others work on this machine too


@contextmanager
def serving(place: Place, listening: socket.socket) -> Iterator[Process]:
    """A server that is given its socket, as by systemd."""
    log = place.folder / f"serve-{time.monotonic_ns()}.log"
    descriptor = listening.fileno()
    given = f'LISTEN_PID=$$ LISTEN_FDS=1 exec "$@" 3<&{descriptor}'
    command = ["/bin/bash", "-c", given, "-", sys.executable, "-m", "app.cli.entry", "serve"]
    with log.open("wb") as file:
        process = subprocess.Popen(
            command,
            cwd=place.folder,
            env=place.environment,
            stdout=file,
            stderr=file,
            pass_fds=[descriptor],
        )
    running = Process(process, log, place)
    try:
        running.until_ready()
        yield running
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(PATIENCE_S)


class Calls:
    """Callers who submit all the time, each with a connection of its own for every call."""

    def __init__(self, url: str, key: str, sandbox_url: str) -> None:
        self.made: dict[str, str] = {}
        self.answered_s: list[float] = []
        self._url = url
        self._key = key
        self._body = {"image_urls": [f"{sandbox_url}/samples/harbour.jpg"], "prompt": "[sandbox:canned]"}
        self._over = threading.Event()
        self._active = 0

    async def keep_calling(self, name: str) -> None:
        async with httpx2.AsyncClient(
            base_url=self._url,
            headers={"Authorization": f"Bearer {self._key}"},
            limits=httpx2.Limits(max_keepalive_connections=0),
            timeout=PATIENCE_S,
            trust_env=False,
        ) as client:
            self._active += 1
            while not self._over.is_set():
                mine = f"{name}-{len(self.made)}"
                answer = await client.post(SUBMIT, json=self._body, headers={"Idempotency-Key": mine})
                assert answer.status_code == 200, answer.text
                self.answered_s.append(time.monotonic())
                self.made[mine] = answer.json()["request_id"]
                await asyncio.sleep(PAUSE_S)
            self._active -= 1

    def until_more(self, count: int) -> None:
        wanted = len(self.made) + count
        eventually(lambda: len(self.made) >= wanted)

    def end(self) -> None:
        """Has the callers stop, and waits until each got its last answer."""
        self._over.set()
        eventually(lambda: self._active == 0)

    def longest_pause_s(self) -> float:
        return max(after - one for one, after in itertools.pairwise(self.answered_s))


def test_nobody_is_refused_while_a_server_that_was_given_its_socket_is_restarted(
    sqlite_url: str,
    tmp_path: Path,
    sandbox: Running,
    reelgate: Commands,
    record_property: Callable[[str, object], None],
) -> None:
    _, key = a_key(sqlite_url)
    place = place_for(tmp_path, sqlite_url, sandbox.options.public_url, DRAIN_DELAY_S="0")
    calls = Calls(place.url, key, sandbox.options.public_url)

    def restart(server: Process, listening: socket.socket) -> None:
        calls.until_more(2 * CALLERS)
        server.send(signal.SIGTERM)
        assert server.wait() == 0
        with serving(place, listening):
            calls.until_more(2 * CALLERS)
            calls.end()

    async def run(server: Process, listening: socket.socket) -> None:
        async with asyncio.TaskGroup() as group:
            for number in range(CALLERS):
                group.create_task(calls.keep_calling(str(number)))
            await asyncio.to_thread(restart, server, listening)

    sandbox.tidy()
    before = len(sandbox.ledger()["submissions"])
    port = int(place.settings["PORT"])
    with (
        socket.create_server(("127.0.0.1", port), backlog=100) as listening,
        serving(place, listening) as server,
    ):
        asyncio.run(run(server, listening))
    assert len(sandbox.ledger()["submissions"]) - before == len(calls.made) == len(set(calls.made.values()))
    reelgate.run(place, "ledger", "verify")
    told = f"The longest pause between two answers: {calls.longest_pause_s():.2f} s."
    record_property("restart", told)
    print(told)  # noqa: T201 - with -s
