"""The one way in: a stream of bytes becomes a file on this machine, counted and hashed, before it is kept.

A file that a process left behind because it was killed is removed by the next one that starts. Processes may
share a folder: each locks the files that are its own, so that nobody removes those of a living process.
"""

import fcntl
import hashlib
import os
from collections.abc import AsyncIterable, AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from app.kit.secrets import random_16_bytes
from app.storage.threads import Threads
from app.storage.throughput import UNLIMITED, Throughput

_FLUSH_BYTES: Final = 1_048_576  # of a stream, written at a time
_DIRECT_BYTES: Final = 262_144  # of a piece that is written as it is, not gathered with others
_HEAD_BYTES: Final = 4_096


class TooLargeError(Exception):
    """The stream has more bytes than it may have. The rest of it was not read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """A file that was received whole. `sha256` is in hex; `head` are its first bytes, to be sniffed."""

    path: Path
    size_bytes: int
    sha256: str
    head: bytes


class Intake:
    """The folder for files that are being received. It lies on the same file system as a store on disk."""

    def __init__(self, folder: Path, threads: Threads, throughput: Throughput = UNLIMITED) -> None:
        self._folder = folder
        self._threads = threads
        self._throughput = throughput

    async def clear(self) -> int:
        """Removes what processes that are gone left behind, and returns the number of files."""
        return await self._threads.run(_clear, self._folder)

    @asynccontextmanager
    async def receive(
        self, chunks: AsyncIterable[bytes | memoryview], *, max_bytes: int
    ) -> AsyncIterator[Received]:
        """Writes a stream to a file, and removes the file at the end of the block if it is still there.

        Memory is a megabyte, whatever the stream holds. A piece may be a view of a buffer that is used again
        for the next one. Errors of the stream itself pass through.

        Raises:
            TooLargeError: the stream has more than `max_bytes`.
            OSError: the disk is full, or fails.

        """
        path, descriptor = await self._threads.make(partial(_create, self._folder), _undo)
        try:
            digest, size, head, passed = hashlib.sha256(), 0, b"", 0
            buffer, filled = bytearray(_FLUSH_BYTES), 0
            async for chunk in chunks:
                size += len(chunk)
                if size > max_bytes:
                    raise TooLargeError
                if len(head) < _HEAD_BYTES:
                    head += chunk[: _HEAD_BYTES - len(head)]
                if passed:  # one piece alone is not held up
                    await self._throughput.rest(passed)
                passed = len(chunk)
                rest = memoryview(chunk)
                if len(rest) >= _DIRECT_BYTES:
                    if filled:
                        await self._threads.run(_write, descriptor, memoryview(buffer)[:filled], digest)
                        filled = 0
                    await self._threads.run(_write, descriptor, rest, digest)
                    continue
                while rest:
                    taken = rest[: _FLUSH_BYTES - filled]
                    buffer[filled : filled + len(taken)] = taken
                    filled, rest = filled + len(taken), rest[len(taken) :]
                    if filled == _FLUSH_BYTES:
                        await self._threads.run(_write, descriptor, memoryview(buffer), digest)
                        filled = 0
            await self._threads.run(_write, descriptor, memoryview(buffer)[:filled], digest)
            yield Received(path=path, size_bytes=size, sha256=digest.hexdigest(), head=head)
        finally:
            await self._threads.run(_remove, path, descriptor)


def _create(folder: Path) -> tuple[Path, int]:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    while True:
        path = folder / random_16_bytes().hex()
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if os.fstat(descriptor).st_nlink:  # else a process that starts removed it before it was locked
                return path, descriptor
        except BaseException:
            os.close(descriptor)
            path.unlink(missing_ok=True)
            raise
        os.close(descriptor)


def _write(descriptor: int, data: memoryview, digest: "hashlib._Hash") -> None:
    digest.update(data)
    while data:
        data = data[os.write(descriptor, data) :]


def _undo(created: tuple[Path, int]) -> None:
    _remove(*created)


def _remove(path: Path, descriptor: int) -> None:
    path.unlink(missing_ok=True)
    os.close(descriptor)


def _clear(folder: Path) -> int:
    removed = 0
    with suppress(FileNotFoundError):
        for path in folder.iterdir():
            with suppress(FileNotFoundError, BlockingIOError, IsADirectoryError):
                descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    path.unlink()
                    removed += 1
                finally:
                    os.close(descriptor)
    return removed
