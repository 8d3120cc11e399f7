"""SQLite: the place where its one lane writes, and two locks beside the file.

Every write transaction holds an advisory lock on `<database>.lock`, so that a command beside a running server
never checkpoints the WAL while the server writes: SQLite 3.7.0 to 3.51.2 can corrupt a database when two
connections do. Readers are opened read-only and so never checkpoint.
"""

import fcntl
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError

from app.db.outage import GONE, LOCKED, DatabaseBusyError, outage_of
from app.db.statements.prepared import execute, note_change

BUSY_TIMEOUT_S = 5.0
# Between two tries to take a lock: a busy server leaves its own free for so short that seldom tries miss it.
_PAUSE_S = 0.002
_PRAGMAS = ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON")
# What a savepoint keeps of the pages that change after it is small, and ends with it: it needs no file.
_OF_A_LANE = ("temp_store=MEMORY",)


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
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    os.close(descriptor)
                    return False
                time.sleep(_PAUSE_S)
            else:
                self._descriptor = descriptor
                return True

    def share(self, kept: Iterable[int]) -> bool:
        """Takes the lock from descriptors that have it; returns whether one of them did."""
        with suppress(FileNotFoundError):
            there = self._path.stat()
            for one in kept:
                if os.path.samestat(os.fstat(one), there):
                    self._descriptor = os.dup(one)
                    return True
        return False

    @property
    def descriptor(self) -> int:
        """The descriptor that has the lock."""
        if self._descriptor is None:
            raise AssertionError("the lock is taken")
        return self._descriptor

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


_kept: list[int] = []  # the locks of servers that this process keeps until it ends


def keep_server_lock(url: str, given: int | None = None) -> int:
    """Takes the lock of `server_lock` until this process ends, and returns its descriptor.

    `given` is the descriptor of a predecessor's lock. Who takes the lock here meanwhile shares it.

    Raises:
        ServerRunningError: another process has it.

    """
    if given is not None:
        _kept.append(given)
    _kept.append(server_lock(url).descriptor)
    return _kept[-1]


def server_lock(url: str) -> FileLock:
    """Takes the lock that a server keeps for its life, so that there is only one on a file; returns it.

    Raises:
        ServerRunningError: there is another.

    """
    path = path_of(url)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = FileLock(path.with_name(path.name + ".server"))
    if not lock.share(_kept) and not lock.acquire(timeout_s=0):
        raise ServerRunningError(
            f"another server is running on {path}; SQLite allows only one. Use PostgreSQL for several."
        )
    return lock


def writer_engine(path: Path, *more_pragmas: str) -> Engine:
    """Returns an engine whose transactions begin with BEGIN IMMEDIATE and are durable when COMMIT returns."""
    engine = create_engine(
        URL.create("sqlite", database=str(path)),
        hide_parameters=True,  # parameters contain what callers sent
        connect_args={"isolation_level": None, "timeout": BUSY_TIMEOUT_S, "check_same_thread": False},
    )

    @event.listens_for(engine, "connect")
    def _pragmas(connection: Any, _record: Any) -> None:
        for pragma in (*_PRAGMAS, *more_pragmas):
            connection.execute(f"PRAGMA {pragma}")

    event.listen(engine, "before_cursor_execute", note_change)

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        # By default the driver begins a transaction late and silently loses updates.
        execute(connection, "BEGIN IMMEDIATE")

    return engine


class SqlitePlace:
    """The one place where a process writes to a file; see `app.db.engines.writer.Place`."""

    max_group = 256  # latency stops improving well below this number
    locks_rows = False
    next_savepoint: tuple[str, ...] = ("RELEASE one", "SAVEPOINT one")

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.engine = writer_engine(path, *_OF_A_LANE)
        self._path = path
        self._inode: int | None = None
        self._kept: Connection | None = None
        """The connection, between two transactions: to take one from the engine is dear."""

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Begins a transaction, and commits it at the end of the block."""
        with write_lock(self._path):
            connection = self._kept or self.engine.connect()
            self._kept = None  # after an error it is not used again
            try:
                with connection.begin():
                    self._check_file()
                    yield connection
            except BaseException:
                connection.close()  # and with it a transaction that SQLAlchemy takes for over
                raise
            self._kept = connection

    def is_lost(self, error: BaseException) -> bool:
        """Returns whether the whole transaction is in doubt: the disk is full or broken, the file corrupt."""
        return isinstance(error, DBAPIError) and outage_of(error) is not None

    def has_failed(self, connection: Connection) -> bool:  # noqa: ARG002 - as `Place` has it
        """Returns whether the transaction takes no more statements: here they fail one by one."""
        return False

    def cut(self) -> None:
        """Does nothing: a file answers, and who waits for another process's lock stops by itself."""

    def close(self) -> None:
        """Closes the connection, under the lock as well: the last one of a file checkpoints."""
        with suppress(DatabaseBusyError, OSError), write_lock(self._path):
            if self._kept is not None:
                self._kept.close()
            self.engine.dispose()

    def _check_file(self) -> None:
        """Refuses to write into a file that was removed or replaced: SQLite would not notice."""
        try:
            inode = self._path.stat().st_ino
        except OSError as error:
            raise DatabaseBusyError(f"{self._path} is gone", GONE) from error
        if self._inode not in {None, inode}:
            raise DatabaseBusyError(f"{self._path} was replaced by another file", GONE)
        self._inode = inode
