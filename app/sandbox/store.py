"""The sandbox's files on disk: one JSON record for each job, and the folders around them."""

import asyncio
import base64
import json
import logging
import os
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import fields
from pathlib import Path
from typing import Any

from app.sandbox.jobs import Job, State

log = logging.getLogger(__name__)

STORED = tuple(each.name for each in fields(Job) if each.name != "seen")
ABRIDGE_OVER = 4_096  # characters: a job's record keeps a data: URI up to this length in full


class JobFiles:
    """The files under `data_dir`: `jobs/`, `files/` (rendered), and `uploads/` (long `data:` URIs).

    One thread does all writing, so that a record's versions reach the disk in order and the event loop never
    waits.
    """

    def __init__(self, data_dir: Path) -> None:
        self.jobs = data_dir / "jobs"
        self.files = data_dir / "files"
        self.uploads = data_dir / "uploads"
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="sandbox-files")

    def open(self) -> list[Job]:
        """Creates the folders, deletes half-written files, and returns every job that can be read."""
        for folder in (self.jobs, self.files, self.uploads):
            folder.mkdir(parents=True, exist_ok=True)
            for partial in folder.glob("*.part"):
                partial.unlink(missing_ok=True)
        return [job for path in self.jobs.glob("*.json") if (job := _read(path)) is not None]

    def save(self, job: Job) -> Future[None]:
        """Writes a job's record as it is at this moment."""
        record = {name: getattr(job, name) for name in STORED}
        return self._writer.submit(_write, self.jobs / f"{job.request_id}.json", record)

    async def keep_upload(self, request_id: str, uri: str) -> None:
        """Stores a long `data:` URI's text until its job is over."""
        path = self.uploads / request_id
        await asyncio.wrap_future(self._writer.submit(_replace, path, uri.encode(errors="replace")))

    def drop_upload(self, request_id: str) -> None:
        """Deletes a job's upload, if it has one."""
        self._writer.submit((self.uploads / request_id).unlink, missing_ok=True)

    def drop_file(self, job: Job) -> None:
        """Deletes what was rendered for a job; a file shared by many jobs stays."""
        for name in (job.output or {}).values():
            if name.startswith(job.request_id):
                self._writer.submit((self.files / name).unlink, missing_ok=True)

    def drop_record(self, request_id: str) -> None:
        """Deletes a job's record."""
        self._writer.submit((self.jobs / f"{request_id}.json").unlink, missing_ok=True)

    def close(self) -> None:
        """Waits until everything is written to disk."""
        self._writer.shutdown(wait=True)


def abridge(value: Any) -> Any:
    """Returns an input for records and the ledger: long `data:` URIs cut to their beginning and length."""
    if isinstance(value, dict):
        return {name: abridge(each) for name, each in value.items()}
    if isinstance(value, list):
        return [abridge(each) for each in value]
    if isinstance(value, str) and len(value) > ABRIDGE_OVER and value[:5].lower() == "data:":
        return f"{value[:48]}… ({len(value)} characters)"
    return value


def decode_data_uri(uri: str) -> bytes:
    """Returns the bytes of a base64 `data:` URI; raises ValueError where it is none."""
    head, comma, body = uri.partition(",")
    if not comma or not head.lower().endswith(";base64"):
        raise ValueError("not a base64 data: URI")
    return base64.b64decode(body, validate=True)


def _read(path: Path) -> Job | None:
    try:
        record = json.loads(path.read_bytes())
        return Job(**{**record, "state": State(record["state"])})
    except (OSError, ValueError, TypeError, KeyError) as error:
        log.warning("sandbox job file %s cannot be read: %s", path, error)
        return None


def _write(path: Path, record: dict[str, Any]) -> None:
    _replace(path, json.dumps(record).encode())


def _replace(path: Path, data: bytes) -> None:
    """Writes a file atomically: a reader, and a restart after a crash, find the old file or the new one."""
    partial = path.with_name(path.name + ".part")
    partial.write_bytes(data)
    os.replace(partial, path)  # noqa: PTH105  this call is atomic
