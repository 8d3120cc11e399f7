"""A server and its successor: what is handed on, by which word, and what happens where it is not said."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from app.cli.serving.servers import _listening
from app.config import Settings
from app.db.engines import sqlite
from app.db.engines.sqlite import ServerRunningError, keep_server_lock, server_lock
from app.kit.tasks import Tasks
from app.server import process, succession
from app.server.succession import Inheritance, Succession, inherited
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.anyio
TOLD = "_REELGATE_PREDECESSOR"
SERVES = """
import os, socket
parent, channel, lock, kept, *sockets = map(int, os.environ["_REELGATE_PREDECESSOR"].split(","))
assert (parent, lock, kept, len(sockets)) == (os.getppid(), -1, 0, 1)
socket.socket(fileno=sockets[0]).getsockname()
os.write(channel, b"serves")
"""

LATE = """
import os, signal
channel = int(os.environ["_REELGATE_PREDECESSOR"].split(",")[1])
def stop(*_):
    try:
        os.write(channel, b"serves")
    except BrokenPipeError:
        os._exit(7)
signal.signal(signal.SIGTERM, stop)
signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
signal.pause()
"""


class Asked:
    """What a server is told to do by its succession."""

    def __init__(self, listening: socket.socket) -> None:
        self.tasks = Tasks()
        self.handed_on = 0
        self.told: list[str] = []
        self.succession = Succession(
            self.tasks,
            sockets=lambda: ([], [listening.fileno()]),
            lock=None,
            hand_on=self._hand_on,
            tell=self._tell,
        )

    async def is_over(self) -> None:
        """Waits for what was begun, and for the process, which outlives its predecessor otherwise."""
        assert await self.tasks.drain(PATIENCE_S) == 0
        if self.succession.successor is not None:
            self.succession.successor.wait(PATIENCE_S)

    def _hand_on(self) -> None:
        self.handed_on += 1

    async def _tell(self, fault: str) -> None:
        self.told.append(fault)


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as one:
        yield one


def runs(program: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "orig_argv", ["python", "-S", "-c", program])


async def test_a_successor_that_serves_takes_over_once(
    listening: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs(SERVES, monkeypatch)
    asked = Asked(listening)
    asked.succession.begin()
    asked.succession.begin()  # another signal meanwhile
    await asked.is_over()
    assert (asked.handed_on, asked.told) == (1, [])
    asked.succession.begin()
    assert len(asked.tasks) == 0


async def test_where_a_successor_ends_its_predecessor_goes_on_and_may_try_again(
    listening: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = Asked(listening)
    runs("raise SystemExit(3)", monkeypatch)
    asked.succession.begin()
    await asked.is_over()
    assert (asked.handed_on, asked.told) == (0, ["its successor ended with code 3; the log says why."])
    runs(SERVES, monkeypatch)
    asked.succession.begin()
    await asked.is_over()
    assert asked.handed_on == 1


async def test_a_successor_that_serves_too_late_is_asked_to_stop_and_not_killed(
    listening: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs(LATE, monkeypatch)
    monkeypatch.setattr(succession, "_PATIENCE_S", 0.01)
    asked = Asked(listening)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])  # until the successor unblocks it
    asked.succession.begin()
    await asked.is_over()
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
    assert (asked.handed_on, asked.told) == (0, ["its successor ended with code 7; the log says why."])


async def test_a_server_ends_with_a_successor_that_does_not_stop(
    listening: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs("import time; time.sleep(600)", monkeypatch)
    asked = Asked(listening)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])  # by its successor, too
    asked.succession.begin()
    while (coming := asked.succession.successor) is None:  # noqa: ASYNC110 - it is started within the next turns
        await asyncio.sleep(0)
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
    asked.succession.leave()
    assert await asked.tasks.drain(0.01) == 1
    assert coming.wait(PATIENCE_S) == -signal.SIGKILL


async def test_a_server_that_is_stopped_meanwhile_takes_its_successor_with_it(
    listening: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs("import time; time.sleep(600)", monkeypatch)
    asked = Asked(listening)
    asked.succession.begin()
    while asked.succession.successor is None:  # noqa: ASYNC110 - it is started within the next turns
        await asyncio.sleep(0)
    asked.succession.leave()
    await asked.is_over()
    assert (asked.handed_on, asked.told) == (0, [])


def test_a_process_inherits_from_its_parent_alone_and_forgets_what_it_was_told(
    listening: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        given = (theirs.detach(), -1, 0, listening.fileno())
        for parent, is_ours in ((1, False), (os.getppid(), True)):
            monkeypatch.setenv(TOLD, ",".join(str(one) for one in (parent, *given)))
            found = inherited()
            assert (found is not None, TOLD in os.environ) == (is_ours, False)
        assert found is not None
        assert (found.sockets, found.kept, found.lock) == ((listening.fileno(),), frozenset(), None)
        ours.close()
        assert not found.tell()  # the predecessor is gone


def test_of_what_a_successor_is_given_only_what_systemd_keeps_outlives_it(listening: socket.socket) -> None:
    with socket.create_server(("127.0.0.1", 0)) as of_systemd, socket.socket() as channel:
        given = Inheritance(
            parent=os.getppid(),
            sockets=(sockets := (os.dup(of_systemd.fileno()), os.dup(listening.fileno()))),
            kept=frozenset(sockets[:1]),
            lock=None,
            channel=channel,
        )
        port, admin_port = of_systemd.getsockname()[1], listening.getsockname()[1]
    here = {"host": "127.0.0.1", "port": port, "admin_address": "127.0.0.1", "admin_port": admin_port}
    found = _listening(cast("Settings", SimpleNamespace(**here, has_admin_port=True)), given)
    assert found.sockets is not None
    assert [one.fileno() for one in found.sockets] == list(sockets)
    assert [one.fileno() for one in found.kept] == [sockets[0]]
    assert given.is_shared()
    for one in found.sockets:
        one.close()


@pytest.mark.parametrize("is_shared", [False, True])
async def test_a_server_closes_a_port_to_callers_unless_its_predecessor_listens_there_still(
    listening: socket.socket, monkeypatch: pytest.MonkeyPatch, *, is_shared: bool
) -> None:
    closed: list[int] = []

    async def accept_the_last(own: list[int]) -> None:
        closed.extend(own)

    async def end(*_: object) -> None:
        pass

    monkeypatch.setattr(process, "accept_the_last", accept_the_last)
    monkeypatch.setattr(process, "PACE_S", 0)
    monkeypatch.setattr("uvicorn.Server.shutdown", end)
    config = process.server_config(cast("Any", end), "127.0.0.1", 0, drain_s=1)
    server = process.Server(config, delay_s=1, shares=lambda: is_shared)
    server.servers = [cast("Any", SimpleNamespace(sockets=[listening], close=lambda: None))]
    assert server.descriptors() == ([], [listening.fileno()])
    await server.shutdown()
    assert closed == ([] if is_shared else [listening.fileno()])


def test_the_lock_of_a_server_is_shared_in_its_process_and_with_nobody_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"sqlite:///{tmp_path}/gateway.db"
    monkeypatch.setattr(sqlite, "_kept", [])
    kept = keep_server_lock(url)
    server_lock(url).release()
    monkeypatch.setattr(sqlite, "_kept", [])  # as another process
    with pytest.raises(ServerRunningError):
        server_lock(url)
    assert keep_server_lock(url, os.dup(kept)) != kept  # as a successor
    os.close(kept)
    monkeypatch.setattr(sqlite, "_kept", [])
    with pytest.raises(ServerRunningError):
        server_lock(url)  # which has it still
