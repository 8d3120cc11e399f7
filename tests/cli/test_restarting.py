"""`reelgate restart`: which servers it replaces, which it passes over, and whom it does not signal."""

import os
import signal
import socket
from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

import pytest

from app.admin.running import processes
from app.admin.session import AdminSession
from app.cli.serving import restart
from app.db.processes import Process

pytestmark = pytest.mark.anyio
GATEWAY = cast("AdminSession", None)


def server(name: str, pid: int) -> Process:
    return Process(
        id=name,
        role="server",
        host=socket.gethostname(),
        pid=pid,
        version="1",
        schema="1",
        started_at_ms=1,
        seen_at_ms=1,
        settings_at_ms=1,
        settings_fault=None,
    )


class Machine:
    """The servers of a machine, by what happens where one is signalled, and at each look after that."""

    def __init__(self, *there: Process) -> None:
        self.there = list(there)
        self.on_signal: dict[int, Callable[[], None]] = {}
        self.later: list[Callable[[], None]] = []
        self.signalled: list[int] = []

    async def listed(self, _gateway: Any) -> list[Process]:
        if self.signalled and self.later:
            self.later.pop(0)()
        return list(self.there)

    def kill(self, pid: int, sign: int) -> None:
        assert sign == signal.SIGUSR2
        self.signalled.append(pid)
        self.on_signal[pid]()

    def change(self, old: Process, new: Process) -> None:
        self.there = [new if one.id == old.id else one for one in self.there]


@pytest.fixture
def on(monkeypatch: pytest.MonkeyPatch) -> Callable[[Machine], None]:
    def use(machine: Machine) -> None:
        monkeypatch.setattr(processes, "listed", machine.listed)
        monkeypatch.setattr(os, "kill", machine.kill)
        monkeypatch.setattr(restart, "_is_ready", lambda _pid: True)
        monkeypatch.setattr(restart, "_PAUSE_S", 0.001)

    return use


def _gone() -> None:
    raise ProcessLookupError


async def test_a_server_that_was_killed_or_is_stopping_is_passed_over(on: Callable[[Machine], None]) -> None:
    killed, stopping, lives, new = (server(name, pid) for pid, name in enumerate("abcd", 10))
    machine = Machine(killed, stopping, lives)
    machine.on_signal = {
        killed.pid: _gone,
        stopping.pid: lambda: machine.later.append(lambda: machine.there.remove(stopping)),
        lives.pid: lambda: machine.there.append(new),
    }
    on(machine)
    assert await restart._restart(GATEWAY) == ([(lives, new)], None)
    assert machine.signalled == [killed.pid, stopping.pid, lives.pid]


async def test_settings_that_are_read_meanwhile_are_no_end_of_the_successor(
    on: Callable[[Machine], None],
) -> None:
    old, new = server("a", 10), server("b", 11)
    machine = Machine(old)
    machine.on_signal[old.pid] = lambda: machine.later.extend(
        [
            lambda: machine.change(old, replace(old, settings_at_ms=2)),
            lambda: machine.there.append(new),
        ]
    )
    on(machine)
    assert await restart._restart(GATEWAY) == ([(old, new)], None)


async def test_why_there_is_no_successor_is_told(on: Callable[[Machine], None]) -> None:
    old = server("a", 10)
    machine = Machine(old)
    failed = replace(
        old, settings_at_ms=2, settings_fault="its successor ended with code 2; the log says why."
    )
    machine.on_signal[old.pid] = lambda: machine.change(old, failed)
    on(machine)
    replaced, fault = await restart._restart(GATEWAY)
    assert replaced == []
    assert fault is not None
    assert "ended with code 2; the log says why. It goes on as it was." in fault


async def test_a_process_that_the_signal_would_end_gets_none(monkeypatch: pytest.MonkeyPatch) -> None:
    ours = server("a", os.getpid())  # which does not handle it
    machine = Machine(ours)
    monkeypatch.setattr(processes, "listed", machine.listed)
    replaced, fault = await restart._restart(GATEWAY)
    assert replaced == []
    assert fault is not None
    assert "only starting, or of a version" in fault
    before = signal.signal(signal.SIGUSR2, lambda *_: None)
    assert restart._is_ready(os.getpid())
    signal.signal(signal.SIGUSR2, before)
