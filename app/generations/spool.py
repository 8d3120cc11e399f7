"""The last resort of an answer that cannot be committed: a local file, replayed at the next start.

A line for each upstream id that tx 2 could not record at once. The process goes on trying while it lives; the
file is for the case that it does not.
"""

import asyncio
import json
import os
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.exc import IntegrityError

from app.db.engine import Database
from app.generations.advance import advance
from app.generations.lifecycle import State
from app.kit.clock import Clock
from app.kit.telemetry import get_logger

_log = get_logger("spool")


@dataclass(frozen=True, slots=True)
class Spool:
    """The file. Lines are `{"generation": …, "upstream_request_id": …}`."""

    path: Path

    async def append(self, generation_id: str, upstream_request_id: str) -> None:
        """Add a line; it is on the disk when this returns.

        Raises:
            OSError: it is not.

        """
        await asyncio.to_thread(self._append, generation_id, upstream_request_id)

    async def replay(self, db: Database, clock: Clock) -> int:
        """Attach every id whose generation still waits for one, then remove the file. How many there were."""
        attached = 0
        for generation_id, upstream_request_id in await asyncio.to_thread(self._lines):
            try:
                changed = await db.write(
                    advance,
                    generation_id,
                    State.IN_QUEUE,
                    reason="replayed_from_spool",
                    now_ms=clock.now_ms(),
                    upstream_request_id=upstream_request_id,
                )
            except IntegrityError:
                changed = None
                _log.error("A spooled id belongs to another generation.", generation=generation_id)
            if changed is not None:
                attached += 1
                _log.warning("An answer was attached from the spool.", generation=generation_id)
        self.path.unlink(missing_ok=True)
        return attached

    def _append(self, generation_id: str, upstream_request_id: str) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        line = json.dumps({"generation": generation_id, "upstream_request_id": upstream_request_id}) + "\n"
        descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            os.write(descriptor, line.encode())
            os.fdatasync(descriptor)
        finally:
            os.close(descriptor)

    def _lines(self) -> list[tuple[str, str]]:
        if not self.path.exists():
            return []
        found = []
        for line in self.path.read_text(encoding="utf-8").splitlines():
            try:
                entry = json.loads(line)
                found.append((str(entry["generation"]), str(entry["upstream_request_id"])))
            except (ValueError, KeyError, TypeError):  # the end of a line that a crash cut
                _log.error("A line of the spool cannot be read.", line=line[:200])
        return found
