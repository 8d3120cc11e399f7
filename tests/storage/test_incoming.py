"""The way in: whole, counted and hashed, or nothing; and nothing is left of what was given up."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from app.storage import incoming
from app.storage.incoming import Intake, TooLargeError
from app.storage.threads import Threads
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.anyio


def left(folder: Path) -> list[int]:
    """The sizes of the files in a folder."""
    return [one.stat().st_size for one in folder.iterdir()]


def opened() -> int:
    """How many files and connections this process has open."""
    return len(list(Path("/proc/self/fd").iterdir()))


async def endless(data: bytes = b"x" * 100_000) -> AsyncIterator[bytes]:
    while True:
        yield data
        await asyncio.sleep(0)


async def test_a_stream_over_its_limit_is_given_up_and_leaves_nothing(
    tmp_path: Path, threads: Threads
) -> None:
    taken = 0

    async def counted() -> AsyncIterator[bytes]:
        nonlocal taken
        async for chunk in endless():
            taken += len(chunk)
            yield chunk

    with pytest.raises(TooLargeError):
        async with Intake(tmp_path, threads).receive(counted(), max_bytes=3_000_000):
            pytest.fail("it was received")
    assert (left(tmp_path), taken) == ([], 3_100_000)


async def test_whoever_is_cancelled_while_the_file_is_made_leaves_nothing(
    tmp_path: Path, threads: Threads, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, cancelled = threading.Event(), threading.Event()
    create = incoming._create

    def slowly(folder: Path) -> tuple[Path, int]:
        created = create(folder)
        made.set()
        assert cancelled.wait(PATIENCE_S)
        return created

    async def receive() -> None:
        async with Intake(tmp_path, threads).receive(endless(), max_bytes=1):
            pytest.fail("it was received")

    before = opened()
    monkeypatch.setattr(incoming, "_create", slowly)
    task = asyncio.create_task(receive())
    await asyncio.to_thread(made.wait, PATIENCE_S)
    task.cancel()
    await asyncio.sleep(0)
    cancelled.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (left(tmp_path), opened()) == ([], before)


async def test_whoever_is_cancelled_on_the_way_leaves_nothing(tmp_path: Path, threads: Threads) -> None:
    async def receive() -> None:
        async with Intake(tmp_path, threads).receive(endless(), max_bytes=2**40):
            pytest.fail("it was received")

    task = asyncio.create_task(receive())
    while not any(left(tmp_path)):  # noqa: ASYNC110 - the file tells nobody
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert left(tmp_path) == []


async def test_what_nobody_kept_is_removed_at_the_end(tmp_path: Path, threads: Threads) -> None:
    async def some() -> AsyncIterator[bytes]:
        yield b"some"

    async with Intake(tmp_path, threads).receive(some(), max_bytes=4) as received:
        assert _seen(received.path) == (b"some", 0o600)
    assert left(tmp_path) == []


async def test_a_start_removes_what_the_dead_left_and_nothing_of_the_living(
    tmp_path: Path, threads: Threads
) -> None:
    intake = Intake(tmp_path, threads)
    assert await intake.clear() == 0
    program = (
        "import os, sys, time; from pathlib import Path; from app.storage.incoming import _create\n"
        "path, fd = _create(Path(sys.argv[1])); os.write(fd, b'half')\n"
        "print('ready', flush=True); time.sleep(600)"
    )
    with subprocess.Popen(  # noqa: ASYNC220 - ours
        [sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert await asyncio.to_thread(process.stdout.readline) == b"ready\n"
        assert await intake.clear() == 0
        assert len(left(tmp_path)) == 1
        os.kill(process.pid, signal.SIGKILL)
    assert await intake.clear() == 1
    assert left(tmp_path) == []


def _seen(path: Path) -> tuple[bytes, int]:
    return path.read_bytes(), path.stat().st_mode & 0o777
