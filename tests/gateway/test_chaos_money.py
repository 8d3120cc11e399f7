"""Every fault of the upstream's, through the whole gateway: the caller's answer, the row and the money."""

from collections.abc import Iterable
from pathlib import Path

import pytest
from sqlalchemy import Connection, update

from app.admin.verifying.verify import verify
from app.db.schema.tables import generations
from app.generations import store
from app.quotas.account import Owner
from app.quotas.balances.ledger import Charge, Kind, add, entries
from app.quotas.limits import Scope
from app.upstream.outcomes import Verdict
from tests.chaos import Behaviour, Chaos, answer, chaos, job, response
from tests.gateway.test_chaos_gateway import RESULTS, submitted, world_at
from tests.harness import World
from tests.upstream.test_chaos import COMPLETE, EARLY, HANGING, UNKNOWN

pytestmark = pytest.mark.anyio

PRICE = 150_000
PAID_IN = 1_000 * PRICE
TOLD = {
    Verdict.ACCEPTED: ({200}, {"in_queue"}, Charge.HELD),
    Verdict.REJECTED_INPUT: ({422}, {"rejected"}, Charge.REFUNDED),
    Verdict.REJECTED_CREDENTIAL: ({503}, {"rejected"}, Charge.REFUNDED),
    Verdict.REJECTED_UNSERVED: ({502}, {"rejected"}, Charge.REFUNDED),
    Verdict.BUSY: ({503}, {"rejected"}, Charge.REFUNDED),
    Verdict.NOT_SENT: ({503}, {"rejected"}, Charge.REFUNDED),
    Verdict.UNKNOWN: ({504}, {"unknown"}, Charge.HELD),
}


async def _prepay(world: World) -> None:
    owner = Owner(world.tenant_id, "test")
    await world.gateway.db.write(add, owner, Scope(), Kind.TOP_UP, PAID_IN, now_ms=world.clock.now_ms())


async def _balance(world: World) -> int:
    (limit,) = [one for one in (await world.get("/v1/quota"))["limits"] if one["metric"] == "credits-total"]
    remaining = limit["remaining"]
    assert isinstance(remaining, int)
    return remaining


async def _submit_to_each(
    world: World, upstream: Chaos, faults: Iterable[tuple[str, Behaviour, set[Verdict]]]
) -> None:
    """A submit to each fault, whose answer, row, entries and balance are what its verdict says."""
    for name, behaviour, verdicts in faults:
        upstream.behaviours = [behaviour]
        before, received = await _balance(world), len(upstream.bodies)
        async with world.clock.flowing():
            outcome = await submitted(world, upstream, hanging=name in HANGING)
        body = outcome.json()
        row = await world.gateway.db.read(store.find, body["request_id"], None)
        assert row is not None, name
        kinds = [one.kind for one in await world.gateway.db.read(entries, generation_id=row.id, limit=9)]
        held = row.charge is Charge.HELD
        assert any(
            outcome.status_code in statuses and row.state in states and row.charge is charge
            for statuses, states, charge in (TOLD[verdict] for verdict in verdicts)
        ), (name, outcome.status_code, row.state, row.charge)
        assert kinds == ([Kind.HOLD] if held else [Kind.REFUND, Kind.HOLD]), name
        assert await _balance(world) == before - (PRICE if held else 0), name
        if Verdict.BUSY not in verdicts:
            assert len(upstream.bodies) - received <= 1, name
        if row.upstream_request_id is not None:  # the next fault's job has the same id
            await world.gateway.db.write(_rename, row.id)
    assert (await world.gateway.db.snapshot(verify)).findings == []


def _rename(connection: Connection, generation_id: str) -> None:
    renamed = update(generations).where(generations.c.id == generation_id)
    connection.execute(renamed.values(upstream_request_id=generation_id))


FAULTS = {
    "unknown": [(name, behaviour, {Verdict.UNKNOWN}) for name, behaviour in UNKNOWN.items()],
    "hanging": [(name, behaviour, {Verdict.UNKNOWN}) for name, behaviour in HANGING.items()],
    "complete": [(name, behaviour, {verdict}) for name, (behaviour, verdict) in COMPLETE.items()],
    "early": [(name, behaviour, {Verdict.UNKNOWN, Verdict.NOT_SENT}) for name, behaviour in EARLY.items()],
}


@pytest.mark.parametrize("kind", FAULTS)
async def test_a_submit_costs_what_its_fault_proves(kind: str, database_url: str, tmp_path: Path) -> None:
    """Given back where there is provably no job, and held where there may be one."""
    faults = FAULTS[kind]
    async with (
        chaos(answer(b"")) as upstream,
        world_at(upstream.url, database_url, tmp_path) as world,
    ):
        await _prepay(world)
        await _submit_to_each(world, upstream, faults)
        # What stays unknown is refunded in the end, and the balance is what it was but for the live jobs.
        world.clock.advance(100_000)
        await world.gateway.upkeep.rescuer.run_once()
        report = await world.gateway.db.snapshot(verify)
        assert report.findings == []
        accepted = sum(verdicts == {Verdict.ACCEPTED} for _, _, verdicts in faults)
        assert await _balance(world) == PAID_IN - accepted * PRICE
        assert (report.held_microcredits, report.spent_microcredits) == (accepted * PRICE, 0)


@pytest.mark.parametrize(
    ("last", "charge"),
    [
        (job(response(200, {"status": "succeeded", "output": {"video": "https://x/y.mp4"}})), Charge.SETTLED),
        (job(response(200, {"status": "failed", "error": "x"})), Charge.REFUNDED),
        (job(b"", status="cancelled"), Charge.REFUNDED),
        (answer(response(404, {"error_code": 404001})), Charge.REFUNDED),
    ],
    ids=["succeeded", "failed", "cancelled", "gone"],
)
async def test_a_look_that_proves_nothing_moves_no_money_and_the_end_moves_it_once(
    last: Behaviour, charge: Charge, database_url: str, tmp_path: Path
) -> None:
    async with (
        chaos(job(b"")) as upstream,
        world_at(upstream.url, database_url, tmp_path, missing_grace_s=1) as world,
    ):
        await _prepay(world)
        request_id = await world.submitted()
        for word in ("in_progress", "in_queue", "completed"):  # also backwards, and finished without a result
            for result in RESULTS.values():
                upstream.behaviours = [job(result, status=word)]
                await world.result(request_id)
        assert (await world.record(request_id))["charge"] == Charge.HELD
        assert await _balance(world) == PAID_IN - PRICE
        upstream.behaviours = [last]
        for _ in range(3):
            await world.status(request_id)
            await world.client.post(f"/v1/requests/{request_id}/cancel")
        assert (await world.record(request_id))["charge"] == charge
        assert await _balance(world) == PAID_IN - (PRICE if charge is Charge.SETTLED else 0)
        assert (await world.gateway.db.snapshot(verify)).findings == []
