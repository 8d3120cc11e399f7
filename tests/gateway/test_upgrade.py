"""The version before and this one on one PostgreSQL, under load: schemas move on, servers are replaced."""

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

import httpx2
import pytest
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, select

from app.db import revision
from app.db.engines.engine import sync_url
from app.db.schema.tables import schema_floor
from tests.harness import SUBMIT
from tests.patience import PATIENCE_S
from tests.processes import Place, eventually, free_port, place_for
from tests.sandbox.harness import Running

pytestmark = pytest.mark.anyio
ROOT = Path(__file__).parents[2]
GIT = shutil.which("git") or "git"
AT_ONCE = int(os.environ.get("REELGATE_TEST_SUBMITS_AT_ONCE", "24"))
"""Beyond so many under way the load waits, so that a busy machine is not flooded."""
SUBMITS_A_SECOND = int(os.environ.get("REELGATE_TEST_SUBMITS_A_SECOND", "100"))


@pytest.fixture
def database_url(request: pytest.FixtureRequest, postgres_server: str) -> Iterator[str]:
    """An empty database, which the version before migrates."""
    from tests.conftest import _administer, _named  # noqa: PLC0415 - of this fixture alone

    name = f"test_{uuid.uuid4().hex}"
    _administer(postgres_server, f'CREATE DATABASE "{name}"')
    yield _named(postgres_server, name)
    _administer(postgres_server, f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture
def older(tmp_path: Path) -> Path:
    """The code of the version before: of the newest tag, or of before the newest migration."""
    if git("rev-parse", "--is-shallow-repository") != "false":
        pytest.skip("SKIPPED: NO UPGRADE WAS TRIED. This is no git repository with its history and tags.")
    found = git("describe", "--tags", "--abbrev=0", "--match", "v[0-9]*", "HEAD^")
    if not found:
        script = ScriptDirectory(str(revision.migrations_folder()))
        newest = Path(script.get_revision(revision.HEAD).path).relative_to(ROOT)
        added = git("log", "-1", "--diff-filter=A", "--format=%H", "--", str(newest))
        found = f"{added}^" if added else "HEAD"
    done = subprocess.run((GIT, "archive", found), cwd=ROOT, capture_output=True, check=True)
    folder = tmp_path / "older"
    with tarfile.open(fileobj=BytesIO(done.stdout)) as files:
        files.extractall(folder, filter="data")
    return folder


def git(*arguments: str) -> str:
    done = subprocess.run((GIT, *arguments), cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip()


def command(code: Path, place: Place, *arguments: str, expect: int = 0) -> str:
    """What a command of a version prints on standard output."""
    done = subprocess.run(
        (sys.executable, "-m", "app.cli.entry", *arguments),
        cwd=code,
        env=place.environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == expect, done.stdout + done.stderr
    return done.stdout


@contextmanager
def serving(code: Path, place: Place) -> Iterator[subprocess.Popen[bytes]]:
    log = (place.folder / f"{uuid.uuid4().hex}.log").open("wb")
    server = subprocess.Popen(
        (sys.executable, "-m", "app.cli.entry", "serve"),
        cwd=code,
        env=place.environment,
        stdout=log,
        stderr=log,
    )
    log.close()

    def is_ready() -> bool:
        assert server.poll() is None, Path(str(log.name)).read_text()
        return ready(place) == 200

    try:
        eventually(is_ready)
        yield server
    finally:
        server.kill()
        server.wait()


def ready(place: Place) -> int:
    """What the server answers when it is asked whether it is ready; 0: nothing."""
    try:
        return httpx2.get(f"{place.url}/readyz", trust_env=False).status_code
    except httpx2.HTTPError:
        return 0


@dataclass
class Load:
    """Callers who submit to the servers that are in use: an open loop, which makes up for what was late.

    It sends at its rate however slow answers are, while at most `AT_ONCE` are under way, and says in the end
    what came of it.
    """

    places: list[Place]
    key: str
    body: dict[str, object]
    ids: dict[str, str] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    took_s: list[float] = field(default_factory=list)
    under_way_at_most: int = 0
    sent: int = 0
    sent_in_s: float = 0

    @asynccontextmanager
    async def under_way(self) -> AsyncIterator[None]:
        stop = asyncio.Event()
        task = asyncio.create_task(self._keep_submitting(stop))
        try:
            yield
        finally:
            stop.set()
            await task

    async def _keep_submitting(self, stop: asyncio.Event) -> None:
        limits = httpx2.Limits(max_connections=None, max_keepalive_connections=0)
        async with (
            httpx2.AsyncClient(limits=limits, timeout=PATIENCE_S, trust_env=False) as client,
            asyncio.TaskGroup() as group,
        ):
            began = time.monotonic()
            room = asyncio.Semaphore(AT_ONCE)
            while not stop.is_set():
                await room.acquire()
                group.create_task(self._submit(client, self.sent)).add_done_callback(lambda _: room.release())
                self.sent += 1
                self.under_way_at_most = max(self.under_way_at_most, self.sent - len(self.took_s))
                await asyncio.sleep(max(0.0, began + self.sent / SUBMITS_A_SECOND - time.monotonic()))
            self.sent_in_s = time.monotonic() - began

    def report(self) -> str:
        slowest = sorted(self.took_s)[-1 - len(self.took_s) // 100]
        return (
            f"{self.sent} submits in {self.sent_in_s:.1f} s, {self.sent / self.sent_in_s:.1f} a second;"
            f" at most {self.under_way_at_most} under way, 99 of 100 within {slowest:.2f} s."
        )

    def until(self, count: int) -> None:
        """Waits until so many submits were answered, or one was not as it should be."""
        eventually(lambda: self.faults or len(self.ids) >= count)
        assert self.faults == []

    async def _submit(self, client: httpx2.AsyncClient, number: int) -> None:
        key = f"key-{number}"
        headers = {"Authorization": f"Bearer {self.key}", "Idempotency-Key": key}
        place = self.places[number % len(self.places)]
        began = time.monotonic()
        try:
            answer = await client.post(f"{place.url}{SUBMIT}", json=self.body, headers=headers)
        except httpx2.HTTPError as error:
            self.faults.append(repr(error))
            return
        finally:
            self.took_s.append(time.monotonic() - began)
        if answer.status_code == 200:
            self.ids[key] = answer.json()["request_id"]
        else:
            self.faults.append(f"{answer.status_code}: {answer.text[:300]}")


async def test_servers_are_replaced_one_by_one_there_and_back_and_no_submit_notices(
    older: Path,
    database_url: str,
    tmp_path: Path,
    sandbox: Running,
    record_property: Callable[[str, object], None],
) -> None:
    more = {"DEFAULT_LIMITS": "submits-minute=100000", "DRAIN_DELAY_S": "1", "MEDIA_CHECKS": "off"}
    (tmp_path / "work").mkdir()
    one = place_for(tmp_path / "work", database_url, sandbox.options.public_url, **more)
    other = one.but(PORT=str(free_port()))
    sandbox.tidy()
    before = len(sandbox.ledger()["submissions"])
    assert "The schema went from nothing" in command(older, one, "migrate")
    command(older, one, "tenants", "create", "acme")
    key = command(older, one, "keys", "create", "--tenant", "acme", "--test", "--quiet").strip()
    body: dict[str, object] = {
        "image_urls": [f"{sandbox.options.public_url}/samples/harbour.jpg"],
        "prompt": "an upgrade [sandbox:canned]",
    }
    load = Load([one, other], key, body)

    async def replace(running: subprocess.Popen[bytes], code: Path, place: Place) -> None:
        running.send_signal(signal.SIGTERM)
        await asyncio.to_thread(eventually, lambda: ready(place) == 503)
        load.places.remove(place)  # as a proxy does that asks for its readiness
        assert await asyncio.to_thread(running.wait, PATIENCE_S) == 0
        next_one = await asyncio.to_thread(open_servers.enter_context, serving(code, place))
        servers[place.url] = next_one
        load.places.append(place)
        await asyncio.to_thread(load.until, len(load.ids) + SUBMITS_A_SECOND // 2)

    servers: dict[str, subprocess.Popen[bytes]] = {}
    with ExitStack() as open_servers:
        for place in (one, other):
            servers[place.url] = open_servers.enter_context(serving(older, place))
        async with load.under_way():
            await asyncio.to_thread(load.until, SUBMITS_A_SECOND)
            before_schema = await asyncio.to_thread(schemas, older, one)
            await asyncio.to_thread(command, ROOT, one, "migrate")
            for place in (one, other):
                await replace(servers[place.url], ROOT, place)
            assert await asyncio.to_thread(schemas, ROOT, one) == {revision.HEAD}
            if goes_back(older, database_url):
                for place in (one, other):
                    await replace(servers[place.url], older, place)
                assert await asyncio.to_thread(schemas, ROOT, one) == before_schema
        for server in servers.values():
            server.send_signal(signal.SIGTERM)
        for server in servers.values():
            assert server.wait(PATIENCE_S) == 0
    assert load.faults == []
    made = sandbox.ledger()["submissions"][before:]
    assert len(made) == len(load.ids) == len(set(load.ids.values())), "nothing is lost, doubled or invented"
    command(ROOT, one, "ledger", "verify")
    command(ROOT, one, "audit", "verify")
    record_property("load", load.report())
    print(load.report())  # noqa: T201 - with -s it says which rate was reached


def schemas(code: Path, place: Place) -> set[str]:
    """The newest migration that each server knows which runs now."""
    return {one["schema"] for one in json.loads(command(code, place, "processes", "list", "--json"))}


def goes_back(older: Path, database_url: str) -> bool:
    """Whether the version before may run on the schema: nothing that it needs was taken away."""
    engine = create_engine(sync_url(database_url))
    with engine.connect() as connection:
        floor = connection.execute(select(schema_floor.c.revision)).scalar_one()
    engine.dispose()
    return bool(list((older / "migrations" / "versions").glob(f"{floor}_*.py")))
