"""Uploads and deletions in a process that a SIGKILL ends at the N-th event of files, rows or a bucket."""

import asyncio
import json
import os
import signal
import sys
import traceback
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import httpx2

from app.auth.principal import Principal
from app.catalog.catalog import Catalog
from app.db.engines.engine import Database, open_database
from app.db.engines.writer import Writer
from app.files.direct import DirectUploads
from app.files.uploads import Asked, Uploads
from app.kit.clock import SystemClock
from app.kit.room import Room
from app.storage import s3
from app.storage.disk import DiskStore
from app.storage.incoming import Intake
from app.storage.opening import Storage
from app.storage.s3 import S3Store
from app.storage.store import Post, Store
from app.storage.threads import Threads
from tests.harness import FakeClock
from tests.pictures import jpeg, png
from tests.storage.servers import KEYS, bucket_at

PICTURES = (png(), jpeg(size_bytes=2_500_000), png())
"""What the story uploads: the third is the first again."""


@dataclass
class Stage:
    """A store and a database, with the uploads over them. `folder` has what is on this machine."""

    db: Database
    uploads: Uploads
    clock: FakeClock
    folder: Path


class DiskWithForms(DiskStore):
    """A disk that behaves as a bucket does, to which clients send files by forms."""

    takes_forms = True

    def post(self, key: str, **_: Any) -> Post:
        return Post("", {"key": key})


@asynccontextmanager
async def stage(
    url: str, folder: Path, clock: FakeClock, *, endpoint: str | None = None
) -> AsyncIterator[Stage]:
    """With an `endpoint`, files are kept in the bucket there, below a prefix named after the folder."""
    async with AsyncExitStack() as stack:
        threads = Threads(2)
        stack.callback(threads.close)
        db = open_database(url, pool=1)
        stack.push_async_callback(db.close)
        intake = Intake(folder / "incoming", threads)
        store: Store = DiskWithForms(folder, threads)
        if endpoint is not None:
            bucket = replace(bucket_at(endpoint), prefix=f"deaths/{folder.parent.name}/")
            store = S3Store(bucket, KEYS, SystemClock(), threads, pauses_s=())
        stack.push_async_callback(store.close)
        yield Stage(
            db=db,
            clock=clock,
            folder=folder,
            uploads=Uploads(
                db=db,
                clock=clock,
                storage=Storage(store=store, intake=intake, threads=threads),
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


async def tell(one: Stage, principal: Principal, *, direct: bool) -> None:
    """Three uploads, of which two are the same, and a deletion; if `direct`, straight to the store."""
    upload = _sent_directly if direct else _sent
    ids = [await upload(one, principal, data) for data in PICTURES]
    assert ids[0] == ids[2]
    await one.uploads.delete(principal, ids[1])


async def _sent(one: Stage, principal: Principal, data: bytes) -> str:
    file, _ = await one.uploads.upload(principal, chunks(data), Asked(), announced=None)
    return file.id


async def _sent_directly(one: Stage, principal: Principal, data: bytes) -> str:
    """By a form, and completed twice, as by a client that did not hear the answer."""
    uploads = DirectUploads(uploads=one.uploads)
    awaited, form = await uploads.begin(principal, Asked(), len(data))
    if form.url:
        async with httpx2.AsyncClient(trust_env=False) as client:
            (await client.post(form.url, data=dict(form.fields), files={"file": data})).raise_for_status()
    else:
        path = one.folder / form.fields["key"]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    kept, _ = await uploads.complete(principal, awaited.id)
    if kept.id == awaited.id:
        assert (await uploads.complete(principal, awaited.id))[0] == kept
    return kept.id


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
    run, fsync, write, answer, chunks_of = Writer.run, os.fsync, os.write, S3Store._answer, s3._chunks_of

    async def counted_run(self: Writer, *arguments: Any, **more: Any) -> Any:
        events.meet()
        result = await run(self, *arguments, **more)
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

    @asynccontextmanager
    async def counted_answer(self: S3Store, *arguments: Any, **more: Any) -> AsyncIterator[Any]:
        events.meet()
        async with answer(self, *arguments, **more) as response:
            events.meet()
            yield response

    async def counted_chunks(*arguments: Any) -> AsyncIterator[bytes]:
        async for chunk in chunks_of(*arguments):
            yield chunk
            events.meet()

    async def main() -> None:
        folder = Path(order["folder"])
        async with stage(order["url"], folder, FakeClock(), endpoint=order["endpoint"]) as one:
            sys.addaudithook(events.hear)
            with (
                patch.object(Writer, "run", counted_run),
                patch("app.storage.disk.os.fsync", counted_fsync),
                patch("app.storage.incoming.os.write", counted_write),
                patch.object(S3Store, "_answer", counted_answer),
                patch.object(s3, "_chunks_of", counted_chunks),
            ):
                await tell(one, principal_of(order["tenant_id"], order["kid"]), direct=order["direct"])

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
            except BaseException:
                traceback.print_exc()
                raise
            finally:
                os._exit(code)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)  # noqa: T201 - the answer
