"""Restoring a backup: its files are proven, the database is put in place, and dispatch is paused."""

import asyncio
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sqlalchemy import NullPool, create_engine

from app.admin import dispatch
from app.admin.actor import Actor
from app.admin.backup import DUMP, NO_PROGRAMS, SPOOL, SQLITE_FILE, BackupError, Manifest, read_manifest, sync
from app.admin.session import open_admin
from app.config import Settings, SettingsError
from app.db import revision
from app.db.engine import is_sqlite, sync_url
from app.db.postgres_tools import arguments_for
from app.db.sqlite import path_of, server_lock, write_lock
from app.kit.clock import Clock, iso
from app.kit.secrets import pepper_id
from app.settings.values import PREFIX

_BESIDE: Final = ("", "-wal", "-shm")


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
    if is_sqlite(url):
        stamp = iso(clock.now_ms()).partition(".")[0].replace(":", "")
        set_aside = await asyncio.to_thread(_place_sqlite, folder, url, stamp, replace=replace)
    else:
        set_aside = None
        await asyncio.to_thread(_place_postgres, folder, url)
    _place_spool(folder, settings.data_dir)
    paused = manifest.schema in {revision.head(), *revision.EARLIER}
    if paused:
        async with open_admin(settings, clock=clock) as gateway:
            reason = f"restored from the backup of {manifest.made_at}"
            await dispatch.pause(gateway, actor, reason=reason)
    return Restored(manifest=manifest, set_aside=set_aside, paused=paused, pepper_unknown=unknown)


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


def _place_sqlite(folder: Path, url: str, stamp: str, *, replace: bool) -> Path | None:
    path = path_of(url)
    lock = server_lock(url)
    try:
        if path.exists() and path.stat().st_size and not replace:
            raise BackupError(f"there is a database at {path}; --replace sets it aside.")
        with write_lock(path):
            coming = path.with_name(f"{path.name}.coming")
            shutil.copyfile(folder / SQLITE_FILE, coming)
            coming.chmod(0o600)
            sync(coming)
            set_aside = None
            if path.exists():
                set_aside = path.with_name(f"{path.name}.replaced-{stamp}")
                for suffix in reversed(_BESIDE):
                    beside = path.with_name(path.name + suffix)
                    if beside.exists():
                        beside.rename(set_aside.with_name(set_aside.name + suffix))
            coming.rename(path)
            sync(path.parent)
    finally:
        lock.release()
    return set_aside


def _place_postgres(folder: Path, url: str) -> None:
    program = shutil.which("pg_restore")
    if program is None:
        raise SettingsError(NO_PROGRAMS)
    engine = create_engine(sync_url(url), poolclass=NullPool, hide_parameters=True)
    with engine.connect() as connection:
        there = revision.current(connection)
    if there is not None:
        raise BackupError("the database is not empty: make a new one, and name that in the settings.")
    arguments, environment = arguments_for(url)
    done = subprocess.run(  # noqa: S603 - the system's own program
        [
            program,
            "--single-transaction",
            "--exit-on-error",
            "--no-owner",
            "--no-privileges",
            *arguments,
            str(folder / DUMP),
        ],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise BackupError(f"pg_restore failed, and changed nothing: {' '.join(done.stderr.split())}")


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
