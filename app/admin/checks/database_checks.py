"""The doctor's checks of the database and of the data folder: each tries what a server will need of it."""

import asyncio
import os
import shlex
import shutil
import stat
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal
from urllib.parse import parse_qs, urlsplit

from sqlalchemy import Connection, text

from app.config import Settings
from app.db import revision
from app.db.engines.engine import Database, is_sqlite, open_database
from app.db.engines.postgres import is_pooled, swallowed_guards
from app.db.engines.sqlite import damage_in, path_of
from app.db.outage import CROWDED, READ_ONLY, REFUSED, UNREACHABLE, Outage, outage_of, words_of
from app.errors import Problem

Level = Literal["good", "note", "bad"]
MIN_FREE: Final = 256 * 1024 * 1024
_READ_FOR_S: Final = 10.0
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO
_KEPT: Final = ("pepper", "webhook-key", "demo-key", "spool.jsonl", "spool.rejected.jsonl")
_BESIDE: Final = ("", "-wal", "-shm", "-journal", ".lock", ".server")
_MAX_NAMED: Final = 5
_ADVICE: Final = {
    READ_ONLY: "is it a standby, or is default_transaction_read_only on? Where there are several servers,"
    " target_session_attrs=read-write in REELGATE_DATABASE_URL finds the primary",
    REFUSED: "check user, password and name in REELGATE_DATABASE_URL, and the user's permissions",
    CROWDED: "lower REELGATE_DATABASE_POOL, or raise the server's max_connections",
    UNREACHABLE: "check host, port and sslmode in REELGATE_DATABASE_URL, and whether the server runs",
}


@dataclass(frozen=True, slots=True)
class Check:
    """The result of one check."""

    name: str
    level: Level
    finding: str


class UnusableError(Exception):
    """The database cannot be used; the message says why, in the operator's words."""


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[Database]:
    """Opens the database with the schema that this code needs.

    Raises:
        UnusableError: it cannot be opened, or has another schema.

    """
    url = settings.database
    kind = kind_of(url)
    if is_sqlite(url):
        _check_presence(path_of(url))
    db = open_database(url, pool=2)
    try:
        await db.read(revision.check)
        yield db
    except revision.SchemaError as error:
        raise UnusableError(f"{kind}: {str(error).removesuffix('.')}") from error
    except Problem as problem:
        raise UnusableError(f"{kind}: {cause_of(problem, url)}") from problem
    finally:
        await db.close()


def _check_presence(path: Path) -> None:
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise UnusableError(f"sqlite at {path}: there is no such database; run `reelgate migrate`") from error
    except OSError as error:
        raise UnusableError(f"sqlite at {path}: user {os.geteuid()} cannot reach it ({error})") from error


def kind_of(url: str) -> str:
    """Returns what kind of database a URL names, and for SQLite where."""
    return f"sqlite at {path_of(url)}" if is_sqlite(url) else "postgresql"


def cause_of(problem: Problem, url: str) -> str:
    """Returns why the database is not available: our sentence, the driver's own words, and what to do."""
    error = problem.__cause__
    outage = outage_of(error) if error is not None else None
    if error is None or outage is None:
        return problem.detail
    said = f"{outage.sentence.removesuffix('.')} ({words_of(error)})"
    if "startup parameter" in said:
        return f"{said}; leave options= out of REELGATE_DATABASE_URL, and use ALTER ROLE … SET instead"
    return "; ".join([said, *_advice(outage, url)])


def _advice(outage: Outage, url: str) -> list[str]:
    if is_sqlite(url):
        return _obstacles(path_of(url))
    return [_ADVICE[outage]] if outage in _ADVICE else []


def _obstacles(path: Path) -> list[str]:
    """Returns what stands in the way of writing an SQLite file, as far as the system says it."""
    found = []
    folder = path.parent
    if path.is_dir():
        found.append(f"{path} is a folder")
    elif path.exists() and not os.access(path, os.R_OK | os.W_OK):
        found.append(f"{path} may not be read and written by user {os.geteuid()}")
    if folder.is_dir() and os.statvfs(folder).f_flag & os.ST_RDONLY:
        found.append(f"{folder} is on a read-only file system")
    elif folder.is_dir() and not os.access(folder, os.W_OK | os.X_OK):
        found.append(
            f"{folder} may not be written by user {os.geteuid()}, and SQLite makes files beside its own"
        )
    return found


async def examine(settings: Settings, db: Database) -> list[Check]:
    """Checks that the open database takes writes, is whole, and keeps what the gateway relies on."""
    url = settings.database
    checks = [Check("database", "good", f"{kind_of(url)}, schema {revision.head()}"), await _writes(db, url)]
    if is_sqlite(url):
        return [*checks, *await _file(path_of(url))]
    return [*checks, *await _connection(db, url)]


async def _writes(db: Database, url: str) -> Check:
    started_s = time.monotonic()
    try:
        await db.check_writes()
    except Problem as problem:
        return Check("writes", "bad", f"every submit is a 503: {cause_of(problem, url)}")
    return Check("writes", "good", f"one was committed in {(time.monotonic() - started_s) * 1000:.0f} ms")


async def _file(path: Path) -> list[Check]:
    checks = []
    found = await asyncio.to_thread(damage_in, path, within_s=_READ_FOR_S)
    if found:
        checks.append(Check("file", "bad", f"{path} is damaged ({found}); restore a backup"))
    free = shutil.disk_usage(path.parent).free
    if free < MIN_FREE:
        checks.append(Check("disk", "note", f"{free // 1_048_576} MiB are left where {path.parent} is"))
    return checks


async def _connection(db: Database, url: str) -> list[Check]:
    """Checks what a pooler between the gateway and PostgreSQL may take away."""
    pooled, lost, ignored = await db.write(_what_holds, _options_of(url))
    if lost:
        finding = f"{', '.join(lost)} do not hold: a pooler or a role swallows what the gateway sets"
        return [Check("connection", "bad", finding)]
    checks = []
    if ignored:
        finding = (
            f"{', '.join(ignored)} of options= in REELGATE_DATABASE_URL do not hold: a pooler swallows them"
        )
        checks.append(Check("options", "bad", f"{finding}; set them by ALTER ROLE … SET instead"))
    if not pooled:
        return [Check("connection", "good", "direct, with every guard"), *checks]
    checks.append(Check("connection", "good", "through a pooler, with every guard in each transaction"))
    if not await db.announcements.arrive():
        finding = "this pooler passes on no NOTIFY: changes made by other servers are read within a second"
        checks.append(Check("announcements", "note", finding))
    return checks


def _what_holds(connection: Connection, options: dict[str, str]) -> tuple[bool, list[str], list[str]]:
    query = text("SELECT current_setting(:name, true)")
    ignored = [
        name
        for name, value in options.items()
        if connection.execute(query, {"name": name}).scalar_one() != value
    ]
    return is_pooled(connection), swallowed_guards(connection), ignored


def _options_of(url: str) -> dict[str, str]:
    """Returns the settings in `options=` of a URL, such as `-csearch_path=x`; none of the gateway's own."""
    try:
        words = shlex.split(" ".join(parse_qs(urlsplit(url).query).get("options", [])))
    except ValueError:
        return {}
    joined = " ".join(words).replace("-c ", "-c")
    pairs = [word.removeprefix("-c").removeprefix("--").partition("=") for word in joined.split()]
    return {name: value for name, separator, value in pairs if separator and not name.startswith("-")}


def modes(settings: Settings) -> list[Check]:
    """Says which of the gateway's files and folders others may read. It changes none of them.

    A volume's modes are its platform's, and a group may be allowed on purpose.
    """
    url = settings.database
    paths = [settings.data_dir, settings.data_dir / "sandbox"]
    paths += [settings.data_dir / name for name in _KEPT]
    if is_sqlite(url):
        path = path_of(url)
        paths += [path.with_name(path.name + suffix) for suffix in _BESIDE]
    open_ones = [(path, mode) for path in paths if (mode := _mode(path)) is not None and mode & _OTHERS]
    if not open_ones:
        return []
    named = ", ".join(f"{path} ({mode:04o})" for path, mode in open_ones[:_MAX_NAMED])
    more = f" and {len(open_ones) - _MAX_NAMED} more" if len(open_ones) > _MAX_NAMED else ""
    finding = f"open to other users: {named}{more}; chmod 700 for a folder, 600 for a file"
    return [Check("files", "note", finding)]


def _mode(path: Path) -> int | None:
    try:
        return stat.S_IMODE(path.stat().st_mode)
    except OSError:
        return None
