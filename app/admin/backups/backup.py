"""Backups: a copy of the database as of one moment, the spool, and a manifest that says what they are.

SQLite's file is copied beside the running server by its own online backup. PostgreSQL is dumped by `pg_dump`,
of one snapshot too. The spool is read before and after, so an id of RunComfy's is in one of the two: it
leaves the spool only once it is in the database.
"""

import asyncio
import hashlib
import json
import os
import shutil
import sqlite3
import subprocess
from collections.abc import Mapping
from contextlib import closing, suppress
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from sqlalchemy import URL, Connection, NullPool, create_engine

from app.admin.audit_log import head_of
from app.admin.chain import Head
from app.admin.session import AdminGateway
from app.auth.keys import newest_pepper_id
from app.config import SettingsError
from app.db import revision
from app.db.engines.engine import is_sqlite
from app.db.engines.postgres_tools import arguments_for
from app.db.engines.sqlite import path_of
from app.kit.clock import iso

MANIFEST: Final = "manifest.json"
SQLITE_FILE: Final = "reelgate.db"
DUMP: Final = "reelgate.dump"
SPOOL: Final = "spool.jsonl"
REJECTED: Final = "spool.rejected.jsonl"
NO_PROGRAMS: Final = (
    "pg_dump and pg_restore are not installed: install PostgreSQL's client programs, of the server's version."
)
_FORM: Final = 1


class BackupError(Exception):
    """A backup cannot be made or used; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What a backup consists of.

    `pepper_id` identifies the pepper of the newest API key, and reveals nothing else about it. The head of
    the audit log is that of the copy, of a dump one that it has. `files` maps names to their SHA-256 digests.
    """

    form: int
    made_at: str
    version: str
    schema: str
    database: str
    pepper_id: str | None
    audit_seq: int
    audit_hash: str
    spooled: int
    files: Mapping[str, str]


async def backup(gateway: AdminGateway, folder: Path) -> tuple[Path, Manifest]:
    """Makes a backup in a new folder inside this one, beside a running server; returns it and its manifest.

    The folder gets its name once everything in it is on the disk.

    Raises:
        BackupError: the copy is damaged, or `pg_dump` failed.
        SettingsError: `pg_dump` is not installed.
        OSError: it cannot be written.
        Problem: DATABASE_UNAVAILABLE.

    """
    now_ms = gateway.clock.now_ms()
    made_at = iso(now_ms)
    name = "reelgate-" + made_at.partition(".")[0].removesuffix("Z").replace("-", "").replace(":", "") + "Z"
    target = folder / name
    partial = folder / f".{name}.partial"
    _make_room(target, partial)
    try:
        data_dir, url = gateway.settings.data_dir, gateway.settings.database
        before = _spooled(data_dir)
        known = await gateway.db.snapshot(_known)
        if is_sqlite(url):
            known = await asyncio.to_thread(_copy_sqlite, path_of(url), partial / SQLITE_FILE)
        else:
            await asyncio.to_thread(_dump, url, partial / DUMP)
        lines = dict.fromkeys([*before, *_spooled(data_dir)])
        write_private(partial / SPOOL, "".join(f"{one}\n" for one in lines))
        rejected = data_dir / REJECTED
        if rejected.is_file():
            write_private(partial / REJECTED, rejected.read_text(encoding="utf-8"))
        files = {one.name: digest_of(one) for one in sorted(partial.iterdir())}
        manifest = Manifest(
            form=_FORM,
            made_at=made_at,
            version=version("reelgate"),
            database="sqlite" if is_sqlite(url) else "postgresql",
            spooled=len(lines),
            files=files,
            **known,
        )
        write_private(partial / MANIFEST, json.dumps(asdict(manifest), indent=2) + "\n")
        sync(partial)
        partial.rename(target)
        sync(folder)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    return target, manifest


def _make_room(target: Path, partial: Path) -> None:
    if target.exists():
        raise BackupError(f"there is a backup of this second already: {target}.")
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    partial.mkdir(mode=0o700)


def read_manifest(folder: Path) -> Manifest:
    """Returns the manifest of a backup, whose files are there and have not changed.

    Raises:
        BackupError: the folder is no backup, or not what it was.

    """
    try:
        found = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        if found["form"] != _FORM:
            raise BackupError(f"{folder} was made by a newer version (form {found['form']}).")
        manifest = Manifest(**found)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BackupError(f"{folder} is no backup: {MANIFEST} cannot be read ({error}).") from error
    for name, digest in manifest.files.items():
        if not (folder / name).is_file():
            raise BackupError(f"{folder} lacks {name}.")
        if digest_of(folder / name) != digest:
            raise BackupError(f"{folder / name} is not what it was when the backup was made.")
    return manifest


def digest_of(file: Path) -> str:
    """Returns the SHA-256 digest of a file."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _known(connection: Connection) -> dict[str, Any]:
    """Returns what the manifest has from the database."""
    head = head_of(connection) or Head(0, "")
    return {
        "schema": revision.current(connection),
        "pepper_id": newest_pepper_id(connection),
        "audit_seq": head.size,
        "audit_hash": head.hash,
    }


def _copy_sqlite(source: Path, target: Path) -> dict[str, Any]:
    """Copies the database as of one moment, and returns what the copy says for the manifest."""
    write_private(target, "")
    with (
        closing(sqlite3.connect(f"file:{quote(str(source))}?mode=ro", uri=True)) as opened,
        closing(sqlite3.connect(target)) as copy,
    ):
        opened.backup(copy)
        copy.execute("PRAGMA journal_mode=DELETE")  # one file, without others beside it
        (found,) = copy.execute("PRAGMA quick_check(1)").fetchone()
        if found != "ok":
            raise BackupError(f"the copy is damaged, and so is the database: {found}.")
    sync(target)
    engine = create_engine(URL.create("sqlite", database=str(target)), poolclass=NullPool)
    with engine.connect() as connection:
        return _known(connection)


def _dump(url: str, target: Path) -> None:
    program = shutil.which("pg_dump")
    if program is None:
        raise SettingsError(NO_PROGRAMS)
    write_private(target, "")
    arguments, environment = arguments_for(url)
    done = subprocess.run(  # noqa: S603 - the system's own program
        [program, "--format=custom", "--no-owner", "--no-privileges", f"--file={target}", *arguments],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise BackupError(f"pg_dump failed: {' '.join(done.stderr.split())}")
    sync(target)


def _spooled(data_dir: Path) -> list[str]:
    """Returns the lines of the spool, also of one that a server is about to replay."""
    lines = _lines(data_dir / SPOOL)  # first: it may be renamed to one of the others meanwhile
    for path in sorted(data_dir.glob("spool.*.replaying")):
        lines += _lines(path)
    return lines


def _lines(path: Path) -> list[str]:
    """Returns the lines of a file; none where a server has just replayed and removed it."""
    with suppress(FileNotFoundError):
        return [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    return []


def write_private(path: Path, text: str) -> None:
    """Writes a file that only its owner may read; it is on the disk when this returns."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def sync(path: Path) -> None:
    """Returns once a file or folder is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
