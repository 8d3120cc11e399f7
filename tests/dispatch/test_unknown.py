"""The unknown has an end: late evidence, an operator's word, or the policy's clock."""

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest

from app.admin.actor import Actor
from app.admin.running import requests
from app.db.engines.engine import Database
from app.errors import DATABASE_UNAVAILABLE, Problem
from app.generations.dispatch import dispatcher as dispatching
from app.generations.dispatch.spool import Spool
from tests.harness import SUBMIT, World, open_world, settings_for
from tests.loops import skipped
from tests.sandbox.harness import Running
from tests.shared import PATIENT_S

pytestmark = pytest.mark.anyio
ACTOR = Actor("command", "tests")
DAY_S = 86_400

NOBODYS = "00000000-0000-4000-8000-000000000000"


async def unknown(world: World) -> str:
    answer = await world.submit("html,canned")
    assert answer.status_code == 504
    request_id = answer.json()["request_id"]
    assert isinstance(request_id, str)
    return request_id


class TestPolicy:
    async def test_after_a_day_an_unknown_job_is_lost_and_not_before(self, world: World) -> None:
        request_id = await unknown(world)
        world.clock.advance(DAY_S - 60)  # reading the record moves the clock, and the loop with it
        await world.gateway.upkeep.rescuer.run_once()
        assert (await world.record(request_id))["state"] == "unknown"
        world.clock.advance(120)
        await world.gateway.upkeep.rescuer.run_once()
        record = await world.record(request_id)
        assert (record["state"], record["error"]["code"]) == ("lost", "lost")
        assert [event["reason"] for event in record["events"]][-1] == "unknown_for_too_long"
        assert (await world.result(request_id))["status"] == "failed"
        assert len(world.received()) == 1

    @pytest.mark.parametrize("world_settings", [{"follow_for_s": 31 * DAY_S}])
    async def test_what_is_known_is_not_closed_by_it(self, world: World) -> None:
        request_id = await world.submitted("queued")
        world.clock.advance(30 * DAY_S)
        await world.gateway.upkeep.rescuer.run_once()
        assert (await world.record(request_id))["state"] == "in_queue"


class TestAttach:
    async def test_an_id_that_the_upstream_knows_brings_the_job_back(self, world: World) -> None:
        request_id = await unknown(world)
        upstream_id = world.received()[0]["request_id"]
        await requests.resolve(world.gateway, ACTOR, request_id, upstream_request_id=upstream_id)
        assert (await world.finish(request_id))["status"] == "succeeded"

    async def test_an_id_that_it_does_not_know_changes_nothing(self, world: World) -> None:
        request_id = await unknown(world)
        with pytest.raises(Problem, match="does not know"):
            await requests.resolve(
                world.gateway, ACTOR, request_id, upstream_request_id="00000000-0000-4000-8000-000000000000"
            )
        assert (await world.record(request_id))["state"] == "unknown"

    async def test_an_id_of_another_request_changes_nothing(self, world: World) -> None:
        await world.submitted("queued")
        taken = world.received()[0]["request_id"]
        request_id = await unknown(world)
        with pytest.raises(Problem, match="belongs to another"):
            await requests.resolve(world.gateway, ACTOR, request_id, upstream_request_id=taken)
        assert (await world.record(request_id))["state"] == "unknown"

    async def test_only_the_unknown_can_be_resolved(self, world: World) -> None:
        request_id = await world.submitted("queued")
        for attempt in (
            requests.resolve(world.gateway, ACTOR, request_id, upstream_request_id="x"),
            requests.resolve(world.gateway, ACTOR, request_id, charged=True),
            requests.resolve(world.gateway, ACTOR, "no-such-request", charged=True),
        ):
            with pytest.raises(Problem, match=r"not_unknown|request_not_found"):
                await attempt


@pytest.mark.parametrize("charged", [True, False])
async def test_an_operator_can_close_it(world: World, charged: bool) -> None:
    request_id = await unknown(world)
    await requests.resolve(world.gateway, ACTOR, request_id, charged=charged)
    record = await world.record(request_id)
    assert record["state"] == "lost"
    expected = "resolved_charged" if charged else "resolved_not_charged"
    assert record["events"][-1]["reason"] == expected


async def test_an_answer_that_no_database_took_is_attached_at_the_next_start(
    database_url: str, tmp_path: Path, sandbox: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tx 2 fails for as long as the process lives; the spool has the id."""
    settings = settings_for(database_url, tmp_path, sandbox.options.public_url)
    tried = []

    def never(*_: Any, **__: Any) -> None:
        tried.append(1)
        raise Problem(DATABASE_UNAVAILABLE, "away")

    with monkeypatch.context() as patched:
        patched.setattr(dispatching, "record_outcome", never)
        async with open_world(settings, sandbox) as world:
            answer = await skipped(world.submit("canned"), 2 * PATIENT_S, once=lambda: tried)
            assert answer.status_code == 504
            request_id, key, mark = answer.json()["request_id"], world.key, world.marks[-1]
            await world.gateway.tasks.drain(0)
    async with open_world(settings, sandbox) as again:
        headers = again.with_key(key)
        record = (await again.client.get(f"/v1/requests/{request_id}", headers=headers)).json()
        assert record["state"] == "in_queue"
        assert [event["reason"] for event in record["events"]] == ["submitted", "replayed_from_spool"]
        assert len(again.received(mark)) == 1
        assert not (tmp_path / "spool.jsonl").exists()


async def test_a_line_that_a_crash_cut_does_not_stop_a_start(world: World, tmp_path: Path) -> None:
    request_id = await unknown(world)
    upstream_id = world.received()[0]["request_id"]
    spool = Spool(tmp_path / "other.jsonl")
    spool.append("no-such-generation", "x")
    with spool.path.open("ab") as file:
        file.write(b'{"generation": "cut \xff')
    spool.append(request_id, upstream_id)
    assert await spool.replay(world.gateway.db, world.clock) == 1
    assert (await world.record(request_id))["state"] in {"in_queue", "in_progress"}
    assert await spool.replay(world.gateway.db, world.clock) == 0
    rejected = (tmp_path / "other.rejected.jsonl").read_text()
    assert "no-such-generation" in rejected
    assert request_id not in rejected


async def test_a_commit_that_was_never_heard_of_leaves_no_job_and_no_key_behind(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database took tx 1 and its answer was lost: nothing was sent, and the row must come to say so."""
    write = Database.write_together

    async def deaf(self: Database, tenant_id: str, function: Any, *args: Any, **kwargs: Any) -> Any:
        result = await write(self, tenant_id, function, *args, **kwargs)
        if function.__name__ == "_decide":
            raise Problem(DATABASE_UNAVAILABLE, "no answer")
        return result

    body = world.body("canned")
    with monkeypatch.context() as patched:
        patched.setattr(Database, "write_together", deaf)
        answer = await world.client.post(SUBMIT, json=body, headers={"Idempotency-Key": "k"})
        assert (answer.status_code, answer.json()["retryable"]) == (503, True)
        for _ in range(500):
            (row,) = (await world.get("/v1/requests"))["requests"]
            if row["state"] == "rejected":
                break
            await asyncio.sleep(0.01)
    assert row["state"] == "rejected"
    assert world.received() == []
    again = await world.client.post(SUBMIT, json=body, headers={"Idempotency-Key": "k"})
    assert again.status_code == 200
    assert len(world.received()) == 1


def test_a_line_is_kept_where_a_successor_takes_the_spool_while_it_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = Spool(tmp_path / "spool.jsonl")
    write = os.write

    def write_too_late(descriptor: int, line: bytes) -> int:
        monkeypatch.setattr(os, "write", write)
        (taken,) = spool._claim()
        taken.unlink()  # all that it had is replayed
        return write(descriptor, line)

    monkeypatch.setattr(os, "write", write_too_late)
    spool.append("a-generation", "its-job")
    assert "its-job" in spool.path.read_text()


async def test_a_stop_in_the_middle_of_tx_2_leaves_the_id_in_the_spool(
    database_url: str, tmp_path: Path, sandbox: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_for(database_url, tmp_path, sandbox.options.public_url)
    write = Database.write_together
    tried = []

    async def hanging(self: Database, tenant_id: str, function: Any, *args: Any, **kwargs: Any) -> Any:
        if function is dispatching.record_outcome:
            tried.append(1)
            await asyncio.Event().wait()
        return await write(self, tenant_id, function, *args, **kwargs)

    async with open_world(settings, sandbox) as world:
        with monkeypatch.context() as patched:
            patched.setattr(Database, "write_together", hanging)
            answer = await skipped(world.submit("canned"), 2 * PATIENT_S, once=lambda: tried)
            assert answer.status_code == 504
            assert await world.gateway.tasks.drain(0) >= 1
        (received,) = world.received()
    assert received["request_id"] in (tmp_path / "spool.jsonl").read_text()
