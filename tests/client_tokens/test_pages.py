"""What whoever holds a client token can do, and what they cannot: each refusal in words of its own."""

import asyncio
from collections import Counter
from functools import partial
from typing import Any, ClassVar

import pytest
from sqlalchemy import Connection

from app.admin.verifying.verify import verify
from app.auth import client_tokens, keys, tenants
from app.errors import Problem
from app.quotas.limits import EVERY_END_USER, Scope
from tests.client_tokens.pages import HOME, ONLY, PRICE, SECOND, Page, page, with_origins
from tests.contract.published import problem_of
from tests.harness import SUBMIT, World, until
from tests.quotas.accounts import limited, members, policies
from tests.sandbox.harness import DREAMINA
from tests.streams import begin, finish, moving, streaming

pytestmark = pytest.mark.anyio
QUOTE = f"/v1/quotes/{DREAMINA}"


async def findings(world: World) -> list[Any]:
    return (await world.gateway.db.snapshot(verify)).findings


class TestBounds:
    BOUNDS: ClassVar[dict[str, Any]] = {
        "resolution": {"enum": ["720P"]},
        "prompt": {"max_length": 120},
        "seed": {"maximum": 9},
    }

    @pytest.mark.parametrize(
        ("more", "place", "text"),
        [
            ({"resolution": "1080P"}, "#/resolution", 'must be "720P" with this client token, is "1080P"'),
            ({"seed": 10}, "#/seed", "must be at most 9 with this client token, is 10"),
        ],
    )
    async def test_an_input_out_of_bounds_is_refused_and_costs_nothing(
        self, world: World, more: dict[str, Any], place: str, text: str
    ) -> None:
        made = await page(world, **ONLY, bounds=self.BOUNDS)
        body: dict[str, Any] = {"resolution": "720P", "seed": 1} | more
        problem = await made.refused(403, "out_of_bounds", await made.submit(**body))
        assert problem["errors"] == [{"pointer": place, "code": "out_of_bounds", "detail": text}]
        assert (await world.get("/v1/requests"))["requests"] == []
        quote = (await made.post(QUOTE, world.body() | body)).json()
        assert not quote["admissible"]
        assert quote["errors"] == problem["errors"]

    async def test_what_is_within_passes(self, world: World) -> None:
        made = await page(world, **ONLY, bounds=self.BOUNDS)
        assert (await made.submit(resolution="720P", seed=9)).status_code == 200

    async def test_an_input_that_is_left_out_counts_as_its_default(self, world: World) -> None:
        narrow = await page(world, **ONLY, bounds={"number_of_frames": {"enum": [241]}})
        problem = await narrow.refused(403, "out_of_bounds", await narrow.submit())
        assert problem["errors"][0]["detail"].endswith("is 121 (left out, it counts as its default)")
        usual = await page(world, **ONLY, bounds={"number_of_frames": {"enum": [121]}})
        assert (await usual.submit()).status_code == 200

    async def test_together_with_what_the_schema_refuses_it_is_an_invalid_input(self, world: World) -> None:
        made = await page(world, **ONLY, bounds=self.BOUNDS)
        answer = await made.submit(seed=10, resolution=5)
        problem = await made.refused(422, "invalid_input", answer)
        assert {one["code"] for one in problem["errors"]} >= {"out_of_bounds", "type"}

    async def test_a_key_is_not_bound(self, world: World) -> None:
        await page(world, **ONLY, bounds=self.BOUNDS)
        assert (await world.submit("queued", resolution="1080P")).status_code == 200


class TestBudget:
    @pytest.mark.parametrize(
        ("terms", "policy"),
        [
            ({"max_generations": 2}, "token-generations-total"),
            ({"max_microcredits": 2 * PRICE + 1}, "token-credits-total"),
        ],
    )
    async def test_what_a_token_may_use_it_uses_once(
        self, world: World, terms: dict[str, Any], policy: str
    ) -> None:
        made = await page(world, **terms)
        first, second = await made.submit("canned"), await made.submit("fail")
        assert [policies(one)[policy]["r"] for one in (first, second)] in ([1, 0], [PRICE + 1, 1])
        problem = await made.refused(429, "quota_exhausted", await made.submit())
        assert problem["violated-policies"] == [policy]
        assert problem["detail"].startswith("This client token may spend ")
        assert "unless held amounts are refunded: this is the token's whole budget." in problem["detail"]
        await world.finish(second.json()["request_id"])  # failed, and refunded
        assert (await made.submit()).status_code == 200
        await world.finish(first.json()["request_id"])  # spent
        problem = await made.refused(429, "quota_exhausted", await made.submit())
        assert await findings(world) == []

    async def test_nothing_allowed_is_nothing(self, world: World) -> None:
        for name in ("max_generations", "max_microcredits"):
            terms: dict[str, Any] = {name: 0}
            made = await page(world, **terms)
            await made.refused(429, "quota_exhausted", await made.submit())

    async def test_a_hundred_tokens_share_the_last_ten_credits_of_their_key_exactly(
        self, world: World
    ) -> None:
        key = await world.another_key(scopes=keys.SCOPES)
        await limited(world, "credits-total=1.5", scopes=(Scope(key.split("_")[2]),))  # ten at 0.15
        pages = [await page(world, key, max_generations=1) for _ in range(100)]
        answers = await asyncio.gather(*(one.submit("canned") for one in pages))
        told = Counter((one.status_code, one.json().get("code")) for one in answers)
        assert told == {(200, None): 10, (429, "quota_exhausted"): 90}
        record = await world.client.get("/v1/requests?limit=100", headers=world.with_key(key))
        assert len(record.json()["requests"]) == 10
        assert await findings(world) == []

    async def test_one_token_used_by_a_hundred_pages_at_once_makes_what_it_may(self, world: World) -> None:
        made = await page(world, max_microcredits=10 * PRICE)
        answers = await asyncio.gather(*(made.submit("canned") for _ in range(100)))
        assert Counter(one.status_code for one in answers) == {200: 10, 429: 90}
        assert (await made.in_full())["usage"]["held_microcredits"] == 10 * PRICE
        assert await findings(world) == []

    async def test_its_keys_limits_hold_on_top_and_are_not_told(self, world: World) -> None:
        await limited(world, "credits-total=0.2", "in-flight=7")
        made = await page(world, max_generations=5)
        answer = await made.submit()
        assert set(members(answer.headers["ratelimit"])) == {"token-generations-total"}
        assert "retry-after" not in answer.headers
        answer = await made.submit()
        problem = await made.refused(429, "quota_exhausted", answer)
        assert problem["violated-policies"] == ["tenant-credits-total"]
        assert problem["limits"] == []
        assert problem["detail"] == (
            "The limit `tenant-credits-total` of this application is used up."
            " Waiting does not help: the limit has to be raised."
        )
        assert set(members(answer.headers["ratelimit"])) == {"token-generations-total"}
        quote = (await made.post(QUOTE, world.body())).json()
        assert [one["policy"] for one in quote["limits"]] == ["token-generations-total"]
        assert quote["refusal"]["detail"] == problem["detail"]
        await limited(world, "credits-total=none", "in-flight=1")
        problem = await made.refused(429, "quota_exceeded", await made.submit())
        assert problem["detail"] == (
            "The limit `tenant-in-flight` of this application does not allow this now. Try again in 5 s."
        )

    async def test_the_quota_is_its_own(self, world: World) -> None:
        await limited(world, "credits-day=50")
        made = await page(world, max_generations=5, max_microcredits=10**6, end_user="u1")
        await made.submitted()
        document = (await made.get("/v1/quota")).json()
        assert (document["token_id"], document["end_user"]) == (made.token_id, "u1")
        assert [(one["policy"], one["remaining"]) for one in document["limits"]] == [
            ("token-generations-total", 4),
            ("token-credits-total", 10**6 - PRICE),
            ("token-calls-minute", 598),
        ]
        assert {one["holder"] for one in document["usage"]} == {"end-user", "token"}
        assert document["queue"] == {"queueable": False, "paused": False}

    async def test_calls_of_a_token_are_limited_and_are_not_its_keys(self, world: World) -> None:
        world.gateway.access.calls._per_minute = 3
        made = await page(world)
        answers = [await made.submit(prompt=5), await made.get("/v1/models"), await made.get("/v1/quota")]
        assert [one.status_code for one in answers] == [422, 200, 200]
        for answering in (made.submit, partial(made.get, "/v1/quota")):
            problem = await made.refused(429, "quota_exceeded", await answering())
            assert problem["violated-policies"] == ["token-calls-minute"]
        assert (await (await page(world)).get("/v1/quota")).status_code == 200


class TestRefusalsInTheRecord:
    @pytest.mark.parametrize(
        "path", ["/v1/models/x%00y", "/v1/requests/x%00y", "/nowhere%1B[2J", "/%F0%9F%9A%A4"]
    )
    async def test_whatever_was_called_is_kept_in_print(self, world: World, path: str) -> None:
        made = await page(world)
        answer = await made.get(path)
        assert answer.status_code == 404
        newest = (await made.in_full())["newest_refusals"]
        assert all(one["call"].isprintable() for one in newest)
        assert len(newest) == int(path.startswith("/v1"))

    async def test_a_database_that_does_not_take_one_keeps_nobody_from_the_answer(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        made = await page(world)

        def broken(*_: Any, **__: Any) -> None:
            raise ValueError

        monkeypatch.setattr(client_tokens, "record_refusal", broken)
        problem_of(await made.get("/v1/requests/none"), 404, "request_not_found")
        monkeypatch.undo()
        assert await world.gateway.access.rejection_log.run_once() == 1
        assert (await made.in_full())["refusals"] == 1

    async def test_how_much_others_have_is_not_told(self, world: World) -> None:
        world.gateway.pool.all["sandbox"].concurrency = 1
        key = await world.another_key(scopes=keys.SCOPES, queueing=True)
        await world.gateway.db.write(
            tenants.set_queueing, world.tenant_id, queueing=True, max_queued=1, weight=1
        )
        made = await page(world, key)
        for _ in range(2):
            await made.submitted()
        problem = await made.refused(429, "queue_full", await made.submit())
        assert problem["detail"] == "Too many requests are queued already."


class TestEndUsers:
    async def test_a_limit_of_every_end_user_holds_for_each_alone(self, world: World) -> None:
        await limited(world, "generations-day=2", scopes=(Scope(end_user=EVERY_END_USER),))
        await limited(world, "generations-day=3", scopes=(Scope(end_user="vip"),))
        room = {"alice": 2, "bob": 2, "vip": 3}
        for user, count in room.items():
            pages = [await page(world, end_user=user) for _ in range(2)]  # a second token is no second quota
            answers = [await pages[at % 2].submit("canned") for at in range(count + 1)]
            assert [one.status_code for one in answers] == [200] * count + [429]
            problem = await pages[count % 2].refused(429, "quota_exceeded", answers[-1])
            assert problem["violated-policies"] == ["end-user-generations-day"]
            assert problem["detail"].startswith(f"This user may spend {count} generations a day")
            assert problem["limits"][0]["limit"] == count
        assert (await (await page(world)).submit("canned")).status_code == 200, "nobody in particular"
        assert await findings(world) == []

    async def test_of_one_model_and_of_credits(self, world: World) -> None:
        await limited(world, "credits-total=0.15", scopes=(Scope("", DREAMINA, "u1"),))
        made = await page(world, end_user="u1")
        assert (await made.submit("canned")).status_code == 200
        problem = await made.refused(429, "quota_exhausted", await made.submit())
        assert problem["violated-policies"] == ["end-user-model-credits-total"]

    async def test_in_flight_counts_what_waits_too_so_that_nobody_fills_the_queue(self, world: World) -> None:
        await limited(world, "in-flight=2", scopes=(Scope(end_user=EVERY_END_USER),))
        world.gateway.pool.all["sandbox"].concurrency = 1
        key = await world.another_key(scopes=keys.SCOPES, queueing=True)
        made = await page(world, key, end_user="u1")
        first, second = await made.submitted(), await made.submitted()
        states = [(await made.get(f"/v1/requests/{one}")).json()["state"] for one in (first, second)]
        assert states == ["in_queue", "accepted"]
        problem = await made.refused(429, "quota_exceeded", await made.submit())
        assert problem["violated-policies"] == ["end-user-in-flight"]
        assert (await (await page(world, key, end_user="u2")).submit()).status_code == 200
        assert (await made.post(f"/v1/requests/{second}/cancel")).json()["outcome"] == "cancelled"
        assert (await made.submit()).status_code == 200

    async def test_fifty_at_once_of_one_user_hold_its_limit_exactly(self, world: World) -> None:
        await limited(world, "in-flight=3", scopes=(Scope(end_user="u1"),))
        pages = [await page(world, end_user="u1") for _ in range(5)]
        answers = await asyncio.gather(*(pages[at % 5].submit() for at in range(50)))
        assert Counter(one.status_code for one in answers) == {200: 3, 429: 47}
        assert await findings(world) == []


async def four_pages(world: World) -> dict[str, Page]:
    return {
        "alice": await page(world, end_user="alice"),
        "alice again": await page(world, end_user="alice"),
        "alice alone": await page(world, end_user="alice", visibility="token"),
        "bob": await page(world, end_user="bob"),
        "nobody": await page(world),
    }


class TestSight:
    SEEN: ClassVar[dict[str, set[str]]] = {
        "alice": {"alice", "alice again", "alice alone"},
        "alice again": {"alice", "alice again", "alice alone"},
        "alice alone": {"alice alone"},
        "bob": {"bob"},
        "nobody": {"nobody"},
    }

    async def test_a_token_sees_what_it_may_and_all_else_is_as_missing(self, world: World) -> None:
        pages = await four_pages(world)
        made = {name: await one.submitted() for name, one in pages.items()}
        made["the key itself"] = await world.submitted("queued")
        for name, holder in pages.items():
            seen = {owner for owner, request_id in made.items() if owner in self.SEEN[name]}
            assert set(await holder.listed()) == {made[owner] for owner in seen}
            for owner, request_id in made.items():
                for path in ("", "/status", "/result"):
                    answer = await holder.get(f"/v1/requests/{request_id}{path}")
                    if owner in seen:
                        assert answer.status_code == 200
                    else:
                        problem_of(answer, 404, "request_not_found")
                if owner not in seen:
                    cancelled = await holder.post(f"/v1/requests/{request_id}/cancel")
                    problem_of(cancelled, 404, "request_not_found")
                    async with streaming(
                        world, f"/v1/requests/{request_id}/events", authorization=f"Bearer {holder.token}"
                    ) as stream:
                        problem_of(stream.answer, 404, "request_not_found")
        assert {(await world.record(one))["state"] for one in made.values()} == {"in_queue"}
        listed = await world.get("/v1/requests?end_user=alice&limit=1")
        assert len(listed["requests"]) == 1
        assert (await world.client.get("/v1/requests?end_user=alice&limit=1")).headers["link"].count("alice")

    async def test_a_filter_does_not_widen_it(self, world: World) -> None:
        pages = await four_pages(world)
        theirs = await pages["bob"].submitted()
        for query in ("end_user=bob", f"token_id={pages['bob'].token_id}"):
            answer = await pages["alice"].get(f"/v1/requests?{query}")
            assert theirs not in answer.text

    async def test_the_missing_and_the_hidden_are_equal_to_the_byte(self, world: World) -> None:
        pages = await four_pages(world)
        theirs = await pages["bob"].submitted()
        hidden = await pages["alice"].get(f"/v1/requests/{theirs}")
        missing = await pages["alice"].get(f"/v1/requests/{theirs[:-4]}0000")
        alike = [
            {name: one for name, one in answer.json().items() if name not in {"instance", "trace_id"}}
            for answer in (hidden, missing)
        ]
        assert alike[0] == alike[1]

    async def test_a_token_that_watches_reads_one_request_and_nothing_else(self, world: World) -> None:
        request_id, other = await world.submitted("queued"), await world.submitted("queued")
        watcher = await page(world, request_id=request_id)
        assert (watcher.record["visibility"], watcher.record["scopes"]) == ("request", ["read"])
        assert (await watcher.get(f"/v1/requests/{request_id}/status")).json()["status"] == "in_queue"
        assert await watcher.listed() == [request_id]
        problem_of(await watcher.get(f"/v1/requests/{other}/status"), 404, "request_not_found")
        for path in (SUBMIT, QUOTE, f"/v1/requests/{request_id}/cancel"):
            await watcher.refused(403, "insufficient_scope", await watcher.post(path, world.body()))
        for path in ("/v1/quota", "/v1/models", f"/v1/models/{DREAMINA}", "/v1/events"):
            await watcher.refused(403, "insufficient_scope", await watcher.get(path))
        async with streaming(
            world, f"/v1/requests/{request_id}/events", authorization=f"Bearer {watcher.token}"
        ) as stream:
            await stream.has(2)
            await world.client.post(f"/v1/requests/{request_id}/cancel")
            await until(lambda: stream.ended)
            assert stream.states[-1] == "cancelled"

    async def test_a_test_keys_token_reaches_nothing_that_is_live(self, world: World) -> None:
        live = await world.another_key(mode="live", scopes=keys.SCOPES)
        made = await page(world, live)
        assert made.record["mode"] == "live"
        problem_of(await made.submit(), 503, "upstream_not_configured")
        assert (await (await page(world)).submit()).status_code == 200


class TestRepeating:
    async def test_a_renewed_token_of_the_user_finds_the_first_job(self, world: World) -> None:
        body = world.body("queued")
        first = await page(world, end_user="alice")
        answer = await first.post(SUBMIT, body, Idempotency_Key="k")
        renewed = await page(world, end_user="alice")
        again = await renewed.post(SUBMIT, body, Idempotency_Key="k")
        assert again.json() == answer.json()
        assert again.headers["idempotent-replayed"] == "true"
        assert len(world.received()) == 1

    @pytest.mark.parametrize("terms", [{}, {"end_user": "alice", "visibility": "token"}])
    async def test_one_that_does_not_see_the_first_makes_no_second_and_learns_nothing_of_it(
        self, world: World, terms: dict[str, Any]
    ) -> None:
        body = world.body("queued")
        first = (await (await page(world, **terms)).post(SUBMIT, body, Idempotency_Key="k")).json()
        for again in (body, world.body("queued")):
            other = await page(world, **terms)
            answer = await other.post(SUBMIT, again, Idempotency_Key="k")
            problem = await other.refused(422, "idempotency_mismatch", answer)
            assert first["request_id"] not in answer.text
            assert "the same `end_user`" in problem["detail"]
        assert len(world.received(world.marks[0])) == 1
        assert world.received(world.marks[1]) == []

    async def test_keys_of_other_users_and_of_the_tenant_are_other_keys(self, world: World) -> None:
        body = world.body("queued")
        alice, bob = await page(world, end_user="a"), await page(world, end_user="b")
        nobody = await page(world)
        answers = [await one.post(SUBMIT, body, Idempotency_Key="k") for one in (alice, bob, nobody)]
        answers.append(await world.client.post(SUBMIT, json=body, headers={"Idempotency-Key": "k"}))
        assert {one.status_code for one in answers} == {200}
        assert len({one.json()["request_id"] for one in answers}) == 4
        problem = await alice.refused(422, "idempotency_mismatch", await alice.submit(Idempotency_Key="k"))
        assert problem["request_id"] == answers[0].json()["request_id"]


class TestEnding:
    """What goes on for longer than a call ends with the right to it."""

    @pytest.mark.parametrize("how", ["revoked", "expired", "its key"])
    async def test_a_stream_tells_nothing_more(self, world: World, how: str) -> None:
        key = await world.another_key(scopes=keys.SCOPES)
        made = await page(world, key, lifetime_s=3600)
        request_id = await made.submitted()
        path = f"/v1/requests/{request_id}/events"
        async with streaming(world, path, authorization=f"Bearer {made.token}") as stream:
            await stream.has(2)
            match how:
                case "revoked":
                    await world.client.post(f"/v1/client-tokens/{made.token_id}/revoke")
                case "expired":
                    world.clock.advance(3600)
                case "its key":
                    kid = key.split("_")[2]
                    await world.gateway.db.write(keys.revoke, kid, now_ms=world.clock.now_ms())
            world.clock.advance(5)
            await world.client.post(f"/v1/requests/{request_id}/cancel")
            await moving(world, lambda: stream.over)
            assert "cancelled" not in stream.text

    async def test_nor_does_one_of_an_api_key(self, world: World) -> None:
        key = await world.another_key()
        async with streaming(world, "/v1/events", authorization=f"Bearer {key}") as stream:
            await world.gateway.db.write(keys.revoke, key.split("_")[2], now_ms=world.clock.now_ms())
            world.clock.advance(5)
            await world.submitted("queued")
            await moving(world, lambda: stream.over)
            assert stream.events == []

    async def test_a_held_answer_is_refused(self, world: World) -> None:
        made = await page(world)
        request_id = await made.submitted()
        held = asyncio.create_task(made.get(f"/v1/requests/{request_id}/status?wait=60"))
        await until(lambda: world.gateway.following.watch.watchers)
        await world.client.post(f"/v1/client-tokens/{made.token_id}/revoke")
        await moving(world, held.done)
        await made.refused(401, "invalid_client_token", held.result())

    async def test_a_submit_that_waited_for_its_file_makes_no_job(self, world: World) -> None:
        made = await page(world)
        principal = await world.gateway.access.authenticator.authenticate(made.token)
        await world.client.post(f"/v1/client-tokens/{made.token_id}/revoke")
        with pytest.raises(Problem, match="revoked"):
            await world.gateway.submitter.submit(principal, DREAMINA, world.body("queued"), trace_id="0" * 32)
        assert (await world.get("/v1/requests"))["requests"] == []
        assert world.received() == []


class TestStreams:
    async def test_so_many_of_a_token_and_the_others_go_on(self, world: World) -> None:
        made, other = await page(world), await page(world)
        request_id, theirs = await made.submitted(), await other.submitted()
        path = f"/v1/requests/{request_id}/events"
        open_ones = [begin(world, path, authorization=f"Bearer {made.token}") for _ in range(10)]
        await until(lambda: all(one.status for one in open_ones))
        assert {one.status for one in open_ones} == {200}
        async with streaming(world, path, authorization=f"Bearer {made.token}") as refused:
            problem = problem_of(refused.answer, 429, "too_many_streams")
            assert problem["detail"].startswith("This client token has 10 event streams")
        held = await made.get(f"/v1/requests/{request_id}/status?wait=5")
        assert held.status_code == 200, "answered at once"
        async with streaming(
            world, f"/v1/requests/{theirs}/events", authorization=f"Bearer {other.token}"
        ) as stream:
            assert stream.status == 200
        await finish(*open_ones)
        async with streaming(world, path, authorization=f"Bearer {made.token}") as stream:
            assert stream.status == 200


class TestOrigins:
    """Which page holds the token: a matrix of whose the page is, and for which the token was made."""

    OTHERS = "https://app.other.example"
    STRANGER = "https://nobody.example"

    @pytest.fixture
    async def pages(self, world: World) -> dict[str, Page]:
        await world.another_key(tenant="neighbour")
        await world.gateway.db.write(_neighbours_origin, self.OTHERS)
        await with_origins(world, HOME, SECOND)
        return {
            "any": await page(world),
            "home": await page(world, origins=[HOME]),
            "own": await page(world, origins=["http://gateway.test"]),
        }

    @pytest.mark.parametrize(
        ("token", "origin", "passes", "is_readable"),
        [
            ("any", None, True, False),
            ("any", HOME, True, True),
            ("any", SECOND, True, True),
            ("any", OTHERS, False, True),
            ("any", STRANGER, False, False),
            ("any", "null", False, False),
            ("any", "http://gateway.test", True, False),
            ("home", None, True, False),
            ("home", HOME, True, True),
            ("home", SECOND, False, True),
            ("home", OTHERS, False, True),
            ("home", STRANGER, False, False),
            ("home", "null", False, False),
            ("home", "http://gateway.test", False, False),
            ("own", "http://gateway.test", True, False),
            ("own", HOME, False, True),
        ],
    )
    async def test_the_matrix(
        self,
        world: World,
        pages: dict[str, Page],
        *,
        token: str,
        origin: str | None,
        passes: bool,
        is_readable: bool,
    ) -> None:
        holder = pages[token]
        headers = {} if origin is None else {"Origin": origin}
        for answering in (partial(holder.get, "/v1/quota"), holder.submit):
            answer = await answering(**headers)
            allowed = answer.headers.get("access-control-allow-origin")
            assert allowed == (origin if is_readable else None)
            assert "access-control-allow-credentials" not in answer.headers
            assert "origin" in answer.headers["vary"].lower()
            if passes:
                assert answer.status_code == 200
            else:
                await holder.refused(403, "origin_not_allowed", answer)
        assert len(await world.get("/v1/requests") and world.received()) == int(passes)

    async def test_an_expired_tokens_page_can_read_why(self, world: World, pages: dict[str, Page]) -> None:
        world.clock.advance(601)
        answer = await pages["home"].get("/v1/quota", Origin=HOME)
        problem_of(answer, 401, "expired_client_token")
        assert answer.headers["access-control-allow-origin"] == HOME
        assert "WWW-Authenticate" in answer.headers["access-control-expose-headers"]
        assert answer.headers["www-authenticate"].endswith('error="invalid_token"')


def _neighbours_origin(connection: Connection, origin: str) -> None:
    tenants.set_origins(connection, tenants.by_name(connection, "neighbour").id, [origin])
