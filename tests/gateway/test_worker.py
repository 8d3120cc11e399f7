"""Servers and workers as processes: jobs are followed by whoever is there, and a stop is noticed in time."""

import signal
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx2
import pytest

from app.generations.lifecycle import State
from tests.harness import SUBMIT
from tests.patience import PATIENCE_S
from tests.processes import (
    Commands,
    Place,
    Process,
    a_key,
    eventually,
    free_port,
    place_for,
    rows_of,
    started,
)
from tests.sandbox.harness import Running

on_postgresql = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
AT_WORK = "The worker has started."


def submitted(place: Place, key: str, sandbox: Running, directive: str = "canned") -> str:
    body = {
        "image_urls": [f"{sandbox.options.public_url}/samples/harbour.jpg"],
        "prompt": f"a boat [sandbox:{directive}]",
    }
    answer = httpx2.post(
        f"{place.url}{SUBMIT}",
        json=body,
        headers={"Authorization": f"Bearer {key}"},
        trust_env=False,
        timeout=PATIENCE_S,
    )
    assert answer.status_code == 200, answer.text
    request_id: str = answer.json()["request_id"]
    return request_id


def until_completed(url: str, tenant_id: str, count: int) -> None:
    def completed() -> bool:
        rows = rows_of(url, tenant_id)
        return len(rows) == count and all(row.state is State.COMPLETED and row.output for row in rows)

    eventually(completed)


def test_a_server_follows_its_jobs_to_their_end_while_nobody_asks(
    database_url: str, tmp_path: Path, brisk: Running
) -> None:
    tenant_id, key = a_key(database_url)
    place = place_for(tmp_path, database_url, brisk.options.public_url)
    with started(place):
        for _ in range(3):
            submitted(place, key, brisk)
        until_completed(database_url, tenant_id, 3)


@on_postgresql
def test_a_worker_follows_what_servers_without_loops_submit_and_another_takes_over_when_it_is_killed(
    database_url: str, tmp_path: Path, brisk: Running
) -> None:
    """Both workers have the environment of the servers, so REELGATE_RUN_LOOPS too."""
    tenant_id, key = a_key(database_url)
    place = place_for(tmp_path, database_url, brisk.options.public_url, READ_DEADLINE_S="0.5")
    quiet = place.but(RUN_LOOPS="false", DATA_DIR=str(tmp_path / "quiet"))
    with ExitStack() as stack:
        stack.enter_context(started(quiet))
        submitted(quiet, key, brisk)
        (job,) = brisk.ledger()["submissions"]
        eventually(lambda: brisk.result(job["request_id"])["status"] == "succeeded")
        assert [row.state for row in rows_of(database_url, tenant_id)] == [State.IN_QUEUE]
        first = stack.enter_context(started(quiet, "worker", ready=False))
        until_completed(database_url, tenant_id, 1)
        first.process.kill()
        submitted(quiet, key, brisk)
        port = free_port()
        with_port = quiet.but(DATA_DIR=str(tmp_path / "2"), WORKER_PORT=str(port))
        second = stack.enter_context(started(with_port, "worker", ready=False))
        until_completed(database_url, tenant_id, 2)
        probed = httpx2.get(f"http://127.0.0.1:{port}/readyz", trust_env=False)
        assert probed.status_code == 200
        second.send(signal.SIGTERM)
        assert second.wait() == 0


def test_a_worker_on_sqlite_is_refused_in_one_line(
    sqlite_url: str, tmp_path: Path, sandbox: Running, reelgate: Commands
) -> None:
    place = place_for(tmp_path, sqlite_url, sandbox.options.public_url)
    ended = reelgate.run(place, "worker", expect=1)
    assert ended.err.splitlines() == [
        "reelgate: workers need PostgreSQL: on SQLite the server itself runs the background loops."
    ]


def test_a_stop_is_told_first_ends_streams_and_lets_held_answers_go(
    sqlite_url: str, tmp_path: Path, sandbox: Running
) -> None:
    _, key = a_key(sqlite_url)
    place = place_for(
        tmp_path, sqlite_url, sandbox.options.public_url, DRAIN_DELAY_S="1.5", HEARTBEAT_S="0.2"
    )
    headers = {"Authorization": f"Bearer {key}"}
    with (
        started(place) as server,
        httpx2.Client(base_url=place.url, headers=headers, trust_env=False, timeout=PATIENCE_S) as client,
    ):
        request_id = submitted(place, key, sandbox, "queued")
        with client.stream("GET", f"/v1/requests/{request_id}/events") as stream:
            lines = stream.iter_lines()
            while next(lines) != "id: 2":
                pass
            server.send(signal.SIGTERM)
            said = _said_while_it_leaves(client, request_id)
            rest = list(lines)  # ends without an error
        assert said == {"ready": 503, "status": 200, "connection": "close"}
        assert not any(line.startswith("id:") for line in rest)
        assert server.wait() == 0


def _said_while_it_leaves(client: httpx2.Client, request_id: str) -> dict[str, Any]:
    def ready() -> httpx2.Response | None:
        answer = client.get("/readyz")
        return answer if answer.status_code == 503 else None

    readiness = eventually(ready)
    status = client.get(f"/v1/requests/{request_id}/status")
    assert readiness is not None
    return {
        "ready": readiness.status_code,
        "status": status.status_code,
        "connection": status.headers["connection"],
    }


@on_postgresql
def test_a_change_is_seen_on_another_server_at_once(
    database_url: str, tmp_path: Path, brisk: Running
) -> None:
    """By NOTIFY: that server looks by itself only after a minute."""
    _, key = a_key(database_url)
    place = place_for(tmp_path, database_url, brisk.options.public_url)
    other = place.but(
        PORT=str(free_port()), RUN_LOOPS="false", FRESHNESS_S="60", DATA_DIR=str(tmp_path / "other")
    )
    with started(place) as one, started(other) as two:
        assert isinstance(one, Process)
        request_id = submitted(place, key, brisk)
        with httpx2.stream(
            "GET",
            f"{two.place.url}/v1/requests/{request_id}/events",
            headers={"Authorization": f"Bearer {key}"},
            trust_env=False,
            timeout=PATIENCE_S,
        ) as stream:
            events = [line for line in stream.iter_lines() if line.startswith("id:")]
        assert events == [f"id: {number + 1}" for number in range(len(events))]
        assert len(events) >= 3
