"""Servers on one database that are killed while they send what waits."""

import signal
import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import httpx2
import pytest

from app.admin.verifying.verify import Report, verify
from app.db.engines.engine import Database
from app.generations.lifecycle import TERMINAL, State
from tests.harness import SUBMIT
from tests.patience import PATIENCE_S
from tests.processes import a_key, eventually, free_port, in_database, place_for, rows_of, started
from tests.sandbox.harness import Running

AT_ONCE = 5
JOBS_FOR_EACH = 10
VICTIMS = ((0,), (0, 1, 0, 2, 2, 1))
"""Who is killed, one after another, in each part of the test."""


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
@pytest.mark.parametrize("part", range(len(VICTIMS)))
def test_replicas_killed_while_they_send_lose_and_double_nothing(
    database_url: str, tmp_path: Path, brisk: Running, part: int
) -> None:
    jobs = JOBS_FOR_EACH * len(VICTIMS[part])
    first = place_for(
        tmp_path,
        database_url,
        brisk.options.public_url,
        QUEUEING="true",
        DEFAULT_LIMITS=f"in-flight={AT_ONCE},submits-minute=none",
        MEDIA_CHECKS="off",
        SUBMIT_DEADLINE_S="2",
        DISPATCH_LEASE_S="2.1",
        RESCUE_INTERVAL_S="0.2",
        POLL_MIN_S="0.2",
        UNKNOWN_SLOT_S="0.5",
    )
    places = [first, first.but(PORT=str(free_port())), first.but(PORT=str(free_port()))]
    tenant_id, key = a_key(database_url)
    with ExitStack() as stack:
        servers = [stack.enter_context(started(place)) for place in places]
        marks = [uuid.uuid4().hex for _ in range(jobs)]

        def submit(number: int) -> tuple[str, int]:
            body = {
                "image_urls": [f"{brisk.options.public_url}/samples/harbour.jpg"],
                "prompt": f"a boat {marks[number]} [sandbox:canned]",
            }
            headers = {"Authorization": f"Bearer {key}", "Idempotency-Key": marks[number]}
            url = f"{places[number % 3].url}{SUBMIT}"
            answer = httpx2.post(url, json=body, headers=headers, trust_env=False, timeout=PATIENCE_S)
            # On a busy machine the deadline may pass in the middle; then the answer says so, with the id.
            assert answer.status_code in {200, 504}, answer.text
            return str(answer.json()["request_id"]), answer.status_code

        with ThreadPoolExecutor(9) as pool:
            told = list(pool.map(submit, range(jobs)))
        assert len({request_id for request_id, _ in told}) == jobs
        late = sum(status == 504 for _, status in told)
        ended = 0
        for at in VICTIMS[part]:
            servers[at].send(signal.SIGKILL)
            servers[at].wait()
            servers[at] = stack.enter_context(started(places[at]))
            before = ended
            ended = eventually(lambda least=before + 2: _ended(database_url, tenant_id, min(least, jobs)))  # type: ignore[misc]  # bound at once
        eventually(lambda: _ended(database_url, tenant_id, jobs))
    rows = rows_of(database_url, tenant_id)
    states = Counter(row.state for row in rows)
    assert set(states) <= {State.COMPLETED, State.UNKNOWN}, states
    assert (
        states[State.UNKNOWN] <= len(VICTIMS[part]) * AT_ONCE + late
    )  # what the dead had in hand, and what was late
    received = Counter(
        mark for one in brisk.ledger()["submissions"] for mark in marks if mark in one["input"]["prompt"]
    )
    assert set(received.values()) <= {1}
    completed = {row.idempotency_key for row in rows if row.state is State.COMPLETED}
    assert completed <= set(received)
    assert in_database(database_url, _verified).findings == []


def _ended(url: str, tenant_id: str, least: int) -> int:
    """How many are over or of unknown fate, once there are so many."""
    count = sum(row.state in TERMINAL | {State.UNKNOWN} for row in rows_of(url, tenant_id))
    return count if count >= least else 0


async def _verified(db: Database) -> Report:
    return await db.snapshot(verify)
