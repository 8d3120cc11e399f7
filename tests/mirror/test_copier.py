"""One attempt to copy a file: what a server may do wrong, and that nothing of it is ever stored."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from app.egress.client import Egress, Reach
from app.mirror.claims import Claimed
from app.mirror.copier import STALL_S, Copier, attempt_key
from app.mirror.records import Failed
from app.mirror.rows import Copied
from app.storage.disk import DiskStore
from app.storage.incoming import Intake
from app.storage.store import StorageError
from app.storage.threads import Threads
from tests.loops import skip
from tests.mirror.rows import an_asset
from tests.mirror.upstream import FILM, Upstream, serving

pytestmark = pytest.mark.anyio

MAX_BYTES = 500_000


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    async with serving() as opened:
        yield opened


@pytest.fixture
async def copier(tmp_path: Path, upstream: Upstream) -> AsyncIterator[Copier]:
    threads = Threads(2)
    folder = tmp_path / "files"
    yield Copier(
        egress=Egress(),
        reaches={"test": Reach(frozenset({upstream.host}), only=())},
        store=DiskStore(folder, threads),
        intake=Intake(folder / "incoming", threads),
        threads=threads,
        max_bytes=MAX_BYTES,
        timeout_s=900,
    )
    threads.close()


def claimed(url: str | None, *, attempt: int = 1, interrupted_from: int | None = None) -> Claimed:
    asset = an_asset(attempts=attempt, interrupted_from=interrupted_from)
    return Claimed(asset=asset, url=url, tenant_keep_s=None, request_keep_s=None, webhook_endpoint_id=None)


def left(tmp_path: Path) -> list[str]:
    return sorted(one.name for one in (tmp_path / "files").rglob("*") if one.is_file())


@pytest.mark.parametrize("path", ["/film", "/chunked", "/redirect"])
async def test_a_film_is_stored_whole_under_a_key_of_the_attempt(
    path: str, copier: Copier, upstream: Upstream, tmp_path: Path
) -> None:
    one = claimed(upstream.url(path))
    outcome = await copier.attempt(one)
    key = attempt_key(one.asset, 1)
    assert outcome == Copied(
        storage_key=key, sha256=sha256(FILM).hexdigest(), size_bytes=len(FILM), media_type="video/mp4"
    )
    assert (tmp_path / "files" / key).read_bytes() == FILM
    assert left(tmp_path) == [f"{one.asset.id}-1"]


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("/truncated", "truncated"),
        ("/too-long", "truncated"),
        ("/too-short", "truncated"),
        ("/open-ended", "truncated"),
        ("/page", "not_media"),
        ("/status/404", "status_404"),
        ("/status/500", "status_500"),
        ("/status/206", "status_206"),
        ("/redirect/10.0.0.1", "forbidden_host"),
        ("/redirect/169.254.169.254", "forbidden_host"),
        ("/redirect/films.example", "forbidden_host"),
        (f"/large/{40 * MAX_BYTES}", "too_large"),
        (f"/declared/{MAX_BYTES + 1}", "too_large"),
    ],
)
async def test_what_a_server_does_wrong_has_a_class_and_leaves_nothing_behind(
    path: str, error: str, copier: Copier, upstream: Upstream, tmp_path: Path
) -> None:
    assert await copier.attempt(claimed(upstream.url(path))) == Failed(error)
    assert left(tmp_path) == []
    assert upstream.sent < 20 * MAX_BYTES  # but for what kernels hold, the rest of it is not read


async def test_a_server_that_sends_nothing_more_is_given_up(
    copier: Copier, upstream: Upstream, tmp_path: Path
) -> None:
    patient = replace(copier, timeout_s=1e9)
    attempt = asyncio.ensure_future(patient.attempt(claimed(upstream.url("/drip"))))
    await upstream.hanging.wait()
    while not attempt.done():  # whatever it does at first in a thread
        await asyncio.sleep(0.01)
        skip(STALL_S)
    assert await attempt == Failed("stalled")
    assert left(tmp_path) == []


async def test_hosts_that_are_not_named_are_never_called(copier: Copier, upstream: Upstream) -> None:
    for url in (
        "https://films.example/a.mp4",
        "https://10.0.0.1/a.mp4",
        f"http://localhost:{upstream.port}/film",
    ):
        outcome = await copier.attempt(claimed(url))
        assert outcome in (Failed("forbidden_host"), Failed("plain_http")), url
    assert upstream.asked == []


async def test_an_output_that_was_erased_is_not_fetched(copier: Copier, upstream: Upstream) -> None:
    assert await copier.attempt(claimed(None)) == Failed("output_erased")
    assert upstream.asked == []


async def test_what_an_interrupted_attempt_left_is_deleted_before_the_next(
    copier: Copier, upstream: Upstream, tmp_path: Path
) -> None:
    first = claimed(upstream.url("/film"))
    assert isinstance(await copier.attempt(first), Copied)  # and then its server died
    second = claimed(upstream.url("/film"), attempt=2, interrupted_from=1)
    assert isinstance(await copier.attempt(second), Copied)
    assert left(tmp_path) == [f"{first.asset.id}-2"]


async def test_a_store_that_fails_is_a_class_of_its_own_and_its_bytes_are_taken_back(
    copier: Copier, upstream: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = DiskStore.put

    async def put(self: DiskStore, *args: object, **more: object) -> None:
        await whole(self, *args, **more)  # type: ignore[arg-type]
        raise StorageError("no answer")

    monkeypatch.setattr(DiskStore, "put", put)
    assert await copier.attempt(claimed(upstream.url("/film"))) == Failed("storage_unavailable")
    assert left(tmp_path) == []


async def test_an_attempt_that_runs_out_of_time_while_it_stores_takes_its_bytes_back(
    copier: Copier, upstream: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = DiskStore.put

    async def put(self: DiskStore, *args: object, **more: object) -> None:
        await whole(self, *args, **more)  # type: ignore[arg-type]
        raise TimeoutError

    monkeypatch.setattr(DiskStore, "put", put)
    assert await copier.attempt(claimed(upstream.url("/film"))) == Failed("timeout")
    assert left(tmp_path) == []
