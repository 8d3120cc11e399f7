"""Bringing a schema up to date: one migration after another, each in a transaction of its own.

A migration says with `floor` that it takes something away: the number is of the oldest migration that a
server must know to run on the schema afterwards. One without a `floor` only adds, and servers of the version
before go on beside it. A migration may also have `backfill(connection, position)`, which fills in some rows
and returns where to go on (at first it is given an empty text), or None at the end: it is called again and
again, each time in a transaction of its own.

Only migrating imports this module, since it needs Alembic.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from alembic import command
from alembic.config import Config
from alembic.script import Script, ScriptDirectory
from sqlalchemy import Connection, Engine, delete, insert, select, update
from sqlalchemy.exc import OperationalError

from app.db import processes
from app.db.revision import BACKFILL, SchemaError, current
from app.db.schema.tables import schema_floor, upkeep_positions

Tell = Callable[[str], None]

_LOCK_TIMEOUT: Final = "3s"  # whoever waits behind our wait for a table waits no longer
_LOCK_TRIES: Final = 20
_PAUSE_S: Final = 0.5
_IN_USE: Final = frozenset({"55P03", "40P01"})
"""A table stayed locked for so long; or a server waited for us while we did for it, as PostgreSQL noticed."""
_FIRST_WITH_FLOOR: Final = "0024"


def bring_up(
    engine: Engine, config_of: Callable[[Connection], Config], tell: Tell, *, now_ms: int
) -> tuple[str | None, str]:
    """Migrates to the newest revision, and returns those before and after.

    Raises:
        SchemaError: a migration would take something away that a running server needs, or the schema is of a
            newer version. What was migrated before it stays.

    """
    with engine.connect() as connection:
        before = current(connection)
        script = ScriptDirectory.from_config(config_of(connection))
    newest = script.get_current_head() or ""
    if before is None:
        with _migrating(engine) as connection:
            command.upgrade(config_of(connection), newest)
    elif before not in {one.revision for one in script.walk_revisions()}:
        raise SchemaError(f"the schema is at {before}, which is newer than this version knows.")
    while True:
        _fill(engine, script, tell)
        after = _patiently(lambda: _step(engine, script, config_of, tell, now_ms=now_ms), tell)
        if after is None:
            return before, newest


def note_step(script: ScriptDirectory, connection: Connection, step: Any, heads: set[str]) -> None:
    """Records what a migration that was made, or taken back, means for servers.

    `migrations/env.py` calls it.
    """
    ancestors = [one for head in heads for one in script.iterate_revisions(head, "base")]
    if _FIRST_WITH_FLOOR not in {one.revision for one in ancestors}:
        return
    floor = next(one.module.floor for one in ancestors if hasattr(one.module, "floor"))
    connection.execute(update(schema_floor).values(revision=floor))
    if step.is_upgrade and hasattr(script.get_revision(step.up_revision_id).module, "backfill"):
        connection.execute(insert(upkeep_positions).values(name=BACKFILL + step.up_revision_id, position=""))


def _step(
    engine: Engine,
    script: ScriptDirectory,
    config_of: Callable[[Connection], Config],
    tell: Tell,
    *,
    now_ms: int,
) -> str | None:
    """Makes the next migration, and returns its revision; None where there is none."""
    with _migrating(engine) as connection:
        at = current(connection)
        following = _after(script, at)
        if following is None:
            return None
        _refuse_while_needed(connection, script, at or "", following, now_ms=now_ms)
        command.upgrade(config_of(connection), following.revision)
    tell(f"{following.revision}: {following.doc.partition(chr(10))[0]}")
    return following.revision


def _after(script: ScriptDirectory, at: str | None) -> Script | None:
    later = [one for one in script.iterate_revisions(script.get_current_head(), at) if one.revision != at]
    return later[-1] if later else None


def _refuse_while_needed(
    connection: Connection, script: ScriptDirectory, at: str, following: Script, *, now_ms: int
) -> None:
    """Refuses a migration that takes away what a running server needs.

    The floor's row is locked first: a server that starts now waits for it, and then sees the new floor.
    """
    floor = getattr(following.module, "floor", None)
    if floor is None or _FIRST_WITH_FLOOR not in _before(script, at):
        return
    connection.execute(select(schema_floor.c.revision).with_for_update())
    # A server that knows a migration which is not here is of a newer version.
    old = _before(script, floor) - {floor}
    needing = [one for one in processes.alive(connection, now_ms=now_ms) if one.schema in old]
    if needing and connection.dialect.name != "sqlite":  # there our lock shows that no server runs
        named = ", ".join(one.title for one in needing)
        raise SchemaError(
            f"migration {following.revision} takes away what these still need: {named}. Replace them with"
            f" this version, and run `reelgate migrate` again. What was killed counts for"
            f" {processes.ALIVE_MS // 1000} seconds."
        )


def _before(script: ScriptDirectory, revision: str) -> set[str]:
    """Returns a revision, and all before it."""
    return {one.revision for one in script.iterate_revisions(revision, "base")} if revision else set()


def _fill(engine: Engine, script: ScriptDirectory, tell: Tell) -> None:
    """Goes on with the back-fills that have begun, until they are finished."""
    batches = 0
    while True:
        with _migrating(engine) as connection:
            found = _unfinished(connection)
            if found is None:
                return
            name, position = found
            revision = name.removeprefix(BACKFILL)
            following = script.get_revision(revision).module.backfill(connection, position)
            row = upkeep_positions.c.name == name
            if following is None:
                connection.execute(delete(upkeep_positions).where(row))
            else:
                connection.execute(update(upkeep_positions).where(row).values(position=following))
        batches += 1
        if following is None or batches % 100 == 0:
            tell(
                f"{revision}: {batches} batches filled in"
                + ("." if following is None else f", at {following}.")
            )
        if following is None:
            batches = 0


def _unfinished(connection: Connection) -> tuple[str, str] | None:
    if not connection.dialect.has_table(connection, upkeep_positions.name):
        return None
    row = connection.execute(
        select(upkeep_positions.c.name, upkeep_positions.c.position)
        .where(upkeep_positions.c.name.startswith(BACKFILL, autoescape=True))
        .order_by(upkeep_positions.c.name)
    ).first()
    return None if row is None else (row.name, row.position)


@contextmanager
def _migrating(engine: Engine) -> Iterator[Connection]:
    """A transaction in which nobody else migrates, and which waits for no table for long."""
    with engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            # Two concurrent migrations would both see the old schema.
            connection.exec_driver_sql("SELECT pg_advisory_xact_lock(7235419)")
            connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{_LOCK_TIMEOUT}'")
        yield connection


def _patiently(work: Callable[[], str | None], tell: Tell) -> str | None:
    """Does the work again where a table was in use: everybody who waited behind it goes first."""
    for left in reversed(range(_LOCK_TRIES)):
        try:
            return work()
        except OperationalError as error:
            if getattr(error.orig, "sqlstate", None) not in _IN_USE or not left:
                raise
            tell("A table is in use; trying again.")
            time.sleep(_PAUSE_S)
    raise AssertionError
