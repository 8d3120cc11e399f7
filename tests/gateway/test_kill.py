"""A server that dies, or is told to stop, with a submit under way."""

import signal
import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from sqlalchemy import update

from app.db.engines.engine import Database
from app.db.schema.tables import generations
from tests.harness import SUBMIT
from tests.patience import PATIENCE_S
from tests.processes import Place, a_key, eventually, history_of, in_database, place_for, rows_of, started
from tests.sandbox.harness import Running


@contextmanager
def submitting(place: Place, key: str, sandbox: Running, prompt: str) -> Iterator["Future[httpx2.Response]"]:
    body = {"image_urls": [f"{sandbox.options.public_url}/samples/harbour.jpg"], "prompt": prompt}
    headers = {"Authorization": f"Bearer {key}"}
    with ThreadPoolExecutor(1) as pool:
        yield pool.submit(
            httpx2.post,
            f"{place.url}{SUBMIT}",
            json=body,
            headers=headers,
            trust_env=False,
            timeout=PATIENCE_S,
        )


def received(sandbox: Running, mark: str) -> list[dict[str, Any]]:
    submissions = sandbox.ledger()["submissions"]
    return [one for one in submissions if mark in one["input"].get("prompt", "")]


def test_a_kill_between_the_two_transactions_leaves_an_unknown_job_that_is_never_sent_again(
    database_url: str, tmp_path: Path, sandbox: Running
) -> None:
    # Nothing that the first server does may end before the kill, however slow the machine is.
    patient = {"SUBMIT_DEADLINE_S": "9", "DISPATCH_LEASE_S": "60", "RESCUE_INTERVAL_S": "0.1"}
    place = place_for(tmp_path, database_url, sandbox.options.public_url, **patient)
    tenant_id, key = a_key(database_url)
    mark = uuid.uuid4().hex
    with (
        started(place, anew=True) as server,
        submitting(place, key, sandbox, f"{mark} [sandbox:slow=10]") as answer,
    ):
        eventually(lambda: received(sandbox, mark))
        server.send(signal.SIGKILL)
        assert server.wait() == -signal.SIGKILL
        with pytest.raises(httpx2.HTTPError):
            answer.result(30)
    (row,) = rows_of(database_url, tenant_id)
    assert (row.state, row.upstream_request_id) == ("dispatching", None)
    in_database(database_url, _a_minute_passes)
    with started(place), httpx2.Client(base_url=place.url, trust_env=False) as client:
        client.headers["Authorization"] = f"Bearer {key}"
        record = eventually(lambda: _record_in(client, row.id, "unknown"))
        assert record is not None
        assert [event["reason"] for event in record["events"]] == ["submitted", "lease_over"]
        assert client.get(f"/v1/requests/{row.id}/status").json()["status"] == "in_progress"
        cancelled = client.post(f"/v1/requests/{row.id}/cancel")
        assert cancelled.json()["outcome"] == "not_cancellable"
        ticks_until = time.monotonic() + 0.3  # three more ticks of the rescue loop
        eventually(lambda: time.monotonic() > ticks_until)
        assert len(received(sandbox, mark)) == 1
    assert [event.version for event in history_of(database_url, row.id)] == [1, 2]


async def _a_minute_passes(db: Database) -> None:
    """For the lease: the servers have the machine's own clock."""
    await db.write(lambda connection: connection.execute(update(generations).values(lease_until_ms=1)))


def _record_in(client: httpx2.Client, request_id: str, state: str) -> dict[str, Any] | None:
    answer = client.get(f"/v1/requests/{request_id}")
    assert answer.status_code == 200, answer.text
    record: dict[str, Any] = answer.json()
    return record if record["state"] == state else None


def test_a_kill_after_the_answer_loses_nothing_that_was_answered(
    sqlite_url: str, tmp_path: Path, sandbox: Running
) -> None:
    """Every id that a caller got is in the books after the restart, with its upstream id."""
    place = place_for(tmp_path, sqlite_url, sandbox.options.public_url)
    tenant_id, key = a_key(sqlite_url)
    answered: list[str] = []
    stop = threading.Event()

    def keep_submitting(server_url: str) -> None:
        body = {
            "image_urls": [f"{sandbox.options.public_url}/samples/harbour.jpg"],
            "prompt": "[sandbox:canned]",
        }
        with httpx2.Client(base_url=server_url, trust_env=False) as client:
            while not stop.is_set():
                try:
                    answer = client.post(SUBMIT, json=body, headers={"Authorization": f"Bearer {key}"})
                except httpx2.HTTPError:
                    return
                answered.append(answer.json()["request_id"])

    with started(place) as server, ThreadPoolExecutor(8) as pool:
        clients = [pool.submit(keep_submitting, place.url) for _ in range(8)]
        eventually(lambda: len(answered) >= 30)
        server.send(signal.SIGKILL)
        server.wait()
        stop.set()
        for client in clients:
            client.result(30)
    known = set(answered)
    rows = {row.id: row for row in rows_of(sqlite_url, tenant_id)}
    assert known <= set(rows)
    for request_id in known:
        assert rows[request_id].state == "in_queue"
        assert rows[request_id].upstream_request_id is not None
        assert [event.version for event in history_of(sqlite_url, request_id)] == [1, 2]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_a_stop_lets_the_submit_under_way_reach_its_record_and_its_caller(
    number: signal.Signals, sqlite_url: str, tmp_path: Path, sandbox: Running
) -> None:
    place = place_for(tmp_path, sqlite_url, sandbox.options.public_url)
    tenant_id, key = a_key(sqlite_url)
    mark = uuid.uuid4().hex
    with started(place) as server, submitting(place, key, sandbox, f"{mark} [sandbox:slow=1]") as answer:
        eventually(lambda: received(sandbox, mark))
        server.send(number)
        assert answer.result(30).status_code == 200, server.text()
        assert server.wait() == 0
    (row,) = rows_of(sqlite_url, tenant_id)
    assert row.id == answer.result().json()["request_id"]
    assert (row.state, row.upstream_request_id) == ("in_queue", received(sandbox, mark)[0]["request_id"])
    assert len(received(sandbox, mark)) == 1
    assert "Traceback" not in server.text()
