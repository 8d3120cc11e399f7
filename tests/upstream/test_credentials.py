"""Several credentials: whose turn it is, how many each may have, and what becomes of one that fares badly."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from app.db.engines.engine import Database, open_database
from app.generations import store
from app.generations.lifecycle import State
from app.upstream import credentials
from app.upstream.breaker import Condition
from app.upstream.client import Upstream
from app.upstream.credentials import NONEXISTENT_ID, Credential, Pool
from tests.contract.published import problem_of
from tests.harness import SUBMIT, FakeClock, World, open_world, settings_for, trying, until
from tests.sandbox.harness import Running
from tests.upstream.vendor import REFUSALS, Account, Vendor, vendor_with

pytestmark = pytest.mark.anyio

TRIAL = ("GET", NONEXISTENT_ID)


@pytest.fixture
def vendor() -> Iterator[Vendor]:
    with vendor_with("token-a", "token-b", "token-c") as served:
        yield served


@pytest.fixture
def pool() -> list[dict[str, Any]]:
    """The credentials; tests override it."""
    return [{"name": "a"}, {"name": "b"}]


@pytest.fixture
def world_settings(vendor: Vendor, pool: list[dict[str, Any]]) -> dict[str, Any]:
    chosen = [{"token": f"token-{one['name']}", **one} for one in pool]
    return {"upstream_base_url": vendor.url, "upstream_credentials": json.dumps(chosen)}


@pytest.fixture
async def world(world: World) -> World:
    """The world, with a live key."""
    await _with_live_key(world)
    return world


async def _with_live_key(world: World) -> None:
    world.client.headers["Authorization"] = f"Bearer {await world.another_key(mode='live')}"


@asynccontextmanager
async def _another_world(world: World, sandbox: Running) -> AsyncIterator[World]:
    """A second server with the same settings, and the first one's key."""
    async with open_world(world.gateway.settings, sandbox) as opened:
        opened.client.headers["Authorization"] = world.client.headers["Authorization"]
        yield opened


def _a(vendor: Vendor) -> Account:
    return vendor.accounts["token-a"]


def _b(vendor: Vendor) -> Account:
    return vendor.accounts["token-b"]


async def _rows(world: World) -> list[store.Generation]:
    return await world.gateway.db.read(store.page, world.tenant_id, limit=1000, mode="live")


async def _shares(world: World) -> dict[str, int]:
    return Counter(one.credential for one in await _rows(world))


def _condition(world: World, name: str) -> Condition:
    return world.gateway.pool.all[name].health.condition(world.clock.now_ms())


# --- whose turn it is


class TestShares:
    @pytest.fixture
    def pool(self) -> list[dict[str, Any]]:
        return [{"name": "a", "weight": 5}, {"name": "b", "weight": 2}, {"name": "c"}]

    async def test_submits_are_shared_by_weight_to_the_unit_and_evenly_in_time(
        self, world: World, vendor: Vendor
    ) -> None:
        for _ in range(3):
            before = await _shares(world)
            for _ in range(8):
                await world.submitted()
            after = await _shares(world)
            assert {one: after[one] - before.get(one, 0) for one in after} == {"a": 5, "b": 2, "c": 1}
        received = {token: len(one.bodies) for token, one in vendor.accounts.items()}
        assert received == {"token-a": 15, "token-b": 6, "token-c": 3}

    async def test_submits_at_once_are_shared_by_weight_as_well(self, world: World) -> None:
        await asyncio.gather(*(world.submitted() for _ in range(40)))
        assert await _shares(world) == {"a": 25, "b": 10, "c": 5}


async def test_credentials_of_one_weight_take_turns(world: World) -> None:
    by_weight = []
    for _ in range(6):
        generation = await world.gateway.following.tracker.find(await world.submitted(), world.tenant_id)
        assert generation is not None
        by_weight.append(generation.credential)
    assert by_weight in (["a", "b"] * 3, ["b", "a"] * 3)


# --- how many each may have


class TestConcurrency:
    @pytest.fixture
    def pool(self) -> list[dict[str, Any]]:
        return [
            {"name": "a", "concurrency": 7},
            {"name": "b", "concurrency": 4},
            {"name": "c", "concurrency": 1},
        ]

    def _assert_full(self, vendor: Vendor, answers: list[httpx2.Response]) -> None:
        accepted = [one for one in answers if one.status_code == 200]
        assert len(accepted) == 12
        for one in answers:
            if one.status_code != 200:
                assert problem_of(one, 503, "upstream_busy")["retry_after_s"] >= 1
        bodies = {token: len(one.bodies) for token, one in vendor.accounts.items()}
        assert bodies == {"token-a": 7, "token-b": 4, "token-c": 1}

    async def test_fifty_submits_at_once_fill_each_to_its_brim_and_no_further(
        self, world: World, vendor: Vendor
    ) -> None:
        answers = await asyncio.gather(*(world.submit() for _ in range(50)))
        self._assert_full(vendor, answers)
        assert await _shares(world) == {"a": 7, "b": 4, "c": 1}

    async def test_fifty_submits_of_ten_tenants_at_once_do_too(self, world: World, vendor: Vendor) -> None:
        names = [await world.another_key(tenant=f"tenant-{number}", mode="live") for number in range(10)]
        answers = await asyncio.gather(
            *(world.client.post(SUBMIT, json=world.body(), headers=world.with_key(key)) for key in names * 5)
        )
        self._assert_full(vendor, answers)

    async def test_a_place_is_free_again_when_a_job_is_over(self, world: World) -> None:
        made = [await world.submitted() for _ in range(12)]
        problem_of(await world.submit(), 503, "upstream_busy")
        ended = await world.gateway.following.tracker.find(made[0], world.tenant_id)
        assert ended is not None
        await world.client.post(f"/v1/requests/{made[0]}/cancel")
        again = await world.gateway.following.tracker.find(await world.submitted(), world.tenant_id)
        assert again is not None
        assert again.credential == ended.credential
        problem_of(await world.submit(), 503, "upstream_busy")


# --- one that is refused


def _refuse(vendor: Vendor, how: str) -> None:
    _a(vendor).submits = REFUSALS[how]


async def _submitted_until(world: World, condition: Callable[[], object]) -> None:
    """Submit until it was the turn of the one that is meant."""
    for _ in range(10):
        if condition():
            return
        await world.submitted()
    raise AssertionError("its turn never came")


async def _until_a_was_tried(world: World, vendor: Vendor) -> None:
    await _submitted_until(world, lambda: _a(vendor).bodies)


@pytest.mark.parametrize("how", REFUSALS)
async def test_what_one_credential_is_refused_is_sent_once_with_the_next_and_the_caller_sees_nothing_of_it(
    world: World, vendor: Vendor, how: str
) -> None:
    _refuse(vendor, how)
    await _until_a_was_tried(world, vendor)
    assert len(_a(vendor).bodies) == 1
    rows = await _rows(world)
    assert [one.credential for one in rows] == ["b"] * len(rows)
    assert len(_b(vendor).bodies) == len(_b(vendor).jobs) == len(rows)
    assert sorted(one.upstream_request_id or "" for one in rows) == sorted(_b(vendor).jobs)
    assert _a(vendor).bodies[0] in _b(vendor).bodies


class TestTwoOfThreeRefuse:
    @pytest.fixture
    def pool(self) -> list[dict[str, Any]]:
        return [{"name": "a", "weight": 9}, {"name": "b", "weight": 9}, {"name": "c"}]

    async def test_each_gets_one_body_at_most_of_a_submit_even_where_its_health_cannot_be_kept(
        self, world: World, vendor: Vendor, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fails(*_: Any, **__: Any) -> None:
            raise RuntimeError("the health of a credential")

        monkeypatch.setattr(Pool, "record_submit", fails)
        accounts = [vendor.accounts[f"token-{one}"] for one in "abc"]
        for account in accounts[:2]:
            account.submits = REFUSALS["402"]
        for sent in range(1, 4):
            await world.submitted()
            assert max(len(one.bodies) for one in accounts) <= sent
            assert len(accounts[2].bodies) == sent


@pytest.mark.parametrize("how", REFUSALS)
async def test_a_refused_credential_is_left_alone_and_the_others_take_its_share(
    world: World, vendor: Vendor, how: str
) -> None:
    _refuse(vendor, how)
    await _until_a_was_tried(world, vendor)
    assert _condition(world, "a") is Condition.OPEN
    before = len(_b(vendor).bodies)
    for _ in range(6):
        await world.submitted()
    assert (len(_a(vendor).bodies), len(_b(vendor).bodies) - before) == (1, 6)


async def test_a_retry_after_is_the_pause(world: World, vendor: Vendor) -> None:
    _refuse(vendor, "429")
    await _until_a_was_tried(world, vendor)
    assert world.gateway.pool.all["a"].health.until_ms == world.clock.now_ms() + 60_000


async def test_what_may_have_made_a_job_is_never_sent_with_another(world: World, vendor: Vendor) -> None:
    for account in vendor.accounts.values():
        account.submits = (500, {}, {"message": "oops"})
    for sent in range(1, 4):
        problem_of(await world.submit(), 504, "outcome_unknown")
        assert vendor.bodies == sent


async def test_what_no_credential_can_mend_is_not_sent_with_another(world: World, vendor: Vendor) -> None:
    for account in vendor.accounts.values():
        account.submits = (422, {}, {"detail": [{"loc": ["body", "prompt"], "msg": "no", "type": "value"}]})
    for sent in range(1, 4):
        problem_of(await world.submit(), 422, "upstream_rejected")
        assert vendor.bodies == sent
    assert {_condition(world, one) for one in "ab"} == {Condition.CLOSED}


class TestNoRoomElsewhere:
    @pytest.fixture
    def pool(self) -> list[dict[str, Any]]:
        return [{"name": "a"}, {"name": "b", "concurrency": 1}]

    async def test_what_is_refused_is_not_sent_with_one_that_is_full(
        self, world: World, vendor: Vendor
    ) -> None:
        await _submitted_until(world, lambda: _b(vendor).jobs)
        _refuse(vendor, "402")
        problem_of(await world.submit(), 503, "upstream_credential_refused")
        assert len(_b(vendor).bodies) == 1


# --- all of them


async def test_while_all_are_left_alone_nothing_is_recorded_or_sent_and_callers_are_told_when(
    world: World, vendor: Vendor
) -> None:
    codes = {"402": "upstream_credential_refused", "429": "upstream_busy"}
    for how, code in codes.items():
        for account in vendor.accounts.values():
            account.submits = REFUSALS[how]
        problem_of(await world.submit(), 503, code)
        rows, bodies = await _rows(world), vendor.bodies
        assert {_condition(world, one) for one in "ab"} == {Condition.OPEN}
        for _ in range(5):
            answer = await world.submit()
            problem = problem_of(answer, 503, code)
            assert "request_id" not in problem
            assert int(answer.headers["retry-after"]) == problem["retry_after_s"] >= 5
        assert (await _rows(world), vendor.bodies) == (rows, bodies)
        for account in vendor.accounts.values():
            account.submits = None
        await trying(world, lambda: {_condition(world, one) for one in "ab"} == {Condition.CLOSED})
    await world.submitted()


async def test_what_was_accepted_before_is_answered_again_also_while_all_are_left_alone(
    world: World, vendor: Vendor
) -> None:
    body, headers = world.body(), {"Idempotency-Key": "k"}
    first = await world.client.post(SUBMIT, json=body, headers=headers)
    for account in vendor.accounts.values():
        account.submits = REFUSALS["402"]
    problem_of(await world.submit(), 503, "upstream_credential_refused")
    again = await world.client.post(SUBMIT, json=body, headers=headers)
    assert (again.status_code, again.json()) == (200, first.json())


# --- the trial


@pytest.mark.parametrize("how", REFUSALS)
async def test_only_a_look_that_costs_nothing_brings_one_back(world: World, vendor: Vendor, how: str) -> None:
    _refuse(vendor, how)
    await _until_a_was_tried(world, vendor)
    until_ms = world.gateway.pool.all["a"].health.until_ms
    _a(vendor).submits = None
    world.clock.advance((until_ms - world.clock.now_ms()) / 1000 - 0.001)
    for _ in range(3):
        await world.submitted()
    assert (len(_a(vendor).bodies), _a(vendor).calls.count(TRIAL)) == (1, 0)
    world.clock.advance(0.001)
    assert _condition(world, "a") is Condition.HALF_OPEN
    for _ in range(3):
        await world.submitted()
    assert len(_a(vendor).bodies) == 1, "no submit is the trial"
    await trying(world, lambda: _condition(world, "a") is Condition.CLOSED)
    assert _a(vendor).calls == [("POST", ""), TRIAL]
    for _ in range(4):
        await world.submitted()
    assert len(_a(vendor).bodies) == 3, "its share is what it was"


@pytest.mark.parametrize(
    "trial",
    [REFUSALS["401"], (500, {}, {"message": "oops"}), (200, {}, "<html>Welcome</html>"), (200, {}, {})],
    ids=["401", "500", "a page", "nothing"],
)
async def test_a_trial_that_fails_makes_the_pause_longer_each_time(
    world: World, vendor: Vendor, trial: Any
) -> None:
    """Also where somebody else answers in RunComfy's place: he is not asked every second."""
    _refuse(vendor, "402")
    _a(vendor).looks = trial
    await _until_a_was_tried(world, vendor)
    pauses_ms = []
    for tries in range(1, 5):
        await trying(world, lambda tries=tries: _a(vendor).calls.count(TRIAL) >= tries)  # type: ignore[misc]
        await until(lambda: _condition(world, "a") is Condition.OPEN)
        pauses_ms.append(world.gateway.pool.all["a"].health.until_ms - world.clock.now_ms())
        assert _a(vendor).calls.count(TRIAL) == tries
    for pause_ms, max_gap_ms in zip(pauses_ms, (10_000, 20_000, 40_000, 80_000), strict=True):
        assert max_gap_ms / 2 < pause_ms <= max_gap_ms
    assert len(_a(vendor).bodies) == 1


async def test_one_that_passes_its_trial_and_is_refused_again_pauses_for_longer(
    world: World, vendor: Vendor
) -> None:
    """No balance: a look tells nothing of that, so a submit is tried, seldom and ever more seldom."""
    _refuse(vendor, "402")
    for tries, pause_s in enumerate((5, 10, 20, 40), start=1):
        await _submitted_until(world, lambda tries=tries: len(_a(vendor).bodies) >= tries)  # type: ignore[misc]
        assert world.gateway.pool.all["a"].health.until_ms == world.clock.now_ms() + pause_s * 1000
        await trying(world, lambda: _condition(world, "a") is Condition.CLOSED)
    _a(vendor).submits = None
    await _submitted_until(world, lambda: _a(vendor).jobs)
    assert world.gateway.pool.all["a"].health.openings == 0


# --- whose a generation is


async def test_a_generation_is_looked_at_and_cancelled_with_the_credential_that_made_it(
    world: World, vendor: Vendor
) -> None:
    made = [await world.submitted() for _ in range(6)]
    pollers = [one for one in world.gateway.following.pollers if one.credential.mode == "live"]
    for _ in range(5):
        world.clock.advance(2)
        for poller in pollers:
            await poller.run_once()
        await until(lambda: not any(one.under_way for one in pollers))
        for request_id in made:
            await world.get(f"/v1/requests/{request_id}/status")
    for request_id in made:
        await world.client.post(f"/v1/requests/{request_id}/cancel")
    for account in (_a(vendor), _b(vendor)):
        assert len(account.jobs) == 3
        assert {one for _, one in account.calls} == {"", *account.jobs}
        assert all(account.looks_at(one) >= 5 for one in account.jobs)
    assert {one.state for one in await _rows(world)} == {State.CANCELLED}


async def test_a_paused_credential_is_not_looked_with_only_where_looks_are_refused_too(
    world: World, vendor: Vendor
) -> None:
    for how, stale in (("402", None), ("401", "upstream_paused")):
        _refuse(vendor, how)
        await trying(world, lambda: _condition(world, "a") is Condition.CLOSED)
        _a(vendor).submits = None
        jobs = len(_a(vendor).jobs)
        await _submitted_until(world, lambda jobs=jobs: len(_a(vendor).jobs) > jobs)  # type: ignore[misc]
        [request_id] = [
            one.id for one in await _rows(world) if one.upstream_request_id == _a(vendor).jobs[-1]
        ]
        _refuse(vendor, how)
        tried = len(_a(vendor).bodies)
        await _submitted_until(world, lambda tried=tried: len(_a(vendor).bodies) > tried)  # type: ignore[misc]
        world.clock.advance(2)
        looked = _a(vendor).looks_at(_a(vendor).jobs[-1])
        answer = await world.client.get(f"/v1/requests/{request_id}/status")
        assert answer.headers.get("reelgate-stale") == stale
        assert _a(vendor).looks_at(_a(vendor).jobs[-1]) == looked + (stale is None)


async def test_a_look_that_is_told_to_come_back_later_does(world: World, vendor: Vendor) -> None:
    request_id = await world.submitted()
    [owner] = [one for one in vendor.accounts.values() if one.jobs]
    owner.looks = (503, {"retry-after": "120"}, {"message": "later"})
    world.clock.advance(2)
    await world.get(f"/v1/requests/{request_id}/status")
    [row] = await _rows(world)
    assert row.next_poll_at_ms == world.clock.now_ms() + 120_000
    assert row.stale_reason == "upstream_unusable"


# --- what is kept


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
async def test_what_one_server_learnt_a_server_that_starts_later_knows(
    world: World, vendor: Vendor, sandbox: Running
) -> None:
    _refuse(vendor, "429")
    await _until_a_was_tried(world, vendor)
    until_ms = world.gateway.pool.all["a"].health.until_ms
    await world.gateway.pool.run_once(world.gateway.db)
    async with _another_world(world, sandbox) as other:
        assert other.gateway.pool.all["a"].health.until_ms == until_ms
        assert other.gateway.pool.all["b"].health.may_submit
        for _ in range(4):
            await other.submitted()
        assert len(_a(vendor).bodies) == 1


async def test_a_pause_outlives_a_restart(
    database_url: str, tmp_path: Path, sandbox: Running, vendor: Vendor, world_settings: dict[str, Any]
) -> None:
    settings = settings_for(database_url, tmp_path, sandbox.options.public_url, **world_settings)
    async with open_world(settings, sandbox) as one:
        await _with_live_key(one)
        _refuse(vendor, "429")
        await _until_a_was_tried(one, vendor)
        health = one.gateway.pool.all["a"].health
        await one.gateway.pool.run_once(one.gateway.db)
    async with open_world(settings, sandbox) as other:
        assert other.gateway.pool.all["a"].health == health
        assert other.gateway.pool.all["b"].health.may_submit


async def test_servers_that_start_at_once_with_a_new_credential_both_start(
    db: Database, database_url: str
) -> None:
    opened = [open_database(database_url) for _ in range(4)]
    clock = FakeClock()
    async with Upstream(base_url="http://x", token="t", read_deadline_s=1) as upstream:
        pools = [Pool(clock, [Credential(f"c-{at}", "live", upstream) for at in range(5)]) for _ in opened]
        await asyncio.gather(*(pool.begin(one) for pool, one in zip(pools, opened, strict=True)))
    assert set(await db.read(credentials.stored)) == {f"c-{at}" for at in range(5)}
    for one in opened:
        await one.close()
