"""A worker answers probes and metrics, and no other call; the image's health check fits any role."""

import asyncio
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest

from app.main import create_server_app
from tests.console.network import HOST, served
from tests.harness import settings_for
from tools import healthcheck

METRICS = "a-metrics-token"


@pytest.fixture
def database(sqlite_template: Path, tmp_path: Path) -> Path:
    path = tmp_path / "reelgate.db"
    path.write_bytes(sqlite_template.read_bytes())
    return path


@pytest.fixture
async def worker(database: Path, tmp_path: Path) -> AsyncIterator[int]:
    """The port of what a worker serves."""
    settings = settings_for(f"sqlite:///{database}", tmp_path, "http://127.0.0.1:1", metrics_token=METRICS)
    app, edge = create_server_app(settings, probes_only=True)
    async with app.router.lifespan_context(app), served(edge) as port:
        yield port


@pytest.mark.anyio
async def test_a_worker_answers_probes_and_metrics_and_nothing_else(worker: int) -> None:
    async with httpx2.AsyncClient(base_url=f"http://{HOST}:{worker}", trust_env=False) as client:
        assert (await client.get("/livez")).json() == {"status": "ok"}
        assert (await client.get("/readyz")).json() == {"status": "ready"}
        assert (await client.get("/metrics")).status_code == 401
        metrics = await client.get("/metrics", headers={"Authorization": f"Bearer {METRICS}"})
        assert "reelgate_poll_lag_seconds" in metrics.text
        for path in ("/", "/v1/models", "/v1/requests", "/problems", "/openapi.json", "/docs", "/client.js"):
            answer = await client.get(path)
            assert (answer.status_code, answer.json()["code"]) == (404, "route_not_found"), path


@pytest.fixture
def ports(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """A port of its own for each role, where nothing listens."""
    found = {}
    for setting, _, _ in healthcheck.PLACES:
        with socket.socket() as probe:
            probe.bind((HOST, 0))
            found[setting] = probe.getsockname()[1]
        monkeypatch.setenv(setting, str(found[setting]))
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    return found


def test_a_container_in_which_nothing_listens_is_not_healthy(ports: dict[str, int]) -> None:
    assert not healthcheck.is_healthy()


@pytest.mark.anyio
async def test_a_worker_is_healthy_by_the_images_health_check(
    worker: int, ports: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REELGATE_WORKER_PORT", str(worker))
    assert await asyncio.to_thread(healthcheck.is_healthy)
