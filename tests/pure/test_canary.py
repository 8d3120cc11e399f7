"""The canary sings: a secret planted in each place that it watches is found, and what is none is not."""

import logging
from pathlib import Path

import httpx2
import pytest
import structlog
from sqlalchemy import create_engine, insert
from starlette.types import Receive, Scope, Send

from app.auth import keys
from app.db.tables import metadata, tenants
from app.kit.secrets import checksum, random_text
from tests.canary import Canary, WatchedTransport, canary

SECRET = "a secret that a test planted"


def key() -> str:
    body = f"rg_live_{random_text(keys.KID_LENGTH)}_{random_text(keys.SECRET_LENGTH)}"
    return body + checksum(body)


@pytest.fixture
def watching() -> Canary:
    watcher = Canary()
    watcher.plant(SECRET)
    return watcher


def test_a_log_line_is_seen_before_it_is_redacted(watching: Canary) -> None:
    with structlog.testing.capture_logs(processors=[watching.log]):
        structlog.get_logger().info("harmless", url=f"https://h/?x={SECRET}")
        try:
            raise ValueError(SECRET)  # noqa: TRY301 - to be logged
        except ValueError:
            structlog.get_logger().exception("It failed.")
    assert len(watching.take()) == 2


def test_a_key_is_known_by_its_checksum_and_a_row_is_seen(watching: Canary, tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path / 'x.db'}")
    metadata.create_all(engine)
    with engine.begin() as connection:
        connection.execute(insert(tenants).values(id="1", name=key(), created_at_ms=1))
        connection.execute(insert(tenants).values(id="2", name="rg_live_" + "a" * 52, created_at_ms=1))
        watching.dump(connection)
    engine.dispose()
    (leak,) = watching.take()
    assert "tenants" in leak


@pytest.mark.anyio
async def test_an_answers_headers_and_body_are_seen() -> None:
    canary.plant(SECRET)

    async def app(scope: Scope, _receive: Receive, send: Send) -> None:
        headers = [(b"x-odd", SECRET.encode())] if scope["path"] == "/header" else []
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send(
            {"type": "http.response.body", "body": SECRET.encode() if scope["path"] == "/body" else b""}
        )

    try:
        async with httpx2.AsyncClient(transport=WatchedTransport(app), base_url="http://x") as client:
            for path, found in (("/header", 1), ("/body", 1), ("/", 0)):
                await client.get(path)
                assert len(canary.take()) == found
    finally:
        canary.planted.discard(SECRET)


def test_what_libraries_log_is_seen() -> None:
    canary.plant(SECRET)
    try:
        logging.getLogger("library").warning("It has %s", SECRET)
        assert len(canary.take()) == 1
    finally:
        canary.planted.discard(SECRET)
