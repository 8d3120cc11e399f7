"""What an error of the database means: that it cannot serve and why, or that a statement of ours is wrong.

An `Outage` has a sentence for callers. It comes from the short list below, so that nothing of a driver's own
words (names, paths, addresses) leaves the server; those are for the log and for `reelgate doctor`.
"""

import errno
import sqlite3
from dataclasses import dataclass
from typing import Final

from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError


@dataclass(frozen=True, slots=True)
class Outage:
    """A reason why the database cannot serve: its name for logs, and the sentence that callers are told."""

    reason: str
    sentence: str


READ_ONLY: Final = Outage("read_only", "The database is read-only.")
NO_SPACE: Final = Outage("no_space", "There is no space left for the database.")
DAMAGED: Final = Outage("damaged", "The database is damaged.")
IO_ERROR: Final = Outage("io_error", "The database's disk reports an error.")
GONE: Final = Outage("gone", "The database's file is gone, or was replaced.")
SLOW: Final = Outage("slow", "The database did not answer in time.")
LOCKED: Final = Outage("locked", "The database is locked by something else.")
CROWDED: Final = Outage("crowded", "The database accepts no more connections.")
STARTING: Final = Outage("starting", "The database is starting or stopping.")
UNREACHABLE: Final = Outage("unreachable", "The database cannot be reached.")
# Callers are not told of a refused password, a missing permission or a wrong name: those describe the set-up.
REFUSED: Final = Outage("refused", "The database cannot be used.")


class DatabaseBusyError(Exception):
    """The database cannot serve now; `outage` says why."""

    def __init__(self, message: str, outage: Outage = SLOW) -> None:
        super().__init__(message)
        self.outage = outage


class NotBegunError(DatabaseBusyError):
    """The database cannot serve now, and it is certain that the function has not run."""


OUTAGES: Final = (DBAPIError, PoolTimeoutError, DatabaseBusyError, sqlite3.Error, OSError)
"""The types of every error that may be an outage."""

_OF_SQLITE: Final = {
    sqlite3.SQLITE_PERM: REFUSED,
    sqlite3.SQLITE_BUSY: LOCKED,
    sqlite3.SQLITE_LOCKED: LOCKED,
    sqlite3.SQLITE_PROTOCOL: LOCKED,
    sqlite3.SQLITE_READONLY: READ_ONLY,
    sqlite3.SQLITE_IOERR: IO_ERROR,
    sqlite3.SQLITE_CORRUPT: DAMAGED,
    sqlite3.SQLITE_NOTADB: DAMAGED,
    sqlite3.SQLITE_FULL: NO_SPACE,
    sqlite3.SQLITE_CANTOPEN: REFUSED,
    sqlite3.SQLITE_AUTH: REFUSED,
}
_OF_SYSTEM: Final = {
    errno.ENOSPC: NO_SPACE,
    errno.EDQUOT: NO_SPACE,
    errno.EFBIG: NO_SPACE,
    errno.EROFS: READ_ONLY,
    errno.EACCES: REFUSED,
    errno.EPERM: REFUSED,
    errno.ENOTDIR: REFUSED,
    errno.EIO: IO_ERROR,
}
# By SQLSTATE, or by its first two characters, which are a class of errors.
_OF_POSTGRES: Final = {
    "08": UNREACHABLE,
    "25006": READ_ONLY,  # the transaction is read-only, as on a standby
    "25P03": SLOW,  # idle in a transaction for too long
    "26": REFUSED,  # a prepared statement is gone, as behind a pooler
    "28": REFUSED,  # the user or the password
    "3D": REFUSED,  # there is no such database
    "42P05": REFUSED,  # a prepared statement is there already, as behind a pooler
    "42501": REFUSED,  # a permission is missing
    "53100": NO_SPACE,
    "53300": CROWDED,
    "55P03": LOCKED,
    "57014": SLOW,  # a time-out of ours
    "57P": STARTING,
    "57P04": GONE,  # the database was dropped
    "57P05": STARTING,  # the session was idle for too long
    "58": IO_ERROR,
    "XX001": DAMAGED,
    "XX002": DAMAGED,
}
# A refused connection has no SQLSTATE, only what the server said. What is FATAL and not known is REFUSED.
_OF_REFUSALS: Final = (
    ("starting up", STARTING),
    ("shutting down", STARTING),
    ("not yet accepting connections", STARTING),
    ("too many", CROWDED),
    ("connection slots", CROWDED),
    ("no more connections", CROWDED),
    ("session is read-only", READ_ONLY),  # of every server, where target_session_attrs wants to write
    ("hot standby", READ_ONLY),
    ("FATAL:", REFUSED),
)
TRY_AGAIN: Final = frozenset({"40001", "40P01"})
"""SQLSTATEs of a serialization failure and a deadlock: nothing was committed, and it may be tried again."""
# A connection that gets one of these may answer for ever and never serve again: another one is to be made.
_OF_THE_CONNECTION: Final = ("25006", "25P03", "26", "28", "42P05", "42501", "57P", "08")


def outage_of(error: BaseException) -> Outage | None:
    """Returns why the database cannot serve; None where the error is our own, such as a wrong statement."""
    if isinstance(error, DatabaseBusyError):
        return error.outage
    if isinstance(error, PoolTimeoutError):
        return SLOW
    if isinstance(error, DBAPIError):
        return _of_driver(error)
    if isinstance(error, sqlite3.Error):  # of the writer's own savepoints, which are not wrong
        return _of_code(error) or UNREACHABLE
    if isinstance(error, OSError):
        return _OF_SYSTEM.get(error.errno or 0, UNREACHABLE)
    return None


def drops_connection(error: BaseException | None) -> bool:
    """Returns whether a connection that got this answer of PostgreSQL's must not be used again."""
    state = _sqlstate(error)
    return state is not None and state.startswith(_OF_THE_CONNECTION)


def words_of(error: BaseException) -> str:
    """Returns the driver's own words for an error, on one line. They are for the operator alone."""
    cause = getattr(error, "orig", None) or error
    return " ".join(str(cause).split()) or type(cause).__name__


def _of_driver(error: DBAPIError) -> Outage | None:
    cause = error.orig
    state = _sqlstate(cause)
    if state is not None:
        for length in (5, 3, 2):
            if found := _OF_POSTGRES.get(state[:length]):
                return found
    if getattr(cause, "sqlite_errorcode", None) == sqlite3.SQLITE_ERROR:
        return None  # a wrong statement: SQLite's drivers report it as an OperationalError
    if cause is not None and (found := _of_code(cause)):
        return found
    if isinstance(error, IntegrityError | DataError | ProgrammingError):
        return None
    said = words_of(error)
    return next((outage for words, outage in _OF_REFUSALS if words in said), UNREACHABLE)


def _of_code(error: BaseException) -> Outage | None:
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:
        return None
    if code == sqlite3.SQLITE_READONLY_DBMOVED:
        return GONE
    return _OF_SQLITE.get(code & 0xFF)


def _sqlstate(error: BaseException | None) -> str | None:
    state: str | None = getattr(error, "sqlstate", None)
    return state
