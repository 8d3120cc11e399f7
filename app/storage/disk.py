"""A store in a folder of this machine's: a file for each key, which appears whole or not at all."""

import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import suppress
from io import FileIO
from itertools import islice
from pathlib import Path
from typing import ParamSpec, TypeVar

from app.storage.incoming import Received
from app.storage.store import CHUNK_BYTES, Post, StorageError, checked
from app.storage.threads import Threads

P = ParamSpec("P")
R = TypeVar("R")
_LISTED_AT_ONCE = 1_000


class DiskStore:
    """The store on disk. What it is given lies on the same file system, so that keeping it is a rename."""

    takes_forms = False

    def __init__(self, folder: Path, threads: Threads) -> None:
        self._folder = folder
        self._threads = threads

    async def put(self, key: str, received: Received, *, media_type: str) -> None:  # noqa: ARG002 - S3 tells it
        """Keeps the received file: flushes it, renames it, and flushes the folder."""
        await self._run(_keep, received.path, self._path(key), self._folder)

    async def size(self, key: str) -> int | None:
        """Returns the number of bytes under the key, or None where there is nothing."""
        return await self._run(_size, self._path(key))

    async def read(self, key: str, start: int = 0, end: int | None = None) -> AsyncGenerator[bytes, None]:
        """Yields the bytes; between two chunks it holds an open file and no thread."""
        file = await self._run(_open, self._path(key), start)
        try:
            at = start
            while end is None or at < end:
                wanted = CHUNK_BYTES if end is None else min(CHUNK_BYTES, end - at)
                chunk = await self._run(file.read, wanted)
                if not chunk:
                    if end is not None:
                        raise StorageError("truncated")
                    return
                at += len(chunk)
                yield chunk
        finally:
            file.close()

    async def delete(self, key: str) -> None:
        """Removes what is under the key; nothing there is fine."""
        await self._run(_delete, self._path(key))

    async def keys(self, prefix: str) -> AsyncIterator[tuple[str, int]]:
        """Yields each key that begins with the prefix and its number of bytes, some at a time."""
        found = _walk(self._folder, self._path(prefix.removesuffix("/")))
        while some := await self._run(_next_of, found):
            for one in some:
                yield one

    def link(self, key: str, *, expires_s: int, media_type: str, disposition: str) -> str | None:  # noqa: ARG002 - the protocol's
        """Returns None: files on disk are served by the gateway."""
        return None

    def post(self, key: str, *, expires_s: int, media_type: str, max_bytes: int) -> Post | None:  # noqa: ARG002 - the protocol's
        """Returns None: files on disk come through the gateway."""
        return None

    async def move(self, source: str, key: str) -> None:
        """Puts what is under `source` under the key. Raises KeyError where there is nothing."""
        try:
            await self._run(_keep, self._path(source), self._path(key), self._folder)
        except StorageError as error:
            if isinstance(error.__cause__, FileNotFoundError):
                raise KeyError(source) from error
            raise

    async def close(self) -> None:
        """Closes nothing: no file stays open."""

    def _path(self, key: str) -> Path:
        return self._folder / checked(key)

    async def _run(self, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return await self._threads.run(function, *args, **kwargs)
        except OSError as error:
            raise StorageError(_reason(error)) from error


def _reason(error: OSError) -> str:
    return (error.strerror or type(error).__name__).lower().replace(" ", "_")


def _keep(source: Path, target: Path, folder: Path) -> None:
    descriptor = os.open(source, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    _make_folder(target.parent, folder)
    source.replace(target)
    _flush(target.parent)


def _make_folder(wanted: Path, root: Path) -> None:
    """Makes a folder, and flushes each one that has a new entry, up to the root."""
    if wanted.is_dir():
        return
    if wanted != root:
        _make_folder(wanted.parent, root)
    wanted.mkdir(mode=0o700, parents=wanted == root, exist_ok=True)
    _flush(wanted.parent)


def _flush(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return None


def _open(path: Path, start: int) -> FileIO:
    file = FileIO(path)
    file.seek(start)
    return file


def _delete(path: Path) -> None:
    with suppress(FileNotFoundError):
        path.unlink()
        _flush(path.parent)


def _walk(root: Path, folder: Path) -> Iterator[tuple[str, int]]:
    with suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from _walk(root, Path(entry.path))
            elif entry.is_file(follow_symlinks=False):
                with suppress(FileNotFoundError):
                    yield Path(entry.path).relative_to(root).as_posix(), entry.stat().st_size


def _next_of(found: Iterator[tuple[str, int]]) -> list[tuple[str, int]]:
    return list(islice(found, _LISTED_AT_ONCE))
