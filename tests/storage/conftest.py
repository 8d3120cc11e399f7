"""One store after the other: each promises the same."""

from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from app.storage.disk import DiskStore
from app.storage.incoming import Intake
from app.storage.store import Store
from app.storage.threads import Threads
from tests.storage.servers import SERVERS, store_at


@dataclass
class Stored:
    """A store, the way in, and the kind of the store."""

    store: Store
    intake: Intake
    kind: str


@pytest.fixture
async def threads() -> AsyncIterator[Threads]:
    threads = Threads(4)
    yield threads
    threads.close()


@pytest.fixture(scope="session")
def endpoints(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The addresses of the servers that were asked for; each runs until the last test has ended."""

    class Started(dict[str, str]):
        def __missing__(self, name: str) -> str:
            self[name] = stack.enter_context(SERVERS[name](tmp_path_factory.mktemp(name)))
            return self[name]

    with ExitStack() as stack:
        yield Started()


@pytest.fixture(params=["disk", "seaweedfs", "rclone"])
async def stored(
    request: pytest.FixtureRequest, tmp_path: Path, threads: Threads, endpoints: dict[str, str]
) -> AsyncIterator[Stored]:
    folder = tmp_path / "files"
    store: Store = (
        DiskStore(folder, threads) if request.param == "disk" else store_at(endpoints[request.param], threads)
    )
    yield Stored(store, Intake(folder / "incoming", threads), request.param)
    await store.close()


@pytest.fixture
async def stored_on_disk(tmp_path: Path, threads: Threads) -> Stored:
    folder = tmp_path / "files"
    return Stored(DiskStore(folder, threads), Intake(folder / "incoming", threads), "disk")
