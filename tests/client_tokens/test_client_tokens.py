"""Minting client tokens, reading them, ending them: with an API key that may, and with nothing else."""

import re
from typing import Any

import pytest
from sqlalchemy import Connection, func, select, text

from app.auth import keys, tenants
from app.auth.keys import parse
from app.db.schema.tables import client_token_refusals, client_tokens
from app.kit.secrets import checksum
from tests.client_tokens.pages import HOME, MINT, ONLY, SECOND, mint, page, unmintable, with_origins
from tests.contract.published import problem_of
from tests.harness import MORE_MODELS, World
from tests.sandbox.harness import DREAMINA

pytestmark = pytest.mark.anyio


async def rows(world: World) -> int:
    def count(connection: Connection) -> int:
        return connection.execute(select(func.count()).select_from(client_tokens)).scalar_one()

    return await world.gateway.db.read(count)


class TestMinting:
    async def test_without_a_wish_it_is_as_its_key_for_ten_minutes(self, world: World) -> None:
        answer = await mint(world)
        assert answer.status_code == 201
        document = answer.json()
        presented = parse(document["token"])
        assert presented is not None
        assert (presented.kind, presented.kid) == ("client", document["token_id"])
        assert document["expires_at"] > document["created_at"]
        assert {name: document[name] for name in ("state", "mode", "scopes", "visibility", "refusals")} == {
            "state": "active",
            "mode": "test",
            "scopes": ["read", "submit"],
            "visibility": "token",
            "refusals": 0,
        }
        nothing = ("models", "bounds", "max_generations", "max_microcredits", "origins", "end_user")
        assert {document[name] for name in (*nothing, "request_id", "revoked_at", "last_used_at")} == {None}

    async def test_what_was_wished_for_is_what_it_has(self, world: World) -> None:
        await with_origins(world, HOME, SECOND)
        terms: dict[str, Any] = {
            "lifetime_s": 3600,
            "models": [DREAMINA],
            "bounds": {"resolution": {"enum": ["720P"]}, "prompt": {"max_length": 200}},
            "max_generations": 5,
            "max_microcredits": 750_000,
            "origins": [f"{HOME}/"],
            "end_user": "user-17@acme",
        }
        made = await page(world, **terms)
        wished = terms | {"visibility": "end_user", "origins": [HOME]}
        assert {name: made.record[name] for name in wished if name != "lifetime_s"} == {
            name: value for name, value in wished.items() if name != "lifetime_s"
        }
        world.clock.advance(3599)
        assert (await made.get("/v1/quota")).status_code == 200
        world.clock.advance(2)
        problem_of(await made.get("/v1/quota"), 401, "expired_client_token")

    async def test_the_token_is_shown_once_and_kept_nowhere(self, world: World) -> None:
        made = await page(world)
        secret = made.token.split("_")[3]
        for path in (MINT, f"{MINT}/{made.token_id}"):
            assert secret not in (await world.client.get(path)).text

        def dump(connection: Connection) -> str:
            return str(connection.execute(text("SELECT * FROM client_tokens")).all())

        assert secret not in await world.gateway.db.read(dump)

    async def test_a_key_without_the_scope_may_not(self, world: World) -> None:
        key = await world.another_key()
        problem = problem_of(await mint(world, key), 403, "insufficient_scope")
        assert "`tokens:create`" in problem["detail"]

    @pytest.mark.parametrize(
        ("scopes", "terms", "missing"),
        [
            (["read"], {}, "submit"),
            (["submit"], {}, "read"),
            (["submit"], {"request_id": "0" * 36}, "read"),
        ],
    )
    async def test_nor_one_that_could_not_itself_what_the_token_could(
        self, world: World, scopes: list[str], terms: dict[str, Any], missing: str
    ) -> None:
        key = await world.another_key(scopes=[*scopes, keys.SCOPE_CREATE_TOKENS])
        problem = problem_of(await mint(world, key, **terms), 403, "insufficient_scope")
        assert f"`{missing}`" in problem["detail"]

    async def test_nor_does_a_client_token_make_another(self, world: World) -> None:
        made = await page(world)
        for path in (MINT, f"{MINT}/{made.token_id}/revoke"):
            await made.refused(403, "insufficient_scope", await made.post(path, {}))
        for path in (MINT, f"{MINT}/{made.token_id}", "/v1/events"):
            await made.refused(403, "insufficient_scope", await made.get(path))

    async def test_it_ends_with_its_key_at_the_latest(self, world: World) -> None:
        key = await world.another_key(scopes=keys.SCOPES, expires_at_ms=world.clock.now_ms() + 60_000)
        made = await page(world, key, lifetime_s=3600)
        world.clock.advance(61)
        problem_of(await made.get("/v1/quota"), 401, "expired_client_token")

    async def test_so_many_a_minute(self, world: World) -> None:
        world.gateway.access.minter.limiter._per_minute = 2
        assert [(await mint(world)).status_code for _ in range(3)] == [201, 201, 429]
        problem = problem_of(await mint(world), 429, "quota_exceeded")
        assert problem["violated-policies"] == ["key-tokens-minute"]
        assert "may make 2 tokens a minute" in problem["detail"]
        world.clock.advance(60)
        assert (await mint(world)).status_code == 201


class TestTermsThatCannotBe:
    @pytest.mark.parametrize(
        ("terms", "pointer"),
        [
            ({"lifetime_s": 9}, "#/lifetime_s"),
            ({"lifetime_s": 3601}, "#/lifetime_s"),
            ({"lifetime_s": "600"}, "#/lifetime_s"),
            ({"lifetime_s": True}, "#/lifetime_s"),
            ({"models": []}, "#/models"),
            ({"models": ["x/y"]}, "#/models/0"),
            ({"models": "x/y"}, "#/models"),
            ({"max_generations": -1}, "#/max_generations"),
            ({"max_generations": 1.5}, "#/max_generations"),
            ({"max_microcredits": 10**16}, "#/max_microcredits"),
            ({"origins": []}, "#/origins"),
            ({"origins": ["null"]}, "#/origins/0"),
            ({"origins": ["https://*.acme.example"]}, "#/origins/0"),
            ({"origins": ["https://nobody.example"]}, "#/origins/0"),
            ({"end_user": ""}, "#/end_user"),
            ({"end_user": "a" * 65}, "#/end_user"),
            ({"end_user": "*"}, "#/end_user"),
            ({"end_user": "a b"}, "#/end_user"),
            ({"end_user": "a\n"}, "#/end_user"),
            ({"end_user": "ä"}, "#/end_user"),
            ({"visibility": "everything"}, "#/visibility"),
            ({"visibility": "end_user"}, "#/visibility"),
            ({"visibility": "request"}, "#/visibility"),
            ({"request_id": "x"}, "#/request_id"),
            ({"request_id": "01a0c450-6c00-7228-a273-f8dd328b4467"}, "#/request_id"),
            ({"budget": 5}, "#/budget"),
            ({"bounds": {"prompt": {"max_length": 5}}}, "#/bounds"),
        ],
    )
    async def test_are_refused_with_the_place(
        self, world: World, terms: dict[str, Any], pointer: str
    ) -> None:
        assert [one for one, _ in await unmintable(world, **terms)] == [pointer]
        assert await rows(world) == 0

    @pytest.mark.parametrize(
        ("bounds", "pointer", "code"),
        [
            ({}, "#/bounds", "too_short"),
            ({"size": {"enum": ["720P"]}}, "#/bounds/size", "unknown_field"),
            ({"resolution": {}}, "#/bounds/resolution", "type"),
            ({"resolution": {"enum": []}}, "#/bounds/resolution/enum", "type"),
            ({"resolution": {"enum": "720P"}}, "#/bounds/resolution/enum", "type"),
            ({"resolution": {"enum": ["720P", "721P"]}}, "#/bounds/resolution/enum", "enum"),
            ({"resolution": {"const": "720P"}}, "#/bounds/resolution/const", "unknown_field"),
            ({"seed": {"maximum": "5"}}, "#/bounds/seed/maximum", "type"),
            ({"seed": {"minimum": True}}, "#/bounds/seed/minimum", "type"),
            ({"prompt": {"max_length": -1}}, "#/bounds/prompt/max_length", "type"),
            ({"prompt": {"max_length": 1.5}}, "#/bounds/prompt/max_length", "type"),
        ],
    )
    async def test_so_are_bounds_that_the_models_do_not_have(
        self, world: World, bounds: dict[str, Any], pointer: str, code: str
    ) -> None:
        assert await unmintable(world, **ONLY, bounds=bounds) == [(pointer, code)]

    async def test_everything_that_is_wrong_is_told_at_once(self, world: World) -> None:
        wrong = await unmintable(
            world, models=["x/y", DREAMINA], origins=["https://a", "b"], bounds={"x": {}}
        )
        assert {pointer for pointer, _ in wrong} == {
            "#/models/0",
            "#/origins/0",
            "#/origins/1",
            "#/bounds/x",
        }

    async def test_a_token_that_watches_has_nothing_else(self, world: World) -> None:
        request_id = await world.submitted("queued")
        wrong = await unmintable(
            world,
            request_id=request_id,
            max_generations=1,
            models=[DREAMINA],
            end_user="u",
            visibility="end_user",
        )
        assert wrong == [
            (f"#/{name}", "watches") for name in ("models", "max_generations", "end_user", "visibility")
        ]

    async def test_a_wish_that_would_cost_much_to_judge_is_refused_at_once(self, world: World) -> None:
        assert await unmintable(world, models=[DREAMINA, DREAMINA]) == [("#/models/1", "model")]
        assert await unmintable(world, models=[DREAMINA] * 21) == [("#/models", "too_long")]
        many = {"resolution": {"enum": ["720P"] * 60}, "number_of_frames": {"enum": [121] * 41}}
        assert await unmintable(world, **ONLY, bounds=many) == [("#/bounds", "enum")]

    async def test_what_is_no_json_object_is_refused_as_everywhere(self, world: World) -> None:
        answer = await world.client.post(MINT, content=b"[]", headers={"Content-Type": "application/json"})
        problem_of(answer, 400, "invalid_json")


class TestModels:
    @pytest.fixture
    def world_settings(self) -> dict[str, Any]:
        return {"catalog_dir": MORE_MODELS}

    async def test_a_token_may_use_no_model_that_its_key_may_not(self, world: World) -> None:
        key = await world.another_key(scopes=keys.SCOPES, models=[DREAMINA])
        models = (await world.get("/v1/models"))["models"]
        other = next(one["model_id"] for one in models if one["model_id"] != DREAMINA)
        problem = problem_of(await mint(world, key, models=[other]), 422, "invalid_token_terms")
        assert problem["errors"][0]["pointer"] == "#/models/0"
        assert "itself may not use" in problem["errors"][0]["detail"]
        narrow = await page(world, key)
        assert [one["model_id"] for one in (await narrow.get("/v1/models")).json()["models"]] == [DREAMINA]
        await narrow.refused(403, "model_not_allowed", await narrow.post(f"/v1/models/{other}", {}))


class TestReading:
    async def test_they_are_listed_newest_first_in_pages(self, world: World) -> None:
        made = []
        for number in range(5):
            made.append(await page(world, end_user=f"u{number % 2}"))
            world.clock.advance(1)
        first = await world.client.get(f"{MINT}?limit=3")
        document = first.json()
        assert [one["token_id"] for one in document["client_tokens"]] == [one.token_id for one in made[:1:-1]]
        rest = await world.get(f"{MINT}?limit=3&cursor={document['next_cursor']}")
        assert [one["token_id"] for one in rest["client_tokens"]] == [one.token_id for one in made[1::-1]]
        assert rest["next_cursor"] is None
        following = re.fullmatch(r'<http://gateway\.test(.*)>; rel="next"', first.headers["link"])
        assert following is not None
        assert await world.get(following[1]) == rest
        of_user = await world.get(f"{MINT}?end_user=u1&limit=1")
        assert [one["token_id"] for one in of_user["client_tokens"]] == [made[3].token_id]
        answer = await world.client.get(f"{MINT}?end_user=u1&limit=1")
        assert "&end_user=u1" in answer.headers["link"]
        for cursor in ("x", document["next_cursor"][:-4], "MTIzLmFiYw"):
            problem_of(await world.client.get(f"{MINT}?cursor={cursor}"), 400, "invalid_parameter")

    async def test_nobody_elses_are_seen_or_ended(self, world: World) -> None:
        mine = await page(world)
        theirs = await world.another_key(tenant="neighbour", scopes=keys.SCOPES)
        live = await world.another_key(mode="live", scopes=keys.SCOPES)
        for key in (theirs, live):
            headers = world.with_key(key)
            assert (await world.client.get(MINT, headers=headers)).json()["client_tokens"] == []
            missing = await world.client.get(f"{MINT}/AAAAAAAAAAAA", headers=headers)
            seen = await world.client.get(f"{MINT}/{mine.token_id}", headers=headers)
            problem_of(seen, 404, "client_token_not_found")
            assert seen.json()["detail"] == missing.json()["detail"]
            ended = await world.client.post(f"{MINT}/{mine.token_id}/revoke", headers=headers)
            problem_of(ended, 404, "client_token_not_found")
        assert (await mine.get("/v1/quota")).status_code == 200
        for odd in ("x", "A" * 13, "%00" * 12, "ä" * 12):
            problem_of(await world.client.get(f"{MINT}/{odd}"), 404, "client_token_not_found")

    async def test_every_use_is_in_the_record(self, world: World) -> None:
        made = await page(world, max_generations=5)
        spent = await made.submitted("canned")
        world.clock.advance(1)
        held = await made.submitted("queued")
        world.clock.advance(1)
        failed = await made.submitted("fail")
        for one in (spent, failed):
            await world.finish(one)
        full = await made.in_full()
        assert full["newest_requests"] == [failed, held, spent]
        assert full["usage"] == {
            "held_generations": 1,
            "spent_generations": 1,
            "held_microcredits": 150_000,
            "spent_microcredits": 150_000,
            "held_output_seconds": 5,
            "spent_output_seconds": 5,
        }
        assert full["last_used_at"] is not None
        record = await world.get(f"/v1/requests/{held}")
        assert (record["token_id"], record["end_user"]) == (made.token_id, None)
        listed = await world.get(f"/v1/requests?token_id={made.token_id}&limit=2")
        assert [one["request_id"] for one in listed["requests"]] == [failed, held]
        answer = await world.client.get(f"/v1/requests?token_id={made.token_id}&limit=2")
        assert f"&token_id={made.token_id}" in answer.headers["link"]

    async def test_the_newest_refusals_are_kept_and_all_are_counted(self, world: World) -> None:
        world.gateway.access.calls._per_minute = 0
        made = await page(world)
        for number in range(200):
            problem_of(await made.get(f"/v1/requests/{number}"), 404, "request_not_found")
        full = await made.in_full()
        assert (full["refusals"], len(full["newest_refusals"])) == (60, 50)
        assert await world.gateway.access.rejection_log.run_once() == 140
        assert await world.gateway.access.rejection_log.run_once() == 0
        world.clock.advance(61)
        await made.get("/v1/requests/last", Origin="null")
        full = await made.in_full()
        assert (full["refusals"], len(full["newest_refusals"])) == (201, 50)
        newest = full["newest_refusals"][0]
        assert newest["code"] == "origin_not_allowed"
        assert (newest["call"], newest["origin"]) == ("GET /v1/requests/last", "null")


class TestEnding:
    async def test_a_revoked_token_is_refused_at_once_here_and_its_jobs_go_on(self, world: World) -> None:
        made = await page(world)
        request_id = await made.submitted("queued")
        for _ in range(2):
            answer = await world.client.post(f"{MINT}/{made.token_id}/revoke")
            assert answer.status_code == 200
            assert (answer.json()["state"], answer.json()["token_id"]) == ("revoked", made.token_id)
        world.clock.advance(1)
        problem = await made.refused(401, "invalid_client_token", await made.get("/v1/requests"))
        assert "revoked" in problem["detail"]
        assert (await world.record(request_id))["state"] == "in_queue"

    @pytest.mark.parametrize("how", ["revoked", "expired", "disabled"])
    async def test_what_ends_its_key_ends_it(self, world: World, how: str) -> None:
        key = await world.another_key(scopes=keys.SCOPES)
        made = await page(world, key)
        kid, now_ms = key.split("_")[2], world.clock.now_ms()
        match how:
            case "revoked":
                await world.gateway.db.write(keys.revoke, kid, now_ms=now_ms)
            case "expired":  # a rotation that leaves no overlap
                pepper = world.gateway.settings.current_pepper()
                await world.gateway.db.write(keys.rotate, kid, overlap_ms=0, pepper=pepper, now_ms=now_ms)
            case "disabled":
                await world.gateway.db.write(_disable, world.tenant_id, now_ms)
        world.clock.advance(1)
        problem = problem_of(await made.get("/v1/quota"), 401, "invalid_client_token")
        assert problem["detail"] == f"The API key that made this client token is {how}."

    @pytest.mark.parametrize(
        "change",
        [
            lambda token: token[:-1],
            lambda token: token[:30] + ("y" if token[30] == "x" else "x") + token[31:],
            str.lower,
        ],
    )
    async def test_a_mistyped_token_is_none(self, world: World, change: Any) -> None:
        made = await page(world)
        answer = await world.client.get("/v1/quota", headers=world.with_key(change(made.token)))
        problem_of(answer, 401, "invalid_api_key")

    async def test_a_forged_one_is_refused_in_the_words_for_an_unknown_one(self, world: World) -> None:
        made = await page(world)
        _, forged = keys.generate("client")
        _, _, kid, _ = forged.split("_")
        body = forged.replace(kid, made.token_id)[:-6]
        known = body + checksum(body)
        answers = [
            problem_of(
                await world.client.get("/v1/quota", headers=world.with_key(one)), 401, "invalid_client_token"
            )
            for one in (forged, known)
        ]
        assert answers[0]["detail"] == answers[1]["detail"]
        assert (await made.in_full())["refusals"] == 0, "it was not the token's holder"


class TestKeeping:
    @pytest.fixture
    def world_settings(self) -> dict[str, Any]:
        return {"caller_retention_s": 0.0}

    async def test_tokens_that_made_nothing_are_removed_in_time(self, world: World) -> None:
        idle, used = await page(world), await page(world)
        await idle.get("/v1/requests/none")
        await used.submitted("queued")
        keep_s = world.gateway.settings.token_retention_s
        world.clock.advance(600 + keep_s - 1)
        assert await world.gateway.upkeep.retention.run_once() == 0
        world.clock.advance(2)
        assert await world.gateway.upkeep.retention.run_once() == 1
        answer = await world.client.get(f"{MINT}/{idle.token_id}")
        problem_of(answer, 404, "client_token_not_found")
        assert (await used.in_full())["state"] == "expired"

        def left(connection: Connection) -> int:
            return connection.execute(select(func.count()).select_from(client_token_refusals)).scalar_one()

        assert await world.gateway.db.read(left) == 0


def _disable(connection: Connection, tenant_id: str, now_ms: int) -> None:
    connection.execute(
        text("UPDATE tenants SET disabled_at_ms = :now WHERE id = :id"), {"now": now_ms, "id": tenant_id}
    )


async def test_the_terms_of_a_token_cannot_be_changed_by_its_tenants_origins(world: World) -> None:
    """A tenant that gives an origin up gives it up for tokens that exist, too."""
    await with_origins(world, HOME, SECOND)
    made = await page(world, origins=[HOME])
    assert (await made.get("/v1/quota", Origin=HOME)).status_code == 200
    await world.gateway.db.write(tenants.set_origins, world.tenant_id, [SECOND])
    world.clock.advance(2)
    await made.refused(403, "origin_not_allowed", await made.get("/v1/quota", Origin=HOME))
