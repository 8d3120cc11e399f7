"""Opening the store that the settings name."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Final

from app.config import Settings
from app.kit.clock import Clock
from app.storage.disk import DiskStore
from app.storage.incoming import Intake
from app.storage.store import Store
from app.storage.threads import Threads
from app.storage.throughput import UNLIMITED, Throughput

_THREADS: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Storage:
    """The store, what files come in by, the threads of both, and how fast files pass."""

    store: Store
    intake: Intake
    threads: Threads
    throughput: Throughput = UNLIMITED

    async def read(self, key: str, start: int, end: int) -> AsyncGenerator[bytes, None]:
        """Yields the bytes as the store does, sharing the throughput; one piece alone is not held up."""
        async with aclosing(self.store.read(key, start, end)) as chunks:
            async for chunk in chunks:
                yield chunk
                start += len(chunk)
                if start < end:
                    await self.throughput.rest(len(chunk))


@asynccontextmanager
async def open_storage(settings: Settings, clock: Clock) -> AsyncIterator[Storage]:
    """Opens the store that the settings name. Nothing is called and no folder is made yet."""
    threads, throughput = Threads(_THREADS), Throughput(settings.files_bytes_per_s)
    folder = settings.files_dir or settings.data_dir / "files"
    store = (
        DiskStore(folder, threads)
        if settings.storage == "disk"
        else _s3(settings, clock, threads, throughput)
    )
    try:
        intake = Intake(folder / "incoming", threads, throughput)
        yield Storage(store=store, intake=intake, threads=threads, throughput=throughput)
    finally:
        await store.close()
        threads.close()


def _s3(settings: Settings, clock: Clock, threads: Threads, throughput: Throughput) -> Store:
    from app.storage.s3 import Bucket, S3Store  # noqa: PLC0415 - its client is slow to import
    from app.storage.signature import Keys  # noqa: PLC0415 - as above

    if settings.bucket is None or settings.bucket_key_id is None or settings.bucket_secret is None:
        raise AssertionError("settings of S3 are complete, or none")
    region = settings.bucket_region
    endpoint = settings.bucket_endpoint or f"https://s3.{region}.amazonaws.com"
    token = settings.bucket_session_token
    return S3Store(
        Bucket(
            endpoint=endpoint,
            public_endpoint=settings.bucket_public_endpoint or endpoint,
            name=settings.bucket,
            in_path=settings.bucket_in_path,
            prefix=settings.bucket_prefix,
        ),
        Keys(
            settings.bucket_key_id,
            settings.bucket_secret.get_secret_value(),
            None if token is None else token.get_secret_value(),
            region,
        ),
        clock,
        threads,
        throughput=throughput,
    )
