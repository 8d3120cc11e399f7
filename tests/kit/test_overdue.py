"""One timer tells what is overdue, however often something begins and ends meanwhile."""

import asyncio
from collections.abc import Callable

import pytest

from app.kit.clock import Overdue, SystemClock, Waits


class _Handle:
    def __init__(self, when: float, act: Callable[[], object]) -> None:
        self.when = when
        self.act = act
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class _Loop:
    """A loop whose time goes on by hand."""

    def __init__(self) -> None:
        self.now = 100.0
        self.set: list[_Handle] = []

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, act: Callable[[], object]) -> _Handle:
        self.set.append(_Handle(when, act))
        return self.set[-1]

    def advance(self, seconds: float) -> None:
        self.now += seconds
        for one in [one for one in self.set if one.when <= self.now and not one.cancelled]:
            one.cancel()
            one.act()


@pytest.fixture
def loop(monkeypatch: pytest.MonkeyPatch) -> _Loop:
    made = _Loop()
    monkeypatch.setattr(asyncio, "get_running_loop", lambda: made)
    return made


def test_what_has_not_ended_in_time_is_told_once(loop: _Loop) -> None:
    told: list[float] = []
    overdue = Overdue(20, lambda: told.append(loop.now))
    overdue.begin()
    loop.advance(19)
    assert told == []
    loop.advance(1)
    assert told == [120.0]
    loop.advance(60)
    assert told == [120.0]


def test_each_beginning_has_the_whole_time_and_a_thousand_share_a_timer(loop: _Loop) -> None:
    told: list[float] = []
    overdue = Overdue(20, lambda: told.append(loop.now))
    for _ in range(1000):
        overdue.begin()
        overdue.end()
        loop.advance(1 / 128)
    overdue.begin()  # at 107.8125
    assert len(loop.set) == 1
    loop.advance(12.1875)
    assert told == []
    loop.advance(7.8125)
    assert told == [127.8125]
    assert len(loop.set) == 2


def test_what_has_ended_or_was_closed_is_not_told(loop: _Loop) -> None:
    told: list[float] = []
    overdue = Overdue(20, lambda: told.append(loop.now))
    overdue.begin()
    overdue.end()
    loop.advance(20)
    overdue.begin()
    overdue.close()
    loop.advance(20)
    assert told == []


@pytest.mark.anyio
async def test_a_wait_ends_when_its_time_is_over_and_the_next_one_waits_again() -> None:
    event = asyncio.Event()
    with Waits(event, SystemClock(), within_s=0.001) as waits:
        assert not await waits.wait()
        event.clear()
        assert not await waits.wait()
    event.clear()
    with Waits(event, SystemClock(), within_s=3600) as waits:
        asyncio.get_running_loop().call_soon(event.set)
        assert await waits.wait()
        assert await waits.wait(), "it is still set"
