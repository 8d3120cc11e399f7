"""Which servers and workers run: each renews a row by its heartbeat, and removes it when it stops.

When a process was seen is told by the database's clock, which all machines share: so a migration does not
take one for dead because a clock is wrong. SQLite has no clock of its own, and one machine.
"""

import os
import socket
from dataclasses import dataclass
from importlib.metadata import version
from typing import Final, Literal

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    cast,
    delete,
    extract,
    func,
    insert,
    literal,
    select,
    update,
)

from app.db import revision
from app.db.engines.engine import Database
from app.db.schema.tables import processes
from app.kit.clock import Clock
from app.kit.ids import new_id
from app.kit.log import get_logger

Role = Literal["server", "worker"]

BEAT_S: Final = 10.0
ALIVE_MS: Final = 60_000
_FORGOTTEN_MS: Final = 86_400_000
_log = get_logger("processes")


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """A server or worker. `schema` is the newest migration that it knows.

    `settings_at_ms` is when it read its settings last; `settings_fault`, why that changed nothing.
    """

    id: str
    role: Role
    host: str
    pid: int
    version: str
    schema: str
    started_at_ms: int
    seen_at_ms: int
    settings_at_ms: int
    settings_fault: str | None

    @property
    def title(self) -> str:
        """Its name for people."""
        return f"{self.role} {self.host}:{self.pid} (version {self.version}, schema {self.schema})"


_COLUMNS: Final = tuple(processes.c[name] for name in Process.__slots__)


class Heartbeat:
    """The row of this process. `begin` inserts it, `run_once` renews it, `leave` removes it."""

    def __init__(self, db: Database, clock: Clock, role: Role) -> None:
        self._db = db
        self._clock = clock
        now_ms = clock.now_ms()
        self._row = {
            "id": new_id(now_ms),
            "role": role,
            "host": socket.gethostname()[:100],
            "pid": os.getpid(),
            "version": version("reelgate"),
            "schema": revision.head(),
            "started_at_ms": now_ms,
            "settings_at_ms": now_ms,
            "settings_fault": None,
        }

    async def begin(self) -> None:
        """Inserts the row: from then on no migration takes away what this process needs.

        Raises:
            SchemaError: one already has, since the database was opened.
            Problem: DATABASE_UNAVAILABLE.

        """
        await self._db.write(_beat, self._row, now_ms=self._clock.now_ms())

    async def run_once(self) -> int:
        """Renews the row; logs an error where the schema has become one that this version cannot use."""
        try:
            await self.begin()
        except revision.SchemaError as error:
            _log.error("Replace this process: the schema has gone on without it.", error=str(error))
        return 0

    async def note_settings(self, fault: str | None) -> None:
        """Tells of a reload of the settings: that it was made or, with a fault, why nothing was changed."""
        self._row["settings_at_ms"] = self._clock.now_ms()
        self._row["settings_fault"] = fault and fault[:500]
        await self.run_once()

    async def leave(self) -> None:
        """Removes the row."""
        await self._db.write(_leave, str(self._row["id"]))


def alive(connection: Connection, *, now_ms: int) -> list[Process]:
    """Returns the processes that were seen within the last minute, the oldest first.

    `now_ms` is the time on SQLite; PostgreSQL has its own.
    """
    rows = connection.execute(
        select(*_COLUMNS)
        .where(processes.c.seen_at_ms > _now(connection, now_ms) - ALIVE_MS)
        .order_by(processes.c.started_at_ms, processes.c.id)
    )
    return [Process(**row) for row in rows.mappings()]


def _beat(connection: Connection, row: dict[str, object], *, now_ms: int) -> None:
    revision.check(connection, locked=True)
    now = _now(connection, now_ms)
    values = row | {"seen_at_ms": now}
    renewed = update(processes).where(processes.c.id == row["id"]).values(values)
    if connection.execute(renewed).rowcount == 0:
        connection.execute(insert(processes).values(values))
    connection.execute(delete(processes).where(processes.c.seen_at_ms < now - _FORGOTTEN_MS))


def _now(connection: Connection, now_ms: int) -> ColumnElement[int]:
    """Returns the database's time; on SQLite that of this machine."""
    if connection.dialect.name == "sqlite":
        return literal(now_ms, BigInteger)
    return cast(extract("epoch", func.clock_timestamp()) * 1000, BigInteger)


def _leave(connection: Connection, process_id: str) -> None:
    connection.execute(delete(processes).where(processes.c.id == process_id))
