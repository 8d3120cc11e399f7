"""Jobs that a restored database does not know, or knows as something else."""

import json
from typing import Any

import pytest

from app.admin.actor import of_command
from app.admin.backups import recover as cases
from app.admin.backups.recover import Fate, Job
from app.admin.verifying.verify import verify
from app.auth import client_tokens, keys
from app.db.engines.engine import Database
from app.generations import store
from app.generations.advance import advance
from app.generations.dispatch.dispatcher import _terms
from app.generations.lifecycle import State
from app.generations.store import Generation
from app.kit.ids import new_id
from tests.admin.desk import Desk, open_desk
from tests.rows import NOW_MS, PEPPER, add_generation

pytestmark = pytest.mark.anyio


@pytest.fixture
async def desk(db: Database) -> Desk:
    return await open_desk(db)


async def row_of(desk: Desk, state: State) -> Generation:
    key = await desk.gateway.db.read(keys.find, desk.kid)
    assert key is not None
    lease = None if state is State.ACCEPTED else NOW_MS
    owner = (key.tenant_id, desk.kid)
    return await desk.gateway.db.write(add_generation, state, owner=owner, lease_until_ms=lease)


def line_of(row: Generation, upstream_request_id: str, generation_id: str = "", **terms: Any) -> str:
    """The line of the log that says that the job of a request was made."""
    line = {
        "event": "A submit was answered.",
        "generation": generation_id or row.id,
        "model": row.model_id,
        "mode": row.mode,
        "upstream_request_id": upstream_request_id,
        "terms": _terms(row) | terms,
    }
    return json.dumps(line)


async def recovered(desk: Desk, *lines: str, dry_run: bool = False) -> list[tuple[Fate, str]]:
    jobs = cases.jobs_in(lines)
    found = await cases.recover(desk.gateway, of_command(), jobs, dry_run=dry_run)
    return [(one.fate, one.why) for one in found]


async def found(desk: Desk, request_id: str) -> Generation:
    row = await desk.gateway.db.read(store.find, request_id, None)
    assert row is not None
    return row


async def books_are_right(desk: Desk) -> None:
    report = await desk.gateway.db.snapshot(verify)
    assert report.findings == []


@pytest.mark.parametrize("state", [State.ACCEPTED, State.DISPATCHING, State.UNKNOWN])
async def test_a_job_is_attached_to_a_request_that_the_copy_has_as_not_sent_or_not_answered(
    desk: Desk, state: State
) -> None:
    row = await row_of(desk, State.DISPATCHING if state is State.UNKNOWN else state)
    if state is State.UNKNOWN:
        await desk.gateway.db.write(advance, row.id, State.UNKNOWN, reason="lease_over", now_ms=NOW_MS)
    line = line_of(row, "job-1", credential="sandbox")
    assert await recovered(desk, line, dry_run=True) == [(Fate.ATTACHED, "")]
    assert (await found(desk, row.id)).upstream_request_id is None, "a trial changes nothing"
    assert await recovered(desk, line, line) == [(Fate.ATTACHED, ""), (Fate.KNOWN, "")]
    now = await found(desk, row.id)
    assert (now.state, now.upstream_request_id, now.credential) == (State.IN_QUEUE, "job-1", "sandbox")
    assert await desk.changes("request.recover") == [
        ({"state": state, "upstream_request_id": None}, {"state": "in_queue", "upstream_request_id": "job-1"})
    ]
    await books_are_right(desk)


async def test_a_request_that_the_copy_lacks_is_made_again_with_its_price_and_key(desk: Desk) -> None:
    row = await row_of(desk, State.DISPATCHING)
    await desk.gateway.db.write(
        advance, row.id, State.IN_QUEUE, reason="x", now_ms=NOW_MS, upstream_request_id="a"
    )
    lost_id = new_id(NOW_MS + 1)
    line = line_of(row, "job-2", lost_id, idempotency_key="theirs", fingerprint="f" * 64)
    assert await recovered(desk, line, line) == [(Fate.MADE_AGAIN, ""), (Fate.KNOWN, "")]
    again = await found(desk, lost_id)
    assert (again.state, again.upstream_request_id, again.credential) == (State.IN_QUEUE, "job-2", "sandbox")
    assert (again.amounts, again.charge, again.input) == (row.amounts, "held", {})
    by_key = await desk.gateway.db.read(store.find_by_key, row.tenant_id, "theirs")
    assert by_key is not None
    assert (by_key.id, by_key.fingerprint) == (lost_id, "f" * 64)
    assert len(await desk.changes("request.recover")) == 1
    await books_are_right(desk)


async def test_a_job_whose_request_has_ended_or_has_another_job_or_key_is_left_and_said(desk: Desk) -> None:
    rejected = await row_of(desk, State.DISPATCHING)
    other = await row_of(desk, State.DISPATCHING)
    write = desk.gateway.db.write
    await write(advance, rejected.id, State.REJECTED, reason="x", now_ms=NOW_MS)
    await write(advance, other.id, State.IN_QUEUE, reason="x", now_ms=NOW_MS, upstream_request_id="a")
    lines = [
        line_of(rejected, "job-3"),
        line_of(other, "job-4"),
        line_of(other, "job-5", new_id(NOW_MS + 1), kid="k-of-later"),
        line_of(other, "a", new_id(NOW_MS + 2)),
        json.dumps({"generation": new_id(NOW_MS + 3), "upstream_request_id": "job-6"}),
    ]
    before = await desk.audited()
    assert await recovered(desk, *lines) == [
        (Fate.LEFT, "its request has ended as rejected"),
        (Fate.LEFT, "its request has another id of RunComfy's, a"),
        (Fate.LEFT, "its API key, k-of-later, was made after the backup"),
        (Fate.LEFT, "RunComfy's id or the Idempotency-Key belongs to another request"),
        (Fate.LEFT, "there is no such request, and the line does not say what it was"),
    ]
    assert await desk.audited() == before
    await books_are_right(desk)


async def test_a_token_that_was_made_since_is_left_out_of_the_request(desk: Desk) -> None:
    row = await row_of(desk, State.DISPATCHING)
    lost_id = new_id(NOW_MS + 1)
    line = line_of(row, "job-7", lost_id, token_id="ct-of-later", end_user="ann")
    assert await recovered(desk, line) == [(Fate.MADE_AGAIN, "")]
    again = await found(desk, lost_id)
    assert (again.token_id, again.end_user) == (None, None)
    await books_are_right(desk)


async def test_the_key_of_a_request_whose_token_is_gone_stays_in_the_namespace_of_that_token(
    desk: Desk,
) -> None:
    row = await row_of(desk, State.DISPATCHING)
    used = {"idempotency_key": "1", "fingerprint": "f" * 64}
    callers: list[dict[str, str | None]] = [
        {"token_id": "ct-of-later", "end_user": "ann"},
        {"token_id": "ct-of-ben", "end_user": "ben"},
        {"token_id": "ct-of-nobody", "end_user": None},
        {"token_id": None, "end_user": None},
    ]
    lost = [new_id(NOW_MS + number) for number in range(4)]
    lines = [
        line_of(row, f"job-{number}", lost[number], **used, **caller) for number, caller in enumerate(callers)
    ]
    assert await recovered(desk, *lines) == [(Fate.MADE_AGAIN, "")] * 4
    for made, space in zip(lost, ("user:ann", "user:ben", f"key:{desk.kid}", ""), strict=True):
        by_key = await desk.gateway.db.read(store.find_by_key, row.tenant_id, "1", key_space=space)
        assert by_key is not None
        assert by_key.id == made
    await books_are_right(desk)


async def test_a_request_that_is_made_again_after_its_token_expired_keeps_the_token(desk: Desk) -> None:
    key = await desk.gateway.db.read(keys.find, desk.kid)
    assert key is not None
    token, _ = await desk.gateway.db.write(
        client_tokens.create, key, client_tokens.TokenTerms(end_user="ann"), pepper=PEPPER, now_ms=NOW_MS
    )
    lost_id = new_id(NOW_MS + 1)
    line = line_of(
        await row_of(desk, State.DISPATCHING), "job-8", lost_id, token_id=token.token_id, end_user="ann"
    )
    assert await recovered(desk, line) == [(Fate.MADE_AGAIN, "")]
    again = await found(desk, lost_id)
    assert (again.token_id, again.end_user) == (token.token_id, "ann")
    await books_are_right(desk)


def test_only_lines_with_both_ids_are_jobs() -> None:
    good = {"generation": new_id(1), "upstream_request_id": "x-1"}
    lines = [
        "not JSON with upstream_request_id",
        '["upstream_request_id"]',
        json.dumps(good | {"generation": 7}),
        json.dumps(good | {"upstream_request_id": None}),
        json.dumps(good | {"upstream_request_id": "../x y"}),
        json.dumps(good | {"generation": "../../x"}),
        json.dumps(good | {"terms": {"kid": "half of it"}}),
        json.dumps(good),
    ]
    job = Job(generation_id=str(good["generation"]), upstream_request_id="x-1")
    assert list(cases.jobs_in(lines)) == [job, job]
