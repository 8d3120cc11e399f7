"""The spool: a local file for upstream ids that could not be committed, replayed at the next start.

It gets a line for each id that tx 2 could not record at once. The process keeps trying to record it while it
lives; the file is for the case that it dies first.
"""

import asyncio
import json
import os
import secrets
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError

from app.db.engines.engine import Database
from app.generations import store
from app.generations.advance import advance
from app.generations.lifecycle import State
from app.kit.clock import Clock
from app.kit.log import get_logger

_log = get_logger("spool")


@dataclass(frozen=True, slots=True)
class Spool:
    """The spool file. Its lines are `{"generation": …, "upstream_request_id": …}`."""

    path: Path

    def append(self, generation_id: str, upstream_request_id: str) -> None:
        """Adds a line, which is on the disk when this returns.

        It blocks the event loop: it is called only when the database has failed.

        Raises:
            OSError: the line is not on the disk.

        """
        _append(self.path, generation_id, upstream_request_id)

    def reject(self, generation_id: str, upstream_request_id: str) -> None:
        """Keeps an id that fits no generation in a file beside the spool.

        Only the operator can tell whose job it is.

        Raises:
            OSError: it could not be kept.

        """
        _log.error(
            "RunComfy's id of a job fits no request.",
            generation=generation_id,
            upstream_request_id=upstream_request_id,
        )
        _append(self.path.with_suffix(".rejected.jsonl"), generation_id, upstream_request_id)

    async def replay(self, db: Database, clock: Clock) -> int:
        """Attaches every id whose generation still needs one, and returns their number.

        An id that cannot be attached is kept in a file beside the spool, for the operator.
        """
        attached = 0
        for path in await asyncio.to_thread(self._claim):
            for generation_id, upstream_request_id in await asyncio.to_thread(_lines, path):
                if await _attach(db, clock, generation_id, upstream_request_id):
                    attached += 1
                    _log.warning(
                        "RunComfy's id of a job was attached from the spool.",
                        generation=generation_id,
                        upstream_request_id=upstream_request_id,
                    )
                elif not await db.read(_has, generation_id, upstream_request_id):
                    self.reject(generation_id, upstream_request_id)
            path.unlink(missing_ok=True)
        return attached

    def _claim(self) -> list[Path]:
        """Takes the file away from processes that may append to it, by renaming it.

        Returns it together with the files that earlier replays left unfinished.
        """
        with suppress(FileNotFoundError):  # a random name: in containers every process may have the same id
            self.path.rename(self.path.with_suffix(f".{secrets.token_hex(8)}.replaying"))
        return sorted(self.path.parent.glob(f"{self.path.stem}.*.replaying"))


async def _attach(db: Database, clock: Clock, generation_id: str, upstream_request_id: str) -> bool:
    try:
        changed = await db.write(
            advance,
            generation_id,
            State.IN_QUEUE,
            reason="replayed_from_spool",
            now_ms=clock.now_ms(),
            upstream_request_id=upstream_request_id,
        )
    except IntegrityError:  # the id belongs to another generation
        return False
    return changed is not None


def _has(connection: Connection, generation_id: str, upstream_request_id: str) -> bool:
    """Returns whether the generation has this upstream id after all."""
    generation = store.find(connection, generation_id, None)
    return generation is not None and generation.upstream_request_id == upstream_request_id


def _append(path: Path, generation_id: str, upstream_request_id: str) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    entry = json.dumps({"generation": generation_id, "upstream_request_id": upstream_request_id})
    line = f"\n{entry}\n".encode()  # the line break before it keeps it intact after a line that was cut off
    while not _is_written(path, line):
        pass  # a successor has just taken the file, and may have read it before
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # so that the file's directory entry is on the disk too
    finally:
        os.close(folder)


def _is_written(path: Path, line: bytes) -> bool:
    """Writes a line to the disk, and returns whether the file that has it is still the one of this name."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        while line:
            line = line[os.write(descriptor, line) :]
        os.fdatasync(descriptor)
        with suppress(FileNotFoundError):
            return os.path.samestat(os.fstat(descriptor), path.stat())
        return False
    finally:
        os.close(descriptor)


def _lines(path: Path) -> list[tuple[str, str]]:
    found = []
    for line in path.read_bytes().split(b"\n"):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
            found.append((str(entry["generation"]), str(entry["upstream_request_id"])))
        except (ValueError, KeyError, TypeError):  # a line that a crash cut off
            _log.error("A line of the spool cannot be read.", line=repr(line[:200]))
    return found
