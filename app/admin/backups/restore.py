"""Restoring a backup: its files are proven, dispatch is paused in the copy, and the copy is put in place.

In this order: a server that is started at any moment finds no database, or one in which dispatch is paused.
"""

import asyncio
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, NullPool, create_engine, insert, inspect

from app.admin.actor import Actor
from app.admin.backups.backup import (
    DUMP,
    NO_PROGRAMS,
    SPOOL,
    SQLITE_FILE,
    BackupError,
    Manifest,
    read_manifest,
    sync,
)
from app.admin.running import dispatch
from app.admin.session import AdminSession
from app.config import Settings, SettingsError
from app.db import revision
from app.db.engines.engine import is_sqlite, open_database, sync_url
from app.db.engines.postgres_tools import arguments_for
from app.db.engines.sqlite import path_of, server_lock, write_lock
from app.kit.clock import Clock, iso
from app.kit.secrets import pepper_id
from app.settings.values import PREFIX

_REVISION: Final = re.compile(r" TABLE DATA \S+ alembic_version ")


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """A backup that was restored.

    `set_aside` is where the file that was there before is now. `paused` says whether dispatch is paused: not
    where the schema has to be migrated first. `pepper_unknown`: no pepper is set that could be compared.
    """

    manifest: Manifest
    set_aside: Path | None
    paused: bool
    pepper_unknown: bool


async def restore(
    settings: Settings, clock: Clock, actor: Actor, folder: Path, *, replace: bool = False
) -> Restored:
    """Restores a backup in place of the database of the settings, while no server runs, and pauses dispatch.

    What was queued when the backup was made may have been sent since, so nothing is sent before `recover`.
    An SQLite file that is there is set aside with `replace`; on PostgreSQL the database must be empty.

    Raises:
        BackupError: the backup is not whole, is of another kind, of a newer version, or made with another
            pepper; the database is not empty; or `pg_restore` failed.
        ServerRunningError: a server runs on the SQLite file.
        SettingsError: `pg_restore` is not installed.

    """
    manifest = read_manifest(folder)
    unknown = _check(settings, manifest)
    url = settings.database
    pauses = manifest.schema in {revision.head(), *revision.EARLIER}

    async def prepare(url: str) -> None:
        if pauses:
            await _pause(
                settings, clock, actor, url, reason=f"restored from the backup of {manifest.made_at}"
            )
        _place_spool(folder, settings.data_dir)

    set_aside = None
    if is_sqlite(url):
        stamp = iso(clock.now_ms()).partition(".")[0].replace(":", "")
        set_aside = await _place_sqlite(folder, url, stamp, prepare, replace=replace)
    else:
        await _place_postgres(folder, url, manifest.schema, prepare)
    return Restored(manifest=manifest, set_aside=set_aside, paused=pauses, pepper_unknown=unknown)


async def _pause(settings: Settings, clock: Clock, actor: Actor, url: str, *, reason: str) -> None:
    """Pauses dispatch in a database that no server can open yet."""
    db = open_database(url, pool=1)
    try:
        await dispatch.pause(AdminSession(settings, clock, db), actor, reason=reason)
    finally:
        await db.close()


def _check(settings: Settings, manifest: Manifest) -> bool:
    """Checks that the backup fits the settings; returns whether the pepper could not be compared."""
    kind = "sqlite" if is_sqlite(settings.database) else "postgresql"
    if manifest.database != kind:
        raise BackupError(f"the backup is of {manifest.database}, and {PREFIX}DATABASE_URL names {kind}.")
    if manifest.schema not in revision.known():
        raise BackupError(
            f"the backup has schema {manifest.schema}, which this version does not know: it was made by"
            f" version {manifest.version}."
        )
    if manifest.pepper_id is None:
        return False
    peppers = [*settings.older_peppers()]
    if settings.pepper is not None or settings.kept_pepper.is_file():
        peppers.append(settings.current_pepper())
    if peppers and manifest.pepper_id not in map(pepper_id, peppers):
        raise BackupError(
            f"{PREFIX}PEPPER is not the pepper of the backup's keys: none of them would be valid. Set the one"
            " that was used then."
        )
    return not peppers


async def _place_sqlite(
    folder: Path, url: str, stamp: str, prepare: Callable[[str], Awaitable[None]], *, replace: bool
) -> Path | None:
    """Puts the copy in place as a whole: what a server may open is prepared already."""
    path = path_of(url)
    lock = server_lock(url)
    try:
        if path.exists() and path.stat().st_size and not replace:
            raise BackupError(f"there is a database at {path}; --replace sets it aside.")
        coming = path.with_name(f"{path.name}.coming")
        for one in (*_files_of(coming), _beside(coming, ".lock")):
            one.unlink(missing_ok=True)  # of a restore that was cut
        await asyncio.to_thread(shutil.copyfile, folder / SQLITE_FILE, coming)
        coming.chmod(0o600)
        await prepare(f"sqlite:///{coming}")
        _beside(coming, ".lock").unlink(missing_ok=True)
        await asyncio.to_thread(sync, coming)
        with write_lock(path):
            set_aside = path.with_name(f"{path.name}.replaced-{stamp}") if path.exists() else None
            if set_aside is not None:
                _move(path, set_aside)
            _move(coming, path)
            sync(path.parent)
    finally:
        lock.release()
    return set_aside


def _move(path: Path, target: Path) -> None:
    """Renames a database with what SQLite keeps beside it; the file itself comes last."""
    for one, other in zip(_files_of(path), _files_of(target), strict=True):
        if one.exists():
            one.rename(other)


def _files_of(path: Path) -> list[Path]:
    return [_beside(path, "-shm"), _beside(path, "-wal"), path]


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


async def _place_postgres(
    folder: Path, url: str, schema: str, prepare: Callable[[str], Awaitable[None]]
) -> None:
    """Loads the dump, and at the very end the schema's revision, without which no server opens a database."""
    await asyncio.to_thread(_load, folder / DUMP, url)
    await prepare(url)
    await asyncio.to_thread(_stamp, url, schema)


def _load(dump: Path, url: str) -> None:
    program = shutil.which("pg_restore")
    if program is None:
        raise SettingsError(NO_PROGRAMS)
    with _connected(url) as connection:
        if inspect(connection).has_table(revision.VERSION.name):
            raise BackupError("the database is not empty: make a new one, and name that in the settings.")
    arguments, environment = arguments_for(url)
    listed = _run([program, "--list", str(dump)])
    entries = [line for line in listed.splitlines() if not _REVISION.search(line)]
    with tempfile.NamedTemporaryFile("w", suffix=".list") as chosen:
        chosen.write("\n".join(entries))
        chosen.flush()
        options = ["--single-transaction", "--exit-on-error", "--no-owner", "--no-privileges"]
        _run([program, *options, f"--use-list={chosen.name}", *arguments, str(dump)], **environment)


def _stamp(url: str, schema: str) -> None:
    with _connected(url) as connection:
        connection.execute(insert(revision.VERSION).values(version_num=schema))


@contextmanager
def _connected(url: str) -> Iterator[Connection]:
    engine = create_engine(sync_url(url), poolclass=NullPool, hide_parameters=True)
    with engine.begin() as connection:
        yield connection


def _run(command: list[str], **environment: str) -> str:
    done = subprocess.run(  # noqa: S603 - the system's own program
        command, env=os.environ | environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise BackupError(f"pg_restore failed, and changed nothing: {' '.join(done.stderr.split())}")
    return done.stdout


def _place_spool(folder: Path, data_dir: Path) -> None:
    """Adds the backup's spool to the one that is there, which the next server replays."""
    lines = (folder / SPOOL).read_bytes()
    if not lines:
        return
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = data_dir / SPOOL
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    with os.fdopen(descriptor, "ab") as file:
        file.write(b"\n" + lines)
        file.flush()
        os.fsync(file.fileno())
