"""SQLite: one writer thread with group commit, read-only readers, and two locks beside the file.

Every write transaction holds an advisory lock on `<database>.lock`, so that a command beside a running server
never checkpoints the WAL while the server writes: SQLite 3.7.0 to 3.51.2 can corrupt a database when two
connections do. Readers are opened read-only and so never checkpoint.
"""

import asyncio
import fcntl
import os
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError

from app.db.outage import GONE, LOCKED, DatabaseBusyError, outage_of

BUSY_TIMEOUT_S = 5.0
_PRAGMAS = ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON")
MAX_IN_A_GROUP = 256  # functions that share a COMMIT; latency stops improving well below this number


class ServerRunningError(Exception):
    """Another server owns this SQLite file."""


def path_of(url: str) -> Path:
    """Returns the file of a `sqlite:///PATH` URL."""
    return Path(url.split(":///", 1)[1])


def make_private(path: Path) -> None:
    """Makes an empty file that only its owner may read; leaves one that is there as it is.

    SQLite gives the files beside a database the mode of the database itself. What root makes in somebody's
    folder belongs to them, so that their server can open it.

    Raises:
        OSError: it cannot be made.

    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        return
    try:
        if os.geteuid() == 0:
            folder = path.parent.stat()
            os.fchown(descriptor, folder.st_uid, folder.st_gid)
    finally:
        os.close(descriptor)


def damage_in(path: Path, *, within_s: float) -> str | None:
    """Returns what is wrong with a file's structure; None where nothing was found in that time.

    Raises:
        sqlite3.Error: it cannot be read.

    """
    until_s = time.monotonic() + within_s
    connection = sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, timeout=BUSY_TIMEOUT_S)
    try:
        connection.set_progress_handler(lambda: time.monotonic() > until_s, 100_000)
        (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.DatabaseError as error:
        if error.sqlite_errorcode == sqlite3.SQLITE_INTERRUPT:
            return None
        if error.sqlite_errorcode in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}:
            return str(error)
        raise
    finally:
        connection.close()
    return None if found == "ok" else " ".join(str(found).split())


class FileLock:
    """An advisory lock on a file, which ends with the process, whatever happens to it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def acquire(self, *, timeout_s: float) -> bool:
        """Takes the lock; returns False where somebody else keeps it for `timeout_s` seconds."""
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            make_private(self._path)
            descriptor = os.open(self._path, os.O_RDWR | os.O_CLOEXEC)
        deadline = time.monotonic() + timeout_s
        pause_s = 0.001
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    os.close(descriptor)
                    return False
                time.sleep(pause_s)
                pause_s = min(pause_s * 2, 0.05)
            else:
                self._descriptor = descriptor
                return True

    def release(self) -> None:
        """Releases the lock."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


@contextmanager
def write_lock(path: Path) -> Iterator[None]:
    """Holds for the block the lock that every write, and so every checkpoint, needs.

    Raises:
        DatabaseBusyError: another process keeps it.

    """
    lock = FileLock(path.with_name(path.name + ".lock"))
    if not lock.acquire(timeout_s=BUSY_TIMEOUT_S):
        raise DatabaseBusyError("another process holds the database's lock", LOCKED)
    try:
        yield
    finally:
        lock.release()


def server_lock(url: str) -> FileLock:
    """Takes the lock that a server keeps for its life, so that there is only one on a file; returns it.

    Raises:
        ServerRunningError: there is another.

    """
    path = path_of(url)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = FileLock(path.with_name(path.name + ".server"))
    if not lock.acquire(timeout_s=0):
        raise ServerRunningError(
            f"another server is running on {path}; SQLite allows only one. Use PostgreSQL for several."
        )
    return lock


def writer_engine(path: Path) -> Engine:
    """Returns an engine whose transactions begin with BEGIN IMMEDIATE and are durable when COMMIT returns."""
    engine = create_engine(
        URL.create("sqlite", database=str(path)),
        hide_parameters=True,  # parameters contain what callers sent
        connect_args={"isolation_level": None, "timeout": BUSY_TIMEOUT_S, "check_same_thread": False},
    )

    @event.listens_for(engine, "connect")
    def _pragmas(connection: Any, _record: Any) -> None:
        for pragma in _PRAGMAS:
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        # By default the driver begins a transaction late and silently loses updates.
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine


@dataclass(slots=True)
class _Work:
    function: Callable[[Connection], Any]
    future: "asyncio.Future[Any]"
    loop: asyncio.AbstractEventLoop
    result: Any = None
    error: BaseException | None = None


class Writer:
    """The thread through which every write of this process goes.

    Functions that are queued at the same time share one transaction, each in a SAVEPOINT of its own: an error
    rolls back its own function alone, and every caller is answered only after the COMMIT.
    """

    def __init__(self, url: str) -> None:
        path = path_of(url)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._path = path
        self._inode: int | None = None
        self._gate = threading.Lock()
        self._closed = False
        self._engine = writer_engine(path)
        self._queue: queue.SimpleQueue[_Work | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="sqlite-writer", daemon=True)
        self._thread.start()

    async def run(self, function: Callable[[Connection], Any]) -> Any:
        """Returns the function's result, once it is committed."""
        loop = asyncio.get_running_loop()
        work = _Work(function, loop.create_future(), loop)
        with self._gate:  # nothing may be put into the queue after the end marker
            if self._closed:
                raise DatabaseBusyError("the writer is closed")
            self._queue.put(work)
        return await work.future

    async def close(self) -> None:
        """Finishes what is queued, then closes."""
        with self._gate:
            if not self._closed:
                self._closed = True
                self._queue.put(None)
        await asyncio.to_thread(self._thread.join)

    def _run(self) -> None:
        stop = False
        while not stop:
            works, stop = self._gather()
            if works:
                self._commit_together(works)
                _answer(works)
        # The last connection to close checkpoints, so it is closed under the lock as well.
        with suppress(DatabaseBusyError, OSError), write_lock(self._path):
            self._engine.dispose()

    def _check_file(self) -> None:
        """Refuses to write into a file that was removed or replaced: SQLite would not notice."""
        try:
            inode = self._path.stat().st_ino
        except OSError as error:
            raise DatabaseBusyError(f"{self._path} is gone", GONE) from error
        if self._inode not in {None, inode}:
            raise DatabaseBusyError(f"{self._path} was replaced by another file", GONE)
        self._inode = inode

    def _gather(self) -> tuple[list[_Work], bool]:
        first = self._queue.get()
        if first is None:
            return [], True
        works = [first]
        with suppress(queue.Empty):
            while len(works) < MAX_IN_A_GROUP:
                work = self._queue.get_nowait()
                if work is None:
                    return works, True
                works.append(work)
        return works, False

    def _commit_together(self, works: list[_Work]) -> None:
        try:
            with write_lock(self._path), self._engine.connect() as connection, connection.begin():
                self._check_file()
                for work in works:
                    _run_in_savepoint(connection, work)
        except Exception as error:  # noqa: BLE001 - it belongs to the callers, not to this thread
            for work in works:
                work.result, work.error = None, error


def _run_in_savepoint(connection: Connection, work: _Work) -> None:
    # Sent straight to the driver: SQLAlchemy's own savepoints cost as much as a statement each.
    driver = connection.connection.driver_connection
    if driver is None:
        raise DatabaseBusyError("the connection is closed")
    driver.execute("SAVEPOINT one")
    try:
        work.result = work.function(connection)
        driver.execute("RELEASE one")
    except BaseException as error:
        if isinstance(error, sqlite3.Error) or (isinstance(error, DBAPIError) and outage_of(error)):
            raise  # disk full, I/O error, corruption: the whole transaction is in doubt
        driver.execute("ROLLBACK TO one")
        driver.execute("RELEASE one")
        # A future accepts any exception but this one.
        work.error = RuntimeError(repr(error)) if isinstance(error, StopIteration) else error


def _answer(works: list[_Work]) -> None:
    by_loop: dict[asyncio.AbstractEventLoop, list[_Work]] = {}
    for work in works:
        by_loop.setdefault(work.loop, []).append(work)
    for loop, own in by_loop.items():
        with suppress(RuntimeError):  # that loop is closed: nobody awaits the result
            loop.call_soon_threadsafe(_resolve, own)


def _resolve(works: list[_Work]) -> None:
    for work in works:
        if work.future.done():
            continue
        if work.error is not None:
            work.future.set_exception(work.error)
        else:
            work.future.set_result(work.result)
