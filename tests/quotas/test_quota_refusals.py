"""A submit that a quota refuses: exact, told in full, and without a trace anywhere."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, select

from app.auth import keys, tenants
from app.db.schema.tables import quota_usage
from app.errors import Problem
from app.quotas.account import Owner, zone_of
from app.quotas.balances import ledger
from app.quotas.balances.ledger import Kind
from app.quotas.limits import Scope
from tests.contract.published import problem_of
from tests.harness import PEPPER, World
from tests.quotas.accounts import (
    AUDIO,
    EXCEEDED,
    EXHAUSTED,
    IANA,
    OF_SUBMITS,
    PRICE,
    ROOM_FOR_TWO,
    SECONDS,
    TO_MIDNIGHT_S,
    accepted,
    everything,
    kid_of,
    limited,
    policies,
    quota,
    refused,
    submit,
)
from tests.sandbox.harness import DREAMINA, TOKEN, Running

pytestmark = pytest.mark.anyio


@pytest.fixture
def world_settings() -> dict[str, Any]:
    return {"catalog_dir": Path(__file__).parents[1] / "data" / "models", "reads_per_minute": 0}


# --- each metric of each holder


@pytest.mark.parametrize("holder", ["tenant", "key", "tenant-model", "key-model"])
@pytest.mark.parametrize("text", ROOM_FOR_TWO)
async def test_what_fits_passes_and_the_next_leaves_no_trace(world: World, text: str, holder: str) -> None:
    code, wait_s = ROOM_FOR_TWO[text]
    kid = kid_of(world.key)
    of = {"tenant": Scope(), "key": Scope(kid), "tenant-model": Scope("", DREAMINA)}
    scope = of.get(holder, Scope(kid, DREAMINA))
    policy = f"{holder}-{text.partition('=')[0]}"
    roomy = (Scope(), Scope(kid), Scope("", DREAMINA), Scope(kid, DREAMINA))
    await limited(world, *(f"{metric}=900" for metric in OF_SUBMITS), scopes=roomy)
    await limited(world, text, scopes=(scope,))
    for retry_after in (None, wait_s):  # the second success says when another may come
        answer = await submit(world)
        assert answer.status_code == 200, answer.text
        assert answer.headers.get("retry-after") == (None if retry_after is None else str(retry_after))
    before = await everything(world)

    answer = await submit(world)
    problem = problem_of(answer, 429, code)
    assert await everything(world) == before
    assert world.received() == []
    assert (problem["type"], problem["violated-policies"]) == (IANA, [policy])
    assert f"`{policy}`" in problem["detail"]
    assert problem.get("retry_after_s") == wait_s
    (limit,) = problem["limits"]
    wanted = {"microcredits": PRICE, "output-seconds": SECONDS}
    assert limit.pop("wanted") == wanted.get(limit["unit"], 1)
    assert limit in before[0]["limits"]
    headers = policies(answer)
    assert len(headers) == 4 * len(OF_SUBMITS)
    assert headers[policy]["r"] == 0
    assert headers[policy].get("t") == (None if text.startswith("in-flight") else wait_s)

    await accepted(world, await world.another_key(tenant="a neighbour"))
    assert (await submit(world, await world.another_key())).is_success is ("key" in holder)
    audio = await world.client.post(f"/v1/models/{AUDIO}", json={"prompt": "[sandbox:queued]"})
    assert audio.is_success is ("model" in holder)


@pytest.mark.parametrize("text", [text for text in ROOM_FOR_TWO if "in-flight" not in text])
async def test_it_passes_after_retry_after_and_not_a_second_earlier(world: World, text: str) -> None:
    code, wait_s = ROOM_FOR_TWO[text]
    await limited(world, text)
    await accepted(world)
    world.clock.advance(0.25)
    await accepted(world)
    assert (await refused(world, code)).get("retry_after_s") == wait_s
    if wait_s is None:
        world.clock.advance(400 * 86_400)
        await refused(world, EXHAUSTED)
        return
    world.clock.advance(wait_s - 1)
    assert (await refused(world, EXCEEDED))["retry_after_s"] == 1
    world.clock.advance(1)
    await accepted(world)


async def test_of_several_limits_all_are_named_and_the_longest_wait_counts(world: World) -> None:
    await limited(world, "submits-minute=1", "in-flight=1", "generations-day=1", "credits-month=100")
    await accepted(world)
    problem = await refused(world, EXCEEDED)
    names = ["tenant-submits-minute", "tenant-in-flight", "tenant-generations-day"]
    assert problem["violated-policies"] == [limit["policy"] for limit in problem["limits"]] == names
    assert problem["retry_after_s"] == TO_MIDNIGHT_S
    assert "`tenant-generations-day`" in problem["detail"]
    await limited(world, "credits-total=0.15")
    problem = await refused(world, EXHAUSTED)
    assert problem["violated-policies"] == [*names, "tenant-credits-total"]
    assert "retry_after_s" not in problem


@pytest.mark.parametrize("text", [*(f"{metric}=0" for metric in OF_SUBMITS), "credits-day=0.149999"])
async def test_what_can_never_fit_is_not_told_to_wait(world: World, text: str) -> None:
    await limited(world, text)
    assert "retry_after_s" not in await refused(world, EXHAUSTED)


# --- windows and refunds


@pytest.mark.parametrize(
    ("window", "period", "next_period", "ends"),
    [
        ("day", "2026-09-21", "2026-09-22", datetime(2026, 9, 21, 22, tzinfo=UTC)),
        ("month", "2026-09", "2026-10", datetime(2026, 9, 30, 22, tzinfo=UTC)),
    ],
)
async def test_a_window_ends_at_the_tenants_own_midnight(
    world: World, *, window: str, period: str, next_period: str, ends: datetime
) -> None:
    await world.gateway.db.write(tenants.set_time_zone, world.tenant_id, "Europe/Berlin", now_ms=0)
    await limited(world, f"generations-{window}=1")
    world.clock.advance(ends.timestamp() - world.clock.now_ms() / 1000 - 1)
    await accepted(world)
    problem = await refused(world, EXCEEDED)
    assert problem["retry_after_s"] == 1
    (limit,) = problem["limits"]
    assert limit["period"] == period
    assert limit["resets_at"] == f"{ends:%Y-%m-%dT%H:%M:%S}.000Z"
    world.clock.advance(1)
    await accepted(world)
    document = await quota(world)
    assert document["time_zone"] == "Europe/Berlin"
    assert [one["held"] for one in document["limits"] if one["period"] == next_period] == [1]


async def test_what_comes_back_makes_room_in_the_day_of_its_submit_alone(world: World) -> None:
    await limited(world, "generations-day=1")
    yesterdays = await accepted(world)
    world.clock.advance(TO_MIDNIGHT_S)
    todays = await accepted(world)
    await world.client.post(f"/v1/requests/{yesterdays}/cancel")
    await refused(world, EXCEEDED)

    def held(connection: Connection) -> dict[str, int]:
        query = select(quota_usage).where(
            quota_usage.c.tenant_id == world.tenant_id, quota_usage.c.kid == "", quota_usage.c.model_id == ""
        )
        return {row.period: row.held_generations for row in connection.execute(query)}

    assert await world.gateway.db.read(held) == {"2026-09-21": 0, "2026-09-22": 1, "2026-09": 1, "total": 1}
    await world.client.post(f"/v1/requests/{todays}/cancel")
    await accepted(world)


async def test_a_place_in_flight_is_free_again_with_every_end(world: World) -> None:
    await limited(world, "in-flight=1")
    for directive in ("canned", "fail", "queued"):
        request_id = await world.submitted(directive)
        await refused(world, EXCEEDED)
        if directive == "queued":
            await world.client.post(f"/v1/requests/{request_id}/cancel")
        else:
            await world.finish(request_id)
    problem_of(await world.submit("reject=422"), 422, "upstream_rejected")
    await accepted(world)


async def test_the_unknown_keep_their_place_for_a_while(world: World) -> None:
    await limited(world, "in-flight=1")
    problem_of(await world.submit("html,canned"), 504, "outcome_unknown")
    world.clock.advance(900)
    await refused(world, EXCEEDED)
    world.clock.advance(1)
    await accepted(world)


# --- accounts


async def test_a_top_up_makes_room_and_counts_once(world: World) -> None:
    async def top_up(microcredits: int, reference: str) -> bool:
        owner, now_ms = Owner(world.tenant_id, "test"), world.clock.now_ms()
        return await world.gateway.db.write(
            ledger.add, owner, Scope(), Kind.TOP_UP, microcredits, now_ms=now_ms, reference=reference
        )

    assert await top_up(PRICE, "invoice 1")
    await accepted(world)
    await refused(world, EXHAUSTED)
    assert not await top_up(PRICE, "invoice 1")
    with pytest.raises(Problem, match="reference_conflict"):
        await top_up(2 * PRICE, "invoice 1")
    await refused(world, EXHAUSTED)
    assert await top_up(PRICE, "invoice 2")
    await accepted(world)
    (limit,) = (await refused(world, EXHAUSTED))["limits"]
    assert (limit["limit"], limit["held"], limit["remaining"]) == (2 * PRICE, 2 * PRICE, 0)


class TestModes:
    @pytest.fixture
    def world_settings(self, live_sandbox: Running) -> dict[str, Any]:
        return {"upstream_base_url": live_sandbox.options.public_url, "upstream_token": TOKEN}

    async def test_test_keys_never_spend_what_live_keys_may_nor_the_other_way(self, world: World) -> None:
        live = await world.another_key(mode="live")
        await limited(world, "generations-total=1")
        await limited(world, "generations-total=2", mode="live")
        for key, room in ((world.key, 1), (live, 2)):
            for _ in range(room):
                await accepted(world, key)
            await refused(world, EXHAUSTED, key)
            total = [row for row in (await quota(world, key))["usage"] if row["period"] == "total"]
            assert {row["held_generations"] for row in total} == {room}


async def test_a_rotation_refills_nothing_and_its_keys_share_what_is_left(world: World) -> None:
    kid = kid_of(world.key)
    await limited(world, "generations-total=3", scopes=(Scope(kid),))
    line = [world.key]
    for _ in range(2):
        await accepted(world, line[-1])
        _, key, _ = await world.gateway.db.write(
            keys.rotate, kid_of(line[-1]), overlap_ms=3_600_000, pepper=PEPPER, now_ms=world.clock.now_ms()
        )
        line.append(key)
    await accepted(world, line[0])
    for key in line:
        await refused(world, EXHAUSTED, key)
        assert (await quota(world, key))["kid"] == kid


class TestDefaults:
    @pytest.fixture
    def world_settings(self) -> dict[str, Any]:
        return {"default_limits": ["generations-total=1", "in-flight=5"]}

    async def test_a_limit_of_its_own_replaces_a_default_and_none_lifts_it(self, world: World) -> None:
        neighbour = await world.another_key(tenant="a neighbour")
        for key in (world.key, neighbour):
            await accepted(world, key)
            await refused(world, EXHAUSTED, key)
        await limited(world, "generations-total=2")
        await accepted(world)
        await refused(world, EXHAUSTED)
        await limited(world, "generations-total=none")
        for _ in range(3):
            await accepted(world)
        assert (await refused(world, EXCEEDED))["violated-policies"] == ["tenant-in-flight"]
        await refused(world, EXHAUSTED, neighbour)


async def test_a_refusal_of_generations_talks_of_no_top_up(world: World) -> None:
    await limited(world, "generations-total=1")
    await accepted(world)
    assert "top" not in (await refused(world, EXHAUSTED))["detail"].split(":")[-1]


async def test_a_tenant_whose_time_zone_is_not_known_here_has_days_of_utc_and_is_served(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    zone_of.cache_clear()
    await world.gateway.db.write(tenants.set_time_zone, world.tenant_id, "Mars/Olympus", now_ms=0)
    await limited(world, "generations-day=2")
    for _ in range(2):
        await accepted(world)
    assert (await refused(world, EXCEEDED))["retry_after_s"] == TO_MIDNIGHT_S
    assert (await quota(world))["time_zone"] == "UTC"
    told = capsys.readouterr()
    assert (told.out + told.err).count("A tenant's time zone is unknown on this machine") == 1


# --- repetitions


async def test_a_repetition_passes_and_takes_nothing_when_nothing_is_left(world: World) -> None:
    await limited(world, "generations-total=1", "submits-minute=1", "in-flight=1", "credits-day=0.15")
    body = world.body("canned")
    first = await submit(world, once="k", **body)
    before = await everything(world)
    second = await submit(world, once="k", **body)
    assert (second.status_code, second.json()) == (200, first.json())
    assert second.headers["idempotent-replayed"] == "true"
    assert await everything(world) == before
    assert len(world.received()) == 1
    await refused(world, EXHAUSTED)


async def test_a_refusal_leaves_the_idempotency_key_to_another_body(world: World) -> None:
    await limited(world, "generations-total=0")
    problem_of(await submit(world, once="k"), 429, EXHAUSTED)
    await limited(world, "generations-total=1")
    answer = await submit(world, once="k")
    assert answer.status_code == 200
    assert "idempotent-replayed" not in answer.headers


# --- seconds of output


@pytest.fixture(scope="module")
def with_a_silent_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A catalogue with a model that declares no seconds."""
    folder = tmp_path_factory.mktemp("models")
    file = folder / "maker" / "silent.json"
    file.parent.mkdir()
    schema = {"type": "object", "properties": {"prompt": {"type": "string"}}}
    file.write_text(json.dumps({"input_schema": schema, "pricing": {"version": "1", "flat": 1}}))
    return folder


class TestSeconds:
    @pytest.fixture
    def world_settings(self, with_a_silent_model: Path) -> dict[str, Any]:
        return {"catalog_dir": with_a_silent_model, "reads_per_minute": 0}

    async def test_a_request_takes_what_its_model_declares_of_its_input(self, world: World) -> None:
        await limited(world, "output-seconds-day=15")
        answer = await submit(world, **world.body("queued") | {"number_of_frames": 241})
        assert policies(answer)["tenant-output-seconds-day"] == {
            "q": 15,
            "w": 86_400,
            "qu": "output-seconds",
            "r": 5,
            "t": TO_MIDNIGHT_S,
        }
        assert (await world.get(f"/v1/requests/{answer.json()['request_id']}"))["output_seconds"] == 10
        await accepted(world)
        (limit,) = (await refused(world, EXCEEDED))["limits"]
        assert (limit["held"], limit["spent"], limit["remaining"], limit["wanted"]) == (15, 0, 0, 5)

    async def test_a_cancelled_request_gives_its_seconds_back(self, world: World) -> None:
        await limited(world, "output-seconds-total=5")
        request_id = await accepted(world)
        await refused(world, EXHAUSTED)
        await world.client.post(f"/v1/requests/{request_id}/cancel")
        await accepted(world)
        usage = [one for one in (await quota(world))["usage"] if one["period"] == "total"]
        assert {(one["held_output_seconds"], one["spent_output_seconds"]) for one in usage} == {(5, 0)}

    @pytest.mark.parametrize("window", ["day", "month", "total"])
    async def test_a_limit_on_seconds_refuses_a_model_that_declares_none_however_much_is_left(
        self, world: World, window: str
    ) -> None:
        path, body = "/v1/models/maker/silent", {"prompt": "[sandbox:queued]"}
        assert (await world.client.post(path, json=body)).status_code == 200
        await limited(world, f"output-seconds-{window}=900")
        before = await everything(world)
        problem = problem_of(await world.client.post(path, json=body), 429, EXHAUSTED)
        assert await everything(world) == before
        assert problem["violated-policies"] == [f"tenant-output-seconds-{window}"]
        assert "does not declare output_seconds" in problem["detail"]
        quote = (await world.client.post("/v1/quotes/maker/silent", json=body)).json()
        assert (quote["admissible"], quote["refusal"]["detail"]) == (False, problem["detail"])
        assert quote["output_seconds"] is None
        await accepted(world)
