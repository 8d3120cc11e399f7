"""Uploads and deletions in a process that a SIGKILL ends at the N-th thing it does to files or database."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

from app.auth.principal import Principal
from app.catalog.catalog import Catalog
from app.db.engine import Database, open_database
from app.db.writer import Writer
from app.files.uploads import Asked, Uploads
from app.kit.room import Room
from app.storage.disk import DiskStore
from app.storage.incoming import Intake
from app.storage.opening import Storage
from app.storage.threads import Threads
from tests.harness import FakeClock
from tests.pictures import jpeg, png

PICTURES = (png(), jpeg(size_bytes=2_500_000), png())
"""What the story uploads: the third is the first again."""


@dataclass
class Stage:
    """A store and a database in a folder, with the uploads over them."""

    db: Database
    uploads: Uploads
    clock: FakeClock
    folder: Path


@asynccontextmanager
async def stage(url: str, folder: Path, clock: FakeClock) -> AsyncIterator[Stage]:
    async with AsyncExitStack() as stack:
        threads = Threads(2)
        stack.callback(threads.close)
        db = open_database(url, pool=1)
        stack.push_async_callback(db.close)
        intake = Intake(folder / "incoming", threads)
        yield Stage(
            db=db,
            clock=clock,
            folder=folder,
            uploads=Uploads(
                db=db,
                clock=clock,
                storage=Storage(store=DiskStore(folder, threads), intake=intake, threads=threads),
                catalog=Catalog({}),
                limits=lambda: (),
                room=Room(10, 10),
                token_room=Room(10, 10),
                max_bytes=10_000_000,
                token_bytes=0,
                keep_s=0,
            ),
        )


def principal_of(tenant_id: str, kid: str) -> Principal:
    return Principal(
        tenant_id=tenant_id,
        tenant_name="acme",
        kid=kid,
        root_kid=kid,
        mode="test",
        scopes=frozenset({"submit", "read"}),
        models=None,
        media_checks=None,
        origins=frozenset(),
    )


async def chunks(data: bytes) -> AsyncIterator[bytes]:
    for at in range(0, len(data), 400_000):
        yield data[at : at + 400_000]


async def tell(one: Stage, principal: Principal) -> None:
    """Three uploads, of which one is kept twice, and a deletion."""
    ids = [
        (await one.uploads.upload(principal, chunks(data), Asked(), announced=None))[0].id
        for data in PICTURES
    ]
    assert ids[0] == ids[2]
    await one.uploads.delete(principal, ids[1])


class Events:
    """What was done to files below the folder and to the database; at number `at` the process dies."""

    def __init__(self, folder: Path, at: int) -> None:
        self.folder, self.at, self.met = str(folder), at, 0

    def meet(self) -> None:
        self.met += 1
        if self.met == self.at:
            os.kill(os.getpid(), signal.SIGKILL)

    def hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event in {"open", "os.rename", "os.remove", "os.mkdir", "fcntl.flock"}:
            named = str(arguments[0])
            if named.startswith(self.folder) or event == "fcntl.flock":
                self.meet()


def play(order: dict[str, Any]) -> None:
    events = Events(Path(order["folder"]), order["at"])
    run, fsync, write = Writer.run, os.fsync, os.write

    async def counted_run(self: Writer, *arguments: Any) -> Any:
        events.meet()
        result = await run(self, *arguments)
        events.meet()
        return result

    def counted_fsync(descriptor: int) -> None:
        events.meet()
        fsync(descriptor)

    def counted_write(descriptor: int, data: Any) -> int:
        # Half of it is there when the process dies.
        if events.met + 1 == events.at:
            write(descriptor, bytes(data)[: len(data) // 2])
        events.meet()
        return write(descriptor, data)

    async def main() -> None:
        async with stage(order["url"], Path(order["folder"]), FakeClock()) as one:
            sys.addaudithook(events.hear)
            with (
                patch.object(Writer, "run", counted_run),
                patch("app.storage.disk.os.fsync", counted_fsync),
                patch("app.storage.incoming.os.write", counted_write),
            ):
                await tell(one, principal_of(order["tenant_id"], order["kid"]))

    asyncio.run(main())


def take_orders() -> None:
    """A fork for each line of the input; its exit code is the answer."""
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            code = 70
            try:
                play(json.loads(line))
                code = 0
            finally:
                os._exit(code)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)  # noqa: T201 - the answer
