"""Files share the throughput that is set, and what is hardly noticeable is not waited for."""

import asyncio
import math
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from app.storage.incoming import Intake
from app.storage.s3 import _chunks_of
from app.storage.threads import Threads
from app.storage.throughput import Throughput

pytestmark = pytest.mark.anyio


@pytest.fixture
async def waited(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What is slept, at a moment that does not pass."""
    slept: list[float] = []

    async def sleep(delay_s: float) -> None:
        slept.append(round(delay_s, 6))

    monkeypatch.setattr(asyncio, "sleep", sleep)
    monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: 1000.0, raising=False)
    return slept


async def test_each_waits_for_the_bytes_of_all(waited: list[float]) -> None:
    throughput = Throughput(1_000_000)
    for passed in (1_000_000, 500_000, 500, 500_000):
        await throughput.rest(passed)
    assert waited == [1.0, 1.5, 1.5005, 2.0005]


async def test_bytes_that_take_no_time_are_waited_for_together(waited: list[float]) -> None:
    throughput = Throughput(1_000_000)
    for _ in range(3):
        await throughput.rest(400)
    assert waited == [0.0012]
    await Throughput(math.inf).rest(10**12)
    assert len(waited) == 1


async def test_a_file_of_one_piece_is_not_held_up_where_it_comes_in_nor_to_a_bucket(
    tmp_path: Path, threads: Threads, waited: list[float]
) -> None:
    async def pieces(number: int) -> AsyncIterator[bytes]:
        for _ in range(number):
            yield b"x" * 100_000

    throughput = Throughput(1_000_000)
    await throughput.rest(5_000_000)
    intake = Intake(tmp_path, threads, throughput)
    async with intake.receive(pieces(1), max_bytes=1_000_000) as received:
        assert (received.size_bytes, waited) == (100_000, [5.0])
        assert [len(one) async for one in _chunks_of(received, threads, throughput)] == [100_000]
    assert waited == [5.0]
    async with intake.receive(pieces(3), max_bytes=1_000_000):
        assert waited == [5.0, 5.1, 5.2]
