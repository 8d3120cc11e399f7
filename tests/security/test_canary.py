"""The canary sings: a secret planted in each place that it watches is found, and what is none is not."""

import logging
from contextlib import suppress
from io import StringIO
from itertools import pairwise
from pathlib import Path

import httpx2
import pytest
import structlog
from starlette.types import Receive, Scope, Send

from app.auth import keys, tenants
from app.db.engines.engine import Database
from app.kit.secrets import checksum, random_text
from tests.canary import Canary, WatchedTransport, canary
from tests.harness import World, open_world, settings_for
from tests.processes import place_for, started
from tests.sandbox.harness import Running

SECRET = "planted by a test_odd"


def key() -> str:
    body = f"rg_live_{random_text(keys.KID_LENGTH)}_{random_text(keys.SECRET_LENGTH)}"
    return body + checksum(body)


@pytest.fixture
def watching() -> Canary:
    watcher = Canary()
    watcher.plant(SECRET)
    return watcher


@pytest.fixture
def _planted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(canary, "planted", set(canary.planted))
    canary.plant(SECRET)


@pytest.mark.parametrize("text", [SECRET, "a%20planted%20by%20a%20test_odd", '{"a":"' + SECRET + '"}'])
def test_a_secret_is_known_in_every_form(watching: Canary, text: str) -> None:
    assert watching.inspect("here", "x" * 10_000 + text)
    (leak,) = watching.take()
    assert leak.startswith("here: ")
    assert text[-10:] in leak
    assert watching.take() == []


def test_a_key_is_known_by_its_checksum(watching: Canary) -> None:
    whole = key()
    assert watching.inspect("here", f"({whole})")
    assert not watching.inspect("here", whole[:-1] + ("a" if whole[-1] != "a" else "b"))
    assert not watching.inspect("here", whole[:-7])


@pytest.mark.usefixtures("_planted")
@pytest.mark.parametrize("processors", [None, [structlog.processors.JSONRenderer()]])
def test_our_lines_are_heard_however_structlog_is_set_up(
    processors: list[structlog.typing.Processor] | None,
) -> None:
    before = structlog.get_config()
    try:
        structlog.reset_defaults()
        structlog.configure(processors=processors, logger_factory=structlog.PrintLoggerFactory(StringIO()))
        log = structlog.get_logger().bind(bound="harmless")
        for field in (
            {"url": f"https://h/?x={SECRET}"},
            {"error": ValueError(SECRET)},
            {"deep": [{"a": SECRET}]},
        ):
            log.info("It failed.", **field)
            assert len(canary.take()) == 1
        log.bind(bound=SECRET).info("It failed.")
        assert len(canary.take()) == 1
        with structlog.testing.capture_logs():
            log.info(SECRET)
        assert len(canary.take()) == 1
        log.info("harmless")
    finally:
        structlog.configure(**before)
    assert canary.take() == []


@pytest.mark.usefixtures("_planted")
def test_tracebacks_and_lines_of_libraries_are_heard() -> None:
    with structlog.testing.capture_logs():
        try:
            with suppress(KeyError):
                raise ValueError(SECRET)  # noqa: TRY301 - to be logged
        except ValueError as error:
            structlog.get_logger().exception("It failed.")
            assert len(canary.take()) == 1
            structlog.get_logger().error("It failed.", exc_info=error)
            assert len(canary.take()) == 1
            logging.getLogger("library").exception("It failed.")
            assert len(canary.take()) == 1
    silent = logging.getLogger("library.silent")
    silent.propagate = False
    silent.addHandler(logging.NullHandler())
    silent.warning("It has %s", SECRET)
    assert len(canary.take()) == 1
    silent.debug("It has %s", SECRET)
    assert canary.take() == []


@pytest.mark.anyio
@pytest.mark.usefixtures("_planted")
async def test_an_answers_headers_and_body_are_seen() -> None:
    async def app(scope: Scope, _receive: Receive, send: Send) -> None:
        path = scope["path"]
        headers = [(b"x-odd", SECRET.encode())] if path == "/header" else []
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        said = SECRET if path in {"/body", "/pieces"} else "harmless"
        cuts = (0, 3, 9, len(said)) if path == "/pieces" else (0, len(said), len(said), len(said))
        for start, end in pairwise(cuts):
            body = said[start:end].encode()
            await send({"type": "http.response.body", "body": body, "more_body": True})
        await send({"type": "http.response.body", "body": b" and no more"})

    async with httpx2.AsyncClient(transport=WatchedTransport(app), base_url="http://x") as client:
        for path, found in (("/header", 1), ("/body", 1), ("/pieces", 1), ("/", 0)):
            assert (await client.get(path)).text.endswith(" and no more")
            assert len(canary.take()) == found, path


@pytest.mark.anyio
async def test_a_worlds_own_client_and_streams_are_watched(world: World) -> None:
    assert isinstance(world.client._transport, WatchedTransport)


@pytest.mark.anyio
async def test_rows_are_seen(db: Database, watching: Canary) -> None:
    await db.write(tenants.create, "harmless", now_ms=1)
    await db.read(watching.dump)
    assert watching.take() == []
    await db.write(tenants.create, f"x {SECRET}", now_ms=1)
    await db.read(watching.dump)
    (leak,) = watching.take()
    assert leak.startswith("the table tenants: ")


@pytest.mark.anyio
@pytest.mark.usefixtures("_planted")
async def test_a_worlds_database_is_looked_at_in_the_end(
    database_url: str, tmp_path: Path, sandbox: Running
) -> None:
    settings = settings_for(database_url, tmp_path, sandbox.options.public_url)
    async with open_world(settings, sandbox) as world:
        await world.gateway.db.write(tenants.create, f"x {SECRET}", now_ms=1)
    (leak,) = canary.take()
    assert leak.startswith("the table tenants: ")


def test_the_log_of_a_process_is_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(canary, "planted", set(canary.planted))
    place = place_for(tmp_path, "sqlite:///x.db", "http://127.0.0.1:1", UPSTREAM_TOKEN="planted-token")
    with started(
        place, "planted-token", ready=False
    ) as process:  # which is no command, and is said to be none
        process.wait()
    (leak,) = canary.take()
    assert leak.startswith("the log of ")
